/* SPDX-License-Identifier: MIT */
/*
 * Park: how a context stops until it is woken, and the wakers that wake it.
 *
 *   a task's context           its worker switches to another
 *   an own thread's            runs its worker until it is woken
 *   any other thread's         sleeps on the futex in its wake_ref
 *
 * Owns:    a context's wake_ref, from the first waker to the context's end.
 * Threads: the context's own.
 * Always:  a wake that comes before the park ends that park at once.
 * Tests:   tests/task/test_poll_fn.c
 */
#include "task/park.h"

#include "task/wake_ref.h"

#include <errno.h>

/* An own thread's worker has ended with the shutdown, but a few waits go on: for other threads to
 * leave a stream that it closes, or under a shield.  Its inbox takes no wakes any more, so each
 * unparks the driver and ends the round. */
static void park_after_end(struct ouro__context *context)
{
    ouro__worker_run_once(context->worker, true);
    if (context->wake_ref != NULL)
        ouro__wake_ref_take(context->wake_ref);
}

void ouro__context_park(struct ouro__context *context)
{
    context->budget = OURO__BUDGET;
    if (context->worker == NULL) {
        ouro__wake_ref_park(context->wake_ref, context->deadline_ns);
        return;
    }
    if (context->park == OURO__PARK_NOTIFIED) {
        context->park = OURO__PARK_RUNNING;
        return;
    }
    context->park = OURO__PARK_PARKED;
    if (context->task != NULL)
        ouro__worker_switch_out(context->worker);
    else if (!ouro__worker_has_ended(context->worker))
        ouro__worker_run_until_woken(context->worker, context);
    else
        park_after_end(context);
    context->park = OURO__PARK_RUNNING;
}

static void *clone_ref(void *data)
{
    ouro__wake_ref_ref(data);
    return data;
}

static void wake_ref(void *data)
{
    ouro__wake_ref_wake(data);
}

static void drop_ref(void *data)
{
    ouro__wake_ref_unref(data);
}

static const struct ouro_waker_vtable context_waker = {
    .clone = clone_ref,
    .wake = wake_ref,
    .drop = drop_ref,
};

int ouro__context_prepare(struct ouro__context *context)
{
    if (context->wake_ref == NULL)
        context->wake_ref = ouro__wake_ref_new(context);
    return context->wake_ref == NULL ? -ENOMEM : 0;
}

int ouro__context_waker(struct ouro__context *context, struct ouro_waker *out_waker)
{
    int rc = ouro__context_prepare(context);
    if (rc < 0)
        return rc;
    ouro__wake_ref_ref(context->wake_ref);
    *out_waker = (struct ouro_waker){.vtable = &context_waker, .data = context->wake_ref};
    return 0;
}

void ouro__context_fini(struct ouro__context *context)
{
    if (context->worker != NULL)
        ouro__timer_unset(&context->worker->timers, &context->timer);
    if (OURO__UNLIKELY(context->wake_ref != NULL)) {
        ouro__wake_ref_forget(context->wake_ref);
        context->wake_ref = NULL;
    }
}
