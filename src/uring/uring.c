/* SPDX-License-Identifier: MIT */
/*
 * The io_uring backend: submit, cancel, unpark, and the table.
 *
 * submit() fills an SQE; the next turn() submits it to the kernel with all others.  When the queue
 * is full it is submitted early.  When the kernel takes nothing, operations wait in the backlog, in
 * order.
 *
 * cancel() depends on where the operation is.  In the backlog, waiting for a buffer, or in an SQE
 * that the kernel has not seen, it is withdrawn and ends in the coming turn.  In the kernel, a
 * cancellation is requested, and the operation ends by its own CQE, whatever the cancellation's
 * result is.  Some kernels miss a cancellation, so a cancel() in a later turn makes another
 * request.
 *
 * Owns:    nothing.
 * Threads: unpark() any, signal handlers too; attach() and detach() any; the rest the owner's.
 * Always:  an operation's memory is used by the kernel only between submit() and its completion.
 * Tests:   tests/uring/test_ring.c, tests/registry/test_driver.c
 */
#include "uring/uring.h"

#include "base/assert.h"
#include "uring/rows.h"

#include <errno.h>
#include <unistd.h>

static void submit(struct ouro__driver *driver, struct ouro__op *op)
{
    struct ouro__uring *uring = ouro__uring_of(driver);
    struct io_uring_sqe *sqe = NULL;
    if (OURO__LIKELY(ouro__queue_is_empty(&uring->backlog)))
        sqe = ouro__uring_sqe(uring);
    if (OURO__LIKELY(sqe != NULL)) {
        ouro__uring_prepare(uring, sqe, op);
        return;
    }
    ouro__uring_queue(uring, op);
}

/* Takes @op out of the backlog. */
static void leave_backlog(struct ouro__uring *uring, struct ouro__op *op)
{
    ouro__queue_remove(&uring->backlog, &op->node);
    op->backend &= (uint16_t)~OURO__URING_BACKLOG;
}

static void cancel(struct ouro__driver *driver, struct ouro__op *op)
{
    struct ouro__uring *uring = ouro__uring_of(driver);
    if ((op->backend & OURO__URING_WITHDRAWN) != 0)
        return;
    uint16_t stamp = (uint16_t)(uring->turns << OURO__URING_STAMP_SHIFT);
    uint16_t stamp_mask = (uint16_t)(0xffffu << OURO__URING_STAMP_SHIFT);
    bool repeats =
        (op->backend & OURO__URING_CANCELLED) != 0 && (op->backend & stamp_mask) == stamp;
    op->backend = (uint16_t)((op->backend & ~stamp_mask) | stamp | OURO__URING_CANCELLED);
    if (repeats || (op->backend & OURO__URING_CANCEL_QUEUED) != 0)
        return;

    bool in_backlog = (op->backend & OURO__URING_BACKLOG) != 0;
    bool is_dry = (op->backend & OURO__URING_DRY) != 0;
    if (in_backlog)
        leave_backlog(uring, op);
    if (is_dry)
        ouro__uring_leave_loan(op);
    if (in_backlog || is_dry || ouro__uring_withdraw(uring, op->token)) {
        op->backend |= OURO__URING_WITHDRAWN;
        ouro__queue_push(&uring->withdrawn, &op->node);
        return;
    }
    struct io_uring_sqe *sqe = ouro__uring_sqe(uring);
    if (sqe != NULL) {
        ouro__uring_prepare_cancel(sqe, op);
        return;
    }
    ouro__uring_queue_cancel(uring, op);
}

static bool has_row(unsigned code)
{
    return code < OURO__OP_CODES && ouro__uring_rows[code].begin != NULL;
}

static void unpark(struct ouro__driver_handle *handle)
{
    int saved_errno = errno;
    uint64_t one = 1;
    ssize_t written = 0;
    do {
        written = write(handle->wake_fd, &one, sizeof(one));
    } while (written < 0 && errno == EINTR);
    OURO__ASSERT(written == sizeof(one));
    errno = saved_errno;
}

const struct ouro__driver_ops ouro__uring_ops = {
    .name = "io_uring",
    .has_row = has_row,
    .open = ouro__uring_open,
    .close = ouro__uring_close,
    .attach = ouro__uring_attach,
    .detach = ouro__uring_detach,
    .submit = submit,
    .cancel = cancel,
    .resume = ouro__uring_resume_loan,
    .turn = ouro__uring_turn,
    .unpark = unpark,
    .poll_fd = ouro__uring_poll_fd,
    .settle = ouro__uring_settle,
    .trim_loans = ouro__uring_trim_loans,
};
