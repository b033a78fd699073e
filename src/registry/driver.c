/* SPDX-License-Identifier: MIT */
/*
 * The driver's wrappers: all calls into a backend and all results from it go through this file.
 *
 * They keep the life of an op (exactly one completion, and done() only from inside turn(), after
 * everything was collected and with no lock held), one op a lane, the op slots, the quiescing of a
 * descriptor, the counters, and the trace points.  Acceptors and connections are brought together
 * in registry/accept.c.
 *
 * Owns:    the ops between submit and done(); the handle's inbox, set and counters.
 * Threads: as labelled in the header.
 * Always:  driver->inflight is the number of ops that the backend holds or that wait for a lane;
 *          an op in a lane or in a slot is INFLIGHT.
 * Tests:   tests/registry/test_driver.c, tests/registry/test_await.c
 */
#include "registry/driver.h"

#include "base/alloc.h"
#include "base/fault.h"
#include "registry/descriptor_kind.h"
#include "registry/loan_pool.h"
#include "registry/parker.h"

#include <ouro/error.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { LOAN_BUFFER_BYTES_DEFAULT = 16 * 1024 };

/* As many buffers as are needed; this is address space, not memory. */
enum { LOAN_MEMORY_DEFAULT = 512 << 20, LOAN_BUFFERS_LEAST = 256 };

/* Transfers of fewer bytes are counted as an event only. */
enum { COUNTED_BYTES = 256 };

/* How long close() waits for the last completions before it reports a broken invariant. */
#define CLOSE_LIMIT_NS (60 * OURO__NS_PER_SEC)

_Thread_local char ouro__thread_here __attribute__((tls_model("initial-exec")));

static uint32_t loan_buffers_of(const struct ouro__driver_config *config, uint32_t buffer_bytes)
{
    uint32_t count = LOAN_MEMORY_DEFAULT / buffer_bytes;
    if (config->loan_buffers > 0)
        return config->loan_buffers;
    if (count < LOAN_BUFFERS_LEAST)
        return LOAN_BUFFERS_LEAST;
    return count < OURO__LOANS_MAX ? count : OURO__LOANS_MAX;
}

int ouro__driver_handle_init(struct ouro__driver_handle *handle, const struct ouro__driver_ops *ops)
{
    memset(handle, 0, sizeof(*handle));
    handle->ops = ops;
    handle->wake_fd = -1;
    handle->trim.at_ns = OURO__NEVER;
    return ouro__registration_set_init(&handle->set);
}

void ouro__driver_handle_fini(struct ouro__driver_handle *handle)
{
    /* Not earlier: an unpark that has seen the owner asleep may write to it after close(). */
    if (handle->wake_fd >= 0)
        (void)close(handle->wake_fd);
    ouro__free(handle->shared); /* likewise: registrations may be dropped after close() */
    ouro__loan_pool_free(ouro__load(&handle->loans, memory_order_acquire)); /* and loans be out */
    ouro__registration_set_fini(&handle->set);
}

int ouro__driver_open(struct ouro__driver_handle *handle, const struct ouro__driver_config *config)
{
    handle->owner = ouro__thread_identity();
    handle->wait_mask = config->wait_mask;
    handle->loan_buffer_bytes = config->loan_buffer_bytes;
    if (handle->loan_buffer_bytes == 0)
        handle->loan_buffer_bytes = LOAN_BUFFER_BYTES_DEFAULT;
    handle->loan_buffers = loan_buffers_of(config, handle->loan_buffer_bytes);
    ouro__zero_copy_init(&handle->zero_copy, config->zero_copy,
                         !handle->ops->has_row(OURO__OP_SEND_ZERO_COPY));
    int rc = ouro__fault(OURO__FAULT_DRIVER_OPEN);
    if (rc == 0)
        rc = handle->ops->open(config, handle, &handle->driver);
    if (rc == 0) {
        ouro__list_init(&handle->driver->accepted);
        ouro__busy_poll_init(&handle->busy_poll, config->spin_us, config->dial);
    }
    return rc;
}

struct cancelling {
    struct ouro__driver *driver;
    const struct ouro__scheduled_io *sio; /* NULL: every operation */
};

