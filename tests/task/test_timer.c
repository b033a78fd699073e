/* SPDX-License-Identifier: MIT */
/*
 * The timer wheel, compared with a list of the same timers that is searched from end to end.
 *
 * Owns:    nothing.
 * Threads: one.
 * Always:  no timer fires early or twice; each fires as soon as the wheel is told that it is time.
 */
#include "support/ouro_test.h"

#include "task/timer.h"

#include <stdlib.h>

#define TICK_NS OURO__TIMER_TICK_NS
/* How late the wheel may ask to be called. */
#define LATE_MAX_NS ((1 + OURO__TIMER_SHARED_TICKS) * TICK_NS)

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

/* A delay on every level of the wheel, and beyond the last. */
static int64_t random_delay_ns(uint64_t *state)
{
    unsigned bits = (unsigned)(next_random(state) % 47);
    return (int64_t)(next_random(state) & ((UINT64_C(1) << bits) - 1)) * (TICK_NS / 8);
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
            ck_assert_int_gt(probe->when_ns + 2 * TICK_NS, before_ns);
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

OURO_TEST_UNIT(a_tick_is_fine_enough_and_the_wheel_reaches_far_enough)
{
    ck_assert_int_le(LATE_MAX_NS, 100 * OURO__NS_PER_US);
    const int64_t year_ns = 365 * 86400 * OURO__NS_PER_SEC;
    const int64_t horizon_ns =
        TICK_NS * ((INT64_C(1) << (6 * OURO__WHEEL_LEVELS)) - OURO__WHEEL_SLOTS);
    ck_assert_int_ge(horizon_ns, 2 * year_ns);
}

/* One far timer: the worker sleeps until then, whatever levels the timer would pass on the way. */
OURO_TEST_UNIT(a_lone_timer_needs_one_wake_up)
{
    static struct ouro__timer_wheel wheel;
    struct probe probe = {.fired_ns = -1};
    ouro__timer_init(&probe.timer, fire);
    for (int64_t delay_ns = 1; delay_ns < INT64_MAX / 4; delay_ns = delay_ns * 3 + 1) {
        now_ns = 987654321;
        ouro__timer_wheel_init(&wheel, now_ns);
        probe.when_ns = now_ns + delay_ns;
        probe.fired_ns = -1;
        ouro__timer_set(&wheel, &probe.timer, probe.when_ns);
        now_ns = ouro__timer_wheel_next_ns(&wheel);
        ck_assert_int_ge(now_ns, probe.when_ns);
        ck_assert_int_lt(now_ns - probe.when_ns, TICK_NS);
        ck_assert_uint_eq(ouro__timer_wheel_advance(&wheel, now_ns), 1);
        ck_assert_int_eq(probe.fired_ns, now_ns);
    }
}

/* Fires all of them as a worker would; returns how often it was woken. */
static unsigned run_wheel(struct ouro__timer_wheel *wheel, const struct probe *probe, size_t count)
{
    unsigned wake_ups = 0;
    while (wheel->count > 0) {
        int64_t next_ns = ouro__timer_wheel_next_ns(wheel);
        ck_assert_int_gt(next_ns, now_ns);
        now_ns = next_ns;
        ouro__timer_wheel_advance(wheel, now_ns);
        wake_ups++;
        for (size_t i = 0; i < count; i++)
            ck_assert_int_lt((probe[i].fired_ns >= 0 ? probe[i].fired_ns : now_ns) -
                                 probe[i].when_ns,
                             LATE_MAX_NS);
    }
    return wake_ups;
}

/* Timers @apart_ns from each other, an hour ahead: how many wake-ups they need. */
static unsigned wake_ups_of(unsigned count, int64_t apart_ns)
{
    enum { COUNT_MAX = 300 };
    static struct ouro__timer_wheel wheel;
    struct probe probe[COUNT_MAX];
    ck_assert_uint_le(count, COUNT_MAX);
    now_ns = 5;
    ouro__timer_wheel_init(&wheel, now_ns);
    for (unsigned i = 0; i < count; i++) {
        probe[i] =
            (struct probe){.when_ns = 3600 * OURO__NS_PER_SEC + i * apart_ns, .fired_ns = -1};
        ouro__timer_init(&probe[i].timer, fire);
        ouro__timer_set(&wheel, &probe[i].timer, probe[i].when_ns);
    }
    return run_wheel(&wheel, probe, count);
}

OURO_TEST_UNIT(timers_close_to_each_other_share_a_wake_up)
{
    const unsigned extra = 2 * OURO__WHEEL_LEVELS; /* to move crowded slots down, and their edges */
    ck_assert_uint_eq(wake_ups_of(1, 0), 1);
    ck_assert_uint_le(wake_ups_of(3, 8000), 2);
    ck_assert_uint_le(wake_ups_of(8, 8000), 2 + extra);
    ck_assert_uint_le(wake_ups_of(300, 1000), 300000 / LATE_MAX_NS + extra);
    ck_assert_uint_le(wake_ups_of(300, TICK_NS), 100 + 300 / 64 + extra);
    /* Far apart: each has its own, in time. */
    ck_assert_uint_le(wake_ups_of(50, 10 * TICK_NS), 50 + 50 * 10 / 64 + extra);
    ck_assert_uint_le(wake_ups_of(50, OURO__NS_PER_SEC), 50 + extra);
}

/* A timer beyond the horizon lies in the slot of now; it hides none that comes before it. */
OURO_TEST_UNIT(an_endless_timer_hides_no_other)
{
    static struct ouro__timer_wheel wheel;
    struct probe never = {.when_ns = INT64_MAX, .fired_ns = -1};
    struct probe far = {.when_ns = 300 * 86400 * OURO__NS_PER_SEC, .fired_ns = -1};
    now_ns = 1234567;
    ouro__timer_wheel_init(&wheel, now_ns);
    ouro__timer_init(&never.timer, fire);
    ouro__timer_init(&far.timer, fire);
    ouro__timer_set(&wheel, &never.timer, never.when_ns);
    ck_assert_int_eq(ouro__timer_wheel_next_ns(&wheel), OURO__NEVER);
    ouro__timer_set(&wheel, &far.timer, far.when_ns);
    now_ns = ouro__timer_wheel_next_ns(&wheel);
    ck_assert_int_ge(now_ns, far.when_ns);
    ck_assert_int_lt(now_ns - far.when_ns, TICK_NS);
    ck_assert_uint_eq(ouro__timer_wheel_advance(&wheel, now_ns), 1);
    ouro__timer_unset(&wheel, &never.timer);
}

OURO_TEST_UNIT(never_and_the_past_are_times_too)
{
    static struct ouro__timer_wheel wheel;
    struct probe never = {.when_ns = INT64_MAX, .fired_ns = -1};
    struct probe past = {.when_ns = -5, .fired_ns = -1};
    now_ns = 1000 * TICK_NS;
    ouro__timer_wheel_init(&wheel, now_ns);
    ouro__timer_init(&never.timer, fire);
    ouro__timer_init(&past.timer, fire);
    ouro__timer_set(&wheel, &never.timer, never.when_ns);
    ouro__timer_set(&wheel, &past.timer, past.when_ns);
    now_ns += 2 * TICK_NS;
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
        ouro__timer_set(&again_wheel, timer, now_ns + TICK_NS);
}

OURO_TEST_UNIT(a_timer_may_be_set_again_as_it_fires)
{
    struct ouro__timer timer;
    now_ns = 0;
    again_count = 0;
    ouro__timer_wheel_init(&again_wheel, now_ns);
    ouro__timer_init(&timer, set_again);
    ouro__timer_set(&again_wheel, &timer, TICK_NS);
    for (int i = 0; i < 100; i++) {
        now_ns += TICK_NS;
        ouro__timer_wheel_advance(&again_wheel, now_ns);
    }
    ck_assert_uint_eq(again_count, 5);
    ck_assert(!ouro__timer_is_set(&timer));
}
