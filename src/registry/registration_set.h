/* SPDX-License-Identifier: MIT */
/*
 * RegistrationSet: all descriptors registered with one driver, and those that wait to be released.
 */
#ifndef OURO_REGISTRY_REGISTRATION_SET_H
#define OURO_REGISTRY_REGISTRATION_SET_H

#include "base/atomic.h"
#include "base/list.h"
#include "base/mutex.h"
#include "registry/scheduled_io.h"

enum { OURO__SLAB_CHUNK = 64, OURO__SLAB_CHUNKS_MAX = 16384 };

/* So many chunks without a registration are kept: what connects and closes needs no others. */
enum { OURO__SLAB_CHUNKS_KEPT = 2 };

struct OURO__ALIGNED(OURO__SIO_ALIGNMENT) ouro__registration_chunk {
    struct ouro__list link;          /* in `open`, or in `unused`, or in neither: it is full */
    struct ouro__scheduled_io *free; /* its free slots */
    uint32_t used;
    struct ouro__scheduled_io slot[OURO__SLAB_CHUNK];
};

struct ouro__registration_set {
    struct ouro__mutex lock;
    bool is_shutdown;         /* written by the driver's thread, under the lock */
    bool release_due;         /* deregistered since the last release(): the driver has been told */
    uint32_t slots;           /* of the chunks up to the last one that there was */
    uint32_t hole;            /* no chunk is missing below this one */
    uint32_t unused_low;      /* the fewest in `unused` since the last trim */
    uint32_t generation;      /* of the slots of a chunk that is made */
    struct ouro__list open;   /* chunks with free and with used slots */
    struct ouro__list unused; /* chunks with free slots only, the one used last first */
    struct ouro__counter unused_count; /* written under the lock */
    struct ouro__list live;
    struct ouro__list pending;
    _Atomic uint32_t num_pending_release;
    uint64_t registered;
    uint64_t deregistered;
    _Atomic(struct ouro__registration_chunk *) *chunk; /* OURO__SLAB_CHUNKS_MAX pointers */
};

/* Errors: -ENOMEM. */
int ouro__registration_set_init(struct ouro__registration_set *set);

/* Everything must have been deregistered, and nothing be in flight. */
void ouro__registration_set_fini(struct ouro__registration_set *set);

/*
 * A live ScheduledIo for @fd.  Any thread.
 * Errors: -OURO_ESHUTDOWN, -ENOMEM (also when 1,048,576 are live).
 */
OURO__ANY_THREAD int ouro__registration_set_allocate(struct ouro__registration_set *set,
                                                     struct ouro__driver_handle *handle, int fd,
                                                     uint32_t flags,
                                                     struct ouro__scheduled_io **out_sio);

/*
 * Marks it deregistered and puts it on the pending list.  Any thread.
 * True: it is the first since the last release, so the driver must be unparked to see it.  The next
 * ones are released together with it.
 */
OURO__ANY_THREAD bool ouro__registration_set_deregister(struct ouro__registration_set *set,
                                                        struct ouro__scheduled_io *sio);

/*
 * Frees what is pending and has nothing in flight; @each is called for every one that still has, so
 * that it can be cancelled, and for every one freed, before it is.  Driver's thread.  Returns how
 * many were freed.
 */
OURO__DRIVER_THREAD uint32_t ouro__registration_set_release(
    struct ouro__registration_set *set,
    void (*each)(void *arg, struct ouro__scheduled_io *sio, bool freed), void *arg);

/* The slot a token names if its generation matches, else NULL.  Driver's thread. */
OURO__DRIVER_THREAD struct ouro__scheduled_io *
ouro__registration_set_find(struct ouro__registration_set *set, uint64_t token);

/* Prefetches the slot that @token names.  Driver's thread. */
OURO__DRIVER_THREAD void ouro__registration_set_prefetch(struct ouro__registration_set *set,
                                                         uint64_t token);

/* No more allocations; SHUTDOWN on all that are live, their waiters woken.  Driver's thread. */
OURO__DRIVER_THREAD void ouro__registration_set_shut_down(struct ouro__registration_set *set);

/* Calls @each for every live one.  Driver's thread; @each must not register or deregister. */
OURO__DRIVER_THREAD void
ouro__registration_set_for_each(struct ouro__registration_set *set,
                                void (*each)(void *arg, struct ouro__scheduled_io *sio), void *arg);

/* How many are registered.  Any thread. */
OURO__ANY_THREAD uint32_t ouro__registration_set_live(struct ouro__registration_set *set);

/* Whether there is memory to give back. */
static inline bool ouro__registration_set_is_trimmable(const struct ouro__registration_set *set)
{
    return ouro__counter_read(&set->unused_count) > OURO__SLAB_CHUNKS_KEPT;
}

/*
 * How many chunks have had no registration since the last call, beyond those that are kept.
 * Driver's thread.
 */
OURO__DRIVER_THREAD uint32_t ouro__registration_set_cold(struct ouro__registration_set *set);

/* Frees at most @chunks_max chunks without a registration.  Driver's thread.  Returns how many. */
OURO__DRIVER_THREAD uint32_t ouro__registration_set_trim(struct ouro__registration_set *set,
                                                         uint32_t chunks_max);

#endif
