/* SPDX-License-Identifier: MIT */
/*
 * Task: a function that runs as a fiber, from its birth to the return of its stack.
 *
 * A task is made by whoever spawns it, on a stack from the spawner's own pool (a plain thread takes
 * one from the runtime's shared pools), and sent to its worker, where it lives.  Its references
 * are: the running one, given up when the function has returned and the stack is left; the
 * handle's, given up by join or detach; and one for each message on its way.  The last one sends it
 * home: off its worker's list, and its stack back to the pool it came from.
 *
 * Owns:    its stack.
 * Threads: spawn, cancel, detach any; birth, running and release its worker's.
 * Always:  it is in its worker's list from birth to release.
 */
#include "task/task.h"

#include "base/fault.h"
#include "task/fork.h"
#include "task/handle.h"
#include "task/wake_ref.h"
#include "task/worker.h"

#include <ouro/error.h>

#include <errno.h>
#include <string.h>

const char *ouro__task_name_of(void *header)
{
    return ((struct ouro_task *)header)->name;
}

/* Tells who waits in join, and everybody who comes later, that it is over. */
static void announce_end(struct ouro_task *task)
{
    uintptr_t joiner = ouro__exchange(&task->joiner, OURO__JOINER_DONE, memory_order_acq_rel);
    if (joiner != 0) {
        struct ouro__wake_ref *ref = (struct ouro__wake_ref *)joiner;
        ouro__wake_ref_wake(ref);
        ouro__wake_ref_unref(ref);
    }
}

/* The bottom of every fiber's stack. */
static void task_main(void *arg)
{
    struct ouro_task *task = arg;
    struct ouro__worker *worker = task->context.worker;
    struct ouro_task *before = worker->ended;
    if (before != NULL) {
        worker->ended = NULL;
        ouro__task_reap(before);
    }
    task->result = task->function(task->arg);
    OURO__ASSERT(task->context.scope == NULL); /* a deadline scope was begun and not ended */
    ouro__context_fini(&task->context);
    worker->live--;
    announce_end(task);
    ouro__worker_switch_out_for_good(worker);
}

static void start_here(struct ouro_task *task)
{
    struct ouro__worker *worker = task->context.worker;
    ouro__list_push_back(&worker->tasks, &task->link);
    worker->live++;
    if (OURO__UNLIKELY(worker->is_stopping))
        task->context.interrupts |= OURO__INTERRUPT_SHUTDOWN;
    ouro__worker_make_ready(worker, task);
}

static void birth_message(struct ouro__inbox_node *node)
{
    start_here(OURO__CONTAINER_OF(node, struct ouro_task, message));
}

/* Counts a task against tasks_max. */
static int count_in(struct ouro_handle *handle)
{
    if (OURO__LIKELY(handle->config.tasks_max == 0))
        return 0;
    uint64_t before = atomic_fetch_add_explicit(&handle->tasks_live, 1, memory_order_relaxed);
    if (before < handle->config.tasks_max)
        return 0;
    atomic_fetch_sub_explicit(&handle->tasks_live, 1, memory_order_relaxed);
    return -EAGAIN;
}

static void count_out(struct ouro_handle *handle)
{
    if (handle->config.tasks_max != 0)
        atomic_fetch_sub_explicit(&handle->tasks_live, 1, memory_order_relaxed);
}

