/* SPDX-License-Identifier: MIT */
/*
 * Receives on loan on io_uring: the kernel's choice of a buffer, what it answers when it has none,
 * results that fail and name a buffer, results that come too late, and a kernel without the ring.
 */
#include "stream/loans.h"

#include "base/fault.h"
#include "registry/driver_bench.h"
#include "registry/lending.h"
#include "uring/rows.h"

static struct ouro__uring *uring_of(struct bench *bench)
{
    return ouro__uring_of(bench->handle.driver);
}

static void recv_loan(struct trial *trial, struct bench *bench,
                      const struct ouro__registration *registration)
{
    struct ouro__loan_pool *pool = ouro__lending_pool(&bench->handle);
    trial_init(trial, bench, registration, OURO__OP_RECV_LOAN, OURO__LANE_READ);
    ouro__op_init_loan(&trial->op, OURO__OP_RECV_LOAN, OURO__LANE_READ, pool->buffer_bytes);
    trial_submit(trial);
}

/* What the pool has or may have, and nobody else. */
static uint32_t at_home(struct bench *bench)
{
    const struct ouro__loan_pool *pool = ouro__lending_pool(&bench->handle);
    return pool->home_count + pool->offered_count + pool->count - pool->made;
}

enum { COUNT = 8 };

static void open_with_pool_of(struct bench *bench, uint32_t count, uint32_t bytes)
{
    bench_init(bench);
    bench->config.loan_buffers = count;
    bench->config.loan_buffer_bytes = bytes;
    ck_assert_int_eq(ouro__driver_open(&bench->handle, &bench->config), 0);
}

static void open_with_pool(struct bench *bench, uint32_t count)
{
    open_with_pool_of(bench, count, 64);
}

