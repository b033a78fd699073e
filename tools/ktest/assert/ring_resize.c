/* SPDX-License-Identifier: MIT */
/*
 * Resizing a ring that is in use (6.13).
 *
 * liburing 2.3 has no helper.  The new rings are mapped by hand here, from the offsets that the
 * kernel writes back, so only the kernel's work is tested.
 */
#include "fixture/kt.h"

#include <sys/mman.h>

enum { UD_RECV = 1, UD_SHRINK = 50, UD_NOP = 100, NOPS = 6 };

/* The completion queue as the kernel now has it. */
struct cq_view {
    const uint32_t *head;
    const uint32_t *tail;
    const uint32_t *mask;
    const struct io_uring_cqe *cqes;
};

static int resize(struct kt_ring *ring, uint32_t sq, uint32_t cq, struct io_uring_params *out)
{
    *out =
        (struct io_uring_params){.sq_entries = sq, .cq_entries = cq, .flags = IORING_SETUP_CQSIZE};
    return kt_register(ring, OURO__REGISTER_RESIZE_RINGS, out, 1);
}

static struct cq_view map_cq(struct kt *t, struct kt_ring *ring, const struct io_uring_params *p)
{
    const size_t bytes = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
    const uint8_t *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
                              ring->ring.ring_fd, IORING_OFF_CQ_RING);
    KT_REQUIRE(t, map != MAP_FAILED, "mapping the resized ring");
    return (struct cq_view){.head = (const void *)(map + p->cq_off.head),
                            .tail = (const void *)(map + p->cq_off.tail),
                            .mask = (const void *)(map + p->cq_off.ring_mask),
                            .cqes = (const void *)(map + p->cq_off.cqes)};
}

static void resize_keeps(struct kt *t)
{
    struct kt_ring ring;
    struct io_uring_params params;
    int fds[2];
    char byte = 0;
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_ring_open(t, &ring, 8, 8, kt_ring_flags(t->kind));
    struct io_uring_sqe *sqe = kt_sqe_on(t, &ring, IORING_OP_RECV, fds[0], UD_RECV);
    sqe->addr = (uint64_t)(uintptr_t)&byte;
    sqe->len = 1;
    for (uint64_t i = 0; i < NOPS; i++)
        (void)kt_sqe_on(t, &ring, IORING_OP_NOP, -1, UD_NOP + i);
    KT_REQUIRE(t, kt_try_submit_on(&ring) == NOPS + 1, "submitting");

    KT_EXPECT_RES(t, resize(&ring, 4, 4, &params), -EOVERFLOW,
                  "shrinking to 4 with %d completions unread", NOPS);
    KT_EXPECT_RES(t, resize(&ring, 16, 64, &params), 0, "growing to 64");
    KT_EXPECT_EQ(t, params.cq_entries, 64, "entries the kernel says there are now");
    const struct cq_view cq = map_cq(t, &ring, &params);
    const uint32_t head = *cq.head;
    KT_EXPECT_EQ(t, __atomic_load_n(cq.tail, __ATOMIC_ACQUIRE) - head, NOPS,
                 "unread completions kept");
    int wrong = 0;
    for (uint32_t i = 0; i < NOPS; i++)
        wrong += cq.cqes[(head + i) & *cq.mask].user_data != UD_NOP + i;
    KT_EXPECT_EQ(t, wrong, 0, "of them are not what they were");

    kt_write(t, fds[1], "x", 1);
    const int64_t start_ns = kt_now_ns();
    while (__atomic_load_n(cq.tail, __ATOMIC_ACQUIRE) - head == NOPS &&
           kt_ms_since(start_ns) < kt_slack_ms(t, KT_WAIT_MS))
        (void)io_uring_enter((unsigned)ring.ring.ring_fd, 0, 0, IORING_ENTER_GETEVENTS, NULL);
    KT_EXPECT_EQ(t, __atomic_load_n(cq.tail, __ATOMIC_ACQUIRE) - head, NOPS + 1,
                 "completions when the receive in flight has ended");
    const struct io_uring_cqe *last = &cq.cqes[(head + NOPS) & *cq.mask];
    KT_EXPECT_EQ(t, last->user_data, UD_RECV, "whose the last one is");
    KT_EXPECT_RES(t, last->res, 1, "the receive that was in flight");
}

static void resize_plain_refused(struct kt *t)
{
    struct io_uring_params params;
    KT_EXPECT_RES(t, resize(&t->ring, 512, 1024, &params), -EINVAL, "resizing a plain ring");
    (void)kt_sqe(t, IORING_OP_NOP, -1, UD_SHRINK);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_SHRINK).res, 0, "a NOP on it afterwards");
}

static const struct kt_assertion assertions[] = {
    {
        .id = "ring.resize",
        .alias = "K065",
        .sentence = "Resizing keeps unread completions and requests in flight; shrinking below the "
                    "unread ones is refused with -EOVERFLOW.",
        .source = "io_uring_register_resize_rings(3), 6.13",
        .since = "6.13",
        .absence = "-EINVAL to the register call on a DEFER_TASKRUN ring.",
        .impact = "Growing under load loses completions: exactly when there are most of them.",
        .avoid = "Choose the size of the completion queue at set-up.",
        .needs = KT_NEEDS(RESIZE),
        .rings = KT_ON_DEFER,
        .run = resize_keeps,
    },
    {
        .id = "ring.resize-plain-refused",
        .sentence = "A ring without DEFER_TASKRUN cannot be resized: -EINVAL, and it goes on "
                    "working.",
        .source = "io_uring_register_resize_rings(3), 6.13",
        .since = "6.13",
        .absence = "-EINVAL either way.",
        .impact = "A ring is exchanged under another thread's hands.",
        .avoid = "Choose the size of the completion queue at set-up.",
        .needs = KT_NEEDS(RESIZE),
        .rings = KT_ON_PLAIN,
        .run = resize_plain_refused,
    },
};

const struct kt_area kt_area_ring_resize = KT_AREA("ring resize", assertions);