/* Memory for a task: from the calling worker's own pool if it keeps that size. */
static struct ouro_task *get_stack(struct ouro_handle *handle, size_t size_bytes)
{
    struct ouro__context *caller = ouro__context_current();
    struct ouro__worker *owner = caller != NULL && caller->handle == handle ? caller->worker : NULL;
    if (ouro__fault(OURO__FAULT_STACK) != 0)
        return NULL;
    struct ouro_task *task = NULL;
    if (owner != NULL && (size_bytes == 0 || size_bytes == handle->config.stack_size_bytes)) {
        task = ouro__stack_get(&owner->stacks);
        if (task != NULL) {
            task->stack_owner = owner;
            task->shared_stacks = NULL;
        }
        return task;
    }
    if (size_bytes == 0)
        size_bytes = handle->config.stack_size_bytes;
    struct ouro__shared_stacks *shared = ouro__handle_shared_stacks(handle, size_bytes);
    if (shared == NULL)
        return NULL;
    ouro__mutex_lock(&shared->lock);
    task = ouro__stack_get(&shared->pool);
    ouro__mutex_unlock(&shared->lock);
    if (task != NULL) {
        task->stack_owner = NULL;
        task->shared_stacks = shared;
    }
    return task;
}

static struct ouro__stack_pool *pool_of(const struct ouro_task *task)
{
    return task->stack_owner != NULL ? &task->stack_owner->stacks : &task->shared_stacks->pool;
}

/* On the stack owner's thread, or with a shared pool on any. */
static void put_stack(struct ouro_task *task)
{
    if (task->stack_owner != NULL) {
        ouro__stack_put(&task->stack_owner->stacks, task);
        return;
    }
    struct ouro__shared_stacks *shared = task->shared_stacks;
    ouro__mutex_lock(&shared->lock);
    ouro__stack_put(&shared->pool, task);
    ouro__mutex_unlock(&shared->lock);
}

static void put_stack_message(struct ouro__inbox_node *node)
{
    put_stack(OURO__CONTAINER_OF(node, struct ouro_task, message));
}

/* On the task's worker's thread: nobody refers to it any more. */
static void release_here(struct ouro_task *task)
{
    ouro__list_remove(&task->link);
    struct ouro__worker *owner = task->stack_owner;
    if (owner == NULL || ouro__worker_is_here(owner)) {
        put_stack(task);
        return;
    }
    task->message.run = put_stack_message;
    (void)ouro__driver_send(&owner->io.driver, &task->message); /* gone: so are its pools soon */
}

static void release_message(struct ouro__inbox_node *node)
{
    release_here(OURO__CONTAINER_OF(node, struct ouro_task, message));
}

void ouro__task_unref(struct ouro_task *task)
{
    /* Who holds the last one need not count it down. */
    if (ouro__load(&task->references, memory_order_acquire) != 1 &&
        ouro__fetch_sub(&task->references, 1, memory_order_acq_rel) != 1)
        return;
    struct ouro__worker *worker = task->context.worker;
    if (ouro__worker_is_here(worker)) {
        release_here(task);
        return;
    }
    task->message.run = release_message;
    (void)ouro__driver_send(&worker->io.driver, &task->message);
}

void ouro__task_reap(struct ouro_task *task)
{
    ouro__switch_fini(&task->fiber);
    count_out(task->context.handle);
    ouro__task_unref(task);
}

static void cancel_message(struct ouro__inbox_node *node)
{
    struct ouro_task *task = OURO__CONTAINER_OF(node, struct ouro_task, cancel_message);
    if (!ouro__task_has_ended(task))
        ouro__context_interrupt(&task->context, OURO__INTERRUPT_CANCEL);
    ouro__task_unref(task);
}

static void set_name(struct ouro_task *task, const char *name)
{
    if (name == NULL) {
        memcpy(task->name, "task", sizeof("task"));
        return;
    }
    size_t length = strnlen(name, OURO__TASK_NAME_MAX - 1);
    memcpy(task->name, name, length);
    task->name[length] = '\0';
}

