/* SPDX-License-Identifier: MIT */
/*
 * Waker, Poll, poll_fn: waiting for anything that can call back.
 *
 * A poll function looks whether its thing is ready.  When it is not, it stores a clone of the waker
 * it was given where the thing's owner will find it, and returns OURO_POLL_PENDING; the owner calls
 * wake once, and the poll function runs again.  ouro_poll_fn() turns that into a call that waits.
 * The other way round a Waker of your own (an eventfd, another event loop, a state machine) can be
 * handed to any poll_* call of ouro.
 */
#ifndef OURO_WAKER_H
#define OURO_WAKER_H

#include <ouro/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a poll function answers. */
enum ouro_poll { OURO_POLL_PENDING = 0, OURO_POLL_READY = 1 };

/*
 * What a waker does.  All three may be called from any thread, never with a lock of ouro's held,
 * and must not suspend.
 */
struct ouro_waker_vtable {
    void *(*clone)(void *data); /* one more owner; returns the data of the clone */
    void (*wake)(void *data); /* wakes; gives up no ownership; any number of times, also too late */
    void (*drop)(void *data); /* one owner less */
};

/* Two words, passed and copied by value; the owner of a copy owns nothing until it clones. */
struct ouro_waker {
    const struct ouro_waker_vtable *vtable;
    void *data;
};

/* Looks, and on OURO_POLL_PENDING has arranged for @waker (cloned) to be woken. */
typedef enum ouro_poll ouro_poll_function(void *arg, const struct ouro_waker *waker);

/*
 * Calls @function until it answers OURO_POLL_READY, and sleeps between the calls until the waker it
 * was given wakes.  A wake during a call is not lost.
 *
 * Suspends: until @function is ready, cancelled, or past the deadline.
 * Owns:     @arg is borrowed until the return.  On an error the function's clones of the waker may
 *           still exist; waking them does nothing.
 * Errors:   those of every suspending call; -EINVAL without a function.
 * Since:    0.1
 */
OURO_API int ouro_poll_fn(ouro_poll_function *function, void *arg) OURO_MUST_CHECK;

/*
 * One more owner of the same waker; release it with ouro_waker_drop().
 *
 * Threads: any.
 * Since:   0.1
 */
OURO_API struct ouro_waker ouro_waker_clone(const struct ouro_waker *waker);

/*
 * Wakes.  Waking twice, or after the waiter has gone, is harmless.
 *
 * Threads: any; not signal handlers.
 * Since:   0.1
 */
OURO_API void ouro_waker_wake(const struct ouro_waker *waker);

/*
 * Gives up one clone and empties *waker; an empty waker is ignored.
 *
 * Threads: any.
 * Since:   0.1
 */
OURO_API void ouro_waker_drop(struct ouro_waker *waker);

#ifdef __cplusplus
}
#endif

#endif
