/* SPDX-License-Identifier: MIT */
/*
 * Waiting in io_uring_enter(): time limits, minimum waits, signals.
 *
 * A server spends its idle time in this wait, and errors here give no error code.  A limit that
 * ends early uses up a processor, one that ends late delays every timer, and an event that does not
 * end the wait stalls a connection until something else happens.
 */
#define _GNU_SOURCE
#include "fixture/kt.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

enum { UD_RECV = 1, UD_NOP = 100, LIMIT_MS = 20, LONG_MS = 5000 };

/* io_uring_enter() for @want completions until @limit_ms at most, at least @min_wait_ms. */
static int enter_ms(struct kt *t, uint32_t want, int64_t limit_ms, int min_wait_ms)
{
    struct __kernel_timespec ts = kt_ts_ms(limit_ms);
    struct ouro__getevents_arg arg = {.sigmask_sz = _NSIG / 8,
                                      .min_wait_us = (uint32_t)min_wait_ms * 1000,
                                      .ts = (uint64_t)(uintptr_t)&ts};
    return io_uring_enter2((unsigned)t->ring.ring.ring_fd, 0, want,
                           IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, (void *)&arg,
                           sizeof(arg));
}

/* A thread that writes @len bytes to @fd when @delay_ms have passed since @start_ns. */
struct late_writer {
    int fd;
    int delay_ms;
    size_t len;
    int64_t start_ns;
};

static void *write_late(void *arg)
{
    const struct late_writer *writer = arg;
    static const char bytes[16];
    const int64_t left_ms = writer->delay_ms - kt_ms_since(writer->start_ns);
    if (left_ms > 0)
        (void)poll(NULL, 0, (int)left_ms);
    return write(writer->fd, bytes, writer->len) == (ssize_t)writer->len ? arg : NULL;
}

static void timeout(struct kt *t)
{
    int fds[2];
    char byte = 0;
    int64_t start_ns = kt_now_ns();
    const int rc = enter_ms(t, 1, LIMIT_MS, 0);
    const int64_t took_us = (kt_now_ns() - start_ns) / 1000;
    KT_EXPECT_RES(t, rc, -ETIME, "a wait of %d ms for nothing", LIMIT_MS);
    KT_EXPECT_GE(t, took_us, LIMIT_MS * 1000, "microseconds it took");
    KT_EXPECT_LE(t, took_us, kt_slack_ms(t, LIMIT_MS + 500) * 1000, "microseconds it took");

    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_prep_recv(t, fds[0], &byte, 1, 0, UD_RECV);
    kt_submit(t, 1);
    start_ns = kt_now_ns();
    struct late_writer writer = {.fd = fds[1], .delay_ms = 10, .len = 1, .start_ns = start_ns};
    struct kt_thread thread;
    kt_thread_start(t, &thread, write_late, &writer);
    const int woken = enter_ms(t, 1, kt_slack_ms(t, LONG_MS), 0);
    const int64_t woken_ms = kt_ms_since(start_ns);
    (void)kt_thread_join(t, &thread);
    kt_metric(t, "woken_after_ms", (double)woken_ms);
    KT_EXPECT_RES(t, woken, 0, "a wait of %d s ended by a byte", LONG_MS / 1000);
    KT_EXPECT_LE(t, woken_ms, kt_slack_ms(t, 500), "milliseconds until the byte ended the wait");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, 1, "the receive that was waited for");
}

static void min_complete(struct kt *t)
{
    int fds[2];
    char bytes[3];
    kt_unix_pair(t, SOCK_STREAM, fds);
    for (uint64_t i = 0; i < 3; i++)
        kt_prep_recv(t, fds[0], &bytes[i], 1, 0, UD_RECV + i);
    kt_submit(t, 3);
    kt_write(t, fds[1], "ab", 2);
    const int64_t start_ns = kt_now_ns();
    const int rc = enter_ms(t, 3, LIMIT_MS, 0);
    KT_EXPECT_GE(t, (kt_now_ns() - start_ns) / 1000, LIMIT_MS * 1000,
                 "microseconds of a wait for 3 of which 2 come");
    /* Completions that are there turn the -ETIME into success. */
    KT_EXPECT(t, rc == 0 || rc == -ETIME, "the wait ended with 0 or -ETIME, not %d", rc);
    KT_EXPECT_EQ(t, io_uring_cq_ready(&t->ring.ring), 2, "completions there after it");
    kt_write(t, fds[1], "c", 1);
    KT_EXPECT_RES(t, enter_ms(t, 3, kt_slack_ms(t, LONG_MS), 0), 0, "a wait for 3 that come");
    KT_EXPECT_EQ(t, io_uring_cq_ready(&t->ring.ring), 3, "completions there after it");
}

