/* SPDX-License-Identifier: MIT */
/*
 * Waker, Poll, poll_fn: waiting for anything that can call back.
 *
 * A poll function checks whether an event has happened.  If not, it stores a clone of its waker
 * where the source of the event finds it, and returns OURO_POLL_PENDING.  When the event happens,
 * the source calls ouro_waker_wake() on the clone, and the poll function is called again.
 * ouro_poll_fn() makes a waiting call of a poll function.  In the other direction, a program can
 * pass a Waker of its own (for an eventfd, another event loop, a state machine) to every poll_*
 * call of ouro.
 */
#ifndef OURO_WAKER_H
#define OURO_WAKER_H

#include <ouro/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The result of a poll function. */
enum ouro_poll { OURO_POLL_PENDING = 0, OURO_POLL_READY = 1 };

/*
 * The functions of a waker.  Each may be called from any thread and must not suspend.  ouro holds
 * none of its locks while it calls them.
 */
struct ouro_waker_vtable {
    void *(*clone)(void *data); /* takes a reference; returns the data of the clone */
    void (*wake)(void *data);   /* wakes; releases nothing; may be called again, and at any time */
    void (*drop)(void *data);   /* releases a reference */
};

/* A waker, passed by value.  Copying takes no reference; ouro_waker_clone() does. */
struct ouro_waker {
    const struct ouro_waker_vtable *vtable;
    void *data;
};

/* Checks for the event.  Before it returns OURO_POLL_PENDING, it stores a clone of @waker. */
typedef enum ouro_poll ouro_poll_function(void *arg, const struct ouro_waker *waker);

/*
 * Calls @function until it returns OURO_POLL_READY.  Between the calls the caller sleeps until
 * @function's waker is woken.  A wake during a call is not lost.
 *
 * Suspends: until @function returns OURO_POLL_READY, or the caller is interrupted.
 * Owns:     @arg is borrowed until the return.  On an error the function's clones of the waker may
 *           still exist; waking them does nothing.
 * Errors:   those of every suspending call; -EINVAL without a function.
 * Since:    0.1
 */
OURO_API int ouro_poll_fn(ouro_poll_function *function, void *arg) OURO_MUST_CHECK;

/*
 * Makes another reference to the same waker; release it with ouro_waker_drop().
 *
 * Threads: any.
 * Since:   0.1
 */
OURO_API struct ouro_waker ouro_waker_clone(const struct ouro_waker *waker);

/*
 * Wakes the waiter.  Waking twice, or after the waiter has gone, does nothing.
 *
 * Threads: any; not signal handlers.
 * Since:   0.1
 */
OURO_API void ouro_waker_wake(const struct ouro_waker *waker);

/*
 * Releases one clone and empties *waker; an empty waker is ignored.
 *
 * Threads: any.
 * Since:   0.1
 */
OURO_API void ouro_waker_drop(struct ouro_waker *waker);

#ifdef __cplusplus
}
#endif

#endif
