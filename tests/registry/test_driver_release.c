/* SPDX-License-Identifier: MIT */
/*
 * The life of a registration with a driver: attached, dropped from anywhere, released by the owner
 * when nothing of it is in flight and without any traffic to nudge it; and the readiness it tells.
 */
#include "registry/driver_bench.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include <ouro/error.h>

OURO_TEST(registered_less_deregistered_is_live)
{
    enum { COUNT = 200 };
    struct bench bench;
    struct ouro__registration registrations[COUNT];
    int fds[COUNT];
    bench_open(&bench);
    for (int i = 0; i < COUNT; i++) {
        fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        ck_assert_int_ge(fds[i], 0);
        registrations[i] = bench_register(&bench, fds[i]);
    }
    struct ouro_io_driver_metrics metrics = bench_metrics(&bench);
    ck_assert_uint_eq(metrics.registered, COUNT);
    ck_assert_uint_eq(metrics.deregistered, 0);
    for (int i = 0; i < COUNT / 2; i++)
        ouro__registration_drop(&registrations[i]);
    metrics = bench_metrics(&bench);
    ck_assert_uint_eq(metrics.registered - metrics.deregistered, COUNT / 2);
    ck_assert_uint_eq(metrics.released, 0); /* only in a turn */
    bench_turn(&bench, 0);
    ck_assert_uint_eq(bench_metrics(&bench).released, COUNT / 2);
    for (int i = COUNT / 2; i < COUNT; i++)
        ouro__registration_drop(&registrations[i]);
    ouro__registration_drop(&registrations[0]); /* a second time: nothing */
    bench_close(&bench);
    for (int i = 0; i < COUNT; i++)
        (void)close(fds[i]);
}

struct dropper {
    struct bench *bench;
    struct ouro__registration *registrations;
    unsigned count;
    uint64_t released; /* in all, when all of these have been */
    _Atomic bool finished;
};

static bool all_released(void *arg)
{
    struct dropper *dropper = arg;
    return bench_metrics(dropper->bench).released == dropper->released;
}

/* Drops all, sees to it that all are released, and only then disturbs the owner's sleep. */
static void *drop_all(void *arg)
{
    struct dropper *dropper = arg;
    for (unsigned i = 0; i < dropper->count; i++) {
        ouro__registration_drop(&dropper->registrations[i]);
        if (i % 16 == 0)
            sched_yield();
    }
    ck_assert(ouro_test_until(all_released, dropper, BENCH_WAIT_NS));
    atomic_store(&dropper->finished, true);
    ouro__driver_unpark(&dropper->bench->handle);
    return NULL;
}

/* The owner sleeps without a time-out; another thread drops; there is no traffic. */
OURO_TEST(drops_from_another_thread_are_released_without_traffic)
{
    static const unsigned counts[] = {1, 2, 15, 16, 17, 1000, 1};
    static struct ouro__registration registrations[1000];
    struct bench bench;
    uint64_t released = 0;
    bench_open(&bench);
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ck_assert_int_ge(fd, 0);
    for (size_t round = 0; round < sizeof(counts) / sizeof(counts[0]); round++) {
        unsigned count = counts[round];
        pthread_t thread;
        released += count;
        for (unsigned i = 0; i < count; i++)
            registrations[i] = bench_register(&bench, fd);
        struct dropper dropper = {&bench, registrations, count, released, false};
        ck_assert_int_eq(pthread_create(&thread, NULL, drop_all, &dropper), 0);
        while (!atomic_load(&dropper.finished))
            bench_turn(&bench, -1);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
    }
    bench_close(&bench);
    (void)close(fd);
}

