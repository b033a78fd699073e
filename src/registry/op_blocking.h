/* SPDX-License-Identifier: MIT */
/*
 * An operation's system call on a thread that may block, and how it is interrupted.
 */
#ifndef OURO_REGISTRY_OP_BLOCKING_H
#define OURO_REGISTRY_OP_BLOCKING_H

#include "base/atomic.h"
#include "registry/op.h"

struct ouro__op_blocking {
    struct ouro__op *op;
    _Atomic int wake_fd; /* -1: none yet */
    _Atomic bool is_interrupted;
};

void ouro__op_blocking_init(struct ouro__op_blocking *blocking, struct ouro__op *op);
/* After run() has returned. */
void ouro__op_blocking_fini(struct ouro__op_blocking *blocking);

/* The blocking thread: a count, or -errno; -ECANCELED when it was interrupted in a wait. */
int32_t ouro__op_blocking_run(struct ouro__op_blocking *blocking);

/* Another thread, any number of times, until fini(). */
OURO__ANY_THREAD void ouro__op_blocking_interrupt(struct ouro__op_blocking *blocking);

#endif
