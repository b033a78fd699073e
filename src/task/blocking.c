/* SPDX-License-Identifier: MIT */
/*
 * ouro_blocking(): one function on a thread of the pool, while the caller waits.
 *
 * The job lies on the caller's stack, as does what its argument points to.  So an interrupted
 * caller may leave only if the pool gives the job back untouched; a function that has begun is
 * waited for to its end, and its result is then reported: the interruption came too late.
 *
 * Owns:    nothing beyond the call.
 * Threads: begun by a fiber or an entered thread; ended by a pool thread, or by the one that shuts
 *          the pool down.
 * Always:  whoever ends the call takes the waker out first: with the state stored, the waiter's
 *          frame may be gone.
 * Tests:   tests/task/test_blocking_call.c
 */
#include <ouro/error.h>
#include <ouro/task.h>
#include <ouro/waker.h>

#include <errno.h>
#include <stdatomic.h>

#include "base/atomic.h"
#include "base/fork.h"
#include "blocking/pool.h"
#include "task/handle.h"
#include "task/wait.h"

enum call_state { CALL_WAITED = 0, CALL_DONE, CALL_REFUSED };

struct call {
    struct ouro__blocking_job job;
    ouro_task_function *function;
    void *arg;
    int result;
    _Atomic uint32_t state; /* enum call_state; stored last */
    struct ouro_waker waker;
};

static void end_call(struct call *call, enum call_state state)
{
    struct ouro_waker waker = call->waker;
    ouro__store(&call->state, (uint32_t)state, memory_order_release);
    ouro_waker_wake(&waker);
    ouro_waker_drop(&waker);
}

static void run_call(struct ouro__blocking_job *job)
{
    struct call *call = OURO__CONTAINER_OF(job, struct call, job);
    const uint32_t generation = ouro__fork_count;
    call->result = call->function(call->arg);
    ouro__fork_check(generation, call->result);
    end_call(call, CALL_DONE);
}

static void refuse_call(struct ouro__blocking_job *job)
{
    end_call(OURO__CONTAINER_OF(job, struct call, job), CALL_REFUSED);
}

static bool call_is_over(void *arg)
{
    struct call *call = arg;
    return ouro__load(&call->state, memory_order_acquire) != CALL_WAITED;
}

/* Runs and waits; 0, or why it was not run. */
static int make_call(struct ouro__context *context, struct call *call)
{
    struct ouro__blocking_pool *pool = ouro__handle_blocking_pool(context->handle);

    int rc = ouro__context_waker(context, &call->waker);
    if (rc < 0)
        return rc;
    rc = ouro__blocking_submit(pool, &call->job);
    if (rc < 0) {
        ouro_waker_drop(&call->waker);
        return rc;
    }
    rc = ouro__wait(context, call_is_over, call);
    if (rc < 0) {
        if (ouro__blocking_withdraw(pool, &call->job)) {
            ouro_waker_drop(&call->waker);
            return rc;
        }
        ouro__wait_uninterruptible(context, call_is_over, call);
    }
    return ouro__load(&call->state, memory_order_acquire) == CALL_DONE ? 0 : -OURO_ESHUTDOWN;
}

int ouro_blocking(ouro_task_function *function, void *arg, int *out_result)
{
    struct ouro__context *context = NULL;

    if (function == NULL)
        return -EINVAL;
    int rc = ouro__context_enter(&context);
    if (rc == 0)
        rc = ouro__context_interrupted(context);
    if (rc < 0)
        return rc;
    struct call call = {.function = function, .arg = arg};
    ouro__blocking_job_init(&call.job, OURO__BLOCKING_CALL, run_call, refuse_call);
    rc = make_call(context, &call);
    if (rc == 0 && out_result != NULL)
        *out_result = call.result;
    return rc;
}
