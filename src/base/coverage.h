/* SPDX-License-Identifier: MIT */
/*
 * Coverage: the counts of a process that ends without exit(3).
 *
 * In a coverage build (OURO_COVERAGE) exit writes which lines the process reached.  One that
 * aborts, dies of a fault or ends by _exit(2) calls this first, or all that it reached would count
 * as never run.  In other builds it is nothing.
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
