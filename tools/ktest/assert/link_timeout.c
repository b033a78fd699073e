/* SPDX-License-Identifier: MIT */
/*
 * IORING_OP_LINK_TIMEOUT: a deadline for the operation before it.
 *
 * Both requests always complete, and exactly one of them says that it was cancelled by the other.
 * With any other pair of results a program takes a timed-out operation for a finished one.
 *
 * Owns:    nothing that outlives the process.
 * Threads: the assertion's.
 * Always:  no upper bound is tight: on a busy machine a timer may be late; an early timer is a bug.
 */
#include "fixture/kt.h"

enum { UD_OP = 1, UD_TIMEOUT = 2, UD_NEXT = 3, UD_UPDATE = 4, SHORT_MS = 20, FAR_MS = 60000 };

static char byte;

/* A receive that waits, with a deadline of @ts on it. */
static struct io_uring_sqe *prep_with_deadline(struct kt *t, int fd,
                                               const struct __kernel_timespec *ts)
{
    kt_prep_recv(t, fd, &byte, 1, 0, UD_OP)->flags |= IOSQE_IO_LINK;
    return kt_prep_link_timeout(t, ts, UD_TIMEOUT);
}

static void timeout_fires(struct kt *t)
{
    int fds[2];
    const struct __kernel_timespec ts = kt_ts_ms(SHORT_MS);
    kt_unix_pair(t, SOCK_STREAM, fds);
    const int64_t start_ns = kt_now_ns();
    prep_with_deadline(t, fds[1], &ts);
    kt_submit(t, 2);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_OP).res, -ECANCELED, "the operation");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_TIMEOUT).res, -ETIME, "its timeout");
    const int64_t took_us = (kt_now_ns() - start_ns) / 1000;
    kt_metric(t, "took_us", (double)took_us);
    KT_EXPECT_GE(t, took_us, SHORT_MS * 1000, "us until both had completed");
    KT_EXPECT_LE(t, took_us, kt_slack_ms(t, 1000) * 1000, "us until both had completed");
    kt_write(t, fds[0], "x", 1);
    kt_expect_silence(t, 5, "data after the timeout");
    KT_EXPECT_EQ(t, kt_read(t, fds[1], &byte, 1), 1, "bytes still to be read");
}

static void op_first(struct kt *t)
{
    int fds[2];
    const struct __kernel_timespec ts = kt_ts_ms(FAR_MS);
    kt_unix_pair(t, SOCK_STREAM, fds);
    prep_with_deadline(t, fds[1], &ts);
    kt_submit(t, 2);
    kt_expect_silence(t, 5, "before the data");
    kt_write(t, fds[0], "x", 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_OP).res, 1, "the operation, done later");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_TIMEOUT).res, -ECANCELED, "its timeout");
    kt_write(t, fds[0], "x", 1);
    prep_with_deadline(t, fds[1], &ts);
    kt_submit(t, 2);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_OP).res, 1, "the operation, done at once");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_TIMEOUT).res, -ECANCELED, "its timeout");
    kt_expect_silence(t, 5, "after both");
}

static void orphan(struct kt *t)
{
    const struct __kernel_timespec ts = kt_ts_ms(SHORT_MS);
    kt_prep_link_timeout(t, &ts, UD_TIMEOUT);
    (void)kt_try_submit(t);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_TIMEOUT).res, -EINVAL, "LINK_TIMEOUT linked to nothing");
}

static void middle(struct kt *t)
{
    int fds[2];
    const struct __kernel_timespec far = kt_ts_ms(FAR_MS);
    const struct __kernel_timespec soon = kt_ts_ms(SHORT_MS);
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_write(t, fds[0], "x", 1);
    prep_with_deadline(t, fds[1], &far)->flags |= IOSQE_IO_LINK;
    kt_sqe(t, IORING_OP_NOP, -1, UD_NEXT);
    kt_submit(t, 3);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_OP).res, 1, "the operation in time");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_TIMEOUT).res, -ECANCELED, "its timeout");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_NEXT).res, 0, "the member after both");
    prep_with_deadline(t, fds[1], &soon)->flags |= IOSQE_IO_LINK;
    kt_sqe(t, IORING_OP_NOP, -1, UD_NEXT);
    kt_submit(t, 3);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_OP).res, -ECANCELED, "the operation out of time");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_TIMEOUT).res, -ETIME, "its timeout");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_NEXT).res, -ECANCELED, "the member after both");
}

