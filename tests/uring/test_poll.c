/* SPDX-License-Identifier: MIT */
/*
 * The multishot poll that reports readiness on io_uring: what ends it, and that it is armed again.
 */
#include "registry/driver_bench.h"

#include <errno.h>
#include <sys/eventfd.h>

#include "uring/ring.h"

enum { DESCRIPTORS = 700 };

static struct ouro__registration registrations[DESCRIPTORS];
static int fds[DESCRIPTORS];

static bool is_readable(const struct ouro__registration *registration)
{
    uint64_t word = ouro__load(&registration->sio->readiness, memory_order_acquire);
    return (ouro__readiness_ready(word) & OURO_READABLE) != 0;
}

static void clear(const struct ouro__registration *registration)
{
    uint64_t word = ouro__load(&registration->sio->readiness, memory_order_acquire);
    ouro__sio_clear(registration->sio, word, OURO_READABLE);
}

/* Makes each readable, and turns until each is reported so. */
static void check_all_report(struct bench *bench)
{
    int64_t limit_ns = ouro_test_now_ns() + BENCH_WAIT_NS;
    for (unsigned i = 0; i < DESCRIPTORS; i++)
        ck_assert_int_eq(eventfd_write(fds[i], 1), 0);
    for (unsigned i = 0; i < DESCRIPTORS; i++) {
        while (!is_readable(&registrations[i])) {
            ck_assert_int_lt(ouro_test_now_ns(), limit_ns);
            bench_turn(bench, OURO_TEST_MS);
        }
        eventfd_t value = 0;
        ck_assert_int_eq(eventfd_read(fds[i], &value), 0);
        clear(&registrations[i]);
    }
}

static void open_all(struct bench *bench)
{
    for (unsigned i = 0; i < DESCRIPTORS; i++) {
        fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        ck_assert_int_ge(fds[i], 0);
        ck_assert_int_eq(
            ouro__registration_new(&bench->handle, fds[i], OURO_READABLE, &registrations[i]), 0);
    }
}

static void close_all(struct bench *bench)
{
    for (unsigned i = 0; i < DESCRIPTORS; i++)
        ouro__registration_drop(&registrations[i]);
    bench_close(bench);
    for (unsigned i = 0; i < DESCRIPTORS; i++)
        (void)close(fds[i]);
}

/* The kernel ends a multishot poll when the completion queue is full: the CQE has no F_MORE. */
OURO_TEST_URING(a_poll_that_a_full_queue_ended_is_armed_again)
{
    struct bench bench;
    bench_init(&bench);
    bench.config.ring_entries = 16;
    ck_assert_int_eq(ouro__driver_open(&bench.handle, &bench.config), 0);
    unsigned cq_entries = ouro__uring_of(bench.handle.driver)->ring.cq.ring_entries;
    open_all(&bench);
    for (int round = 0; round < 3; round++) {
        check_all_report(&bench);
        /* More changes are reported than the queue holds, before any is taken out. */
        uint64_t submitted = bench_metrics(&bench).submitted;
        for (unsigned waves = 0; waves <= cq_entries / DESCRIPTORS + 1; waves++) {
            for (unsigned i = 0; i < DESCRIPTORS; i++)
                ck_assert_int_eq(eventfd_write(fds[i], 1), 0);
            for (unsigned i = 0; i < DESCRIPTORS; i++) /* a call does a part of the work only */
                (void)io_uring_get_events(&ouro__uring_of(bench.handle.driver)->ring);
        }
        for (int turns = 0; turns < 20; turns++)
            bench_turn(&bench, 0);
        ck_assert_uint_gt(bench_metrics(&bench).submitted, submitted); /* some were armed again */
        for (unsigned i = 0; i < DESCRIPTORS; i++) {
            eventfd_t value = 0;
            (void)eventfd_read(fds[i], &value);
            clear(&registrations[i]);
        }
    }
    close_all(&bench);
}

/* A poll that ends by an error of its own reports that: nothing would ever wake the waiters. */
OURO_TEST_URING(an_error_of_the_poll_is_final)
{
    struct bench bench;
    struct ouro__registration registration = {NULL};
    bench_open(&bench);
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ouro__registration_new(&bench.handle, fd, OURO_READABLE, &registration), 0);
    bench_turn(&bench, 0);
    struct ouro__uring *uring = ouro__uring_of(bench.handle.driver);
    struct io_uring_sqe *sqe = ouro__uring_sqe(uring); /* somebody else cancels it */
    io_uring_prep_cancel64(sqe, ouro__sio_token(registration.sio, OURO__LANE_POLL), 0);
    sqe->user_data = OURO__URING_IGNORE;
    uint64_t word = 0;
    int64_t limit_ns = ouro_test_now_ns() + BENCH_WAIT_NS;
    do {
        ck_assert_int_lt(ouro_test_now_ns(), limit_ns);
        bench_turn(&bench, OURO_TEST_MS);
        word = ouro__load(&registration.sio->readiness, memory_order_acquire);
    } while (ouro__readiness_ready(word) == 0);
    ck_assert_uint_eq(ouro__readiness_ready(word),
                      OURO_ERROR | OURO_READ_CLOSED | OURO_WRITE_CLOSED);
    bench_release(&bench, &registration);
    bench_close(&bench);
    (void)close(fd);
}

/* The poll holds the file: a registration that ends on its driver's thread lets it go at once. */
OURO_TEST_URING(the_file_is_let_go_in_the_next_turn)
{
    struct bench bench;
    struct ouro__registration registration = {NULL};
    int ends[2];
    char byte = 0;
    bench_open(&bench);
    bench_pair(ends);
    ck_assert_int_eq(ouro__registration_new(&bench.handle, ends[0], OURO_READABLE, &registration),
                     0);
    bench_turn(&bench, 0);
    ouro__registration_drop(&registration);
    (void)close(ends[0]);
    bench_turn(&bench, 0);
    bench_turn(&bench, 0);
    ck_assert_int_eq(recv(ends[1], &byte, 1, MSG_DONTWAIT), 0);
    bench_close(&bench);
    (void)close(ends[1]);
}
