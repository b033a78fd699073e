/* SPDX-License-Identifier: MIT */
/*
 * Features of the ring itself: register calls, timers, ways to wait, messages between rings.
 *
 * For many register opcodes NULL arguments give EINVAL whether the opcode exists or not.  So each
 * is called with valid arguments, and undone where it changes the ring.
 *
 * Owns:    the second ring it opens.
 * Threads: the caller's.
 * Always:  the caller's ring is as it was, no request in flight.
 * Tests:   tests/probe/test_feature.c, tests/ktest/cases_catalogue.py
 */
#define _GNU_SOURCE
#include "probe/feature_kit.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { UD_MAIN = 1, UD_OTHER = 2, BGID_MMAP = 9 };

static void detect_timers(struct ouro__kit_ring *kit, struct ouro__feature_report *report)
{
    struct __kernel_timespec soon = {.tv_nsec = OURO__KIT_SOON_NS};
    struct io_uring_sqe *sqe = ouro__kit_sqe(kit, IORING_OP_TIMEOUT, -1, UD_MAIN);
    sqe->addr = (uint64_t)(uintptr_t)&soon;
    sqe->len = 1;
    sqe->off = 2; /* fires twice */
    sqe->timeout_flags = OURO__TIMEOUT_MULTISHOT;
    struct ouro__kit_cqe cqe = {0};
    bool works = ouro__kit_call(kit, UD_MAIN, &cqe) == 0 && cqe.res == -ETIME &&
                 (cqe.flags & IORING_CQE_F_MORE) != 0;
    works = works && ouro__kit_wait(kit, OURO__KIT_ANSWER_NS, &cqe) == 0 && cqe.res == -ETIME;
    ouro__feature_found(report, OURO__FEATURE_TIMEOUT_MULTISHOT, works);
    ouro__kit_cancel_all(kit);
}

static void detect_waits(struct ouro__kit_ring *kit, struct ouro__feature_report *report)
{
    struct __kernel_timespec soon = {.tv_nsec = OURO__KIT_SOON_NS};
    struct ouro__getevents_arg arg = {.sigmask_sz = _NSIG / 8, .ts = (uint64_t)(uintptr_t)&soon};
    if ((report->ring_features & OURO__FEAT_MIN_TIMEOUT) != 0) {
        /* A NOP is there, two are asked for: without min wait this would take 50 ms. */
        struct __kernel_timespec late = {.tv_nsec = 50 * OURO__KIT_NS_PER_MS};
        arg.ts = (uint64_t)(uintptr_t)&late;
        arg.min_wait_us = 1;
        (void)ouro__kit_sqe(kit, IORING_OP_NOP, -1, UD_MAIN);
        (void)ouro__kit_submit(kit);
        const int64_t start_ns = ouro__kit_now_ns();
        int rc = ouro__kit_note(kit, io_uring_enter2((unsigned)kit->ring.ring_fd, 0, 2,
                                                     IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG,
                                                     (void *)&arg, sizeof(arg)));
        ouro__feature_found(report, OURO__FEATURE_MIN_WAIT,
                            rc >= 0 && ouro__kit_now_ns() - start_ns < late.tv_nsec);
        struct ouro__kit_cqe cqe;
        (void)ouro__kit_wait(kit, 0, &cqe);
        arg.min_wait_us = 0;
    }
    /* Absolute time, long past: returns at once where the flag is known. */
    struct __kernel_timespec past = {.tv_nsec = 1};
    arg.ts = (uint64_t)(uintptr_t)&past;
    ouro__feature_found(report, OURO__FEATURE_ABS_TIMER,
                        ouro__kit_wait_for_nothing(kit,
                                                   IORING_ENTER_EXT_ARG | OURO__ENTER_ABS_TIMER,
                                                   &arg, sizeof(arg)) == -ETIME);
    struct ouro__clock_register clock = {.clockid = CLOCK_BOOTTIME};
    if (ouro__kit_register(kit, OURO__REGISTER_CLOCK, &clock, 0) == 0) {
        clock.clockid = CLOCK_MONOTONIC;
        ouro__feature_found(report, OURO__FEATURE_CLOCK,
                            ouro__kit_register(kit, OURO__REGISTER_CLOCK, &clock, 0) == 0);
    }
}

