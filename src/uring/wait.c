/* SPDX-License-Identifier: MIT */
/*
 * Wait: an operation that waits for its descriptor by a poll of ours, and is then made again.
 *
 * Usually the kernel waits by itself.  There are two exceptions: it gives up (-EAGAIN, a CONNECT
 * with the result -EINPROGRESS), or its way of waiting does harm (uring/rows.c).  The poll has the
 * operation's own token, so the operation has one request in the kernel at any time, and cancelling
 * it is cancelling that.
 *
 * The kernel reports POLLRDHUP whether it was asked for or not.  So where the peer has ended its
 * half, a one-shot poll for room ends at once although there is no room.  The wait then goes on as
 * a multishot poll, which after its first report reports changes only.  When it reports a requested
 * event, it is cancelled, and its last CQE ends the wait.
 *
 * Owns:    nothing.
 * Threads: the owner's.
 * Always:  the operation has one request in the kernel, or one place in the backlog.
 * Tests:   tests/uring/test_rows.c
 */
#include "uring/rows.h"

#include <errno.h>
#include <poll.h>

#define WAIT_FLAGS (OURO__URING_WAITING | OURO__URING_MULTISHOT | OURO__URING_ANSWERED)

static int wait_for(const struct ouro__op *op, uint32_t *events)
{
    const struct ouro__uring_row *row = ouro__uring_row_of(op);
    if (row->wait_for != NULL)
        return row->wait_for(op, events);
    *events = row->waits_for;
    return op->fd;
}

static bool is_answer(const struct ouro__op *op, int32_t result)
{
    uint32_t events = 0;
    (void)wait_for(op, &events);
    return ((uint32_t)result & (events | POLLERR | POLLHUP | POLLNVAL)) != 0;
}

void ouro__uring_wait_begin(struct ouro__uring *uring, struct ouro__op *op)
{
    op->backend |= OURO__URING_WAITING;
    ouro__uring_queue(uring, op);
}

void ouro__uring_wait_prepare(struct io_uring_sqe *sqe, const struct ouro__op *op)
{
    uint32_t events = 0;
    int fd = wait_for(op, &events);
    if ((op->backend & OURO__URING_MULTISHOT) != 0)
        io_uring_prep_poll_multishot(sqe, fd, events);
    else
        io_uring_prep_poll_add(sqe, fd, events);
}

void ouro__uring_wait_event(struct ouro__uring *uring, struct ouro__op *op, int32_t result)
{
    if ((op->backend & (OURO__URING_ANSWERED | OURO__URING_CANCELLED)) != 0 ||
        !is_answer(op, result))
        return;
    op->backend |= OURO__URING_ANSWERED;
    ouro__uring_queue_cancel(uring, op);
}

bool ouro__uring_wait_end(struct ouro__uring *uring, struct ouro__op *op, int32_t *result)
{
    const struct ouro__uring_row *row = ouro__uring_row_of(op);
    bool answered = (op->backend & OURO__URING_ANSWERED) != 0;
    if ((op->backend & OURO__URING_CANCELLED) != 0)
        *result = -ECANCELED;
    if ((op->backend & OURO__URING_CANCELLED) != 0 || (*result < 0 && !answered))
        return true;
    if (!answered && !is_answer(op, *result)) {
        op->backend |= OURO__URING_MULTISHOT;
        ouro__uring_queue(uring, op);
        return false;
    }
    op->backend &= (uint16_t)~WAIT_FLAGS;
    enum ouro__uring_next next = OURO__URING_AGAIN;
    if (row->waited != NULL)
        next = row->waited(op, result);
    if (next == OURO__URING_AGAIN)
        ouro__uring_queue(uring, op);
    else if (next == OURO__URING_WAITS)
        ouro__uring_wait_begin(uring, op);
    return next == OURO__URING_ENDS;
}
