/* SPDX-License-Identifier: MIT */
/*
 * Closing: also what others are using, from where nothing runs, after the runtime, in a child.
 */
#include "net/everywhere.h"

#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "ouro/error.h"
#include "ouro/tcp.h"
#include "ouro/time.h"
#include "stream/fill.h"
#include "stream/stream.h"
#include "support/child.h"
#include "support/sockets.h"

static struct ouro_stream *connected(int *out_peer)
{
    struct ouro_stream *stream = NULL;
    uint16_t port = 0;
    char text[OURO_TEST_ADDRESS_SIZE];
    int listener = ouro_test_listen(AF_INET, 1, &port);
    ck_assert_int_eq(
        ouro_tcp_stream_connect(OURO_ADDRS(ouro_test_address(AF_INET, port, text)), &stream), 0);
    *out_peer = ouro_test_accept(listener);
    (void)close(listener);
    return stream;
}

/* The calls that are in progress on the stream. */
static bool is_used(struct ouro_stream *stream, unsigned calls)
{
    return (unsigned)__builtin_popcount(atomic_load(&stream->descriptor.calls)) == calls;
}

static void await_calls(struct ouro_stream *stream, unsigned calls)
{
    while (!is_used(stream, calls))
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
}

static int read_for_ever(void *arg)
{
    char byte = 0;
    return (int)ouro_stream_read(arg, &byte, 1);
}

/* More than a connection takes without a reader. */
static int write_for_ever(void *arg)
{
    static char zeroes[64 << 20];
    return ouro_stream_write_all(arg, zeroes, sizeof(zeroes), NULL);
}

static int close_under_two(void *arg)
{
    int peer = -1;
    int results[2] = {0, 0};
    struct ouro_task *tasks[2];
    struct ouro_stream *stream = connected(&peer);
    (void)arg;
    ck_assert_int_eq(ouro_task_spawn(read_for_ever, stream, &tasks[0]), 0);
    ck_assert_int_eq(ouro_task_spawn(write_for_ever, stream, &tasks[1]), 0);
    await_calls(stream, 2);
    ck_assert_int_eq(ouro_stream_close(stream), 0);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(ouro_task_join(tasks[i], &results[i]), 0);
        ck_assert_int_eq(results[i], -ECANCELED);
    }
    (void)close(peer);
    return 0;
}

OURO_TEST(close_ends_the_calls_of_others)
{
    for (int round = 0; round < 20; round++)
        everywhere(close_under_two, NULL);
}

/* The other call may be anywhere: about to begin, registering, waiting, leaving. */
static int close_in_a_race(void *arg)
{
    struct ouro_task *task = NULL;
    int result = 0;
    (void)arg;
    for (int round = 0; round < 300; round++) {
        int peer = -1;
        int fd = -1;
        struct ouro_stream *stream = connected(&peer);
        fd = ouro_stream_into_fd(stream);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(ouro_stream_from_fd(fd, &stream), 0); /* not registered again */
        ck_assert_int_eq(ouro_task_spawn(read_for_ever, stream, &task), 0);
        while (is_used(stream, 0))
            ck_assert_int_eq(ouro_yield(), 0);
        ck_assert_int_eq(ouro_stream_close(stream), 0);
        ck_assert_int_eq(ouro_task_join(task, &result), 0);
        ck_assert_int_eq(result, -ECANCELED);
        (void)close(peer);
    }
    return 0;
}

OURO_TEST(close_meets_a_call_at_any_moment)
{
    in_place(IN_TASK, close_in_a_race, NULL);
    in_place(IN_WORKER_TASK, close_in_a_race, NULL);
    in_place(IN_THREAD, close_in_a_race, NULL);
    in_place(IN_DRIVER_THREAD, close_in_a_race, NULL);
}

static int close_when_cancelled(void *arg)
{
    int peer = -1;
    int result = 0;
    struct ouro_task *task = NULL;
    struct ouro_stream *stream = connected(&peer);
    struct ouro_deadline scope;
    (void)arg;
    ck_assert_int_eq(ouro_task_spawn(read_for_ever, stream, &task), 0);
    await_calls(stream, 1);
    ck_assert_int_eq(ouro_deadline_begin(&scope, 0), 0);
    ck_assert_int_eq(ouro_stream_close(stream), 0); /* a deadline does not interrupt it */
    ouro_deadline_end(&scope);
    ck_assert_int_eq(ouro_task_join(task, &result), 0);
    ck_assert_int_eq(result, -ECANCELED);
    (void)close(peer);
    return 0;
}

OURO_TEST(nothing_interrupts_close)
{
    everywhere(close_when_cancelled, NULL);
}

