/* SPDX-License-Identifier: MIT */
/*
 * The one clock: CLOCK_MONOTONIC in nanoseconds.  Deadlines are absolute on it; OURO__NEVER is
 * later than all of them.
 */
#ifndef OURO_BASE_CLOCK_H
#define OURO_BASE_CLOCK_H

#include "base/kernel.h"

#include <stdint.h>
#include <time.h>

#define OURO__NEVER INT64_MAX
#define OURO__NS_PER_SEC INT64_C(1000000000)
#define OURO__NS_PER_MS INT64_C(1000000)
#define OURO__NS_PER_US INT64_C(1000)

static inline int64_t ouro__clock_now_ns(void)
{
    return ouro__kernel_clock_ns();
}

/* A time not long ago, for what need not be exact: up to 10 ms. */
static inline int64_t ouro__clock_recent_ns(void)
{
    return ouro__kernel_coarse_clock_ns();
}

/* @base_ns + @delta_ns without wrapping: what would be later than everything is OURO__NEVER. */
static inline int64_t ouro__clock_add_ns(int64_t base_ns, int64_t delta_ns)
{
    int64_t sum = 0;
    if (__builtin_add_overflow(base_ns, delta_ns, &sum))
        return delta_ns < 0 ? INT64_MIN : OURO__NEVER;
    return sum;
}

static inline struct timespec ouro__clock_to_timespec(int64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / OURO__NS_PER_SEC),
                             .tv_nsec = (long)(ns % OURO__NS_PER_SEC)};
}

#endif
