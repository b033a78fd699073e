/* SPDX-License-Identifier: MIT */
/*
 * Join and detach: what the holder of a task's handle does with it.
 *
 * Who waits leaves a reference to its wake_ref in task->joiner; the task's end exchanges it for
 * DONE.  A joiner that gives up takes its reference out again, or finds DONE.  Who finds DONE, in
 * join or in detach, releases the task.
 *
 * Owns:    in joiner, one reference to a wake_ref.
 * Threads: any.
 * Always:  joiner goes from NONE over at most one waiter at a time, or over DETACHED, to DONE, and
 *          stays there.
 * Tests:   tests/task/test_task.c, tests/model/model_join.c
 */
#include "task/task.h"

#include "base/fork.h"
#include "task/handle.h"
#include "task/wait.h"
#include "task/wake_ref.h"

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
    uintptr_t before = OURO__JOINER_NONE;
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
    if (ouro__compare_exchange(&task->joiner, &mine, OURO__JOINER_NONE, memory_order_acq_rel))
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
    ouro__task_release(task);
    return 0;
}

void ouro__task_join_uninterruptible(struct ouro_task *task, int *out_result)
{
    struct ouro__context *context = ouro__context_current();
    if (!ouro__task_has_ended(task)) {
        int rc = leave_address(task, context);
        OURO__ASSERT(rc >= 0);
        ouro__wait_uninterruptible(context, has_ended, task);
    }
    if (out_result != NULL)
        *out_result = task->result;
    ouro__task_release(task);
}

void ouro_task_detach(struct ouro_task *task)
{
    if (task == NULL || ouro__fork_is_child(task->context.handle->fork_generation))
        return;
    uintptr_t before = OURO__JOINER_NONE;
    if (!ouro__compare_exchange(&task->joiner, &before, OURO__JOINER_DETACHED,
                                memory_order_acq_rel) &&
        before == OURO__JOINER_DONE)
        ouro__task_release(task);
}
