/* SPDX-License-Identifier: MIT */
/*
 * Task: a function that runs as a fiber, from its birth to the release of its memory.
 *
 * The spawner makes the task, on a stack from its own worker's pool (a plain thread takes one from
 * the runtime's shared pools), and sends it to its worker, where it stays.
 *
 * When the function has returned, one exchange of the joiner word decides who releases the task:
 *
 *     NONE        the handle is held     the holder will find DONE, and release the task
 *     a wake_ref  the holder waits       the holder is woken, and does the same
 *     DETACHED    it was given up        the next context on this worker releases the task
 *     GROUP       it never had one       the same, and the group is told (task/group.c)
 *     WAKER       the holder polls       the next context on this worker wakes the waker
 *
 * This happens on the task's own stack, which must not be reused before the task has left it.
 * Release runs on the worker's thread, and that thread is busy here until it has switched away.
 *
 * Release takes the task off its worker's list, on that worker's thread, and its stack back to the
 * pool it came from, on that pool's; between threads the task itself is the message.
 *
 * A cancellation from another thread is a message that lies in the task.  A release that comes
 * while this message is in the inbox is put off until the message has run.  The caller of cancel
 * holds the handle (or knows that it is held), so no cancel is sent after the release has begun.
 *
 * Owns:    its stack, and itself at the top of it.
 * Threads: spawn, release, cancel any; birth, running, the end and its release its worker's.
 * Always:  it is in its worker's list from birth to release; it is released once, after its end,
 *          with no message to it on its way.
 * Tests:   tests/task/test_task.c
 */
#include "task/task.h"

#include "base/fault.h"
#include "base/fork.h"
#include "base/options.h"
#include "task/handle.h"
#include "task/park.h"
#include "task/wake_ref.h"

#include <ouro/error.h>

#include <errno.h>
#include <string.h>

/* The bottom of every fiber's stack. */
static void task_main(void *arg)
{
    struct ouro_task *task = arg;
    struct ouro__worker *worker = task->context.worker;
    ouro__worker_arrived(worker);
    task->result = task->function(task->arg);
    ouro__fork_check(task->context.fork_generation, task->result);
    if (OURO__UNLIKELY(task->context.groups != 0))
        OURO__PANIC(OURO__GROUP_NOT_ENDED, 0);
    ouro__task_end(task);
    ouro__worker_switch_out_for_good(worker);
}

static void start_here(struct ouro_task *task)
{
    struct ouro__worker *worker = task->context.worker;
    ouro__list_push_back(&worker->contexts, &task->context.link);
    worker->live++;
    ouro__worker_make_ready(worker, &task->context);
}

static void birth_message(struct ouro__inbox_node *node)
{
    start_here(OURO__CONTAINER_OF(node, struct ouro_task, message));
}

/* The worker whose pool the caller may use: its own, also when a completion calls that is handled
 * in the worker's loop, where there is no context.  NULL: none. */
static struct ouro__worker *pool_owner(const struct ouro_handle *handle,
                                       struct ouro__worker *worker)
{
    struct ouro__context *caller = ouro__context_current();
    if (OURO__LIKELY(caller != NULL))
        return caller->handle == handle ? caller->worker : NULL;
    return ouro__worker_is_here(worker) ? worker : NULL;
}

