/* SPDX-License-Identifier: MIT */
/*
 * SigPipe: system calls that write and have no flag against SIGPIPE, made without raising it.
 *
 * The kernel raises SIGPIPE in the thread that makes the call.  While the thread blocks the signal
 * it only becomes pending, and is taken out of the pending signals afterwards.  A SIGPIPE that was
 * pending before belongs to the program and stays.
 *
 * Owns:    the thread's signal mask between hold and release.
 * Threads: any, each for itself.
 * Always:  afterwards the mask and the pending signals are what they were before.
 * Tests:   tests/stream/test_pipe.c, tests/stream/test_relay_obstacles.c,
 *          tests/stream/test_send_file.c
 */
#include "stream/sigpipe.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <time.h>

bool ouro__sigpipe_is_ignored(void)
{
    struct sigaction action;
    return sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

void ouro__sigpipe_hold(struct ouro__sigpipe *held)
{
    sigset_t pipe_signal;
    sigset_t pending;
    (void)sigemptyset(&pipe_signal);
    (void)sigaddset(&pipe_signal, SIGPIPE);
    (void)sigemptyset(&pending);
    (void)pthread_sigmask(SIG_BLOCK, &pipe_signal, &held->before);
    held->was_blocked = sigismember(&held->before, SIGPIPE) == 1;
    if (held->was_blocked) /* only then can one have been pending */
        (void)sigpending(&pending);
    held->was_pending = sigismember(&pending, SIGPIPE) == 1;
}

void ouro__sigpipe_release(const struct ouro__sigpipe *held, bool may_be_raised)
{
    const struct timespec now = {.tv_sec = 0};
    sigset_t pipe_signal;
    (void)sigemptyset(&pipe_signal);
    (void)sigaddset(&pipe_signal, SIGPIPE);
    if (may_be_raised && !held->was_pending) {
        while (sigtimedwait(&pipe_signal, NULL, &now) < 0 && errno == EINTR)
            continue;
    }
    if (!held->was_blocked)
        (void)pthread_sigmask(SIG_SETMASK, &held->before, NULL);
}
