/* SPDX-License-Identifier: MIT */
/*
 * Waiting for a condition, the waker of a context, and poll_fn.
 *
 * Owns:    nothing.
 * Threads: the context's own.
 * Always:  a wait ends by its condition, or by an interruption; wakes without either are slept
 *          over.
 */
#include "task/wait.h"

#include "task/wake_ref.h"
#include "task/worker.h"

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

void ouro__wait_through(struct ouro__context *context, bool (*is_done)(void *arg), void *arg)
{
    int64_t deadline_ns = context->deadline_ns;
    if (context->worker == NULL)
        context->deadline_ns = OURO__NEVER;
    while (!is_done(arg))
        ouro__context_park(context);
    context->deadline_ns = deadline_ns;
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
    while (function(arg, &waker) != OURO_POLL_READY) {
        rc = ouro__context_interrupted(context);
        if (rc < 0)
            break;
        ouro__context_park(context);
    }
    ouro_waker_drop(&waker);
    return rc;
}