/* An error, the end and "not yet" leave no buffer with the operation, whatever the CQE names. */
OURO_TEST_URING(a_failed_receive_that_names_a_buffer_returns_it)
{
    static const int failures[] = {-EIO, -ENOMEM, -ECONNRESET, -EAGAIN, -EINTR, -512};
    struct bench bench;
    struct trial trial;
    int ends[2];
    open_with_pool(&bench, COUNT);
    bench_pair(ends);
    struct ouro__registration registration = bench_register(&bench, ends[0]);
    for (size_t i = 0; i < OURO__ARRAY_LEN(failures); i++) {
        bool is_final = i < 3;
        ouro_test_write_exactly(ends[1], "x", 1); /* it is lost to the replaced result */
        ouro__fault_arm(OURO__FAULT_RING_RESULT, 1, 1, failures[i]);
        recv_loan(&trial, &bench, &registration);
        if (!is_final) {
            bench_turn(&bench, 0);
            bench_turn(&bench, 0);
            ck_assert_uint_eq(trial.done, 0);
            ck_assert_uint_eq(at_home(&bench), COUNT);
            ouro_test_write_exactly(ends[1], "y", 1);
        }
        ck_assert_int_eq(trial_wait(&trial), is_final ? failures[i] : 1);
        ck_assert_uint_eq(ouro__fault_fired(OURO__FAULT_RING_RESULT), 1);
        ouro__fault_disarm_all();
        if (is_final) {
            ck_assert_ptr_null(trial.op.arg.io.loan);
        } else {
            ck_assert_int_eq(*(const char *)trial.op.arg.io.buffer, 'y');
            ouro__lending_put(bench.handle.driver, trial.op.arg.io.loan);
        }
        ck_assert_uint_eq(at_home(&bench), COUNT);
    }
    (void)shutdown(ends[1], SHUT_WR);
    recv_loan(&trial, &bench, &registration);
    ck_assert_int_eq(trial_wait(&trial), 0);
    ck_assert_ptr_null(trial.op.arg.io.loan);
    ck_assert_uint_eq(at_home(&bench), COUNT);
    bench_release(&bench, &registration);
    bench_close(&bench);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

/* A cancellation that crosses the kernel's answer "no buffer" ends the receive: it does not wait
 * for one that its canceller may have. */
OURO_TEST_URING(a_cancelled_receive_waits_for_no_buffer)
{
    for (int is_dry = 0; is_dry < 2; is_dry++) {
        struct bench bench;
        struct trial trial;
        struct ouro__loan_buffer *taken = NULL;
        int ends[2];
        open_with_pool(&bench, 2);
        struct ouro__loan_pool *pool = ouro__lending_pool(&bench.handle);
        bench_pair(ends);
        struct ouro__registration registration = bench_register(&bench, ends[0]);
        recv_loan(&trial, &bench, &registration);
        bench_turn(&bench, 0);
        if (is_dry != 0) /* the other is offered */
            taken = ouro__loan_pool_take(pool);
        trial_cancel(&trial);
        ouro__fault_arm(OURO__FAULT_RING_RESULT, 1, 1, -ENOBUFS);
        ck_assert_int_eq(trial_wait(&trial), -ECANCELED);
        ck_assert_uint_eq(ouro__fault_fired(OURO__FAULT_RING_RESULT), 1);
        ouro__fault_disarm_all();
        /* The same for one that only gets a buffer. */
        trial_init(&trial, &bench, &registration, OURO__OP_TAKE_LOAN, OURO__LANE_READ);
        ouro__op_init_loan(&trial.op, OURO__OP_TAKE_LOAN, OURO__LANE_READ, pool->buffer_bytes);
        trial_submit(&trial);
        trial.op.backend |= OURO__URING_CANCELLED; /* too late for its request */
        ck_assert_int_eq(trial_wait(&trial), -ECANCELED);
        ck_assert_uint_eq(at_home(&bench), is_dry != 0 ? 1 : 2);
        if (taken != NULL)
            ouro__lending_put(bench.handle.driver, taken);
        bench_release(&bench, &registration);
        bench_close(&bench);
        (void)close(ends[0]);
        (void)close(ends[1]);
    }
}

/* A receive that the driver does not know: its buffer goes back, and it is counted. */
OURO_TEST_URING(a_late_result_with_a_buffer_is_dropped_and_the_buffer_returned)
{
    struct bench bench;
    struct trial trial;
    int ends[2];
    open_with_pool(&bench, COUNT);
    bench_pair(ends);
    struct ouro__registration registration = bench_register(&bench, ends[0]);
    ouro_test_write_exactly(ends[1], "first", 5);
    recv_loan(&trial, &bench, &registration);
    ck_assert_int_eq(trial_wait(&trial), 5);
    ouro__lending_put(bench.handle.driver, trial.op.arg.io.loan);
    struct io_uring_sqe *sqe = ouro__uring_sqe(uring_of(&bench));
    io_uring_prep_recv(sqe, ends[0], NULL, 64, 0);
    sqe->flags = IOSQE_BUFFER_SELECT;
    sqe->buf_group = OURO__URING_GROUP;
    sqe->user_data = trial.op.token + (UINT64_C(1) << 32); /* another generation */
    ouro_test_write_exactly(ends[1], "late", 4);
    const struct ouro__loan_pool *pool = ouro__lending_pool(&bench.handle);
    uint32_t offered = pool->offered_count;
    bench_turn(&bench, 0);
    ck_assert_uint_eq(bench_metrics(&bench).stale, 1);
    ck_assert_uint_eq(pool->offered_count, offered - 1); /* the kernel has it no longer */
    ck_assert_uint_eq(at_home(&bench), COUNT);
    bench_release(&bench, &registration);
    bench_close(&bench);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

/* More descriptors have data than buffers are offered, and then more than there are.  Each gets
 * @size bytes.  Returns how many buffers are to be offered afterwards. */
static uint32_t receive_at_once(uint32_t buffers, unsigned many, size_t size)
{
    static char bytes[16384];
    struct bench bench;
    struct trial trials[64];
    struct ouro__registration registrations[64];
    int ends[64][2];
    unsigned done = 0;
    open_with_pool_of(&bench, buffers, sizeof(bytes));
    for (unsigned i = 0; i < many; i++) {
        bench_pair(ends[i]);
        registrations[i] = bench_register(&bench, ends[i][0]);
        memset(bytes, (int)i, size);
        ouro_test_write_exactly(ends[i][1], bytes, size);
        recv_loan(&trials[i], &bench, &registrations[i]);
    }
    while (done < many) {
        unsigned before = done;
        bench_turn(&bench, OURO_TEST_SECOND);
        for (unsigned i = 0; i < many; i++) {
            if (trials[i].done == 0 || trials[i].op.arg.io.loan == NULL)
                continue;
            memset(bytes, (int)i, size);
            ck_assert_int_eq(trials[i].op.result, (int32_t)size);
            ck_assert_mem_eq(trials[i].op.arg.io.buffer, bytes, size);
            ouro__lending_put(bench.handle.driver, trials[i].op.arg.io.loan);
            trials[i].op.arg.io.loan = NULL;
            done++;
        }
        ck_assert_uint_le(before, done);
    }
    ck_assert_uint_eq(at_home(&bench), buffers);
    uint32_t target = uring_of(&bench)->buffers.target;
    for (unsigned i = 0; i < many; i++) {
        bench_release(&bench, &registrations[i]);
        (void)close(ends[i][0]);
        (void)close(ends[i][1]);
    }
    bench_close(&bench);
    return target;
}

OURO_TEST_URING(the_kernel_gets_more_buffers_when_it_has_none)
{
    static const uint32_t pools[] = {1, 2, 3, 17, 64, 100};
    for (unsigned i = 0; i < OURO__ARRAY_LEN(pools); i++)
        (void)receive_at_once(pools[i], 64, 1);
    ck_assert_uint_ge(receive_at_once(200, 64, 1), 32);
}

/* They would not be in the cache when they are used again. */
OURO_TEST_URING(the_kernel_gets_no_more_buffers_for_large_messages)
{
    struct ouro__loan_pool pool = {.made = 4096};
    struct ouro__uring_buffers buffers = {.entries = 4096, .target = 16};
    for (int i = 0; i < 100; i++) {
        ouro__uring_buffers_learn(&buffers, 16384);
        ouro__uring_buffers_grow(&buffers, &pool);
    }
    ck_assert_uint_le(buffers.target, 32); /* one was asked for before anything was known */
    for (int i = 0; i < 100; i++)
        ouro__uring_buffers_learn(&buffers, 64);
    for (int i = 0; i < 100; i++)
        ouro__uring_buffers_grow(&buffers, &pool);
    ck_assert_uint_ge(buffers.target, 1024); /* small ones are not limited by the cache */
    (void)receive_at_once(200, 64, 16384);
}

/* A ring that is given up and made again begins anew: old kernels remember a group's place. */
OURO_TEST_URING(a_ring_that_is_made_again_begins_anew)
{
    struct bench bench;
    struct trial trial;
    int ends[2];
    open_with_pool(&bench, 200);
    bench_pair(ends);
    struct ouro__registration registration = bench_register(&bench, ends[0]);
    struct ouro__uring *uring = uring_of(&bench);
    for (int turn = 0; turn < 40; turn++) {
        ouro_test_write_exactly(ends[1], "again", 5);
        recv_loan(&trial, &bench, &registration);
        ck_assert_int_eq(trial_wait(&trial), 5);
        ck_assert_mem_eq(trial.op.arg.io.buffer, "again", 5);
        ouro__lending_put(bench.handle.driver, trial.op.arg.io.loan);
        if (turn % 10 != 9)
            continue;
        struct ouro__loan_pool *pool = ouro__lending_pool(&bench.handle);
        uring->buffers.target = 64; /* as after a burst */
        ouro__uring_buffers_offer(&uring->buffers, &uring->ring, pool);
        ouro__uring_buffers_trim(&uring->buffers, &uring->ring, pool, false);
        ck_assert_ptr_null(uring->buffers.ring);
        ck_assert_uint_eq(pool->offered_count, 0);
    }
    bench_release(&bench, &registration);
    bench_close(&bench);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

OURO_TEST_URING(without_a_ring_of_buffers_a_receive_waits_by_a_poll)
{
    ouro__fault_arm(OURO__FAULT_RING_BUFFERS, 1, UINT64_MAX, -ENOMEM);
    (void)receive_at_once(3, 40, 1);
    ck_assert_uint_ge(ouro__fault_fired(OURO__FAULT_RING_BUFFERS), 1);
    ouro__fault_disarm_all();
}

static int read_some(void *arg)
{
    (void)arg;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < KINDS; i++) {
            struct pair pair = open_kind(kinds[i]);
            struct ouro_loan loan;
            {
                OURO_DEADLINE(soon, OURO_MILLISECOND);
                ck_assert_int_eq(ouro_stream_read_loan(pair.stream, &loan), -ETIMEDOUT);
            }
            put_text(pair.peer, "text");
            expect_text(pair.stream, "text");
            (void)close(pair.peer);
            ck_assert_int_eq(ouro_stream_read_loan(pair.stream, &loan), 0);
            ck_assert_int_eq(ouro_stream_close(pair.stream), 0);
        }
    }
    return 0;
}

OURO_TEST_URING(streams_are_read_without_a_ring_of_buffers)
{
    struct ouro_runtime_config config = pool_of(2, 64);
    ouro__fault_arm(OURO__FAULT_RING_BUFFERS, 1, UINT64_MAX, -ENOMEM);
    everywhere_with_pool(&config, read_some, NULL);
    ck_assert_uint_ge(ouro__fault_fired(OURO__FAULT_RING_BUFFERS), 1);
    ouro__fault_disarm_all();
}