/* Needs a ring of its own: the region is registered before the ring is enabled. */
static void detect_registered_wait(struct ouro__kit_ring *plain,
                                   struct ouro__feature_report *report)
{
    if ((plain->params.flags & IORING_SETUP_DEFER_TASKRUN) == 0)
        return;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *map = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) {
        (void)ouro__kit_note(plain, -errno);
        return;
    }
    struct ouro__kit_ring kit;
    int rc = ouro__kit_open(&kit, 4, OURO__KIT_DEFER | IORING_SETUP_R_DISABLED);
    if (ouro__kit_note(plain, rc) == 0) {
        struct ouro__region_desc region = {.user_addr = (uint64_t)(uintptr_t)map,
                                           .size = page,
                                           .flags = OURO__MEM_REGION_TYPE_USER};
        struct ouro__mem_region_reg mem = {.region_uptr = (uint64_t)(uintptr_t)&region,
                                           .flags = OURO__MEM_REGION_REG_WAIT_ARG};
        struct ouro__reg_wait *wait = map;
        wait->ts.tv_nsec = OURO__KIT_SOON_NS;
        wait->flags = OURO__REG_WAIT_TS;
        if (ouro__kit_register(&kit, OURO__REGISTER_MEM_REGION, &mem, 1) == 0 &&
            ouro__kit_register(&kit, IORING_REGISTER_ENABLE_RINGS, NULL, 0) == 0)
            ouro__feature_found(
                report, OURO__FEATURE_REGISTERED_WAIT,
                ouro__kit_wait_for_nothing(&kit, IORING_ENTER_EXT_ARG | OURO__ENTER_EXT_ARG_REG,
                                           NULL, sizeof(*wait)) == -ETIME);
        (void)ouro__kit_note(plain, kit.obstacle);
        ouro__kit_close(&kit);
    }
    (void)munmap(map, page);
}

/* Messages to a second ring, which then serves for what cannot be undone. */
static void detect_second_ring(struct ouro__kit_ring *kit, struct ouro__feature_report *report)
{
    struct ouro__kit_ring other;
    const uint32_t flags = kit->params.flags & OURO__KIT_DEFER;
    if (ouro__kit_note(kit, ouro__kit_open(&other, 4, flags)) < 0)
        return;
    struct ouro__kit_cqe cqe = {0};
    struct io_uring_sqe *sqe = ouro__kit_sqe(kit, IORING_OP_MSG_RING, other.ring.ring_fd, UD_MAIN);
    sqe->off = 4711;
    sqe->len = 17;
    bool sent = ouro__kit_call(kit, UD_MAIN, &cqe) == 0 && cqe.res == 0;
    ouro__feature_found(report, OURO__FEATURE_MSG_RING,
                        sent && ouro__kit_wait(&other, OURO__KIT_ANSWER_NS, &cqe) == 0 &&
                            cqe.user_data == 4711 && cqe.res == 17);

    struct io_uring_sqe message;
    memset(&message, 0, sizeof(message));
    message.opcode = IORING_OP_MSG_RING;
    message.fd = other.ring.ring_fd;
    message.off = 4712;
    sent = ouro__kit_note(kit, io_uring_register((unsigned)-1, OURO__REGISTER_SEND_MSG_RING,
                                                 &message, 1)) == 0;
    ouro__feature_found(report, OURO__FEATURE_SEND_MSG_RING,
                        sent && ouro__kit_wait(&other, OURO__KIT_ANSWER_NS, &cqe) == 0 &&
                            cqe.user_data == 4712);

    struct io_uring_params larger = {
        .sq_entries = 8, .cq_entries = 64, .flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP};
    /* The mappings of the old size stay ours to unmap; the ring is not used after this. */
    ouro__feature_found(report, OURO__FEATURE_RESIZE,
                        ouro__kit_register(&other, OURO__REGISTER_RESIZE_RINGS, &larger, 1) == 0);
    (void)ouro__kit_note(kit, other.obstacle);
    ouro__kit_close(&other);
}

