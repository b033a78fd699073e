/* SPDX-License-Identifier: MIT */
/*
 * The io_uring backend: submit, cancel, unpark, and the table.
 *
 * submit() fills an SQE and that is all; the kernel hears of it in the next turn(), together with
 * everything else.  When the queue is full it is handed over early; when the kernel takes nothing,
 * operations wait in the backlog, in order.
 *
 * cancel() looks where the operation is.  In the backlog, or in an SQE the kernel has not seen:
 * then the kernel never will, and it ends in the coming turn.  In the kernel: then the kernel is
 * asked to cancel it, and its CQE is the only truth about how it ended.  A request that is asked
 * for again in a later turn is made again: kernels have been known to miss one.
 *
 * Owns:    nothing.
 * Threads: unpark() any, signal handlers too; attach() and detach() any; the rest the owner's.
 * Always:  an operation's memory is used by the kernel only between submit() and its completion.
 * Tests:   tests/uring/test_ring.c, tests/registry/test_driver.c
 */
#include "uring/uring.h"

#include "base/assert.h"
#include "uring/ring.h"

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
    op->backend |= OURO__URING_BACKLOG;
    ouro__queue_push(&uring->backlog, &op->node);
}

/* Takes @op out of the backlog. */
static void leave_backlog(struct ouro__uring *uring, struct ouro__op *op)
{
    ouro__uring_unlink(&uring->backlog, &op->node);
    op->backend &= (uint8_t)~OURO__URING_BACKLOG;
}

static void cancel(struct ouro__driver *driver, struct ouro__op *op)
{
    struct ouro__uring *uring = ouro__uring_of(driver);
    if ((op->backend & (OURO__URING_WITHDRAWN | OURO__URING_CANCEL_QUEUED)) != 0)
        return;
    uint8_t stamp = (uint8_t)(uring->turns << OURO__URING_STAMP_SHIFT);
    uint8_t stamp_mask = (uint8_t)(0xffu << OURO__URING_STAMP_SHIFT);
    if ((op->backend & OURO__URING_CANCELLED) != 0 && (op->backend & stamp_mask) == stamp)
        return;
    op->backend = (uint8_t)((op->backend & ~stamp_mask) | stamp | OURO__URING_CANCELLED);

    bool in_backlog = (op->backend & OURO__URING_BACKLOG) != 0;
    if (in_backlog)
        leave_backlog(uring, op);
    if (in_backlog || ouro__uring_withdraw(uring, ouro__sio_token(op->sio, op->lane))) {
        op->backend |= OURO__URING_WITHDRAWN;
        ouro__queue_push(&uring->withdrawn, &op->node);
        return;
    }
    struct io_uring_sqe *sqe = ouro__uring_sqe(uring);
    if (sqe != NULL) {
        ouro__uring_prepare_cancel(sqe, op);
        return;
    }
    op->backend |= OURO__URING_CANCEL_QUEUED;
    ouro__queue_push(&uring->cancels, &op->node);
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
    .capabilities = OURO__DRIVER_TELLS_RESULTS,
    .open = ouro__uring_open,
    .close = ouro__uring_close,
    .attach = ouro__uring_attach,
    .detach = ouro__uring_detach,
    .submit = submit,
    .cancel = cancel,
    .turn = ouro__uring_turn,
    .unpark = unpark,
};
