/* SPDX-License-Identifier: MIT */
/*
 * The proxy's targets: which is chosen, which are left out, and for how long.
 */
#include "support/ouro_test.h"

#include <string.h>

#include "../../tools/ouro/proxy_targets.c"

#define FIRST OURO_SECOND
#define MAX (10 * OURO_SECOND)

static struct proxy_targets targets;

static void begin(size_t count, enum proxy_balance balance)
{
    targets = (struct proxy_targets){.lock = PTHREAD_MUTEX_INITIALIZER,
                                     .balance = balance,
                                     .out_first_ns = FIRST,
                                     .out_max_ns = MAX,
                                     .count = count};
}

/* The choice of a new client. */
static struct proxy_choice choose(int64_t now_ns)
{
    struct proxy_choice choice;
    uint64_t tried = 0;
    ck_assert(proxy_targets_choose(&targets, now_ns, &tried, &choice));
    ck_assert_uint_eq(tried, UINT64_C(1) << choice.index);
    return choice;
}

/* A client whose first choice is @index, which fails; how long that leaves it out. */
static int64_t let_fail(size_t index, int64_t now_ns)
{
    struct proxy_choice choice = choose(now_ns);
    ck_assert_uint_eq(choice.index, index);
    return proxy_targets_failed(&targets, &choice, now_ns);
}

static bool connected(const struct proxy_choice *choice)
{
    bool was_out = proxy_targets_connected(&targets, choice);
    proxy_targets_end(&targets, choice);
    return was_out;
}

static bool is_left_out(size_t index, int64_t now_ns)
{
    struct proxy_target target;
    bool left_out;
    proxy_targets_read(&targets, index, now_ns, &target, &left_out);
    return left_out;
}

OURO_TEST_UNIT(round_robin_takes_turns)
{
    begin(3, PROXY_ROUND_ROBIN);
    for (size_t i = 0; i < 9; i++)
        ck_assert_uint_eq(choose(0).index, i % 3);
    for (size_t i = 0; i < 3; i++)
        ck_assert_uint_eq(targets.list[i].active, 3);
}

OURO_TEST_UNIT(least_connections_levels_them)
{
    begin(3, PROXY_LEAST_CONNECTIONS);
    struct proxy_choice choices[6];
    for (size_t i = 0; i < 6; i++)
        choices[i] = choose(0);
    for (size_t i = 0; i < 3; i++)
        ck_assert_uint_eq(targets.list[i].active, 2);
    proxy_targets_end(&targets, &choices[1]);
    proxy_targets_end(&targets, &choices[4]); /* both of target 1 */
    ck_assert_uint_eq(choose(0).index, 1);
    ck_assert_uint_eq(choose(0).index, 1);
    for (size_t i = 0; i < 3; i++)
        ck_assert_uint_eq(targets.list[i].active, 2);
}

OURO_TEST_UNIT(a_client_tries_each_target_once)
{
    begin(3, PROXY_ROUND_ROBIN);
    struct proxy_choice choice;
    uint64_t tried = 0;
    for (size_t i = 0; i < 3; i++) {
        ck_assert(proxy_targets_choose(&targets, 0, &tried, &choice));
        ck_assert_uint_eq(choice.index, i);
        ck_assert_int_eq(proxy_targets_failed(&targets, &choice, 0), FIRST);
    }
    ck_assert(!proxy_targets_choose(&targets, 0, &tried, &choice));
    ck_assert_uint_eq(tried, 7);
}

OURO_TEST_UNIT(what_failed_is_left_out_for_a_time)
{
    begin(2, PROXY_ROUND_ROBIN);
    ck_assert_int_eq(let_fail(0, 5), FIRST);
    ck_assert(is_left_out(0, 5 + FIRST - 1));
    for (int i = 0; i < 4; i++)
        ck_assert_uint_eq(choose(5 + FIRST - 1).index, 1);
    ck_assert(!is_left_out(0, 5 + FIRST));
    ck_assert_uint_eq(choose(5 + FIRST).index, 0);
}

