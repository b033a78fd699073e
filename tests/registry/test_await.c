/* SPDX-License-Identifier: MIT */
/*
 * Operations that move nothing and wait until a transfer would not wait, and how transfers are
 * counted beside them.  Driven directly, with no runtime around it.
 */
#include "registry/driver_bench.h"

/* Waits that move nothing: for bytes, and for room. */
static void submit_wait(struct trial *trial, struct bench *bench,
                        const struct ouro__registration *registration, bool reads)
{
    trial_init(trial, bench, registration, reads ? OURO__OP_AWAIT_READ : OURO__OP_AWAIT_WRITE,
               reads ? OURO__LANE_READ : OURO__LANE_WRITE);
    ouro__driver_submit(bench->handle.driver, &trial->op);
    for (int i = 0; i < 3; i++)
        bench_turn(bench, OURO_TEST_MS);
}

OURO_TEST(a_wait_ends_when_a_transfer_would_not_wait)
{
    struct bench bench;
    struct trial trial;
    static char bytes[65536];
    int ends[2];
    bench_open(&bench);
    bench_pair(ends);
    struct ouro__registration registration = bench_register(&bench, ends[0]);
    for (int round = 0; round < 2; round++) { /* the second finds out that it is empty again */
        submit_wait(&trial, &bench, &registration, true);
        ck_assert_uint_eq(trial.done, 0);
        ouro_test_write_exactly(ends[1], "hello", 5);
        ck_assert_int_eq(trial_wait(&trial), 0);
        ck_assert_int_eq(recv(ends[0], bytes, sizeof(bytes), MSG_DONTWAIT), 5);
    }
    submit_wait(&trial, &bench, &registration, true);
    ck_assert_uint_eq(trial.done, 0);
    ouro__driver_cancel(bench.handle.driver, &trial.op);
    ck_assert_int_eq(trial_wait(&trial), -ECANCELED);

    /* The end of what the other side sends is no room. */
    while (send(ends[0], bytes, sizeof(bytes), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
        continue;
    ck_assert_int_eq(shutdown(ends[1], SHUT_WR), 0);
    submit_wait(&trial, &bench, &registration, false);
    ck_assert_uint_eq(trial.done, 0);
    while (recv(ends[1], bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
        continue;
    ck_assert_int_eq(trial_wait(&trial), 0);
    submit_wait(&trial, &bench, &registration, true); /* but it can be read */
    ck_assert_int_eq(trial_wait(&trial), 0);
    bench_release(&bench, &registration);
    bench_close(&bench);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

/* What the driver has moved is counted for the decision to look before sleeping. */
OURO_TEST(large_transfers_are_counted_in_bytes)
{
    struct bench bench;
    struct trial trial;
    static char bytes[16384];
    int ends[2];
    bench_open(&bench);
    bench_pair(ends);
    struct ouro__registration registration = bench_register(&bench, ends[0]);
    trial_recv(&trial, &bench, &registration, bytes, sizeof(bytes));
    ouro_test_write_exactly(ends[1], bytes, 10000);
    ck_assert_int_eq(trial_wait(&trial), 10000);
    ck_assert_uint_eq(bench.handle.moved_bytes, 10000);
    bench_release(&bench, &registration);
    bench_close(&bench);
    (void)close(ends[0]);
    (void)close(ends[1]);
}