static void cancel_slot(void *arg, struct ouro__op *op)
{
    const struct cancelling *cancelling = arg;
    if (cancelling->sio == NULL || op->sio == cancelling->sio)
        ouro__driver_cancel(cancelling->driver, op);
}

/* And ends those that wait for a lane. */
static void cancel_lanes(void *arg, struct ouro__scheduled_io *sio)
{
    ouro__driver_end_accepts(arg, sio);
    for (unsigned lane = 0; lane < OURO__LANE_QUIESCE; lane++) {
        if (sio->lane[lane] != NULL)
            ouro__driver_cancel(arg, sio->lane[lane]);
    }
}

/* Cancels what is in flight on @sio. */
static void cancel_ops(struct ouro__driver *driver, struct ouro__scheduled_io *sio)
{
    cancel_lanes(driver, sio);
    struct cancelling cancelling = {.driver = driver, .sio = sio};
    ouro__op_slots_for_each(&driver->slots, cancel_slot, &cancelling);
}

void ouro__driver_refuse(struct ouro__driver *driver, struct ouro__op *op, int32_t result)
{
    op->state = OURO__OP_COMPLETED;
    op->result = result;
    ouro__counter_add(&driver->handle->counters.completed, 1);
    ouro__queue_push(&driver->completed, &op->node);
}

static void submit_quiesce(struct ouro__driver *driver, struct ouro__op *op)
{
    struct ouro__scheduled_io *sio = op->sio;
    sio->lane[OURO__LANE_QUIESCE] = op;
    sio->closing = true;
    cancel_ops(driver, sio);
    if (sio->inflight == 0)
        ouro__driver_complete(driver, op, 0);
}

static void submit_in_slot(struct ouro__driver *driver, struct ouro__op *op)
{
    struct ouro__scheduled_io *sio = op->sio;
    int rc = ouro__op_slots_take(&driver->slots, op);
    if (rc < 0) {
        ouro__driver_refuse(driver, op, rc);
        return;
    }
    if (sio != NULL) {
        op->fd = sio->fd;
        sio->inflight++;
    }
    driver->inflight++;
    driver->handle->ops->submit(driver, op);
}

static void take_lane(struct ouro__op *op)
{
    struct ouro__scheduled_io *sio = op->sio;
    op->fd = sio->fd;
    op->token = ouro__sio_token(sio, op->lane);
    sio->lane[op->lane] = op;
}

void ouro__driver_place(struct ouro__driver *driver, struct ouro__op *op)
{
    take_lane(op);
    op->sio->inflight++;
    driver->inflight++;
    driver->handle->ops->submit(driver, op);
}

void ouro__driver_queue(struct ouro__driver *driver, struct ouro__op *op, struct ouro__queue *queue)
{
    op->state = OURO__OP_QUEUED;
    op->fd = op->sio->fd;
    op->token = ouro__sio_token(op->sio, op->lane);
    op->sio->inflight++;
    driver->inflight++;
    ouro__queue_push(queue, &op->node);
}

void ouro__driver_unqueue(struct ouro__driver *driver, struct ouro__op *op)
{
    op->state = OURO__OP_INFLIGHT;
    take_lane(op);
    driver->handle->ops->submit(driver, op);
}

/* What is not simply an operation in a free lane. */
static OURO__NOINLINE void submit_special(struct ouro__driver *driver, struct ouro__op *op)
{
    struct ouro__scheduled_io *sio = op->sio;
    bool is_late = ouro__driver_is_shut_down(driver->handle) && op->lane != OURO__LANE_QUIESCE;
    OURO__ASSERT(op->lane < OURO__LANES ? sio != NULL : op->lane == OURO__LANE_SLOT);
    OURO__ASSERT(sio == NULL || sio->handle == driver->handle);
    if (is_late || (sio != NULL && sio->closing))
        ouro__driver_refuse(driver, op, -ECANCELED);
    else if (op->lane == OURO__LANE_SLOT)
        submit_in_slot(driver, op);
    else if (op->lane == OURO__LANE_ACCEPT)
        ouro__driver_submit_accept(driver, op);
    else if (sio->lane[op->lane] != NULL)
        ouro__driver_refuse(driver, op, -EBUSY);
    else
        submit_quiesce(driver, op);
}

