/* SPDX-License-Identifier: MIT */
/*
 * Calls that other threads and other runtimes begin while a runtime shuts down.  Each round starts
 * some threads that call one function again and again, and shuts the runtime down among them.
 *
 * Owns:    nothing.
 * Threads: the test's, the callers', and the runtimes'.
 * Always:  shutdown ends long before its grace; a call either has its effect or fails.
 */
#include "support/ouro_test.h"
#include "support/runtime.h"

#include <errno.h>
#include <ouro.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CALLERS = 2, ROUNDS = 40 };
#define GRACE_NS (20 * OURO_SECOND)
#define LIMIT_NS (10 * OURO_SECOND)

static const enum ouro_flavour flavours[] = {OURO_FLAVOUR_CURRENT_THREAD,
                                             OURO_FLAVOUR_MULTI_THREAD};

/* What the callers of a round share. */
struct round {
    struct ouro_handle *handle;
    void (*call)(struct round *round); /* until it has seen the shutdown */
    bool enters;                       /* the thread enters the runtime first */
    _Atomic int ready;
    _Atomic int accepted; /* spawns that returned 0 */
    _Atomic int ran;      /* tasks of theirs that ran */
    _Atomic int is_down;  /* shutdown has returned */
};

static bool is_down(void *arg)
{
    return atomic_load(&((struct round *)arg)->is_down) != 0;
}

/* What the caller still holds must not keep the shutdown from its end. */
static void keeps_until_down(struct round *round)
{
    ck_assert(ouro_test_until(is_down, round, GRACE_NS + LIMIT_NS));
}

static void *caller(void *arg)
{
    struct round *round = arg;
    if (round->enters)
        ck_assert_int_eq(ouro_enter(round->handle), 0);
    atomic_fetch_add(&round->ready, 1);
    round->call(round);
    if (round->enters)
        ouro_leave();
    return NULL;
}

static bool all_ready(void *arg)
{
    return atomic_load(&((struct round *)arg)->ready) == CALLERS;
}

static int waits_for_callers(void *arg)
{
    while (!all_ready(arg))
        ck_assert_int_eq(ouro_yield(), 0);
    return 0;
}

/* The calls go on for about @busy yields before the shutdown begins: each round differs. */
static int is_busy(void *arg)
{
    for (int i = *(int *)arg; i > 0; i--)
        ck_assert_int_eq(ouro_yield(), 0);
    return 0;
}

/* The flavours in turn, with and without a driver thread for what plain threads do. */
static struct ouro_runtime *runtime_of_round(int number)
{
    struct ouro_runtime_config config = ouro_test_config(flavours[number % 2]);
    config.driver_threads = number / 2 % 2 == 0 ? 0 : 1;
    return ouro_test_runtime_with(&config);
}

static void one_round(struct ouro_runtime *runtime, struct round *round, int busy)
{
    pthread_t thread[CALLERS];
    round->handle = ouro_runtime_handle(runtime);
    atomic_store(&round->ready, 0);
    atomic_store(&round->is_down, 0);
    for (int i = 0; i < CALLERS; i++)
        ck_assert_int_eq(pthread_create(&thread[i], NULL, caller, round), 0);
    /* A current-thread runtime serves the callers only while its thread is inside. */
    ck_assert_int_eq(ouro_runtime_block_on(runtime, waits_for_callers, round, NULL), 0);
    ck_assert_int_eq(ouro_runtime_block_on(runtime, is_busy, &busy, NULL), 0);
    int64_t before_ns = ouro_now_ns();
    ck_assert_int_eq(ouro_runtime_shutdown(runtime, GRACE_NS), 0);
    ck_assert_int_lt(ouro_now_ns() - before_ns, LIMIT_NS);
    atomic_store(&round->is_down, 1);
    for (int i = 0; i < CALLERS; i++)
        ck_assert_int_eq(pthread_join(thread[i], NULL), 0);
    ck_assert_int_eq(atomic_load(&round->ran), atomic_load(&round->accepted));
    ouro_runtime_free(runtime);
    ouro_handle_unref(round->handle);
}

static void race(void (*call)(struct round *round), bool enters)
{
    struct round round = {.call = call, .enters = enters};
    int rounds = ROUNDS / (int)ouro_test_slowness();
    for (int i = 0; i < rounds + 2; i++)
        one_round(runtime_of_round(i), &round, i * 7 % 50);
}

static int runs(void *arg)
{
    struct round *round = arg;
    atomic_fetch_add(&round->ran, 1);
    return 0;
}

