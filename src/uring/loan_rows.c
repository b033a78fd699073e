/* SPDX-License-Identifier: MIT */
/*
 * Loan rows: receives into buffers of the driver's pool, on io_uring.
 *
 * A receive on loan is a single-shot RECV for which the kernel chooses the buffer (buffers.c).  The
 * kernel answers -ENOBUFS when it finds no buffer, whether there is data or not; data stays in the
 * socket.  Then the operation gets a buffer of its own as soon as there is one, and is made again
 * as a plain RECV into that.  It does not wait in the kernel with its buffer: when there is no
 * data, it gives the buffer back and waits for data by a poll.
 *
 * Where there is no ring of buffers, the operation begins with that poll.
 *
 * Why not multishot: a single shot is measured as fast, a connection that nobody reads takes no
 * buffers, and some kernels lose the end of a Unix stream in a multishot receive.
 *
 * A kernel may name a buffer with a result of 0 or an error.  Such a buffer goes back to the pool.
 *
 * Owns:    nothing.
 * Threads: the owner's.
 * Always:  a request that waits in the kernel has no buffer.
 * Tests:   tests/uring/test_buffers.c, tests/stream/test_loan.c
 */
#include "base/assert.h"
#include "registry/lending.h"
#include "uring/rows.h"

#include <errno.h>
#include <sys/socket.h>

static struct ouro__loan_pool *pool_of(const struct ouro__op *op)
{
    return ouro__load(&op->handle->loans, memory_order_acquire);
}

void ouro__uring_begin_recv_loan(const struct ouro__uring *uring, struct io_uring_sqe *sqe,
                                 const struct ouro__op *op)
{
    struct ouro__uring *own = ouro__uring_of(op->handle->driver);
    unsigned size = ouro__uring_io_size(op->arg.io.size);
    (void)uring;
    if (op->arg.io.loan != NULL) {
        io_uring_prep_recv(sqe, op->fd, op->arg.io.buffer, size, MSG_DONTWAIT);
        return;
    }
    if (ouro__uring_buffers_offer(&own->buffers, &own->ring, pool_of(op))) {
        io_uring_prep_recv(sqe, op->fd, NULL, size, 0);
        sqe->flags = IOSQE_BUFFER_SELECT;
        sqe->buf_group = OURO__URING_GROUP;
        return;
    }
    /* A row may not change the operation, but this one comes after a wait. */
    ((struct ouro__op *)(uintptr_t)op)->backend |= OURO__URING_WAITING;
    ouro__uring_wait_prepare(sqe, op);
}

/* It needs no buffer then: who cancelled it may have buffers, and release them only when it has
 * ended. */
static bool was_cancelled(const struct ouro__op *op, int32_t *result)
{
    if ((op->backend & OURO__URING_CANCELLED) == 0)
        return false;
    *result = -ECANCELED;
    return true;
}

/* @op gets a buffer, or waits for one. */
static enum ouro__uring_next take_or_wait(struct ouro__op *op)
{
    if (ouro__lending_get(op))
        return OURO__URING_AGAIN;
    op->backend |= OURO__URING_DRY;
    return OURO__URING_DRY_WAIT;
}

/* In op->arg.io.flags: it was made again because the kernel had got buffers since it looked. */
#define MADE_AGAIN 1u

/* The kernel had no buffer for @op. */
static enum ouro__uring_next get_buffer(struct ouro__op *op, int32_t *result)
{
    struct ouro__loan_pool *pool = pool_of(op);
    if (was_cancelled(op, result))
        return OURO__URING_ENDS;
    /* Once: some kernels have lost buffers, and would answer the same for ever. */
    if (pool->home == NULL && pool->offered_count > 0 && op->arg.io.flags != MADE_AGAIN) {
        op->arg.io.flags = MADE_AGAIN;
        return OURO__URING_AGAIN;
    }
    enum ouro__uring_next next = take_or_wait(op);
    if (next == OURO__URING_AGAIN)
        ouro__uring_buffers_grow(&ouro__uring_of(op->handle->driver)->buffers, pool);
    return next;
}

