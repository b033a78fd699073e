/* SPDX-License-Identifier: MIT */
/*
 * Coverage: the counts of a process that ends without exit(3).
 *
 * In a coverage build (OURO_COVERAGE) exit writes which lines the process reached.  A process that
 * aborts, dies of a fault or ends by _exit(2) must call this first; otherwise all lines that it
 * reached count as never run.  In other builds the call is empty.
 */
#ifndef OURO_BASE_COVERAGE_H
#define OURO_BASE_COVERAGE_H

#ifdef OURO_COVERAGE
/* libgcov's. */
extern void __gcov_dump(void); /* NOLINT(bugprone-reserved-identifier) */
#endif

static inline void ouro__coverage_write(void)
{
#ifdef OURO_COVERAGE
    __gcov_dump();
#endif
}

#endif
