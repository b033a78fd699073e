/* SPDX-License-Identifier: MIT */
/*
 * The io_uring backend from inside: full queues on both sides, a kernel that refuses, SQEs that
 * must not outlive their operation, results that come too late.
 */
#include "registry/driver_bench.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "support/unanswered.h"
#include "uring/ring.h"

static struct ouro__uring *ring_of(struct bench *bench)
{
    return ouro__uring_of(bench->handle.driver);
}

static void bench_open_with(struct bench *bench, uint32_t ring_entries)
{
    bench_init(bench);
    bench->config.ring_entries = ring_entries;
    ck_assert_int_eq(ouro__driver_open(&bench->handle, &bench->config), 0);
}

/* Completes at once, and may do so again and again. */
static void submit_peek(struct trial *trial, struct bench *bench,
                        const struct ouro__registration *registration, unsigned lane)
{
    static char byte;
    trial_init(trial, bench, registration, OURO__OP_RECV, lane);
    trial->op.arg.io.buffer = &byte;
    trial->op.arg.io.size = 1;
    trial->op.arg.io.flags = MSG_PEEK;
    trial_submit(trial);
}

OURO_TEST_URING(ring_has_the_sizes_asked_for)
{
    static const struct {
        uint32_t asked, sq, cq;
    } sizes[] = {{0, 256, 2048},
                 {1, 1, 1024},
                 {16, 16, 1024},
                 {1000, 1024, 8192},
                 {UINT32_MAX, 32768, 65536}};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct bench bench;
        bench_open_with(&bench, sizes[i].asked);
        ck_assert_uint_eq(ring_of(&bench)->ring.sq.ring_entries, sizes[i].sq);
        ck_assert_uint_eq(ring_of(&bench)->ring.cq.ring_entries, sizes[i].cq);
        bench_close(&bench);
    }
}

