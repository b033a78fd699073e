/* SPDX-License-Identifier: MIT */
/*
 * The counts of a coverage build, written by processes that do not end by exit(3).
 */
#ifndef OURO_TEST_COUNTS_H
#define OURO_TEST_COUNTS_H

/* The compiler's; absent in other builds. */
extern void __gcov_dump(void) __attribute__((weak));

/* Writes what has been counted so far, before _exit(2) or a deadly signal loses it. */
static inline void ouro_test_counts_write(void)
{
    if (__gcov_dump != 0)
        __gcov_dump();
}

#endif
