/* SPDX-License-Identifier: MIT */
/*
 * Registration: an owner's end of one registered descriptor.
 *
 * On epoll readiness comes by itself, edge-triggered, from the registration on.  On io_uring it
 * must be asked for: for each interest that somebody waits for, one one-shot poll operation is kept
 * in flight ("armed"), in the lane of that interest.  A bit in `wanted` says that one is armed or
 * about to be.  When it completes, the driver takes the bit out first and sets the readiness then:
 * who looked too early finds the bit gone and arms again, who looked late finds the readiness.
 *
 * Owns:    the poll operations of a descriptor whose readiness is waited for.
 * Threads: as labelled in the header.
 * Always:  a failed registration leaves nothing in the set.
 * Tests:   tests/registry/test_driver_release.c, tests/model/model_driver.c
 */
#include "registry/registration.h"

#include "base/alloc.h"
#include "base/fault.h"

#include <errno.h>
#include <poll.h>
#include <sys/stat.h>

/* The interests in the order of their poll lanes. */
static const struct {
    uint32_t interest;
    uint32_t events;
} poll_lanes[4] = {
    {OURO_READABLE, POLLIN | POLLRDHUP},
    {OURO_WRITABLE, POLLOUT},
    {OURO_PRIORITY, POLLPRI | POLLRDHUP},
    {OURO_ERROR, 0}, /* POLLERR is always reported */
};

static uint32_t ready_from_poll(uint32_t events)
{
    uint32_t ready = 0;
    if ((events & (POLLIN | POLLPRI)) != 0)
        ready |= OURO_READABLE;
    if ((events & POLLPRI) != 0)
        ready |= OURO_PRIORITY;
    if ((events & POLLOUT) != 0)
        ready |= OURO_WRITABLE;
    if ((events & POLLHUP) != 0)
        ready |= OURO_READ_CLOSED | OURO_WRITE_CLOSED;
    if ((events & POLLRDHUP) != 0)
        ready |= OURO_READ_CLOSED;
    if ((events & POLLERR) != 0)
        ready |= OURO_ERROR | OURO_WRITE_CLOSED;
    return ready;
}

/* A poll operation has ended: tell.  (One that answers nobody's question does not end: see
 * uring/complete.c, finish_poll().) */
static void poll_done(struct ouro__op *op)
{
    struct ouro__scheduled_io *sio = op->sio;
    struct ouro__poll_lanes *poll = sio->poll;
    uint32_t interest = poll_lanes[op - poll->op].interest;
    op->state = OURO__OP_IDLE;
    ouro__fetch_and(&poll->wanted, ~interest, memory_order_acq_rel);
    if (op->result == -ECANCELED)
        return;
    uint32_t ready =
        op->result < 0 ? OURO_ERROR | OURO__READY_FINAL : ready_from_poll((uint32_t)op->result);
    uint64_t before = ouro__load(&sio->readiness, memory_order_relaxed);
    ouro__counter_add(&sio->handle->counters.ready, 1);
    ouro__sio_set_ready(sio, ready);
    OURO__TRACE(sio->handle, .kind = OURO_TRACE_READINESS, .fd = sio->fd,
                .token = ouro__sio_token(sio, op->lane), .a = before,
                .b = ouro__load(&sio->readiness, memory_order_relaxed));
}

/* Owner's thread: submits what is wanted and not in flight. */
static void arm_here(struct ouro__scheduled_io *sio)
{
    struct ouro__poll_lanes *poll = sio->poll;
    uint32_t wanted = ouro__load(&poll->wanted, memory_order_acquire);
    for (unsigned i = 0; i < OURO__ARRAY_LEN(poll_lanes); i++) {
        struct ouro__op *op = &poll->op[i];
        if ((wanted & poll_lanes[i].interest) == 0 || op->state != OURO__OP_IDLE)
            continue;
        op->sio = sio;
        op->code = OURO__OP_POLL;
        op->lane = (uint8_t)(OURO__LANE_POLL_READ + i);
        op->done = poll_done;
        op->arg.poll.events = poll_lanes[i].events;
        ouro__driver_submit(sio->handle->driver, op);
    }
}

static void arm_requested(struct ouro__inbox_node *node)
{
    struct ouro__poll_lanes *poll = OURO__CONTAINER_OF(node, struct ouro__poll_lanes, arm_request);
    struct ouro__scheduled_io *sio = poll->op[0].sio;
    ouro__store(&poll->requested, 0, memory_order_release);
    arm_here(sio); /* if it was deregistered meanwhile, release() cancels what this submits */
}

