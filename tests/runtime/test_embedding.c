/* SPDX-License-Identifier: MIT */
/*
 * An embedded runtime inside a bare epoll loop: everything that is to be done makes its descriptor
 * readable, and nothing else does.
 *
 * Owns:    nothing.
 * Threads: the loop's; others spawn and wake.
 * Always:  the loop waits without a time-out of its own, so what it is not told of is never done.
 */
#include "support/ouro_test.h"
#include "support/runtime.h"

#include <errno.h>
#include <ouro.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* A foreign event loop. */
struct loop {
    struct ouro_runtime *runtime;
    struct ouro_handle *handle;
    int epoll_fd;
    unsigned wakes; /* how often it was told that there is something to do */
};

static void loop_open(struct loop *loop)
{
    struct ouro_runtime_config config = ouro_test_config(OURO_FLAVOUR_CURRENT_THREAD);
    config.flags = OURO_RUNTIME_F_EMBEDDED;
    memset(loop, 0, sizeof(*loop));
    loop->runtime = ouro_test_runtime_with(&config);
    loop->handle = ouro_runtime_handle(loop->runtime);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    ck_assert_int_ge(loop->epoll_fd, 0);
    int fd = ouro_runtime_fd(loop->runtime);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    ck_assert_int_eq(epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event), 0);
}

static void loop_close(struct loop *loop)
{
    close(loop->epoll_fd);
    ouro_handle_unref(loop->handle);
    ouro_runtime_free(loop->runtime);
}

/* Waits at most @timeout_ms (-1: for ever) and gives the runtime its turn.  False: nothing. */
static bool loop_once(struct loop *loop, int timeout_ms)
{
    struct epoll_event event;
    int n = 0;
    do {
        n = epoll_wait(loop->epoll_fd, &event, 1, timeout_ms);
    } while (n < 0 && errno == EINTR);
    ck_assert_int_ge(n, 0);
    if (n == 0)
        return false;
    loop->wakes++;
    ck_assert_int_eq(ouro_runtime_turn(loop->runtime, 0), 0);
    return true;
}

/* Until @count is @target; the case's own time limit ends a loop that sleeps past work. */
static void loop_until(struct loop *loop, atomic_int *count, int target)
{
    while (atomic_load(count) < target)
        (void)loop_once(loop, -1);
}

/* All that was left behind is done; from here on the descriptor must stay quiet. */
static void loop_settles(struct loop *loop)
{
    unsigned before = loop->wakes;
    while (loop_once(loop, 0))
        ck_assert_uint_lt(loop->wakes, before + 1000);
    ck_assert(!loop_once(loop, 50));
}

static int counts(void *arg)
{
    (void)atomic_fetch_add((atomic_int *)arg, 1);
    return 0;
}

OURO_TEST(tasks_run_in_a_foreign_loop)
{
    struct loop loop;
    atomic_int count = 0;
    loop_open(&loop);
    loop_settles(&loop);
    for (int i = 1; i <= 50; i++) {
        ck_assert_int_eq(ouro_task_spawn_with(loop.handle, NULL, counts, &count, NULL), 0);
        loop_until(&loop, &count, i);
    }
    ck_assert_uint_le(loop.wakes, 200);
    for (int i = 0; i < 5000; i++)
        ck_assert_int_eq(ouro_task_spawn_with(loop.handle, NULL, counts, &count, NULL), 0);
    loop_until(&loop, &count, 5050);
    loop_settles(&loop);
    loop_close(&loop);
}

struct sleeper {
    atomic_int slept;
    int64_t late_ns; /* the longest */
};

static int sleeps(void *arg)
{
    struct sleeper *sleeper = arg;
    for (int i = 0; i < 20; i++) {
        int64_t due_ns = ouro_now_ns() + 5 * OURO_MILLISECOND;
        ck_assert_int_eq(ouro_sleep(5 * OURO_MILLISECOND), 0);
        int64_t late_ns = ouro_now_ns() - due_ns;
        ck_assert_int_ge(late_ns, 0);
        if (late_ns > sleeper->late_ns)
            sleeper->late_ns = late_ns;
        (void)atomic_fetch_add(&sleeper->slept, 1);
    }
    return 0;
}

static int meets_its_deadline(void *arg)
{
    struct ouro_deadline scope;
    ck_assert_int_eq(ouro_deadline_begin(&scope, 3 * OURO_MILLISECOND), 0);
    ck_assert_int_eq(ouro_sleep(100 * OURO_SECOND), -ETIMEDOUT);
    ouro_deadline_end(&scope);
    return counts(arg);
}

