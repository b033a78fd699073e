/* SPDX-License-Identifier: MIT */
/*
 * Remote: an operation whose waiter and whose driver live on different threads.
 */
#ifndef OURO_TASK_REMOTE_H
#define OURO_TASK_REMOTE_H

#include "task/wait.h"

/* ouro__await() for a descriptor of another thread's driver. */
void ouro__await_remote(struct ouro__context *context, struct ouro__op *op, uint32_t flags);

#endif
