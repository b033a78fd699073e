/* SPDX-License-Identifier: MIT */
/*
 * Park: how a context stops until it is woken, and the wakers that wake it.
 */
#ifndef OURO_TASK_PARK_H
#define OURO_TASK_PARK_H

#include "task/worker.h"

#include <ouro/waker.h>

/* Stops the calling context until it is woken.  It may return early, so callers look again at what
 * they wait for, and park again. */
void ouro__context_park(struct ouro__context *context);

/*
 * Makes a waker for the context, one reference.  It wakes from any thread, and does nothing when
 * the context has ended.
 * Errors: -ENOMEM.
 */
int ouro__context_waker(struct ouro__context *context, struct ouro_waker *out_waker);

/*
 * Allocates now what the context's wakers need, so that ouro__context_waker() cannot fail later.
 * Errors: -ENOMEM.
 */
int ouro__context_prepare(struct ouro__context *context);

/* The end of a context, on its own thread.  Wakers that still exist do nothing from here on. */
void ouro__context_fini(struct ouro__context *context);

#endif