OURO_TEST(timers_wake_a_foreign_loop_and_do_not_spin_it)
{
    struct loop loop;
    struct sleeper sleeper = {.slept = 0};
    atomic_int count = 0;
    loop_open(&loop);
    ck_assert_int_eq(ouro_task_spawn_with(loop.handle, NULL, sleeps, &sleeper, NULL), 0);
    loop_until(&loop, &sleeper.slept, 20);
    ck_assert_uint_le(loop.wakes, 120); /* a few each */
    ck_assert_int_lt(sleeper.late_ns, 5 * OURO_SECOND);
    ck_assert_int_eq(ouro_task_spawn_with(loop.handle, NULL, meets_its_deadline, &count, NULL), 0);
    loop_until(&loop, &count, 1);
    loop_settles(&loop);
    loop_close(&loop);
}

enum { EXCHANGES = 500, SPAWNERS = 4, SPAWNS = 300 };

struct exchange {
    int fd;
    int messages;
    atomic_int *ended;
};

static int asks(void *arg)
{
    struct exchange *exchange = arg;
    struct ouro_stream *stream = NULL;
    ck_assert_int_eq(ouro_stream_from_fd(exchange->fd, &stream), 0);
    for (int i = 0; i < exchange->messages; i++) {
        char byte = (char)i;
        ck_assert_int_eq(ouro_stream_write(stream, &byte, 1), 1);
        ck_assert_int_eq(ouro_stream_read(stream, &byte, 1), 1);
        ck_assert_int_eq(byte, (char)i);
    }
    ck_assert_int_eq(ouro_stream_close(stream), 0);
    return counts(exchange->ended);
}

static int answers(void *arg)
{
    struct exchange *exchange = arg;
    struct ouro_stream *stream = NULL;
    char bytes[64];
    ssize_t got = 0;
    ck_assert_int_eq(ouro_stream_from_fd(exchange->fd, &stream), 0);
    while ((got = ouro_stream_read(stream, bytes, sizeof(bytes))) > 0)
        ck_assert_int_eq(ouro_stream_write_all(stream, bytes, (size_t)got, NULL), 0);
    ck_assert_int_eq(got, 0);
    ck_assert_int_eq(ouro_stream_close(stream), 0);
    return counts(exchange->ended);
}

static void *answers_outside(void *arg)
{
    struct exchange *exchange = arg;
    char byte = 0;
    while (recv(exchange->fd, &byte, 1, 0) == 1)
        ck_assert_int_eq(send(exchange->fd, &byte, 1, 0), 1);
    close(exchange->fd);
    return NULL;
}

OURO_TEST(sockets_in_a_foreign_loop)
{
    struct loop loop;
    atomic_int ended = 0;
    int inside[2];
    int outside[2];
    pthread_t thread;
    loop_open(&loop);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, inside), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, outside), 0);
    struct exchange exchanges[] = {
        {inside[0], EXCHANGES, &ended},
        {inside[1], 0, &ended},
        {outside[0], EXCHANGES, &ended},
        {outside[1], 0, &ended},
    };
    ck_assert_int_eq(pthread_create(&thread, NULL, answers_outside, &exchanges[3]), 0);
    ck_assert_int_eq(ouro_task_spawn_with(loop.handle, NULL, asks, &exchanges[0], NULL), 0);
    ck_assert_int_eq(ouro_task_spawn_with(loop.handle, NULL, answers, &exchanges[1], NULL), 0);
    ck_assert_int_eq(ouro_task_spawn_with(loop.handle, NULL, asks, &exchanges[2], NULL), 0);
    loop_until(&loop, &ended, 3);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    loop_settles(&loop);
    loop_close(&loop);
}

struct spawner {
    struct ouro_handle *handle;
    atomic_int *count;
};

static void *spawns(void *arg)
{
    struct spawner *spawner = arg;
    for (int i = 0; i < SPAWNS; i++)
        ck_assert_int_eq(ouro_task_spawn_with(spawner->handle, NULL, counts, spawner->count, NULL),
                         0);
    return NULL;
}

