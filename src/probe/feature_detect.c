/* SPDX-License-Identifier: MIT */
/*
 * Detection: the order in which a kernel's features are tested.
 *
 * First come the calls that a kernel or a seccomp filter may refuse as a whole: set-up, register,
 * enter, and one operation on a socket.  A filter can allow any of them and deny the next, so each
 * is a stage of its own.  Then the steps run, all on the same ring.  A step performs one operation
 * and knows which features it answers for; it runs only when one of these is wanted.  What a
 * runtime uses is answered here; feature_socket.c and feature_ring.c have the steps that only a
 * whole look at the kernel needs.
 *
 * A process that has no descriptor, memory or time left, or may not make a socket, learns nothing
 * about the kernel.  The kit notes such an obstacle (feature_kit.h).  What a step then does not
 * find is recorded as unanswered and not as absent, because absence is kept for the life of the
 * process.
 *
 * Owns:    nothing after it returns.
 * Threads: any; no state outlives a call.
 * Always:  a bit is only ever added, and only by something observed.
 * Tests:   tests/probe/test_feature.c, tests/ktest/cases_catalogue.py
 */
#define _GNU_SOURCE
#include "probe/feature.h"

#include "probe/feature_kit.h"
#include "probe/quirk.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { UD_MAIN = 1, UD_OTHER = 2 };

/* A step that answers for @features met @obstacle (0: none). */
static void leave_unanswered(struct ouro__feature_report *report, uint64_t features, int obstacle)
{
    features &= ~report->present;
    if (obstacle == 0 || features == 0)
        return;
    report->unanswered |= features;
    if (report->obstacle == 0)
        report->obstacle = obstacle;
}

/* The ring the whole tier needs, or else a plain one and the knowledge of what was refused. */
static int open_ring(struct ouro__kit_ring *kit, struct ouro__feature_report *report)
{
    static const struct {
        enum ouro__feature feature;
        uint32_t flags;
    } wanted[] = {
        {OURO__FEATURE_SUBMIT_ALL, IORING_SETUP_SUBMIT_ALL},
        {OURO__FEATURE_SINGLE_ISSUER, IORING_SETUP_SINGLE_ISSUER},
        {OURO__FEATURE_DEFER_TASKRUN, OURO__KIT_DEFER},
        {OURO__FEATURE_TASKRUN_FLAG, IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG},
    };
    int rc = ouro__kit_open(kit, 16,
                            OURO__KIT_DEFER | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_TASKRUN_FLAG);
    bool all = rc == 0;
    if (rc == -EINVAL)
        rc = ouro__kit_open(kit, 16, 0);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
        ouro__feature_found(report, wanted[i].feature,
                            all || ouro__kit_setup_takes(kit, wanted[i].flags));
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
        leave_unanswered(report, OURO__FEATURE_BIT(wanted[i].feature), kit->obstacle);
    return 0;
}

static void read_feature_bits(struct ouro__feature_report *report)
{
    static const struct {
        enum ouro__feature feature;
        uint32_t bit;
        bool suffices; /* nothing to perform in passing: the bit is the answer */
    } bits[] = {
        {OURO__FEATURE_NODROP, IORING_FEAT_NODROP, true},
        {OURO__FEATURE_SUBMIT_STABLE, IORING_FEAT_SUBMIT_STABLE, true},
        {OURO__FEATURE_FAST_POLL, IORING_FEAT_FAST_POLL, true},
        {OURO__FEATURE_EXT_ARG, IORING_FEAT_EXT_ARG, false},
        {OURO__FEATURE_CQE_SKIP, IORING_FEAT_CQE_SKIP, false},
        {OURO__FEATURE_REG_REG_RING, OURO__FEAT_REG_REG_RING, true},
        {OURO__FEATURE_BUNDLE, OURO__FEAT_RECVSEND_BUNDLE, false},
        {OURO__FEATURE_MIN_WAIT, OURO__FEAT_MIN_TIMEOUT, false},
        {OURO__FEATURE_NO_IOWAIT, OURO__FEAT_NO_IOWAIT, false},
    };
    for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
        if ((report->ring_features & bits[i].bit) == 0)
            continue;
        report->claimed |= OURO__FEATURE_BIT(bits[i].feature);
        if (bits[i].suffices)
            report->present |= OURO__FEATURE_BIT(bits[i].feature);
    }
}