/* Whether it is simply an operation in a free lane. */
static inline bool is_plain(const struct ouro__driver *driver, const struct ouro__op *op)
{
    const struct ouro__scheduled_io *sio = op->sio;
    return op->lane < OURO__LANE_ACCEPT && !ouro__driver_is_shut_down(driver->handle) &&
           !sio->closing && sio->lane[op->lane] == NULL;
}

/* @done: bytes that were transferred before. */
static inline void submit(struct ouro__driver *driver, struct ouro__op *op, int32_t done)
{
    struct ouro__driver_handle *handle = driver->handle;
    struct ouro__scheduled_io *sio = op->sio;
    OURO__ASSERT(op->state == OURO__OP_IDLE);

    op->state = OURO__OP_INFLIGHT;
    op->handle = handle;
    op->backend = 0;
    op->result = done;
    ouro__counter_add(&handle->counters.submitted, 1);
    if (OURO__UNLIKELY(!is_plain(driver, op))) {
        submit_special(driver, op);
        return;
    }
    OURO__ASSERT(sio->handle == handle);
    op->fd = sio->fd;
    op->token = ouro__sio_token(sio, op->lane);
    sio->lane[op->lane] = op;
    sio->inflight++;
    driver->inflight++;
    handle->ops->submit(driver, op);
}

void ouro__driver_submit(struct ouro__driver *driver, struct ouro__op *op)
{
    submit(driver, op, 0);
}

/* @op's result is large: perhaps it is a number of bytes. */
static OURO__NOINLINE void count_bytes(struct ouro__driver_handle *handle,
                                       const struct ouro__op *op)
{
    if (ouro__op_moves_bytes(op->code))
        handle->moved_bytes += (uint32_t)op->result;
}

bool ouro__driver_try_or_submit(struct ouro__driver *driver, struct ouro__op *op)
{
    struct ouro__driver_counters *counters = &driver->handle->counters;
    const struct ouro__driver_ops *ops = driver->handle->ops;
    int32_t done = 0;
    /* A traced driver submits everything, so that each step is seen. */
    if (ops->try_now != NULL && is_plain(driver, op) && driver->handle->trace == NULL) {
        int32_t result = ops->try_now(driver, op);
        if (result != -EAGAIN) {
            ouro__counter_add(&counters->submitted, 1);
            ouro__counter_add(&counters->completed, 1);
            op->state = OURO__OP_COMPLETED;
            op->result = result;
            if (OURO__UNLIKELY(result >= COUNTED_BYTES))
                count_bytes(driver->handle, op);
            return true;
        }
        done = op->result;
    }
    submit(driver, op, done);
    return false;
}

void ouro__driver_cancel(struct ouro__driver *driver, struct ouro__op *op)
{
    bool is_queued = op->state == OURO__OP_QUEUED;
    if ((op->state != OURO__OP_INFLIGHT && !is_queued) || op->lane == OURO__LANE_QUIESCE)
        return;
    ouro__counter_add(&driver->handle->counters.cancelled, 1);
    if (is_queued)
        ouro__driver_cancel_accept(driver, op);
    else
        driver->handle->ops->cancel(driver, op);
}

static inline void leave_lane(struct ouro__op *op)
{
    OURO__ASSERT(op->sio->lane[op->lane] == op);
    op->sio->lane[op->lane] = NULL;
}

/* One operation less is in flight, and one of @sio, if there is one. */
static inline void count_down(struct ouro__driver *driver, struct ouro__scheduled_io *sio)
{
    OURO__ASSERT(driver->inflight > 0);
    driver->inflight--;
    if (sio == NULL)
        return;
    OURO__ASSERT(sio->inflight > 0);
    sio->inflight--;
    if (sio->inflight == 0 && sio->lane[OURO__LANE_QUIESCE] != NULL)
        ouro__driver_complete(driver, sio->lane[OURO__LANE_QUIESCE], 0);
}

static inline void trace_completed(const struct ouro__op *op)
{
    OURO__TRACE(op->handle, .kind = OURO_TRACE_COMPLETED, .fd = op->fd, .token = op->token,
                .result = op->result, .name = ouro__op_name(op->code));
}