static void detect_register_calls(struct ouro__kit_ring *kit, struct ouro__feature_report *report)
{
    struct ouro__buf_reg pbuf = {
        .ring_entries = 8, .bgid = BGID_MMAP, .flags = OURO__PBUF_RING_MMAP};
    if (ouro__kit_register(kit, IORING_REGISTER_PBUF_RING, &pbuf, 1) == 0) {
        pbuf = (struct ouro__buf_reg){.bgid = BGID_MMAP};
        ouro__feature_found(report, OURO__FEATURE_PBUF_MMAP,
                            ouro__kit_register(kit, IORING_UNREGISTER_PBUF_RING, &pbuf, 1) == 0);
    }
    struct ouro__napi napi = {.busy_poll_to_us = 0};
    if (ouro__kit_register(kit, OURO__REGISTER_NAPI, &napi, 1) == 0)
        ouro__feature_found(report, OURO__FEATURE_NAPI,
                            ouro__kit_register(kit, OURO__UNREGISTER_NAPI, &napi, 1) == 0);
    uint32_t workers[2] = {0, 0};
    ouro__feature_found(report, OURO__FEATURE_IOWQ_MAX_WORKERS,
                        ouro__kit_register(kit, IORING_REGISTER_IOWQ_MAX_WORKERS, workers, 2) == 0);

    struct ouro__query_opcodes opcodes = {0};
    struct ouro__query_hdr query = {.query_op = OURO__QUERY_OPCODES,
                                    .query_data = (uint64_t)(uintptr_t)&opcodes,
                                    .size = sizeof(opcodes)};
    int rc = ouro__kit_note(kit, io_uring_register((unsigned)-1, OURO__REGISTER_QUERY, &query, 0));
    ouro__feature_found(report, OURO__FEATURE_QUERY,
                        rc == 0 && query.result >= 0 &&
                            opcodes.nr_request_opcodes > IORING_OP_SENDMSG_ZC);
}

static void detect_futex(struct ouro__kit_ring *kit, struct ouro__feature_report *report)
{
    if (!ouro__feature_op_listed(report, OURO__OP_FUTEX_WAIT))
        return;
    uint32_t word = 1;
    struct io_uring_sqe *sqe = ouro__kit_sqe(kit, OURO__OP_FUTEX_WAIT, 2 /* u32 */ | 128, UD_MAIN);
    sqe->addr = (uint64_t)(uintptr_t)&word;
    sqe->off = 2; /* not what the word holds: -EAGAIN at once */
    sqe->addr3 = UINT32_MAX;
    struct ouro__kit_cqe cqe = {0};
    int rc = ouro__kit_call(kit, UD_MAIN, &cqe);
    ouro__feature_found(report, OURO__FEATURE_FUTEX, rc == 0 && cqe.res == -EAGAIN);
}

static void detect_setup_flags(struct ouro__kit_ring *kit, struct ouro__feature_report *report)
{
    ouro__feature_found(report, OURO__FEATURE_COOP_TASKRUN,
                        ouro__kit_setup_takes(kit, IORING_SETUP_COOP_TASKRUN));
    ouro__feature_found(report, OURO__FEATURE_NO_SQARRAY,
                        ouro__kit_setup_takes(kit, OURO__SETUP_NO_SQARRAY));
    ouro__feature_found(report, OURO__FEATURE_CQE_MIXED,
                        ouro__kit_setup_takes(kit, OURO__SETUP_CQE_MIXED));
}

#define BIT(feature) OURO__FEATURE_BIT(OURO__FEATURE_##feature)

const struct ouro__feature_step ouro__feature_ring_steps[] = {
    {detect_timers, BIT(TIMEOUT_MULTISHOT)},
    {detect_waits, BIT(MIN_WAIT) | BIT(ABS_TIMER) | BIT(CLOCK)},
    {detect_futex, BIT(FUTEX)},
    {detect_register_calls, BIT(PBUF_MMAP) | BIT(NAPI) | BIT(IOWQ_MAX_WORKERS) | BIT(QUERY)},
    {detect_second_ring, BIT(MSG_RING) | BIT(SEND_MSG_RING) | BIT(RESIZE)},
    {detect_registered_wait, BIT(REGISTERED_WAIT)},
    {detect_setup_flags, BIT(COOP_TASKRUN) | BIT(NO_SQARRAY) | BIT(CQE_MIXED)},
    {NULL, 0},
};