static int read_probe(struct ouro__kit_ring *kit, struct ouro__feature_report *report)
{
    union {
        struct io_uring_probe probe;
        uint8_t bytes[sizeof(struct io_uring_probe) + 128 * sizeof(struct io_uring_probe_op)];
    } answer;
    memset(&answer, 0, sizeof(answer));
    int rc = ouro__kit_register(kit, IORING_REGISTER_PROBE, &answer, 128);
    if (rc < 0)
        return rc;
    const struct io_uring_probe_op *ops =
        (const void *)(answer.bytes + offsetof(struct io_uring_probe, ops));
    for (uint32_t op = 0; op <= answer.probe.last_op && op < 128; op++) {
        if ((ops[op].flags & IO_URING_OP_SUPPORTED) == 0)
            continue;
        report->op_supported[op / 64] |= UINT64_C(1) << (op % 64);
        report->op_count++;
    }
    static const struct {
        enum ouro__feature feature;
        uint32_t op;
        bool suffices;
    } listed[] = {
        {OURO__FEATURE_SOCKET_OPS, IORING_OP_RECV, false},
        {OURO__FEATURE_CANCEL, IORING_OP_ASYNC_CANCEL, false},
        {OURO__FEATURE_LINK_TIMEOUT, IORING_OP_LINK_TIMEOUT, false},
        {OURO__FEATURE_MSG_RING, IORING_OP_MSG_RING, false},
        {OURO__FEATURE_SOCKET, IORING_OP_SOCKET, false},
        {OURO__FEATURE_BIND_LISTEN, OURO__OP_LISTEN, false},
        {OURO__FEATURE_FIXED_FD_INSTALL, OURO__OP_FIXED_FD_INSTALL, true},
        {OURO__FEATURE_READ_MULTISHOT, OURO__OP_READ_MULTISHOT, false},
        {OURO__FEATURE_SEND_ZC, IORING_OP_SEND_ZC, false},
        {OURO__FEATURE_SENDMSG_ZC, IORING_OP_SENDMSG_ZC, true},
        {OURO__FEATURE_FUTEX, OURO__OP_FUTEX_WAIT, false},
        {OURO__FEATURE_WAITID, OURO__OP_WAITID, true},
        {OURO__FEATURE_EPOLL_WAIT, OURO__OP_EPOLL_WAIT, true},
        {OURO__FEATURE_PIPE, OURO__OP_PIPE, true},
    };
    for (size_t i = 0; i < sizeof(listed) / sizeof(listed[0]); i++) {
        if (!ouro__feature_op_listed(report, listed[i].op))
            continue;
        report->claimed |= OURO__FEATURE_BIT(listed[i].feature);
        if (listed[i].suffices)
            report->present |= OURO__FEATURE_BIT(listed[i].feature);
    }
    return 0;
}

/* A NOP through submit and timed wait: enter() is allowed, and takes EXT_ARG. */
static int try_enter(struct ouro__kit_ring *kit, struct ouro__feature_report *report)
{
    struct ouro__kit_cqe cqe;
    (void)ouro__kit_sqe(kit, IORING_OP_NOP, -1, UD_MAIN);
    int rc = ouro__kit_submit(kit);
    if (rc < 0)
        return rc;
    if ((report->ring_features & IORING_FEAT_EXT_ARG) == 0)
        return 0;
    rc = ouro__kit_expect(kit, &cqe);
    if (rc < 0)
        return rc;
    rc = ouro__kit_note(kit, ouro__kit_wait(kit, OURO__KIT_SOON_NS, &cqe));
    ouro__feature_found(report, OURO__FEATURE_EXT_ARG, rc == -ETIME && cqe.user_data == UD_MAIN);
    leave_unanswered(report, OURO__FEATURE_BIT(OURO__FEATURE_EXT_ARG), kit->obstacle);
    return 0;
}

/* Bytes through a pair by SEND and RECV. */
static int try_socket(struct ouro__kit_ring *kit, struct ouro__feature_report *report)
{
    int fds[2];
    int rc = ouro__kit_pair(SOCK_STREAM, fds);
    if (rc < 0)
        return rc;
    char in[8] = {0};
    struct ouro__kit_cqe cqe = {0};
    struct io_uring_sqe *sqe = ouro__kit_sqe(kit, IORING_OP_SEND, fds[0], UD_MAIN);
    sqe->addr = (uint64_t)(uintptr_t) "ouro";
    sqe->len = 4;
    rc = ouro__kit_call(kit, UD_MAIN, &cqe);
    if (rc == 0 && cqe.res < 0)
        rc = cqe.res;
    if (rc == 0) {
        sqe = ouro__kit_sqe(kit, IORING_OP_RECV, fds[1], UD_OTHER);
        sqe->addr = (uint64_t)(uintptr_t)in;
        sqe->len = sizeof(in);
        rc = ouro__kit_call(kit, UD_OTHER, &cqe);
        if (rc == 0 && cqe.res < 0)
            rc = cqe.res;
    }
    ouro__feature_found(report, OURO__FEATURE_SOCKET_OPS,
                        rc == 0 && cqe.res == 4 && memcmp(in, "ouro", 4) == 0);
    ouro__kit_shut(&fds[0]);
    ouro__kit_shut(&fds[1]);
    return rc;
}