/* The rest of complete() for an operation in a slot or in the lane of ACCEPT, a QUIESCE, or a
 * driver that is traced. */
static OURO__NOINLINE void complete_special(struct ouro__driver *driver, struct ouro__op *op)
{
    if (op->lane == OURO__LANE_SLOT)
        ouro__op_slots_release(&driver->slots, op);
    else if (op->lane != OURO__LANE_LENT)
        leave_lane(op);
    if (op->lane == OURO__LANE_QUIESCE)
        return; /* the backend did not have it */
    if (op->lane == OURO__LANE_ACCEPT)
        ouro__driver_accept_left(driver, op);
    trace_completed(op);
    count_down(driver, op->sio);
}

void ouro__driver_end_queued(struct ouro__driver *driver, struct ouro__op *op, int32_t result)
{
    op->state = OURO__OP_INFLIGHT;
    ouro__driver_refuse(driver, op, result);
    trace_completed(op);
    count_down(driver, op->sio);
}

void ouro__driver_complete(struct ouro__driver *driver, struct ouro__op *op, int32_t result)
{
    struct ouro__driver_handle *handle = driver->handle;
    OURO__ASSERT(op->state == OURO__OP_INFLIGHT);

    op->state = OURO__OP_COMPLETED;
    op->result = result;
    ouro__counter_add(&handle->counters.completed, 1);
    if (OURO__UNLIKELY(result >= COUNTED_BYTES))
        count_bytes(handle, op);
    ouro__queue_push(&driver->completed, &op->node);
    if (OURO__UNLIKELY(op->lane >= OURO__LANE_ACCEPT || handle->trace != NULL)) {
        complete_special(driver, op);
        return;
    }
    leave_lane(op);
    count_down(driver, op->sio);
}

/* The readiness was @before and has become @ready too. */
static OURO__COLD void trace_readiness(const struct ouro__scheduled_io *sio, uint64_t token,
                                       uint64_t before, uint32_t ready)
{
    OURO__TRACE(sio->handle, .kind = OURO_TRACE_READINESS, .fd = sio->fd, .token = token,
                .a = before, .b = ouro__readiness_after(before, ready));
}

void ouro__driver_hint(struct ouro__driver *driver, struct ouro__op *op, uint32_t ready)
{
    struct ouro__scheduled_io *sio = op->sio;
    uint64_t before = ouro__load(&sio->readiness, memory_order_relaxed);
    ouro__sio_hint(sio, ready);
    if (OURO__UNLIKELY(driver->handle->trace != NULL))
        trace_readiness(sio, op->token, before, ready);
}

static void release_one(void *arg, struct ouro__scheduled_io *sio, bool freed)
{
    struct ouro__driver_handle *handle = arg;
    if (freed) {
        ouro__driver_end_accepts(handle->driver, sio);
        ouro__counter_add(&handle->counters.released, 1);
        OURO__TRACE(handle, .kind = OURO_TRACE_RELEASED, .fd = -1,
                    .token = ouro__sio_token(sio, 0));
        return;
    }
    sio->closing = true;
    cancel_ops(handle->driver, sio);
}

/* Runs the done() of everything collected so far, not of what these submit. */
static void run_completed(struct ouro__driver *driver)
{
    struct ouro__queue due = driver->completed;
    driver->completed = (struct ouro__queue){.head = NULL};
    struct ouro__queue_node *node = NULL;
    while ((node = ouro__queue_pop(&due)) != NULL) {
        struct ouro__op *op = OURO__CONTAINER_OF(node, struct ouro__op, node);
        if (node->next != NULL) /* done() goes to its waiter */
            __builtin_prefetch(OURO__CONTAINER_OF(node->next, struct ouro__op, node)->waiter);
        op->done(op);
    }
}

void ouro__driver_ready(struct ouro__driver *driver, struct ouro__scheduled_io *sio, uint32_t ready)
{
    if (ready != 0 && sio->ready_pending == 0)
        ouro__queue_push(&driver->ready, &sio->ready_node);
    sio->ready_pending |= ready;
}

