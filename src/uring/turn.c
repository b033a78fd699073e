/* SPDX-License-Identifier: MIT */
/*
 * Turn: place what waits for an SQE, hand everything over, wait, reap.
 *
 * One io_uring_enter(2) usually submits, waits and collects.  None is made when there is nothing to
 * submit or to collect and the turn does not wait.
 *
 * What a failed call means:
 *   -EINTR, -ETIME             an empty turn;
 *   -EAGAIN, -EBUSY, -ENOMEM   the kernel is short of something: SQEs it did not take stay in the
 *                              queue, in order, and go with a later turn.  What has completed is
 *                              reaped, which frees the kernel's memory.  When there is nothing to
 *                              reap the turn waits for a moment, so that trying again is no busy
 *                              loop;
 *   anything else              the ring is broken (-EBADR: the kernel had to drop a completion;
 *                              -EEXIST: not the thread that opened it; -EBADF, -EFAULT, -EINVAL,
 *                              -EOPNOTSUPP, -ENXIO: no usable ring).  turn() returns the error,
 *                              because some operation may never complete.
 *
 * Owns:    nothing.
 * Threads: the owner's.
 * Always:  before a wait of unlimited length the read of the wake descriptor is in flight, or goes
 *          with the same call.
 * Tests:   tests/uring/test_ring.c
 */
#include "base/assert.h"
#include "uring/rows.h"

#include <errno.h>
#include <poll.h>

/* How long one pause is where the turn cannot wait for the event itself. */
#define NAP_NS OURO__NS_PER_MS

static bool is_strained(int rc)
{
    return rc == -EAGAIN || rc == -EBUSY || rc == -ENOMEM;
}

/* 0 for an error that turn() tolerates, else @rc. */
static int judge(int rc)
{
    return rc >= 0 || rc == -EINTR || rc == -ETIME || is_strained(rc) ? 0 : rc;
}

static struct ouro__op *pop_op(struct ouro__queue *queue)
{
    struct ouro__queue_node *node = ouro__queue_pop(queue);
    return node == NULL ? NULL : OURO__CONTAINER_OF(node, struct ouro__op, node);
}

/* Those the kernel never saw. */
static bool complete_withdrawn(struct ouro__uring *uring)
{
    if (OURO__LIKELY(ouro__queue_is_empty(&uring->withdrawn)))
        return false;
    struct ouro__op *op = NULL;
    while ((op = pop_op(&uring->withdrawn)) != NULL) {
        const struct ouro__uring_row *row = ouro__uring_row_of(op);
        if (row->undo != NULL)
            row->undo(op);
        ouro__driver_complete(&uring->driver, op, op->result > 0 ? op->result : -ECANCELED);
    }
    return true;
}

/* Cancellations first: they make room. */
static void place_waiting(struct ouro__uring *uring)
{
    struct io_uring_sqe *sqe = NULL;
    while (!ouro__queue_is_empty(&uring->cancels) && (sqe = ouro__uring_sqe(uring)) != NULL) {
        struct ouro__op *op = pop_op(&uring->cancels);
        op->backend &= (uint16_t)~OURO__URING_CANCEL_QUEUED;
        ouro__uring_prepare_cancel(sqe, op);
    }
    while (!ouro__queue_is_empty(&uring->backlog) && (sqe = ouro__uring_sqe(uring)) != NULL) {
        struct ouro__op *op = pop_op(&uring->backlog);
        op->backend &= (uint16_t)~OURO__URING_BACKLOG;
        ouro__uring_prepare(uring, sqe, op);
    }
}

/* Makes sure that an unpark ends the wait.  False: there was no SQE for it. */
static bool arm_wake(struct ouro__uring *uring)
{
    if (OURO__LIKELY(uring->wake_armed))
        return true;
    struct io_uring_sqe *sqe = ouro__uring_sqe(uring);
    if (sqe == NULL)
        return false;
    ouro__uring_prepare_wake(uring, sqe);
    uring->wake_armed = true;
    return true;
}

/* Submits and collects without waiting, if there is anything to submit or to collect. */
static int enter_now(struct ouro__uring *uring)
{
    if (ouro__uring_unsubmitted(uring) == 0 && !ouro__uring_has_task_work(uring))
        return 0;
    return ouro__uring_submit(uring, IORING_ENTER_GETEVENTS, 0, 0);
}