static void spawns(struct round *round)
{
    int rc = 0;
    while (rc == 0) {
        rc = ouro_task_spawn_with(round->handle, NULL, runs, round, NULL);
        if (rc == 0)
            atomic_fetch_add(&round->accepted, 1);
        /* The worker keeps up, or a round would take as long as its queue is. */
        while (atomic_load(&round->accepted) > atomic_load(&round->ran) + 100)
            (void)sched_yield();
    }
    ck_assert_int_eq(rc, -OURO_ESHUTDOWN);
}

OURO_TEST(a_spawn_during_shutdown_runs_or_fails)
{
    race(spawns, false);
}

OURO_TEST_UNIT(a_spawn_during_the_shutdown_of_a_runtime_without_io_runs_or_fails)
{
    struct round round = {.call = spawns};
    for (int i = 0; i < ROUNDS; i++) {
        struct ouro_runtime_config config = OURO_RUNTIME_CONFIG_INIT;
        config.flavour = flavours[i % 2];
        config.driver = OURO_DRIVER_NONE;
        config.workers = i % 2 == 0 ? 1 : 2;
        one_round(ouro_test_runtime_with(&config), &round, i * 7 % 50);
    }
}

static int spawns_into_another(void *arg)
{
    struct round *round = arg;
    for (;;) {
        struct ouro_task *task = NULL;
        int result = -1;
        int rc = ouro_task_spawn_with(round->handle, NULL, runs, round, &task);
        if (rc < 0)
            return rc;
        atomic_fetch_add(&round->accepted, 1);
        ck_assert_int_eq(ouro_task_join(task, &result), 0);
        ck_assert_int_eq(result, 0);
    }
}

/* Joins and releases go from this runtime to the one that ends, wakes the other way. */
static void spawns_from_another_runtime(struct round *round)
{
    struct ouro_runtime *runtime = ouro_test_runtime_new(OURO_FLAVOUR_CURRENT_THREAD);
    int result = 0;
    ck_assert_int_eq(ouro_runtime_block_on(runtime, spawns_into_another, round, &result), 0);
    ck_assert_int_eq(result, -OURO_ESHUTDOWN);
    ouro_runtime_free(runtime);
}

OURO_TEST(a_task_of_another_runtime_spawns_and_joins_during_shutdown)
{
    race(spawns_from_another_runtime, false);
}

/* As spawns(), and joins each, so that releases are under way as well. */
static void spawns_and_joins(struct round *round)
{
    for (;;) {
        struct ouro_task *task = NULL;
        int rc = ouro_task_spawn(runs, round, &task);
        if (rc < 0) {
            ck_assert_int_eq(rc, -OURO_ESHUTDOWN);
            return;
        }
        atomic_fetch_add(&round->accepted, 1);
        rc = ouro_task_join(task, NULL);
        ck_assert(rc == 0 || rc == -OURO_ESHUTDOWN);
        if (rc < 0)
            ouro_task_detach(task);
    }
}

OURO_TEST(a_spawn_and_its_join_during_shutdown)
{
    race(spawns_and_joins, true);
}

/* Whether this thread has been told of the shutdown. */
static bool is_told(void)
{
    int rc = ouro_yield();
    ck_assert(rc == 0 || rc == -OURO_ESHUTDOWN);
    return rc < 0;
}

static void registers(struct round *round)
{
    int ends[2];
    (void)round;
    ck_assert_int_eq(pipe(ends), 0);
    for (bool told = false; !told;) {
        struct ouro_poll_evented *io = NULL;
        told = is_told();
        int rc = ouro_poll_evented_new(ends[0], OURO_READABLE, &io);
        ck_assert_int_eq(told && rc != -OURO_ESHUTDOWN, 0);
        ck_assert(rc == 0 || rc == -OURO_ESHUTDOWN);
        ouro_poll_evented_free(io);
    }
    (void)close(ends[0]);
    (void)close(ends[1]);
}

OURO_TEST(a_registration_after_the_shutdown_was_told_fails)
{
    race(registers, true);
}

