/* SPDX-License-Identifier: MIT */
/*
 * Waiting for a condition, and for an operation.
 */
#ifndef OURO_TASK_WAIT_H
#define OURO_TASK_WAIT_H

#include "task/park.h"

/*
 * Parks until is_done(arg).  Whoever makes it true wakes the context afterwards.
 * Errors: -OURO_ESHUTDOWN, -ECANCELED, -ETIMEDOUT when interrupted first.
 */
int ouro__wait(struct ouro__context *context, bool (*is_done)(void *arg), void *arg);

/* As ouro__wait(), and nothing interrupts it: for what must be awaited before memory is released.
 */
void ouro__wait_uninterruptible(struct ouro__context *context, bool (*is_done)(void *arg),
                                void *arg);

#define OURO__AWAIT_UNINTERRUPTIBLE (1u << 0) /* not interrupted: for closing */

/*
 * Submits @op (sio, code, lane and arg are set) to its descriptor's driver, here or through the
 * driver's inbox, and waits for its one completion.  Returns its result; one that an interruption
 * cancelled is reported as that: -ECANCELED, -ETIMEDOUT or -OURO_ESHUTDOWN.
 */
int32_t ouro__await(struct ouro__context *context, struct ouro__op *op, uint32_t flags);

#endif
