/* SPDX-License-Identifier: MIT */
/*
 * Shutdown at any moment: every wait ends, also those begun after it, in bounded time.
 *
 * Owns:    nothing.
 * Threads: the test's and the runtime's.
 * Always:  a task that heeds errors ends; nothing is left after free.
 */
#include "runtime/runtime.h"
#include "support/ouro_test.h"
#include "support/runtime.h"
#include "support/sockets.h"

#include <errno.h>
#include <ouro.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static const enum ouro_flavour flavours[] = {OURO_FLAVOUR_CURRENT_THREAD,
                                             OURO_FLAVOUR_MULTI_THREAD};

static _Atomic int about_to_wait;
static _Atomic int ended;

static enum ouro_poll never(void *arg, const struct ouro_waker *waker)
{
    (void)arg;
    (void)waker;
    return OURO_POLL_PENDING;
}

/* Every later wait says the same. */
static int all_say_shutdown(int first)
{
    struct ouro_task *task = NULL;
    struct ouro_stream *stream = NULL;
    ck_assert_int_eq(first, -OURO_ESHUTDOWN);
    ck_assert_int_eq(ouro_sleep(OURO_SECOND), -OURO_ESHUTDOWN);
    ck_assert_int_eq(ouro_yield(), -OURO_ESHUTDOWN);
    ck_assert_int_eq(ouro_poll_fn(never, NULL), -OURO_ESHUTDOWN);
    ck_assert_int_eq(ouro_task_spawn(NULL, NULL, &task), -EINVAL);
    ck_assert_int_eq(ouro_tcp_stream_connect(OURO_ADDRS("127.0.0.1:9"), &stream), -OURO_ESHUTDOWN);
    ck_assert_ptr_null(stream);
    atomic_fetch_add(&ended, 1);
    return 0;
}

static int sleeps(void *arg)
{
    (void)arg;
    atomic_fetch_add(&about_to_wait, 1);
    return all_say_shutdown(ouro_sleep(3600 * OURO_SECOND));
}

static int polls(void *arg)
{
    (void)arg;
    atomic_fetch_add(&about_to_wait, 1);
    return all_say_shutdown(ouro_poll_fn(never, NULL));
}

static int joins_a_sleeper(void *arg)
{
    (void)arg;
    struct ouro_task *task = NULL;
    ck_assert_int_eq(ouro_task_spawn(sleeps, NULL, &task), 0);
    atomic_fetch_add(&about_to_wait, 1);
    int rc = ouro_task_join(task, NULL);
    /* The sleeper may have ended first: then the join succeeded. */
    if (rc == 0)
        rc = ouro_yield();
    else
        ouro_task_detach(task);
    return all_say_shutdown(rc);
}

/* Reads from a socket pair on which nothing comes. */
static int reads(void *arg)
{
    int pair[2];
    char byte;
    struct ouro_stream *stream = NULL;
    (void)arg;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    ck_assert_int_eq(ouro_stream_from_fd(pair[0], &stream), 0);
    atomic_fetch_add(&about_to_wait, 1);
    ssize_t n = ouro_stream_read(stream, &byte, 1);
    ck_assert_int_eq((int)n, -OURO_ESHUTDOWN);
    ck_assert_int_eq((int)ouro_stream_read(stream, &byte, 1), -OURO_ESHUTDOWN);
    ouro_stream_close(stream);
    close(pair[1]);
    return all_say_shutdown((int)n);
}

static int accepts(void *arg)
{
    struct ouro_tcp_listener *listener = NULL;
    struct ouro_stream *stream = NULL;
    (void)arg;
    ck_assert_int_eq(ouro_tcp_listener_bind(OURO_ADDRS("127.0.0.1:0"), NULL, &listener), 0);
    atomic_fetch_add(&about_to_wait, 1);
    int rc = ouro_tcp_listener_accept(listener, &stream, NULL);
    ouro_tcp_listener_close(listener);
    return all_say_shutdown(rc);
}

static int waits_for_readiness(void *arg)
{
    int ends[2];
    struct ouro_poll_evented *io = NULL;
    struct ouro_ready_event event;
    (void)arg;
    ck_assert_int_eq(pipe(ends), 0);
    atomic_fetch_add(&about_to_wait, 1);
    /* The shutdown may come before the registration is complete. */
    int rc = ouro_poll_evented_new(ends[0], OURO_READABLE, &io);
    if (rc == 0)
        rc = ouro_poll_evented_ready(io, OURO_READABLE, &event);
    ouro_poll_evented_free(io);
    close(ends[0]);
    close(ends[1]);
    return all_say_shutdown(rc);
}

