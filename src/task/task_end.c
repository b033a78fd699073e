/* SPDX-License-Identifier: MIT */
/*
 * How a task ends, and is asked to.
 *
 * When the function has returned, one exchange of the joiner word says everything:
 *
 *     NONE        the handle is held     its holder will find DONE, and release the task
 *     a wake_ref  its holder waits       is woken, and does the same
 *     DETACHED    it was given up        whoever runs next on this worker releases the task
 *
 * All this on the task's own stack, which must not be reused before it is left.  It is not: release
 * is the business of the worker's thread, and that is here until it has switched to somebody else.
 *
 * Release takes the task off its worker's list, on that worker's thread, and its stack back to the
 * pool it came from, on that pool's; between threads the task itself is the message.
 *
 * A cancellation from another thread is a message, too, and lies in the task.  So a release that
 * finds it on its way leaves the rest to it.  Who cancels holds the handle (or knows that it is
 * held), so no cancel is sent after the release has begun.
 *
 * Owns:    nothing that outlives the call.
 * Threads: the end and reap the worker's; release, cancel any.
 * Always:  a task is released once, after its end, with no message to it on its way.
 */
#include "task/task.h"

#include "task/fork.h"
#include "task/handle.h"
#include "task/wake_ref.h"
#include "task/worker.h"

#include <ouro/error.h>

#include <errno.h>

struct ouro__stack_pool *ouro__task_stack_pool(const struct ouro_task *task)
{
    return task->stack_owner != NULL ? &task->stack_owner->stacks : &task->shared_stacks->pool;
}

void ouro__task_put_stack(struct ouro_task *task)
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
    ouro__task_put_stack(OURO__CONTAINER_OF(node, struct ouro_task, message));
}

/* On the task's worker's thread. */
static void release_here(struct ouro_task *task)
{
    if (OURO__UNLIKELY(ouro__load(&task->cancel, memory_order_acquire) == OURO__TASK_CANCEL_SENT)) {
        task->is_void = true;
        return;
    }
    ouro__switch_fini(&task->fiber);
    ouro__list_remove(&task->context.link);
    struct ouro__worker *owner = task->stack_owner;
    if (owner == NULL || ouro__worker_is_here(owner)) {
        ouro__task_put_stack(task);
        return;
    }
    task->message.run = put_stack_message;
    (void)ouro__driver_send(&owner->io.driver, &task->message); /* gone: so are its pools soon */
}

static void release_message(struct ouro__inbox_node *node)
{
    release_here(OURO__CONTAINER_OF(node, struct ouro_task, message));
}

void ouro__task_release(struct ouro_task *task)
{
    struct ouro__worker *worker = task->context.worker;
    if (ouro__worker_is_here(worker)) {
        release_here(task);
        return;
    }
    task->message.run = release_message;
    (void)ouro__driver_send(&worker->io.driver, &task->message);
}

void ouro__task_end(struct ouro_task *task)
{
    ouro__context_fini(&task->context);
    task->context.worker->live--;
    ouro__handle_count_out(task->context.handle);
    uintptr_t joiner = ouro__exchange(&task->joiner, OURO__JOINER_DONE, memory_order_acq_rel);
    if (joiner == OURO__JOINER_NONE)
        return;
    if (joiner == OURO__JOINER_DETACHED) {
        task->context.worker->ended = task;
        return;
    }
    struct ouro__wake_ref *ref = (struct ouro__wake_ref *)joiner;
    ouro__wake_ref_wake(ref);
    ouro__wake_ref_unref(ref);
}

void ouro__task_reap(struct ouro__worker *worker)
{
    struct ouro_task *task = worker->ended;
    worker->ended = NULL;
    release_here(task);
}

static void cancel_message(struct ouro__inbox_node *node)
{
    struct ouro_task *task = OURO__CONTAINER_OF(node, struct ouro_task, cancel_message);
    ouro__store(&task->cancel, OURO__TASK_CANCEL_ARRIVED, memory_order_release);
    if (task->is_void)
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
    else if (!ouro__driver_send(&worker->io.driver, &task->cancel_message))
        ouro__store(&task->cancel, OURO__TASK_CANCEL_ARRIVED, memory_order_release);
    return 0;
}
