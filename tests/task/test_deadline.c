/* SPDX-License-Identifier: MIT */
/*
 * Deadline scopes and sleeping.
 *
 * Owns:    nothing.
 * Threads: the runtime's.
 * Always:  nothing ends early; a scope's end gives the outer one back.
 */
#include "support/ouro_test.h"
#include "support/runtime.h"

#include <errno.h>
#include <ouro.h>

#define MS OURO_MILLISECOND

static int sleeps_long_enough(void *arg)
{
    (void)arg;
    for (int ms = 1; ms <= 30; ms += 7) {
        int64_t before_ns = ouro_now_ns();
        ck_assert_int_eq(ouro_sleep(ms * MS), 0);
        ck_assert_int_ge(ouro_now_ns() - before_ns, ms * MS);
    }
    ck_assert_int_eq(ouro_sleep(0), 0);
    ck_assert_int_eq(ouro_sleep(-1), 0);
    return 0;
}

OURO_TEST(a_sleep_is_never_too_short)
{
    ouro_test_everywhere(sleeps_long_enough, NULL);
}

/* Twenty sleeps, and as many deadlines, of 200 us each: a clock of 1 ms would need 40 ms. */
static int sleeps_short_enough(void *arg)
{
    (void)arg;
    enum { COUNT = 20, ATTEMPTS = 20 };
    const int64_t limit_ns = 20 * MS * ouro_test_slowness();
    int64_t best_ns = INT64_MAX;
    for (int attempt = 0; attempt < ATTEMPTS && best_ns >= limit_ns; attempt++) {
        int64_t before_ns = ouro_now_ns();
        for (int i = 0; i < COUNT; i++) {
            ck_assert_int_eq(ouro_sleep(MS / 5), 0);
            struct ouro_deadline scope;
            ck_assert_int_eq(ouro_deadline_begin(&scope, MS / 5), 0);
            ck_assert_int_eq(ouro_sleep(OURO_SECOND), -ETIMEDOUT);
            ouro_deadline_end(&scope);
        }
        int64_t taken_ns = ouro_now_ns() - before_ns;
        best_ns = taken_ns < best_ns ? taken_ns : best_ns;
    }
    ck_assert_int_lt(best_ns, limit_ns);
    return 0;
}

OURO_TEST(sleeps_and_deadlines_are_not_rounded_to_milliseconds, .serial = true)
{
    ouro_test_everywhere(sleeps_short_enough, NULL);
}

static int deadline_ends_a_sleep(void *arg)
{
    (void)arg;
    struct ouro_deadline scope;
    int64_t before_ns = ouro_now_ns();
    ck_assert_int_eq(ouro_deadline_begin(&scope, 20 * MS), 0);
    ck_assert_int_le(ouro_deadline_remaining_ns(), 20 * MS);
    ck_assert_int_eq(ouro_sleep(3600 * OURO_SECOND), -ETIMEDOUT);
    ck_assert_int_ge(ouro_now_ns() - before_ns, 20 * MS);
    ck_assert_int_eq(ouro_sleep(MS), -ETIMEDOUT);
    ck_assert_int_eq(ouro_deadline_remaining_ns(), 0);
    ouro_deadline_end(&scope);
    ck_assert_int_eq(ouro_sleep(MS), 0);
    ck_assert_int_eq(ouro_deadline_remaining_ns(), INT64_MAX);
    return 0;
}

OURO_TEST(a_deadline_ends_a_sleep_and_its_end_ends_it)
{
    ouro_test_everywhere(deadline_ends_a_sleep, NULL);
}

static int nested(void *arg)
{
    (void)arg;
    struct ouro_deadline outer, inner, innermost;
    ck_assert_int_eq(ouro_deadline_begin(&outer, 1800 * OURO_SECOND), 0);
    /* A later one inside changes nothing. */
    ck_assert_int_eq(ouro_deadline_begin(&inner, 3600 * OURO_SECOND), 0);
    ck_assert_int_le(ouro_deadline_remaining_ns(), 1800 * OURO_SECOND);
    ck_assert_int_eq(ouro_deadline_begin(&innermost, 5 * MS), 0);
    ck_assert_int_eq(ouro_sleep(OURO_SECOND), -ETIMEDOUT);
    ouro_deadline_end(&innermost);
    ck_assert_int_eq(ouro_sleep(MS), 0);
    ouro_deadline_end(&inner);
    ck_assert_int_le(ouro_deadline_remaining_ns(), 1800 * OURO_SECOND);
    ouro_deadline_end(&outer);
    ck_assert_int_eq(ouro_deadline_remaining_ns(), INT64_MAX);

    /* The outer one passes while an inner one would last. */
    ck_assert_int_eq(ouro_deadline_begin(&outer, 5 * MS), 0);
    ck_assert_int_eq(ouro_deadline_begin(&inner, 3600 * OURO_SECOND), 0);
    ck_assert_int_eq(ouro_sleep(OURO_SECOND), -ETIMEDOUT);
    ouro_deadline_end(&inner);
    ck_assert_int_eq(ouro_sleep(MS), -ETIMEDOUT);
    ouro_deadline_end(&outer);
    ouro_deadline_end(&outer);
    ck_assert_int_eq(ouro_sleep(MS), 0);
    return 0;
}

