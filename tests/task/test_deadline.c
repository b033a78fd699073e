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
    int64_t best_ns = INT64_MAX;
    for (int attempt = 0; attempt < ATTEMPTS && best_ns >= 20 * MS; attempt++) {
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
    ck_assert_int_lt(best_ns, 20 * MS);
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
    ck_assert_int_eq(ouro_deadline_begin(&outer, 40 * MS), 0);
    /* A later one inside changes nothing. */
    ck_assert_int_eq(ouro_deadline_begin(&inner, 3600 * OURO_SECOND), 0);
    ck_assert_int_le(ouro_deadline_remaining_ns(), 40 * MS);
    ck_assert_int_eq(ouro_deadline_begin(&innermost, 5 * MS), 0);
    ck_assert_int_eq(ouro_sleep(OURO_SECOND), -ETIMEDOUT);
    ouro_deadline_end(&innermost);
    ck_assert_int_eq(ouro_sleep(MS), 0);
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

static int has_no_deadline(void *arg)
{
    (void)arg;
    ck_assert_int_eq(ouro_deadline_remaining_ns(), INT64_MAX);
    return ouro_sleep(5 * MS);
}

static int not_inherited(void *arg)
{
    (void)arg;
    struct ouro_deadline scope;
    struct ouro_task *task = NULL;
    int result = -1;
    ck_assert_int_eq(ouro_deadline_begin(&scope, MS), 0);
    ck_assert_int_eq(ouro_task_spawn(has_no_deadline, NULL, &task), 0);
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
