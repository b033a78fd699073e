/* SPDX-License-Identifier: MIT */
/*
 * Futex: waits for a 32-bit word to change, and wakes its waiters (futex(2)).
 *
 * The private operations are used: no word is shared between processes.  A wait may end early, so
 * every caller checks its word again.  The address given to a wake may be memory that its owner has
 * released meanwhile: the kernel uses it as a name only.
 */
#ifndef OURO_BASE_FUTEX_H
#define OURO_BASE_FUTEX_H

#include "base/clock.h"

#include <linux/futex.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Waits while *@word is @value, until woken or @deadline_ns on CLOCK_MONOTONIC (OURO__NEVER: for
 * ever).  May end early. */
static inline void ouro__futex_wait(_Atomic uint32_t *word, uint32_t value, int64_t deadline_ns)
{
    /* FUTEX_WAIT_BITSET takes an absolute time, FUTEX_WAIT a relative one. */
    struct timespec until = ouro__clock_to_timespec(deadline_ns < 0 ? 0 : deadline_ns);
    (void)syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, value,
                  deadline_ns == OURO__NEVER ? NULL : &until, NULL, FUTEX_BITSET_MATCH_ANY);
}

/* Wakes one waiter of @word. */
static inline void ouro__futex_wake_one(_Atomic uint32_t *word)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* Wakes all waiters of @word.  Any thread, signal handlers too. */
static inline void ouro__futex_wake(_Atomic uint32_t *word)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

#endif
