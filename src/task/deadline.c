/* SPDX-License-Identifier: MIT */
/*
 * Deadline: scopes with a time limit, sleeping, and waiting for a limited time.
 *
 * A context keeps the earliest deadline of its scopes (task/scope.c) and, on a worker, one timer
 * for it.  When the timer fires, the wait that the context is in ends.  A task that computes past
 * its deadline finds out in its next call: while there is a deadline, each suspending call reads
 * the clock before it begins.
 *
 * Owns:    nothing; the scopes are their callers'.
 * Threads: the context's own.
 * Always:  no wait begins after the deadline has passed.
 * Tests:   tests/task/test_deadline.c
 */
#include "task/wait.h"

#include "task/handle.h"
#include "task/scope.h"

#include <ouro/error.h>
#include <ouro/task.h>
#include <ouro/time.h>

#include <errno.h>

_Static_assert(sizeof(struct ouro__scope) <= sizeof(struct ouro_deadline),
               "a scope must fit the caller's storage");

int64_t ouro_now_ns(void)
{
    return ouro__clock_now_ns();
}

static bool has_time(const struct ouro__context *context)
{
    return (context->handle->config.flags & OURO_RUNTIME_F_NO_TIME) == 0;
}

static struct ouro__scope *scope_in(struct ouro_deadline *storage)
{
    return (struct ouro__scope *)(void *)storage;
}

int ouro_deadline_begin(struct ouro_deadline *deadline, int64_t timeout_ns)
{
    if (deadline == NULL)
        return -EINVAL;
    struct ouro__scope *scope = scope_in(deadline);
    scope->context = NULL;
    struct ouro__context *context = NULL;
    int rc = ouro__context_enter(&context);
    if (rc < 0)
        return rc;
    if (!has_time(context))
        return -OURO_ETIMEDISABLED;
    ouro__scope_begin(context, scope);
    if (timeout_ns == INT64_MAX)
        return 0;
    int64_t now_ns = ouro__clock_now_ns();
    int64_t deadline_ns = ouro__clock_add_ns(now_ns, timeout_ns < 0 ? 0 : timeout_ns);
    if (deadline_ns < context->deadline_ns)
        ouro__scope_set_deadline(context, deadline_ns, now_ns);
    return 0;
}

void ouro_deadline_end(struct ouro_deadline *deadline)
{
    struct ouro__scope *scope = scope_in(deadline);
    /* A scope of another context may be left over from a task that has ended. */
    if (scope != NULL && scope->context != NULL && scope->context == ouro__context_current())
        ouro__scope_end(scope);
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
    bool (*is_done)(void *arg);
    void *arg;
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
    const struct sleeper *sleeper = arg;
    return sleeper->is_over || sleeper->is_done(sleeper->arg);
}

static bool never(void *arg)
{
    (void)arg;
    return false;
}

/* A plain thread sleeps on its own futex, until the sooner of the two times. */
static int sleep_on_thread(struct ouro__context *context, int64_t until_ns,
                           bool (*is_done)(void *arg), void *arg)
{
    int64_t deadline_ns = context->deadline_ns;
    int rc = 0;
    while (rc == 0 && !is_done(arg) && ouro__clock_now_ns() < until_ns) {
        context->deadline_ns = until_ns < deadline_ns ? until_ns : deadline_ns;
        ouro__context_park(context);
        context->deadline_ns = deadline_ns;
        rc = ouro__context_interrupted(context);
    }
    return rc;
}

int ouro__wait_until(struct ouro__context *context, int64_t until_ns, bool (*is_done)(void *arg),
                     void *arg)
{
    int rc = ouro__context_interrupted(context);
    if (rc < 0)
        return rc;
    if (context->worker == NULL)
        return sleep_on_thread(context, until_ns, is_done, arg);
    struct sleeper sleeper = {.context = context, .is_done = is_done, .arg = arg};
    ouro__timer_init(&sleeper.timer, sleep_over);
    ouro__timer_set(&context->worker->timers, &sleeper.timer, until_ns);
    rc = ouro__wait(context, is_over, &sleeper);
    ouro__timer_unset(&context->worker->timers, &sleeper.timer);
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
    return ouro__wait_until(context, ouro__clock_add_ns(ouro__clock_now_ns(), duration_ns), never,
                            NULL);
}
