/* SPDX-License-Identifier: MIT */
/*
 * Join, poll_join and detach: what the holder of a task's handle does with it.
 *
 * A joiner that waits leaves a reference to its wake_ref in task->joiner; poll_join() leaves a
 * waker in task->waker and WAKER in the word.  The task's end exchanges the word for DONE, so it
 * finds what is there.  The holder can take either out again as long as the word is not DONE.  A
 * holder that finds DONE releases the task.
 *
 * Owns:    in the joiner word, one reference to a wake_ref; with OURO__JOINER_WAKER, task->waker.
 * Threads: any.
 * Always:  the word goes from NONE over at most one waiter at a time, or over DETACHED, to DONE.
 *          DONE is final.
 * Tests:   tests/task/test_task.c, tests/task/test_poll_join.c, tests/model/model_join.c
 */
#include "task/task.h"

#include "base/fork.h"
#include "base/waker.h"
#include "task/handle.h"
#include "task/wait.h"
#include "task/wake_ref.h"

#include <ouro/error.h>

#include <errno.h>

static bool has_ended(void *arg)
{
    return ouro__task_has_ended(arg);
}

/* Takes the waker of an earlier poll_join() out again, unless the task has ended and uses it. */
static void take_waker_back(struct ouro_task *task)
{
    uintptr_t before = OURO__JOINER_WAKER;
    if (!ouro__compare_exchange(&task->joiner, &before, OURO__JOINER_NONE, memory_order_acq_rel))
        return;
    struct ouro_waker waker = task->waker;
    ouro_waker_drop(&waker);
}

/* The rest of leave(), after a poll_join(). */
static OURO__COLD bool leave_after_waker(struct ouro_task *task, uintptr_t joiner,
                                         uintptr_t *out_before)
{
    if (*out_before != OURO__JOINER_WAKER)
        return false;
    take_waker_back(task);
    *out_before = OURO__JOINER_NONE;
    return ouro__compare_exchange(&task->joiner, out_before, joiner, memory_order_acq_rel);
}

/* Changes the word from NONE.  False: *out_before was there, DONE or a waiter. */
static inline bool leave(struct ouro_task *task, uintptr_t joiner, uintptr_t *out_before)
{
    *out_before = OURO__JOINER_NONE;
    if (OURO__LIKELY(
            ouro__compare_exchange(&task->joiner, out_before, joiner, memory_order_acq_rel)))
        return true;
    return leave_after_waker(task, joiner, out_before);
}

/* Leaves @context's wake_ref with the task.  1: it has ended already. */
static int leave_address(struct ouro_task *task, struct ouro__context *context)
{
    int rc = ouro__context_prepare(context);
    if (rc < 0)
        return rc;
    ouro__wake_ref_ref(context->wake_ref);
    uintptr_t before = OURO__JOINER_NONE;
    if (leave(task, (uintptr_t)context->wake_ref, &before))
        return 0;
    ouro__wake_ref_unref(context->wake_ref);
    return before == OURO__JOINER_DONE ? 1 : -EBUSY;
}

/* Takes it out again, unless the task has ended and used it. */
static void take_address_back(struct ouro_task *task, struct ouro__context *context)
{
    uintptr_t mine = (uintptr_t)context->wake_ref;
    if (ouro__compare_exchange(&task->joiner, &mine, OURO__JOINER_NONE, memory_order_acq_rel))
        ouro__wake_ref_unref(context->wake_ref);
}

/* Of a task that has ended; releases it. */
static int take_result(struct ouro_task *task, int *out_result)
{
    if (out_result != NULL)
        *out_result = task->result;
    ouro__task_release(task);
    return OURO_POLL_READY;
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
    (void)take_result(task, out_result);
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
    (void)take_result(task, out_result);
}

int ouro_task_poll_join(struct ouro_task *task, const struct ouro_waker *waker, int *out_result)
{
    if (task == NULL || !ouro__waker_is_usable(waker))
        return -EINVAL;
    if (ouro__fork_is_child(task->context.handle->fork_generation))
        return -OURO_EFORKED;
    if (ouro_task_current() == task)
        return -EDEADLK;
    take_waker_back(task);
    uintptr_t before = ouro__load(&task->joiner, memory_order_acquire);
    if (before == OURO__JOINER_NONE) {
        /* Not read before the word says that it is there. */
        task->waker = ouro_waker_clone(waker);
        if (ouro__compare_exchange(&task->joiner, &before, OURO__JOINER_WAKER,
                                   memory_order_acq_rel))
            return OURO_POLL_PENDING;
        ouro_waker_drop(&task->waker);
    }
    return before == OURO__JOINER_DONE ? take_result(task, out_result) : -EBUSY;
}

void ouro_task_detach(struct ouro_task *task)
{
    if (task == NULL || ouro__fork_is_child(task->context.handle->fork_generation))
        return;
    uintptr_t before = OURO__JOINER_NONE;
    if (!leave(task, OURO__JOINER_DETACHED, &before) && before == OURO__JOINER_DONE)
        ouro__task_release(task);
}