static OURO__COLD uint32_t ready_at_end(struct ouro__scheduled_io *sio, uint32_t events)
{
    bool is_final = true;
    uint32_t ready = ouro__descriptor_ready(sio->fd, &sio->kind, events, &is_final);
    if (!is_final) /* before the readiness, so whoever sees that sees this */
        ouro__store(&sio->must_check, true, memory_order_relaxed);
    return ready;
}

void ouro__driver_event(struct ouro__driver *driver, struct ouro__scheduled_io *sio,
                        uint32_t events)
{
    uint64_t before = ouro__load(&sio->readiness, memory_order_relaxed);
    uint32_t ready = ouro__descriptor_plain_ready(events);
    if (OURO__UNLIKELY(ouro__descriptor_tells_end(events)))
        ready = ready_at_end(sio, events);
    if ((sio->flags & OURO__SIO_READINESS) != 0)
        ouro__driver_ready(driver, sio, ready);
    else
        ouro__sio_hint(sio, ready);
    if (OURO__UNLIKELY(driver->handle->trace != NULL))
        trace_readiness(sio, ouro__sio_token(sio, 0), before, ready);
}

/* Wakes the waiters for the readiness collected so far. */
static void run_ready(struct ouro__driver *driver)
{
    struct ouro__queue_node *node = NULL;
    while ((node = ouro__queue_pop(&driver->ready)) != NULL) {
        struct ouro__scheduled_io *sio =
            OURO__CONTAINER_OF(node, struct ouro__scheduled_io, ready_node);
        uint32_t ready = sio->ready_pending;
        sio->ready_pending = 0;
        ouro__counter_add(&driver->handle->counters.ready, 1);
        ouro__sio_set_ready(sio, ready);
    }
}

static void turn_backend(struct ouro__driver *driver, int64_t timeout_ns)
{
    struct ouro__driver_handle *handle = driver->handle;
    bool idle = ouro__queue_is_empty(&driver->completed) && ouro__queue_is_empty(&driver->ready);
    bool sleeps = timeout_ns != 0 && idle && ouro__unpark_begin_sleep(&handle->unpark);
    OURO__ASSERT(!driver->in_turn);
    driver->in_turn = true;
    int rc = handle->ops->turn(driver, sleeps ? timeout_ns : 0);
    if (rc < 0)
        OURO__PANIC("the driver is broken", rc);
    driver->in_turn = false;
    if (sleeps) {
        ouro__unpark_end_sleep(&handle->unpark);
        ouro__counter_add(&handle->counters.sleeps, 1);
    }
    ouro__counter_add(&handle->counters.turns, 1);
}

void ouro__driver_turn(struct ouro__driver_handle *handle, int64_t timeout_ns)
{
    if (ouro__inbox_drain(&handle->inbox) > 0)
        timeout_ns = 0;
    /* A refused op is not counted in flight, but its memory may be part of the ScheduledIo.  So
     * nothing is released before its done() has run: the next turn does it, and this turn does not
     * wait. */
    if (ouro__queue_is_empty(&handle->driver->completed))
        ouro__registration_set_release(&handle->set, release_one, handle);
    turn_backend(handle->driver, timeout_ns);
    run_completed(handle->driver);
    run_ready(handle->driver);
    if (OURO__UNLIKELY(!ouro__queue_is_empty(&handle->driver->accepting)))
        ouro__driver_serve_acceptors(handle->driver);
    if (OURO__UNLIKELY(!ouro__queue_is_empty(&handle->zero_copy.came_back)))
        ouro__zero_copy_run(&handle->zero_copy);
    ouro__inbox_drain(&handle->inbox);
}

int ouro__driver_try_settle(struct ouro__driver_handle *handle)
{
    struct ouro__driver *driver = handle->driver;
    if (!ouro__queue_is_empty(&driver->completed) || !ouro__queue_is_empty(&driver->ready))
        return 1;
    ouro__registration_set_release(&handle->set, release_one, handle);
    int rc = handle->ops->settle(driver);
    if (rc < 0)
        return rc;
    return rc > 0 || !ouro__queue_is_empty(&driver->completed) ? 1 : 0;
}

bool ouro__driver_settle(struct ouro__driver_handle *handle)
{
    int rc = ouro__driver_try_settle(handle);
    if (rc < 0)
        OURO__PANIC("the driver is broken", rc);
    return rc > 0;
}

