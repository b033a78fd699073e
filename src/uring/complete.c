/* SPDX-License-Identifier: MIT */
/*
 * Complete: a CQE becomes an operation's result.
 *
 * The token leads to the operation: by the descriptor's slot and a lane, or by an op slot.  The
 * generation tells whether it is still the same.  A CQE that finds none is dropped and counted, and
 * what it brings is disposed of.  Only polls (poll.c, wait.c) and ACCEPT_MANY are multishot.  A
 * send without a copy has two CQEs, its result and the notification that its memory is free
 * (registry/zero_copy.h).  Every other CQE is its request's last.
 *
 * Owns:    the CQEs between our head and the kernel's tail.
 * Threads: the owner's.
 * Always:  an operation ends by its own CQE, or (uring.c) because the kernel never saw it.
 * Tests:   tests/uring/test_ring.c, tests/registry/test_driver.c
 */
#include "base/assert.h"
#include "probe/abi.h"
#include "uring/rows.h"

#include <errno.h>

/* Codes that tell the kernel to restart a system call; some kernels let them out of a worker. */
#define RESTART_FIRST (-512)
#define RESTART_LAST (-516)

/* The buffer that a CQE names, if it names one, goes to @op, or back to the pool. */
static void take_buffer(struct ouro__uring *uring, struct ouro__op *op,
                        const struct io_uring_cqe *cqe)
{
    if ((cqe->flags & IORING_CQE_F_BUFFER) != 0)
        ouro__uring_claim_loan(uring, op, cqe->flags >> IORING_CQE_BUFFER_SHIFT);
}

static void take_stale(struct ouro__uring *uring, unsigned lane, const struct io_uring_cqe *cqe)
{
    int32_t result = cqe->res;
    unsigned code = lane == OURO__LANE_ACCEPT ? OURO__OP_ACCEPT : OURO__OP_NONE;
    if (ouro__lane_is_slot(lane))
        code = ouro__lane_code(lane);
    ouro__counter_add(&uring->driver.handle->counters.stale, 1);
    take_buffer(uring, NULL, cqe);
    if (code < OURO__OP_CODES && ouro__uring_rows[code].dispose != NULL)
        ouro__uring_rows[code].dispose(result);
}

/* The result of a request of the driver's own.  False: it is none. */
static bool take_own(struct ouro__uring *uring, uint64_t token, int32_t result)
{
    if (token == OURO__URING_IGNORE)
        return true;
    if (token != OURO__URING_WAKE)
        return false;
    uring->wake_armed = false;
    if (result < 0 && result != -EINTR && result != -EAGAIN && result != -ECANCELED)
        uring->broken = result;
    return true;
}

/* The result to report for what the kernel returned. */
static int32_t named(const struct ouro__op *op, int32_t result)
{
    if (result <= RESTART_FIRST && result >= RESTART_LAST)
        result = -EINTR;
    /* The kernel returns -EINTR for a cancelled request that one of its workers was running. */
    bool cancelled = (op->backend & OURO__URING_CANCELLED) != 0;
    if (cancelled && (result == -EINTR || result == -EAGAIN))
        result = -ECANCELED;
    return result;
}

/* The only place that decides whether a result ends the operation. */
static enum ouro__uring_next judge(const struct ouro__uring *uring, struct ouro__op *op,
                                   int32_t *result)
{
    const struct ouro__uring_row *row = ouro__uring_row_of(op);
    int injected = ouro__fault(OURO__FAULT_RING_RESULT);
    if (OURO__UNLIKELY(injected != 0)) {
        if (row->dispose != NULL)
            row->dispose(*result);
        *result = injected;
    }
    if (OURO__UNLIKELY(*result < 0)) {
        *result = named(op, *result);
        bool waits = *result == -EAGAIN && row->waits_for != 0;
        bool restarts = *result == -EINTR && row->restarts;
        if ((waits || restarts) && row->undo != NULL)
            row->undo(op);
        if (waits || restarts)
            return waits ? OURO__URING_WAITS : OURO__URING_AGAIN;
    }
    return row->finish == NULL ? OURO__URING_ENDS : row->finish(uring, op, result);
}

static void end(struct ouro__uring *uring, struct ouro__op *op, int32_t result)
{
    const struct ouro__uring_row *row = ouro__uring_row_of(op);
    /* A transfer that fails after a part was done reports the count. */
    if (OURO__UNLIKELY(result < 0 && op->result > 0))
        result = op->result;
    ouro__sanitize_complete(op, row->memory, result);
    ouro__driver_complete(&uring->driver, op, result);
    /* After the completion, so that a trace shows both in this order.  @op is still valid, because
     * its done() runs later. */
    uint32_t ready = row->tells_on_success;
    if (OURO__UNLIKELY(result <= 0))
        ready = row->tells == NULL ? 0 : row->tells(op, result);
    if (ready != 0 && op->sio != NULL && !ouro__sio_is_ready(op->sio, ready))
        ouro__driver_hint(&uring->driver, op, ready);
}

