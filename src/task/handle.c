/* SPDX-License-Identifier: MIT */
/*
 * Handle: the shared half of a runtime.
 *
 * Owns:    the workers' memory, the shared stacks; released with the last reference, when no worker
 *          runs any more.
 * Threads: any.
 * Always:  everything that can still reach a worker's inbox or a descriptor's shared half holds a
 *          reference.
 * Tests:   tests/runtime/test_runtime.c
 */
#include "task/handle.h"

#include "base/alloc.h"
#include "base/fork.h"
#include "base/signals.h"
#include "blocking/pool.h"
#include "fiber/overflow.h"
#include "fiber/stack_trim.h"
#include "task/park.h"
#include "task/wake_ref.h"

#include <ouro/error.h>

#include <errno.h>

void ouro__handle_init_context(struct ouro_handle *handle, struct ouro__context *context,
                               struct ouro__worker *worker, struct ouro_task *task)
{
    /* Field by field: clearing the whole first shows in the cost of a spawn.  The others are set
     * when they begin to mean something. */
    context->handle = handle;
    context->worker = worker;
    context->task = task;
    context->park = OURO__PARK_RUNNING;
    context->interrupts = 0;
    context->budget = OURO__BUDGET;
    context->fork_generation = handle->fork_generation;
    context->is_shutdown = &handle->is_shutdown;
    context->op = NULL;
    context->scope_depth = 0;
    context->scope_serial = 0;
    context->wake_ref = NULL;
    context->deadline_ns = OURO__NEVER;
    ouro__timer_init(&context->timer, NULL);
    ouro__list_init(&context->link);
    context->groups = 0;
    context->exceptions = (struct ouro__exceptions){0};
}

static void init_worker(struct ouro_handle *handle, uint32_t index)
{
    struct ouro__worker *worker = &handle->worker[index];
    worker->handle = handle;
    worker->index = index;
    worker->runs_tasks = index < handle->task_workers;
    worker->io.handle.index = index;
    worker->io.handle.trace = handle->config.trace;
    worker->io.handle.trace_arg = handle->config.trace_arg;
    ouro__list_init(&worker->contexts);
    ouro__handle_init_context(handle, &worker->main, worker, NULL);
}

static bool reports_overflow(const struct ouro_handle *handle)
{
    return (handle->config.flags & OURO_RUNTIME_F_NO_OVERFLOW_REPORT) == 0;
}

static struct ouro__stack_pool_config stack_config(const struct ouro_handle *handle,
                                                   size_t size_bytes)
{
    return (struct ouro__stack_pool_config){
        .usable_size_bytes = size_bytes,
        .header_size_bytes = handle->kind->header_bytes,
        .use_madv_guard = handle->use_madv_guard,
    };
}

/* In the current-thread flavour worker 0 is the program's thread, whose signals are its own. */
static bool is_programs_thread(const struct ouro__worker *worker)
{
    return worker->index == 0 && worker->handle->config.flavour == OURO_FLAVOUR_CURRENT_THREAD;
}

int ouro__handle_open_worker(struct ouro_handle *handle, struct ouro__worker *worker)
{
    const struct ouro_runtime_config *from = &handle->config;
    struct ouro__worker_config config = {
        .kind = handle->kind,
        .driver = {.ring_entries = from->ring_entries,
                   .spin_us = from->spin_us,
                   .dial = (uint32_t)from->dial,
                   .features = ~from->feature_mask,
                   .quirks = from->quirk_mask,
                   .loan_buffer_bytes = from->loan_buffer_bytes,
                   .loan_buffers = from->loan_buffers,
                   .zero_copy = (uint32_t)from->zero_copy,
                   .is_embedded = (from->flags & OURO_RUNTIME_F_EMBEDDED) != 0,
                   .wait_mask = is_programs_thread(worker) ? NULL : ouro__signals_quiet()},
        .stacks = stack_config(handle, from->stack_size_bytes),
        .reports_overflow = reports_overflow(handle),
    };
    return ouro__worker_open(worker, &config);
}

void ouro__handle_close_worker(struct ouro__worker *worker)
{
    ouro__worker_close(worker);
    ouro__context_fini(&worker->main);
    worker->main.interrupts = 0; /* ends a shield: the own thread cannot wait any more */
}