void ouro__driver_unpark(struct ouro__driver_handle *handle)
{
    if (!ouro__unpark_notify(&handle->unpark))
        return;
    ouro__fetch_add(&handle->unparks, 1, memory_order_relaxed);
    if (handle->ops != NULL)
        handle->ops->unpark(handle);
    else
        ouro__parker_wake(&handle->unpark);
}

bool ouro__driver_send(struct ouro__driver_handle *handle, struct ouro__inbox_node *node)
{
    if (!ouro__inbox_push(&handle->inbox, node))
        return false;
    ouro__driver_unpark(handle);
    return true;
}

void ouro__driver_cancel_all(struct ouro__driver *driver)
{
    struct cancelling cancelling = {.driver = driver};
    ouro__registration_set_for_each(&driver->handle->set, cancel_lanes, driver);
    ouro__op_slots_for_each(&driver->slots, cancel_slot, &cancelling);
    ouro__driver_dispose_accepted(driver);
}

void ouro__driver_shut_down(struct ouro__driver_handle *handle)
{
    ouro__registration_set_shut_down(&handle->set);
    if (handle->driver != NULL)
        ouro__driver_cancel_all(handle->driver);
}

/* The memory of loans that are out stays until they are released, or longer: until the handle is.
 */
static void close_loans(struct ouro__driver_handle *handle)
{
    struct ouro__loan_pool *pool = ouro__load(&handle->loans, memory_order_acquire);
    if (pool == NULL)
        return;
    ouro__loan_pool_withdraw(pool);
    if (ouro__loan_pool_is_used(pool))
        return;
    ouro__store(&handle->loans, NULL, memory_order_relaxed);
    ouro__loan_pool_free(pool);
}

void ouro__driver_close(struct ouro__driver_handle *handle)
{
    struct ouro__driver *driver = handle->driver;
    int64_t limit_ns = ouro__clock_now_ns() + CLOSE_LIMIT_NS;
    while (driver->inflight > 0 || !ouro__queue_is_empty(&driver->completed) ||
           !ouro__queue_is_empty(&driver->ready) ||
           ouro__load(&handle->set.num_pending_release, memory_order_acquire) > 0 ||
           !ouro__inbox_close(&handle->inbox)) {
        ouro__driver_cancel_all(driver);
        ouro__driver_turn(handle, driver->inflight > 0 ? OURO__NS_PER_MS : 0);
        OURO__ASSERT(ouro__clock_now_ns() < limit_ns);
    }
    /* From here on an unpark finds the owner awake, and makes no call on a closed descriptor. */
    ouro__store(&handle->unpark.state, OURO__UNPARK_RUNNING, memory_order_release);
    ouro__zero_copy_abandon(&handle->zero_copy, &driver->slots);
    ouro__op_slots_fini(&driver->slots);
    handle->ops->close(driver);
    handle->driver = NULL;
    ouro__zero_copy_run(&handle->zero_copy);
    close_loans(handle);
}

void ouro__driver_metrics(const struct ouro__driver_handle *handle,
                          struct ouro_io_driver_metrics *out_metrics)
{
    const struct ouro__driver_counters *counters = &handle->counters;
    struct ouro__registration_set *set = (struct ouro__registration_set *)(uintptr_t)&handle->set;
    ouro__mutex_lock(&set->lock);
    uint64_t registered = set->registered;
    uint64_t deregistered = set->deregistered;
    ouro__mutex_unlock(&set->lock);
    *out_metrics = (struct ouro_io_driver_metrics){
        .registered = registered,
        .deregistered = deregistered,
        .released = ouro__counter_read(&counters->released),
        .ready = ouro__counter_read(&counters->ready),
        .submitted = ouro__counter_read(&counters->submitted),
        .completed = ouro__counter_read(&counters->completed),
        .cancelled = ouro__counter_read(&counters->cancelled),
        .stale = ouro__counter_read(&counters->stale),
        .overflowed = ouro__counter_read(&counters->overflowed),
        .turns = ouro__counter_read(&counters->turns),
        .sleeps = ouro__counter_read(&counters->sleeps),
        .unparks = ouro__load(&handle->unparks, memory_order_relaxed),
    };
}