OURO_TEST(other_threads_wake_a_foreign_loop)
{
    struct loop loop;
    atomic_int count = 0;
    pthread_t threads[SPAWNERS];
    loop_open(&loop);
    struct spawner spawner = {loop.handle, &count};
    for (int i = 0; i < SPAWNERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, spawns, &spawner), 0);
    loop_until(&loop, &count, SPAWNERS * SPAWNS);
    for (int i = 0; i < SPAWNERS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    loop_settles(&loop);
    loop_close(&loop);
}

struct waiter {
    struct ouro_waker waker;
    bool is_ready;
    atomic_int ended;
    int result;
};

static enum ouro_poll look(void *arg, const struct ouro_waker *waker)
{
    struct waiter *waiter = arg;
    if (waiter->is_ready)
        return OURO_POLL_READY;
    if (waiter->waker.vtable == NULL)
        waiter->waker = ouro_waker_clone(waker);
    return OURO_POLL_PENDING;
}

static int waits(void *arg)
{
    struct waiter *waiter = arg;
    waiter->result = ouro_poll_fn(look, waiter);
    return counts(&waiter->ended);
}

/* The loop's own thread, between turns. */
OURO_TEST(what_the_loops_thread_does_between_turns_is_done)
{
    struct loop loop;
    struct waiter waiter = {.is_ready = false};
    struct ouro_task *task = NULL;
    loop_open(&loop);
    for (int cancels = 0; cancels < 2; cancels++) {
        waiter = (struct waiter){.is_ready = false};
        ck_assert_int_eq(ouro_task_spawn_with(loop.handle, NULL, waits, &waiter, &task), 0);
        while (waiter.waker.vtable == NULL)
            ck_assert(loop_once(&loop, -1));
        loop_settles(&loop);
        if (cancels) {
            ck_assert_int_eq(ouro_task_cancel(task), 0);
        } else {
            waiter.is_ready = true;
            ouro_waker_wake(&waiter.waker);
        }
        loop_until(&loop, &waiter.ended, 1);
        ck_assert_int_eq(waiter.result, cancels ? -ECANCELED : 0);
        ouro_waker_drop(&waiter.waker);
        ouro_task_detach(task);
    }
    loop_settles(&loop);
    loop_close(&loop);
}

static void *clone_count(void *arg)
{
    return arg;
}

static void wake_count(void *arg)
{
    (void)counts(arg);
}

static void drop_count(void *arg)
{
    (void)arg;
}

/* The third way to wait: a Waker of the loop's own, for a descriptor of the loop's own. */
OURO_TEST(a_waker_of_the_loops_own)
{
    static const struct ouro_waker_vtable counting = {clone_count, wake_count, drop_count};
    struct loop loop;
    struct ouro_poll_evented *io = NULL;
    struct ouro_ready_event event;
    atomic_int woken = 0;
    struct ouro_waker waker = {&counting, &woken};
    loop_open(&loop);
    int event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ck_assert_int_eq(ouro_enter(loop.handle), 0);
    ck_assert_int_eq(ouro_poll_evented_new(event_fd, OURO_READABLE, &io), 0);
    ouro_leave();
    ck_assert_int_eq(ouro_poll_evented_poll_ready(io, OURO_READABLE, &waker, &event),
                     OURO_POLL_PENDING);
    loop_settles(&loop);
    ck_assert_int_eq(eventfd_write(event_fd, 1), 0);
    loop_until(&loop, &woken, 1);
    ck_assert_int_eq(ouro_poll_evented_poll_ready(io, OURO_READABLE, &waker, &event),
                     OURO_POLL_READY);
    ouro_poll_evented_free(io);
    loop_settles(&loop);
    close(event_fd);
    loop_close(&loop);
}

static int yields_for_ever(void *arg)
{
    int rc = 0;
    while ((rc = ouro_yield()) == 0)
        (void)atomic_fetch_add((atomic_int *)arg, 1);
    return rc;
}

OURO_TEST(busy_tasks_leave_the_loop_its_turns)
{
    struct loop loop;
    struct ouro_task *task = NULL;
    atomic_int yields = 0;
    loop_open(&loop);
    ck_assert_int_eq(ouro_task_spawn_with(loop.handle, NULL, yields_for_ever, &yields, &task), 0);
    for (int i = 0; i < 100; i++) {
        int before = atomic_load(&yields);
        ck_assert(loop_once(&loop, 10000));
        ck_assert_int_lt(atomic_load(&yields), before + 100000);
    }
    ck_assert_int_gt(atomic_load(&yields), 100);
    ck_assert_int_eq(ouro_task_cancel(task), 0);
    ouro_task_detach(task);
    while (loop_once(&loop, 20))
        continue;
    loop_close(&loop);
}

