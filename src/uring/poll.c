/* SPDX-License-Identifier: MIT */
/*
 * Poll: how a descriptor's events become readiness on io_uring.
 *
 * One multishot POLL_ADD stays in the kernel for as long as the registration lives.  It reports the
 * state when it is armed and then each change, as an edge-triggered epoll set does, so both
 * backends give the same readiness and a wait needs no request of its own.  (A one-shot poll for
 * each wait reports states, not changes: an unread error queue ends every wait at once.)
 *
 * The kernel ends a multishot poll when the completion queue is full.  The last CQE carries its
 * events and no F_MORE; the poll is then armed again, and what changed meanwhile is reported as the
 * state at that time.
 *
 * POLLPRI needs help.  io_uring leaves it out when it compares a wake-up with what a poll is armed
 * for, so a poll for POLLPRI alone sleeps on when urgent data arrives; and it reports what the
 * wake-up was for, which for a socket is POLLPRI with any data.  So a poll for PRIORITY is armed
 * for POLLIN as well, and POLLPRI is reported only if poll(2) reports it too.
 *
 * Only the owner's thread may use the ring.  attach() on another thread sends a message; the slot
 * is not released while the message is on its way.  The registration may end before the message
 * arrives, and the descriptor's number may have a new owner by then: nothing is armed for a
 * registration that was detached.
 *
 * Owns:    struct ouro__uring_poll, in sio->attached; freed with the slot.
 * Threads: as labelled in ring.h.
 * Always:  after detach() and after a shutdown nothing is armed.
 * Tests:   tests/uring/test_poll.c, tests/net/test_poll_evented.c, tests/model/model_driver.c
 */
#include "base/alloc.h"
#include "registry/descriptor_kind.h"
#include "uring/pollable.h"
#include "uring/ring.h"

#include <ouro/error.h>

#include <errno.h>
#include <poll.h>

/* sio->backend */
#define SIO_DETACHED (1u << 0)

struct ouro__uring_poll {
    struct ouro__op op;
    struct ouro__inbox_node message; /* arms it */
};

static uint32_t events_of(uint32_t interest)
{
    uint32_t events = 0; /* POLLERR and POLLHUP are always reported */
    if ((interest & OURO_READABLE) != 0)
        events |= POLLIN | POLLRDHUP;
    if ((interest & OURO_WRITABLE) != 0)
        events |= POLLOUT;
    if ((interest & OURO_PRIORITY) != 0)
        events |= POLLPRI | POLLIN;
    return events;
}

/* The part of @events that the poll was armed for and that is true now. */
static uint32_t true_events(const struct ouro__scheduled_io *sio, uint32_t events)
{
    struct pollfd look = {.fd = sio->fd, .events = POLLPRI};
    if ((events & POLLPRI) != 0 && poll(&look, 1, 0) >= 0 && (look.revents & POLLPRI) == 0)
        events &= ~(uint32_t)POLLPRI;
    if ((sio->interest & OURO_READABLE) == 0)
        events &= ~(uint32_t)POLLIN;
    return events;
}

/* No task can wait for it any more: it was detached, or the driver shut down. */
static bool is_over(const struct ouro__scheduled_io *sio)
{
    return (ouro__load(&sio->backend, memory_order_acquire) & SIO_DETACHED) != 0 ||
           ouro__readiness_is_shutdown(ouro__load(&sio->readiness, memory_order_acquire));
}

/* If the registration ends right after this check, its release or the shutdown cancels the poll. */
static void arm(struct ouro__op *op)
{
    if (is_over(op->sio))
        return;
    op->state = OURO__OP_IDLE;
    ouro__driver_submit(op->sio->handle->driver, op);
}

/* The poll has ended: by a cancellation, an error, or a full completion queue. */
static void poll_done(struct ouro__op *op)
{
    if (op->result >= 0)
        arm(op);
}

static void arm_requested(struct ouro__inbox_node *node)
{
    struct ouro__uring_poll *poll = OURO__CONTAINER_OF(node, struct ouro__uring_poll, message);
    struct ouro__scheduled_io *sio = poll->op.sio;
    arm(&poll->op);
    ouro__store(&sio->messages, 0, memory_order_release);
}

static OURO__NOINLINE int attach_poll(struct ouro__driver_handle *handle,
                                      struct ouro__scheduled_io *sio)
{
    /* A pipe can always be waited for, and the check would need a descriptor. */
    int rc = sio->kind == OURO__KIND_PIPE ? 0 : ouro__pollable(sio->fd);
    if (rc < 0)
        return rc;
    struct ouro__uring_poll *poll = ouro__calloc(1, sizeof(*poll));
    if (poll == NULL)
        return -ENOMEM;
    sio->attached = poll;
    poll->op = (struct ouro__op){.sio = sio,
                                 .code = OURO__OP_POLL,
                                 .lane = OURO__LANE_POLL,
                                 .done = poll_done,
                                 .arg.poll.events = events_of(sio->interest)};
    OURO__TRACE(handle, .kind = OURO_TRACE_ARMED, .fd = sio->fd, .token = ouro__sio_token(sio, 0),
                .a = poll->op.arg.poll.events);
    if (ouro__driver_is_here(handle) && handle->driver != NULL) {
        arm(&poll->op);
        return 0;
    }
    ouro__store(&sio->messages, 1, memory_order_relaxed);
    poll->message.run = arm_requested;
    if (ouro__driver_send(handle, &poll->message))
        return 0;
    ouro__store(&sio->messages, 0, memory_order_relaxed);
    return -OURO_ESHUTDOWN;
}

int ouro__uring_attach(struct ouro__driver_handle *handle, struct ouro__scheduled_io *sio)
{
    if ((sio->flags & OURO__SIO_READINESS) == 0)
        return 0; /* the kernel takes the descriptor with each operation */
    return attach_poll(handle, sio);
}

void ouro__uring_detach(struct ouro__driver_handle *handle, struct ouro__scheduled_io *sio)
{
    struct ouro__uring_poll *poll = sio->attached;
    if (poll == NULL || (sio->flags & OURO__SIO_READINESS) == 0)
        return; /* operations in flight are cancelled by the release */
    (void)ouro__fetch_or(&sio->backend, SIO_DETACHED, memory_order_acq_rel);
    /* The poll keeps the file open.  Cancelled here it ends in the coming turn already. */
    if (ouro__driver_is_here(handle) && handle->driver != NULL)
        ouro__driver_cancel(handle->driver, &poll->op);
}

void ouro__uring_poll_event(struct ouro__uring *uring, struct ouro__op *op, int32_t result)
{
    if (result >= 0)
        ouro__driver_event(&uring->driver, op->sio, true_events(op->sio, (uint32_t)result));
    else if ((op->backend & OURO__URING_CANCELLED) == 0)
        ouro__driver_ready(&uring->driver, op->sio, OURO_ERROR | OURO__READY_FINAL);
}