int ouro__task_new(struct ouro_handle *handle, struct ouro__worker *worker,
                   const struct ouro_task_options *options, ouro_task_function *function, void *arg,
                   bool joinable, struct ouro_task **out_task)
{
    int rc = count_in(handle);
    if (rc < 0)
        return rc;
    struct ouro_task *task = get_stack(handle, options == NULL ? 0 : options->stack_size_bytes);
    if (OURO__UNLIKELY(task == NULL)) {
        count_out(handle);
        return -ENOMEM;
    }
    ouro__context_init(&task->context, handle, worker, task);
    task->function = function;
    task->arg = arg;
    atomic_init(&task->references, joinable ? 2 : 1);
    atomic_init(&task->joiner, 0);
    atomic_init(&task->cancel_asked, 0);
    task->cancel_message.run = cancel_message;
    set_name(task, options == NULL ? NULL : options->name);
    char *low = ouro__stack_low(pool_of(task), task);
    ouro__switch_init(&task->fiber, low, (size_t)((char *)task - low), task_main, task);

    if (ouro__worker_is_here(worker)) {
        start_here(task);
    } else {
        task->message.run = birth_message;
        if (!ouro__driver_send(&worker->io.driver, &task->message)) {
            ouro__switch_fini(&task->fiber);
            count_out(handle);
            put_stack(task); /* it is from the caller's own pool, or a shared one */
            return -OURO_ESHUTDOWN;
        }
    }
    if (joinable)
        *out_task = task;
    return 0;
}

static int check_options(const struct ouro_task_options *options, struct ouro_handle *handle)
{
    if (options == NULL)
        return 0;
    if (options->size != sizeof(*options) || options->stack_size_bytes > SIZE_MAX / 4)
        return -EINVAL;
    if (options->worker != OURO_WORKER_ANY && options->worker != OURO_WORKER_CURRENT &&
        options->worker >= handle->task_workers)
        return -EINVAL;
    return 0;
}

/* The worker that the options ask for. */
static struct ouro__worker *choose_worker(struct ouro_handle *handle,
                                          const struct ouro_task_options *options)
{
    uint32_t wish = options == NULL ? OURO_WORKER_ANY : options->worker;
    struct ouro__context *caller = ouro__context_current();
    if (wish < handle->task_workers)
        return &handle->worker[wish];
    if (wish == OURO_WORKER_CURRENT && caller != NULL && caller->handle == handle &&
        caller->worker != NULL)
        return caller->worker;
    return ouro__handle_next_worker(handle);
}

int ouro_task_spawn_with(struct ouro_handle *handle, const struct ouro_task_options *options,
                         ouro_task_function *function, void *arg, struct ouro_task **out_task)
{
    if (handle == NULL) {
        struct ouro__context *caller = NULL;
        int rc = ouro__context_enter(&caller);
        if (rc < 0)
            return rc;
        handle = caller->handle;
    } else if (ouro__fork_is_child(handle->fork_generation)) {
        return -OURO_EFORKED;
    }
    int rc = check_options(options, handle);
    if (rc < 0 || function == NULL)
        return -EINVAL;
    if (ouro__handle_is_shutdown(handle))
        return -OURO_ESHUTDOWN;
    return ouro__task_new(handle, choose_worker(handle, options), options, function, arg,
                          out_task != NULL, out_task);
}

int ouro_task_spawn(ouro_task_function *function, void *arg, struct ouro_task **out_task)
{
    return ouro_task_spawn_with(NULL, NULL, function, arg, out_task);
}

void ouro_task_detach(struct ouro_task *task)
{
    if (task != NULL && !ouro__fork_is_child(task->context.handle->fork_generation))
        ouro__task_unref(task);
}

int ouro_task_cancel(struct ouro_task *task)
{
    if (task == NULL)
        return -EINVAL;
    if (ouro__fork_is_child(task->context.handle->fork_generation))
        return -OURO_EFORKED;
    if (ouro__exchange(&task->cancel_asked, 1, memory_order_acq_rel) != 0)
        return 0;
    struct ouro__worker *worker = task->context.worker;
    atomic_fetch_add_explicit(&task->references, 1, memory_order_relaxed);
    if (ouro__worker_is_here(worker))
        cancel_message(&task->cancel_message);
    else if (!ouro__driver_send(&worker->io.driver, &task->cancel_message))
        ouro__task_unref(task);
    return 0;
}