/* More completions than the completion queue holds: none is lost, none comes twice. */
OURO_TEST_URING(overflow_of_the_completion_queue_loses_nothing)
{
    enum { DESCRIPTORS = 600, LANES = OURO__LANE_QUIESCE };
    static struct trial trials[DESCRIPTORS][LANES];
    static struct ouro__registration registrations[DESCRIPTORS];
    struct bench bench;
    bench_open_with(&bench, 16);
    unsigned cq_entries = ring_of(&bench)->ring.cq.ring_entries;
    ck_assert_uint_gt(DESCRIPTORS * LANES, 2 * cq_entries);
    int ends[2];
    bench_pair(ends);
    ouro_test_write_exactly(ends[1], "x", 1);
    for (unsigned i = 0; i < DESCRIPTORS; i++)
        registrations[i] = bench_register(&bench, ends[0]);
    for (unsigned round = 1; round <= 3; round++) {
        for (unsigned i = 0; i < DESCRIPTORS; i++) {
            for (unsigned lane = 0; lane < LANES; lane++)
                submit_peek(&trials[i][lane], &bench, &registrations[i], lane);
        }
        bench_turn(&bench, -1);
        ck_assert_uint_eq(bench_metrics(&bench).overflowed, round);
        for (unsigned i = 0; i < DESCRIPTORS; i++) {
            for (unsigned lane = 0; lane < LANES; lane++) {
                ck_assert_uint_eq(trials[i][lane].done, 1);
                ck_assert_int_eq(trials[i][lane].op.result, 1);
            }
        }
    }
    for (unsigned i = 0; i < DESCRIPTORS; i++)
        ouro__registration_drop(&registrations[i]);
    bench_close(&bench);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

enum { SENDS = 64 };

/* One datagram for each of SENDS registrations of one socket; they must arrive in order. */
static void sends_keep_their_order(uint32_t ring_entries, uint64_t refused_sqes)
{
    static struct trial trials[SENDS];
    static unsigned char numbers[SENDS];
    struct ouro__registration registrations[SENDS];
    struct bench bench;
    int ends[2];
    bench_open_with(&bench, ring_entries);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    for (unsigned i = 0; i < SENDS; i++)
        registrations[i] = bench_register(&bench, ends[0]);
    if (refused_sqes > 0)
        ouro__fault_arm(OURO__FAULT_RING_SQE, 5, refused_sqes, -EBUSY);
    for (unsigned i = 0; i < SENDS; i++) {
        numbers[i] = (unsigned char)i;
        trial_send(&trials[i], &bench, &registrations[i], &numbers[i], 1);
        if (i == SENDS / 2)
            bench_turn(&bench, 0);
    }
    for (unsigned i = 0; i < SENDS; i++) {
        unsigned char number = 0;
        int64_t limit_ns = ouro_test_now_ns() + BENCH_WAIT_NS;
        while (trials[i].done == 0) {
            ck_assert_int_lt(ouro_test_now_ns(), limit_ns);
            bench_turn(&bench, OURO_TEST_SECOND);
        }
        ck_assert_int_eq(trials[i].op.result, 1);
        ck_assert_int_eq(recv(ends[1], &number, 1, 0), 1);
        ck_assert_uint_eq(number, i);
    }
    if (refused_sqes > 0)
        ck_assert_uint_eq(ouro__fault_fired(OURO__FAULT_RING_SQE), refused_sqes);
    ouro__fault_disarm_all();
    for (unsigned i = 0; i < SENDS; i++)
        bench_release(&bench, &registrations[i]);
    bench_close(&bench);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

OURO_TEST_URING(full_submission_queue_keeps_the_order)
{
    sends_keep_their_order(4, 0);
}

OURO_TEST_URING(refused_sqes_keep_the_order)
{
    sends_keep_their_order(0, 1);
    sends_keep_their_order(0, 2);
    sends_keep_their_order(0, 30);
}

/* A cancellation that finds no SQE is made up for. */
OURO_TEST_URING(cancel_without_an_sqe_comes_later)
{
    struct bench bench;
    struct trial trial;
    char byte = 0;
    int ends[2];
    bench_open_with(&bench, 0);
    bench_pair(ends);
    struct ouro__registration registration = bench_register(&bench, ends[0]);
    trial_recv(&trial, &bench, &registration, &byte, 1);
    bench_turn(&bench, 0);
    ouro__fault_arm(OURO__FAULT_RING_SQE, 1, 6, -EBUSY);
    trial_cancel(&trial);
    trial_cancel(&trial);
    ck_assert_uint_ne(trial.op.backend & OURO__URING_CANCEL_QUEUED, 0);
    ck_assert_int_eq(trial_wait(&trial), -ECANCELED);

    /* And one that is overtaken by the result is forgotten. */
    ouro__fault_disarm_all();
    trial_recv(&trial, &bench, &registration, &byte, 1);
    bench_turn(&bench, 0);
    ouro__fault_arm(OURO__FAULT_RING_SQE, 1, 4, -EBUSY);
    trial_cancel(&trial);
    ck_assert_uint_ne(trial.op.backend & OURO__URING_CANCEL_QUEUED, 0);
    ouro_test_write_exactly(ends[1], "x", 1);
    ck_assert_int_eq(trial_wait(&trial), 1);
    ck_assert_ptr_null(ring_of(&bench)->cancels.head);
    ouro__fault_disarm_all();
    bench_release(&bench, &registration);
    bench_close(&bench);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

/* The kernel refuses to be entered @times times in a row with @error: nothing is lost. */
static void refusals_pass(int error, uint64_t times)
{
    struct bench bench;
    struct trial in;
    struct trial out;
    char buffer[8];
    int ends[2];
    bench_open_with(&bench, 0);
    bench_pair(ends);
    struct ouro__registration left = bench_register(&bench, ends[0]);
    struct ouro__registration right = bench_register(&bench, ends[1]);
    for (uint64_t first = 1; first <= 2; first++) {
        ouro__fault_arm(OURO__FAULT_RING_ENTER, first, times, error);
        trial_recv(&in, &bench, &right, buffer, sizeof(buffer));
        bench_turn(&bench, 0);
        trial_send(&out, &bench, &left, "through", 7);
        ck_assert_int_eq(trial_wait(&out), 7);
        ck_assert_int_eq(trial_wait(&in), 7);
        ck_assert_int_eq(memcmp(buffer, "through", 7), 0);
        ck_assert_uint_gt(ouro__fault_fired(OURO__FAULT_RING_ENTER), 0);
        ouro__fault_disarm_all();
    }
    bench_release(&bench, &left);
    bench_release(&bench, &right);
    bench_close(&bench);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

OURO_TEST_URING(a_kernel_that_refuses_is_asked_again)
{
    static const int errors[] = {-EAGAIN, -EBUSY, -ENOMEM, -EINTR};
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        refusals_pass(errors[i], 1);
        refusals_pass(errors[i], 2);
        refusals_pass(errors[i], 25);
    }
}

/* While it refuses, the owner waits between its attempts, and an unpark still ends a turn. */
OURO_TEST_URING(a_refusing_kernel_is_not_a_busy_loop, .serial = true)
{
    struct bench bench;
    struct trial trial;
    char byte = 0;
    int ends[2];
    bench_open_with(&bench, 0);
    bench_pair(ends);
    struct ouro__registration registration = bench_register(&bench, ends[0]);
    trial_recv(&trial, &bench, &registration, &byte, 1);
    ouro__fault_arm(OURO__FAULT_RING_ENTER, 1, UINT64_MAX, -EAGAIN);
    uint64_t turns = bench_metrics(&bench).turns;
    int64_t begun_ns = ouro_test_now_ns();
    while (ouro_test_now_ns() - begun_ns < 100 * OURO_TEST_MS)
        bench_turn(&bench, OURO_TEST_SECOND);
    ck_assert_uint_gt(bench_metrics(&bench).turns - turns, 1);
    ck_assert_uint_le(bench_metrics(&bench).turns - turns, 101);
    ouro__driver_unpark(&bench.handle);
    bench_turn(&bench, -1);
    ouro__fault_disarm_all();
    ouro_test_write_exactly(ends[1], "x", 1);
    ck_assert_int_eq(trial_wait(&trial), 1);
    bench_release(&bench, &registration);
    bench_close(&bench);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

/*
 * The bug of a peer: the submission failed, the operation was reported as failed and its buffer
 * reused, and the SQE that was still in the queue ran with the next submission.
 */
OURO_TEST_URING(a_stale_sqe_never_runs)
{
    struct bench bench;
    struct trial trial;
    int ends[2];
    bench_open_with(&bench, 0);
    bench_pair(ends);
    struct ouro__registration registration = bench_register(&bench, ends[0]);
    for (int turns = 0; turns < 3; turns++) {
        char *buffer = malloc(8);
        ck_assert_ptr_nonnull(buffer);
        ouro__fault_arm(OURO__FAULT_RING_ENTER, 1, UINT64_MAX, -EAGAIN);
        trial_recv(&trial, &bench, &registration, buffer, 8);
        for (int i = 0; i < turns; i++)
            bench_turn(&bench, i * OURO_TEST_MS);
        ck_assert_uint_eq(trial.done, 0); /* a failed submission is not a failed operation */
        trial_cancel(&trial);
        ck_assert_int_eq(trial_wait(&trial), -ECANCELED);
        free(buffer);
        ouro__fault_disarm_all();
        ouro_test_write_exactly(ends[1], "unread", 6);
        bench_turn(&bench, 0);
        bench_turn(&bench, OURO_TEST_MS);
        char kept[8];
        ck_assert_int_eq(recv(ends[0], kept, sizeof(kept), MSG_DONTWAIT), 6);
        ck_assert_int_eq(memcmp(kept, "unread", 6), 0);
    }
    ck_assert_uint_eq(bench_metrics(&bench).stale, 0);
    bench_release(&bench, &registration);
    bench_close(&bench);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

OURO_TEST_URING(close_does_not_need_a_willing_kernel)
{
    enum { PAIRS = 10 };
    static struct trial trials[PAIRS];
    static char buffers[PAIRS];
    struct bench bench;
    int ends[PAIRS][2];
    bench_open_with(&bench, 4);
    ouro__fault_arm(OURO__FAULT_RING_ENTER, 1, UINT64_MAX, -EAGAIN);
    for (int i = 0; i < PAIRS; i++) {
        bench_pair(ends[i]);
        struct ouro__registration registration = bench_register(&bench, ends[i][0]);
        trial_recv(&trials[i], &bench, &registration, &buffers[i], 1);
        ouro__registration_drop(&registration);
    }
    bench_close(&bench);
    ouro__fault_disarm_all();
    for (int i = 0; i < PAIRS; i++) {
        ck_assert_uint_eq(trials[i].done, 1);
        ck_assert_int_eq(trials[i].op.result, -ECANCELED);
        (void)close(ends[i][0]);
        (void)close(ends[i][1]);
    }
}

/* A result for somebody who has gone: dropped, counted, and what it brought is closed. */
OURO_TEST_URING(late_results_are_disposed_of)
{
    struct bench bench;
    uint16_t port = 0;
    bench_open_with(&bench, 0);
    struct ouro__uring *uring = ring_of(&bench);
    int listener = ouro_test_listen(AF_INET, 8, &port);
    struct ouro__registration registration = bench_register(&bench, listener);
    const struct ouro__scheduled_io *sio = registration.sio;
    const uint64_t tokens[] = {
        ouro__token(sio->generation + 1, sio->index, OURO__LANE_ACCEPT), /* another generation */
        ouro__token(1, OURO__SLAB_INDEX_MAX, OURO__LANE_ACCEPT),         /* no such slot */
        ouro__sio_token(sio, OURO__LANE_ACCEPT),                         /* an idle lane */
    };
    for (uint64_t i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++) {
        struct io_uring_sqe *sqe = ouro__uring_sqe(uring);
        io_uring_prep_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
        sqe->user_data = tokens[i];
        int client = ouro_test_connect(AF_INET, port);
        int64_t limit_ns = ouro_test_now_ns() + BENCH_WAIT_NS;
        while (bench_metrics(&bench).stale == i) {
            ck_assert_int_lt(ouro_test_now_ns(), limit_ns);
            bench_turn(&bench, OURO_TEST_SECOND);
        }
        ck_assert_uint_eq(bench_metrics(&bench).stale, i + 1);
        char byte = 0;
        ck_assert_int_eq(recv(client, &byte, 1, 0), 0); /* the accepted end was closed */
        (void)close(client);
    }
    bench_release(&bench, &registration);
    bench_close(&bench);
    (void)close(listener);
}

/* A kernel that answers CONNECT with "in progress": polled for, then read from the socket. */
OURO_TEST_URING(connect_in_progress_is_waited_for)
{
    struct bench bench;
    struct trial trial;
    uint16_t port = 0;
    uint16_t refusing_port = 0;
    bench_open_with(&bench, 0);
    int listener = ouro_test_listen(AF_INET, 8, &port);
    int refusing = ouro_test_refusing(AF_INET, &refusing_port);
    struct sockaddr_in address = bench_loopback(port);
    int fd = bench_socket();
    struct ouro__registration registration = bench_register(&bench, fd);
    ouro__fault_arm(OURO__FAULT_RING_CONNECT, 1, 1, -EINPROGRESS);
    trial_connect(&trial, &bench, &registration, &address);
    ck_assert_int_eq(trial_wait(&trial), 0);
    ck_assert_uint_eq(ouro__fault_fired(OURO__FAULT_RING_CONNECT), 1);
    bench_release(&bench, &registration);
    (void)close(fd);

    /* It was refused and somebody has read the error: no success, and nothing more will come. */
    fd = bench_socket();
    registration = bench_register(&bench, fd);
    address = bench_loopback(refusing_port);
    ouro__fault_arm(OURO__FAULT_RING_CONNECT, 1, 1, -EINPROGRESS);
    trial_connect(&trial, &bench, &registration, &address);
    ck_assert_int_eq(trial_wait(&trial), -ECONNABORTED);
    ouro__fault_disarm_all();
    bench_release(&bench, &registration);
    (void)close(fd);

    /* Interrupted by nobody's wish it goes on without its request, and can be cancelled. */
    struct ouro_test_full_backlog full;
    ouro_test_full_backlog_open(&full, AF_INET);
    fd = bench_socket();
    registration = bench_register(&bench, fd);
    address = bench_loopback(full.port);
    ck_assert(connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0);
    ouro__fault_arm(OURO__FAULT_RING_CONNECT, 1, 1, -EINTR); /* instead of EALREADY */
    trial_connect(&trial, &bench, &registration, &address);
    for (int i = 0; i < 5; i++)
        bench_turn(&bench, OURO_TEST_MS);
    ck_assert_uint_eq(trial.done, 0);
    trial_cancel(&trial);
    ck_assert_int_eq(trial_wait(&trial), -ECANCELED);
    ouro__fault_disarm_all();
    ouro_test_full_backlog_close(&full);
    bench_release(&bench, &registration);
    bench_close(&bench);
    (void)close(fd);
    (void)close(listener);
    (void)close(refusing);
}

/* The read of the wake descriptor is armed again each time, and only when it has fired. */
OURO_TEST_URING(wake_is_armed_once_per_firing)
{
    struct bench bench;
    bench_open_with(&bench, 0);
    struct ouro__uring *uring = ring_of(&bench);
    ck_assert(!uring->wake_armed);
    bench_turn(&bench, 0);
    ck_assert(!uring->wake_armed); /* nobody sleeps: no need */
    for (int i = 0; i < 3; i++)
        bench_turn(&bench, OURO_TEST_MS);
    ck_assert(uring->wake_armed);
    ck_assert_uint_eq(ouro__uring_unsubmitted(uring), 0);
    unsigned tail = uring->ring.sq.sqe_tail;
    bench_turn(&bench, OURO_TEST_MS);
    ck_assert_uint_eq(uring->ring.sq.sqe_tail, tail);
    uring->driver.handle->ops->unpark(&bench.handle);
    bench_turn(&bench, -1);
    ck_assert(!uring->wake_armed);
    bench_close(&bench);
}

/* The read of the wake descriptor may fail; unparks are heard all the same. */
OURO_TEST_URING(a_failed_wake_is_armed_again)
{
    struct bench bench;
    bench_open_with(&bench, 0);
    struct ouro__uring *uring = ring_of(&bench);
    for (int i = 0; i < 3; i++) {
        bench_turn(&bench, OURO_TEST_MS);
        ck_assert(uring->wake_armed);
        struct io_uring_sqe *sqe = ouro__uring_sqe(uring);
        ck_assert_ptr_nonnull(sqe);
        io_uring_prep_cancel64(sqe, OURO__URING_WAKE, 0);
        sqe->user_data = OURO__URING_IGNORE;
        for (int turn = 0; turn < 100 && uring->wake_armed; turn++)
            bench_turn(&bench, 0);
        ck_assert(!uring->wake_armed);
        bench_turn(&bench, OURO_TEST_MS);
        ck_assert(uring->wake_armed);
        uring->driver.handle->ops->unpark(&bench.handle);
        bench_turn(&bench, -1);
    }
    bench_close(&bench);
}

/* One system call for a turn that submits, waits and collects; none for one with nothing to do. */
OURO_TEST_URING(a_turn_is_one_system_call)
{
    struct bench bench;
    struct trial trial;
    int ends[2];
    bench_open_with(&bench, 0);
    bench_pair(ends);
    struct ouro__uring *uring = ring_of(&bench);
    struct ouro__registration registration = bench_register(&bench, ends[0]);
    bench_turn(&bench, OURO_TEST_MS); /* arms the wake read */
    uint64_t enters = uring->enters;
    for (int i = 0; i < 100; i++)
        bench_turn(&bench, 0);
    ck_assert_uint_eq(uring->enters, enters);
    for (int i = 0; i < 100; i++) {
        trial_send(&trial, &bench, &registration, "x", 1);
        bench_turn(&bench, OURO_TEST_SECOND);
        ck_assert_uint_eq(trial.done, 1);
    }
    ck_assert_uint_eq(uring->enters, enters + 100);
    bench_release(&bench, &registration);
    bench_close(&bench);
    (void)close(ends[0]);
    (void)close(ends[1]);
}