OURO_TEST(scopes_nest_and_the_earliest_counts)
{
    ouro_test_everywhere(nested, NULL);
}

static int extremes(void *arg)
{
    (void)arg;
    struct ouro_deadline scope;
    const int64_t passed[] = {0, -1, INT64_MIN};
    for (unsigned i = 0; i < sizeof(passed) / sizeof(passed[0]); i++) {
        ck_assert_int_eq(ouro_deadline_begin(&scope, passed[i]), 0);
        ck_assert_int_eq(ouro_sleep(MS), -ETIMEDOUT);
        ck_assert_int_eq(ouro_yield(), -ETIMEDOUT);
        ouro_deadline_end(&scope);
    }
    ck_assert_int_eq(ouro_deadline_begin(&scope, INT64_MAX), 0);
    ck_assert_int_eq(ouro_deadline_remaining_ns(), INT64_MAX);
    ck_assert_int_eq(ouro_sleep(MS), 0);
    ouro_deadline_end(&scope);
    ck_assert_int_eq(ouro_deadline_begin(&scope, INT64_MAX - 1), 0);
    ck_assert_int_eq(ouro_sleep(MS), 0);
    ouro_deadline_end(&scope);
    ck_assert_int_eq(ouro_deadline_begin(NULL, 1), -EINVAL);
    return 0;
}

OURO_TEST(passed_and_endless_deadlines)
{
    ouro_test_everywhere(extremes, NULL);
    struct ouro_deadline scope;
    ck_assert_int_eq(ouro_deadline_begin(&scope, 1), -OURO_ENORUNTIME);
    ouro_deadline_end(&scope);
    ck_assert_int_eq(ouro_deadline_remaining_ns(), INT64_MAX);
}

/* A caller that computes: no suspending call, so no timer can fire. */
static void compute_ns(int64_t duration_ns)
{
    int64_t until_ns = ouro_now_ns() + duration_ns;
    while (ouro_now_ns() < until_ns)
        ;
}

static enum ouro_poll is_ready(void *arg, const struct ouro_waker *waker)
{
    (void)arg;
    (void)waker;
    return OURO_POLL_READY;
}

static enum ouro_poll is_never_ready(void *arg, const struct ouro_waker *waker)
{
    (void)arg;
    (void)waker;
    return OURO_POLL_PENDING;
}

static int does_nothing(void *arg)
{
    (void)arg;
    return 0;
}

/* Each call could succeed at once but for the deadline. */
static int sees_it_in_the_next_call(void *arg)
{
    (void)arg;
    struct ouro_stream *reader = NULL, *writer = NULL;
    struct ouro_deadline scope;
    char byte = 'x';
    ck_assert_int_eq(ouro_pipe(&reader, &writer), 0);
    ck_assert_int_eq(ouro_stream_write(writer, "abc", 3), 3);
    ck_assert_int_eq(ouro_stream_read(reader, &byte, 1), 1);
    for (int call = 0; call < 8; call++) {
        ck_assert_int_eq(ouro_deadline_begin(&scope, MS / 5), 0);
        compute_ns(MS / 4);
        ssize_t rc = 0;
        switch (call) {
        case 0:
            rc = ouro_stream_read(reader, &byte, 1);
            break;
        case 1:
            rc = ouro_stream_write(writer, &byte, 1);
            break;
        case 2:
            rc = ouro_sleep(1);
            break;
        case 3:
            rc = ouro_yield();
            break;
        case 4:
            rc = ouro_poll_fn(is_ready, NULL);
            break;
        case 5:
            rc = ouro_poll_fn(is_never_ready, NULL);
            break;
        case 6:
            rc = ouro_blocking(does_nothing, NULL, NULL);
            break;
        default:
            rc = ouro_connect("127.0.0.1:9", OURO_SECOND, &writer);
            break;
        }
        if (rc != -ETIMEDOUT)
            ck_abort_msg("call %d returned %zd", call, rc);
        ouro_deadline_end(&scope);
    }
    ck_assert_int_eq(ouro_stream_read(reader, &byte, 1), 1);
    ck_assert_int_eq(byte, 'b');
    ck_assert_int_eq(ouro_stream_close(reader), 0);
    return ouro_stream_close(writer);
}

