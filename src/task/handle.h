/* SPDX-License-Identifier: MIT */
/*
 * Handle: the shared half of a runtime, which its tasks, threads, streams and wakers use.
 *
 * It lives until the last reference is given up, which may be after the runtime was freed.  From
 * the shutdown on its calls return -OURO_ESHUTDOWN.
 */
#ifndef OURO_TASK_HANDLE_H
#define OURO_TASK_HANDLE_H

#include "base/atomic.h"
#include "base/mutex.h"
#include "fiber/stack.h"
#include "registry/io_handle.h"
#include "task/worker.h"

#include <ouro/runtime.h>

#include <errno.h>

struct ouro__blocking_pool;

/* A pool of stacks of one size that any thread may use. */
struct ouro__shared_stacks {
    struct ouro__shared_stacks *next;
    struct ouro__mutex lock;
    struct ouro__stack_pool pool;
    size_t size_bytes; /* usable */
};

struct ouro_handle {
    _Atomic uint32_t references;
    _Atomic bool is_shutdown;
    uint32_t fork_generation;
    struct ouro_runtime_config config; /* defaults filled in */
    enum ouro_driver_kind driver_kind; /* NONE: no I/O */
    char driver_reason[256];
    const struct ouro__worker_kind *kind; /* what its workers run */
    bool use_madv_guard;                  /* stacks may be guarded by MADV_GUARD_INSTALL */

    struct ouro__worker *worker; /* worker_count of them, the last driver_threads run no tasks */
    uint32_t worker_count;       /* all */
    uint32_t task_workers;       /* those that run tasks */
    _Atomic uint32_t next_worker;
    _Atomic uint32_t next_driver;

    _Atomic uint64_t tasks_live; /* kept only when config.tasks_max is set */
    _Atomic uint32_t ended;      /* workers that have ended; a futex */

    struct ouro__mutex lock;   /* guards what follows */
    struct ouro__list threads; /* contexts of plain threads that have entered */
    struct ouro__shared_stacks *shared_stacks;

    struct ouro__blocking_pool *blocking;
    struct ouro__embedding embedding; /* of worker 0, with OURO_RUNTIME_F_EMBEDDED */
};

/* One reference.  The workers' array is made, nothing is started.  @kind stays with the caller.
 * Errors: -ENOMEM. */
int ouro__handle_new(const struct ouro_runtime_config *config, const struct ouro__driver_ops *ops,
                     const struct ouro__worker_kind *kind, struct ouro_handle **out_handle);

/* ouro__worker_open() with what the configuration says.  On the thread that will own it. */
int ouro__handle_open_worker(struct ouro_handle *handle, struct ouro__worker *worker);
/* On its thread, with no task alive. */
void ouro__handle_close_worker(struct ouro__worker *worker);

/* Makes @context one of the runtime's: of @task, of @worker's own thread (@task NULL), or of a
 * plain thread (both NULL). */
void ouro__handle_init_context(struct ouro_handle *handle, struct ouro__context *context,
                               struct ouro__worker *worker, struct ouro_task *task);

static inline bool ouro__handle_is_shutdown(const struct ouro_handle *handle)
{
    return ouro__load(&handle->is_shutdown, memory_order_acquire);
}

static inline struct ouro__blocking_pool *ouro__handle_blocking_pool(struct ouro_handle *handle)
{
    return handle->blocking;
}

/* The next worker in turn that runs tasks. */
struct ouro__worker *ouro__handle_next_worker(struct ouro_handle *handle);

/*
 * The driver that a descriptor first used by @context belongs to: its worker's own; for plain
 * threads the next in turn.  Errors: -OURO_EIODISABLED, -OURO_ESHUTDOWN.
 */
int ouro__handle_driver_for(struct ouro__context *context, struct ouro__driver_handle **out_driver);

/* The pool for stacks of @size_bytes that no worker keeps.  NULL: out of memory. */
struct ouro__shared_stacks *ouro__handle_shared_stacks(struct ouro_handle *handle,
                                                       size_t size_bytes);

/*
 * Gives back some of what idle stacks of the shared pools hold.  Returns when there is more to do,
 * OURO__NEVER: not before another of their stacks becomes idle.
 */
int64_t ouro__handle_trim_shared_stacks(struct ouro_handle *handle, int64_t now_ns);

/* Wakes every plain thread that has entered, so that it sees the shutdown. */
void ouro__handle_wake_threads(struct ouro_handle *handle);

/* Counts a new task.  -EAGAIN: there are tasks_max already. */
static inline int ouro__handle_count_in(struct ouro_handle *handle)
{
    if (OURO__LIKELY(handle->config.tasks_max == 0))
        return 0;
    uint64_t before = ouro__fetch_add(&handle->tasks_live, 1, memory_order_relaxed);
    if (before < handle->config.tasks_max)
        return 0;
    ouro__fetch_sub(&handle->tasks_live, 1, memory_order_relaxed);
    return -EAGAIN;
}

/* Uncounts a task that has ended, or was not started. */
static inline void ouro__handle_count_out(struct ouro_handle *handle)
{
    if (OURO__UNLIKELY(handle->config.tasks_max != 0))
        ouro__fetch_sub(&handle->tasks_live, 1, memory_order_relaxed);
}

#endif