static ouro_task_function *const waiters[] = {sleeps, polls,   joins_a_sleeper,
                                              reads,  accepts, waits_for_readiness};
enum { WAITERS = sizeof(waiters) / sizeof(waiters[0]) };

/* The sleepers that joins_a_sleeper spawns in a crowd of @size. */
static int sleepers_in(int size)
{
    return (size + WAITERS - 3) / WAITERS;
}

/* A crowd of @arg tasks, all of which have come to their waits. */
static int gather(void *arg)
{
    int size = *(const int *)arg;
    atomic_store(&about_to_wait, 0);
    for (int i = 0; i < size; i++)
        ck_assert_int_eq(ouro_task_spawn(waiters[i % WAITERS], NULL, NULL), 0);
    while (atomic_load(&about_to_wait) < size + sleepers_in(size))
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
    return 0;
}

static void shut_down_on(enum ouro_flavour flavour, int size)
{
    struct ouro_runtime *runtime = ouro_test_runtime_new(flavour);
    int result = -1;
    atomic_store(&ended, 0);
    ck_assert_int_eq(ouro_runtime_block_on(runtime, gather, &size, &result), 0);
    ck_assert_int_eq(result, 0);
    int64_t before_ns = ouro_now_ns();
    ck_assert_int_eq(ouro_runtime_shutdown(runtime, 20 * OURO_SECOND), 0);
    ck_assert_int_lt(ouro_now_ns() - before_ns, 10 * OURO_SECOND);
    ck_assert_int_ge(atomic_load(&ended), size);
    ck_assert_int_le(atomic_load(&ended), size + sleepers_in(size));
    ck_assert_int_eq(ouro_runtime_shutdown(runtime, 0), 0);
    ck_assert_int_eq(ouro_runtime_block_on(runtime, gather, &size, &result), -OURO_ESHUTDOWN);
    ouro_runtime_free(runtime);
}

OURO_TEST(shutdown_ends_every_kind_of_wait)
{
    for (int i = 0; i < 2; i++)
        shut_down_on(flavours[i], 6 * WAITERS);
}

OURO_TEST(shutdown_at_any_moment)
{
    for (int ms = 0; ms < 6; ms++) {
        for (int i = 0; i < 2; i++) {
            /* joins_a_sleeper may meet the shutdown in its spawn: not in this crowd. */
            struct ouro_runtime *runtime = ouro_test_runtime_new(flavours[i]);
            struct ouro_handle *handle = ouro_runtime_handle(runtime);
            atomic_store(&ended, 0);
            for (int k = 0; k < ms * 7; k++)
                ck_assert_int_eq(
                    ouro_task_spawn_with(handle, NULL, k % 2 ? sleeps : polls, NULL, NULL), 0);
            ck_assert_int_eq(ouro_runtime_shutdown(runtime, 20 * OURO_SECOND), 0);
            ck_assert_int_eq(atomic_load(&ended), ms * 7);
            struct ouro_task *task = NULL;
            ck_assert_int_eq(ouro_task_spawn_with(handle, NULL, sleeps, NULL, &task),
                             -OURO_ESHUTDOWN);
            ck_assert_int_eq(ouro_enter(handle), -OURO_ESHUTDOWN);
            ouro_runtime_free(runtime);
            /* The handle outlives it, and says so. */
            ck_assert_int_eq(ouro_task_spawn_with(handle, NULL, sleeps, NULL, &task),
                             -OURO_ESHUTDOWN);
            ouro_handle_unref(handle);
        }
    }
}

OURO_TEST(shutdown_with_thousands_in_flight, .timeout_s = 120)
{
    for (int i = 0; i < 2; i++)
        shut_down_on(flavours[i], 6000);
}

static _Atomic int defiant_may_end;

static int defiant(void *arg)
{
    (void)arg;
    while (atomic_load(&defiant_may_end) == 0)
        (void)ouro_yield();
    return 0;
}

OURO_TEST(shutdown_says_when_a_task_does_not_end)
{
    for (int i = 0; i < 2; i++) {
        struct ouro_runtime *runtime = ouro_test_runtime_new(flavours[i]);
        struct ouro_handle *handle = ouro_runtime_handle(runtime);
        atomic_store(&defiant_may_end, 0);
        ck_assert_int_eq(ouro_task_spawn_with(handle, NULL, defiant, NULL, NULL), 0);
        ck_assert_int_eq(ouro_runtime_shutdown(runtime, 20 * OURO_MILLISECOND), -ETIMEDOUT);
        ck_assert_int_eq(ouro_runtime_shutdown(runtime, 0), -ETIMEDOUT);
        atomic_store(&defiant_may_end, 1);
        ck_assert_int_eq(ouro_runtime_shutdown(runtime, 20 * OURO_SECOND), 0);
        ouro_handle_unref(handle);
        ouro_runtime_free(runtime);
    }
}

