/* SPDX-License-Identifier: MIT */
/*
 * Waiting: for a condition, for an operation, and poll_fn.
 *
 * An operation on the thread of the descriptor's own driver is a function call, a switch and a
 * switch back.  From anywhere else the op travels through the driver's inbox and its reply comes
 * back the same way (task/remote.c).  Either way the call returns only after the terminal
 * completion, so the op, and every buffer it names, may lie on the caller's stack.
 *
 * Owns:    nothing; the op is the caller's.
 * Threads: the context's own.
 * Always:  a wait ends by its condition or by an interruption; other wakes are ignored.  If an
 *          operation finishes before its cancellation, its result is returned.
 * Tests:   tests/task/test_poll_fn.c, tests/net/test_cancel.c
 */
#include "task/wait.h"

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

static void done_here(struct ouro__op *op)
{
    struct ouro__context *context = op->waiter;
    op->finished = true;
    op->result = ouro__driver_result(op);
    OURO__TRACE(op->sio->handle, .kind = OURO_TRACE_WOKEN, .fd = op->sio->fd,
                .token = ouro__sio_token(op->sio, op->lane), .name = ouro__context_name(context));
    ouro__context_wake_here(context);
}

static void cancel_here(struct ouro__op *op)
{
    ouro__driver_cancel(op->sio->handle->driver, op);
}

static void await_here(struct ouro__context *context, struct ouro__op *op, uint32_t flags)
{
    op->waiter = context;
    op->done = done_here;
    ouro__driver_submit(op->sio->handle->driver, op);
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
    struct ouro__driver_handle *driver = op->sio->handle;
    if (context->worker != NULL && &context->worker->io.handle == driver)
        await_here(context, op, flags);
    else
        ouro__await_remote(context, op, (flags & OURO__AWAIT_UNINTERRUPTIBLE) != 0);
    /* -EINTR: see ouro__driver_result(). */
    bool cancelled = op->result == -ECANCELED || op->result == -EINTR;
    return OURO__UNLIKELY(cancelled) && op->cancel_reason != 0 ? op->cancel_reason : op->result;
}
