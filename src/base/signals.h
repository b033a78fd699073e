/* SPDX-License-Identifier: MIT */
/*
 * Signals: which signals the threads that the library starts accept.
 *
 * There are two requirements.  First, the program's handlers should run on the program's own
 * threads.  Second, a program that a task starts (posix_spawn(3), system(3), fork(2) and exec) must
 * begin with the signal mask that the program itself runs with, or SIGTERM would not end it.  A
 * child inherits the mask that its creator has in the kernel at that moment; posix_spawn(3) calls
 * no fork handlers and gives no other chance to change it.  So a thread may block signals only
 * while it runs none of the program's functions:
 *
 *   while it runs a task or a blocking call    the mask of the thread that made the runtime
 *   while it waits, or works for the library   everything but the signals of faults
 *
 * A worker makes no call to change its mask: the system calls in which it waits take one, for about
 * 60 ns a wait.
 */
#ifndef OURO_BASE_SIGNALS_H
#define OURO_BASE_SIGNALS_H

#include <pthread.h>
#include <signal.h>

/*
 * What a thread of the library blocks while it runs none of the program's functions: every signal
 * but those that a thread's own instructions raise, which must reach the handler that reports them,
 * and those that libc sends to all threads (setuid(2) waits for each of them).
 */
const sigset_t *ouro__signals_quiet(void);

/* pthread_create(3) of a thread that begins with these signals blocked.  0, or an error number. */
int ouro__signals_create_quiet(pthread_t *thread, const pthread_attr_t *attributes,
                               void *(*main)(void *arg), void *arg);

#endif