OURO_TEST(a_deadline_that_passed_while_computing_is_seen_by_the_next_call)
{
    ouro_test_everywhere(sees_it_in_the_next_call, NULL);
}

/* Begins a scope and forgets it; its frame is gone afterwards. */
static __attribute__((noinline)) void forget_a_scope(int64_t timeout_ns)
{
    struct ouro_deadline scope;
    ck_assert_int_eq(ouro_deadline_begin(&scope, timeout_ns), 0);
}

static int forgets_ends(void *arg)
{
    (void)arg;
    struct ouro_deadline outer[6];
    /* At every depth, with a scope forgotten inside, and two. */
    for (int depth = 1; depth <= 6; depth++) {
        for (int i = 0; i < depth; i++)
            ck_assert_int_eq(ouro_deadline_begin(&outer[i], 3600 * OURO_SECOND), 0);
        forget_a_scope(0);
        ck_assert_int_eq(ouro_sleep(MS), -ETIMEDOUT);
        forget_a_scope(0);
        for (int i = depth - 1; i >= 0; i--) {
            ouro_deadline_end(&outer[i]);
            ck_assert_int_eq(ouro_sleep(1), 0);
            ck_assert_int_eq(ouro_deadline_remaining_ns() == INT64_MAX, i == 0);
        }
    }
    /* The outermost alone ends all of them. */
    for (int i = 0; i < 6; i++)
        ck_assert_int_eq(ouro_deadline_begin(&outer[i], MS), 0);
    ouro_deadline_end(&outer[0]);
    ck_assert_int_eq(ouro_deadline_remaining_ns(), INT64_MAX);
    for (int i = 0; i < 6; i++)
        ouro_deadline_end(&outer[i]);
    ck_assert_int_eq(ouro_deadline_remaining_ns(), INT64_MAX);
    forget_a_scope(0); /* and the task's end, or the thread's leaving, ends this one */
    ck_assert_int_eq(ouro_yield(), -ETIMEDOUT);
    return 0;
}

OURO_TEST(a_forgotten_end_lasts_no_longer_than_the_scope_around_it)
{
    ouro_test_everywhere(forgets_ends, NULL);
    /* The context of a current-thread runtime's own thread is used again by the next enter. */
    struct ouro_runtime *runtime = ouro_test_runtime_new(OURO_FLAVOUR_CURRENT_THREAD);
    struct ouro_handle *handle = ouro_runtime_handle(runtime);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(ouro_enter(handle), 0);
        ck_assert_int_eq(ouro_sleep(1), 0);
        ck_assert_int_eq(forgets_ends(NULL), 0);
        ouro_leave();
    }
    ouro_handle_unref(handle);
    ouro_runtime_free(runtime);
}

static int has_no_deadline(void *duration_ns)
{
    ck_assert_int_eq(ouro_deadline_remaining_ns(), INT64_MAX);
    return ouro_sleep((intptr_t)duration_ns);
}

static int forgets_as_it_returns(void *arg)
{
    forget_a_scope((intptr_t)arg);
    return 0;
}

/* Tasks on the same stacks one after the other: none finds a deadline, or its timer, of another. */
static int many_forget(void *arg)
{
    (void)arg;
    for (int i = 0; i < 200; i++) {
        struct ouro_task *task = NULL;
        void *timeout_ns = (void *)(intptr_t)(i % 2 * 50 * OURO_MICROSECOND);
        ck_assert_int_eq(ouro_task_spawn(forgets_as_it_returns, timeout_ns, &task), 0);
        ck_assert_int_eq(ouro_task_join(task, NULL), 0);
        ck_assert_int_eq(ouro_task_spawn(has_no_deadline, (void *)(intptr_t)(MS / 10), &task), 0);
        int result = -1;
        ck_assert_int_eq(ouro_task_join(task, &result), 0);
        ck_assert_int_eq(result, 0);
    }
    return 0;
}

OURO_TEST(a_task_may_return_with_open_scopes)
{
    ouro_test_everywhere(many_forget, NULL);
}

