/* SPDX-License-Identifier: MIT */
/*
 * Parker: the wait of a worker that has no driver, on its unpark word.
 */
#ifndef OURO_REGISTRY_PARKER_H
#define OURO_REGISTRY_PARKER_H

#include "base/futex.h"
#include "registry/unpark.h"

#include <pthread.h>
#include <signal.h>

/*
 * Owner: waits at most @timeout_ns (negative: for ever) unless notified; may end early.  The
 * signals in @mask are blocked meanwhile (NULL: no change).
 */
static inline void ouro__parker_wait(struct ouro__unpark *unpark, int64_t timeout_ns,
                                     const sigset_t *mask)
{
    sigset_t before;
    if (timeout_ns == 0 || !ouro__unpark_begin_sleep(unpark))
        return;
    if (mask != NULL)
        (void)pthread_sigmask(SIG_SETMASK, mask, &before);
    ouro__futex_wait(&unpark->state, OURO__UNPARK_SLEEPING,
                     timeout_ns < 0 ? OURO__NEVER
                                    : ouro__clock_add_ns(ouro__clock_now_ns(), timeout_ns));
    if (mask != NULL)
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    ouro__unpark_end_sleep(unpark);
}

/* Any thread: ends the wait.  To be called when ouro__unpark_notify() has returned true. */
static inline void ouro__parker_wake(struct ouro__unpark *unpark)
{
    ouro__futex_wake(&unpark->state);
}

#endif
