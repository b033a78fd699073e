/* SPDX-License-Identifier: MIT */
/*
 * How relays end: half-closed in either order, by resets, by the idle time, by cancellation,
 * deadlines, closes and shutdowns; and what is counted then.
 */
#include "stream/relayed.h"

#include <errno.h>
#include <pthread.h>

#include "ouro/error.h"
#include "ouro/group.h"
#include "ouro/time.h"
#include "support/sockets.h"

static const enum ouro_stream_kind kinds[] = {OURO_STREAM_TCP, OURO_STREAM_UNIX};

/* A peer that reads to the end, and only then sends its answer and ends, too. */
struct answerer {
    struct flow in, out;
    pthread_t thread;
};

static void *answer(void *arg)
{
    struct answerer *answerer = arg;
    (void)flow_receive(&answerer->in);
    return flow_send(&answerer->out);
}

/* @arg: which of the two ends first. */
static int half_close(void *arg)
{
    const int asks = *(int *)arg;
    for (size_t kind = 0; kind < 2; kind++) {
        struct relayed relayed = relayed_open(kinds[kind], kinds[1 - kind]);
        struct ouro_relay_counts counts;
        struct flow question = {
            .fd = relayed.fd[asks], .seed = 1, .total = 300000, .piece_max = 50000};
        struct flow got = {.fd = relayed.fd[asks], .seed = 2, .piece_max = 50000};
        struct answerer answerer = {
            .in = {.fd = relayed.fd[1 - asks], .seed = 1, .piece_max = 50000},
            .out = {.fd = relayed.fd[1 - asks], .seed = 2, .total = 400000, .piece_max = 9000},
        };
        flow_begin(&question, flow_send);
        flow_begin(&got, flow_receive);
        ck_assert_int_eq(pthread_create(&answerer.thread, NULL, answer, &answerer), 0);
        ck_assert_int_eq(ouro_relay(relayed.stream[0], relayed.stream[1], NULL, &counts), 0);
        ck_assert_int_eq(pthread_join(answerer.thread, NULL), 0);
        flow_end(&question);
        flow_end(&got);
        ck_assert_uint_eq(answerer.in.count, 300000);
        ck_assert_uint_eq(got.count, 400000);
        ck_assert_uint_eq(answerer.in.wrong + got.wrong, 0);
        ck_assert_uint_eq(asks == 0 ? counts.first_to_second : counts.second_to_first, 300000);
        ck_assert_uint_eq(asks == 0 ? counts.second_to_first : counts.first_to_second, 400000);
        relayed_close(&relayed);
    }
    return 0;
}

OURO_TEST(the_end_of_the_first_is_passed_on)
{
    int asks = 0;
    everywhere(half_close, &asks);
}

OURO_TEST(the_end_of_the_second_is_passed_on)
{
    int asks = 1;
    everywhere(half_close, &asks);
}

/* @arg: which side resets.  The other direction is idle, and ends too. */
static int reset_midway(void *arg)
{
    const int resets = *(int *)arg;
    struct relayed relayed = relayed_open(OURO_STREAM_TCP, OURO_STREAM_TCP);
    struct ouro_relay_counts counts;
    struct flow flow = {.fd = relayed.fd[1 - resets]};
    struct resetter resetter = {.fd = relayed.fd[resets], .takes = 500000};
    relayed.fd[resets] = -1;
    flow_begin(&flow, send_in_vain);
    ck_assert_int_eq(pthread_create(&resetter.thread, NULL, take_and_reset, &resetter), 0);
    int rc = ouro_relay(relayed.stream[0], relayed.stream[1], NULL, &counts);
    ck_assert_msg(rc == -ECONNRESET || rc == -EPIPE, "relay: %d", rc);
    ck_assert_int_eq(pthread_join(resetter.thread, NULL), 0);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(ouro_stream_close(relayed.stream[i]), 0);
    flow_end(&flow);
    uint64_t passed = resets == 1 ? counts.first_to_second : counts.second_to_first;
    ck_assert_uint_ge(passed, 500000);
    ck_assert_uint_le(passed, flow.count + 65536);
    ck_assert_uint_eq(counts.first_to_second + counts.second_to_first, passed);
    relayed_close_fd(&relayed, 1 - resets);
    return 0;
}