static int sleeps_once(void *arg)
{
    ck_assert_int_eq(ouro_sleep(2 * OURO_MILLISECOND), 0);
    return counts(arg);
}

/* The runtime's own ways to wait still work on its thread, and the descriptor stays right. */
OURO_TEST(an_embedded_runtime_may_be_waited_for_as_any_other)
{
    struct loop loop;
    atomic_int count = 0;
    int result = -1;
    loop_open(&loop);
    ck_assert_int_eq(ouro_runtime_block_on(loop.runtime, sleeps_once, &count, &result), 0);
    ck_assert_int_eq(result, 0);
    ck_assert_int_eq(ouro_enter(loop.handle), 0);
    ck_assert_int_eq(sleeps_once(&count), 0);
    struct ouro_task *task = NULL;
    ck_assert_int_eq(ouro_task_spawn(sleeps_once, &count, &task), 0);
    ck_assert_int_eq(ouro_task_join(task, &result), 0);
    ck_assert_int_eq(atomic_load(&count), 3);
    /* Turns while the thread has entered, too. */
    ck_assert_int_eq(ouro_task_spawn(sleeps_once, &count, NULL), 0);
    loop_until(&loop, &count, 4);
    ouro_leave();
    loop_settles(&loop);
    ck_assert_int_eq(ouro_task_spawn_with(loop.handle, NULL, sleeps_once, &count, NULL), 0);
    loop_until(&loop, &count, 5);
    loop_close(&loop);
}

OURO_TEST(a_turn_may_wait)
{
    struct loop loop;
    atomic_int count = 0;
    loop_open(&loop);
    loop_settles(&loop);
    int64_t begun_ns = ouro_now_ns();
    ck_assert_int_eq(ouro_runtime_turn(loop.runtime, 20 * OURO_MILLISECOND), 0);
    ck_assert_int_ge(ouro_now_ns() - begun_ns, 20 * OURO_MILLISECOND);
    ck_assert_int_eq(ouro_task_spawn_with(loop.handle, NULL, sleeps_once, &count, NULL), 0);
    while (atomic_load(&count) == 0)
        ck_assert_int_eq(ouro_runtime_turn(loop.runtime, -1), 0);
    loop_settles(&loop);
    loop_close(&loop);
}

static int turns_inside(void *arg)
{
    return ouro_runtime_turn(arg, 0) == -OURO_ENESTED ? 0 : -EIO;
}

static void *turns_elsewhere(void *arg)
{
    ck_assert_int_eq(ouro_runtime_turn(arg, 0), -OURO_EWRONGTHREAD);
    return NULL;
}

OURO_TEST(turns_that_are_refused)
{
    struct loop loop;
    struct ouro_runtime *runtime = NULL;
    pthread_t thread;
    int result = -1;
    struct ouro_runtime_config config = ouro_test_config(OURO_FLAVOUR_MULTI_THREAD);
    config.flags = OURO_RUNTIME_F_EMBEDDED;
    ck_assert_int_eq(ouro_runtime_new(&config, &runtime), -EINVAL);
    config = ouro_test_config(OURO_FLAVOUR_CURRENT_THREAD);
    config.flags = OURO_RUNTIME_F_EMBEDDED | OURO_RUNTIME_F_NO_IO;
    ck_assert_int_eq(ouro_runtime_new(&config, &runtime), -EINVAL);
    runtime = ouro_test_runtime_new(OURO_FLAVOUR_CURRENT_THREAD);
    ck_assert_int_eq(ouro_runtime_fd(runtime), -EINVAL);
    ck_assert_int_eq(ouro_runtime_turn(runtime, 0), -EINVAL);
    ouro_runtime_free(runtime);
    ck_assert_int_eq(ouro_runtime_fd(NULL), -EINVAL);
    ck_assert_int_eq(ouro_runtime_turn(NULL, 0), -EINVAL);

    loop_open(&loop);
    ck_assert_int_eq(ouro_runtime_block_on(loop.runtime, turns_inside, loop.runtime, &result), 0);
    ck_assert_int_eq(result, 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, turns_elsewhere, loop.runtime), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(ouro_runtime_shutdown(loop.runtime, OURO_SECOND), 0);
    ck_assert_int_eq(ouro_runtime_turn(loop.runtime, 0), 0);
    loop_close(&loop);
}
