/* SPDX-License-Identifier: MIT */
/*
 * SigPipe: system calls that write and have no flag against SIGPIPE, made without raising it.
 *
 *     ouro__sigpipe_hold(&held);
 *     n = splice(...);
 *     ouro__sigpipe_release(&held, n < size);
 *
 * A call that has moved a part before the peer went returns the part, and raises the signal.
 *
 * The calling thread must not switch to another task in between: that one would run with the signal
 * blocked.
 */
#ifndef OURO_STREAM_SIGPIPE_H
#define OURO_STREAM_SIGPIPE_H

#include <signal.h>
#include <stdbool.h>

struct ouro__sigpipe {
    sigset_t before;
    bool was_blocked;
    bool was_pending;
};

/* Whether the program ignores the signal, so that nothing has to be held off.  One system call. */
bool ouro__sigpipe_is_ignored(void);

/* Blocks the signal for the calling thread. */
void ouro__sigpipe_hold(struct ouro__sigpipe *held);

/* Takes away the signal that the calls may have raised (@may_be_raised: the last of them did not
 * move everything), and unblocks it unless it was blocked before. */
void ouro__sigpipe_release(const struct ouro__sigpipe *held, bool may_be_raised);

#endif
