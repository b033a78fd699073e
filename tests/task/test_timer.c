/* SPDX-License-Identifier: MIT */
/*
 * The timer wheel against a list that is searched from end to end: same timers, same times.
 *
 * Owns:    nothing.
 * Threads: one.
 * Always:  no timer fires early, twice, or more than a tick late.
 */
#include "support/ouro_test.h"

#include "task/timer.h"

#include <stdlib.h>

#define MS OURO__TIMER_TICK_NS

struct probe {
    struct ouro__timer timer;
    int64_t when_ns;
    int64_t fired_ns; /* -1: not yet */
    bool unset;
};

static int64_t now_ns;

static void fire(struct ouro__timer *timer)
{
    struct probe *probe = OURO__CONTAINER_OF(timer, struct probe, timer);
    ck_assert_int_eq(probe->fired_ns, -1);
    ck_assert(!probe->unset);
    probe->fired_ns = now_ns;
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* A delay on every level of the wheel. */
static int64_t random_delay_ns(uint64_t *state)
{
    unsigned bits = (unsigned)(next_random(state) % 40);
    return (int64_t)(next_random(state) & ((UINT64_C(1) << bits) - 1)) * (MS / 8);
}

static void check_all(struct probe *probes, size_t count, int64_t before_ns)
{
    for (size_t i = 0; i < count; i++) {
        struct probe *probe = &probes[i];
        if (probe->unset)
            continue;
        if (probe->fired_ns >= 0)
            ck_assert_int_ge(probe->fired_ns, probe->when_ns);
        /* Two ticks: the rounding up of its time, and the step of the clock here. */
        else
            ck_assert_int_gt(probe->when_ns + 2 * MS, before_ns);
    }
}

OURO_TEST_UNIT(fires_in_time_on_every_level)
{
    enum { COUNT = 2000, STEPS = 4000 };
    static struct ouro__timer_wheel wheel;
    struct probe *probes = calloc(COUNT, sizeof(*probes));
    uint64_t state = 88172645463325252u;
    now_ns = 123456789;
    ouro__timer_wheel_init(&wheel, now_ns);
    for (size_t i = 0; i < COUNT; i++) {
        probes[i].when_ns = now_ns + random_delay_ns(&state);
        probes[i].fired_ns = -1;
        ouro__timer_init(&probes[i].timer, fire);
        ouro__timer_set(&wheel, &probes[i].timer, probes[i].when_ns);
    }
    for (size_t i = 0; i < COUNT; i += 7) {
        ouro__timer_unset(&wheel, &probes[i].timer);
        ouro__timer_unset(&wheel, &probes[i].timer);
        probes[i].unset = true;
    }
    for (int step = 0; step < STEPS && wheel.count > 0; step++) {
        int64_t next_ns = ouro__timer_wheel_next_ns(&wheel);
        now_ns = step % 3 == 0 ? next_ns : now_ns + random_delay_ns(&state);
        if (now_ns < next_ns)
            ck_assert_uint_eq(ouro__timer_wheel_advance(&wheel, now_ns), 0);
        else
            ouro__timer_wheel_advance(&wheel, now_ns);
        check_all(probes, COUNT, now_ns);
    }
    now_ns = INT64_MAX / 2;
    ouro__timer_wheel_advance(&wheel, now_ns);
    check_all(probes, COUNT, now_ns);
    ck_assert_uint_eq(wheel.count, 0);
    ck_assert_int_eq(ouro__timer_wheel_next_ns(&wheel), OURO__NEVER);
    free(probes);
}

OURO_TEST_UNIT(never_and_the_past_are_times_too)
{
    static struct ouro__timer_wheel wheel;
    struct probe never = {.when_ns = INT64_MAX, .fired_ns = -1};
    struct probe past = {.when_ns = -5, .fired_ns = -1};
    now_ns = 1000 * MS;
    ouro__timer_wheel_init(&wheel, now_ns);
    ouro__timer_init(&never.timer, fire);
    ouro__timer_init(&past.timer, fire);
    ouro__timer_set(&wheel, &never.timer, never.when_ns);
    ouro__timer_set(&wheel, &past.timer, past.when_ns);
    now_ns += 2 * MS;
    ouro__timer_wheel_advance(&wheel, now_ns);
    ck_assert_int_eq(past.fired_ns, now_ns);
    ck_assert_int_eq(never.fired_ns, -1);
    ck_assert_uint_eq(wheel.count, 1);
    ouro__timer_unset(&wheel, &never.timer);
    ck_assert_uint_eq(wheel.count, 0);
}

static struct ouro__timer_wheel again_wheel;
static unsigned again_count;

static void set_again(struct ouro__timer *timer)
{
    if (++again_count < 5)
        ouro__timer_set(&again_wheel, timer, now_ns + MS);
}

OURO_TEST_UNIT(a_timer_may_be_set_again_as_it_fires)
{
    struct ouro__timer timer;
    now_ns = 0;
    again_count = 0;
    ouro__timer_wheel_init(&again_wheel, now_ns);
    ouro__timer_init(&timer, set_again);
    ouro__timer_set(&again_wheel, &timer, MS);
    for (int i = 0; i < 100; i++) {
        now_ns += MS;
        ouro__timer_wheel_advance(&again_wheel, now_ns);
    }
    ck_assert_uint_eq(again_count, 5);
    ck_assert(!ouro__timer_is_set(&timer));
}
