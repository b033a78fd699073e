/* SPDX-License-Identifier: MIT */
/*
 * Prepare: an operation becomes an SQE; and an SQE that the kernel has not seen yet can be taken
 * back.
 *
 * Rules kept here: user_data is always set, since SQEs are reused and an old one would name another
 * operation; and it is never a pointer.
 *
 * When io_uring_enter(2) fails, the SQEs it did not take stay in the queue, and the next successful
 * call runs them.  So an operation whose SQE is still there either goes on waiting, or has the SQE
 * overwritten by a NOP before its end is reported.
 *
 * Owns:    the SQEs between the kernel's head and our tail.
 * Threads: the owner's.
 * Always:  an SQE that names an operation exists only while that operation is in flight.
 * Tests:   tests/uring/test_ring.c
 */
#include "base/assert.h"
#include "probe/abi.h"
#include "uring/rows.h"

/* Where the wake reads put the counter, which has no reader.  Not in the driver: the kernel may
 * still write to it after close(), while it takes the ring apart in the background. */
static uint64_t wake_counter;

struct io_uring_sqe *ouro__uring_sqe(struct ouro__uring *uring)
{
    struct io_uring_sqe *sqe = NULL;
    if (OURO__LIKELY(ouro__fault(OURO__FAULT_RING_SQE) == 0))
        sqe = io_uring_get_sqe(&uring->ring);
    if (OURO__LIKELY(sqe != NULL))
        return sqe;
    if (ouro__uring_submit(uring, 0, 0, 0) < 0) /* turn() tries again, and handles the error */
        return NULL;
    return ouro__fault(OURO__FAULT_RING_SQE) == 0 ? io_uring_get_sqe(&uring->ring) : NULL;
}

static OURO__COLD void trace_submitted(const struct ouro__op *op, unsigned opcode)
{
    OURO__TRACE(op->handle, .kind = OURO_TRACE_SUBMITTED, .fd = op->fd, .token = op->token,
                .a = opcode, .name = ouro__op_name(op->code));
}

void ouro__uring_prepare(struct ouro__uring *uring, struct io_uring_sqe *sqe, struct ouro__op *op)
{
    const struct ouro__uring_row *row = ouro__uring_row_of(op);
    if (OURO__UNLIKELY((op->backend & OURO__URING_WAITING) != 0)) {
        ouro__uring_wait_prepare(sqe, op);
    } else {
        ouro__sanitize_submit(op, row->memory);
        row->begin(uring, sqe, op);
    }
    sqe->user_data = op->token;
    if (OURO__UNLIKELY(uring->driver.handle->trace != NULL))
        trace_submitted(op, sqe->opcode);
}

void ouro__uring_queue(struct ouro__uring *uring, struct ouro__op *op)
{
    op->backend |= OURO__URING_BACKLOG;
    ouro__queue_push(&uring->backlog, &op->node);
}

void ouro__uring_queue_cancel(struct ouro__uring *uring, struct ouro__op *op)
{
    op->backend |= OURO__URING_CANCEL_QUEUED;
    ouro__queue_push(&uring->cancels, &op->node);
}

void ouro__uring_prepare_cancel(struct io_uring_sqe *sqe, const struct ouro__op *op)
{
    /* Cancels by user_data, which is unique.  Cancelling by descriptor and user_data cancels the
     * wrong request on some kernels.  A successful cancellation posts no CQE of its own; the
     * operation's own CQE is enough. */
    io_uring_prep_cancel64(sqe, op->token, 0);
    sqe->user_data = OURO__URING_IGNORE;
    sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
}

void ouro__uring_prepare_wake(struct ouro__uring *uring, struct io_uring_sqe *sqe)
{
    io_uring_prep_read(sqe, uring->driver.handle->wake_fd, &wake_counter, sizeof(wake_counter), 0);
    sqe->user_data = OURO__URING_WAKE;
}

bool ouro__uring_withdraw(struct ouro__uring *uring, uint64_t token)
{
    const struct io_uring_sq *sq = &uring->ring.sq;
    for (unsigned i = IO_URING_READ_ONCE(*sq->khead); i != sq->sqe_tail; i++) {
        struct io_uring_sqe *sqe = &sq->sqes[i & sq->ring_mask];
        if (sqe->user_data != token)
            continue;
        io_uring_prep_nop(sqe);
        sqe->user_data = OURO__URING_IGNORE;
        sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
        return true;
    }
    return false;
}