/* The operation was cancelled, or its request is a poll.  False: it has not ended. */
static OURO__COLD bool take_special(struct ouro__uring *uring, struct ouro__op *op, int32_t *result)
{
    OURO__ASSERT((op->backend & (OURO__URING_BACKLOG | OURO__URING_WITHDRAWN | OURO__URING_DRY)) ==
                 0);
    if ((op->backend & OURO__URING_CANCEL_QUEUED) != 0)
        ouro__queue_remove(&uring->cancels, &op->node);
    op->backend &= (uint16_t)~OURO__URING_CANCEL_QUEUED;
    return (op->backend & OURO__URING_WAITING) == 0 || ouro__uring_wait_end(uring, op, result);
}

static void take_more(struct ouro__uring *uring, struct ouro__op *op, int32_t result)
{
    const struct ouro__uring_row *row = ouro__uring_row_of(op);
    if ((op->backend & OURO__URING_WAITING) != 0) {
        ouro__uring_wait_event(uring, op, result);
        return;
    }
    OURO__ASSERT(row->event != NULL);
    row->event(uring, op, result);
}

/* A CQE with F_MORE or F_NOTIF.  False: it is not the operation's result. */
static OURO__NOINLINE bool take_flags(struct ouro__uring *uring, struct ouro__op *op,
                                      const struct io_uring_cqe *cqe)
{
    struct ouro__zero_copy *zero_copy = &uring->driver.handle->zero_copy;
    if ((cqe->flags & IORING_CQE_F_NOTIF) != 0) {
        bool was_copied = ((uint32_t)cqe->res & OURO__NOTIF_USAGE_ZC_COPIED) != 0;
        int injected = ouro__fault(OURO__FAULT_RING_NOTIFICATION);
        if (injected != -ENOENT)
            ouro__zero_copy_came_back(zero_copy, &uring->driver.slots, op,
                                      was_copied && injected == 0);
        return false;
    }
    if (ouro__uring_row_of(op)->lends) {
        ouro__zero_copy_lend(zero_copy, op);
        return true;
    }
    take_more(uring, op, cqe->res);
    return false;
}

static void take(struct ouro__uring *uring, const struct io_uring_cqe *cqe)
{
    uint64_t token = cqe->user_data;
    unsigned lane = ouro__token_lane(token);
    int32_t result = cqe->res;
    if (OURO__UNLIKELY(lane >= OURO__LANE_WAKE) && take_own(uring, token, result))
        return;
    struct ouro__op *op = ouro__driver_find(&uring->driver, token);
    if (OURO__UNLIKELY(op == NULL)) {
        take_stale(uring, lane, cqe);
        return;
    }
    take_buffer(uring, op, cqe);
    if (OURO__UNLIKELY((cqe->flags & (IORING_CQE_F_MORE | IORING_CQE_F_NOTIF)) != 0) &&
        !take_flags(uring, op, cqe))
        return;
    bool waited = (op->backend & OURO__URING_WAITING) != 0;
    if (OURO__UNLIKELY(op->backend != 0) && !take_special(uring, op, &result))
        return;
    enum ouro__uring_next next = waited ? OURO__URING_ENDS : judge(uring, op, &result);
    if (OURO__LIKELY(next == OURO__URING_ENDS))
        end(uring, op, result);
    else if (next == OURO__URING_WAITS)
        ouro__uring_wait_begin(uring, op);
    else if (next == OURO__URING_AGAIN)
        ouro__uring_queue(uring, op);
}

static void take_all(struct ouro__uring *uring)
{
    struct io_uring_cq *cq = &uring->ring.cq;
    unsigned head = *cq->khead;
    unsigned tail = io_uring_smp_load_acquire(cq->ktail);
    while (head != tail) {
        const struct io_uring_cqe *cqe = &cq->cqes[head & cq->ring_mask];
        head++;
        if (head != tail)
            ouro__registration_set_prefetch(&uring->driver.handle->set,
                                            cq->cqes[head & cq->ring_mask].user_data);
        take(uring, cqe);
    }
    io_uring_smp_store_release(cq->khead, head);
}

int ouro__uring_reap(struct ouro__uring *uring)
{
    take_all(uring);
    if (OURO__LIKELY((IO_URING_READ_ONCE(*uring->ring.sq.kflags) & IORING_SQ_CQ_OVERFLOW) == 0))
        return uring->broken;

    /* More completions came than the queue holds.  The kernel keeps the rest until it is entered
     * with GETEVENTS. */
    ouro__counter_add(&uring->driver.handle->counters.overflowed, 1);
    while ((IO_URING_READ_ONCE(*uring->ring.sq.kflags) & IORING_SQ_CQ_OVERFLOW) != 0) {
        if (ouro__uring_collect(uring, 0, 0) < 0)
            break; /* the flag stays set, so the next turn tries again */
        take_all(uring);
    }
    return uring->broken;
}
