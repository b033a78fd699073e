/* SPDX-License-Identifier: MIT */
/*
 * Unpark: a wake that is never lost and seldom needs a system call.
 *
 * The sleeper marks that it is going to sleep, and reads its inbox after it has woken.  A waker
 * puts its message into the inbox first and then notifies.  Each side changes the state in one step
 * and reads what it was, so at least one of them sees the other:
 *
 *     sleeper                          waker
 *     begin_sleep: RUNNING -> SLEEPING   (message into the inbox)
 *       or NOTIFIED -> RUNNING, false    notify: -> NOTIFIED; was SLEEPING? then it makes the call
 *     ... waits in the kernel ...
 *     end_sleep: -> RUNNING
 *     (looks at the inbox)
 *
 * notify() is sticky, idempotent and safe in signal handlers.  tests/model explores it.
 */
#ifndef OURO_REGISTRY_UNPARK_H
#define OURO_REGISTRY_UNPARK_H

#include "base/atomic.h"

#include <stdbool.h>
#include <stdint.h>

enum { OURO__UNPARK_RUNNING = 0, OURO__UNPARK_SLEEPING = 1, OURO__UNPARK_NOTIFIED = 2 };

struct ouro__unpark {
    _Atomic uint32_t state; /* also the futex word of a parker without a driver */
};

/* Owner: false when a notification was there already; then do not wait. */
static inline bool ouro__unpark_begin_sleep(struct ouro__unpark *unpark)
{
    uint32_t state = OURO__UNPARK_RUNNING;
    if (ouro__compare_exchange(&unpark->state, &state, OURO__UNPARK_SLEEPING, memory_order_acq_rel))
        return true;
    ouro__store(&unpark->state, OURO__UNPARK_RUNNING, memory_order_release);
    return false;
}

/* Owner: back from the wait, whatever ended it. */
static inline void ouro__unpark_end_sleep(struct ouro__unpark *unpark)
{
    (void)ouro__exchange(&unpark->state, OURO__UNPARK_RUNNING, memory_order_acq_rel);
}

/* Any thread: true when the owner sleeps and the caller must make the system call that wakes it. */
static inline bool ouro__unpark_notify(struct ouro__unpark *unpark)
{
    return ouro__exchange(&unpark->state, OURO__UNPARK_NOTIFIED, memory_order_acq_rel) ==
           OURO__UNPARK_SLEEPING;
}

#endif
