/* SPDX-License-Identifier: MIT */
/*
 * Remote: an operation whose waiter and whose driver live on different threads.
 */
#ifndef OURO_TASK_REMOTE_H
#define OURO_TASK_REMOTE_H

#include "task/context.h"

/* ouro__await() for a descriptor of another thread's driver.  @uninterruptible: nothing cancels it.
 */
void ouro__await_remote(struct ouro__context *context, struct ouro__op *op, bool uninterruptible);

#endif
