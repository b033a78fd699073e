/* SPDX-License-Identifier: MIT */
/*
 * The inside of the blocking pool, for its two halves: blocking.c (callers) and blocking_thread.c
 * (threads).
 */
#ifndef OURO_TASK_BLOCKING_POOL_H
#define OURO_TASK_BLOCKING_POOL_H

#include <pthread.h>

#include "task/blocking.h"

struct ouro__blocking_pool {
    pthread_mutex_t lock; /* guards all below; a leaf: nothing of others is called under it */
    pthread_cond_t work;  /* there may be a job to take, or an end */
    pthread_cond_t ended; /* a thread has ended, or a job has during shutdown */

    struct ouro__list queue[OURO__BLOCKING_KINDS];
    uint32_t queued[OURO__BLOCKING_KINDS];
    uint32_t running[OURO__BLOCKING_KINDS];
    uint32_t running_max[OURO__BLOCKING_KINDS];
    unsigned turn; /* whose turn it is for the next job */

    uint32_t threads_max;
    uint32_t threads;    /* alive, or just being made */
    uint32_t references; /* the owner's and one for each thread */
    uint64_t started;
    int64_t keep_alive_ns;
    bool is_shutdown;
    bool is_orphaned; /* the owner has gone: nobody joins any more */

    bool has_last;  /* a thread has ended and waits to be joined */
    pthread_t last; /* by the next one to end, or by the owner */
};

/* Jobs on a thread, of all kinds. */
uint32_t ouro__blocking_running_locked(const struct ouro__blocking_pool *pool);

/*
 * Sees to it that somebody will come for the jobs that could run now: wakes a thread, or makes one.
 *
 * Errors:  -EAGAIN when there is no thread at all and none can be made.
 */
int ouro__blocking_engage_locked(struct ouro__blocking_pool *pool);

/* Releases the lock, which the caller holds, and a reference; with the last one the pool. */
void ouro__blocking_pool_unref_locked(struct ouro__blocking_pool *pool);

#endif
