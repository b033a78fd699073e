/* SPDX-License-Identifier: MIT */
/*
 * Scope: a stretch of a context's calls in which a deadline or a shield holds.
 *
 * Scopes nest.  A scope remembers the deadline and the shield that held when it began, and its end
 * puts them back.  The context keeps no pointer to a scope: a scope whose end was forgotten may lie
 * in a frame that is gone.  It ends with the scope around it, or with its task.
 *
 * So an end must find out by itself whether its scope is still open.  Scopes are numbered in the
 * order in which they begin, and the context keeps the numbers of the outermost ones that are open.
 * A scope there is open if the number at its depth is its own.  One that lies deeper is open if it
 * is not deeper than the innermost and began after the last one whose number is kept.  Deeper than
 * that a scope which ended with an outer one and is ended again later can be taken for an open one;
 * then the scopes begun in between end early.
 *
 * Owns:    nothing; the storage is the caller's.
 * Threads: the context's own.
 * Always:  context->deadline_ns is the earliest of the scopes inside the innermost shield.
 * Tests:   tests/task/test_deadline.c, tests/task/test_shield.c
 */
#include "task/scope.h"

static void deadline_passed(struct ouro__timer *timer)
{
    struct ouro__context *context = OURO__CONTAINER_OF(timer, struct ouro__context, timer);
    ouro__context_interrupt(context, OURO__INTERRUPT_TIMEOUT);
}

void ouro__scope_set_deadline(struct ouro__context *context, int64_t deadline_ns, int64_t now_ns)
{
    context->deadline_ns = deadline_ns;
    if (context->worker == NULL)
        return;
    struct ouro__timer_wheel *timers = &context->worker->timers;
    ouro__timer_unset(timers, &context->timer);
    unsigned interrupts = context->interrupts & ~(OURO__INTERRUPT_TIMEOUT | OURO__INTERRUPT_CLOCK);
    if (deadline_ns == OURO__NEVER) {
        context->interrupts = (uint8_t)interrupts;
        return;
    }
    if (now_ns >= deadline_ns) {
        context->interrupts = (uint8_t)(interrupts | OURO__INTERRUPT_TIMEOUT);
        return;
    }
    context->interrupts = (uint8_t)(interrupts | OURO__INTERRUPT_CLOCK);
    context->timer.fire = deadline_passed;
    ouro__timer_set(timers, &context->timer, deadline_ns);
}

void ouro__scope_set_deadline_loosely(struct ouro__context *context, int64_t deadline_ns,
                                      int64_t now_ns)
{
    ouro__scope_set_deadline(context, deadline_ns, now_ns);
    context->interrupts &= (uint8_t)~OURO__INTERRUPT_CLOCK;
}

static bool is_open(const struct ouro__context *context, const struct ouro__scope *scope)
{
    if (scope->depth > context->scope_depth)
        return false;
    if (scope->depth <= OURO__SCOPES_KEPT)
        return context->scope_open[scope->depth - 1] == scope->serial;
    uint32_t last_kept = context->scope_open[OURO__SCOPES_KEPT - 1];
    return (int32_t)(scope->serial - last_kept) > 0; /* numbers wrap around */
}

void ouro__scope_end(struct ouro__scope *scope)
{
    struct ouro__context *context = scope->context;
    scope->context = NULL;
    if (!is_open(context, scope))
        return;
    context->scope_depth = scope->depth - 1;
    if (OURO__UNLIKELY(ouro__context_is_shielded(context) != scope->outer_is_shielded))
        context->interrupts ^= OURO__SHIELDED;
    int64_t deadline_ns = scope->outer_deadline_ns;
    if (context->deadline_ns != deadline_ns)
        ouro__scope_set_deadline(context, deadline_ns,
                                 deadline_ns == OURO__NEVER ? 0 : ouro__clock_now_ns());
}

void ouro__scope_end_all(struct ouro__context *context)
{
    context->scope_depth = 0;
    context->interrupts &= (uint8_t)~OURO__SHIELDED;
    ouro__scope_set_deadline(context, OURO__NEVER, 0);
}
