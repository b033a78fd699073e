/* SPDX-License-Identifier: MIT */
/*
 * Check's assertions, made safe for fibers and threads.
 *
 * In its no-fork mode Check leaves a failed assertion by longjmp to the main stack, which from a
 * fiber's stack or another thread is undefined.  Every case here runs in a process of its own, so a
 * failure prints where and why and ends the process.  Checkpoints are a store, not a write(2) to a
 * file: an assertion may stand in a loop of a million rounds.
 */
#ifndef OURO_TEST_FAIL_H
#define OURO_TEST_FAIL_H

#include <check.h>

#undef _ck_assert_failed
#undef _mark_point
#define _ck_assert_failed ouro_test_fail
#define _mark_point ouro_test_mark

/* Reports a failed assertion and ends the process.  Any thread, any stack. */
void ouro_test_fail(const char *file, int line, const char *expression, const char *format, ...)
    __attribute__((noreturn, cold, format(printf, 4, 5)));

/* Remembers the last assertion that held, for the report of a time-out. */
void ouro_test_mark(const char *file, int line);

/* Names the case that runs, and arms the watchdog that ends it; 0 seconds disarms. */
void ouro_test_watch(const char *name, unsigned timeout_s);

#endif
