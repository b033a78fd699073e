/* SPDX-License-Identifier: MIT */
/*
 * Deadline scopes, and sleeping.
 *
 * A context keeps the earliest deadline of its scopes and, on a worker, one timer for it.  When the
 * timer fires the wait the context is in ends, and so does every later one until the scope ends.
 *
 * Owns:    the scopes are their callers'.
 * Threads: the context's own.
 * Always:  context->deadline_ns is the minimum over the scopes, OURO__NEVER without any.
 * Tests:   tests/task/test_deadline.c
 */
#include "task/wait.h"

#include "task/handle.h"

#include <ouro/error.h>
#include <ouro/task.h>
#include <ouro/time.h>

#include <errno.h>

struct ouro__deadline_scope {
    struct ouro__deadline_scope *outer;
    struct ouro__context *context; /* NULL: not begun */
    int64_t outer_deadline_ns;
};

_Static_assert(sizeof(struct ouro__deadline_scope) <= sizeof(struct ouro_deadline),
               "a scope must fit the caller's storage");

int64_t ouro_now_ns(void)
{
    return ouro__clock_now_ns();
}

static bool has_time(const struct ouro__context *context)
{
    return (context->handle->config.flags & OURO_RUNTIME_F_NO_TIME) == 0;
}

static void deadline_passed(struct ouro__timer *timer)
{
    struct ouro__context *context = OURO__CONTAINER_OF(timer, struct ouro__context, timer);
    ouro__context_interrupt(context, OURO__INTERRUPT_TIMEOUT);
}

/* @now_ns: a time not long ago; only whether the deadline had passed by then is asked of it. */
static void set_deadline(struct ouro__context *context, int64_t deadline_ns, int64_t now_ns)
{
    context->deadline_ns = deadline_ns;
    if (context->worker == NULL)
        return;
    struct ouro__timer_wheel *timers = &context->worker->timers;
    ouro__timer_unset(timers, &context->timer);
    context->interrupts &= (uint8_t)~OURO__INTERRUPT_TIMEOUT;
    if (deadline_ns == OURO__NEVER)
        return;
    if (now_ns >= deadline_ns) {
        context->interrupts |= OURO__INTERRUPT_TIMEOUT;
    } else {
        context->timer.fire = deadline_passed;
        ouro__timer_set(timers, &context->timer, deadline_ns);
    }
}

int ouro_deadline_begin(struct ouro_deadline *scope, int64_t timeout_ns)
{
    if (scope == NULL)
        return -EINVAL;
    struct ouro__deadline_scope *inner = (struct ouro__deadline_scope *)(void *)scope;
    inner->context = NULL;
    struct ouro__context *context = NULL;
    int rc = ouro__context_enter(&context);
    if (rc < 0)
        return rc;
    if (!has_time(context))
        return -OURO_ETIMEDISABLED;
    *inner = (struct ouro__deadline_scope){
        .outer = context->scope,
        .context = context,
        .outer_deadline_ns = context->deadline_ns,
    };
    context->scope = inner;
    if (timeout_ns == INT64_MAX)
        return 0;
    int64_t now_ns = ouro__clock_now_ns();
    int64_t deadline_ns = ouro__clock_add_ns(now_ns, timeout_ns < 0 ? 0 : timeout_ns);
    if (deadline_ns < context->deadline_ns)
        set_deadline(context, deadline_ns, now_ns);
    return 0;
}

void ouro_deadline_end(struct ouro_deadline *scope)
{
    struct ouro__deadline_scope *inner = (struct ouro__deadline_scope *)(void *)scope;
    if (inner == NULL || inner->context == NULL)
        return;
    struct ouro__context *context = inner->context;
    OURO__ASSERT(context == ouro__context_current());
    OURO__ASSERT(context->scope == inner);
    context->scope = inner->outer;
    inner->context = NULL;
    if (context->deadline_ns == inner->outer_deadline_ns)
        return;
    bool has_outer = inner->outer_deadline_ns != OURO__NEVER;
    set_deadline(context, inner->outer_deadline_ns, has_outer ? ouro__clock_now_ns() : 0);
}

int64_t ouro_deadline_remaining_ns(void)
{
    struct ouro__context *context = ouro__context_current();
    if (context == NULL || context->deadline_ns == OURO__NEVER)
        return INT64_MAX;
    int64_t left_ns = context->deadline_ns - ouro__clock_now_ns();
    return left_ns > 0 ? left_ns : 0;
}

struct sleeper {
    struct ouro__timer timer;
    struct ouro__context *context;
    bool is_over;
};

static void sleep_over(struct ouro__timer *timer)
{
    struct sleeper *sleeper = OURO__CONTAINER_OF(timer, struct sleeper, timer);
    sleeper->is_over = true;
    ouro__context_wake_here(sleeper->context);
}

static bool is_over(void *arg)
{
    return ((struct sleeper *)arg)->is_over;
}

/* A plain thread sleeps on its own futex, until the sooner of the two times. */
static int sleep_on_thread(struct ouro__context *context, int64_t until_ns)
{
    int64_t deadline_ns = context->deadline_ns;
    int rc = 0;
    while (rc == 0 && ouro__clock_now_ns() < until_ns) {
        context->deadline_ns = until_ns < deadline_ns ? until_ns : deadline_ns;
        ouro__context_park(context);
        context->deadline_ns = deadline_ns;
        rc = ouro__context_interrupted(context);
    }
    return rc;
}

int ouro_sleep(int64_t duration_ns)
{
    struct ouro__context *context = NULL;
    int rc = ouro__context_enter(&context);
    if (rc < 0)
        return rc;
    if (!has_time(context))
        return -OURO_ETIMEDISABLED;
    if (duration_ns <= 0)
        return ouro_yield();
    rc = ouro__context_interrupted(context);
    if (rc < 0)
        return rc;
    int64_t until_ns = ouro__clock_add_ns(ouro__clock_now_ns(), duration_ns);
    if (context->worker == NULL)
        return sleep_on_thread(context, until_ns);
    struct sleeper sleeper = {.context = context};
    ouro__timer_init(&sleeper.timer, sleep_over);
    ouro__timer_set(&context->worker->timers, &sleeper.timer, until_ns);
    rc = ouro__wait(context, is_over, &sleeper);
    ouro__timer_unset(&context->worker->timers, &sleeper.timer);
    return rc;
}