static int ends_out_of_order(void *arg)
{
    (void)arg;
    struct ouro_deadline a, b, c, d;
    ck_assert_int_eq(ouro_deadline_begin(&a, 0), 0);
    ck_assert_int_eq(ouro_deadline_begin(&b, INT64_MAX), 0);
    ouro_deadline_end(&a); /* and with it b */
    ck_assert_int_eq(ouro_sleep(1), 0);
    ck_assert_int_eq(ouro_deadline_begin(&c, 3600 * OURO_SECOND), 0);
    ck_assert_int_eq(ouro_deadline_begin(&d, 1800 * OURO_SECOND), 0);
    ouro_deadline_end(&b); /* nothing: neither c nor d ends, and a's deadline does not come back */
    ck_assert_int_le(ouro_deadline_remaining_ns(), 1800 * OURO_SECOND);
    ck_assert_int_eq(ouro_sleep(1), 0);
    ouro_deadline_end(&d);
    ouro_deadline_end(&b);
    ck_assert_int_gt(ouro_deadline_remaining_ns(), 1800 * OURO_SECOND);
    ouro_deadline_end(&c);
    ck_assert_int_eq(ouro_deadline_remaining_ns(), INT64_MAX);
    ouro_deadline_end(NULL);
    return 0;
}

OURO_TEST(ends_in_any_order_leave_what_is_open)
{
    ouro_test_everywhere(ends_out_of_order, NULL);
}

static int ends_anothers(void *arg)
{
    ouro_deadline_end(arg);
    return 0;
}

static int ended_by_another(void *arg)
{
    (void)arg;
    struct ouro_deadline scope;
    struct ouro_task *task = NULL;
    ck_assert_int_eq(ouro_deadline_begin(&scope, 3600 * OURO_SECOND), 0);
    ck_assert_int_eq(ouro_task_spawn(ends_anothers, &scope, &task), 0);
    ck_assert_int_eq(ouro_task_join(task, NULL), 0);
    ck_assert_int_lt(ouro_deadline_remaining_ns(), INT64_MAX);
    ouro_deadline_end(&scope);
    ck_assert_int_eq(ouro_deadline_remaining_ns(), INT64_MAX);
    return 0;
}

OURO_TEST(nobody_ends_the_scope_of_another)
{
    ouro_test_everywhere(ended_by_another, NULL);
}

static int returns_early(int where)
{
    OURO_DEADLINE(outer, where == 0 ? 0 : 3600 * OURO_SECOND);
    int rc = ouro_sleep(1);
    if (rc < 0)
        return rc;
    OURO_DEADLINE(inner, 0);
    if (where == 1)
        return ouro_sleep(1);
    ouro_deadline_end(&inner);
    return ouro_sleep(1);
}

static int cleans_up(void *arg)
{
    (void)arg;
    const int expected[] = {-ETIMEDOUT, -ETIMEDOUT, 0};
    for (int where = 0; where < 3; where++) {
        ck_assert_int_eq(returns_early(where), expected[where]);
        ck_assert_int_eq(ouro_deadline_remaining_ns(), INT64_MAX);
        ck_assert_int_eq(ouro_sleep(1), 0);
    }
    return 0;
}

OURO_TEST(a_declared_deadline_ends_at_every_return)
{
    ouro_test_everywhere(cleans_up, NULL);
}

static int not_inherited(void *arg)
{
    (void)arg;
    struct ouro_deadline scope;
    struct ouro_task *task = NULL;
    int result = -1;
    ck_assert_int_eq(ouro_deadline_begin(&scope, MS), 0);
    ck_assert_int_eq(ouro_task_spawn(has_no_deadline, (void *)(intptr_t)(5 * MS), &task), 0);
    ck_assert_int_eq(ouro_sleep(OURO_SECOND), -ETIMEDOUT);
    ouro_deadline_end(&scope);
    ck_assert_int_eq(ouro_task_join(task, &result), 0);
    return result;
}

OURO_TEST(a_spawned_task_inherits_no_deadline)
{
    ouro_test_everywhere(not_inherited, NULL);
}

static int time_is_off(void *arg)
{
    (void)arg;
    struct ouro_deadline scope;
    ck_assert_int_eq(ouro_sleep(1), -OURO_ETIMEDISABLED);
    ck_assert_int_eq(ouro_deadline_begin(&scope, 1), -OURO_ETIMEDISABLED);
    ouro_deadline_end(&scope);
    return ouro_yield();
}

OURO_TEST(a_runtime_without_time_says_so)
{
    struct ouro_runtime_config config = ouro_test_config(OURO_FLAVOUR_CURRENT_THREAD);
    config.flags = OURO_RUNTIME_F_NO_TIME;
    struct ouro_runtime *runtime = ouro_test_runtime_with(&config);
    int result = -1;
    ck_assert_int_eq(ouro_runtime_block_on(runtime, time_is_off, NULL, &result), 0);
    ck_assert_int_eq(result, 0);
    ouro_runtime_free(runtime);
}