static void update(struct kt *t)
{
    int fds[2];
    const struct __kernel_timespec far = kt_ts_ms(FAR_MS);
    const struct __kernel_timespec soon = kt_ts_ms(SHORT_MS);
    kt_unix_pair(t, SOCK_STREAM, fds);
    prep_with_deadline(t, fds[1], &far);
    kt_submit(t, 2);
    const int64_t start_ns = kt_now_ns();
    struct io_uring_sqe *sqe = kt_sqe(t, IORING_OP_TIMEOUT_REMOVE, -1, UD_UPDATE);
    sqe->addr = UD_TIMEOUT;
    sqe->addr2 = (uint64_t)(uintptr_t)&soon;
    sqe->timeout_flags = IORING_TIMEOUT_UPDATE | IORING_LINK_TIMEOUT_UPDATE;
    (void)kt_try_submit(t);
    const int32_t rc = kt_wait_for(t, UD_UPDATE).res;
    if (rc == -EINVAL)
        KT_ABSENT(t, "LINK_TIMEOUT_UPDATE is refused");
    KT_EXPECT_RES(t, rc, 0, "the update");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_OP).res, -ECANCELED, "the operation");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_TIMEOUT).res, -ETIME, "its timeout");
    KT_EXPECT_GE(t, (kt_now_ns() - start_ns) / 1000000, SHORT_MS, "ms from the update on");
}

static void skip(struct kt *t)
{
    int fds[2];
    struct kt_cqe cqe;
    const struct __kernel_timespec soon = kt_ts_ms(SHORT_MS);
    kt_unix_pair(t, SOCK_STREAM, fds);
    prep_with_deadline(t, fds[1], &soon)->flags |= IOSQE_CQE_SKIP_SUCCESS;
    kt_submit(t, 2);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_OP).res, -ECANCELED, "the operation");
    const bool came = kt_try_wait_for(t, UD_TIMEOUT, 5, &cqe);
    KT_EXPECT(t, !came || cqe.res == -ETIME, "the timeout is silent or -ETIME");
    kt_note(t, "a timeout that fires with CQE_SKIP_SUCCESS %s",
            came ? "completes" : "posts no completion");
}

#define DEADLINE_ENTRY                                                                             \
    .source = "io_uring_prep_link_timeout(3)", .since = "5.5",                                     \
    .absence = "LINK_TIMEOUT is in the probe since 5.5; any other outcome is breakage.",           \
    .needs = KT_NEEDS(LINK_TIMEOUT), .rings = KT_ON_BOTH,                                          \
    .avoid = "Run your own timers and cancel by user_data."

static const struct kt_assertion assertions[] = {
    {
        .id = "link.timeout",
        .alias = "K049",
        .sentence = "A linked timeout that fires gives -ETIME and its operation -ECANCELED, not "
                    "early, and takes no data.",
        DEADLINE_ENTRY,
        .impact = "Operations are never given up, or before their time.",
        .run = timeout_fires,
    },
    {
        .id = "link.timeout-unused",
        .sentence = "When the operation completes first, its linked timeout gives -ECANCELED.",
        DEADLINE_ENTRY,
        .impact = "Finished operations are taken for timed-out ones.",
        .run = op_first,
    },
    {
        .id = "link.timeout-orphan",
        .sentence = "A LINK_TIMEOUT that is linked to nothing gives -EINVAL.",
        DEADLINE_ENTRY,
        .impact = "A mistake in a chain goes unnoticed and an operation has no deadline.",
        .run = orphan,
    },
    {
        .id = "link.timeout-middle",
        .sentence =
            "A member after an operation and its timeout runs if the operation was in time, "
            "and is -ECANCELED if not.",
        DEADLINE_ENTRY,
        .impact = "Chains with deadlines stop, or go on after a failure.",
        .run = middle,
    },
    {
        .id = "link.timeout-update",
        .sentence = "LINK_TIMEOUT_UPDATE moves the deadline of an operation in flight.",
        .source = "io_uring_prep_timeout_update(3), IORING_LINK_TIMEOUT_UPDATE",
        .since = "5.15",
        .absence = "-EINVAL before 5.15; once accepted it must be honoured.",
        .impact = "Deadlines cannot be extended or shortened.",
        .avoid = "Run your own timers and cancel by user_data.",
        .needs = KT_NEEDS(LINK_TIMEOUT),
        .rings = KT_ON_BOTH,
        .run = update,
    },
    {
        .id = "link.timeout-skip",
        .sentence =
            "A linked timeout with CQE_SKIP_SUCCESS ends its operation, and may itself stay "
            "silent even when it fires.",
        .source = "io_uring_enter(2), IOSQE_CQE_SKIP_SUCCESS",
        .since = "5.17",
        .absence = "FEAT_CQE_SKIP is not set; once set, an operation that goes on is breakage.",
        .impact = "The program waits for a completion that never comes.",
        .avoid = "Count on the operation's completion only, or do not skip that of its timeout.",
        .needs = KT_NEEDS(LINK_TIMEOUT) | KT_NEEDS(CQE_SKIP),
        .rings = KT_ON_BOTH,
        .flags = KT_F_INFO,
        .run = skip,
    },
};

const struct kt_area kt_area_link_timeout = KT_AREA("deadlines", assertions);