OURO_TEST(a_reset_of_the_second_ends_both_directions)
{
    int resets = 1;
    everywhere(reset_midway, &resets);
}

OURO_TEST(a_reset_of_the_first_ends_both_directions)
{
    int resets = 0;
    everywhere(reset_midway, &resets);
}

/* Resets while nothing is under way: the direction that waits for the other side ends, too. */
static int reset_idle(void *arg)
{
    (void)arg;
    for (int resets = 0; resets < 2; resets++) {
        struct relayed relayed = relayed_open(OURO_STREAM_TCP, OURO_STREAM_TCP);
        struct resetter resetter = {.fd = relayed.fd[resets], .takes = 5};
        relayed.fd[resets] = -1;
        ouro_test_write_exactly(relayed.fd[1 - resets], "hello", 5);
        ck_assert_int_eq(pthread_create(&resetter.thread, NULL, take_and_reset, &resetter), 0);
        ck_assert_int_eq(ouro_relay(relayed.stream[0], relayed.stream[1], NULL, NULL), -ECONNRESET);
        ck_assert_int_eq(ouro_sleep(1), 0); /* the caller is not interrupted any more */
        ck_assert_int_eq(pthread_join(resetter.thread, NULL), 0);
        relayed_close(&relayed);
    }
    return 0;
}

OURO_TEST(a_reset_of_an_idle_connection_ends_the_relay)
{
    everywhere(reset_idle, NULL);
}

#define IDLE_NS (40 * OURO_TEST_MS)

static struct ouro_relay_options idle_after(int64_t idle_ns)
{
    struct ouro_relay_options options = OURO_RELAY_OPTIONS_INIT;
    options.idle_timeout_ns = idle_ns;
    return options;
}

/* Sends a byte now and then, for longer than the idle time. */
static void *trickle(void *arg)
{
    int fd = *(int *)arg;
    for (int64_t end_ns = ouro_test_now_ns() + 4 * IDLE_NS; ouro_test_now_ns() < end_ns;) {
        if (send(fd, "x", 1, MSG_NOSIGNAL) != 1)
            return NULL;
        (void)usleep(IDLE_NS / 10000);
    }
    return NULL;
}

static int idle_time(void *arg)
{
    const struct ouro_relay_options options = idle_after(IDLE_NS);
    struct ouro_relay_counts counts;
    struct relayed relayed = relayed_open(OURO_STREAM_TCP, OURO_STREAM_UNIX);
    pthread_t thread;
    (void)arg;
    int64_t begun_ns = ouro_test_now_ns();
    ck_assert_int_eq(ouro_relay(relayed.stream[0], relayed.stream[1], &options, &counts),
                     -ETIMEDOUT);
    ck_assert_int_ge(ouro_test_now_ns() - begun_ns, IDLE_NS);
    ck_assert_uint_eq(counts.first_to_second + counts.second_to_first, 0);
    ck_assert_int_eq(ouro_sleep(1), 0); /* the caller is not interrupted any more */

    /* Half closed, and one direction trickles: the idle time is that of both together.  A loaded
     * machine may let the trickle stop for too long; then once more. */
    ck_assert_int_eq(shutdown(relayed.fd[0], SHUT_WR), 0);
    int late = 0;
    do {
        begun_ns = ouro_test_now_ns();
        ouro_test_write_exactly(relayed.fd[1], "x", 1);
        ck_assert_int_eq(pthread_create(&thread, NULL, trickle, &relayed.fd[1]), 0);
        ck_assert_int_eq(ouro_relay(relayed.stream[0], relayed.stream[1], &options, &counts),
                         -ETIMEDOUT);
        begun_ns = ouro_test_now_ns() - begun_ns;
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
        ck_assert_uint_gt(counts.second_to_first, 0);
    } while (!is_in_time(4 * IDLE_NS - begun_ns, 0, &late));
    relayed_close(&relayed);
    return 0;
}

