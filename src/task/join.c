/* SPDX-License-Identifier: MIT */
/*
 * Join, and the small questions a task may be asked.
 *
 * Who waits leaves a reference to its wake_ref in task->joiner; who ends exchanges it for DONE.  A
 * joiner that gives up takes its reference out again, or finds DONE.
 *
 * Owns:    in joiner, one reference to a wake_ref.
 * Threads: any.
 * Always:  joiner goes from 0 over at most one waiter at a time to DONE, and stays there.
 */
#include "task/task.h"

#include "task/handle.h"
#include "task/wait.h"
#include "task/wake_ref.h"
#include "task/worker.h"

#include <ouro/error.h>

#include <errno.h>

static bool has_ended(void *arg)
{
    return ouro__task_has_ended(arg);
}

/* Leaves @context's wake_ref with the task.  1: it has ended already. */
static int leave_address(struct ouro_task *task, struct ouro__context *context)
{
    struct ouro_waker waker;
    int rc = ouro__context_waker(context, &waker);
    if (rc < 0)
        return rc;
    uintptr_t before = 0;
    uintptr_t mine = (uintptr_t)context->wake_ref;
    if (ouro__compare_exchange(&task->joiner, &before, mine, memory_order_acq_rel))
        return 0;
    ouro_waker_drop(&waker);
    return before == OURO__JOINER_DONE ? 1 : -EBUSY;
}

/* Takes it out again, unless the task has ended and used it. */
static void take_address_back(struct ouro_task *task, struct ouro__context *context)
{
    uintptr_t mine = (uintptr_t)context->wake_ref;
    if (ouro__compare_exchange(&task->joiner, &mine, 0, memory_order_acq_rel))
        ouro__wake_ref_unref(context->wake_ref);
}

int ouro_task_join(struct ouro_task *task, int *out_result)
{
    struct ouro__context *context = NULL;
    int rc = task == NULL ? -EINVAL : ouro__context_enter(&context);
    if (rc < 0)
        return rc;
    if (context->task == task)
        return -EDEADLK;
    if (!ouro__task_has_ended(task)) {
        rc = leave_address(task, context);
        if (rc == 0) {
            rc = ouro__wait(context, has_ended, task);
            if (rc < 0)
                take_address_back(task, context);
        }
        if (rc < 0 && !ouro__task_has_ended(task))
            return rc;
    }
    if (out_result != NULL)
        *out_result = task->result;
    ouro__task_unref(task);
    return 0;
}

void ouro__task_join_through(struct ouro_task *task, int *out_result)
{
    struct ouro__context *context = ouro__context_current();
    if (!ouro__task_has_ended(task)) {
        int rc = leave_address(task, context);
        OURO__ASSERT(rc >= 0);
        ouro__wait_through(context, has_ended, task);
    }
    if (out_result != NULL)
        *out_result = task->result;
    ouro__task_unref(task);
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
    return task == NULL ? "" : task->name;
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
    if (context->task != NULL) {
        context->budget = OURO__BUDGET;
        ouro__worker_yield(context->worker);
    }
    return ouro__context_interrupted(context);
}