/* Nothing there: the full time.  One there: the minimum.  One that comes later: at once. */
static void min_wait(struct kt *t)
{
    enum { AT_LEAST_MS = 20, AT_MOST_MS = 60, LATE_MS = 60 };
    int fds[2];
    char byte = 0;
    int64_t start_ns = kt_now_ns();
    int rc = enter_ms(t, 4, AT_MOST_MS, AT_LEAST_MS);
    KT_EXPECT_RES(t, rc, -ETIME, "want 4, have 0");
    KT_EXPECT_GE(t, (kt_now_ns() - start_ns) / 1000, AT_MOST_MS * 1000, "microseconds it took");

    (void)kt_sqe(t, IORING_OP_NOP, -1, UD_NOP);
    kt_submit(t, 1);
    start_ns = kt_now_ns();
    rc = enter_ms(t, 4, kt_slack_ms(t, LONG_MS), AT_LEAST_MS);
    const int64_t one_us = (kt_now_ns() - start_ns) / 1000;
    KT_EXPECT(t, rc == 0 || rc == -ETIME, "want 4, have 1: 0 or -ETIME, not %d", rc);
    KT_EXPECT_GE(t, one_us, AT_LEAST_MS * 1000, "microseconds with one completion there");
    KT_EXPECT_LE(t, one_us, kt_slack_ms(t, 1000) * 1000, "microseconds with one completion there");
    (void)kt_wait_for(t, UD_NOP);

    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_prep_recv(t, fds[0], &byte, 1, 0, UD_RECV);
    kt_submit(t, 1);
    start_ns = kt_now_ns();
    struct late_writer writer = {.fd = fds[1], .delay_ms = LATE_MS, .len = 1, .start_ns = start_ns};
    struct kt_thread thread;
    kt_thread_start(t, &thread, write_late, &writer);
    rc = enter_ms(t, 4, kt_slack_ms(t, LONG_MS), AT_LEAST_MS);
    const int64_t late_ms = kt_ms_since(start_ns);
    (void)kt_thread_join(t, &thread);
    KT_EXPECT_RES(t, rc, 0, "want 4, one comes after the minimum");
    KT_EXPECT_LE(t, late_ms, kt_slack_ms(t, 1500), "milliseconds until it ended the wait");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, 1, "the receive that came late");
}

enum { MIN_MS = 10, FULL_MS = 50 };

/*
 * Work that completes nothing, half of a MSG_WAITALL receive, is pending when the minimum is over:
 * the wait must go on for the rest of its time.
 */
static int early_end(struct kt *t, int fds[2], int round, int delay_ms)
{
    char bytes[8];
    const uint64_t request = UD_RECV + (uint64_t)round;
    kt_prep_recv(t, fds[0], bytes, sizeof(bytes), MSG_WAITALL, request);
    kt_submit(t, 1);
    const int64_t start_ns = kt_now_ns();
    struct late_writer writer = {
        .fd = fds[1], .delay_ms = delay_ms, .len = 4, .start_ns = start_ns};
    struct kt_thread thread;
    kt_thread_start(t, &thread, write_late, &writer);
    const int rc = enter_ms(t, 4, FULL_MS, MIN_MS);
    const bool early = (kt_now_ns() - start_ns) / 1000 < FULL_MS * 1000;
    KT_REQUIRE(t, kt_thread_join(t, &thread) != NULL, "half of the data was not written");
    KT_REQUIRE(t, rc == -ETIME || rc == 0, "the wait ended with %d", rc);
    kt_write(t, fds[1], "rest", 4);
    const struct kt_cqe cqe = kt_wait_for(t, request);
    KT_REQUIRE(t, cqe.res == sizeof(bytes), "the receive ended with %d", cqe.res);
    return early;
}

static void min_wait_progress(struct kt *t)
{
    enum { ROUNDS = 20 };
    int fds[2];
    int early = 0;
    int raced = 0;
    kt_unix_pair(t, SOCK_STREAM, fds);
    for (int i = 0; i < ROUNDS; i++) {
        if (i % 2 == 0)
            early += early_end(t, fds, i, 3);
        else /* right when the minimum is over: a race, so it is told and not judged */
            raced += early_end(t, fds, i, MIN_MS);
    }
    kt_metric(t, "raced_early_of_10", raced);
    KT_EXPECT_EQ(t, early, 0, "of %d waits ended early with nothing to show", ROUNDS / 2);
}

