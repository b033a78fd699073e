/* SPDX-License-Identifier: MIT */
/*
 * Which of two ways is cheaper: that the cheaper one becomes usual, and how seldom the dearer one
 * is tried.
 */
#include "registry/trial.h"
#include "support/ouro_test.h"

enum { UNITS = 10 };

static void begin(struct ouro__trial *trial)
{
    if (ouro_test_slowness() > 1)
        ouro_test_skip("CPU times say little here");
    ouro__trial_init(trial);
    ck_assert_int_eq(ouro__trial_next_stretch(trial, UNITS), 0);
}

/* @count stretches, in which a unit of the first and of the second way costs so many ns.  Returns
 * how many went the second way. */
static int run(struct ouro__trial *trial, int count, int64_t first_ns, int64_t second_ns)
{
    int second = 0;
    for (int i = 0; i < count; i++) {
        bool is_second = ouro__trial_way(trial);
        int64_t cost_ns = UNITS * (is_second ? second_ns : first_ns);
        int64_t until_ns = ouro_test_cpu_ns() + cost_ns;
        while (ouro_test_cpu_ns() < until_ns)
            ;
        ck_assert_int_ge(ouro__trial_next_stretch(trial, UNITS), cost_ns);
        second += is_second;
    }
    return second;
}

/* Sooner or later: on a busy machine a measurement may say anything. */
static void must_become_usual(struct ouro__trial *trial, int64_t first_ns, int64_t second_ns)
{
    enum { TRIES = 20, MANY = 20 };
    int second = 0;
    for (int i = 0; i < TRIES && second < MANY - 1; i++)
        second = run(trial, MANY, first_ns, second_ns);
    ck_assert_int_ge(second, MANY - 1);
}

OURO_TEST_UNIT(the_cheaper_way_becomes_usual, .serial = true)
{
    struct ouro__trial trial;
    begin(&trial);
    ck_assert(!ouro__trial_way(&trial));
    must_become_usual(&trial, 20000, 10000);
}

OURO_TEST_UNIT(the_dearer_way_is_tried_seldom, .serial = true)
{
    struct ouro__trial trial;
    begin(&trial);
    int second = run(&trial, 30, 10000, 20000);
    ck_assert_int_ge(second, 1);
    ck_assert_int_le(second, 8); /* a noisy measurement is followed by other trials */
}

OURO_TEST_UNIT(other_work_is_tried_anew, .serial = true)
{
    struct ouro__trial trial;
    begin(&trial);
    (void)run(&trial, 10, 10000, 40000);
    must_become_usual(&trial, 80000, 20000);
}