OURO_TEST(drop_with_an_operation_in_flight_waits_for_it)
{
    struct bench bench;
    struct trial trial;
    char buffer[8];
    int ends[2];
    bench_open(&bench);
    bench_pair(ends);
    struct ouro__registration registration = bench_register(&bench, ends[0]);
    trial_recv(&trial, &bench, &registration, buffer, sizeof(buffer));
    bench_turn(&bench, 0);
    ouro__registration_drop(&registration);
    ck_assert_uint_eq(bench_metrics(&bench).released, 0);
    ck_assert_int_eq(trial_wait(&trial), -ECANCELED);
    bench_turn(&bench, 0);
    ck_assert_uint_eq(bench_metrics(&bench).released, 1);
    bench_close(&bench);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static void drop_in_done(struct ouro__op *op)
{
    struct trial *trial = OURO__CONTAINER_OF(op, struct trial, op);
    struct ouro__registration registration = {op->sio};
    trial->done++;
    ouro__registration_drop(&registration);
}

OURO_TEST(done_may_drop)
{
    struct bench bench;
    struct trial trial;
    char byte = 0;
    int ends[2];
    bench_open(&bench);
    bench_pair(ends);
    struct ouro__registration registration = bench_register(&bench, ends[0]);
    ouro_test_write_exactly(ends[1], "x", 1);
    trial_init(&trial, &bench, &registration, OURO__OP_RECV, OURO__LANE_READ);
    trial.op.done = drop_in_done;
    trial.op.arg.io.buffer = &byte;
    trial.op.arg.io.size = 1;
    trial_submit(&trial);
    ck_assert_int_eq(trial_wait(&trial), 1);
    bench_turn(&bench, 0);
    ck_assert_uint_eq(bench_metrics(&bench).released, 1);
    bench_close(&bench);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

/* A slot that is used again has another generation: its predecessor's token finds nothing. */
OURO_TEST(a_reused_slot_is_another)
{
    struct bench bench;
    bench_open(&bench);
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ck_assert_int_ge(fd, 0);
    uint64_t before = 0;
    for (int i = 0; i < 100; i++) {
        struct ouro__registration registration = bench_register(&bench, fd);
        uint64_t token = ouro__sio_token(registration.sio, OURO__LANE_READ);
        ck_assert_uint_ne(token, before);
        ck_assert_ptr_eq(ouro__registration_set_find(&bench.handle.set, token), registration.sio);
        if (before != 0)
            ck_assert_ptr_null(ouro__registration_set_find(&bench.handle.set, before));
        before = token;
        bench_release(&bench, &registration);
        ck_assert_ptr_null(ouro__registration_set_find(&bench.handle.set, token));
    }
    bench_close(&bench);
    (void)close(fd);
}

static _Atomic unsigned wakes;
static _Atomic int clones;

static void *count_clone(void *data)
{
    atomic_fetch_add(&clones, 1);
    return data;
}

static void count_wake(void *data)
{
    (void)data;
    atomic_fetch_add(&wakes, 1);
}

static void count_drop(void *data)
{
    (void)data;
    atomic_fetch_sub(&clones, 1);
}

static const struct ouro_waker_vtable counting = {count_clone, count_wake, count_drop};

OURO_TEST(readiness_wakes_whoever_polls)
{
    struct bench bench;
    struct ouro__registration registration = {NULL};
    struct ouro_waker waker = {&counting, NULL};
    uint64_t word = 0;
    int ends[2];
    atomic_store(&wakes, 0);
    atomic_store(&clones, 0);
    bench_open(&bench);
    bench_pair(ends);
    ck_assert_int_eq(ouro__registration_new(&bench.handle, ends[0], OURO_READABLE, &registration),
                     0);
    for (unsigned round = 1; round <= 50; round++) {
        ck_assert_int_eq(ouro__registration_poll(&registration, OURO_READABLE, &waker, &word), 0);
        bench_turn(&bench, 0);
        ck_assert_uint_eq(atomic_load(&wakes), round - 1);
        ouro_test_write_exactly(ends[1], "x", 1);
        while (atomic_load(&wakes) < round)
            bench_turn(&bench, OURO_TEST_SECOND);
        ck_assert_int_eq(ouro__registration_poll(&registration, OURO_READABLE, &waker, &word), 1);
        ck_assert_uint_ne(ouro__readiness_ready(word) & OURO_READABLE, 0);
        char bytes[4];
        ck_assert_int_eq(recv(ends[0], bytes, sizeof(bytes), 0), 1);
        ouro__sio_clear(registration.sio, word, OURO_READABLE);
        ck_assert_uint_eq(atomic_load(&wakes), round);
    }
    bench_release(&bench, &registration);
    ck_assert_int_eq(atomic_load(&clones), 0);
    bench_close(&bench);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

struct writer {
    int fd;
    unsigned count;
};

static void *write_bytes(void *arg)
{
    struct writer *writer = arg;
    for (unsigned i = 0; i < writer->count; i++) {
        ouro_test_write_exactly(writer->fd, "x", 1);
        sched_yield();
    }
    return NULL;
}

/* Polling from another thread than the owner's: arming goes through the inbox. */
static void *poll_in_rounds(void *arg)
{
    struct ouro__registration *registration = arg;
    struct ouro_waker waker = {&counting, NULL};
    for (unsigned got = 0; got < 500;) {
        uint64_t word = 0;
        char bytes[16];
        int rc = ouro__registration_poll(registration, OURO_READABLE, &waker, &word);
        ck_assert_int_ge(rc, 0);
        if (rc == 0) {
            sched_yield();
            continue;
        }
        ssize_t n = recv(registration->sio->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        ck_assert(n > 0 || errno == EAGAIN);
        got += n > 0 ? (unsigned)n : 0;
        /* An edge tells once of all that is there: it is used up when nothing is left. */
        if (n < (ssize_t)sizeof(bytes))
            ouro__sio_clear(registration->sio, word, OURO_READABLE);
    }
    ouro__driver_unpark(registration->sio->handle);
    return NULL;
}

OURO_TEST(readiness_reaches_another_thread)
{
    struct bench bench;
    struct ouro__registration registration = {NULL};
    pthread_t poller;
    pthread_t writing;
    int ends[2];
    atomic_store(&wakes, 0);
    atomic_store(&clones, 0);
    bench_open(&bench);
    bench_pair(ends);
    ck_assert_int_eq(ouro__registration_new(&bench.handle, ends[0], OURO_READABLE, &registration),
                     0);
    struct writer writer = {ends[1], 500};
    ck_assert_int_eq(pthread_create(&poller, NULL, poll_in_rounds, &registration), 0);
    ck_assert_int_eq(pthread_create(&writing, NULL, write_bytes, &writer), 0);
    while (pthread_tryjoin_np(poller, NULL) == EBUSY)
        bench_turn(&bench, 100 * OURO_TEST_MS);
    ck_assert_int_eq(pthread_join(writing, NULL), 0);
    bench_release(&bench, &registration);
    ck_assert_int_eq(atomic_load(&clones), 0);
    bench_close(&bench);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

OURO_TEST(shutdown_is_told_at_once)
{
    struct bench bench;
    struct ouro__registration registration = {NULL};
    struct ouro_waker waker = {&counting, NULL};
    uint64_t word = 0;
    int ends[2];
    atomic_store(&wakes, 0);
    atomic_store(&clones, 0);
    bench_open(&bench);
    bench_pair(ends);
    ck_assert_int_eq(ouro__registration_new(&bench.handle, ends[0], OURO_READABLE, &registration),
                     0);
    ck_assert_int_eq(ouro__registration_poll(&registration, OURO_READABLE, &waker, &word), 0);
    ouro__registration_set_shut_down(&bench.handle.set);
    ck_assert_uint_eq(atomic_load(&wakes), 1);
    ck_assert_int_eq(ouro__registration_poll(&registration, OURO_READABLE, &waker, &word),
                     -OURO_ESHUTDOWN);
    struct ouro__registration late = {NULL};
    ck_assert_int_eq(ouro__registration_new(&bench.handle, ends[1], 0, &late), -OURO_ESHUTDOWN);
    bench_release(&bench, &registration);
    bench_close(&bench);
    (void)close(ends[0]);
    (void)close(ends[1]);
}
