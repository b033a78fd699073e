/* SPDX-License-Identifier: MIT */
/*
 * WakeRef: what a context's wakers hold on to.
 *
 * Any thread may wake a waker, also after the task, its stack and the runtime have gone.  So wakers
 * do not point at the context but at this small shared object, which outlives the context.
 */
#ifndef OURO_TASK_WAKE_REF_H
#define OURO_TASK_WAKE_REF_H

#include "task/context.h"

struct ouro__wake_ref;

/* One reference, the context's.  NULL: out of memory. */
struct ouro__wake_ref *ouro__wake_ref_new(struct ouro__context *context);

/* The context ends: later wakes do nothing.  Gives up the context's reference.  Its own thread. */
void ouro__wake_ref_forget(struct ouro__wake_ref *ref);

/* Any thread. */
void ouro__wake_ref_ref(struct ouro__wake_ref *ref);
void ouro__wake_ref_unref(struct ouro__wake_ref *ref);
void ouro__wake_ref_wake(struct ouro__wake_ref *ref);

/* Takes a wake that could not be sent as a message, so that the next one is told again. */
void ouro__wake_ref_take(struct ouro__wake_ref *ref);

/* A plain thread waits until woken or @deadline_ns (OURO__NEVER: for ever). */
void ouro__wake_ref_park(struct ouro__wake_ref *ref, int64_t deadline_ns);

#endif