static void absolute(struct kt *t)
{
    struct ouro__clock_register clock = {.clockid = CLOCK_BOOTTIME};
    struct timespec now;
    KT_EXPECT_RES(t, kt_register(&t->ring, OURO__REGISTER_CLOCK, &clock, 0), 0,
                  "registering CLOCK_BOOTTIME");
    KT_SYS(t, clock_gettime(CLOCK_BOOTTIME, &now));
    const int64_t until_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec + LIMIT_MS * 1000000LL;
    struct __kernel_timespec ts = {.tv_sec = until_ns / 1000000000,
                                   .tv_nsec = until_ns % 1000000000};
    struct ouro__getevents_arg arg = {.sigmask_sz = _NSIG / 8, .ts = (uint64_t)(uintptr_t)&ts};
    const uint32_t flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG | OURO__ENTER_ABS_TIMER;
    const int fd = t->ring.ring.ring_fd;
    const int64_t start_ns = kt_now_ns();
    int rc = io_uring_enter2((unsigned)fd, 0, 1, flags, (void *)&arg, sizeof(arg));
    const int64_t took_ms = kt_ms_since(start_ns);
    KT_SYS(t, clock_gettime(CLOCK_BOOTTIME, &now));
    KT_EXPECT_RES(t, rc, -ETIME, "a wait until a point %d ms ahead", LIMIT_MS);
    KT_EXPECT_GE(t, (int64_t)now.tv_sec * 1000000000 + now.tv_nsec, until_ns,
                 "nanoseconds of CLOCK_BOOTTIME when it ended");
    KT_EXPECT_LE(t, took_ms, kt_slack_ms(t, LIMIT_MS + 500), "milliseconds it took");
    rc = io_uring_enter2((unsigned)fd, 0, 1, flags, (void *)&arg, sizeof(arg));
    KT_EXPECT_RES(t, rc, -ETIME, "a wait until a point that has passed");
}

static void on_alarm(int signo)
{
    (void)signo;
}

/* A timer that fires again and again, so that one which fires before the wait does no harm. */
static void ring_alarms(struct kt *t, int every_ms)
{
    const struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    KT_SYS(t, sigaction(SIGALRM, &action, NULL));
    const struct itimerval timer = {.it_interval.tv_usec = every_ms * 1000,
                                    .it_value.tv_usec = every_ms * 1000};
    KT_SYS(t, setitimer(ITIMER_REAL, &timer, NULL));
}

static void signal_interrupts(struct kt *t)
{
    int fds[2];
    char byte = 0;
    kt_unix_pair(t, SOCK_STREAM, fds);
    ring_alarms(t, 10);
    kt_step(t, "waiting for a signal");
    const int64_t start_ns = kt_now_ns();
    const int rc = enter_ms(t, 1, kt_slack_ms(t, LONG_MS), 0);
    const int64_t took_ms = kt_ms_since(start_ns);
    KT_EXPECT_RES(t, rc, -EINTR, "a wait into which a signal with SA_RESTART falls");
    KT_EXPECT_LE(t, took_ms, kt_slack_ms(t, 1000), "milliseconds until the signal ended it");

    /* Submitting and waiting in one call: what was taken is counted, and not lost. */
    kt_prep_recv(t, fds[0], &byte, 1, 0, UD_RECV);
    kt_step(t, "submitting and waiting for a signal");
    const int taken = io_uring_submit_and_wait(&t->ring.ring, 1);
    ring_alarms(t, 0);
    KT_EXPECT_RES(t, taken, 1, "submit and wait interrupted by a signal");
    kt_write(t, fds[1], "x", 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, 1, "the receive submitted by it");
}

/* A second thread waits on the ring; the first completes something, ten thousand times. */
struct cross_waiter {
    struct kt *t;
    int ready[2]; /* pipe: waiter to submitter */
    int rounds;
    int missed;
};

static void *wait_in_rounds(void *arg)
{
    struct cross_waiter *waiter = arg;
    for (int i = 0; i < waiter->rounds; i++) {
        if (write(waiter->ready[1], "r", 1) != 1)
            return NULL;
        struct kt_cqe cqe;
        if (!kt_try_wait_on(&waiter->t->ring, KT_WAIT_MS * waiter->t->slack, &cqe) ||
            cqe.user_data != UD_NOP + (uint64_t)i) {
            waiter->missed++;
            break;
        }
    }
    return arg;
}

