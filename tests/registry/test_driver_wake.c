/* SPDX-License-Identifier: MIT */
/*
 * How a driver's wait ends: unpark before, during and after it, from threads and signal handlers;
 * messages in order; time-outs that neither end early for ever nor burn the processor; a storm of
 * signals.
 */
#include "registry/driver_bench.h"

#include "base/compiler.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>

OURO_TEST(unpark_before_the_wait_is_kept)
{
    struct bench bench;
    bench_open(&bench);
    for (int i = 0; i < 100; i++) {
        ouro__driver_unpark(&bench.handle);
        ouro__driver_unpark(&bench.handle);
        bench_turn(&bench, -1);
    }
    struct ouro_io_driver_metrics metrics = bench_metrics(&bench);
    ck_assert_uint_eq(metrics.unparks, 0); /* nobody slept: no system call */
    ck_assert_uint_eq(metrics.sleeps, 0);
    bench_close(&bench);
}

struct waker {
    struct bench *bench;
    unsigned rounds;
    _Atomic unsigned asked;
    _Atomic unsigned seen;
    pthread_t target;
    int by_signal;
};

/* Unparks once for each time that the owner has seen the one before. */
static void *unpark_in_rounds(void *arg)
{
    struct waker *waker = arg;
    for (unsigned i = 0; i < waker->rounds; i++) {
        while (atomic_load(&waker->seen) != i)
            sched_yield();
        atomic_store(&waker->asked, i + 1);
        if (waker->by_signal != 0)
            ck_assert_int_eq(pthread_kill(waker->target, waker->by_signal), 0);
        else
            ouro__driver_unpark(&waker->bench->handle);
    }
    return NULL;
}

/* Every unpark ends a wait that has no other end. */
static void wait_for_unparks(struct bench *bench, unsigned rounds, int by_signal)
{
    struct waker waker = {
        .bench = bench, .rounds = rounds, .target = pthread_self(), .by_signal = by_signal};
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, unpark_in_rounds, &waker), 0);
    for (unsigned i = 0; i < rounds; i++) {
        while (atomic_load(&waker.asked) == i)
            bench_turn(bench, -1);
        atomic_store(&waker.seen, i + 1);
    }
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

OURO_TEST(unpark_from_a_thread_ends_the_wait)
{
    struct bench bench;
    bench_open(&bench);
    wait_for_unparks(&bench, 2000 / ouro_test_slowness(), 0);
    ck_assert_uint_le(bench_metrics(&bench).unparks, 2000);
    bench_close(&bench);
}

OURO_TEST_URING(unpark_ends_a_spin_too)
{
    struct bench bench;
    bench_init(&bench);
    bench.config.spin_us = 0;
    ck_assert_int_eq(ouro__driver_open(&bench.handle, &bench.config), 0);
    wait_for_unparks(&bench, 5000 / ouro_test_slowness(), 0);
    bench_close(&bench);
}

static struct ouro__driver_handle *handle_of_handler;

static void unpark_in_handler(int signal_number)
{
    (void)signal_number;
    ouro__driver_unpark(handle_of_handler);
}

static void handle_signal(int signal_number, void (*handler)(int), struct sigaction *before)
{
    struct sigaction action = {.sa_handler = handler}; /* no SA_RESTART */
    ck_assert_int_eq(sigaction(signal_number, &action, before), 0);
}

OURO_TEST(unpark_in_a_signal_handler_ends_the_wait)
{
    if (OURO__TSAN && ouro_test_driver() == OURO_DRIVER_URING)
        ouro_test_skip("ThreadSanitizer holds a signal back until its thread calls libc, which "
                       "a wait on io_uring does not do");
    struct bench bench;
    struct sigaction before;
    bench_open(&bench);
    handle_of_handler = &bench.handle;
    handle_signal(SIGUSR1, unpark_in_handler, &before);
    ck_assert_int_eq(raise(SIGUSR1), 0); /* before: kept */
    bench_turn(&bench, -1);
    wait_for_unparks(&bench, 500, SIGUSR1);
    ck_assert_int_eq(sigaction(SIGUSR1, &before, NULL), 0);
    bench_close(&bench);
}

OURO_TEST(timeouts_are_kept_without_burning, .serial = true)
{
    struct bench bench;
    bench_open(&bench);
    const int64_t begun_cpu_ns = ouro_test_cpu_ns();
    uint64_t turns = bench_metrics(&bench).turns;
    int64_t begun_ns = ouro_test_now_ns();
    for (int i = 0; i < 10; i++)
        bench_turn(&bench, 20 * OURO_TEST_MS);
    int64_t took_ns = ouro_test_now_ns() - begun_ns;
    const int64_t used_ns = ouro_test_cpu_ns() - begun_cpu_ns;
    ck_assert_int_ge(took_ns, 195 * OURO_TEST_MS);
    ck_assert_int_lt(took_ns, 2 * OURO_TEST_SECOND);
    ck_assert_uint_eq(bench_metrics(&bench).turns, turns + 10);
    ck_assert_int_lt(used_ns, 50 * OURO_TEST_MS);
    bench_turn(&bench, 1); /* a nanosecond is a time-out too */
    bench_close(&bench);
}

