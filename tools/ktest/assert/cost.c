/* SPDX-License-Identifier: MIT */
/*
 * What operations cost, as a ratio to system calls measured in the same rounds.
 *
 * The bounds are wide: they detect a kernel that has become several times slower, which has
 * happened, and tolerate a noisy machine.
 */
#define _GNU_SOURCE
#include "fixture/kt.h"

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>

enum { UD_MSG = 1, UD_READ = 2, BATCH = 64, ROUNDS = 40, CALLS = 20 };

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
    KT_EXPECT_SLOW_LE(t, ratio * 100, 400 * t->slack,
                      "cost of a batched NOP, in %% of a getppid()");
}

static void single_nops(struct kt *t, void *arg, int calls)
{
    (void)arg;
    struct kt_cqe cqe;
    for (int i = 0; i < calls; i++) {
        (void)kt_sqe(t, IORING_OP_NOP, -1, 1);
        (void)io_uring_submit_and_wait(&t->ring.ring, 1);
        (void)kt_try_wait(t, KT_WAIT_MS, &cqe);
    }
}

static void eventfd_calls(struct kt *t, void *arg, int calls)
{
    (void)t;
    const int fd = *(int *)arg;
    uint64_t count = 1;
    for (int i = 0; i < calls; i++) {
        (void)!write(fd, &count, sizeof(count));
        (void)!read(fd, &count, sizeof(count));
    }
}

static void single_nop(struct kt *t)
{
    kt_pin(t);
    int fd = (int)KT_SYS(t, eventfd(0, EFD_CLOEXEC));
    const double ratio = kt_cost_ratio(t, single_nops, eventfd_calls, &fd, ROUNDS, 200);
    kt_note(t, "a NOP alone costs %.2f times writing and reading an eventfd", ratio);
    KT_EXPECT_SLOW_LE(t, ratio * 100, 300,
                      "cost of one NOP, in %% of writing and reading an eventfd");
}

static void make_rings(struct kt *t, void *arg, int calls)
{
    (void)arg;
    struct kt_ring ring;
    for (int i = 0; i < calls; i++)
        if (kt_ring_try(t, &ring, 64, 0, kt_ring_flags(t->kind)) == 0)
            kt_ring_close(&ring);
}

/* As many pages mapped from a file and touched as a ring of 64 has. */
static void make_maps(struct kt *t, void *arg, int calls)
{
    enum { PAGE = 4096, PAGES = 3 };
    (void)t;
    (void)arg;
    for (int i = 0; i < calls; i++) {
        const int fd = (int)syscall(SYS_memfd_create, "map", 1 /* MFD_CLOEXEC */);
        (void)!ftruncate(fd, (off_t)PAGES * PAGE);
        void *map = mmap(NULL, (size_t)PAGES * PAGE, PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_POPULATE, fd, 0);
        if (map != MAP_FAILED)
            (void)munmap(map, (size_t)PAGES * PAGE);
        (void)close(fd);
    }
}

static void ring_create(struct kt *t)
{
    kt_pin(t);
    const double ratio = kt_cost_ratio(t, make_rings, make_maps, NULL, ROUNDS, 5);
    kt_note(t, "making and closing a ring costs %.2f times a mapped memfd of that size", ratio);
    KT_EXPECT_SLOW_LE(t, ratio * 100, 500 * t->slack, "cost of a ring, in %% of a mapped memfd");
}

/* A message from this ring to itself, against the same through an eventfd that it reads. */
static void messages(struct kt *t, void *arg, int calls)
{
    struct kt_ring *target = arg;
    struct kt_cqe cqe;
    for (int i = 0; i < calls; i++) {
        kt_sqe(t, IORING_OP_MSG_RING, target->ring.ring_fd, UD_MSG)->off = UD_READ;
        (void)kt_try_submit(t);
        (void)kt_try_wait(t, KT_WAIT_MS, &cqe);
        (void)kt_try_wait_on(target, KT_WAIT_MS, &cqe);
    }
}

static void eventfd_messages(struct kt *t, void *arg, int calls)
{
    struct kt_ring *target = arg;
    static int fd = -1;
    uint64_t count = 0;
    const uint64_t one = 1;
    struct kt_cqe cqe;
    if (fd < 0)
        fd = eventfd(0, EFD_CLOEXEC);
    for (int i = 0; i < calls; i++) {
        struct io_uring_sqe *sqe = kt_sqe_on(t, target, IORING_OP_READ, fd, UD_READ);
        sqe->addr = (uint64_t)(uintptr_t)&count;
        sqe->len = sizeof(count);
        (void)kt_try_submit_on(target);
        (void)!write(fd, &one, sizeof(one));
        (void)kt_try_wait_on(target, KT_WAIT_MS, &cqe);
    }
}

static void message_cost(struct kt *t)
{
    struct kt_ring target;
    kt_pin(t);
    kt_ring_open(t, &target, 8, 0, kt_ring_flags(t->kind));
    const double ratio = kt_cost_ratio(t, messages, eventfd_messages, &target, ROUNDS, 40);
    kt_note(t, "a message to a ring costs %.2f times an eventfd that it reads", ratio);
    KT_EXPECT_SLOW_LE(t, ratio * 100, 300 * t->slack, "cost of a message, in %% of an eventfd");
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
    {
        .id = "cost.single-nop",
        .alias = "P002",
        .sentence = "A NOP submitted and waited for alone costs at most three times writing and "
                    "reading an eventfd.",
        .source = "measured: 0.41 us",
        .since = "5.1",
        .absence = "Not applicable.",
        .impact = "A server with little to do pays more for every operation than epoll.",
        .avoid = "Submit in batches.",
        .rings = KT_ON_BOTH,
        .flags = KT_F_TIMING,
        .run = single_nop,
    },
    {
        .id = "cost.ring-create",
        .alias = "P003",
        .sentence = "Making and closing a ring of 64 costs at most five times a mapped memfd of "
                    "that size.",
        .source = "measured: 34 us",
        .since = "5.1",
        .absence = "Not applicable.",
        .impact = "Starting a thread with a ring of its own is slow.",
        .avoid = "Keep rings and reuse them.",
        .rings = KT_ON_BOTH,
        .flags = KT_F_TIMING,
        .run = ring_create,
    },
    {
        .id = "cost.message",
        .alias = "P014",
        .sentence = "A message to a ring costs at most three times an eventfd that the ring reads.",
        .source = "measured on the kernels of the matrix",
        .since = "5.18",
        .absence = "Not applicable.",
        .impact = "Threads wake each other more expensively than need be.",
        .avoid = "Wake other threads through an eventfd that their ring reads.",
        .needs = KT_NEEDS(MSG_RING),
        .rings = KT_ON_BOTH,
        .flags = KT_F_TIMING,
        .run = message_cost,
    },
};

const struct kt_area kt_area_cost = KT_AREA("cost", assertions);
