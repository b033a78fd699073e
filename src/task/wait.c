/* SPDX-License-Identifier: MIT */
/*
 * Waiting: for a condition, for an operation, for a function on the blocking pool, and poll_fn.
 *
 * An operation on the thread of the descriptor's own driver is a function call, a switch and a
 * switch back; or only a call, where the driver can end it at once.  From anywhere else the op
 * travels through the driver's inbox and its reply comes back the same way (task/remote.c).  An
 * operation in a slot for which the backend has no row is a system call on the blocking pool
 * (registry/op_blocking.c).  In every case the call returns only after the terminal completion, so
 * the op, and every buffer it names, may lie on the caller's stack.
 *
 * A job of the pool lies on the caller's stack too, as does what its argument points to.  An
 * interrupted caller may leave only if the pool gives the job back untouched.  A function that has
 * begun is waited for to its end, and its result is reported.  The thread that ends the call takes
 * the waker out before it stores the state, because after that the waiter's frame may be gone.
 *
 * Owns:    nothing; the op is the caller's.
 * Threads: the context's own.
 * Always:  a wait ends by its condition or by an interruption; other wakes are ignored.  If an
 *          operation finishes before its cancellation, its result is returned.
 * Tests:   tests/task/test_poll_fn.c, tests/net/test_cancel.c, tests/task/test_file.c
 */
#include "task/wait.h"

#include "base/atomic.h"
#include "base/fork.h"
#include "blocking/pool.h"
#include "registry/op_blocking.h"
#include "task/handle.h"
#include "task/remote.h"

#include <ouro/error.h>
#include <ouro/task.h>

#include <errno.h>

int ouro__wait(struct ouro__context *context, bool (*is_done)(void *arg), void *arg)
{
    while (!is_done(arg)) {
        int rc = ouro__context_interrupted(context);
        if (rc < 0)
            return rc;
        ouro__context_park(context);
    }
    return 0;
}

void ouro__wait_uninterruptible(struct ouro__context *context, bool (*is_done)(void *arg),
                                void *arg)
{
    int64_t deadline_ns = context->deadline_ns;
    if (context->worker == NULL)
        context->deadline_ns = OURO__NEVER;
    while (!is_done(arg))
        ouro__context_park(context);
    context->deadline_ns = deadline_ns;
}

int ouro_poll_fn(ouro_poll_function *function, void *arg)
{
    struct ouro__context *context = NULL;
    int rc = function == NULL ? -EINVAL : ouro__context_enter(&context);
    struct ouro_waker waker = {.vtable = NULL, .data = NULL};
    if (rc == 0)
        rc = ouro__context_interrupted(context);
    if (rc == 0)
        rc = ouro__context_waker(context, &waker);
    if (rc < 0)
        return rc;
    ouro__context_spend(context);
    for (;;) {
        enum ouro_poll answer = function(arg, &waker);
        if (OURO__UNLIKELY(ouro__fork_is_child(context->fork_generation)))
            return -OURO_EFORKED; /* @function has forked */
        if (answer == OURO_POLL_READY)
            break;
        rc = ouro__context_interrupted(context);
        if (rc < 0)
            break;
        ouro__context_park(context);
    }
    ouro_waker_drop(&waker);
    return rc;
}

enum call_state { CALL_WAITED = 0, CALL_DONE, CALL_REFUSED };

struct call {
    struct ouro__blocking_job job;
    int (*function)(void *arg);
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
static int make_call(struct ouro__context *context, struct call *call, void (*interrupt)(void *arg))
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
        if (interrupt != NULL)
            interrupt(call->arg);
        ouro__wait_uninterruptible(context, call_is_over, call);
    }
    return ouro__load(&call->state, memory_order_acquire) == CALL_DONE ? 0 : -OURO_ESHUTDOWN;
}

int ouro__wait_for_call(struct ouro__context *context, int (*function)(void *arg), void *arg,
                        void (*interrupt)(void *arg), int *out_result)
{
    struct call call = {.function = function, .arg = arg};
    ouro__blocking_job_init(&call.job, OURO__BLOCKING_CALL, run_call, refuse_call);
    int rc = make_call(context, &call, interrupt);
    if (rc == 0 && out_result != NULL)
        *out_result = call.result;
    return rc;
}

static int run_blocking(void *arg)
{
    return ouro__op_blocking_run(arg);
}

static void interrupt_blocking(void *arg)
{
    ouro__op_blocking_interrupt(arg);
}

/* For an operation that no backend has a row for. */
static OURO__COLD int32_t await_on_pool(struct ouro__context *context, struct ouro__op *op)
{
    struct ouro__op_blocking blocking;
    int result = 0;
    ouro__op_blocking_init(&blocking, op);
    int rc = ouro__wait_for_call(context, run_blocking, &blocking, interrupt_blocking, &result);
    ouro__op_blocking_fini(&blocking);
    if (rc == 0 && result == -ECANCELED)
        rc = ouro__context_interruption(context);
    return rc < 0 ? rc : result;
}

/* Not in its caller: the event's place on the stack would cost each call, traced or not. */
static OURO__COLD void trace_woken(const struct ouro__op *op, const struct ouro__context *context)
{
    OURO__TRACE(op->handle, .kind = OURO_TRACE_WOKEN, .fd = op->fd, .token = op->token,
                .name = ouro__context_name(context));
}

static void done_here(struct ouro__op *op)
{
    struct ouro__context *context = op->waiter;
    op->finished = true;
    op->result = ouro__driver_result(op);
    if (OURO__UNLIKELY(op->handle->trace != NULL))
        trace_woken(op, context);
    ouro__context_wake_here(context);
}

static void cancel_here(struct ouro__op *op)
{
    ouro__driver_cancel(op->handle->driver, op);
}

static void await_here(struct ouro__context *context, struct ouro__op *op, uint32_t flags)
{
    op->waiter = context;
    op->done = done_here;
    if (ouro__driver_try_or_submit(op->handle->driver, op)) {
        ouro__context_spend_call(context);
        return;
    }
    if ((flags & OURO__AWAIT_UNINTERRUPTIBLE) == 0) {
        context->op = op;
        context->cancel_op = cancel_here;
    }
    while (!op->finished)
        ouro__context_park(context);
    context->op = NULL;
}

int32_t ouro__await(struct ouro__context *context, struct ouro__op *op, uint32_t flags)
{
    if ((flags & OURO__AWAIT_UNINTERRUPTIBLE) == 0) {
        int rc = ouro__context_interrupted_io(context);
        if (OURO__UNLIKELY(rc < 0))
            return rc;
    }
    op->state = OURO__OP_IDLE;
    op->finished = false;
    op->cancel_reason = 0;
    if (OURO__LIKELY(op->sio != NULL))
        op->handle = op->sio->handle;
    else if (op->handle == NULL || !op->handle->ops->has_row(op->code))
        return await_on_pool(context, op);
    if (context->worker != NULL && &context->worker->io.handle == op->handle)
        await_here(context, op, flags);
    else
        ouro__await_remote(context, op, (flags & OURO__AWAIT_UNINTERRUPTIBLE) != 0);
    if (OURO__LIKELY(op->result >= 0))
        return op->result;
    /* -EINTR: see ouro__driver_result(). */
    bool cancelled = op->result == -ECANCELED || op->result == -EINTR;
    return cancelled && op->cancel_reason != 0 ? op->cancel_reason : op->result;
}