enum ouro__uring_next ouro__uring_finish_recv_loan(const struct ouro__uring *uring,
                                                   struct ouro__op *op, int32_t *result)
{
    (void)uring;
    if (OURO__LIKELY(*result > 0)) {
        OURO__ASSERT(op->arg.io.loan != NULL);
        ouro__uring_buffers_learn(&ouro__uring_of(op->handle->driver)->buffers, *result);
        return OURO__URING_ENDS;
    }
    if (*result == -ENOBUFS && op->arg.io.loan == NULL)
        return get_buffer(op, result);
    ouro__lending_undo(op);
    return OURO__URING_ENDS;
}

enum ouro__uring_next ouro__uring_recv_loan_waited(struct ouro__op *op, int32_t *result)
{
    return get_buffer(op, result);
}

/* A request that does nothing: the pool is looked at when its CQE comes. */
void ouro__uring_begin_take_loan(const struct ouro__uring *uring, struct io_uring_sqe *sqe,
                                 const struct ouro__op *op)
{
    (void)uring;
    (void)op;
    io_uring_prep_nop(sqe);
}

enum ouro__uring_next ouro__uring_finish_take_loan(const struct ouro__uring *uring,
                                                   struct ouro__op *op, int32_t *result)
{
    (void)uring;
    if (*result < 0)
        ouro__lending_undo(op);
    if (*result < 0 || op->arg.io.loan != NULL || was_cancelled(op, result))
        return OURO__URING_ENDS;
    enum ouro__uring_next next = take_or_wait(op);
    return next == OURO__URING_AGAIN ? OURO__URING_ENDS : next;
}

void ouro__uring_claim_loan(struct ouro__uring *uring, struct ouro__op *op, uint32_t index)
{
    struct ouro__loan_pool *pool = ouro__load(&uring->driver.handle->loans, memory_order_acquire);
    OURO__ASSERT(pool != NULL);
    struct ouro__loan_buffer *buffer = ouro__loan_pool_claim(pool, index);
    bool takes_it = op != NULL && ouro__uring_row_of(op)->undo != NULL && op->arg.io.loan == NULL;
    if (takes_it)
        ouro__loan_buffer_assign(buffer, op);
    else
        ouro__lending_put(&uring->driver, buffer);
}

void ouro__uring_leave_loan(struct ouro__op *op)
{
    op->backend &= (uint16_t)~OURO__URING_DRY;
    ouro__loan_pool_leave(pool_of(op), op);
}

void ouro__uring_resume_loan(struct ouro__driver *driver, struct ouro__op *op)
{
    op->backend &= (uint16_t)~OURO__URING_DRY;
    ouro__uring_queue(ouro__uring_of(driver), op);
}

/* In @arg: whether a receive on loan is in flight. */
static void look_for_receive(void *arg, struct ouro__scheduled_io *sio)
{
    bool *is_receiving = arg;
    const struct ouro__op *op = sio->lane[OURO__LANE_READ];
    if (op != NULL && ouro__uring_row_of(op)->undo != NULL) /* which gives a buffer back */
        *is_receiving = true;
}

/* A look at all descriptors takes too long where there are more. */
#define DESCRIPTORS_MAX 4096

void ouro__uring_trim_loans(struct ouro__driver *driver, struct ouro__loan_pool *pool)
{
    struct ouro__uring *uring = ouro__uring_of(driver);
    struct ouro__registration_set *set = &driver->handle->set;
    bool is_receiving = ouro__registration_set_live(set) > DESCRIPTORS_MAX;
    if (!is_receiving)
        ouro__registration_set_for_each(set, look_for_receive, &is_receiving);
    ouro__uring_buffers_trim(&uring->buffers, &uring->ring, pool, is_receiving);
}