static int yields_once(void *arg)
{
    (void)arg;
    return ouro_yield();
}

/* Free gives up after its grace time: what the task stands on is left behind, and works. */
OURO_TEST(free_leaves_behind_what_does_not_end, .may_leak = "the task's runtime, for ever")
{
    for (int i = 0; i < 2; i++) {
        struct ouro_runtime *runtime = ouro_test_runtime_new(flavours[i]);
        struct ouro_handle *handle = ouro_runtime_handle(runtime);
        struct ouro_task *task = NULL;
        atomic_store(&defiant_may_end, 0);
        ck_assert_int_eq(ouro_task_spawn_with(handle, NULL, defiant, NULL, &task), 0);
        ck_assert_int_eq(ouro_runtime_block_on(runtime, yields_once, NULL, NULL), 0);
        ouro__runtime_free_grace_ns = 20 * OURO_MILLISECOND;
        ouro_runtime_free(runtime);
        ouro__runtime_free_grace_ns = 10 * OURO_SECOND;
        ck_assert_int_eq(ouro_task_spawn_with(handle, NULL, defiant, NULL, NULL), -OURO_ESHUTDOWN);
        atomic_store(&defiant_may_end, 1);
        ouro_handle_unref(handle);
    }
}

struct plain {
    struct ouro_handle *handle;
    ouro_task_function *function;
    _Atomic int is_inside;
};

static void *plain_thread(void *arg)
{
    struct plain *plain = arg;
    ck_assert_int_eq(ouro_enter(plain->handle), 0);
    atomic_store(&plain->is_inside, 1);
    ck_assert_int_eq(plain->function(NULL), 0);
    ouro_leave();
    return NULL;
}

static bool is_inside(void *arg)
{
    return atomic_load(&((struct plain *)arg)->is_inside) != 0;
}

OURO_TEST(shutdown_ends_the_waits_of_plain_threads)
{
    ouro_task_function *const functions[] = {sleeps, polls, reads, accepts, waits_for_readiness};
    for (unsigned i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        struct ouro_runtime *runtime = ouro_test_runtime_new(OURO_FLAVOUR_MULTI_THREAD);
        struct plain plain = {.handle = ouro_runtime_handle(runtime), .function = functions[i]};
        pthread_t thread;
        ck_assert_int_eq(pthread_create(&thread, NULL, plain_thread, &plain), 0);
        ck_assert(ouro_test_until(is_inside, &plain, 10 * OURO_SECOND));
        if (i < 2) /* the others may not be registered yet, and could not any more */
            ck_assert_int_eq(ouro_runtime_shutdown(runtime, 20 * OURO_SECOND), 0);
        struct ouro_io_driver_metrics metrics = {.registered = 0};
        while (i >= 2 && metrics.submitted == 0 && metrics.registered == 0)
            ck_assert_int_eq(ouro_handle_metrics(plain.handle, &metrics), 0);
        ck_assert_int_eq(ouro_runtime_shutdown(runtime, 20 * OURO_SECOND), 0);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
        ouro_handle_unref(plain.handle);
        ouro_runtime_free(runtime);
    }
}

static int until_something_is_in_flight(void *arg)
{
    struct ouro_handle *handle = arg;
    struct ouro_io_driver_metrics metrics = {.submitted = 0};
    while (metrics.submitted == 0) {
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
        ck_assert_int_eq(ouro_handle_metrics(handle, &metrics), 0);
    }
    return 0;
}

OURO_TEST(shutdown_of_a_current_thread_runtime_ends_the_waits_of_other_threads)
{
    struct ouro_runtime *runtime = ouro_test_runtime_new(OURO_FLAVOUR_CURRENT_THREAD);
    struct plain plain = {.handle = ouro_runtime_handle(runtime), .function = reads};
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, plain_thread, &plain), 0);
    ck_assert_int_eq(
        ouro_runtime_block_on(runtime, until_something_is_in_flight, plain.handle, NULL), 0);
    ck_assert_int_eq(ouro_runtime_shutdown(runtime, 20 * OURO_SECOND), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ouro_handle_unref(plain.handle);
    ouro_runtime_free(runtime);
}
