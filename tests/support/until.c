/* SPDX-License-Identifier: MIT */
/*
 * Waiting in tests: on a descriptor, or by looking again with a growing pause.
 *
 * Owns:    nothing.
 * Threads: any.
 * Always:  ends at its deadline, whatever signals arrive.
 */
#include "support/until.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>

enum { PAUSE_FIRST_NS = 50 * 1000, PAUSE_MAX_NS = 5 * 1000 * 1000 };

int64_t ouro_test_now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * OURO_TEST_SECOND + (int64_t)now.tv_nsec;
}

int64_t ouro_test_cpu_ns(void)
{
    struct timespec now;
    ck_assert_int_eq(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now), 0);
    return (int64_t)now.tv_sec * OURO_TEST_SECOND + (int64_t)now.tv_nsec;
}

unsigned ouro_test_slowness(void)
{
    const char *factor = getenv("OURO_TEST_TIMEOUT_FACTOR");
    unsigned long times = factor != NULL ? strtoul(factor, NULL, 10) : 1;
    return times > 1 ? (unsigned)times : 1;
}

static struct timespec timespec_of(int64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / OURO_TEST_SECOND),
                             .tv_nsec = (long)(ns % OURO_TEST_SECOND)};
}

bool ouro_test_until(bool (*holds)(void *arg), void *arg, int64_t timeout_ns)
{
    int64_t deadline_ns = ouro_test_now_ns() + timeout_ns;
    int64_t pause_ns = PAUSE_FIRST_NS;
    while (!holds(arg)) {
        if (ouro_test_now_ns() >= deadline_ns)
            return holds(arg);
        struct timespec pause = timespec_of(pause_ns);
        (void)ppoll(NULL, 0, &pause, NULL);
        pause_ns = pause_ns * 2 < PAUSE_MAX_NS ? pause_ns * 2 : PAUSE_MAX_NS;
    }
    return true;
}

short ouro_test_poll(int fd, short events, int64_t timeout_ns)
{
    int64_t deadline_ns = ouro_test_now_ns() + timeout_ns;
    for (;;) {
        int64_t left_ns = deadline_ns - ouro_test_now_ns();
        struct timespec left = timespec_of(left_ns > 0 ? left_ns : 0);
        struct pollfd entry = {.fd = fd, .events = events};
        int rc = ppoll(&entry, 1, &left, NULL);
        if (rc > 0)
            return entry.revents;
        if (rc == 0 || errno != EINTR)
            return 0;
    }
}
