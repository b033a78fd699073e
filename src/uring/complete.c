/* SPDX-License-Identifier: MIT */
/*
 * Complete: a CQE becomes an operation's result.
 *
 * The token leads to the slot, the generation says whether it is still the same descriptor, the
 * lane names the one operation of its kind.  A CQE that finds nobody is dropped and counted; if it
 * brings a descriptor, that is closed.  But for the poll of poll.c no operation here is multishot,
 * so every CQE is its operation's last.
 *
 * Owns:    the CQEs between our head and the kernel's tail.
 * Threads: the owner's.
 * Always:  an operation ends by its own CQE, or (uring.c) because the kernel never saw it.
 * Tests:   tests/uring/test_ring.c, tests/registry/test_driver.c
 */
#include "base/assert.h"
#include "probe/abi.h"
#include "uring/ring.h"
#include "uring/sanitize.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

/* For a CONNECT that had to be polled for: what the socket says.  False: nothing yet. */
static bool connect_has_ended(int fd, int32_t *result)
{
    int error = 0;
    socklen_t length = sizeof(error);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0)
        error = errno;
    *result = -error;
    if (error != 0)
        return true;
    /* SO_ERROR is also 0 while nothing has been decided. */
    struct sockaddr_storage peer;
    length = sizeof(peer);
    return getpeername(fd, (struct sockaddr *)&peer, &length) == 0 || errno != ENOTCONN;
}

/*
 * Some kernels answer CONNECT with -EINPROGRESS instead of waiting.  Then it waits here, as a poll
 * for writability under the same token.  False: it goes on, there is no result yet.
 */
static bool finish_connect(struct ouro__uring *uring, struct ouro__op *op, int32_t *result)
{
    bool polled = (op->backend & OURO__URING_CONNECT_POLL) != 0;
    if (OURO__LIKELY(!polled)) {
        int injected = ouro__fault(OURO__FAULT_RING_CONNECT);
        if (OURO__UNLIKELY(injected != 0))
            *result = injected;
        if (OURO__LIKELY(*result != -EINPROGRESS))
            return true;
    } else if (*result < 0 || connect_has_ended(op->sio->fd, result)) {
        return true;
    }
    op->backend |= OURO__URING_CONNECT_POLL | OURO__URING_BACKLOG;
    ouro__queue_push(&uring->backlog, &op->node);
    return false;
}

static void take_stale(struct ouro__uring *uring, unsigned lane, int32_t result)
{
    ouro__counter_add(&uring->driver.handle->counters.stale, 1);
    if (lane == OURO__LANE_ACCEPT && result >= 0)
        (void)close(result);
}

static void take_own(struct ouro__uring *uring, unsigned lane, int32_t result)
{
    if (lane == OURO__LANE_WAKE) {
        uring->wake_armed = false;
        if (result < 0 && result != -EINTR && result != -EAGAIN && result != -ECANCELED)
            uring->broken = result;
    } else if (lane != OURO__LANE_IGNORE) {
        take_stale(uring, lane, result);
    }
}

static void take(struct ouro__uring *uring, const struct io_uring_cqe *cqe)
{
    struct ouro__driver_handle *handle = uring->driver.handle;
    uint64_t token = cqe->user_data;
    unsigned lane = ouro__token_lane(token);
    int32_t result = cqe->res;
    bool more = (cqe->flags & IORING_CQE_F_MORE) != 0;
    if (OURO__UNLIKELY(lane >= OURO__LANE_QUIESCE)) {
        take_own(uring, lane, result);
        return;
    }
    struct ouro__scheduled_io *sio = ouro__registration_set_find(&handle->set, token);
    struct ouro__op *op = sio != NULL ? sio->lane[lane] : NULL;
    if (OURO__UNLIKELY(op == NULL)) {
        take_stale(uring, lane, result);
        return;
    }
    if (OURO__UNLIKELY(more)) {
        OURO__ASSERT(op->code == OURO__OP_POLL);
        ouro__uring_poll_event(uring, op, result);
        return;
    }
    if (OURO__UNLIKELY(op->backend != 0)) {
        OURO__ASSERT((op->backend & (OURO__URING_BACKLOG | OURO__URING_WITHDRAWN)) == 0);
        if ((op->backend & OURO__URING_CANCEL_QUEUED) != 0)
            ouro__uring_unlink(&uring->cancels, &op->node);
        /* One that a kernel worker was busy with is interrupted, and says so. */
        if (result == -EINTR && (op->backend & OURO__URING_CANCELLED) != 0)
            result = -ECANCELED;
        op->backend &= (uint8_t)~OURO__URING_CANCEL_QUEUED;
    }
    if (op->code == OURO__OP_CONNECT && !finish_connect(uring, op, &result))
        return;
    if (op->code == OURO__OP_POLL)
        ouro__uring_poll_event(uring, op, result);
    ouro__sanitize_complete(op, result);
    ouro__driver_complete(&uring->driver, op, result);
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

    /* More had come than the queue holds.  The kernel kept the rest; it hands it over on demand. */
    ouro__counter_add(&uring->driver.handle->counters.overflowed, 1);
    while ((IO_URING_READ_ONCE(*uring->ring.sq.kflags) & IORING_SQ_CQ_OVERFLOW) != 0) {
        if (ouro__uring_collect(uring, 0, 0) < 0)
            break; /* the flag is still there for the next turn, which will judge */
        take_all(uring);
    }
    return uring->broken;
}
