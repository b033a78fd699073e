/* SPDX-License-Identifier: MIT */
/*
 * Task: a function that runs as a fiber, from its birth to the return of the function.
 *
 * A task is made by whoever spawns it, on a stack from the spawner's own pool (a plain thread takes
 * one from the runtime's shared pools), and sent to its worker, where it lives.  How it ends, and
 * who gives its memory back, is told in task_end.c.
 *
 * Owns:    its stack, and itself at the top of it.
 * Threads: spawn any; birth and running its worker's.
 * Always:  it is in its worker's list from birth to release.
 */
#include "task/task.h"

#include "base/fault.h"
#include "task/fork.h"
#include "task/handle.h"
#include "task/worker.h"

#include <ouro/error.h>

#include <errno.h>
#include <string.h>

const char *ouro__task_name_of(void *header)
{
    return ouro__task_name(header);
}

/* The bottom of every fiber's stack. */
static void task_main(void *arg)
{
    struct ouro_task *task = arg;
    struct ouro__worker *worker = task->context.worker;
    if (worker->ended != NULL)
        ouro__task_reap(worker);
    task->result = task->function(task->arg);
    OURO__ASSERT(task->context.scope == NULL); /* a deadline scope was begun and not ended */
    ouro__task_end(task);
    ouro__worker_switch_out_for_good(worker);
}

static void start_here(struct ouro_task *task)
{
    struct ouro__worker *worker = task->context.worker;
    ouro__list_push_back(&worker->tasks, &task->context.link);
    worker->live++;
    if (OURO__UNLIKELY(worker->is_stopping))
        task->context.interrupts |= OURO__INTERRUPT_SHUTDOWN;
    ouro__worker_make_ready(worker, task);
}

static void birth_message(struct ouro__inbox_node *node)
{
    start_here(OURO__CONTAINER_OF(node, struct ouro_task, message));
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

static void set_name(struct ouro_task *task, const char *name)
{
    size_t length = name == NULL ? 0 : strnlen(name, OURO__TASK_NAME_MAX - 1);
    if (length > 0)
        memcpy(task->name, name, length);
    task->name[length] = '\0';
}

int ouro__task_new(struct ouro_handle *handle, struct ouro__worker *worker,
                   const struct ouro_task_options *options, ouro_task_function *function, void *arg,
                   bool joinable, struct ouro_task **out_task)
{
    int rc = ouro__handle_count_in(handle);
    if (rc < 0)
        return rc;
    struct ouro_task *task = get_stack(handle, options == NULL ? 0 : options->stack_size_bytes);
    if (OURO__UNLIKELY(task == NULL)) {
        ouro__handle_count_out(handle);
        return -ENOMEM;
    }
    ouro__context_init(&task->context, handle, worker, task);
    task->function = function;
    task->arg = arg;
    atomic_init(&task->joiner, joinable ? OURO__JOINER_NONE : OURO__JOINER_DETACHED);
    atomic_init(&task->cancel, OURO__TASK_NOT_CANCELLED);
    task->is_void = false;
    set_name(task, options == NULL ? NULL : options->name);
    char *low = ouro__stack_low(ouro__task_stack_pool(task), task);
    ouro__switch_init(&task->fiber, low, (size_t)((char *)task - low), task_main, task);

    if (ouro__worker_is_here(worker)) {
        start_here(task);
    } else {
        task->message.run = birth_message;
        if (!ouro__driver_send(&worker->io.driver, &task->message)) {
            ouro__switch_fini(&task->fiber);
            ouro__handle_count_out(handle);
            ouro__task_put_stack(task); /* it is from the caller's own pool, or a shared one */
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
