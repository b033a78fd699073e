/* SPDX-License-Identifier: MIT */
/*
 * Looking before sleeping: how long, when it is worth it, and how an unpark ends it.
 */
#include "registry/driver_bench.h"

#include <ouro/runtime.h>
#include <pthread.h>
#include <sched.h>

/* Waits without a driver. */
struct waits {
    struct ouro__busy_poll poll;
    struct ouro__unpark unpark;
    int64_t event_ns; /* when there is an event */
    uint64_t brought;
};

/* What a wait is like. */
struct kind {
    int64_t event_ns;   /* until there is an event */
    int64_t sleep_ns;   /* CPU time of a sleep */
    uint64_t per_sleep; /* events that a sleep brings; a look brings one */
};

static bool has_event(void *arg)
{
    return ouro_test_now_ns() >= ((struct waits *)arg)->event_ns;
}

static struct waits waits_of(uint32_t spin_us, enum ouro_dial dial)
{
    struct waits waits = {.event_ns = INT64_MAX};
    ouro__busy_poll_init(&waits.poll, spin_us, dial);
    if (dial == OURO_DIAL_BALANCED && spin_us == 0 && waits.poll.limit_ns == 0)
        ouro_test_skip("one processor: it never looks");
    return waits;
}

/* Waits whose cost decides. */
static struct waits waits_that_count(void)
{
    if (ouro_test_slowness() > 1)
        ouro_test_skip("CPU times say little here");
    return waits_of(0, OURO_DIAL_BALANCED);
}

static bool look(struct waits *waits)
{
    int64_t timeout_ns = -1;
    return ouro__busy_poll_is_wanted(&waits->poll, waits->brought) &&
           ouro__busy_poll(&waits->poll, &waits->unpark, has_event, waits, &timeout_ns);
}

static void wait_often(struct waits *waits, unsigned count, const struct kind *kind)
{
    for (unsigned i = 0; i < count; i++) {
        waits->event_ns = ouro_test_now_ns() + kind->event_ns;
        waits->unpark.state = OURO__UNPARK_SLEEPING;
        if (look(waits)) {
            waits->brought++;
            continue;
        }
        int64_t until_ns = ouro_test_cpu_ns() + kind->sleep_ns;
        while (ouro_test_cpu_ns() < until_ns)
            ouro__cpu_relax();
        waits->brought += kind->per_sleep;
    }
}

static uint64_t looks_of(const struct waits *waits)
{
    return ouro__counter_read(&waits->poll.looks);
}

static const struct kind dear_sleeps = {.event_ns = 3000, .sleep_ns = 100000, .per_sleep = 1};
static const struct kind nothing_comes = {.event_ns = OURO_TEST_SECOND, .sleep_ns = 5000};
enum { STRETCH = 128 };

OURO_TEST_UNIT(looking_that_never_finds_anything_stops, .serial = true)
{
    struct waits waits = waits_that_count();
    wait_often(&waits, 20 * STRETCH, &nothing_comes);
    ck_assert_uint_ge(looks_of(&waits), STRETCH); /* tried */
    ck_assert_uint_le(looks_of(&waits), 3 * STRETCH);
    ck_assert_uint_eq(ouro__counter_read(&waits.poll.found), 0);
    ck_assert_uint_le(ouro__counter_read(&waits.poll.looked_ns),
                      looks_of(&waits) * (uint64_t)waits.poll.limit_ns);
}

OURO_TEST_UNIT(looking_goes_on_where_a_sleep_is_dearer, .serial = true)
{
    struct waits waits = waits_that_count();
    wait_often(&waits, 20 * STRETCH, &dear_sleeps);
    const uint64_t found = ouro__counter_read(&waits.poll.found);
    ck_assert_uint_ge(found, 12 * STRETCH);
    /* What it saves is known after each stretch: nearly the sleep that was not needed. */
    ck_assert_uint_ge(ouro__counter_read(&waits.poll.saved_ns), found * 50000);
}

