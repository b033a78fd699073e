/* SPDX-License-Identifier: MIT */
/*
 * Remote: an operation whose waiter and whose driver live on different threads.
 *
 *     waiter                                  driver's thread
 *     submit message  --------------------->  submit
 *     cancel message  --------------------->  cancel            (perhaps)
 *                     <---------------------  reply             (or, for a plain thread, a futex)
 *
 * All of it lies on the waiter's stack, which is gone when the waiter returns; so the waiter
 * returns only when the reply has come, and the reply is sent only when no cancel message is on its
 * way any more.  One atomic word decides that: the waiter marks CANCEL before it sends, the driver
 * marks FINISHED when the op is done.  Each side sets its mark and reads the other's in one step,
 * so at least one sees both: a driver that finds CANCEL waits for that message before it replies; a
 * waiter that finds FINISHED does not send.
 *
 * Owns:    struct remote, on the waiter's stack.
 * Threads: as drawn.
 * Always:  one submit, at most one cancel, exactly one reply, in this order.
 * Tests:   tests/model/model_remote.c, tests/stream/test_close.c
 */
#include "task/remote.h"

#include "base/atomic.h"
#include "base/futex.h"
#include "task/park.h"

#include <ouro/error.h>
#include <ouro/runtime.h>

#include <errno.h>

#define REMOTE_FINISHED (1u << 0)
#define REMOTE_CANCEL (1u << 1)

struct remote {
    struct ouro__op *op; /* the driver's thread's, from submit to reply */
    struct ouro__driver_handle *driver;
    struct ouro__context *context;
    struct ouro__inbox_node submit;
    struct ouro__inbox_node cancel;
    struct ouro__inbox_node reply;
    _Atomic uint32_t marks;
    _Atomic uint32_t has_reply; /* a plain thread's futex */
    bool cancel_seen;           /* the driver's thread only, as the next */
    bool deferred;              /* finished, and waits for the cancel message */
};

static void reply_arrived(struct ouro__inbox_node *node)
{
    struct remote *remote = OURO__CONTAINER_OF(node, struct remote, reply);
    remote->op->finished = true;
    ouro__context_wake_here(remote->context);
}

/* Driver's thread: the last thing it does with the op. */
static void send_reply(struct remote *remote)
{
    struct ouro__context *context = remote->context;
    if (context->worker != NULL) {
        /* The waiter's runtime may be another one.  With the reply it may end, and be freed before
         * the call that sent the reply has returned. */
        struct ouro_handle *handle = ouro_handle_ref(context->handle);
        remote->reply.run = reply_arrived;
        bool sent = ouro__driver_send(&context->worker->io.handle, &remote->reply);
        OURO__ASSERT(sent); /* a worker does not end while a context of it waits */
        ouro_handle_unref(handle);
        return;
    }
    _Atomic uint32_t *word = &remote->has_reply;
    ouro__store(word, 1, memory_order_release);
    /* The waiter may have returned by now: the address is only a name to the kernel. */
    ouro__futex_wake(word);
}

static void done_there(struct ouro__op *op)
{
    struct remote *remote = op->waiter;
    op->result = ouro__driver_result(op);
    OURO__TRACE(op->handle, .kind = OURO_TRACE_WOKEN, .fd = op->fd, .token = op->token,
                .name = ouro__context_name(remote->context));
    uint32_t before = ouro__fetch_or(&remote->marks, REMOTE_FINISHED, memory_order_acq_rel);
    if ((before & REMOTE_CANCEL) != 0 && !remote->cancel_seen)
        remote->deferred = true;
    else
        send_reply(remote);
}

static void submit_there(struct ouro__inbox_node *node)
{
    struct remote *remote = OURO__CONTAINER_OF(node, struct remote, submit);
    ouro__driver_submit(remote->driver->driver, remote->op);
}

static void cancel_there(struct ouro__inbox_node *node)
{
    struct remote *remote = OURO__CONTAINER_OF(node, struct remote, cancel);
    remote->cancel_seen = true;
    if (remote->deferred)
        send_reply(remote);
    else
        ouro__driver_cancel(remote->driver->driver, remote->op);
}

/* Waiter's thread; called once. */
static void request_cancel(struct ouro__op *op)
{
    struct remote *remote = op->waiter;
    uint32_t before = ouro__fetch_or(&remote->marks, REMOTE_CANCEL, memory_order_acq_rel);
    if ((before & REMOTE_FINISHED) != 0)
        return;
    remote->cancel.run = cancel_there;
    if (ouro__driver_send(remote->driver, &remote->cancel))
        return;
    /* The driver has closed, which it does only with nothing in flight: the op has finished between
     * the two steps above, and its reply would have waited for the message. */
    op->finished = true;
    ouro__store(&remote->has_reply, 1, memory_order_release);
}

/* A plain thread waits on its futex, and asks for cancellation once when it is interrupted. */
static void wait_on_thread(struct ouro__context *context, struct remote *remote,
                           bool uninterruptible)
{
    bool asked = uninterruptible;
    while (ouro__load(&remote->has_reply, memory_order_acquire) == 0) {
        int rc = asked ? 0 : ouro__context_interrupted(context);
        if (rc < 0) {
            asked = true;
            remote->op->cancel_reason = rc;
            request_cancel(remote->op);
            continue;
        }
        int64_t until_ns = asked ? OURO__NEVER : context->deadline_ns;
        ouro__futex_wait(&remote->has_reply, 0, until_ns);
    }
}

static void wait_on_worker(struct ouro__context *context, struct ouro__op *op, bool uninterruptible)
{
    if (!uninterruptible) {
        context->op = op;
        context->cancel_op = request_cancel;
    }
    while (!op->finished)
        ouro__context_park(context);
    context->op = NULL;
}

void ouro__await_remote(struct ouro__context *context, struct ouro__op *op, bool uninterruptible)
{
    struct remote remote = {
        .op = op,
        .driver = op->handle,
        .context = context,
        .submit.run = submit_there,
    };
    op->waiter = &remote;
    op->done = done_there;
    if (!ouro__driver_send(remote.driver, &remote.submit)) {
        op->result = uninterruptible ? 0 : -OURO_ESHUTDOWN; /* closed: nothing is in flight there */
        return;
    }
    if (context->worker == NULL)
        wait_on_thread(context, &remote, uninterruptible);
    else
        wait_on_worker(context, op, uninterruptible);
}