OURO_TEST_UNIT(the_time_doubles_up_to_a_bound_and_a_success_resets_it)
{
    static const int64_t times[] = {FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST, MAX, MAX, MAX};
    begin(1, PROXY_ROUND_ROBIN);
    int64_t now_ns = 0;
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        ck_assert_int_eq(let_fail(0, now_ns), times[i]);
        now_ns += times[i];
    }
    struct proxy_choice choice = choose(now_ns);
    ck_assert(connected(&choice));
    ck_assert(!is_left_out(0, now_ns));
    choice = choose(now_ns);
    ck_assert(!connected(&choice)); /* it was healthy already */
    ck_assert_int_eq(let_fail(0, now_ns), FIRST);
    ck_assert_uint_eq(targets.list[0].connected, 2);
    ck_assert_uint_eq(targets.list[0].failed, 8);
}

OURO_TEST_UNIT(a_trial_is_one_connection)
{
    begin(2, PROXY_LEAST_CONNECTIONS);
    ck_assert_int_eq(let_fail(0, 0), FIRST);
    ck_assert_uint_eq(choose(0).index, 1);
    struct proxy_choice trial = choose(FIRST);
    ck_assert_uint_eq(trial.index, 0);
    for (int i = 0; i < 5; i++)
        ck_assert_uint_eq(choose(FIRST).index, 1); /* though it has more connections */
    ck_assert_int_eq(proxy_targets_failed(&targets, &trial, FIRST + 7), 2 * FIRST);
    ck_assert(is_left_out(0, FIRST + 7 + 2 * FIRST - 1));
    trial = choose(FIRST + 7 + 2 * FIRST);
    ck_assert_uint_eq(trial.index, 0);
    ck_assert(connected(&trial));
    ck_assert_uint_eq(choose(FIRST + 7 + 2 * FIRST).index, 0);
}

OURO_TEST_UNIT(a_trial_that_says_nothing_is_followed_by_another)
{
    begin(2, PROXY_ROUND_ROBIN);
    ck_assert_int_eq(let_fail(0, 0), FIRST);
    ck_assert_uint_eq(choose(0).index, 1);
    ck_assert_uint_eq(choose(FIRST).index, 0);
    ck_assert_uint_eq(choose(FIRST).index, 1);
    ck_assert_uint_eq(choose(2 * FIRST - 1).index, 1);
    ck_assert_uint_eq(choose(2 * FIRST).index, 0);
}

OURO_TEST_UNIT(failures_of_one_moment_count_once)
{
    begin(2, PROXY_ROUND_ROBIN);
    struct proxy_choice choices[20];
    for (size_t i = 0; i < 20; i++)
        choices[i] = choose(0);
    for (size_t i = 0; i < 20; i += 2)
        ck_assert_int_eq(proxy_targets_failed(&targets, &choices[i], 0), i == 0 ? FIRST : 0);
    ck_assert_uint_eq(targets.list[0].failures, 1);
    ck_assert_uint_eq(targets.list[0].failed, 10);
    ck_assert_uint_eq(targets.list[0].active, 0);
}

OURO_TEST_UNIT(when_all_are_left_out_they_are_tried_all_the_same)
{
    begin(3, PROXY_ROUND_ROBIN);
    for (size_t i = 0; i < 3; i++)
        ck_assert_int_eq(let_fail(i, (int64_t)(3 - i)), FIRST); /* the last is in again first */
    for (int client = 0; client < 3; client++) {
        struct proxy_choice choice;
        uint64_t tried = 0;
        for (size_t i = 0; i < 3; i++) {
            ck_assert(proxy_targets_choose(&targets, 10, &tried, &choice));
            ck_assert_uint_eq(choice.index, 2 - i);
            ck_assert_int_eq(proxy_targets_failed(&targets, &choice, 10), 0);
        }
        ck_assert(!proxy_targets_choose(&targets, 10, &tried, &choice));
    }
    ck_assert_uint_eq(targets.list[0].failures, 1);
    struct proxy_choice choice = choose(20);
    ck_assert(connected(&choice));
    ck_assert_uint_eq(choose(20).index, choice.index); /* the others are still left out */
}

OURO_TEST_UNIT(an_attempt_that_says_nothing_changes_no_health)
{
    begin(1, PROXY_ROUND_ROBIN);
    struct proxy_choice choice = choose(0);
    proxy_targets_end(&targets, &choice);
    ck_assert_uint_eq(targets.list[0].active, 0);
    ck_assert_uint_eq(targets.list[0].failed + targets.list[0].connected, 0);
    ck_assert(!is_left_out(0, 0));
}
