/* SPDX-License-Identifier: MIT */
/*
 * An embedded runtime in a loop of libuv: tasks, timers, sockets and spawns from other threads,
 * while libuv's own handles go on.
 *
 * Owns:    nothing.
 * Threads: the loop's, and one that spawns.
 * Always:  libuv is told of ouro by one descriptor, and of nothing else.
 */
#include "support/ouro_test.h"
#include "support/runtime.h"

#include <errno.h>
#include <ouro.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

enum { EXCHANGES = 300, SLEEPS = 20, SPAWNS = 200, TASKS = 3 };

struct loop {
    uv_loop_t uv;
    uv_poll_t poll;
    uv_timer_t timer;
    struct ouro_runtime *runtime;
    struct ouro_handle *handle;
    atomic_int ended; /* tasks */
    int expected;
    unsigned turns;
    unsigned ticks; /* of libuv's own timer */
};

/* What libuv keeps for the life of the process is made before the first count of descriptors. */
__attribute__((constructor)) static void warm_up(void)
{
    uv_loop_t loop;
    if (uv_loop_init(&loop) == 0)
        (void)uv_loop_close(&loop);
}

static void stop_when_done(struct loop *loop)
{
    if (atomic_load(&loop->ended) < loop->expected)
        return;
    (void)uv_poll_stop(&loop->poll);
    (void)uv_timer_stop(&loop->timer);
}

static void give_turn(uv_poll_t *poll, int status, int events)
{
    struct loop *loop = poll->data;
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(events, UV_READABLE);
    loop->turns++;
    ck_assert_int_eq(ouro_runtime_turn(loop->runtime, 0), 0);
    stop_when_done(loop);
}

static void count_tick(uv_timer_t *timer)
{
    struct loop *loop = timer->data;
    loop->ticks++;
    stop_when_done(loop);
}

static void loop_open(struct loop *loop, int expected)
{
    struct ouro_runtime_config config = ouro_test_config(OURO_FLAVOUR_CURRENT_THREAD);
    config.flags = OURO_RUNTIME_F_EMBEDDED;
    *loop = (struct loop){.expected = expected};
    loop->runtime = ouro_test_runtime_with(&config);
    loop->handle = ouro_runtime_handle(loop->runtime);
    ck_assert_int_eq(uv_loop_init(&loop->uv), 0);
    ck_assert_int_eq(uv_poll_init(&loop->uv, &loop->poll, ouro_runtime_fd(loop->runtime)), 0);
    ck_assert_int_eq(uv_timer_init(&loop->uv, &loop->timer), 0);
    loop->poll.data = loop;
    loop->timer.data = loop;
    ck_assert_int_eq(uv_poll_start(&loop->poll, UV_READABLE, give_turn), 0);
}

static void loop_run_and_close(struct loop *loop)
{
    ck_assert_int_eq(uv_run(&loop->uv, UV_RUN_DEFAULT), 0);
    uv_close((uv_handle_t *)&loop->poll, NULL);
    uv_close((uv_handle_t *)&loop->timer, NULL);
    ck_assert_int_eq(uv_run(&loop->uv, UV_RUN_DEFAULT), 0);
    ck_assert_int_eq(uv_loop_close(&loop->uv), 0);
    ouro_handle_unref(loop->handle);
    ouro_runtime_free(loop->runtime);
}

static struct loop *current;

static int ends(int result)
{
    ck_assert_int_eq(result, 0);
    (void)atomic_fetch_add(&current->ended, 1);
    return result;
}

static int sleeps(void *arg)
{
    (void)arg;
    for (int i = 0; i < SLEEPS; i++)
        ck_assert_int_eq(ouro_sleep(3 * OURO_MILLISECOND), 0);
    return ends(0);
}

static int asks(void *arg)
{
    struct ouro_stream *stream = NULL;
    char byte = 'x';
    ck_assert_int_eq(ouro_stream_from_fd(*(int *)arg, &stream), 0);
    for (int i = 0; i < EXCHANGES; i++) {
        ck_assert_int_eq(ouro_stream_write(stream, &byte, 1), 1);
        ck_assert_int_eq(ouro_stream_read(stream, &byte, 1), 1);
    }
    return ends(ouro_stream_close(stream));
}

static int answers(void *arg)
{
    struct ouro_stream *stream = NULL;
    char byte = 0;
    ck_assert_int_eq(ouro_stream_from_fd(*(int *)arg, &stream), 0);
    while (ouro_stream_read(stream, &byte, 1) == 1)
        ck_assert_int_eq(ouro_stream_write(stream, &byte, 1), 1);
    return ends(ouro_stream_close(stream));
}

OURO_TEST(tasks_timers_and_sockets_beside_a_timer_of_libuv)
{
    static struct loop loop;
    int pair[2];
    current = &loop;
    loop_open(&loop, TASKS);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    ck_assert_int_eq(uv_timer_start(&loop.timer, count_tick, 5, 5), 0);
    ck_assert_int_eq(ouro_task_spawn_with(loop.handle, NULL, sleeps, NULL, NULL), 0);
    ck_assert_int_eq(ouro_task_spawn_with(loop.handle, NULL, asks, &pair[0], NULL), 0);
    ck_assert_int_eq(ouro_task_spawn_with(loop.handle, NULL, answers, &pair[1], NULL), 0);
    loop_run_and_close(&loop);
    ck_assert_int_eq(atomic_load(&loop.ended), TASKS);
    ck_assert_uint_ge(loop.ticks, 5); /* 60 ms of sleeps */
    /* A turn or two for each step of each task, and some for the timers. */
    ck_assert_uint_le(loop.turns, 4 * EXCHANGES + 10 * SLEEPS);
}

static int does_nothing(void *arg)
{
    (void)arg;
    return ends(0);
}

static void *spawns(void *arg)
{
    struct loop *loop = arg;
    for (int i = 0; i < SPAWNS; i++)
        ck_assert_int_eq(ouro_task_spawn_with(loop->handle, NULL, does_nothing, NULL, NULL), 0);
    return NULL;
}

OURO_TEST(spawns_from_another_thread_wake_libuv)
{
    static struct loop loop;
    pthread_t thread;
    current = &loop;
    loop_open(&loop, SPAWNS);
    ck_assert_int_eq(pthread_create(&thread, NULL, spawns, &loop), 0);
    loop_run_and_close(&loop);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(atomic_load(&loop.ended), SPAWNS);
}
