/* SPDX-License-Identifier: MIT */
/*
 * What a task may ask about itself, and yield.
 *
 * Owns:    nothing.
 * Threads: the task's.
 * Always:  outside of a task there is an answer, too.
 */
#include "task/task.h"

#include "task/handle.h"
#include "task/worker.h"

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
    if (context->task != NULL) {
        context->budget = OURO__BUDGET;
        ouro__worker_yield(context->worker);
    }
    return ouro__context_interrupted(context);
}
