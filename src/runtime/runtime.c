/* SPDX-License-Identifier: MIT */
/*
 * Runtime: workers on their threads, and their end.
 *
 * A start makes one thing after the other; when one fails, it undoes the earlier ones and returns
 * the error, so that the next start finds everything as this one did.  In the current-thread
 * flavour the calling thread opens worker 0 itself; every other worker opens its driver on its own
 * thread, since a ring belongs to the thread that made it.
 *
 * Owns:    one reference to the handle, the workers' threads, the blocking pool.
 * Threads: as documented in ouro/runtime.h.
 * Always:  a worker's thread ends only when no task of it is alive.
 * Tests:   tests/runtime/test_runtime.c, tests/runtime/test_start.c
 */
#include "runtime/runtime.h"

#include "base/alloc.h"
#include "base/fork.h"
#include "base/options.h"
#include "blocking/pool.h"
#include "epoll/join.h"
#include "fiber/exceptions.h"
#include "registry/loan_pool.h"
#include "runtime/choose.h"
#include "runtime/threads.h"
#include "task/handle.h"
#include "task/task.h"
#include "task/wait.h"
#include "task/worker.h"

#include <ouro/error.h>

#include <errno.h>
#include <sched.h>
#include <string.h>

enum {
    LOAN_BUFFER_BYTES_MIN = 64,
    LOAN_BUFFER_BYTES_MAX = 16 * 1024 * 1024,
    LOANS_PER_STREAM_DEFAULT = 4,
    BLOCKING_THREADS_DEFAULT = 64,
    WORKERS_MAX = 1024,
    STACK_DEFAULT_BYTES = 64 * 1024,
    STACK_SANITIZER_BYTES = 256 * 1024, /* reports of ASan and TSan are made on the fiber's stack */
};
#define FREE_GRACE_NS (10 * OURO__NS_PER_SEC)

#ifdef OURO_TESTING
int64_t ouro__runtime_free_grace_ns = FREE_GRACE_NS;
#else
static const int64_t ouro__runtime_free_grace_ns = FREE_GRACE_NS;
#endif

static uint32_t usable_cpus(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) != 0)
        return 1;
    int count = CPU_COUNT(&set);
    return count > 0 ? (uint32_t)count : 1;
}

/* The caller's configuration with the defaults filled in. */
static int fill_config(const struct ouro_runtime_config *from, struct ouro_runtime_config *to)
{
    const uint32_t known = OURO_RUNTIME_F_NO_IO | OURO_RUNTIME_F_NO_TIME |
                           OURO_RUNTIME_F_NO_OVERFLOW_REPORT | OURO_RUNTIME_F_EMBEDDED;
    struct ouro_runtime_config defaults = OURO_RUNTIME_CONFIG_INIT;
    from = ouro__options_read(from, &defaults, sizeof(defaults));
    if (from == NULL)
        return -EINVAL;
    *to = *from;
    bool multi = to->flavour == OURO_FLAVOUR_MULTI_THREAD;
    if ((to->flags & ~known) != 0)
        return -EINVAL;
    if (!multi && (to->flavour != OURO_FLAVOUR_CURRENT_THREAD || to->workers > 1))
        return -EINVAL;
    if ((unsigned)to->driver > OURO_DRIVER_NONE || to->stack_size_bytes > SIZE_MAX / 4)
        return -EINVAL;
    if ((unsigned)to->dial > OURO_DIAL_LATENCY || (unsigned)to->zero_copy > OURO_ZERO_COPY_ALWAYS)
        return -EINVAL;
    if (to->workers > WORKERS_MAX || to->driver_threads > WORKERS_MAX)
        return -EINVAL;
    if (to->loan_buffer_bytes != 0 && (to->loan_buffer_bytes < LOAN_BUFFER_BYTES_MIN ||
                                       to->loan_buffer_bytes > LOAN_BUFFER_BYTES_MAX))
        return -EINVAL;
    if (to->loan_buffers > OURO__LOANS_MAX)
        return -EINVAL;
    if (to->driver == OURO_DRIVER_NONE)
        to->flags |= OURO_RUNTIME_F_NO_IO;
    if ((to->flags & OURO_RUNTIME_F_EMBEDDED) != 0 &&
        (multi || (to->flags & OURO_RUNTIME_F_NO_IO) != 0))
        return -EINVAL;
    if (to->workers == 0)
        to->workers = multi ? usable_cpus() : 1;
    if (to->stack_size_bytes == 0)
        to->stack_size_bytes =
            OURO__ASAN || OURO__TSAN ? STACK_SANITIZER_BYTES : STACK_DEFAULT_BYTES;
    if (to->loans_per_stream == 0)
        to->loans_per_stream = LOANS_PER_STREAM_DEFAULT;
    if (to->blocking_threads_max == 0)
        to->blocking_threads_max = BLOCKING_THREADS_DEFAULT;
    return 0;
}

