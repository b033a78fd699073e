/* SPDX-License-Identifier: MIT */
/*
 * IORING_TIMEOUT_MULTISHOT: a timer that repeats a given number of times.
 *
 * F_MORE says that it will fire again.  The count must hold, and it must survive an update: kernels
 * have lost it there, and such a timer fires for ever.  An absolute time makes no sense for a timer
 * that repeats, and must be refused in an update as it is at the start.
 *
 * Owns:    nothing that outlives the process.
 * Threads: the assertion's.
 * Always:  silence after the last shot is waited for longer than the period.
 */
#include "fixture/kt.h"

enum { UD_TIMEOUT = 1, UD_CONTROL = 2, SHOT_MS = 5, SHOTS = 3, SILENCE_MS = 40, FAR_MS = 60000 };

static int32_t control(struct kt *t, const struct __kernel_timespec *ts, uint32_t flags)
{
    struct io_uring_sqe *sqe = kt_sqe(t, IORING_OP_TIMEOUT_REMOVE, -1, UD_CONTROL);
    sqe->addr = UD_TIMEOUT;
    sqe->addr2 = (uint64_t)(uintptr_t)ts;
    sqe->timeout_flags = flags;
    kt_submit(t, 1);
    return kt_wait_for(t, UD_CONTROL).res;
}

static void arm(struct kt *t, const struct __kernel_timespec *ts, uint32_t shots)
{
    kt_prep_timeout(t, ts, shots, OURO__TIMEOUT_MULTISHOT, UD_TIMEOUT);
    kt_submit(t, 1);
}

/* All shots, the right flags, and nothing after the last. */
static void expect_shots(struct kt *t)
{
    for (int i = 1; i <= SHOTS; i++) {
        const struct kt_cqe cqe = kt_wait_for(t, UD_TIMEOUT);
        KT_EXPECT_RES(t, cqe.res, -ETIME, "shot %d of %d", i, SHOTS);
        KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_MORE), i < SHOTS, "F_MORE on shot %d of %d", i,
                     SHOTS);
    }
    kt_expect_silence(t, SILENCE_MS, "after the last shot");
}

static void repeats(struct kt *t)
{
    const struct __kernel_timespec ts = kt_ts_ms(SHOT_MS);
    const int64_t start_ns = kt_now_ns();
    arm(t, &ts, SHOTS);
    for (int i = 1; i <= SHOTS; i++) {
        const struct kt_cqe cqe = kt_wait_for(t, UD_TIMEOUT);
        KT_EXPECT_RES(t, cqe.res, -ETIME, "shot %d of %d", i, SHOTS);
        KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_MORE), i < SHOTS, "F_MORE on shot %d of %d", i,
                     SHOTS);
        KT_EXPECT_GE(t, (kt_now_ns() - start_ns) / 1000, i * SHOT_MS * 1000, "us until shot %d", i);
    }
    kt_expect_silence(t, SILENCE_MS, "after the last shot");
}

static void removed(struct kt *t)
{
    const struct __kernel_timespec ts = kt_ts_ms(SHOT_MS);
    arm(t, &ts, 0); /* no count: for ever */
    for (int i = 1; i <= SHOTS + 1; i++)
        KT_EXPECT_EQ(t, KT_HAS(kt_wait_for(t, UD_TIMEOUT), IORING_CQE_F_MORE), 1,
                     "F_MORE on shot %d of a timer without a count", i);
    int32_t rc = 0;
    int tries = 0;
    do { /* it cannot be removed in the moment in which it fires */
        rc = control(t, NULL, 0);
    } while ((rc == -ENOENT || rc == -EALREADY) && ++tries < 1000);
    KT_EXPECT_RES(t, rc, 0, "removing it (after %d tries that met it firing)", tries);
    struct kt_cqe cqe = kt_wait_for(t, UD_TIMEOUT);
    while (cqe.res == -ETIME && KT_HAS(cqe, IORING_CQE_F_MORE)) /* fired before the removal */
        cqe = kt_wait_for(t, UD_TIMEOUT);
    KT_EXPECT_RES(t, cqe.res, -ECANCELED, "its last completion");
    KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_MORE), 0, "F_MORE on its last completion");
    kt_expect_silence(t, SILENCE_MS, "after it was removed");
}

static void update_count(struct kt *t)
{
    const struct __kernel_timespec far = kt_ts_ms(FAR_MS);
    const struct __kernel_timespec soon = kt_ts_ms(SHOT_MS);
    arm(t, &far, SHOTS);
    KT_EXPECT_RES(t, control(t, &soon, IORING_TIMEOUT_UPDATE), 0, "the update");
    expect_shots(t);
}

static void update_abs(struct kt *t)
{
    const struct __kernel_timespec far = kt_ts_ms(FAR_MS);
    const struct __kernel_timespec late = {.tv_sec = INT32_MAX};
    kt_prep_timeout(t, &late, SHOTS, OURO__TIMEOUT_MULTISHOT | IORING_TIMEOUT_ABS, UD_TIMEOUT);
    (void)kt_try_submit(t);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_TIMEOUT).res, -EINVAL, "a repeating timer with ABS");
    arm(t, &far, SHOTS);
    KT_EXPECT_RES(t, control(t, &late, IORING_TIMEOUT_UPDATE | IORING_TIMEOUT_ABS), -EINVAL,
                  "updating a repeating timer with ABS");
    kt_expect_silence(t, 5, "the timer after the refusal");
    KT_EXPECT_RES(t, control(t, NULL, 0), 0, "removing it");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_TIMEOUT).res, -ECANCELED, "its last completion");
}

#define REPEAT_ENTRY                                                                               \
    .source = "io_uring_prep_timeout(3), IORING_TIMEOUT_MULTISHOT", .since = "6.4",                \
    .absence = "-EINVAL before 6.4; once accepted, count and flags must hold.",                    \
    .needs = KT_NEEDS(TIMEOUT_MULTISHOT), .rings = KT_ON_BOTH

static const struct kt_assertion assertions[] = {
    {
        .id = "timeout.multishot",
        .sentence = "A repeating timeout fires as often as asked, with F_MORE on all but the last, "
                    "and never early.",
        REPEAT_ENTRY,
        .impact = "Periodic work stops, or never stops.",
        .avoid = "Arm a single timeout again after each.",
        .run = repeats,
    },
    {
        .id = "timeout.multishot-remove",
        .sentence = "A repeating timeout without a count fires until it is removed, and then ends "
                    "with -ECANCELED.",
        REPEAT_ENTRY,
        .impact = "Periodic work stops, or never stops.",
        .avoid = "Arm a single timeout again after each.",
        .run = removed,
    },
    {
        .id = "timeout.update-multishot",
        .sentence = "An update of a repeating timeout keeps how often it shall fire.",
        REPEAT_ENTRY,
        .broken = "6.12 to 6.12.113, 6.16 to 7.2.13",
        .impact = "A timer that was to fire three times fires for ever, or once.",
        .avoid = "Do not update repeating timeouts: remove and arm them again.",
        .guards = "the repeat count is lost in an update",
        .run = update_count,
    },
    {
        .id = "timeout.update-abs",
        .sentence = "A repeating timeout cannot be updated to an absolute time: -EINVAL.",
        REPEAT_ENTRY,
        .broken = "6.12 to 6.12.113, 6.16 to 7.2.13",
        .impact = "A timer repeats with a period of decades, or as fast as it can.",
        .avoid = "Do not update repeating timeouts: remove and arm them again.",
        .run = update_abs,
    },
};

const struct kt_area kt_area_timeout_multishot = KT_AREA("repeating timeouts", assertions);
