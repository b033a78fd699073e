/* SPDX-License-Identifier: MIT */
/*
 * ScheduledIo: the state that the owner of a registered descriptor and its driver share.
 */
#ifndef OURO_REGISTRY_SCHEDULED_IO_H
#define OURO_REGISTRY_SCHEDULED_IO_H

#include "base/list.h"
#include "base/mutex.h"
#include "registry/op.h"
#include "registry/readiness.h"

#include <ouro/waker.h>

struct ouro__driver_handle;

/* Attached with ouro__registration_new() for a descriptor whose readiness is waited for. */
#define OURO__SIO_READINESS (1u << 0)
/* Connections are accepted from it: attached is a struct ouro__accept_queue. */
#define OURO__SIO_ACCEPTS (1u << 1)

enum ouro__sio_state {
    OURO__SIO_FREE = 0,         /* in the slab's free list */
    OURO__SIO_LIVE = 1,         /* registered */
    OURO__SIO_DEREGISTERED = 2, /* its owner has gone; freed when nothing is in flight */
};

/* A waiter in the list; lies in the waiter's frame.  Linked, or woken, never both. */
struct ouro__io_waiter {
    struct ouro__list link;
    struct ouro_waker waker; /* owned by the node while it is linked */
    uint32_t interest;
    bool linked; /* under the lock */
};

/* Whole cache lines, but not pairs of them: a pair is for what two threads write. */
enum { OURO__SIO_ALIGNMENT = 64 };

struct OURO__ALIGNED(OURO__SIO_ALIGNMENT) ouro__scheduled_io {
    /* What every operation touches comes first, in as few cache lines as can be: with many
     * descriptors each line is a cache miss. */

    /* Shared, lock-free. */
    _Atomic uint64_t readiness;

    /* Constant from attach to release. */
    struct ouro__driver_handle *handle;
    uint32_t index;
    uint32_t generation;
    int fd;

    /* The driver's thread only. */
    uint32_t inflight;        /* operations, waiting ones too, QUIESCE not counted */
    _Atomic uint32_t backend; /* the backend's own flags */
    uint32_t ready_pending;   /* readiness collected in this turn, waiters not yet woken */
    bool closing;             /* being quiesced or released: new operations are refused */
    uint8_t kind;             /* enum ouro__descriptor_kind */

    /* Constant from attach to release, as well. */
    uint8_t flags;     /* OURO__SIO_... */
    uint32_t interest; /* of a descriptor whose readiness is waited for */

    /* The driver's thread only. */
    struct ouro__op *lane[OURO__LANES];
    struct ouro__queue_node ready_node;

    /* Any thread. */
    _Atomic uint32_t messages; /* about it, on their way to the driver: it is not released */

    /* Shared, under the lock: who waits. */
    struct ouro__mutex lock;
    struct ouro_waker reader; /* poll_ready's two places; vtable NULL: empty */
    struct ouro_waker writer;
    struct ouro__list waiters; /* struct ouro__io_waiter */
    uint8_t reader_interest;
    uint8_t writer_interest;

    _Atomic bool must_check; /* any thread: some readiness came from a state that may have ended */

    /* RegistrationSet's, under its lock. */
    uint8_t state;          /* enum ouro__sio_state */
    struct ouro__list link; /* live, or pending release; while free: next is the next free one's */

    void *attached; /* the backend's memory, or an AcceptQueue; freed with the slot */
};

/* It is a large part of what an idle connection costs. */
_Static_assert(sizeof(void *) != 8 ||
                   sizeof(struct ouro__scheduled_io) == (size_t)3 * OURO__SIO_ALIGNMENT,
               "a ScheduledIo takes three cache lines");

static inline uint64_t ouro__sio_token(const struct ouro__scheduled_io *sio, unsigned lane)
{
    return ouro__token(sio->generation, sio->index, lane);
}

/* Whether the readiness word has all of @ready. */
static inline bool ouro__sio_is_ready(const struct ouro__scheduled_io *sio, uint32_t ready)
{
    uint64_t word = ouro__load(&sio->readiness, memory_order_relaxed);
    return (ouro__readiness_ready(word) & ready) == ready;
}

/* Once, when the slab makes the slot. */
void ouro__sio_init(struct ouro__scheduled_io *sio, uint32_t index);
void ouro__sio_fini(struct ouro__scheduled_io *sio);

/*
 * ORs @ready in and wakes the waiters that it concerns, with no lock held.  Driver's thread.
 */
OURO__DRIVER_THREAD void ouro__sio_set_ready(struct ouro__scheduled_io *sio, uint32_t ready);

/* As set_ready() without waking: for descriptors whose readiness cannot be waited for. */
OURO__DRIVER_THREAD void ouro__sio_hint(struct ouro__scheduled_io *sio, uint32_t ready);

/* Clears the bits seen in @snapshot unless newer readiness was set.  Any thread. */
OURO__ANY_THREAD void ouro__sio_clear(struct ouro__scheduled_io *sio, uint64_t snapshot,
                                      uint32_t ready);

/* Sets SHUTDOWN and wakes all.  Any thread. */
OURO__ANY_THREAD void ouro__sio_shut_down(struct ouro__scheduled_io *sio);

/* Wakes all, and drops the wakers that are stored.  Any thread. */
OURO__ANY_THREAD void ouro__sio_wake_all(struct ouro__scheduled_io *sio);

/*
 * Reads the word; if nothing of @interest is ready, stores a clone of @waker in the reader's or the
 * writer's place and reads the word again.  1: ready, *out_word is what was seen.  0: stored.
 * -OURO_ESHUTDOWN.  Any thread.
 */
OURO__ANY_THREAD int ouro__sio_poll(struct ouro__scheduled_io *sio, uint32_t interest,
                                    const struct ouro_waker *waker, uint64_t *out_word);

/*
 * Reads the word; if nothing of @interest is ready, links @node (whose waker it takes) and reads
 * the word again.  1: ready, not linked.  0: linked; remove it with ouro__sio_unlink().
 * -OURO_ESHUTDOWN.  After 1 or an error the waker is still the caller's.  Any thread.
 */
OURO__ANY_THREAD int ouro__sio_link(struct ouro__scheduled_io *sio, struct ouro__io_waiter *node,
                                    uint64_t *out_word);

/* Unlinks a node that may have been woken meanwhile.  Its waker is the caller's again, or empty. */
OURO__ANY_THREAD void ouro__sio_unlink(struct ouro__scheduled_io *sio,
                                       struct ouro__io_waiter *node);

#endif