int ouro__handle_new(const struct ouro_runtime_config *config, const struct ouro__driver_ops *ops,
                     const struct ouro__worker_kind *kind, struct ouro_handle **out_handle)
{
    struct ouro_handle *handle = ouro__calloc(1, sizeof(*handle));
    if (handle == NULL)
        return -ENOMEM;
    ouro__atomic_init(&handle->references, 1);
    handle->config = *config;
    handle->kind = kind;
    handle->fork_generation = ouro__fork_count;
    handle->task_workers = config->flavour == OURO_FLAVOUR_CURRENT_THREAD ? 1 : config->workers;
    handle->worker_count = handle->task_workers + config->driver_threads;
    ouro__mutex_init(&handle->lock);
    ouro__list_init(&handle->threads);
    handle->worker =
        ouro__alloc_aligned(OURO__CACHE_LINE, handle->worker_count * sizeof(*handle->worker));
    uint32_t made = 0;
    int rc = handle->worker == NULL ? -ENOMEM : 0;
    for (; rc == 0 && made < handle->worker_count; made++)
        rc = ouro__io_handle_init(&handle->worker[made].io, ops);
    if (rc < 0) {
        /* The one that failed counts as made above, and left nothing behind. */
        while (made > 1)
            ouro__io_handle_fini(&handle->worker[--made - 1].io);
        ouro__free(handle->worker);
        ouro__mutex_fini(&handle->lock);
        ouro__free(handle);
        return rc;
    }
    for (uint32_t i = 0; i < handle->worker_count; i++)
        init_worker(handle, i);
    *out_handle = handle;
    return 0;
}

static void destroy(struct ouro_handle *handle)
{
    ouro__blocking_pool_free(handle->blocking);
    while (handle->shared_stacks != NULL) {
        struct ouro__shared_stacks *shared = handle->shared_stacks;
        handle->shared_stacks = shared->next;
        ouro__stack_pool_abandon(&shared->pool);
        ouro__overflow_pool_remove(&shared->pool);
        ouro__stack_pool_fini(&shared->pool);
        ouro__mutex_fini(&shared->lock);
        ouro__free(shared);
    }
    for (uint32_t i = 0; i < handle->worker_count; i++)
        ouro__io_handle_fini(&handle->worker[i].io);
    ouro__free(handle->worker);
    ouro__mutex_fini(&handle->lock);
    ouro__free(handle);
}

struct ouro_handle *ouro_handle_ref(struct ouro_handle *handle)
{
    if (handle != NULL)
        ouro__fetch_add(&handle->references, 1, memory_order_relaxed);
    return handle;
}

void ouro_handle_unref(struct ouro_handle *handle)
{
    /* In a forked child the memory stays: the locks in it may be held by threads of the parent. */
    if (handle == NULL || ouro__fork_is_child(handle->fork_generation))
        return;
    if (ouro__fetch_sub(&handle->references, 1, memory_order_acq_rel) == 1)
        destroy(handle);
}

struct ouro_handle *ouro_handle_current(void)
{
    struct ouro__context *context = ouro__context_current();
    return context == NULL ? NULL : ouro_handle_ref(context->handle);
}

struct ouro__worker *ouro__handle_next_worker(struct ouro_handle *handle)
{
    if (handle->task_workers == 1)
        return &handle->worker[0];
    uint32_t turn = ouro__fetch_add(&handle->next_worker, 1, memory_order_relaxed);
    return &handle->worker[turn % handle->task_workers];
}

int ouro__handle_driver_for(struct ouro__context *context, struct ouro__driver_handle **out_driver)
{
    struct ouro_handle *handle = context->handle;
    struct ouro__worker *worker = context->worker;
    if (OURO__UNLIKELY(ouro__handle_is_shutdown(handle)))
        return -OURO_ESHUTDOWN; /* callers see the flag before the drivers are told */
    if (worker == NULL) {
        uint32_t dedicated = handle->worker_count - handle->task_workers;
        uint32_t first = dedicated > 0 ? handle->task_workers : 0;
        uint32_t choice = dedicated > 0 ? dedicated : handle->task_workers;
        uint32_t turn = ouro__fetch_add(&handle->next_driver, 1, memory_order_relaxed);
        worker = &handle->worker[first + turn % choice];
    }
    return ouro__io_handle_driver(&worker->io, out_driver);
}

static struct ouro__shared_stacks *find_locked(struct ouro_handle *handle, size_t size_bytes)
{
    struct ouro__shared_stacks *shared = handle->shared_stacks;
    while (shared != NULL && shared->size_bytes != size_bytes)
        shared = shared->next;
    return shared;
}

static struct ouro__shared_stacks *make_locked(struct ouro_handle *handle, size_t size_bytes)
{
    struct ouro__shared_stacks *shared = ouro__calloc(1, sizeof(*shared));
    if (shared == NULL)
        return NULL;
    struct ouro__stack_pool_config config = stack_config(handle, size_bytes);
    if (ouro__stack_pool_init(&shared->pool, &config) < 0) {
        ouro__free(shared);
        return NULL;
    }
    ouro__mutex_init(&shared->lock);
    shared->size_bytes = size_bytes;
    shared->next = handle->shared_stacks;
    handle->shared_stacks = shared;
    if (reports_overflow(handle))
        ouro__overflow_pool_add(&shared->pool, handle->kind->name_of);
    return shared;
}

struct ouro__shared_stacks *ouro__handle_shared_stacks(struct ouro_handle *handle,
                                                       size_t size_bytes)
{
    ouro__mutex_lock(&handle->lock);
    struct ouro__shared_stacks *shared = find_locked(handle, size_bytes);
    if (shared == NULL)
        shared = make_locked(handle, size_bytes);
    ouro__mutex_unlock(&handle->lock);
    return shared;
}