OURO_TEST_UNIT(looking_stops_where_a_sleep_is_cheaper, .serial = true)
{
    const struct kind cheap = {.event_ns = 30000, .sleep_ns = 3000, .per_sleep = 1};
    struct waits waits = waits_that_count();
    wait_often(&waits, 20 * STRETCH, &cheap);
    ck_assert_uint_ge(ouro__counter_read(&waits.poll.found), STRETCH / 2); /* what it was for */
    ck_assert_uint_le(looks_of(&waits), 3 * STRETCH);
}

OURO_TEST_UNIT(looking_stops_where_a_sleep_brings_many_events, .serial = true)
{
    const struct kind groups = {.event_ns = 20000, .sleep_ns = 60000, .per_sleep = 16};
    struct waits waits = waits_that_count();
    wait_often(&waits, 20 * STRETCH, &groups);
    ck_assert_uint_le(looks_of(&waits), 3 * STRETCH);
}

OURO_TEST_UNIT(looking_begins_when_the_work_has_changed, .serial = true)
{
    struct waits waits = waits_that_count();
    wait_often(&waits, 10 * STRETCH, &nothing_comes);
    const uint64_t looks = looks_of(&waits);
    ck_assert_uint_le(looks, 3 * STRETCH);
    wait_often(&waits, 10 * STRETCH, &dear_sleeps);
    ck_assert_uint_ge(looks_of(&waits), looks + (5 * STRETCH));
}

OURO_TEST_UNIT(looking_ends_when_the_work_has_changed, .serial = true)
{
    struct waits waits = waits_that_count();
    wait_often(&waits, 10 * STRETCH, &dear_sleeps);
    const uint64_t looks = looks_of(&waits);
    ck_assert_uint_ge(looks, 5 * STRETCH);
    wait_often(&waits, 20 * STRETCH, &nothing_comes);
    ck_assert_uint_le(looks_of(&waits), looks + (8 * STRETCH));
}

OURO_TEST_UNIT(the_dial_chooses_the_limit)
{
    struct waits balanced = waits_of(0, OURO_DIAL_BALANCED);
    struct waits throughput = waits_of(0, OURO_DIAL_THROUGHPUT);
    struct waits latency = waits_of(0, OURO_DIAL_LATENCY);
    struct waits never = waits_of(UINT32_MAX, OURO_DIAL_LATENCY);
    struct waits named = waits_of(7, OURO_DIAL_THROUGHPUT);
    ck_assert_int_eq(balanced.poll.limit_ns, 50000);
    ck_assert(!balanced.poll.is_forced);
    ck_assert_int_eq(throughput.poll.limit_ns, 0);
    ck_assert_int_eq(latency.poll.limit_ns, 200000);
    ck_assert(latency.poll.is_forced);
    ck_assert_int_eq(never.poll.limit_ns, 0);
    ck_assert_int_eq(named.poll.limit_ns, 7000);
    wait_often(&latency, 100, &nothing_comes);
    ck_assert_uint_eq(looks_of(&latency), 100);
}

/* Sooner or later: on a busy machine what a sleep costs seems to change, and then it tries again.
 */
OURO_TEST(an_idle_owner_stops_looking, .serial = true)
{
    enum { STRETCHES_MAX = 100, QUIET = 3 };
    struct bench bench;
    int quiet = 0;
    bench_init(&bench);
    bench.config.spin_us = 0;
    ck_assert_int_eq(ouro__driver_open(&bench.handle, &bench.config), 0);
    for (int stretch = 0; stretch < STRETCHES_MAX && quiet < QUIET; stretch++) {
        uint64_t before = ouro__counter_read(&bench.handle.busy_poll.looks);
        for (int i = 0; i < STRETCH; i++)
            bench_turn(&bench, OURO_TEST_MS / 10);
        quiet = ouro__counter_read(&bench.handle.busy_poll.looks) == before ? quiet + 1 : 0;
    }
    ck_assert_int_eq(quiet, QUIET);
    bench_close(&bench);
}

OURO_TEST(looking_can_be_switched_off)
{
    struct bench bench;
    bench_open(&bench); /* spin_us is UINT32_MAX */
    for (int i = 0; i < 10; i++)
        bench_turn(&bench, OURO_TEST_MS);
    ck_assert_uint_eq(ouro__counter_read(&bench.handle.busy_poll.looks), 0);
    bench_close(&bench);
}