static void cross_thread(struct kt *t)
{
    struct cross_waiter waiter = {.t = t, .rounds = 10000 / t->slack};
    struct kt_thread thread;
    KT_SYS(t, pipe2(waiter.ready, 0));
    kt_thread_start(t, &thread, wait_in_rounds, &waiter);
    kt_step(t, "completing NOPs for another thread");
    for (int i = 0; i < waiter.rounds; i++) {
        char byte = 0;
        struct pollfd ready = {.fd = waiter.ready[0], .events = POLLIN};
        if (poll(&ready, 1, (KT_WAIT_MS + 500) * t->slack) != 1)
            break;
        KT_SYS(t, read(waiter.ready[0], &byte, 1));
        (void)kt_sqe(t, IORING_OP_NOP, -1, UD_NOP + (uint64_t)i);
        kt_submit(t, 1);
    }
    KT_REQUIRE(t, kt_thread_join(t, &thread) != NULL, "the waiter could not say it was ready");
    KT_EXPECT_EQ(t, waiter.missed, 0, "of %d waits in another thread were not woken",
                 waiter.rounds);
}

static void registered(struct kt *t)
{
    struct kt_ring ring;
    void *map = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    KT_REQUIRE(t, map != MAP_FAILED, "mmap");
    struct ouro__region_desc region = {.user_addr = (uint64_t)(uintptr_t)map,
                                       .size = (uint64_t)sysconf(_SC_PAGESIZE),
                                       .flags = OURO__MEM_REGION_TYPE_USER};
    struct ouro__mem_region_reg mem = {.region_uptr = (uint64_t)(uintptr_t)&region,
                                       .flags = OURO__MEM_REGION_REG_WAIT_ARG};
    kt_ring_open(t, &ring, 4, 0, kt_ring_flags(KT_RING_DEFER) | IORING_SETUP_R_DISABLED);
    KT_EXPECT_RES(t, kt_register(&ring, OURO__REGISTER_MEM_REGION, &mem, 1), 0,
                  "registering a wait region on a disabled ring");
    KT_EXPECT_RES(t, kt_register(&ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0), 0, "enabling it");

    struct ouro__reg_wait *waits = map;
    waits[1] = (struct ouro__reg_wait){.ts = kt_ts_ms(LIMIT_MS), .flags = OURO__REG_WAIT_TS};
    waits[2] = (struct ouro__reg_wait){.ts = kt_ts_ms(LONG_MS), .flags = OURO__REG_WAIT_TS};
    const uint32_t flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG | OURO__ENTER_EXT_ARG_REG;
    const int64_t start_ns = kt_now_ns();
    /* The argument is an offset into the region, not a pointer. */
    int rc = io_uring_enter2((unsigned)ring.ring.ring_fd, 0, 1, flags, (void *)sizeof(waits[0]),
                             sizeof(waits[0]));
    const int64_t took_us = (kt_now_ns() - start_ns) / 1000;
    KT_EXPECT_RES(t, rc, -ETIME, "a registered wait of %d ms for nothing", LIMIT_MS);
    KT_EXPECT_GE(t, took_us, LIMIT_MS * 1000, "microseconds it took");
    KT_EXPECT_LE(t, took_us, kt_slack_ms(t, LIMIT_MS + 500) * 1000, "microseconds it took");
    (void)kt_sqe_on(t, &ring, IORING_OP_NOP, -1, UD_NOP);
    KT_REQUIRE(t, kt_try_submit_on(&ring) == 1, "submitting a NOP");
    rc = io_uring_enter2((unsigned)ring.ring.ring_fd, 0, 1, flags, (void *)(2 * sizeof(waits[0])),
                         sizeof(waits[0]));
    KT_EXPECT_RES(t, rc, 0, "a registered wait for what is there");
    kt_ring_close(&ring);
}