OURO_TEST(an_idle_relay_ends_at_its_limit)
{
    everywhere(idle_time, NULL);
}

/* A reader that does not read is as idle as a sender that does not send. */
static int idle_and_stalled(void *arg)
{
    const struct ouro_relay_options options = idle_after(IDLE_NS);
    struct ouro_relay_counts counts;
    struct relayed relayed = relayed_open(OURO_STREAM_UNIX, OURO_STREAM_UNIX);
    struct flow flow = {.fd = relayed.fd[0]};
    (void)arg;
    ouro_test_write_exactly(flow.fd, "hello", 5);
    flow_begin(&flow, send_in_vain);
    ck_assert_int_eq(ouro_relay(relayed.stream[0], relayed.stream[1], &options, &counts),
                     -ETIMEDOUT);
    ck_assert_uint_ge(counts.first_to_second, 5);
    ck_assert_int_eq(ouro_stream_close(relayed.stream[0]), 0);
    flow_end(&flow);
    ck_assert_int_eq(ouro_stream_close(relayed.stream[1]), 0);
    /* What was counted is what has arrived. */
    static __thread char bytes[65536];
    uint64_t got = 0;
    ssize_t n = 0;
    while ((n = read(relayed.fd[1], bytes, sizeof(bytes))) > 0)
        got += (uint64_t)n;
    ck_assert_uint_eq(got, counts.first_to_second);
    for (int i = 0; i < 2; i++)
        relayed_close_fd(&relayed, i);
    return 0;
}

OURO_TEST(a_stalled_relay_ends_at_its_limit_and_counts_what_arrived)
{
    everywhere(idle_and_stalled, NULL);
}

static int deadline(void *arg)
{
    struct relayed relayed = relayed_open(OURO_STREAM_TCP, OURO_STREAM_TCP);
    struct flow flow = {.fd = relayed.fd[0]};
    struct ouro_relay_counts counts;
    struct ouro_deadline scope;
    static __thread char bytes[65536];
    (void)arg;
    flow_begin(&flow, send_in_vain);
    ck_assert_int_eq(ouro_deadline_begin(&scope, 20 * OURO_TEST_MS), 0);
    ck_assert_int_eq(ouro_relay(relayed.stream[0], relayed.stream[1], NULL, &counts), -ETIMEDOUT);
    ck_assert_int_eq(ouro_sleep(1), -ETIMEDOUT); /* it is the caller's own */
    ouro_deadline_end(&scope);
    ck_assert_int_eq(ouro_sleep(1), 0);
    ck_assert_int_eq(ouro_stream_close(relayed.stream[0]), 0);
    flow_end(&flow);
    ck_assert_int_eq(ouro_stream_close(relayed.stream[1]), 0);
    uint64_t got = 0;
    ssize_t n = 0;
    while ((n = read(relayed.fd[1], bytes, sizeof(bytes))) > 0)
        got += (uint64_t)n;
    ck_assert_uint_eq(got, counts.first_to_second);
    for (int i = 0; i < 2; i++)
        relayed_close_fd(&relayed, i);
    return 0;
}

OURO_TEST(a_deadline_ends_a_relay)
{
    everywhere(deadline, NULL);
}

struct running {
    struct relayed relayed;
    struct ouro_relay_counts counts;
    int rc;
};

static int run_relay(void *arg)
{
    struct running *running = arg;
    running->rc =
        ouro_relay(running->relayed.stream[0], running->relayed.stream[1], NULL, &running->counts);
    return running->rc;
}

/* Begins a relay in a task, and lets it carry some bytes, so that it runs. */
static struct ouro_task *begin_relay(struct running *running)
{
    struct ouro_task *task = NULL;
    char bytes[5];
    running->rc = 1;
    running->relayed = relayed_open(OURO_STREAM_UNIX, OURO_STREAM_UNIX);
    ck_assert_int_eq(ouro_task_spawn_here(run_relay, running, &task), 0);
    ouro_test_write_exactly(running->relayed.fd[0], "hello", 5);
    while (recv(running->relayed.fd[1], bytes, 5, MSG_DONTWAIT) != 5)
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
    return task;
}