int64_t ouro__handle_trim_shared_stacks(struct ouro_handle *handle, int64_t now_ns)
{
    int64_t next_ns = OURO__NEVER;
    ouro__mutex_lock(&handle->lock);
    struct ouro__shared_stacks *shared = handle->shared_stacks;
    ouro__mutex_unlock(&handle->lock);
    /* The list only grows, in front, and lives as long as the handle. */
    for (; shared != NULL; shared = shared->next) {
        ouro__mutex_lock(&shared->lock);
        int64_t one_ns = ouro__stack_trim_step(&shared->pool, now_ns);
        ouro__mutex_unlock(&shared->lock);
        next_ns = one_ns < next_ns ? one_ns : next_ns;
    }
    return next_ns;
}

void ouro__handle_wake_threads(struct ouro_handle *handle)
{
    ouro__mutex_lock(&handle->lock);
    for (struct ouro__list *at = handle->threads.next; at != &handle->threads; at = at->next) {
        struct ouro__context *context = OURO__CONTAINER_OF(at, struct ouro__context, link);
        ouro__wake_ref_wake(context->wake_ref);
    }
    ouro__mutex_unlock(&handle->lock);
}

enum ouro_driver_kind ouro_handle_driver(const struct ouro_handle *handle)
{
    return handle == NULL ? OURO_DRIVER_AUTO : handle->driver_kind;
}

const char *ouro_handle_driver_reason(const struct ouro_handle *handle)
{
    return handle == NULL ? "" : handle->driver_reason;
}

static void add_metrics(struct ouro_io_driver_metrics *sum,
                        const struct ouro_io_driver_metrics *one)
{
    sum->registered += one->registered;
    sum->deregistered += one->deregistered;
    sum->released += one->released;
    sum->ready += one->ready;
    sum->submitted += one->submitted;
    sum->completed += one->completed;
    sum->cancelled += one->cancelled;
    sum->stale += one->stale;
    sum->overflowed += one->overflowed;
    sum->turns += one->turns;
    sum->sleeps += one->sleeps;
    sum->unparks += one->unparks;
}

/* 0, or why a handle has no counters. */
static int can_be_counted(const struct ouro_handle *handle)
{
    if (handle == NULL)
        return -EINVAL;
    if (ouro__fork_is_child(handle->fork_generation))
        return -OURO_EFORKED;
    return handle->driver_kind == OURO_DRIVER_NONE ? -OURO_EIODISABLED : 0;
}

int ouro_handle_metrics(const struct ouro_handle *handle,
                        struct ouro_io_driver_metrics *out_metrics)
{
    int rc = out_metrics == NULL ? -EINVAL : can_be_counted(handle);
    if (rc < 0)
        return rc;
    struct ouro_io_driver_metrics sum = {.registered = 0};
    for (uint32_t i = 0; i < handle->worker_count; i++) {
        struct ouro_io_driver_metrics one;
        ouro__driver_metrics(&handle->worker[i].io.handle, &one);
        add_metrics(&sum, &one);
    }
    *out_metrics = sum;
    return 0;
}

int ouro_handle_zero_copy_metrics(const struct ouro_handle *handle,
                                  struct ouro_zero_copy_metrics *metrics)
{
    bool is_known = metrics != NULL && metrics->size == sizeof(*metrics);
    int rc = is_known ? can_be_counted(handle) : -EINVAL;
    if (rc < 0)
        return rc;
    *metrics = (struct ouro_zero_copy_metrics)OURO_ZERO_COPY_METRICS_INIT;
    for (uint32_t i = 0; i < handle->worker_count; i++) {
        const struct ouro__zero_copy *zero_copy = &handle->worker[i].io.handle.zero_copy;
        metrics->sends += ouro__counter_read(&zero_copy->sends);
        metrics->copied += ouro__counter_read(&zero_copy->copied);
    }
    return 0;
}

int ouro_handle_busy_poll_metrics(const struct ouro_handle *handle,
                                  struct ouro_busy_poll_metrics *metrics)
{
    bool is_known = metrics != NULL && metrics->size == sizeof(*metrics);
    int rc = is_known ? can_be_counted(handle) : -EINVAL;
    if (rc < 0)
        return rc;
    *metrics = (struct ouro_busy_poll_metrics)OURO_BUSY_POLL_METRICS_INIT;
    for (uint32_t i = 0; i < handle->worker_count; i++) {
        const struct ouro__busy_poll *poll = &handle->worker[i].io.handle.busy_poll;
        metrics->looks += ouro__counter_read(&poll->looks);
        metrics->found += ouro__counter_read(&poll->found);
        metrics->looked_ns += ouro__counter_read(&poll->looked_ns);
        metrics->saved_ns += ouro__counter_read(&poll->saved_ns);
    }
    return 0;
}