/* Registers, waits a moment, and again; the last registration is kept. */
static void waits_for_readiness(struct round *round)
{
    struct ouro_poll_evented *io = NULL;
    int ends[2];
    int rc = 0;
    ck_assert_int_eq(pipe(ends), 0);
    while (rc != -OURO_ESHUTDOWN) {
        struct ouro_deadline deadline;
        struct ouro_ready_event event;
        ouro_poll_evented_free(io);
        io = NULL;
        rc = ouro_poll_evented_new(ends[0], OURO_READABLE, &io);
        if (rc < 0)
            break;
        ck_assert_int_eq(ouro_deadline_begin(&deadline, 20 * OURO_MICROSECOND), 0);
        rc = ouro_poll_evented_ready(io, OURO_READABLE, &event);
        ouro_deadline_end(&deadline);
        ck_assert(rc == -ETIMEDOUT || rc == -OURO_ESHUTDOWN);
    }
    ck_assert_int_eq(rc, -OURO_ESHUTDOWN);
    keeps_until_down(round);
    ouro_poll_evented_free(io);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

OURO_TEST(a_wait_for_readiness_that_begins_during_shutdown_ends)
{
    race(waits_for_readiness, true);
}

/* A stream on which nothing arrives, and its peer; NULL when it comes too late. */
static struct ouro_stream *silent(int *out_peer)
{
    struct ouro_stream *stream = NULL;
    int pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    int rc = ouro_stream_from_fd(pair[0], &stream);
    ck_assert(rc == 0 || rc == -OURO_ESHUTDOWN);
    if (rc < 0)
        (void)close(pair[0]);
    *out_peer = pair[1];
    return stream;
}

/* Reads for a moment, and again, until it is told of a shutdown. */
static int reads_until_told(struct ouro_stream *stream)
{
    ssize_t n = 0;
    char byte;
    while (n != -OURO_ESHUTDOWN) {
        struct ouro_deadline deadline;
        ck_assert_int_eq(ouro_deadline_begin(&deadline, 20 * OURO_MICROSECOND), 0);
        n = ouro_stream_read(stream, &byte, 1);
        ouro_deadline_end(&deadline);
        ck_assert_msg(n == -ETIMEDOUT || n == -OURO_ESHUTDOWN, "read says %d", (int)n);
    }
    return 0;
}

static void reads(struct round *round)
{
    int peer = -1;
    struct ouro_stream *stream = silent(&peer);
    if (stream != NULL)
        ck_assert_int_eq(reads_until_told(stream), 0);
    keeps_until_down(round);
    if (stream != NULL)
        ck_assert_int_eq(ouro_stream_close(stream), 0);
    (void)close(peer);
}

OURO_TEST(an_operation_that_begins_during_shutdown_ends)
{
    race(reads, true);
}

/* A task of another runtime that uses a stream of this one. */
struct stranger {
    struct ouro_stream *stream;
    struct ouro_runtime *runtime;
    bool waits; /* in one read without a deadline */
    _Atomic int is_reading;
};

static int reads_a_foreign_stream(void *arg)
{
    struct stranger *stranger = arg;
    char byte;
    atomic_store(&stranger->is_reading, 1);
    if (stranger->waits)
        ck_assert_int_eq((int)ouro_stream_read(stranger->stream, &byte, 1), -OURO_ESHUTDOWN);
    else
        ck_assert_int_eq(reads_until_told(stranger->stream), 0);
    ck_assert_int_eq((int)ouro_stream_read(stranger->stream, &byte, 1), -OURO_ESHUTDOWN);
    ck_assert_int_eq((int)ouro_stream_write(stranger->stream, "x", 1), -OURO_ESHUTDOWN);
    return ouro_yield(); /* its own runtime is not shut down */
}

static void *stranger_thread(void *arg)
{
    struct stranger *stranger = arg;
    int result = -1;
    stranger->runtime = ouro_test_runtime_new(OURO_FLAVOUR_CURRENT_THREAD);
    ck_assert_int_eq(
        ouro_runtime_block_on(stranger->runtime, reads_a_foreign_stream, stranger, &result), 0);
    ck_assert_int_eq(result, 0);
    ouro_runtime_free(stranger->runtime);
    return NULL;
}

struct host {
    struct stranger stranger;
    int peer;
    int busy;
};

static int hosts(void *arg)
{
    struct host *host = arg;
    host->stranger.stream = silent(&host->peer);
    return 0;
}

static int until_the_stranger_reads(void *arg)
{
    struct host *host = arg;
    while (atomic_load(&host->stranger.is_reading) == 0)
        ck_assert_int_eq(ouro_yield(), 0);
    for (int i = host->busy; i > 0; i--)
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
    return 0;
}

static void shut_down_a_host(enum ouro_flavour flavour, bool waits, int busy)
{
    struct ouro_runtime *runtime = ouro_test_runtime_new(flavour);
    struct host host = {.stranger.waits = waits, .busy = busy};
    pthread_t thread;
    ck_assert_int_eq(ouro_runtime_block_on(runtime, hosts, &host, NULL), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, stranger_thread, &host.stranger), 0);
    ck_assert_int_eq(ouro_runtime_block_on(runtime, until_the_stranger_reads, &host, NULL), 0);
    int64_t before_ns = ouro_now_ns();
    ck_assert_int_eq(ouro_runtime_shutdown(runtime, GRACE_NS), 0);
    ck_assert_int_lt(ouro_now_ns() - before_ns, LIMIT_NS);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(ouro_stream_close(host.stranger.stream), 0);
    (void)close(host.peer);
    ouro_runtime_free(runtime);
}