/* @arg: whether the reader has stalled, with bytes in the relay's pipe. */
static int cancel(void *arg)
{
    const bool stalls = *(bool *)arg;
    static __thread char bytes[65536];
    struct running running;
    int result = 0;
    for (int round = 0; round < 5; round++) {
        struct ouro_task *task = begin_relay(&running);
        uint64_t got = 5;
        for (int quiet = 0; stalls && quiet < 5 + round;) {
            ssize_t n = send(running.relayed.fd[0], bytes, sizeof(bytes), MSG_DONTWAIT);
            quiet = n > 0 ? 0 : quiet + 1;
            ck_assert_int_eq(ouro_sleep(n > 0 ? 1 : OURO_MILLISECOND), 0);
        }
        ck_assert_int_eq(ouro_task_cancel(task), 0);
        ck_assert_int_eq(ouro_task_join(task, &result), 0);
        ck_assert_int_eq(result, -ECANCELED);
        ck_assert_int_eq(ouro_stream_close(running.relayed.stream[0]), 0);
        ck_assert_int_eq(ouro_stream_close(running.relayed.stream[1]), 0);
        ssize_t n = 0;
        while ((n = read(running.relayed.fd[1], bytes, sizeof(bytes))) > 0)
            got += (uint64_t)n;
        ck_assert_uint_eq(running.counts.first_to_second, got);
        for (int i = 0; i < 2; i++)
            relayed_close_fd(&running.relayed, i);
    }
    return 0;
}

OURO_TEST(a_cancelled_relay_ends)
{
    bool stalls = false;
    everywhere(cancel, &stalls);
}

OURO_TEST(a_cancelled_relay_gives_its_pipe_back)
{
    bool stalls = true;
    everywhere(cancel, &stalls);
}

/* A relay that is cancelled with bytes under way, then another on the same worker. */
static int reuse(void *arg)
{
    struct running running;
    static __thread char bytes[65536];
    int result = 0;
    (void)arg;
    struct ouro_task *task = begin_relay(&running);
    for (int quiet = 0; quiet < 5;) {
        ssize_t n = send(running.relayed.fd[0], bytes, sizeof(bytes), MSG_DONTWAIT);
        quiet = n > 0 ? 0 : quiet + 1;
        ck_assert_int_eq(ouro_sleep(n > 0 ? 1 : OURO_MILLISECOND), 0);
    }
    ck_assert_int_eq(ouro_task_cancel(task), 0);
    ck_assert_int_eq(ouro_task_join(task, &result), 0);
    relayed_close(&running.relayed);

    struct relayed relayed = relayed_open(OURO_STREAM_TCP, OURO_STREAM_TCP);
    struct ouro_relay_counts counts;
    struct flow flow = {.fd = relayed.fd[0], .seed = 7, .total = 400000, .piece_max = 100000};
    struct flow receive = {.fd = relayed.fd[1], .seed = 7, .piece_max = 100000};
    const struct ouro_relay_options options = {sizeof(options), OURO_RELAY_F_ONE_WAY, 0};
    flow_begin(&flow, flow_send);
    flow_begin(&receive, flow_receive);
    ck_assert_int_eq(ouro_relay(relayed.stream[0], relayed.stream[1], &options, &counts), 0);
    flow_end(&flow);
    flow_end(&receive);
    ck_assert_uint_eq(receive.count, 400000);
    ck_assert_uint_eq(receive.wrong, 0);
    relayed_close(&relayed);
    return 0;
}

OURO_TEST(a_later_relay_gets_no_bytes_of_an_earlier_one)
{
    in_place(IN_TASK, reuse, NULL);
}

