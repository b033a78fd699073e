/* SPDX-License-Identifier: MIT */
/*
 * IORING_OP_TIMEOUT: firing, removing, updating, repeating.
 *
 * Timers must never fire early and never be lost.  A busy machine may make them late, so upper
 * bounds are loose.  Repeating timers (6.4) have a count, and the count must survive an update.
 *
 * Owns:    nothing that outlives the process.
 * Threads: the assertion's.
 * Always:  elapsed time is measured from before the submission.
 */
#include "fixture/kt.h"

#include <time.h>

enum {
    UD_TIMEOUT = 1,
    UD_OTHER = 2,
    UD_CONTROL = 3,
    UD_NOP = 4,
    UD_ABSENT = 77,
    SHORT_MS = 20,
    FAR_MS = 60000
};

static int32_t control(struct kt *t, uint64_t target, const struct __kernel_timespec *ts,
                       uint32_t flags)
{
    struct io_uring_sqe *sqe = kt_sqe(t, IORING_OP_TIMEOUT_REMOVE, -1, UD_CONTROL);
    sqe->addr = target;
    sqe->addr2 = (uint64_t)(uintptr_t)ts;
    sqe->timeout_flags = flags;
    kt_submit(t, 1);
    return kt_wait_for(t, UD_CONTROL).res;
}

static void fires(struct kt *t)
{
    const struct __kernel_timespec ts = kt_ts_ms(SHORT_MS);
    const int64_t start_ns = kt_now_ns();
    kt_prep_timeout(t, &ts, 0, 0, UD_TIMEOUT);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_TIMEOUT).res, -ETIME, "a timeout that fires");
    const int64_t took_us = (kt_now_ns() - start_ns) / 1000;
    kt_metric(t, "took_us", (double)took_us);
    KT_EXPECT_GE(t, took_us, SHORT_MS * 1000, "us until it fired");
    KT_EXPECT_LE(t, took_us, kt_slack_ms(t, 1000) * 1000, "us until it fired");
}

static void removed(struct kt *t)
{
    const struct __kernel_timespec far = kt_ts_ms(FAR_MS);
    kt_prep_timeout(t, &far, 0, 0, UD_TIMEOUT);
    kt_prep_timeout(t, &far, 0, 0, UD_OTHER);
    kt_submit(t, 2);
    KT_EXPECT_RES(t, control(t, UD_ABSENT, NULL, 0), -ENOENT, "removing an absent timeout");
    KT_EXPECT_RES(t, control(t, UD_OTHER, NULL, 0), 0, "removing a timeout");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_OTHER).res, -ECANCELED, "the timeout that was removed");
    KT_EXPECT_RES(t, control(t, UD_OTHER, NULL, 0), -ENOENT, "removing it again");
    kt_expect_silence(t, 5, "the timeout that was not removed");
    KT_EXPECT_RES(t, control(t, UD_TIMEOUT, NULL, 0), 0, "removing that one");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_TIMEOUT).res, -ECANCELED, "that one");
}

static void updated(struct kt *t)
{
    const struct __kernel_timespec far = kt_ts_ms(FAR_MS);
    const struct __kernel_timespec soon = kt_ts_ms(SHORT_MS);
    kt_prep_timeout(t, &far, 0, 0, UD_TIMEOUT);
    kt_submit(t, 1);
    const int64_t start_ns = kt_now_ns();
    KT_EXPECT_RES(t, control(t, UD_ABSENT, &soon, IORING_TIMEOUT_UPDATE), -ENOENT,
                  "updating an absent timeout");
    KT_EXPECT_RES(t, control(t, UD_TIMEOUT, &soon, IORING_TIMEOUT_UPDATE), 0,
                  "updating from a minute to 20 ms");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_TIMEOUT).res, -ETIME, "the timeout");
    KT_EXPECT_GE(t, (kt_now_ns() - start_ns) / 1000000, SHORT_MS, "ms from the update on");
}

