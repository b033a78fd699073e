/* SPDX-License-Identifier: MIT */
/*
 * What operations cost, as a ratio to system calls measured in the same rounds.
 *
 * The bounds are wide: they are meant for a kernel that has become several times slower, which has
 * happened, not for a noisy neighbour.
 */
#define _GNU_SOURCE
#include "kt.h"

#include <sys/syscall.h>

enum { BATCH = 64, ROUNDS = 15, CALLS = 50 };

static void nop_batches(struct kt *t, void *arg, int calls)
{
    (void)arg;
    for (int i = 0; i < calls; i++) {
        for (uint64_t n = 0; n < BATCH; n++)
            (void)kt_sqe(t, IORING_OP_NOP, -1, n + 1);
        (void)kt_try_submit(t);
        struct kt_cqe cqe;
        for (int n = 0; n < BATCH; n++)
            (void)kt_try_wait(t, KT_WAIT_MS, &cqe);
    }
}

static void system_calls(struct kt *t, void *arg, int calls)
{
    (void)t;
    (void)arg;
    for (int i = 0; i < calls * BATCH; i++)
        (void)syscall(SYS_getppid);
}

static void nop_batch(struct kt *t)
{
    kt_pin(t);
    const double ratio = kt_cost_ratio(t, nop_batches, system_calls, NULL, ROUNDS, CALLS);
    kt_note(t, "a NOP in a batch of %d costs %.2f times a getppid()", BATCH, ratio);
    KT_EXPECT_SLOW_LE(t, ratio * 100, 400, "cost of a batched NOP, in %% of a getppid()");
}

static const struct kt_assertion assertions[] = {
    {
        .id = "cost.nop-batch",
        .alias = "P001",
        .sentence = "A NOP submitted and reaped in a batch of 64 costs at most four system calls.",
        .source = "measured: 77 to 80 ns on the machine where a getppid() takes 60",
        .since = "5.1",
        .absence = "Not applicable.",
        .impact = "Every operation costs more than the system call it replaces.",
        .avoid = "Batch less and measure: io_uring is not the faster path on this kernel.",
        .rings = KT_ON_BOTH,
        .flags = KT_F_TIMING,
        .run = nop_batch,
    },
};

const struct kt_area kt_area_cost = KT_AREA("cost", assertions);