static int use_others(void *arg)
{
    struct running running;
    struct ouro_task *task = begin_relay(&running);
    struct ouro_stream **stream = running.relayed.stream;
    struct ouro_relay_counts counts = {1, 1};
    char byte = 'x';
    int result = 0;
    (void)arg;
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(ouro_stream_read(stream[i], &byte, 1), -EBUSY);
        ck_assert_int_eq(ouro_stream_write(stream[i], &byte, 1), -EBUSY);
    }
    ck_assert_int_eq(ouro_relay(stream[0], stream[1], NULL, &counts), -EBUSY);
    ck_assert_uint_eq(counts.first_to_second + counts.second_to_first, 0);
    /* Closing one ends the relay, and the other stream is free. */
    ck_assert_int_eq(ouro_stream_close(stream[0]), 0);
    ck_assert_int_eq(ouro_task_join(task, &result), 0);
    ck_assert_int_eq(result, -ECANCELED);
    ck_assert_int_eq(ouro_stream_write(stream[1], &byte, 1), 1);
    ouro_test_write_exactly(running.relayed.fd[1], "y", 1);
    ck_assert_int_eq(ouro_stream_read(stream[1], &byte, 1), 1);
    ck_assert_int_eq(byte, 'y');
    ck_assert_int_eq(ouro_stream_close(stream[1]), 0);
    for (int i = 0; i < 2; i++)
        relayed_close_fd(&running.relayed, i);
    return 0;
}

OURO_TEST(a_relay_holds_its_streams_until_one_is_closed)
{
    everywhere(use_others, NULL);
}

static int give_wrong_options(void *arg)
{
    struct relayed relayed = relayed_open(OURO_STREAM_TCP, OURO_STREAM_UNIX);
    char byte = 'x';
    (void)arg;
    ck_assert_int_eq(ouro_relay(relayed.stream[0], relayed.stream[0], NULL, NULL), -EINVAL);
    struct ouro_relay_options options = idle_after(-1);
    ck_assert_int_eq(ouro_relay(relayed.stream[0], relayed.stream[1], &options, NULL), -EINVAL);
    options = idle_after(0);
    options.flags = 1u << 31;
    ck_assert_int_eq(ouro_relay(relayed.stream[0], relayed.stream[1], &options, NULL), -EINVAL);
    ck_assert_int_eq(ouro_stream_write(relayed.stream[0], &byte, 1), 1);
    relayed_close(&relayed);
    return 0;
}

OURO_TEST(wrong_options_are_refused)
{
    everywhere(give_wrong_options, NULL);
}

OURO_TEST(an_idle_limit_needs_time)
{
    struct ouro_runtime *runtime = open_place(IN_TASK, OURO_RUNTIME_F_NO_TIME);
    struct ouro_handle *handle = ouro_runtime_handle(runtime);
    const struct ouro_relay_options options = idle_after(OURO_SECOND);
    ck_assert_int_eq(ouro_enter(handle), 0);
    struct relayed relayed = relayed_open(OURO_STREAM_UNIX, OURO_STREAM_UNIX);
    ck_assert_int_eq(ouro_relay(relayed.stream[0], relayed.stream[1], &options, NULL),
                     -OURO_ETIMEDISABLED);
    relayed_close(&relayed);
    ouro_leave();
    ouro_handle_unref(handle);
    ck_assert_int_eq(ouro_runtime_shutdown(runtime, 5 * OURO_TEST_SECOND), 0);
    ouro_runtime_free(runtime);
}

OURO_TEST(a_shutdown_ends_a_relay)
{
    for (int place = IN_TASK; place <= IN_WORKER_TASK; place += IN_WORKER_TASK - IN_TASK) {
        struct ouro_runtime *runtime = open_place((enum place)place, 0);
        struct ouro_handle *handle = ouro_runtime_handle(runtime);
        struct running running = {.rc = 1};
        ck_assert_int_eq(ouro_enter(handle), 0);
        running.relayed = relayed_open(OURO_STREAM_TCP, OURO_STREAM_UNIX);
        ouro_leave();
        ck_assert_int_eq(ouro_task_spawn_with(handle, NULL, run_relay, &running, NULL), 0);
        ck_assert_int_eq(ouro_runtime_shutdown(runtime, 5 * OURO_TEST_SECOND), 0);
        ck_assert_int_eq(running.rc, -OURO_ESHUTDOWN);
        ouro_runtime_free(runtime);
        relayed_close(&running.relayed);
        ouro_handle_unref(handle);
    }
}
