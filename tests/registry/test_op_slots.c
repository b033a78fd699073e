/* SPDX-License-Identifier: MIT */
/*
 * Op slots: tokens, growth, results that come too late; and operations in slots on a driver.
 */
#include "registry/driver_bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "registry/op_slots.h"
#include "support/scratch.h"
#include "uring/ring.h"

enum { MANY = 1000 };

static struct ouro__op ops[MANY];

OURO_TEST_UNIT(growing_keeps_every_entry)
{
    struct ouro__op_slots slots = {.size = 0};
    unsigned growths = 0;
    for (unsigned i = 0; i < MANY; i++) {
        uint32_t size = slots.size;
        ops[i] = (struct ouro__op){.code = OURO__OP_FILE_READ};
        ck_assert_int_eq(ouro__op_slots_take(&slots, &ops[i]), 0);
        growths += slots.size != size;
        for (unsigned j = 0; j <= i; j++)
            ck_assert_ptr_eq(ouro__op_slots_find(&slots, ops[j].token), &ops[j]);
    }
    ck_assert_uint_gt(growths, 3);
    ck_assert_uint_eq(slots.used, MANY);
    for (unsigned i = 0; i < MANY; i += 2)
        ouro__op_slots_release(&slots, &ops[i]);
    for (unsigned i = 0; i < MANY; i++)
        ck_assert_ptr_eq(ouro__op_slots_find(&slots, ops[i].token), i % 2 == 0 ? NULL : &ops[i]);
    for (unsigned i = 1; i < MANY; i += 2)
        ouro__op_slots_release(&slots, &ops[i]);
    ouro__op_slots_fini(&slots);
}

OURO_TEST_UNIT(a_token_names_one_operation_for_ever)
{
    struct ouro__op_slots slots = {.size = 0};
    struct ouro__op op = {.code = OURO__OP_SPLICE};
    ck_assert_int_eq(ouro__op_slots_take(&slots, &op), 0);
    uint64_t first = op.token;
    unsigned lane = ouro__token_lane(first);
    ck_assert(ouro__lane_is_slot(lane));
    ck_assert_uint_eq(ouro__lane_code(lane), OURO__OP_SPLICE);
    for (int i = 0; i < 100; i++) {
        ouro__op_slots_release(&slots, &op);
        ck_assert_ptr_null(ouro__op_slots_find(&slots, first));
        ck_assert_int_eq(ouro__op_slots_take(&slots, &op), 0);
        ck_assert_ptr_null(ouro__op_slots_find(&slots, first));
    }
    ck_assert_ptr_null(ouro__op_slots_find(&slots, ouro__token(1, OURO__SLAB_INDEX_MAX, lane)));
    ouro__op_slots_release(&slots, &op);
    /* A generation that has gone all the way round skips 0. */
    slots.slot[slots.free - 1].generation = UINT32_MAX;
    ck_assert_int_eq(ouro__op_slots_take(&slots, &op), 0);
    ouro__op_slots_release(&slots, &op);
    ck_assert_uint_eq(slots.slot[slots.free - 1].generation, 1);
    ouro__op_slots_fini(&slots);
}

OURO_TEST_UNIT(every_operation_has_a_name)
{
    for (unsigned code = 0; code < OURO__OP_CODES; code++) {
        ck_assert_ptr_nonnull(ouro__op_name(code));
        ck_assert_str_ne(ouro__op_name(code), "?");
    }
    ck_assert_str_eq(ouro__op_name(OURO__OP_CODES), "?");
}

/* Which operations a backend has rows for decides where the others are made. */
OURO_TEST(the_backends_have_the_rows_they_should)
{
    struct bench bench;
    bool uring = ouro_test_driver() == OURO_DRIVER_URING;
    bench_open(&bench);
    const struct ouro__driver_ops *driver_ops = bench.handle.ops;
    for (unsigned code = OURO__OP_CONNECT; code < OURO__OP_POLL; code++)
        ck_assert(driver_ops->has_row(code));
    ck_assert(driver_ops->has_row(OURO__OP_AWAIT_READ));
    ck_assert(driver_ops->has_row(OURO__OP_AWAIT_WRITE));
    for (unsigned code = OURO__OP_FILE_READ; code <= OURO__OP_SPLICE; code++)
        ck_assert(driver_ops->has_row(code) == uring);
    ck_assert(driver_ops->has_row(OURO__OP_RECV_LOAN));
    ck_assert(driver_ops->has_row(OURO__OP_TAKE_LOAN));
    ck_assert(driver_ops->has_row(OURO__OP_SEND_ZERO_COPY) == uring);
    ck_assert(!driver_ops->has_row(OURO__OP_NONE));
    ck_assert(!driver_ops->has_row(OURO__OP_CODES));
    bench_close(&bench);
}

static void read_in_slot(struct trial *trial, struct bench *bench,
                         const struct ouro__registration *registration, int fd, char *byte,
                         uint64_t offset)
{
    *trial = (struct trial){
        .bench = bench,
        .op = {.code = OURO__OP_FILE_READ,
               .lane = OURO__LANE_SLOT,
               .sio = registration == NULL ? NULL : registration->sio,
               .fd = fd,
               .done = trial_done,
               .arg.file = {.buffer = byte, .size = 1, .offset = offset}},
    };
    trial_submit(trial);
}