/* The first NOP posts nothing, so the first CQE is the second NOP's. */
static void detect_cqe_skip(struct ouro__kit_ring *kit, struct ouro__feature_report *report)
{
    struct ouro__kit_cqe cqe = {0};
    if ((report->claimed & OURO__FEATURE_BIT(OURO__FEATURE_CQE_SKIP)) == 0)
        return;
    ouro__kit_sqe(kit, IORING_OP_NOP, -1, UD_OTHER)->flags = IOSQE_CQE_SKIP_SUCCESS;
    (void)ouro__kit_sqe(kit, IORING_OP_NOP, -1, UD_MAIN);
    (void)ouro__kit_submit(kit);
    int rc = ouro__kit_expect(kit, &cqe);
    ouro__feature_found(report, OURO__FEATURE_CQE_SKIP,
                        rc == 0 && cqe.user_data == UD_MAIN && !ouro__kit_has_cqe(kit));
    ouro__kit_drain(kit);
}

/* The armed receive ends with -ECANCELED and the cancel with 0, in whichever order. */
static void detect_cancel(struct ouro__kit_ring *kit, struct ouro__feature_report *report)
{
    int fds[2];
    if (ouro__kit_note(kit, ouro__kit_pair(SOCK_STREAM, fds)) < 0)
        return;
    char byte[1];
    struct io_uring_sqe *sqe = ouro__kit_sqe(kit, IORING_OP_RECV, fds[0], UD_MAIN);
    sqe->addr = (uint64_t)(uintptr_t)byte;
    sqe->len = 1;
    ouro__kit_sqe(kit, IORING_OP_ASYNC_CANCEL, -1, UD_OTHER)->addr = UD_MAIN;
    (void)ouro__kit_submit(kit);
    bool ended = false;
    bool answered = false;
    for (int i = 0; i < 2; i++) {
        struct ouro__kit_cqe cqe = {0};
        if (ouro__kit_expect(kit, &cqe) < 0)
            break;
        ended = ended || (cqe.user_data == UD_MAIN && cqe.res == -ECANCELED);
        answered = answered || (cqe.user_data == UD_OTHER && cqe.res == 0);
    }
    ouro__feature_found(report, OURO__FEATURE_CANCEL, ended && answered);
    if (!ended)
        ouro__kit_cancel_all(kit);
    ouro__kit_shut(&fds[0]);
    ouro__kit_shut(&fds[1]);
}

static void detect_ring_fd(struct ouro__kit_ring *kit, struct ouro__feature_report *report)
{
    if (ouro__kit_note(kit, io_uring_register_ring_fd(&kit->ring)) == 1)
        ouro__feature_found(report, OURO__FEATURE_RING_FD,
                            ouro__kit_note(kit, io_uring_unregister_ring_fd(&kit->ring)) == 1);
}

static void detect_no_iowait(struct ouro__kit_ring *kit, struct ouro__feature_report *report)
{
    struct __kernel_timespec soon = {.tv_nsec = OURO__KIT_SOON_NS};
    struct ouro__getevents_arg arg = {.sigmask_sz = _NSIG / 8, .ts = (uint64_t)(uintptr_t)&soon};
    if ((report->ring_features & OURO__FEAT_NO_IOWAIT) == 0)
        return;
    int rc = ouro__kit_wait_for_nothing(kit, IORING_ENTER_EXT_ARG | OURO__ENTER_NO_IOWAIT, &arg,
                                        sizeof(arg));
    ouro__feature_found(report, OURO__FEATURE_NO_IOWAIT, rc == -ETIME);
}

/* Needs no ring.  A runtime does not ask for it at its start: a pool of stacks finds out when it
 * makes its first guard (fiber/stack_slab.c). */
