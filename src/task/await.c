/* SPDX-License-Identifier: MIT */
/*
 * Await: submit an operation and wait for its one completion.
 *
 * On the thread of the descriptor's own driver that is a function call, a switch and a switch back.
 * From anywhere else the op travels through the driver's inbox and its completion travels home
 * (task/remote.c).  Either way the call returns only after the terminal completion, so the op, and
 * every buffer it names, may lie on the caller's stack.
 *
 * Owns:    nothing; the op is the caller's.
 * Threads: the context's own.
 * Always:  a cancel that loses the race reports the success.
 */
#include "task/wait.h"

#include "task/handle.h"
#include "task/remote.h"
#include "task/task.h"
#include "task/worker.h"

#include <ouro/error.h>

#include <errno.h>

static void done_here(struct ouro__op *op)
{
    struct ouro__context *context = op->waiter;
    op->finished = true;
    OURO__TRACE(op->sio->driver, .kind = OURO_TRACE_WOKEN, .fd = op->sio->fd,
                .token = ouro__sio_token(op->sio, op->lane),
                .name = context->task == NULL ? "thread" : ouro__task_name(context->task));
    ouro__context_wake_here(context);
}

static void cancel_here(struct ouro__op *op)
{
    ouro__driver_cancel(op->sio->driver->driver, op);
}

static void await_here(struct ouro__context *context, struct ouro__op *op, uint32_t flags)
{
    op->waiter = context;
    op->done = done_here;
    ouro__driver_submit(op->sio->driver->driver, op);
    if ((flags & OURO__AWAIT_THROUGH) == 0) {
        context->op = op;
        context->cancel_op = cancel_here;
    }
    while (!op->finished)
        ouro__context_park(context);
    context->op = NULL;
}

int32_t ouro__await(struct ouro__context *context, struct ouro__op *op, uint32_t flags)
{
    if ((flags & OURO__AWAIT_THROUGH) == 0) {
        int rc = ouro__context_interrupted(context);
        if (OURO__UNLIKELY(rc < 0))
            return rc;
    }
    op->state = OURO__OP_IDLE;
    op->finished = false;
    op->cancel_reason = 0;
    struct ouro__driver_handle *driver = op->sio->driver;
    if (context->worker != NULL && &context->worker->io.driver == driver)
        await_here(context, op, flags);
    else
        ouro__await_remote(context, op, flags);
    /* io_uring reports a cancelled operation that was running on one of its worker threads, as a
     * connect to a full Unix backlog, as interrupted. */
    bool cancelled = op->result == -ECANCELED || op->result == -EINTR;
    if (OURO__UNLIKELY(cancelled) && (flags & OURO__AWAIT_THROUGH) == 0) {
        if (op->cancel_reason != 0)
            return op->cancel_reason;
        if (ouro__handle_is_shutdown(context->handle))
            return -OURO_ESHUTDOWN;
    }
    return op->result;
}
