/* SPDX-License-Identifier: MIT */
/*
 * Parker: the wait of a worker that has no driver, on its unpark word.
 */
#ifndef OURO_REGISTRY_PARKER_H
#define OURO_REGISTRY_PARKER_H

#include "base/clock.h"
#include "registry/unpark.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Owner: waits at most @timeout_ns (negative: for ever) unless notified; may end early. */
static inline void ouro__parker_wait(struct ouro__unpark *unpark, int64_t timeout_ns)
{
    if (timeout_ns == 0 || !ouro__unpark_begin_sleep(unpark))
        return;
    struct timespec timeout = ouro__clock_to_timespec(timeout_ns < 0 ? 0 : timeout_ns);
    (void)syscall(SYS_futex, &unpark->state, FUTEX_WAIT_PRIVATE, OURO__UNPARK_SLEEPING,
                  timeout_ns < 0 ? NULL : &timeout, NULL, 0);
    ouro__unpark_end_sleep(unpark);
}

/* Any thread: ends the wait, after ouro__unpark_notify() said that there is one. */
static inline void ouro__parker_wake(struct ouro__unpark *unpark)
{
    (void)syscall(SYS_futex, &unpark->state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

#endif