/* Without memory for a waker the closer looks again and again until the reader has left. */
static int close_without_memory(void *arg)
{
    struct ouro_stream *stream = arg;
    ouro__alloc_fail_at(1);
    int rc = ouro_stream_close(stream);
    ouro__alloc_fail_at(0);
    return rc;
}

static int close_in_another_task_without_memory(void *arg)
{
    int peer = -1;
    int results[2] = {0, 0};
    struct ouro_task *tasks[2];
    struct ouro_stream *stream = connected(&peer);
    (void)arg;
    ck_assert_int_eq(ouro_task_spawn(read_for_ever, stream, &tasks[0]), 0);
    await_calls(stream, 1);
    ck_assert_int_eq(ouro_task_spawn(close_without_memory, stream, &tasks[1]), 0);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(ouro_task_join(tasks[i], &results[i]), 0);
    ck_assert_int_eq(results[0], -ECANCELED);
    ck_assert_int_eq(results[1], 0);
    (void)close(peer);
    return 0;
}

OURO_TEST(close_needs_no_memory)
{
    in_place(IN_TASK, close_in_another_task_without_memory, NULL);
    in_place(IN_WORKER_TASK, close_in_another_task_without_memory, NULL);
}

static int hand_out(void *arg)
{
    int peer = -1;
    struct ouro_stream **out = arg;
    out[0] = connected(&peer);
    (void)close(peer);
    char byte = 0;
    ck_assert_int_eq(ouro_stream_read(out[0], &byte, 1), 0);
    return 0;
}

/* A pipe whose reader has waited: on io_uring the driver has a poll of it. */
static int hand_out_a_pipe(void *arg)
{
    struct ouro_stream **out = arg;
    struct ouro_deadline scope;
    char byte = 0;
    ck_assert_int_eq(ouro_pipe(&out[0], &out[1]), 0);
    ck_assert_int_eq(ouro_deadline_begin(&scope, OURO_TEST_MS), 0);
    ck_assert_int_eq(ouro_stream_read(out[0], &byte, 1), -ETIMEDOUT);
    ouro_deadline_end(&scope);
    return 0;
}

OURO_TEST(a_pipe_may_outlive_its_runtime)
{
    for (int place = 0; place < PLACES; place++) {
        for (int freed = 0; freed < 2; freed++) {
            struct ouro_stream *ends[2] = {NULL, NULL};
            struct ouro_runtime *runtime = open_place((enum place)place, 0);
            run_in_place((enum place)place, runtime, hand_out_a_pipe, ends);
            ck_assert_int_eq(ouro_runtime_shutdown(runtime, 5 * OURO_TEST_SECOND), 0);
            if (freed != 0)
                ouro_runtime_free(runtime);
            ck_assert_int_eq(ouro_stream_close(ends[0]), 0);
            ck_assert_int_eq(ouro_stream_close(ends[1]), 0);
            if (freed == 0)
                ouro_runtime_free(runtime);
        }
    }
}

OURO_TEST(a_stream_may_outlive_its_runtime)
{
    for (int place = 0; place < PLACES; place++) {
        struct ouro_stream *stream = NULL;
        struct ouro_runtime *runtime = open_place((enum place)place, 0);
        run_in_place((enum place)place, runtime, hand_out, &stream);
        ouro_runtime_free(runtime);
        struct ouro_deadline scope;
        char byte = 0;
        ck_assert_int_eq(ouro_stream_read(stream, &byte, 1), -OURO_ENORUNTIME);
        ck_assert_int_eq(ouro_deadline_begin(&scope, 1), -OURO_ENORUNTIME);
        ck_assert_int_eq(ouro_stream_close(stream), 0);
    }
}

/* In another runtime the descriptor of one that has ended still is what it was. */
static int read_in_another(void *arg)
{
    char byte = 0;
    ck_assert_int_eq(ouro_stream_read(arg, &byte, 1), -OURO_ESHUTDOWN);
    return 0;
}

OURO_TEST(a_stream_of_an_ended_runtime_says_so_in_another)
{
    struct ouro_stream *stream = NULL;
    struct ouro_runtime *runtime = open_place(IN_TASK, 0);
    run_in_place(IN_TASK, runtime, hand_out, &stream);
    ouro_runtime_free(runtime);
    in_place(IN_TASK, read_in_another, stream);
    in_place(IN_THREAD, read_in_another, stream);
    ck_assert_int_eq(ouro_stream_close(stream), 0);
}

struct left {
    struct ouro_stream *stream;
    struct ouro_task *task;
    struct ouro_handle *handle;
    int peer;
    _Atomic bool is_connected;
    _Atomic bool has_ended;
};