/* Sees to it that the driver looks for @interest. */
static void arm(struct ouro__scheduled_io *sio, uint32_t interest)
{
    struct ouro__poll_lanes *poll = sio->poll;
    if (poll == NULL)
        return;
    uint32_t before = ouro__fetch_or(&poll->wanted, interest, memory_order_acq_rel);
    if ((before & interest) == interest)
        return;
    if (ouro__driver_is_here(sio->handle)) {
        arm_here(sio);
        return;
    }
    if (ouro__exchange(&poll->requested, 1, memory_order_acq_rel) == 0 &&
        !ouro__driver_send(sio->handle, &poll->arm_request))
        ouro__store(&poll->requested, 0, memory_order_release);
}

/* Whether the descriptor is something that can be waited for, in epoll's words. */
static int check_pollable(int fd)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return -errno;
    return S_ISREG(status.st_mode) || S_ISDIR(status.st_mode) ? -EPERM : 0;
}

static int attach(struct ouro__driver_handle *handle, struct ouro__scheduled_io *sio)
{
    if ((sio->flags & OURO__SIO_READINESS) != 0 &&
        (handle->ops->capabilities & OURO__DRIVER_ARMS_POLL) != 0) {
        sio->poll = ouro__calloc(1, sizeof(*sio->poll));
        if (sio->poll == NULL)
            return -ENOMEM;
        sio->poll->op[0].sio = sio;
        sio->poll->arm_request.run = arm_requested;
    }
    int rc = ouro__fault(OURO__FAULT_ATTACH);
    return rc == 0 ? handle->ops->attach(handle, sio) : rc;
}

int ouro__registration_new(struct ouro__driver_handle *handle, int fd, uint32_t interest,
                           struct ouro__registration *out_registration)
{
    struct ouro__scheduled_io *sio = NULL;
    int rc = interest == 0 ? 0 : check_pollable(fd);
    if (rc == 0)
        rc = ouro__registration_set_allocate(&handle->set, handle, fd,
                                             interest == 0 ? 0 : OURO__SIO_READINESS, &sio);
    if (rc != 0)
        return rc;
    sio->interest = interest;
    sio->poll = NULL;
    rc = attach(handle, sio);
    if (rc != 0) {
        if (ouro__registration_set_deregister(&handle->set, sio))
            ouro__driver_unpark(handle);
        return rc;
    }
    OURO__TRACE(handle, .kind = OURO_TRACE_REGISTERED, .fd = fd, .token = ouro__sio_token(sio, 0),
                .a = handle->index);
    out_registration->sio = sio;
    return 0;
}

void ouro__registration_end(struct ouro__registration *registration)
{
    struct ouro__scheduled_io *sio = registration->sio;
    sio->handle->ops->detach(sio->handle, sio);
    ouro__sio_wake_all(sio);
}

void ouro__registration_drop(struct ouro__registration *registration)
{
    struct ouro__scheduled_io *sio = registration->sio;
    if (sio == NULL)
        return;
    registration->sio = NULL;
    struct ouro__driver_handle *handle = sio->handle;
    OURO__TRACE(handle, .kind = OURO_TRACE_DEREGISTERED, .fd = sio->fd,
                .token = ouro__sio_token(sio, 0));
    handle->ops->detach(handle, sio);
    ouro__sio_wake_all(sio);
    bool nudge = ouro__registration_set_deregister(&handle->set, sio);
    if (nudge && !ouro__driver_is_here(handle))
        ouro__driver_unpark(handle);
}

int ouro__registration_poll(struct ouro__registration *registration, uint32_t interest,
                            const struct ouro_waker *waker, uint64_t *out_word)
{
    int rc = ouro__sio_poll(registration->sio, interest, waker, out_word);
    if (rc == 0)
        arm(registration->sio, interest);
    return rc;
}

int ouro__registration_link(struct ouro__registration *registration, struct ouro__io_waiter *node,
                            uint64_t *out_word)
{
    int rc = ouro__sio_link(registration->sio, node, out_word);
    if (rc == 0)
        arm(registration->sio, node->interest);
    return rc;
}

void ouro__registration_release(struct ouro__scheduled_io *sio)
{
    ouro__free(sio->poll);
    sio->poll = NULL;
}