static void order(struct kt *t)
{
    static const int64_t after_ms[] = {16, 4, 12, 8};
    struct __kernel_timespec ts[4];
    int64_t at_ns[4];
    const int64_t now_ns = kt_now_ns();
    int fired[4] = {0};
    int early = 0;
    for (uint64_t i = 0; i < 4; i++) {
        at_ns[i] = now_ns + after_ms[i] * 1000000;
        ts[i] = (struct __kernel_timespec){.tv_sec = at_ns[i] / 1000000000,
                                           .tv_nsec = at_ns[i] % 1000000000};
        kt_prep_timeout(t, &ts[i], 0, IORING_TIMEOUT_ABS, 100 + i);
    }
    kt_submit(t, 4);
    for (int i = 0; i < 4; i++) {
        const struct kt_cqe cqe = kt_wait(t);
        const uint64_t which = cqe.user_data - 100;
        KT_EXPECT_RES(t, cqe.res, -ETIME, "a timeout");
        KT_REQUIRE(t, which < 4, "a completion of nobody's");
        fired[which]++;
        early += kt_now_ns() < at_ns[which];
    }
    for (int i = 0; i < 4; i++)
        KT_EXPECT_EQ(t, fired[i], 1, "completions of the timeout at %d ms", (int)after_ms[i]);
    KT_EXPECT_EQ(t, early, 0, "timeouts that fired before their time");
}

static void counts(struct kt *t)
{
    const struct __kernel_timespec far = kt_ts_ms(FAR_MS);
    kt_prep_timeout(t, &far, 2, 0, UD_TIMEOUT);
    kt_submit(t, 1);
    kt_expect_silence(t, 5, "a timeout for two completions");
    kt_sqe(t, IORING_OP_NOP, -1, UD_NOP);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_NOP).res, 0, "the first completion");
    kt_expect_silence(t, 5, "after the first completion of two");
    kt_sqe(t, IORING_OP_NOP, -1, UD_NOP);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_TIMEOUT).res, 0, "the timeout after the second completion");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_NOP).res, 0, "the second completion");
}

static void clocks(struct kt *t)
{
    static const struct {
        clockid_t clock;
        uint32_t flag;
        const char *name;
    } kinds[] = {{CLOCK_MONOTONIC, 0, "monotonic"},
                 {CLOCK_BOOTTIME, IORING_TIMEOUT_BOOTTIME, "boot time"},
                 {CLOCK_REALTIME, IORING_TIMEOUT_REALTIME, "real time"}};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct timespec now;
        KT_SYS(t, clock_gettime(kinds[i].clock, &now));
        struct __kernel_timespec ts = {.tv_sec = now.tv_sec, .tv_nsec = now.tv_nsec};
        ts.tv_nsec += SHORT_MS * 1000000;
        if (ts.tv_nsec >= 1000000000) {
            ts.tv_sec++;
            ts.tv_nsec -= 1000000000;
        }
        const int64_t start_ns = kt_now_ns();
        kt_prep_timeout(t, &ts, 0, IORING_TIMEOUT_ABS | kinds[i].flag, UD_TIMEOUT);
        kt_submit(t, 1);
        KT_EXPECT_RES(t, kt_wait_for(t, UD_TIMEOUT).res, -ETIME, "20 ms from now, %s",
                      kinds[i].name);
        /* Clocks may be slewed against each other; half of it is far beyond that. */
        KT_EXPECT_GE(t, (kt_now_ns() - start_ns) / 1000000, SHORT_MS / 2, "ms it took, %s",
                     kinds[i].name);
        ts.tv_sec--;
        kt_prep_timeout(t, &ts, 0, IORING_TIMEOUT_ABS | kinds[i].flag, UD_TIMEOUT);
        kt_submit(t, 1);
        KT_EXPECT_RES(t, kt_wait_for(t, UD_TIMEOUT).res, -ETIME, "a time that is past, %s",
                      kinds[i].name);
    }
    const struct __kernel_timespec far = kt_ts_ms(FAR_MS);
    kt_prep_timeout(t, &far, 0, IORING_TIMEOUT_BOOTTIME | IORING_TIMEOUT_REALTIME, UD_TIMEOUT);
    (void)kt_try_submit(t);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_TIMEOUT).res, -EINVAL, "two clocks at once");
}