static bool is_current_thread(const struct ouro_handle *handle)
{
    return handle->config.flavour == OURO_FLAVOUR_CURRENT_THREAD;
}

/* The first worker that has a thread of its own. */
static uint32_t first_thread(const struct ouro_handle *handle)
{
    return is_current_thread(handle) ? 1 : 0;
}

static bool is_embedded(const struct ouro_handle *handle)
{
    return (handle->config.flags & OURO_RUNTIME_F_EMBEDDED) != 0;
}

/* The worker of the calling thread. */
static int open_own_worker(struct ouro_handle *handle)
{
    struct ouro__worker *worker = &handle->worker[0];
    int rc = ouro__handle_open_worker(handle, worker);
    if (rc < 0 || !is_embedded(handle))
        return rc;
    rc = ouro__embedding_init(&handle->embedding, &worker->io.handle, ouro__epoll_join);
    if (rc == 0) {
        rc = ouro__worker_embed(worker, &handle->embedding);
        if (rc < 0)
            ouro__embedding_fini(&handle->embedding);
    }
    if (rc < 0) {
        ouro__handle_close_worker(worker);
        ouro__worker_fini(worker);
    }
    return rc;
}

static void close_own_worker(struct ouro_handle *handle)
{
    ouro__handle_close_worker(&handle->worker[0]);
    if (is_embedded(handle))
        ouro__embedding_fini(&handle->embedding);
}

/* Worker 0 here, or all on threads of their own.  After an error none is left. */
static int start_workers(struct ouro_handle *handle)
{
    if (is_current_thread(handle)) {
        int rc = open_own_worker(handle);
        if (rc < 0)
            return rc;
    }
    int rc = ouro__threads_start(handle, first_thread(handle));
    if (rc < 0 && is_current_thread(handle)) {
        close_own_worker(handle);
        ouro__worker_fini(&handle->worker[0]);
    }
    return rc;
}

static int start_reporting(struct ouro_handle *handle)
{
    if ((handle->config.flags & OURO_RUNTIME_F_NO_OVERFLOW_REPORT) != 0)
        return start_workers(handle);
    int rc = ouro__overflow_install();
    if (rc < 0)
        return rc;
    rc = start_workers(handle);
    if (rc < 0)
        ouro__overflow_uninstall();
    return rc;
}

/* Whether it was the driver that kept a worker from starting. */
static bool driver_is_refused(const struct ouro_handle *handle)
{
    for (uint32_t i = 0; i < handle->worker_count; i++) {
        if (handle->worker[i].is_refused)
            return true;
    }
    return false;
}

/* *@out_refused: it failed because of the driver that was chosen. */
static int start_with(struct ouro_runtime *runtime, const struct ouro_runtime_config *config,
                      const struct ouro__choice *choice, bool *out_refused)
{
    struct ouro_handle *handle = NULL;
    struct ouro_runtime_config chosen = *config;
    chosen.feature_mask = ~choice->features;
    chosen.quirk_mask = choice->quirks;
    int rc = ouro__handle_new(&chosen, choice->ops, &ouro__task_kind, &handle);
    if (rc < 0)
        return rc;
    handle->driver_kind = choice->kind;
    handle->use_madv_guard = choice->use_madv_guard;
    memcpy(handle->driver_reason, choice->reason, sizeof(handle->driver_reason));
    rc = ouro__blocking_pool_new(config->blocking_threads_max, &handle->blocking);
    if (rc == 0)
        rc = start_reporting(handle);
    if (rc < 0) {
        *out_refused = driver_is_refused(handle);
        ouro_handle_unref(handle);
        return rc;
    }
    runtime->handle = handle;
    return 0;
}

