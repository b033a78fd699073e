/* SPDX-License-Identifier: MIT */
/*
 * What a pool's idle stacks hold is given back to the kernel: after a peak of tasks the memory of
 * the process falls again.
 *
 * The pool is looked at in windows of time.  Stacks that no get() reached during a whole window are
 * cold; their memory goes back, then the slabs of which every stack is clean.  So a load that comes
 * back within a window gives nothing back and faults nothing in again.  No window is opened for a
 * pool with few idle stacks: a worker that rests between small bursts needs no timer.
 *
 * The work is done in steps, each with a bounded number of system calls, by whoever calls
 * ouro__stack_trim_step() when the pool says so.
 *
 * Threads: the pool's owner.
 */
#ifndef OURO_FIBER_STACK_TRIM_H
#define OURO_FIBER_STACK_TRIM_H

#include "base/clock.h"
#include "fiber/stack.h"

#define OURO__STACK_IDLE_FEW ((size_t)16)
#define OURO__STACK_TRIM_WINDOW_NS OURO__NS_PER_SEC
#define OURO__STACK_TRIM_PAUSE_NS OURO__NS_PER_MS
#define OURO__STACK_TRIM_PER_STEP ((size_t)64)

/* Whether there may be something to give back.  Costs two loads. */
static inline bool ouro__stack_trim_is_wanted(const struct ouro__stack_pool *pool)
{
    return pool->idle_count > OURO__STACK_IDLE_FEW || pool->trim.at_ns != OURO__NEVER;
}

/*
 * One step at @now_ns, if one is due: gives at most OURO__STACK_TRIM_PER_STEP stacks' memory, or as
 * many stacks' addresses, back.  Returns when it is to be called next; OURO__NEVER when there is
 * nothing to do until ouro__stack_trim_is_wanted() says so.
 */
int64_t ouro__stack_trim_step(struct ouro__stack_pool *pool, int64_t now_ns);

/*
 * Gives the memory of all idle stacks but the @keep_hot that were used last back, at once.  Returns
 * of how many: a system call each.
 */
size_t ouro__stack_trim(struct ouro__stack_pool *pool, size_t keep_hot);

#endif
