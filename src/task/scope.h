/* SPDX-License-Identifier: MIT */
/*
 * Scope: a stretch of a context's calls in which a deadline or a shield holds.
 */
#ifndef OURO_TASK_SCOPE_H
#define OURO_TASK_SCOPE_H

#include "task/worker.h"

/* In the caller's storage. */
struct ouro__scope {
    struct ouro__context *context; /* NULL: not begun, or ended */
    int64_t outer_deadline_ns;     /* what holds again after it */
    uint32_t serial;
    uint32_t depth; /* 1: no other is around it */
    bool outer_is_shielded;
};

/* Begins @scope inside those that are open. */
static inline void ouro__scope_begin(struct ouro__context *context, struct ouro__scope *scope)
{
    uint32_t depth = context->scope_depth++;
    uint32_t serial = ++context->scope_serial;
    if (depth < OURO__SCOPES_KEPT)
        context->scope_open[depth] = serial;
    *scope = (struct ouro__scope){
        .context = context,
        .outer_deadline_ns = context->deadline_ns,
        .serial = serial,
        .depth = depth + 1,
        .outer_is_shielded = ouro__context_is_shielded(context),
    };
}

/* Ends @scope and those inside it: what held before it holds again.  Nothing happens when it has
 * ended already, by itself or with one around it.  By the context itself. */
void ouro__scope_end(struct ouro__scope *scope);

/* Ends all open scopes without touching their storage, so that the context can be used again. */
void ouro__scope_end_all(struct ouro__context *context);

/* Makes @deadline_ns the context's.  @now_ns: a time not long ago; the deadline counts as passed if
 * it had passed by then. */
void ouro__scope_set_deadline(struct ouro__context *context, int64_t deadline_ns, int64_t now_ns);

/*
 * The same for a context with a worker, without a reading of the clock in each of its calls: after
 * the deadline, calls that need not wait may still succeed until the worker has looked at its
 * timers.  For a deadline that is long and holds for many calls.
 */
void ouro__scope_set_deadline_loosely(struct ouro__context *context, int64_t deadline_ns,
                                      int64_t now_ns);

#endif