static void etime_success(struct kt *t)
{
    const struct __kernel_timespec soon = kt_ts_ms(2);
    kt_prep_timeout(t, &soon, 0, 0, UD_TIMEOUT)->flags = IOSQE_IO_LINK;
    kt_sqe(t, IORING_OP_NOP, -1, UD_NOP);
    kt_submit(t, 2);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_TIMEOUT).res, -ETIME, "the timeout");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_NOP).res, -ECANCELED, "the member after it");
    kt_prep_timeout(t, &soon, 0, IORING_TIMEOUT_ETIME_SUCCESS, UD_TIMEOUT)->flags = IOSQE_IO_LINK;
    kt_sqe(t, IORING_OP_NOP, -1, UD_NOP);
    (void)kt_try_submit(t); /* refused, it ends the batch */
    const int32_t rc = kt_wait_for(t, UD_TIMEOUT).res;
    if (rc == -EINVAL)
        KT_ABSENT(t, "ETIME_SUCCESS is refused");
    KT_EXPECT_RES(t, rc, -ETIME, "the timeout, now a success");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_NOP).res, 0, "the member after it");
}

static void invalid(struct kt *t)
{
    const struct __kernel_timespec negative = {.tv_sec = -1};
    const struct __kernel_timespec far = kt_ts_ms(FAR_MS);
    kt_prep_timeout(t, &negative, 0, 0, UD_TIMEOUT);
    (void)kt_try_submit(t);
    struct kt_cqe cqe = {0};
    if (!kt_try_wait_for(t, UD_TIMEOUT, (int)kt_slack_ms(t, 500), &cqe))
        KT_ABSENT(t, "a negative time is waited for");
    KT_EXPECT_RES(t, cqe.res, -EINVAL, "a negative time");
    kt_prep_timeout(t, (const struct __kernel_timespec *)8, 0, 0, UD_TIMEOUT);
    (void)kt_try_submit(t);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_TIMEOUT).res, -EFAULT, "a time that cannot be read");
    kt_prep_timeout(t, &far, 0, 1u << 30, UD_TIMEOUT);
    (void)kt_try_submit(t);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_TIMEOUT).res, -EINVAL, "an unknown flag");
}

#define TIMEOUT_ENTRY(since_)                                                                      \
    .source = "io_uring_prep_timeout(3)", .since = (since_),                                       \
    .absence = "Known since that version; another result is breakage.", .rings = KT_ON_BOTH,       \
    .avoid = "Run your own timers: wait in io_uring_enter() with a timeout."

static const struct kt_assertion assertions[] = {
    {
        .id = "timeout.fires",
        .alias = "K050",
        .sentence = "A TIMEOUT of 20 ms completes with -ETIME and not early.",
        TIMEOUT_ENTRY("5.4"),
        .impact = "Timers fire early, or never.",
        .run = fires,
    },
    {
        .id = "timeout.remove",
        .sentence = "TIMEOUT_REMOVE returns 0 and the timeout -ECANCELED; an absent one gives "
                    "-ENOENT.",
        TIMEOUT_ENTRY("5.5"),
        .impact = "Timers of finished operations fire later.",
        .run = removed,
    },
    {
        .id = "timeout.update",
        .sentence = "TIMEOUT_UPDATE moves a timeout that is waiting.",
        TIMEOUT_ENTRY("5.11"),
        .impact = "Idle timers fire while a connection is busy.",
        .run = updated,
    },
    {
        .id = "timeout.each-once",
        .sentence = "Of several absolute timeouts each fires once, and none before its time.",
        TIMEOUT_ENTRY("5.4"),
        .impact = "Timers are lost or fire early.",
        .run = order,
    },
    {
        .id = "timeout.count",
        .sentence = "A timeout with a count completes with 0 after that many completions.",
        TIMEOUT_ENTRY("5.4"),
        .impact = "A program that waits for several completions waits too long.",
        .run = counts,
    },
    {
        .id = "timeout.clocks",
        .sentence =
            "Absolute timeouts work on the monotonic, boot and real-time clock, and fire at "
            "once when their time is past.",
        TIMEOUT_ENTRY("5.15"),
        .impact = "Timers fire at another time than asked for.",
        .run = clocks,
    },
    {
        .id = "timeout.etime-success",
        .sentence = "A timeout that fires breaks its chain, unless ETIME_SUCCESS is set.",
        TIMEOUT_ENTRY("5.16"),
        .impact = "Delayed operations never run, or run when they must not.",
        .run = etime_success,
    },
    {
        .id = "timeout.invalid",
        .sentence = "A TIMEOUT with a negative time or an unknown flag gives -EINVAL, with an "
                    "unreadable time -EFAULT.",
        TIMEOUT_ENTRY("5.16"),
        .impact = "Programs cannot find out what works, or wait for ever.",
        .run = invalid,
    },
};

const struct kt_area kt_area_timeout = KT_AREA("timeouts", assertions);
