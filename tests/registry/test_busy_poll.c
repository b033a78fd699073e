/* SPDX-License-Identifier: MIT */
/*
 * Looking before sleeping: how long, when it is worth it, and how an unpark ends it.
 */
#include "registry/driver_bench.h"

#include <ouro/runtime.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>

static int64_t cpu_now_ns(void)
{
    struct timespec now;
    ck_assert_int_eq(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now), 0);
    return now.tv_sec * OURO_TEST_SECOND + now.tv_nsec;
}

/* An account without a driver. */
struct account {
    struct ouro__busy_poll poll;
    struct ouro__unpark unpark;
    int64_t event_ns; /* when there is an event */
};

static bool has_event(void *arg)
{
    return ouro_test_now_ns() >= ((struct account *)arg)->event_ns;
}

static struct account account(uint32_t spin_us, enum ouro_dial dial)
{
    struct account account = {.event_ns = INT64_MAX};
    ouro__busy_poll_init(&account.poll, spin_us, dial);
    if (dial == OURO_DIAL_BALANCED && spin_us == 0 && account.poll.limit_ns == 0)
        ouro_test_skip("one processor: it never looks");
    return account;
}

/* One wait.  An event comes @wait_ns after its beginning, and a sleep costs @sleep_ns.  True: it
 * was found by looking. */
static bool wait_once(struct account *account, int64_t wait_ns, int64_t sleep_ns)
{
    int64_t timeout_ns = -1;
    account->event_ns = ouro_test_now_ns() + wait_ns;
    account->unpark.state = OURO__UNPARK_SLEEPING;
    if (ouro__busy_poll_is_wanted(&account->poll) &&
        ouro__busy_poll(&account->poll, &account->unpark, has_event, account, &timeout_ns))
        return true;
    ouro__busy_poll_sleeps(&account->poll);
    int64_t until_ns = cpu_now_ns() + sleep_ns;
    while (cpu_now_ns() < until_ns)
        ouro__cpu_relax();
    ouro__busy_poll_slept(&account->poll);
    return false;
}

static uint64_t looks_of(const struct account *account)
{
    return ouro__counter_read(&account->poll.looks);
}

OURO_TEST_UNIT(looking_that_never_finds_anything_stops, .serial = true)
{
    struct account idle = account(0, OURO_DIAL_BALANCED);
    for (int i = 0; i < 500; i++)
        ck_assert(!wait_once(&idle, OURO_TEST_SECOND, 1000));
    /* One on credit; the loop itself is the work that pays for some more. */
    ck_assert_uint_le(looks_of(&idle), 20);
    ck_assert_int_le((int64_t)ouro__counter_read(&idle.poll.looked_ns),
                     20 * idle.poll.limit_ns + 10 * OURO_TEST_MS);
    ck_assert_uint_eq(ouro__counter_read(&idle.poll.found), 0);
}

OURO_TEST_UNIT(looking_goes_on_where_a_sleep_is_dearer, .serial = true)
{
    struct account busy = account(0, OURO_DIAL_BALANCED);
    ck_assert(!wait_once(&busy, OURO_TEST_SECOND, 300000)); /* measured */
    ck_assert_int_ge(busy.poll.sleep_cost_ns, 300000);
    unsigned found = 0;
    busy.poll.balance_ns = 0;
    for (int i = 0; i < 200; i++)
        found += wait_once(&busy, 5000, 300000);
    ck_assert_uint_ge(found, 150);
    ck_assert_uint_eq(found, ouro__counter_read(&busy.poll.found));
    ck_assert_uint_eq(ouro__counter_read(&busy.poll.saved_ns) / found > 100000, 1);
    ck_assert_int_le(busy.poll.balance_ns, 4 * busy.poll.limit_ns); /* going idle shows soon */
}

OURO_TEST_UNIT(looking_stops_where_a_sleep_is_cheaper, .serial = true)
{
    struct account cheap = account(0, OURO_DIAL_BALANCED);
    for (int i = 0; i < 500; i++)
        (void)wait_once(&cheap, 30000, 1000);
    /* Each look finds the event, and costs 30 us for a sleep of 1 us or so. */
    ck_assert_uint_le(looks_of(&cheap), 60);
}

OURO_TEST_UNIT(what_a_sleep_costs_is_measured_again, .serial = true)
{
    struct account account_ = account(0, OURO_DIAL_BALANCED);
    ck_assert(!wait_once(&account_, OURO_TEST_SECOND, 1000));
    int64_t first_ns = account_.poll.sleep_cost_ns;
    ck_assert_int_gt(first_ns, 0);
    account_.poll.balance_ns = -OURO_TEST_SECOND; /* no look is paid for */
    uint64_t looks = looks_of(&account_);
    for (int i = 0; i < 200; i++)
        ck_assert(!wait_once(&account_, OURO_TEST_SECOND, 400000));
    ck_assert_uint_eq(looks_of(&account_), looks);
    ck_assert_int_ge(account_.poll.sleep_cost_ns, 200000);
}

OURO_TEST_UNIT(the_dial_chooses_the_limit)
{
    struct account balanced = account(0, OURO_DIAL_BALANCED);
    struct account throughput = account(0, OURO_DIAL_THROUGHPUT);
    struct account latency = account(0, OURO_DIAL_LATENCY);
    struct account never = account(UINT32_MAX, OURO_DIAL_LATENCY);
    struct account named = account(7, OURO_DIAL_THROUGHPUT);
    ck_assert_int_eq(balanced.poll.limit_ns, 50000);
    ck_assert(!balanced.poll.is_forced);
    ck_assert_int_eq(throughput.poll.limit_ns, 0);
    ck_assert_int_eq(latency.poll.limit_ns, 200000);
    ck_assert(latency.poll.is_forced);
    ck_assert_int_eq(never.poll.limit_ns, 0);
    ck_assert_int_eq(named.poll.limit_ns, 7000);
    for (int i = 0; i < 100; i++)
        ck_assert(!wait_once(&latency, OURO_TEST_SECOND, 0));
    ck_assert_uint_eq(looks_of(&latency), 100);
}

OURO_TEST(an_idle_owner_stops_looking)
{
    struct bench bench;
    bench_init(&bench);
    bench.config.spin_us = 0;
    ck_assert_int_eq(ouro__driver_open(&bench.handle, &bench.config), 0);
    for (int i = 0; i < 50; i++)
        bench_turn(&bench, OURO_TEST_MS);
    ck_assert_uint_le(ouro__counter_read(&bench.handle.busy_poll.looks), 10);
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
    int64_t cpu_ns = cpu_now_ns();
    int64_t begun_ns = ouro_test_now_ns();
    bench_turn(&bench, 500 * OURO_TEST_MS);
    ck_assert_int_ge(ouro_test_now_ns() - begun_ns, 499 * OURO_TEST_MS);
    ck_assert_uint_eq(ouro__counter_read(&bench.handle.busy_poll.looks), 1);
    ck_assert_uint_eq(ouro__counter_read(&bench.handle.busy_poll.found), 0);
    ck_assert_int_lt(cpu_now_ns() - cpu_ns, 200 * OURO_TEST_MS);
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