static int start(struct ouro_runtime *runtime, const struct ouro_runtime_config *config)
{
    struct ouro__choice choice;
    int rc = ouro__choose_driver(config, &choice);
    if (rc < 0)
        return rc;
    bool refused = false;
    do {
        refused = false;
        rc = start_with(runtime, config, &choice, &refused);
    } while (refused && ouro__choose_again(config, &choice, rc));
    return rc;
}

int ouro_runtime_new(const struct ouro_runtime_config *config, struct ouro_runtime **out_runtime)
{
    struct ouro_runtime_config filled;
    int rc = out_runtime == NULL ? -EINVAL : fill_config(config, &filled);
    if (rc == 0 && ouro__worker_loop_is_here())
        rc = -OURO_ENESTED;
    if (rc == 0)
        rc = ouro__fork_watch();
    if (rc < 0)
        return rc;
    ouro__exceptions_look();
    struct ouro_runtime *runtime = ouro__calloc(1, sizeof(*runtime));
    if (runtime == NULL)
        return -ENOMEM;
    rc = start(runtime, &filled);
    if (rc < 0) {
        ouro__free(runtime);
        return rc;
    }
    *out_runtime = runtime;
    return 0;
}

struct ouro_handle *ouro_runtime_handle(struct ouro_runtime *runtime)
{
    return runtime == NULL ? NULL : ouro_handle_ref(runtime->handle);
}

/* What block_on and shutdown must not be called from. */
static int check_caller(const struct ouro_runtime *runtime)
{
    if (runtime == NULL)
        return -EINVAL;
    struct ouro_handle *handle = runtime->handle;
    if (ouro__fork_is_child(handle->fork_generation))
        return -OURO_EFORKED;
    if (ouro__worker_loop_is_here() || ouro__blocking_is_own_thread(handle->blocking))
        return -OURO_ENESTED;
    if (is_current_thread(handle) && !ouro__worker_is_home(&handle->worker[0]))
        return -OURO_EWRONGTHREAD;
    return 0;
}

int ouro_runtime_block_on(struct ouro_runtime *runtime, ouro_task_function *function, void *arg,
                          int *out_result)
{
    int rc = check_caller(runtime);
    if (rc == 0 && function == NULL)
        rc = -EINVAL;
    if (rc < 0)
        return rc;
    /* A thread that has entered no runtime, or another one, is inside this one for the call. */
    struct ouro__context *before = ouro__context_current();
    ouro__context_set_current(NULL);
    rc = ouro_enter(runtime->handle);
    if (rc < 0) {
        ouro__context_set_current(before);
        return rc;
    }
    struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
    options.name = "main";
    struct ouro_task *task = NULL;
    rc = ouro__context_prepare(ouro__context_current());
    if (rc == 0)
        rc = ouro_task_spawn_with(NULL, &options, function, arg, &task);
    if (rc == 0)
        ouro__task_join_uninterruptible(task, out_result);
    ouro_leave();
    ouro__context_set_current(before);
    return rc;
}

int ouro_runtime_fd(struct ouro_runtime *runtime)
{
    if (runtime == NULL || !is_embedded(runtime->handle))
        return -EINVAL;
    if (ouro__fork_is_child(runtime->handle->fork_generation))
        return -OURO_EFORKED;
    return runtime->handle->embedding.fd;
}

int ouro_runtime_turn(struct ouro_runtime *runtime, int64_t timeout_ns)
{
    if (runtime == NULL || !is_embedded(runtime->handle))
        return -EINVAL;
    int rc = check_caller(runtime);
    if (rc < 0)
        return rc;
    int64_t deadline_ns = 0;
    if (timeout_ns < 0)
        deadline_ns = OURO__NEVER;
    else if (timeout_ns > 0)
        deadline_ns = ouro__clock_add_ns(ouro__clock_now_ns(), timeout_ns);
    ouro__worker_turn(&runtime->handle->worker[0], deadline_ns);
    return 0;
}