/* A pause that an unpark ends, outside of the ring. */
static void nap(struct ouro__uring *uring, int64_t timeout_ns)
{
    if (timeout_ns < 0 || timeout_ns > NAP_NS)
        timeout_ns = NAP_NS;
    struct pollfd wake = {.fd = uring->driver.handle->wake_fd, .events = POLLIN};
    struct timespec timeout = ouro__clock_to_timespec(timeout_ns);
    (void)ppoll(&wake, 1, &timeout, uring->driver.handle->wait_mask);
}

/* The kernel took nothing and there is nothing to reap: a short wait, in the ring if that can be.
 */
static int wait_strained(struct ouro__uring *uring, int64_t timeout_ns)
{
    int rc =
        ouro__uring_collect(uring, 1, timeout_ns < 0 || timeout_ns > NAP_NS ? NAP_NS : timeout_ns);
    if (is_strained(rc))
        nap(uring, timeout_ns);
    return rc;
}

/* Under Valgrind: a wait in the ring would stop the very threads that it waits for. */
static OURO__COLD int sleep_in_naps(struct ouro__uring *uring, int64_t timeout_ns)
{
    int64_t begun_ns = ouro__clock_now_ns();
    int64_t left_ns = timeout_ns;
    int rc = ouro__uring_submit(uring, IORING_ENTER_GETEVENTS, 0, 0);
    while (rc >= 0 && left_ns != 0 && !ouro__uring_has_cqe(uring)) {
        nap(uring, left_ns);
        rc = enter_now(uring);
        int64_t used_ns = ouro__clock_now_ns() - begun_ns;
        if (timeout_ns > 0)
            left_ns = used_ns < timeout_ns ? timeout_ns - used_ns : 0;
    }
    return rc;
}

static int sleep_in_kernel(struct ouro__uring *uring, int64_t timeout_ns)
{
    if (OURO__UNLIKELY(ouro__load(&ouro__sanitize_on_valgrind, memory_order_relaxed)))
        return sleep_in_naps(uring, timeout_ns);
    return ouro__uring_submit(uring, IORING_ENTER_GETEVENTS, 1, timeout_ns);
}

static bool has_events(void *arg)
{
    const struct ouro__uring *uring = arg;
    return ouro__uring_has_cqe(uring) || ouro__uring_has_task_work(uring);
}

static int wait_for_work(struct ouro__uring *uring, int64_t timeout_ns)
{
    if (!arm_wake(uring))
        return wait_strained(uring, timeout_ns);
    struct ouro__driver_handle *handle = uring->driver.handle;
    int rc = 0;
    if (ouro__driver_is_look_wanted(handle)) {
        rc = enter_now(uring);
        if (rc >= 0 && !ouro__uring_has_cqe(uring) &&
            ouro__busy_poll(&handle->busy_poll, &handle->unpark, has_events, uring, &timeout_ns))
            return enter_now(uring);
    }
    if (rc >= 0 && timeout_ns != 0 && !ouro__uring_has_cqe(uring))
        rc = sleep_in_kernel(uring, timeout_ns);
    if (OURO__UNLIKELY(is_strained(rc)) && !ouro__uring_has_cqe(uring))
        rc = wait_strained(uring, timeout_ns);
    return rc;
}

int ouro__uring_settle(struct ouro__driver *driver)
{
    struct ouro__uring *uring = ouro__uring_of(driver);
    place_waiting(uring);
    bool is_armed = arm_wake(uring);
    int rc = judge(enter_now(uring));
    if (rc < 0)
        return rc;
    return !is_armed || ouro__uring_has_cqe(uring) || ouro__uring_has_task_work(uring) ||
                   ouro__uring_unsubmitted(uring) > 0 || !ouro__queue_is_empty(&uring->withdrawn) ||
                   !ouro__queue_is_empty(&uring->backlog) || !ouro__queue_is_empty(&uring->cancels)
               ? 1
               : 0;
}

int ouro__uring_turn(struct ouro__driver *driver, int64_t timeout_ns)
{
    struct ouro__uring *uring = ouro__uring_of(driver);
    uring->turns++;
    bool has_results = complete_withdrawn(uring);
    place_waiting(uring);
    int rc = 0;
    if (timeout_ns == 0 || has_results || ouro__uring_has_cqe(uring))
        rc = enter_now(uring);
    else
        rc = wait_for_work(uring, timeout_ns);
    rc = judge(rc);
    int reap_rc = ouro__uring_reap(uring);
    return rc < 0 ? rc : reap_rc;
}