OURO_TEST(no_timeout_means_no_wait)
{
    struct bench bench;
    bench_open(&bench);
    for (int i = 0; i < 1000; i++)
        bench_turn(&bench, 0);
    ck_assert_uint_eq(bench_metrics(&bench).sleeps, 0);
    bench_close(&bench);
}

static void ignore_signal(int signal_number)
{
    (void)signal_number;
}

/* A timer that interrupts this very thread every 100 us. */
static timer_t start_storm(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR2};
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    timer_t timer;
    ck_assert_msg(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0, "timer_create: %m");
    struct itimerspec every = {.it_interval = {0, 100000}, .it_value = {0, 100000}};
    ck_assert_int_eq(timer_settime(timer, 0, &every, NULL), 0);
    return timer;
}

static void *echo_until_end(void *arg)
{
    int fd = *(const int *)arg;
    char buffer[64];
    ssize_t n = 0;
    sigset_t all;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, NULL);
    while ((n = read(fd, buffer, sizeof(buffer))) > 0)
        ouro_test_write_exactly(fd, buffer, (size_t)n);
    return NULL;
}

OURO_TEST(signals_do_not_disturb_operations)
{
    enum { EXCHANGES = 3000 };
    struct bench bench;
    struct trial trial;
    struct sigaction before;
    pthread_t thread;
    int ends[2];
    bench_open(&bench);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, echo_until_end, &ends[1]), 0);
    handle_signal(SIGUSR2, ignore_signal, &before);
    timer_t timer = start_storm();
    struct ouro__registration registration = bench_register(&bench, ends[0]);
    for (unsigned i = 0; i < EXCHANGES / ouro_test_slowness(); i++) {
        unsigned back = 0;
        trial_send(&trial, &bench, &registration, &i, sizeof(i));
        ck_assert_int_eq(trial_wait(&trial), (int)sizeof(i));
        trial_recv(&trial, &bench, &registration, &back, sizeof(back));
        ck_assert_int_eq(trial_wait(&trial), (int)sizeof(back));
        ck_assert_uint_eq(back, i);
    }
    ck_assert_int_eq(timer_delete(timer), 0);
    bench_release(&bench, &registration);
    (void)shutdown(ends[0], SHUT_RDWR);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(sigaction(SIGUSR2, &before, NULL), 0);
    bench_close(&bench);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

struct message {
    struct ouro__inbox_node node;
    unsigned number;
    unsigned sender;
};

struct sender {
    struct bench *bench;
    unsigned index;
    struct message *messages;
};

enum { SENDERS = 3, MESSAGES = 5000 };

static unsigned next_of[SENDERS];
static unsigned received;

static void receive(struct ouro__inbox_node *node)
{
    struct message *message = OURO__CONTAINER_OF(node, struct message, node);
    ck_assert_uint_eq(message->number, next_of[message->sender]);
    next_of[message->sender]++;
    received++;
}

static void *send_all(void *arg)
{
    struct sender *sender = arg;
    for (unsigned i = 0; i < MESSAGES; i++) {
        struct message *message = &sender->messages[i];
        *message = (struct message){.node = {.run = receive}, .number = i, .sender = sender->index};
        ck_assert(ouro__driver_send(&sender->bench->handle, &message->node));
        if (i % 64 == 0)
            sched_yield();
    }
    return NULL;
}

OURO_TEST(messages_of_one_sender_keep_their_order)
{
    static struct message messages[SENDERS][MESSAGES];
    struct bench bench;
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];
    memset(next_of, 0, sizeof(next_of));
    received = 0;
    bench_open(&bench);
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){&bench, i, messages[i]};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, send_all, &senders[i]), 0);
    }
    while (received < SENDERS * MESSAGES)
        bench_turn(&bench, -1);
    for (unsigned i = 0; i < SENDERS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    bench_close(&bench);
}

OURO_TEST(nothing_is_sent_to_an_owner_who_has_gone)
{
    struct bench bench;
    struct message early = {.node = {.run = receive}, .number = 0, .sender = 0};
    struct message late = {.node = {.run = receive}, .number = 1, .sender = 0};
    next_of[0] = 0;
    received = 0;
    bench_open(&bench);
    ck_assert(ouro__driver_send(&bench.handle, &early.node));
    ouro__driver_close(&bench.handle);
    ck_assert_uint_eq(received, 1); /* close drains */
    ck_assert(!ouro__driver_send(&bench.handle, &late.node));
    ck_assert_uint_eq(received, 1);
    ouro__driver_unpark(&bench.handle); /* harmless */
    ouro__driver_handle_fini(&bench.handle);
}
