/* SPDX-License-Identifier: MIT */
/*
 * The epoll backend: the driver for kernels and sandboxes without io_uring.
 *
 *   epoll.c     open, close, turn; the table
 *   rows.c      what is special about each operation
 *   emulate.c   an operation is tried, completes or goes on waiting
 *   loan.c      receives into buffers of the driver's pool
 *   connect.c   connect: begun first, its result read later
 *   events.c    epoll_wait, and what an event means
 *   epoll_set.c  epoll_ctl, and which registration added which descriptor number
 */
#ifndef OURO_EPOLL_EPOLL_H
#define OURO_EPOLL_EPOLL_H

#include "base/atomic.h"
#include "registry/driver.h"

#include <sys/epoll.h>

extern const struct ouro__driver_ops ouro__epoll_ops;

enum { OURO__EPOLL_BATCH = 256 };

/* What operations wait for; one registration serves all lanes of a descriptor. */
#define OURO__EPOLL_EVENTS ((uint32_t)(EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI) | EPOLLET)

/* op->backend */
enum {
    OURO__EPOLL_OP_QUEUED = 1u << 0,    /* in the list of tries */
    OURO__EPOLL_OP_CANCELLED = 1u << 1, /* ends with -ECANCELED when its turn comes */
    OURO__EPOLL_OP_BEGUN = 1u << 2,     /* connect(2) has been called */
    OURO__EPOLL_OP_EVENT = 1u << 3,     /* an event has come for it: try, whatever the word says */
    OURO__EPOLL_OP_DRY = 1u << 4,       /* waits for a buffer of the pool, in no list of ours */
};

/* sio->backend; DETACHED is set by any thread, so all go through the two functions below. */
enum {
    OURO__EPOLL_SIO_ARMED = 1u << 0,    /* added with OURO__EPOLL_EVENTS */
    OURO__EPOLL_SIO_DETACHED = 1u << 1, /* its owner has gone: the descriptor may be another's */
    OURO__EPOLL_SIO_TCP = 1u << 2,      /* a short read means that nothing is left */
    OURO__EPOLL_SIO_OTHER = 1u << 3,    /* it does not */
    OURO__EPOLL_SIO_URGENT = 1u << 4,   /* urgent data came: reads end at its mark */
    OURO__EPOLL_SIO_DRAINED = 1u << 5,  /* a read before it was added has probably emptied it */
};

/* handle->shared: lives as long as the handle, for registrations are dropped after close(), too. */
struct ouro__epoll_set {
    struct ouro__mutex lock;
    uint64_t *token; /* by descriptor number; 0: none */
    size_t size;
    int epoll_fd; /* -1: closed */
};

struct ouro__epoll {
    struct ouro__driver driver;
    struct ouro__epoll_set *set;
    int epoll_fd;
    struct ouro__queue tries; /* ops to be tried, or to be ended as cancelled */
    uint32_t unwatched_turns; /* in a row that did not look for events */
    int seen;                 /* events that a look has fetched, or -errno */
    bool lacks_pwait2;        /* epoll_pwait2(2) is missing or refused */
    bool lacks_ppoll;         /* and ppoll(2) */
    struct epoll_event event[OURO__EPOLL_BATCH];
};

static inline uint32_t ouro__epoll_sio_flags(const struct ouro__scheduled_io *sio)
{
    return ouro__load(&sio->backend, memory_order_acquire);
}

static inline void ouro__epoll_sio_mark(struct ouro__scheduled_io *sio, uint32_t flags)
{
    (void)ouro__fetch_or(&sio->backend, flags, memory_order_acq_rel);
}

/* rows.c */
OURO__ANY_THREAD bool ouro__epoll_has_row(unsigned code);

/* Puts @op on the list of tries unless it stands there. */
OURO__DRIVER_THREAD void ouro__epoll_queue(struct ouro__epoll *epoll, struct ouro__op *op);

/* Tries everything that is on the list now, and completes what ends. */
OURO__DRIVER_THREAD void ouro__epoll_run_tries(struct ouro__epoll *epoll);

/* try_now() of the table: a try outside of turn(). */
OURO__DRIVER_THREAD int32_t ouro__epoll_try_now(struct ouro__driver *driver, struct ouro__op *op);

/*
 * connect.c: makes the call the first time, reads its result the next.  True when the connect has
 * ended, with its result; false when an event must be waited for.
 */
struct ouro__epoll_row;
OURO__DRIVER_THREAD bool ouro__epoll_connect(const struct ouro__epoll_row *row, struct ouro__op *op,
                                             int32_t *out_result);

/* loan.c: @op waited for a buffer, and is cancelled; or has it now. */
OURO__DRIVER_THREAD void ouro__epoll_leave_loan(struct ouro__op *op);
OURO__DRIVER_THREAD void ouro__epoll_resume_loan(struct ouro__driver *driver, struct ouro__op *op);

/* events.c: waits at most @timeout_ns for events and queues the tries they call for.  0 or -errno.
 */
OURO__DRIVER_THREAD int ouro__epoll_collect(struct ouro__epoll *epoll, int64_t timeout_ns);

/*
 * epoll_set.c: the table of @handle's driver, made on the first open and kept for the next; close()
 * empties it.  Errors: -ENOMEM.
 */
int ouro__epoll_set_open(struct ouro__driver_handle *handle, int epoll_fd,
                         struct ouro__epoll_set **out_owners);
void ouro__epoll_set_close(struct ouro__epoll_set *set);

/*
 * Adds sio->fd with @events, or changes what it was added with.  Any thread.
 * Errors: -ECANCELED when @sio is detached; -OURO_ESHUTDOWN when the driver is closed; -EEXIST when
 *         another live registration has added the descriptor; -EBADF; -ENOMEM; those of
 *         epoll_ctl(2).
 */
OURO__ANY_THREAD int ouro__epoll_set_add(struct ouro__epoll_set *set,
                                         struct ouro__scheduled_io *sio, uint32_t events);

/* Takes sio->fd out if it is @sio that added it; @sio can add nothing any more.  Any thread. */
OURO__ANY_THREAD void ouro__epoll_set_remove(struct ouro__epoll_set *set,
                                             struct ouro__scheduled_io *sio);

#endif