static int leave_a_reader(void *arg)
{
    struct left *left = arg;
    left->stream = connected(&left->peer);
    ck_assert_int_eq(ouro_task_spawn(read_for_ever, left->stream, &left->task), 0);
    await_calls(left->stream, 1);
    return 0;
}

static void *close_it(void *arg)
{
    struct left *left = arg;
    ck_assert_int_eq(ouro_stream_close(left->stream), 0);
    return NULL;
}

static int join_left(void *arg)
{
    struct left *left = arg;
    int result = 0;
    ck_assert_int_eq(ouro_task_join(left->task, &result), 0);
    ck_assert_int_eq(result, -ECANCELED);
    return 0;
}

/* Between two calls of block_on, and outside: the closer's context is the thread's own. */
OURO_TEST(the_runtimes_own_thread_closes_without_memory)
{
    struct left left;
    struct ouro_runtime *runtime = open_place(IN_TASK, 0);
    run_in_place(IN_TASK, runtime, leave_a_reader, &left);
    struct ouro_handle *handle = ouro_runtime_handle(runtime);
    ck_assert_int_eq(ouro_enter(handle), 0);
    ck_assert_int_eq(close_without_memory(left.stream), 0);
    ouro_leave();
    ouro_handle_unref(handle);
    run_in_place(IN_TASK, runtime, join_left, &left);
    (void)close(left.peer);
    ouro_runtime_free(runtime);
}

OURO_TEST(a_thread_outside_of_the_runtime_may_close)
{
    for (int place = IN_WORKER_TASK; place < PLACES; place++) {
        struct left left;
        pthread_t thread;
        struct ouro_runtime *runtime = open_place((enum place)place, 0);
        run_in_place((enum place)place, runtime, leave_a_reader, &left);
        ck_assert_int_eq(pthread_create(&thread, NULL, close_it, &left), 0);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
        run_in_place((enum place)place, runtime, join_left, &left);
        (void)close(left.peer);
        ouro_runtime_free(runtime);
    }
}

/* Nobody but this very thread turns the driver that has to end the read. */
OURO_TEST(the_runtimes_own_thread_may_close_outside_of_it)
{
    struct left left;
    struct ouro_runtime *runtime = open_place(IN_TASK, 0);
    run_in_place(IN_TASK, runtime, leave_a_reader, &left);
    (void)close_it(&left);
    run_in_place(IN_TASK, runtime, join_left, &left);
    (void)close(left.peer);
    ouro_runtime_free(runtime);
}

static int use_in_child(void *arg)
{
    struct left *left = arg;
    struct ouro_stream *other = NULL;
    char byte = 0;
    ck_assert_int_eq(ouro_stream_read(left->stream, &byte, 1), -OURO_EFORKED);
    ck_assert_int_eq(ouro_stream_write_all(left->stream, &byte, 1, NULL), -OURO_EFORKED);
    ck_assert_int_eq(ouro_tcp_stream_connect(OURO_ADDRS("127.0.0.1:1"), &other), -OURO_EFORKED);
    int fd = ouro_stream_fd(left->stream);
    ck_assert_int_eq(ouro_stream_close(left->stream), -OURO_EFORKED);
    ck_assert_int_eq(close(fd), -1); /* closed in the child */
    return 0;
}

static int fork_with_a_stream(void *arg)
{
    struct left left = {.stream = connected(&left.peer)};
    char byte = 0;
    (void)arg;
    ouro_test_write_exactly(left.peer, "1", 1);
    ck_assert_int_eq(ouro_stream_read(left.stream, &byte, 1), 1);
    ouro_test_child_must_pass(use_in_child, &left);
    ouro_test_write_exactly(left.peer, "2", 1); /* the parent's is as it was */
    ck_assert_int_eq(ouro_stream_read(left.stream, &byte, 1), 1);
    ck_assert_int_eq(byte, '2');
    ck_assert_int_eq(ouro_stream_close(left.stream), 0);
    (void)close(left.peer);
    return 0;
}

OURO_TEST(in_a_forked_child_calls_say_so)
{
    in_place(IN_TASK, fork_with_a_stream, NULL);
    in_place(IN_THREAD, fork_with_a_stream, NULL);
}

static int read_through_a_shutdown(void *arg)
{
    char byte = 0;
    struct left *left = arg;
    left->stream = connected(&left->peer);
    atomic_store(&left->is_connected, true);
    ck_assert_int_eq(ouro_stream_read(left->stream, &byte, 1), -OURO_ESHUTDOWN);
    ck_assert_int_eq(ouro_stream_read(left->stream, &byte, 1), -OURO_ESHUTDOWN);
    ck_assert_int_eq(ouro_stream_write(left->stream, &byte, 1), -OURO_ESHUTDOWN);
    ck_assert_int_eq(ouro_stream_close(left->stream), 0); /* that works to the end */
    atomic_store(&left->has_ended, true);
    return 0;
}

