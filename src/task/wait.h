/* SPDX-License-Identifier: MIT */
/*
 * Waiting for a condition, and for an operation.
 */
#ifndef OURO_TASK_WAIT_H
#define OURO_TASK_WAIT_H

#include "task/park.h"

/*
 * Parks until is_done(arg).  What makes it true wakes the context afterwards.
 * Errors: -OURO_ESHUTDOWN, -ECANCELED, -ETIMEDOUT when interrupted first.
 */
int ouro__wait(struct ouro__context *context, bool (*is_done)(void *arg), void *arg);

/* As ouro__wait(), and nothing interrupts it: for what must be awaited before memory is released.
 */
void ouro__wait_uninterruptible(struct ouro__context *context, bool (*is_done)(void *arg),
                                void *arg);

/* As ouro__wait(), and ends with 0 at @until_ns as well. */
int ouro__wait_until(struct ouro__context *context, int64_t until_ns, bool (*is_done)(void *arg),
                     void *arg);

/*
 * Runs @function(@arg) on a thread of the blocking pool and waits for it.  When the context is
 * interrupted while it runs, @interrupt(@arg) is called once, on the context's thread, to make it
 * end; NULL: it is waited for.
 * Errors: why it was not run: -EAGAIN (no thread), -ENOMEM, or an interruption.
 */
int ouro__wait_for_call(struct ouro__context *context, int (*function)(void *arg), void *arg,
                        void (*interrupt)(void *arg), int *out_result);

#define OURO__AWAIT_UNINTERRUPTIBLE (1u << 0) /* not interrupted: for closing */

/*
 * Submits @op (code, lane and arg are set, and sio, or handle and fd) to its driver, here or
 * through the driver's inbox, and waits for its one completion.  Returns its result; one that an
 * interruption cancelled is reported as that: -ECANCELED, -ETIMEDOUT or -OURO_ESHUTDOWN.
 */
int32_t ouro__await(struct ouro__context *context, struct ouro__op *op, uint32_t flags);

#endif