/* Many at a time on one descriptor, registered or not. */
OURO_TEST_URING(many_are_in_flight_on_one_descriptor)
{
    static struct trial trials[MANY];
    static char bytes[MANY];
    struct ouro_test_scratch scratch;
    struct bench bench;
    ouro_test_scratch_open(&scratch);
    bench_open(&bench);
    int fd = open(ouro_test_scratch_path(&scratch, "file"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    for (unsigned i = 0; i < MANY; i++)
        bytes[i] = (char)(i * 7);
    ck_assert_int_eq(write(fd, bytes, MANY), MANY);
    struct ouro__registration registration = bench_register(&bench, fd);
    for (int named = 0; named < 2; named++) {
        memset(bytes, 0, sizeof(bytes));
        for (unsigned i = 0; i < MANY; i++)
            read_in_slot(&trials[i], &bench, named != 0 ? &registration : NULL, fd, &bytes[i], i);
        for (unsigned i = 0; i < MANY; i++) {
            ck_assert_int_eq(trial_wait(&trials[i]), 1);
            ck_assert_int_eq(bytes[i], (char)(i * 7));
        }
    }
    bench_release(&bench, &registration);
    bench_close(&bench);
    (void)close(fd);
    ouro_test_scratch_close(&scratch);
}

/* A quiesce and a release wait for the operations in slots that name the descriptor. */
OURO_TEST_URING(a_descriptor_waits_for_its_operations_in_slots)
{
    struct bench bench;
    struct trial reading[3];
    struct trial quiesce;
    char bytes[3];
    int ends[2];
    bench_open(&bench);
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    struct ouro__registration registration = bench_register(&bench, ends[0]);
    for (unsigned i = 0; i < 3; i++)
        read_in_slot(&reading[i], &bench, &registration, -1, &bytes[i], UINT64_MAX);
    bench_turn(&bench, 0);
    ck_assert_uint_eq(registration.sio->inflight, 3);
    trial_quiesce(&quiesce, &bench, &registration);
    ck_assert_int_eq(trial_wait(&quiesce), 0);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_uint_eq(reading[i].done, 1); /* all of them, before the quiesce ended */
        ck_assert_int_eq(reading[i].op.result, -ECANCELED);
    }
    read_in_slot(&reading[0], &bench, &registration, -1, &bytes[0], UINT64_MAX);
    ck_assert_int_eq(trial_wait(&reading[0]), -ECANCELED); /* it is closing */
    bench_release(&bench, &registration);

    registration = bench_register(&bench, ends[0]);
    read_in_slot(&reading[0], &bench, &registration, -1, &bytes[0], UINT64_MAX);
    bench_turn(&bench, 0);
    bench_release(&bench, &registration);
    ck_assert_int_eq(trial_wait(&reading[0]), -ECANCELED);
    /* Closing the driver ends those that name none. */
    read_in_slot(&reading[1], &bench, NULL, ends[0], &bytes[1], UINT64_MAX);
    bench_close(&bench);
    ck_assert_int_eq(reading[1].op.result, -ECANCELED);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

/* A result of an operation that has gone is dropped and counted. */
OURO_TEST_URING(a_late_result_of_a_slot_is_dropped)
{
    struct bench bench;
    struct trial reading;
    char byte = 0;
    int ends[2];
    bench_open(&bench);
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    read_in_slot(&reading, &bench, NULL, ends[0], &byte, UINT64_MAX);
    bench_turn(&bench, 0);
    const uint64_t tokens[] = {
        reading.op.token + (UINT64_C(1) << 32),                                   /* generation */
        ouro__token(1, OURO__SLAB_INDEX_MAX, ouro__token_lane(reading.op.token)), /* no slot */
        ouro__token(
            7, 3, (unsigned)OURO__LANE_SLOT | (unsigned)OURO__OP_ACCEPT), /* brings a descriptor */
    };
    uint16_t port = 0;
    int listener = ouro_test_listen(AF_INET, 4, &port);
    for (uint64_t i = 0; i < OURO__ARRAY_LEN(tokens); i++) {
        int client = ouro_test_connect(AF_INET, port);
        struct io_uring_sqe *sqe = ouro__uring_sqe(ouro__uring_of(bench.handle.driver));
        if (i < 2)
            io_uring_prep_nop(sqe);
        else
            io_uring_prep_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
        sqe->user_data = tokens[i];
        int64_t limit_ns = ouro_test_now_ns() + BENCH_WAIT_NS;
        while (bench_metrics(&bench).stale == i) {
            ck_assert_int_lt(ouro_test_now_ns(), limit_ns);
            bench_turn(&bench, OURO_TEST_MS);
        }
        (void)close(client);
    }
    ck_assert_uint_eq(reading.done, 0);
    ck_assert_int_eq(write(ends[1], "x", 1), 1);
    ck_assert_int_eq(trial_wait(&reading), 1);
    bench_close(&bench);
    (void)close(listener);
    (void)close(ends[0]);
    (void)close(ends[1]);
}