static bool reads(void *arg)
{
    struct left *left = arg;
    return atomic_load(&left->is_connected) && is_used(left->stream, 1);
}

static void *read_in_a_thread(void *arg)
{
    struct left *left = arg;
    ck_assert_int_eq(ouro_enter(left->handle), 0);
    ck_assert_int_eq(read_through_a_shutdown(left), 0);
    ouro_leave();
    return NULL;
}

OURO_TEST(a_shutdown_ends_the_read_of_a_task)
{
    struct left left = {.stream = NULL};
    struct ouro_runtime *runtime = open_place(IN_WORKER_TASK, 0);
    left.handle = ouro_runtime_handle(runtime);
    ck_assert_int_eq(ouro_task_spawn_with(left.handle, NULL, read_through_a_shutdown, &left, NULL),
                     0);
    ck_assert(ouro_test_until(reads, &left, 10 * OURO_TEST_SECOND));
    ck_assert_int_eq(ouro_runtime_shutdown(runtime, 5 * OURO_TEST_SECOND), 0);
    ck_assert(atomic_load(&left.has_ended));
    (void)close(left.peer);
    ouro_handle_unref(left.handle);
    ouro_runtime_free(runtime);
}

OURO_TEST(a_shutdown_ends_the_read_of_a_thread)
{
    for (int place = IN_THREAD; place < PLACES; place++) {
        struct left left = {.stream = NULL};
        pthread_t thread;
        struct ouro_runtime *runtime = open_place((enum place)place, 0);
        left.handle = ouro_runtime_handle(runtime);
        ck_assert_int_eq(pthread_create(&thread, NULL, read_in_a_thread, &left), 0);
        ck_assert(ouro_test_until(reads, &left, 10 * OURO_TEST_SECOND));
        ck_assert_int_eq(ouro_runtime_shutdown(runtime, 5 * OURO_TEST_SECOND), 0);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
        (void)close(left.peer);
        ouro_handle_unref(left.handle);
        ouro_runtime_free(runtime);
    }
}

/* Counts what a peer receives after it was left alone until the stream was closed. */
static uint64_t count_until_end(int fd)
{
    static _Thread_local char buffer[65536];
    uint64_t count = 0;
    ssize_t n = 0;
    while ((n = recv(fd, buffer, sizeof(buffer), 0)) > 0)
        count += (uint64_t)n;
    ck_assert_int_eq(n, 0);
    return count;
}

static void set_linger(int fd, int seconds)
{
    struct linger linger = {.l_onoff = 1, .l_linger = seconds};
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
}

/* Fills a stream until its peer takes no more.  Returns how much was written. */
static uint64_t fill(struct ouro_stream *stream)
{
    static char zeroes[16 << 20];
    return fill_stream(stream, zeroes, sizeof(zeroes));
}

/* With the option set before the stream began, or through its descriptor. */
static int close_lingering(void *arg)
{
    for (int adopted = 0; adopted < 2; adopted++) {
        int late = 0;
        int64_t took_ns = 0;
        do {
            int peer = -1;
            struct ouro_stream *stream = connected(&peer);
            if (adopted != 0) {
                int fd = ouro_stream_into_fd(stream);
                set_linger(fd, 5);
                ck_assert_int_eq(ouro_stream_from_fd(fd, &stream), 0);
            } else {
                set_linger(ouro_stream_fd(stream), 5);
            }
            uint64_t written = fill(stream);
            int64_t begin_ns = ouro_now_ns();
            ck_assert_int_eq(ouro_stream_close(stream), 0);
            took_ns = ouro_now_ns() - begin_ns;
            ck_assert_uint_eq(count_until_end(peer), written); /* all the same it arrives */
            (void)close(peer);
        } while (!is_in_time(took_ns, OURO_TEST_SECOND, &late));
    }
    (void)arg;
    return 0;
}

OURO_TEST(close_does_not_linger_and_loses_nothing)
{
    everywhere(close_lingering, NULL);
}

static int close_with_a_reset(void *arg)
{
    int peer = -1;
    char byte = 0;
    struct ouro_stream *stream = connected(&peer);
    (void)arg;
    set_linger(ouro_stream_fd(stream), 0);
    ck_assert_int_eq(ouro_stream_close(stream), 0);
    ck_assert_int_eq(recv(peer, &byte, 1, 0), -1);
    ck_assert_int_eq(errno, ECONNRESET);
    (void)close(peer);
    return 0;
}

OURO_TEST(a_linger_time_of_zero_still_resets)
{
    everywhere(close_with_a_reset, NULL);
}