OURO_TEST(a_task_of_another_runtime_is_told_of_the_shutdown)
{
    for (int i = 0; i < 20; i++)
        shut_down_a_host(flavours[i % 2], i / 2 % 2 == 0, i % 5);
}

static void *reads_until_shutdown(void *arg)
{
    struct stranger *stranger = arg;
    struct ouro_handle *handle = ouro_runtime_handle(stranger->runtime);
    char byte;
    ck_assert_int_eq(ouro_enter(handle), 0);
    ck_assert_int_eq((int)ouro_stream_read(stranger->stream, &byte, 1), -OURO_ESHUTDOWN);
    ouro_leave();
    ouro_handle_unref(handle);
    return NULL;
}

/* The reader may still be on its way out of its call: the close waits for that, on a thread that
 * runs its worker no more. */
OURO_TEST(an_own_thread_closes_a_stream_right_after_the_shutdown)
{
    for (int i = 0; i < 20; i++) {
        struct stranger stranger = {.runtime = ouro_test_runtime_new(OURO_FLAVOUR_CURRENT_THREAD)};
        struct ouro_handle *handle = ouro_runtime_handle(stranger.runtime);
        int peer = -1;
        pthread_t thread;
        ck_assert_int_eq(ouro_enter(handle), 0);
        stranger.stream = silent(&peer);
        ck_assert_int_eq(pthread_create(&thread, NULL, reads_until_shutdown, &stranger), 0);
        /* Its read is in flight: a stream may not be closed before a call has reached it. */
        struct ouro_io_driver_metrics metrics = {.submitted = 0};
        while (metrics.submitted == 0) {
            ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND / 10), 0);
            ck_assert_int_eq(ouro_handle_metrics(handle, &metrics), 0);
        }
        ck_assert_int_eq(ouro_runtime_shutdown(stranger.runtime, GRACE_NS), 0);
        ck_assert_int_eq(ouro_stream_close(stranger.stream), 0);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
        ouro_leave();
        ouro_runtime_free(stranger.runtime);
        ouro_handle_unref(handle);
        (void)close(peer);
    }
}

static void *wakes_later(void *arg)
{
    struct ouro_waker *waker = arg;
    ouro_waker_wake(waker);
    return NULL;
}

struct late_wake {
    struct ouro_waker waker;
    bool is_stored;
    pthread_t thread;
};

/* Pending once; then another thread wakes. */
static enum ouro_poll stores_the_waker(void *arg, const struct ouro_waker *waker)
{
    struct late_wake *late = arg;
    if (late->is_stored)
        return OURO_POLL_READY;
    late->is_stored = true;
    late->waker = ouro_waker_clone(waker);
    ck_assert_int_eq(pthread_create(&late->thread, NULL, wakes_later, &late->waker), 0);
    return OURO_POLL_PENDING;
}

OURO_TEST(an_own_thread_waits_under_a_shield_after_the_shutdown)
{
    struct ouro_runtime *runtime = ouro_test_runtime_new(OURO_FLAVOUR_CURRENT_THREAD);
    struct ouro_handle *handle = ouro_runtime_handle(runtime);
    struct ouro_shield shield;
    struct late_wake late = {.is_stored = false};
    ck_assert_int_eq(ouro_enter(handle), 0);
    ck_assert_int_eq(ouro_shield_begin(&shield), 0);
    ck_assert_int_eq(ouro_runtime_shutdown(runtime, GRACE_NS), 0);
    ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
    ck_assert_int_eq(ouro_poll_fn(stores_the_waker, &late), 0);
    ck_assert_int_eq(pthread_join(late.thread, NULL), 0);
    ouro_waker_drop(&late.waker);
    ouro_runtime_free(runtime);
    ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), -OURO_ESHUTDOWN);
    ouro_shield_end(&shield);
    ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), -OURO_ESHUTDOWN);
    ouro_leave();
    ouro_handle_unref(handle);
}
