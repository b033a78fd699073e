/* SPDX-License-Identifier: MIT */
/*
 * Time for tests: a clock, and the only functions that may poll a condition.
 */
#ifndef OURO_TEST_UNTIL_H
#define OURO_TEST_UNTIL_H

#include <stdbool.h>
#include <stdint.h>

#define OURO_TEST_MS INT64_C(1000000)
#define OURO_TEST_SECOND INT64_C(1000000000)

/* CLOCK_MONOTONIC, in nanoseconds. */
int64_t ouro_test_now_ns(void);

/* CPU time of the calling thread. */
int64_t ouro_test_cpu_ns(void);

/*
 * How many times slower than usual the tests run here, 1 or more (OURO_TEST_TIMEOUT_FACTOR, set for
 * an emulated kernel or Valgrind).  Time limits are multiplied by it, and long loops may be
 * shorter.
 */
unsigned ouro_test_slowness(void);

/*
 * Waits until @holds(@arg) is true, at most @timeout_ns; returns whether it became true.  For state
 * that nobody announces (the kernel's asynchronous release of a ring, a thread's exit): where there
 * is a descriptor, a futex or a join to wait on, wait on that.  Any thread, not a fiber.
 */
bool ouro_test_until(bool (*holds)(void *arg), void *arg, int64_t timeout_ns);

/* Waits until @fd has one of poll(2)'s @events; returns those it has, 0 after @timeout_ns. */
short ouro_test_poll(int fd, short events, int64_t timeout_ns);

#endif
