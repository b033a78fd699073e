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

struct ouro__registration_set {
    struct ouro__mutex lock;
    bool is_shutdown; /* written by the driver's thread, under the lock */
    bool release_due; /* deregistered since the last release(): the driver has been told */
    uint32_t slots;   /* made so far */
    struct ouro__scheduled_io *free;
    struct ouro__list live;
    struct ouro__list pending;
    _Atomic uint32_t num_pending_release;
    uint64_t registered;
    uint64_t deregistered;
    _Atomic(struct ouro__scheduled_io *) *chunk; /* OURO__SLAB_CHUNKS_MAX pointers */
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

#endif
