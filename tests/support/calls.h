/* SPDX-License-Identifier: MIT */
/*
 * Counts system calls and makes one of them fail, for sweeps over all system calls that a function
 * makes.
 *
 * A seccomp filter sends the calls of the thread that installs it, and of the threads it makes from
 * then on, to a thread that lets each go on or answers it with an error.  It cannot be removed, so
 * install it in a child (support/child.h).
 */
#ifndef OURO_TEST_CALLS_H
#define OURO_TEST_CALLS_H

#include <stdint.h>

/*
 * Installs the filter on the calling thread.  Skips the case where there is no such filter (before
 * Linux 5.5, under Valgrind or an emulator).  Once per process.
 */
void ouro_test_calls_watch(void);

/*
 * From now on calls are counted, and the @nth (1: the next; 0: none) fails with @error.  When it
 * does, its number is written to *@out_failed, which may be NULL and is -1 until then.  Left out
 * are the waits of other threads than the one that installed the filter: a worker that has been
 * started runs its loop already.
 */
void ouro_test_calls_fail(unsigned nth, int error, int *out_failed);

/* Ends the count; returns how many calls there were. */
unsigned ouro_test_calls_end(void);

/*
 * From now on @observe is told of each call (all threads, waits included) before it is made.  It
 * runs on the answering thread and must not use the heap.  NULL ends it.
 */
void ouro_test_calls_observe(void (*observe)(int system_call, const uint64_t arguments[6]));

/* The name of a system call, for messages. */
const char *ouro_test_calls_name(int system_call);

#endif