/* Memory for a task of @worker: from the calling worker's own pool if it keeps that size. */
static struct ouro_task *get_stack(struct ouro_handle *handle, struct ouro__worker *worker,
                                   size_t size_bytes)
{
    struct ouro__worker *owner = pool_owner(handle, worker);
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

static int make(struct ouro_handle *handle, struct ouro__worker *worker,
                const struct ouro_task_options *options, ouro_task_function *function, void *arg,
                uintptr_t joiner, struct ouro_task **out_task)
{
    int rc = ouro__handle_count_in(handle);
    if (rc < 0)
        return rc;
    struct ouro_task *task =
        get_stack(handle, worker, options == NULL ? 0 : options->stack_size_bytes);
    if (OURO__UNLIKELY(task == NULL)) {
        ouro__handle_count_out(handle);
        return -ENOMEM;
    }
    ouro__handle_init_context(handle, &task->context, worker, task);
    task->function = function;
    task->arg = arg;
    ouro__atomic_init(&task->joiner, joiner);
    ouro__atomic_init(&task->cancel, OURO__TASK_NOT_CANCELLED);
    task->release_pending = false;
    task->wakes_holder = false;
    set_name(task, options == NULL ? NULL : options->name);
    char *low = ouro__stack_low(ouro__task_stack_pool(task), task);
    ouro__switch_init(&task->context.fiber, low, (size_t)((char *)task - low), task_main, task);
    *out_task = task;
    return 0;
}

static inline int start_made(struct ouro_task *task)
{
    struct ouro__worker *worker = task->context.worker;
    if (ouro__worker_is_here(worker)) {
        start_here(task);
        return 0;
    }
    task->message.run = birth_message;
    return ouro__driver_send(&worker->io.handle, &task->message) ? 0 : -OURO_ESHUTDOWN;
}

int ouro__task_start(struct ouro_task *task)
{
    return start_made(task);
}

void ouro__task_unmake(struct ouro_task *task)
{
    ouro__switch_fini(&task->context.fiber);
    ouro__handle_count_out(task->context.handle);
    ouro__task_put_stack(task); /* it is from the caller's own pool, or a shared one */
}

/* Starts a task that was made, or unmakes it. */
static int start(struct ouro_task *task)
{
    int rc = start_made(task);
    if (OURO__UNLIKELY(rc < 0))
        ouro__task_unmake(task);
    return rc;
}

static int check_options(const struct ouro_task_options *options, struct ouro_handle *handle)
{
    if (options == NULL)
        return 0;
    if (options->stack_size_bytes > SIZE_MAX / 4)
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

int ouro__task_make(struct ouro_handle *handle, const struct ouro_task_options *options,
                    ouro_task_function *function, void *arg, uintptr_t joiner,
                    struct ouro_task **out_task)
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
    struct ouro_task_options defaults = OURO_TASK_OPTIONS_INIT;
    if (options != NULL) {
        options = ouro__options_read(options, &defaults, sizeof(defaults));
        if (options == NULL)
            return -EINVAL;
    }
    int rc = check_options(options, handle);
    if (rc < 0 || function == NULL)
        return -EINVAL;
    if (ouro__handle_is_shutdown(handle))
        return -OURO_ESHUTDOWN;
    return make(handle, choose_worker(handle, options), options, function, arg, joiner, out_task);
}

int ouro_task_spawn_with(struct ouro_handle *handle, const struct ouro_task_options *options,
                         ouro_task_function *function, void *arg, struct ouro_task **out_task)
{
    struct ouro_task *task = NULL;
    uintptr_t joiner = out_task != NULL ? OURO__JOINER_NONE : OURO__JOINER_DETACHED;
    int rc = ouro__task_make(handle, options, function, arg, joiner, &task);
    if (rc == 0)
        rc = start(task);
    if (rc == 0 && out_task != NULL)
        *out_task = task;
    return rc;
}

int ouro_task_spawn(ouro_task_function *function, void *arg, struct ouro_task **out_task)
{
    return ouro_task_spawn_with(NULL, NULL, function, arg, out_task);
}

int ouro_task_spawn_here(ouro_task_function *function, void *arg, struct ouro_task **out_task)
{
    struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
    options.worker = OURO_WORKER_CURRENT;
    return ouro_task_spawn_with(NULL, &options, function, arg, out_task);
}

struct ouro__stack_pool *ouro__task_stack_pool(const struct ouro_task *task)
{
    return task->stack_owner != NULL ? &task->stack_owner->stacks : &task->shared_stacks->pool;
}

static OURO__NOINLINE void put_shared_stack(struct ouro_task *task)
{
    struct ouro__shared_stacks *shared = task->shared_stacks;
    ouro__mutex_lock(&shared->lock);
    ouro__stack_put(&shared->pool, task);
    ouro__mutex_unlock(&shared->lock);
}

void ouro__task_put_stack(struct ouro_task *task)
{
    if (OURO__LIKELY(task->stack_owner != NULL))
        ouro__stack_put(&task->stack_owner->stacks, task);
    else
        put_shared_stack(task);
}

/*
 * Sends a release or a cancel.  It may be the last message that the worker's runtime waits for; the
 * runtime can then end, and be freed, before this call has unparked the worker.  A caller inside
 * the runtime keeps it alive; for another caller this function does.
 */
static bool send_message(struct ouro__worker *worker, struct ouro__inbox_node *node)
{
    struct ouro__context *caller = ouro__context_current();
    struct ouro_handle *kept = NULL;
    if (caller == NULL || caller->handle != worker->handle)
        kept = ouro_handle_ref(worker->handle);
    bool sent = ouro__driver_send(&worker->io.handle, node);
    ouro_handle_unref(kept);
    return sent;
}

static void put_stack_message(struct ouro__inbox_node *node)
{
    ouro__task_put_stack(OURO__CONTAINER_OF(node, struct ouro_task, message));
}

/* On the task's worker's thread. */
static void release_here(struct ouro_task *task)
{
    if (OURO__UNLIKELY(ouro__load(&task->cancel, memory_order_acquire) == OURO__TASK_CANCEL_SENT)) {
        task->release_pending = true;
        return;
    }
    ouro__switch_fini(&task->context.fiber);
    ouro__list_remove(&task->context.link);
    struct ouro__worker *owner = task->stack_owner;
    if (owner == NULL)
        task->context.worker->trims_shared = true;
    if (owner == NULL || ouro__worker_is_here(owner)) {
        ouro__task_put_stack(task);
        return;
    }
    task->message.run = put_stack_message;
    /* This fails when the owner has ended.  Its pools, and with them the stack, are freed then. */
    (void)ouro__driver_send(&owner->io.handle, &task->message);
}

static void release_message(struct ouro__inbox_node *node)
{
    release_here(OURO__CONTAINER_OF(node, struct ouro_task, message));
}

static OURO__NOINLINE void release_elsewhere(struct ouro_task *task)
{
    task->message.run = release_message;
    (void)send_message(task->context.worker, &task->message);
}

void ouro__task_release(struct ouro_task *task)
{
    if (OURO__LIKELY(ouro__worker_is_here(task->context.worker)))
        release_here(task);
    else
        release_elsewhere(task);
}

void ouro__task_end(struct ouro_task *task)
{
    ouro__context_fini(&task->context);
    task->context.worker->live--;
    ouro__handle_count_out(task->context.handle);
    uintptr_t joiner = ouro__exchange(&task->joiner, OURO__JOINER_DONE, memory_order_acq_rel);
    if (joiner == OURO__JOINER_NONE)
        return;
    if (joiner == OURO__JOINER_DETACHED || joiner == OURO__JOINER_GROUP ||
        joiner == OURO__JOINER_WAKER) {
        /* A waker is not woken from here: it may poll at once, and release this very stack. */
        task->wakes_holder = joiner == OURO__JOINER_WAKER;
        task->context.worker->ended = &task->context;
        if (joiner == OURO__JOINER_GROUP)
            task->on_end(task);
        return;
    }
    struct ouro__wake_ref *ref = (struct ouro__wake_ref *)joiner;
    ouro__wake_ref_wake(ref);
    ouro__wake_ref_unref(ref);
}

/* Called by the context that runs next on the task's worker. */
static void release_ended(struct ouro__context *ended)
{
    struct ouro_task *task = OURO__CONTAINER_OF(ended, struct ouro_task, context);
    if (!task->wakes_holder) {
        release_here(task);
        return;
    }
    struct ouro_waker waker = task->waker;
    ouro_waker_wake(&waker); /* the holder may release the task from here on */
    ouro_waker_drop(&waker);
}

static const char *name_of(void *header)
{
    return ouro__task_name(header);
}

const struct ouro__worker_kind ouro__task_kind = {
    .header_bytes = sizeof(struct ouro_task),
    .name_of = name_of,
    .release = release_ended,
    .trim_shared = ouro__handle_trim_shared_stacks,
};

static void cancel_message(struct ouro__inbox_node *node)
{
    struct ouro_task *task = OURO__CONTAINER_OF(node, struct ouro_task, cancel_message);
    ouro__store(&task->cancel, OURO__TASK_CANCEL_ARRIVED, memory_order_release);
    if (task->release_pending)
        release_here(task);
    else if (!ouro__task_has_ended(task))
        ouro__context_interrupt(&task->context, OURO__INTERRUPT_CANCEL);
}

int ouro_task_cancel(struct ouro_task *task)
{
    if (task == NULL)
        return -EINVAL;
    if (ouro__fork_is_child(task->context.handle->fork_generation))
        return -OURO_EFORKED;
    uint32_t before = OURO__TASK_NOT_CANCELLED;
    if (!ouro__compare_exchange(&task->cancel, &before, OURO__TASK_CANCEL_SENT,
                                memory_order_acq_rel))
        return 0;
    struct ouro__worker *worker = task->context.worker;
    task->cancel_message.run = cancel_message;
    if (ouro__worker_is_here(worker))
        cancel_message(&task->cancel_message);
    else if (!send_message(worker, &task->cancel_message))
        ouro__store(&task->cancel, OURO__TASK_CANCEL_ARRIVED, memory_order_release);
    return 0;
}

int ouro_task_is_cancelled(void)
{
    struct ouro__context *context = ouro__context_current();
    return context != NULL && (context->interrupts & OURO__INTERRUPT_CANCEL) != 0;
}

struct ouro_task *ouro_task_current(void)
{
    struct ouro__context *context = ouro__context_current();
    return context == NULL ? NULL : context->task;
}

const char *ouro_task_name(const struct ouro_task *task)
{
    return task == NULL ? "" : ouro__task_name(task);
}

size_t ouro_task_stack_used_bytes(void)
{
    struct ouro_task *task = ouro_task_current();
    if (task == NULL)
        return 0;
    if (task->stack_owner != NULL) /* it reads only what is constant in the pool */
        return ouro__stack_used_bytes(&task->stack_owner->stacks, task);
    ouro__mutex_lock(&task->shared_stacks->lock);
    size_t used = ouro__stack_used_bytes(&task->shared_stacks->pool, task);
    ouro__mutex_unlock(&task->shared_stacks->lock);
    return used;
}

int ouro_yield(void)
{
    struct ouro__context *context = NULL;
    int rc = ouro__context_enter(&context);
    if (OURO__UNLIKELY(rc < 0))
        return rc;
    if (context->task == NULL)
        return ouro__context_interrupted(context);
    context->budget = OURO__BUDGET;
    return ouro__worker_yield(context->worker);
}
