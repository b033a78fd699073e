/* SPDX-License-Identifier: MIT */
/*
 * Loan: receives into buffers of the driver's pool, on epoll.
 *
 * A buffer is taken when the receive is tried, and goes back to the pool if there was no data.  So
 * an operation that waits for data holds none.  One that finds the pool empty waits in the pool's
 * list, whether there is data or not; it is tried when it gets a buffer.
 *
 * Owns:    nothing.
 * Threads: the driver's.
 * Always:  an operation that waits for an event has no buffer.
 * Tests:   tests/stream/test_loan.c
 */
#include "epoll/rows.h"
#include "registry/lending.h"

/* True: @op has a buffer.  False: it waits for one. */
static bool get(struct ouro__op *op)
{
    if (op->arg.io.loan != NULL || ouro__lending_get(op))
        return true;
    op->backend |= OURO__EPOLL_OP_DRY;
    return false;
}

bool ouro__epoll_recv_loan(const struct ouro__epoll_row *row, struct ouro__op *op,
                           int32_t *out_result)
{
    if (!get(op))
        return false;
    bool has_ended = ouro__epoll_transfer(row, op, out_result);
    if (!has_ended || *out_result <= 0)
        ouro__lending_undo(op);
    return has_ended;
}

bool ouro__epoll_take_loan(const struct ouro__epoll_row *row, struct ouro__op *op,
                           int32_t *out_result)
{
    (void)row;
    *out_result = 0;
    return get(op);
}

void ouro__epoll_leave_loan(struct ouro__op *op)
{
    op->backend &= (uint16_t)~OURO__EPOLL_OP_DRY;
    ouro__loan_pool_leave(ouro__lending_pool(op->handle), op);
}

void ouro__epoll_resume_loan(struct ouro__driver *driver, struct ouro__op *op)
{
    struct ouro__epoll *epoll = OURO__CONTAINER_OF(driver, struct ouro__epoll, driver);
    op->backend &= (uint16_t)~OURO__EPOLL_OP_DRY;
    op->backend |= OURO__EPOLL_OP_EVENT;
    ouro__epoll_queue(epoll, op);
}