/*
 * The order matters (docs/ARCHITECTURE.md, "Shutdown"):
 *   1. the flag is set: from here on every call that would wait, register or spawn fails;
 *   2. plain threads are woken: they read the flag and end their waits;
 *   3. each worker, on its own thread, ends its driver's operations and its contexts' waits.
 */
static void begin_shutdown(struct ouro_handle *handle)
{
    if (ouro__exchange(&handle->is_shutdown, true, memory_order_acq_rel))
        return;
    ouro__handle_wake_threads(handle);
    if (is_current_thread(handle))
        ouro__worker_shut_down(&handle->worker[0]);
    ouro__threads_stop(handle, first_thread(handle));
}

/* True: all workers have ended. */
static bool await_workers(struct ouro_handle *handle, int64_t deadline_ns)
{
    bool ended = true;
    if (is_current_thread(handle))
        ended = ouro__worker_run_until_end(&handle->worker[0], deadline_ns);
    uint32_t threads = handle->worker_count - first_thread(handle);
    return ouro__threads_await_end(handle, threads, deadline_ns) && ended;
}

/* True in *@out_ended: nothing runs in the workers any more. */
static int shut_down(struct ouro_handle *handle, int64_t grace_ns, bool *out_ended)
{
    int64_t deadline_ns = ouro__clock_add_ns(ouro__clock_now_ns(), grace_ns < 0 ? 0 : grace_ns);
    begin_shutdown(handle);
    *out_ended = await_workers(handle, deadline_ns);
    int64_t left_ns = deadline_ns - ouro__clock_now_ns();
    int pool_rc = ouro__blocking_pool_shutdown(handle->blocking, left_ns > 0 ? left_ns : 0);
    return *out_ended && pool_rc == 0 ? 0 : -ETIMEDOUT;
}

int ouro_runtime_shutdown(struct ouro_runtime *runtime, int64_t grace_ns)
{
    int rc = check_caller(runtime);
    bool ended = false;
    return rc < 0 ? rc : shut_down(runtime->handle, grace_ns, &ended);
}

/* In a forked child there are no threads to stop, and the kernel objects are the parent's. */
static void free_in_child(struct ouro_runtime *runtime)
{
    ouro__blocking_pool_free_in_child(runtime->handle->blocking);
    ouro__free(runtime);
}

void ouro_runtime_free(struct ouro_runtime *runtime)
{
    if (runtime == NULL)
        return;
    struct ouro_handle *handle = runtime->handle;
    if (ouro__fork_is_child(handle->fork_generation)) {
        free_in_child(runtime);
        return;
    }
    if (check_caller(runtime) < 0)
        return;
    bool ended = false;
    (void)shut_down(handle, ouro__runtime_free_grace_ns, &ended);
    ouro__free(runtime);
    if (!ended) {
        /* Tasks that do not end still use their stacks, their driver and the handle, so these stay
         * behind. */
        ouro__threads_detach(handle, first_thread(handle));
        return;
    }
    ouro__threads_join(handle, first_thread(handle));
    if (is_current_thread(handle))
        close_own_worker(handle);
    for (uint32_t i = 0; i < handle->worker_count; i++)
        ouro__worker_fini(&handle->worker[i]);
    if ((handle->config.flags & OURO_RUNTIME_F_NO_OVERFLOW_REPORT) == 0)
        ouro__overflow_uninstall();
    ouro_handle_unref(handle);
}

int ouro_run(ouro_task_function *function, void *arg)
{
    struct ouro_runtime *runtime = NULL;
    int result = 0;
    int rc = ouro_runtime_new(NULL, &runtime);
    if (rc == 0)
        rc = ouro_runtime_block_on(runtime, function, arg, &result);
    ouro_runtime_free(runtime);
    return rc < 0 ? rc : result;
}