static const struct kt_assertion assertions[] = {
    {
        .id = "wait.timeout",
        .alias = "K052",
        .sentence = "A wait with a time limit ends with -ETIME not before it, and at once when "
                    "something completes.",
        .source = "io_uring_enter(2), IORING_ENTER_EXT_ARG",
        .since = "5.11",
        .absence = "params.features lacks IORING_FEAT_EXT_ARG.",
        .impact = "Timers run early or late, or an event waits for the next timer.",
        .avoid = "Keep time with IORING_OP_TIMEOUT instead of a limit in io_uring_enter().",
        .needs = KT_NEEDS(EXT_ARG),
        .rings = KT_ON_BOTH,
        .run = timeout,
    },
    {
        .id = "wait.min-complete",
        .sentence = "A wait for three completions is not ended by two, and those two are kept.",
        .source = "io_uring_enter(2), min_complete",
        .since = "5.11",
        .absence = "Always there.",
        .impact = "A batching server wakes for every single completion, or never.",
        .avoid = "Wait for one completion at a time.",
        .needs = KT_NEEDS(EXT_ARG),
        .rings = KT_ON_BOTH,
        .run = min_complete,
    },
    {
        .id = "wait.cross-thread",
        .alias = "K052b",
        .sentence = "A thread that waits on a plain ring is woken by every completion that another "
                    "thread's submission causes, ten thousand times of ten thousand.",
        .source = "io_uring_enter(2)",
        .since = "5.11",
        .broken = "6.1.123 to 6.1.127",
        .absence = "Always there; a wake-up that does not come is breakage.",
        .impact = "A thread pool around one ring stalls at random.",
        .avoid = "Give every thread its own ring.",
        .guards = "Debian bug 1093243, back-port of the wake-up optimisations",
        .needs = KT_NEEDS(EXT_ARG),
        .rings = KT_ON_PLAIN,
        .run = cross_thread,
    },
    {
        .id = "wait.min-wait",
        .alias = "K051",
        .sentence = "min_wait_usec: want 4 and have none waits the full time, have one returns at "
                    "the minimum, one that comes after the minimum returns at once.",
        .source = "io_uring_wait_min_timeout(3), 6.12",
        .since = "6.12",
        .absence = "params.features lacks IORING_FEAT_MIN_TIMEOUT.",
        .impact = "Batching by time gives either no batches or late answers.",
        .avoid = "Do not use a minimum wait: wait for one completion.",
        .needs = KT_NEEDS(MIN_WAIT),
        .rings = KT_ON_BOTH,
        .run = min_wait,
    },
    {
        .id = "wait.min-wait-progress",
        .alias = "K051b",
        .sentence = "Work that completes nothing, pending when the minimum is over, does not end "
                    "the wait before its full time.",
        .source = "io_uring_wait_min_timeout(3), 6.12",
        .since = "6.12",
        .broken = "6.12 to 6.12.113, 6.16 to 7.2.13 (DEFER_TASKRUN rings; plain ones: a race)",
        .absence = "params.features lacks IORING_FEAT_MIN_TIMEOUT.",
        .impact = "Waits end with -ETIME long before their time: timers based on it run early.",
        .avoid = "Do not use a minimum wait, or look at the clock after -ETIME.",
        .guards = "-ETIME of a minimum wait that found only task work",
        .needs = KT_NEEDS(MIN_WAIT),
        .rings = KT_ON_BOTH,
        .run = min_wait_progress,
    },
    {
        .id = "wait.absolute",
        .sentence = "With IORING_REGISTER_CLOCK and IORING_ENTER_ABS_TIMER a wait ends when that "
                    "clock says so, and at once when the time has passed.",
        .source = "io_uring_enter(2), io_uring_register_clock(3), 6.12",
        .since = "6.12",
        .absence = "-EINVAL to the register call or the flag.",
        .impact = "Deadlines kept as points in time fire at the wrong one.",
        .avoid = "Compute relative time limits.",
        .needs = KT_NEEDS(ABS_TIMER) | KT_NEEDS(CLOCK),
        .rings = KT_ON_BOTH,
        .run = absolute,
    },
    {
        .id = "wait.signal",
        .alias = "K053",
        .sentence = "A signal ends the wait with -EINTR even with SA_RESTART, and what the same "
                    "call submitted is counted and not lost.",
        .source = "io_uring_enter(2), signal(7)",
        .since = "5.11",
        .absence = "Always there.",
        .impact = "Signals are handled late, or an operation disappears with its connection.",
        .avoid = "Block signals in the waiting thread and read them from a signalfd.",
        .needs = KT_NEEDS(EXT_ARG),
        .rings = KT_ON_BOTH,
        .run = signal_interrupts,
    },
    {
        .id = "wait.registered",
        .alias = "K066",
        .sentence = "A registered wait keeps the time limit of the entry it names.",
        .source = "io_uring_register_region(3), io_uring_submit_and_wait_reg(3), 6.13",
        .since = "6.13",
        .absence = "-EINVAL to IORING_REGISTER_MEM_REGION.",
        .impact = "Timers of a server that registers its waits run early or late.",
        .avoid = "Pass the wait's arguments with every call.",
        .needs = KT_NEEDS(REGISTERED_WAIT),
        .rings = KT_ON_NONE,
        .run = registered,
    },
};

const struct kt_area kt_area_wait = KT_AREA("wait", assertions);