static void detect_guard_pages(struct ouro__feature_report *report)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *map = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) {
        leave_unanswered(report, OURO__FEATURE_BIT(OURO__FEATURE_MADV_GUARD), -errno);
        return;
    }
    int rc = madvise(map, page, OURO__MADV_GUARD_INSTALL) == 0 ? 0 : -errno;
    ouro__feature_found(report, OURO__FEATURE_MADV_GUARD, rc == 0);
    if (ouro__kit_is_obstacle(rc))
        leave_unanswered(report, OURO__FEATURE_BIT(OURO__FEATURE_MADV_GUARD), rc);
    (void)munmap(map, page);
}

static const struct ouro__feature_step core_steps[] = {
    {detect_cqe_skip, OURO__FEATURE_BIT(OURO__FEATURE_CQE_SKIP)},
    {detect_cancel, OURO__FEATURE_BIT(OURO__FEATURE_CANCEL)},
    {detect_ring_fd, OURO__FEATURE_BIT(OURO__FEATURE_RING_FD)},
    {detect_no_iowait, OURO__FEATURE_BIT(OURO__FEATURE_NO_IOWAIT)},
    {NULL, 0},
};

static int run_steps(const struct ouro__feature_step *step, uint64_t wanted,
                     struct ouro__kit_ring *kit, struct ouro__feature_report *report)
{
    int rc = 0;
    for (; step->run != NULL && rc == 0; step++) {
        if ((step->finds & wanted) == 0)
            continue;
        kit->obstacle = 0;
        step->run(kit, report);
        if (kit->obstacle == 0)
            continue;
        leave_unanswered(report, step->finds, kit->obstacle);
        /* A request may be left that would answer in the next step's place. */
        rc = ouro__kit_reopen(kit);
    }
    return rc;
}

/* 0, or why a runtime that needs @required cannot run. */
static int judge(struct ouro__feature_report *report, uint64_t required)
{
    const uint64_t missing = required & ~report->present;
    if ((missing & report->unanswered) != 0) {
        report->stage = OURO__FEATURE_STAGE_TEST;
        return report->obstacle;
    }
    if (missing != 0) {
        report->stage = OURO__FEATURE_STAGE_TIER;
        return -ENOTSUP;
    }
    report->stage = OURO__FEATURE_STAGE_DONE;
    return 0;
}

static int detect(struct ouro__kit_ring *kit, uint64_t wanted, struct ouro__feature_report *report)
{
    report->stage = OURO__FEATURE_STAGE_REGISTER;
    int rc = read_probe(kit, report);
    if (rc < 0)
        return rc;
    report->stage = OURO__FEATURE_STAGE_ENTER;
    rc = try_enter(kit, report);
    if (rc == 0 && report->unanswered != 0)
        rc = report->obstacle;
    if (rc < 0)
        return rc;
    if (ouro__feature_present(report, OURO__FEATURE_EXT_ARG)) {
        report->stage = OURO__FEATURE_STAGE_SOCKET;
        rc = try_socket(kit, report);
        if (rc < 0)
            return rc;
        rc = run_steps(core_steps, wanted, kit, report);
        if (rc == 0)
            rc = run_steps(ouro__feature_socket_steps, wanted, kit, report);
        if (rc == 0)
            rc = run_steps(ouro__feature_ring_steps, wanted, kit, report);
        if (rc < 0)
            return rc;
    }
    return judge(report, wanted & ouro__feature_required_bits());
}

int ouro__feature_detect(uint64_t wanted, struct ouro__feature_report *out)
{
    const int64_t start_ns = ouro__kit_now_ns();
    struct ouro__feature_report report = {.stage = OURO__FEATURE_STAGE_SETUP,
                                          .quirks_untested = OURO__QUIRK_ALL};
    struct ouro__kit_ring kit;
    if ((wanted & OURO__FEATURE_BIT(OURO__FEATURE_MADV_GUARD)) != 0)
        detect_guard_pages(&report);
    int rc = open_ring(&kit, &report);
    if (rc == 0) {
        report.ring_features = kit.params.features;
        read_feature_bits(&report);
        rc = detect(&kit, wanted, &report);
        ouro__kit_close(&kit);
    }
    report.error = rc;
    report.detect_ns = ouro__kit_now_ns() - start_ns;
    *out = report;
    return rc;
}

bool ouro__feature_answer_lasts(const struct ouro__feature_report *report)
{
    return report->obstacle == 0 && (report->error == 0 || report->error == -ENOTSUP);
}