OURO_TEST(a_look_is_bounded, .serial = true)
{
    struct bench bench;
    bench_init(&bench);
    bench.config.spin_us = 20000;
    ck_assert_int_eq(ouro__driver_open(&bench.handle, &bench.config), 0);
    int64_t cpu_ns = ouro_test_cpu_ns();
    int64_t begun_ns = ouro_test_now_ns();
    bench_turn(&bench, 500 * OURO_TEST_MS);
    ck_assert_int_ge(ouro_test_now_ns() - begun_ns, 499 * OURO_TEST_MS);
    ck_assert_uint_eq(ouro__counter_read(&bench.handle.busy_poll.looks), 1);
    ck_assert_uint_eq(ouro__counter_read(&bench.handle.busy_poll.found), 0);
    ck_assert_int_lt(ouro_test_cpu_ns() - cpu_ns, 200 * OURO_TEST_MS);
    bench_close(&bench);
}

OURO_TEST(a_look_keeps_to_the_timeout, .serial = true)
{
    struct bench bench;
    bench_init(&bench);
    bench.config.spin_us = 20 * 1000 * 1000;
    ck_assert_int_eq(ouro__driver_open(&bench.handle, &bench.config), 0);
    int64_t begun_ns = ouro_test_now_ns();
    bench_turn(&bench, OURO_TEST_MS);
    ck_assert_int_lt(ouro_test_now_ns() - begun_ns, 5 * OURO_TEST_SECOND);
    bench_close(&bench);
}

enum { UNPARKS = 200 };

/* Unparks the owner each time it has begun to look. */
static void *unpark_lookers(void *arg)
{
    struct bench *bench = arg;
    const struct ouro__counter *looks = &bench->handle.busy_poll.looks;
    for (unsigned i = 0; i < UNPARKS; i++) {
        while (ouro__counter_read(looks) <= i)
            sched_yield();
        ouro__driver_unpark(&bench->handle);
    }
    return NULL;
}

/* Who looks is awake: to unpark it is a store, not a system call. */
OURO_TEST(unparking_an_owner_that_looks_costs_no_call)
{
    struct bench bench;
    pthread_t thread;
    bench_init(&bench);
    bench.config.spin_us = 5000000;
    ck_assert_int_eq(ouro__driver_open(&bench.handle, &bench.config), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, unpark_lookers, &bench), 0);
    for (unsigned i = 0; i < UNPARKS; i++)
        bench_turn(&bench, -1);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_uint_eq(bench_metrics(&bench).unparks, 0);
    ck_assert_uint_eq(ouro__counter_read(&bench.handle.busy_poll.found), UNPARKS);
    bench_close(&bench);
}

enum { RACES = 20000 };

/* Unparks at about the moment when the owner gives up looking and goes to sleep. */
static void *unpark_at_the_end(void *arg)
{
    struct bench *bench = arg;
    const struct ouro__counter *looks = &bench->handle.busy_poll.looks;
    for (unsigned i = 0; i < RACES; i++) {
        while (ouro__counter_read(looks) <= i)
            ouro__cpu_relax();
        int64_t until_ns = ouro_test_now_ns() + (i * 37) % 30000;
        while (ouro_test_now_ns() < until_ns)
            ouro__cpu_relax();
        ouro__driver_unpark(&bench->handle);
    }
    return NULL;
}

OURO_TEST(unpark_between_looking_and_sleeping_is_seen, .timeout_s = 30)
{
    struct bench bench;
    pthread_t thread;
    bench_init(&bench);
    bench.config.spin_us = 20;
    ck_assert_int_eq(ouro__driver_open(&bench.handle, &bench.config), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, unpark_at_the_end, &bench), 0);
    for (unsigned i = 0; i < RACES;) {
        bench_turn(&bench, -1); /* a late read of the wake descriptor may end one without looking */
        i = (unsigned)ouro__counter_read(&bench.handle.busy_poll.looks);
    }
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    bench_close(&bench);
}
