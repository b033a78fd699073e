/* SPDX-License-Identifier: MIT */
/*
 * WakeRef: what a context's wakers hold on to, and how a wake gets to another thread.
 *
 * For a context with a worker, a wake from another thread is a message to the worker; this object
 * is the message.  While the message is in the inbox it holds a reference to itself, and further
 * wakes send nothing.  Only the worker's thread reads the context pointer, and the context ends on
 * that thread too, so no lock is needed to know whether it still exists.  For a plain thread the
 * word is a futex.
 *
 * Owns:    a reference to the runtime's handle, whose workers' inboxes it may use.
 * Threads: any, but forget() and the context pointer: the context's own.
 * Always:  a message is in the inbox at most once; a wake before the park is not lost.
 * Tests:   tests/task/test_poll_fn.c
 */
#include "task/wake_ref.h"

#include "base/alloc.h"
#include "base/futex.h"
#include "task/worker.h"

#include <ouro/runtime.h>

struct ouro__wake_ref {
    struct ouro__inbox_node message;
    _Atomic uint32_t references;
    _Atomic uint32_t word; /* 1: the message is on its way; a plain thread's: it is woken */
    struct ouro_handle *handle;
    struct ouro__worker *worker;   /* NULL: a plain thread's */
    struct ouro__context *context; /* NULL: it has ended */
};

static void message_arrived(struct ouro__inbox_node *node)
{
    struct ouro__wake_ref *ref = OURO__CONTAINER_OF(node, struct ouro__wake_ref, message);
    ouro__store(&ref->word, 0, memory_order_release);
    if (ref->context != NULL)
        ouro__context_wake_here(ref->context);
    ouro__wake_ref_unref(ref);
}

struct ouro__wake_ref *ouro__wake_ref_new(struct ouro__context *context)
{
    struct ouro__wake_ref *ref = ouro__calloc(1, sizeof(*ref));
    if (ref == NULL)
        return NULL;
    ref->message.run = message_arrived;
    ouro__atomic_init(&ref->references, 1);
    ref->handle = ouro_handle_ref(context->handle);
    ref->worker = context->worker;
    ref->context = context;
    return ref;
}

void ouro__wake_ref_forget(struct ouro__wake_ref *ref)
{
    ref->context = NULL;
    ouro__wake_ref_unref(ref);
}

void ouro__wake_ref_ref(struct ouro__wake_ref *ref)
{
    ouro__fetch_add(&ref->references, 1, memory_order_relaxed);
}

void ouro__wake_ref_unref(struct ouro__wake_ref *ref)
{
    if (ouro__fetch_sub(&ref->references, 1, memory_order_acq_rel) != 1)
        return;
    ouro_handle_unref(ref->handle);
    ouro__free(ref);
}

static void send_message(struct ouro__wake_ref *ref)
{
    ouro__wake_ref_ref(ref);
    if (ouro__driver_send(&ref->worker->io.handle, &ref->message))
        return;
    /* The worker has ended, and its tasks with it; but an own thread may wait (task/park.c). */
    ouro__driver_unpark(&ref->worker->io.handle);
    ouro__wake_ref_unref(ref);
}

void ouro__wake_ref_wake(struct ouro__wake_ref *ref)
{
    if (ref->worker != NULL && ouro__worker_is_here(ref->worker)) {
        if (ref->context != NULL)
            ouro__context_wake_here(ref->context);
        return;
    }
    if (ouro__exchange(&ref->word, 1, memory_order_acq_rel) != 0)
        return;
    if (ref->worker != NULL)
        send_message(ref);
    else
        ouro__futex_wake(&ref->word);
}

void ouro__wake_ref_take(struct ouro__wake_ref *ref)
{
    /* An exchange, so that the waiter's next check sees everything that was done before the
     * wake. */
    (void)ouro__exchange(&ref->word, 0, memory_order_acq_rel);
}

void ouro__wake_ref_park(struct ouro__wake_ref *ref, int64_t deadline_ns)
{
    if (ouro__load(&ref->word, memory_order_acquire) == 0)
        ouro__futex_wait(&ref->word, 0, deadline_ns);
    ouro__wake_ref_take(ref);
}
