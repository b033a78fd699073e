/* SPDX-License-Identifier: MIT */
/*
 * The blocking pool: threads for what would stop a worker.
 *
 * A job is a member of its owner's structure, on the owner's stack or on the heap.  Of each
 * submitted job exactly one of three things comes true:
 *
 *   run()      was called on a thread of the pool;
 *   refuse()   was called instead, because the pool shut down before a thread got to it;
 *   neither    since ouro__blocking_withdraw() took it back in time.
 *
 * run() and refuse() tell the owner themselves that it is over, and may release the job: the pool
 * does not look at it afterwards.
 */
#ifndef OURO_BLOCKING_POOL_H
#define OURO_BLOCKING_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/list.h"

struct ouro__blocking_pool;

/*
 * What a job is for.  A resolver that hangs keeps its threads for half a minute each: look-ups
 * never get all threads of a pool that has more than one, and a shutdown waits for them only
 * briefly.
 */
enum ouro__blocking_kind {
    OURO__BLOCKING_CALL = 0,   /* of a caller who waits for it and whose stack it uses */
    OURO__BLOCKING_LOOKUP = 1, /* whose waiter may have gone: owns all it touches */
    OURO__BLOCKING_KINDS = 2
};

enum ouro__blocking_state {
    OURO__BLOCKING_IDLE = 0, /* not submitted, or withdrawn */
    OURO__BLOCKING_QUEUED,
    OURO__BLOCKING_TAKEN /* run() or refuse() is coming, going on or done */
};

struct ouro__blocking_job {
    struct ouro__list link;
    void (*run)(struct ouro__blocking_job *job);
    void (*refuse)(struct ouro__blocking_job *job);
    enum ouro__blocking_kind kind;
    enum ouro__blocking_state state; /* under the pool's lock */
};

static inline void ouro__blocking_job_init(struct ouro__blocking_job *job,
                                           enum ouro__blocking_kind kind,
                                           void (*run)(struct ouro__blocking_job *job),
                                           void (*refuse)(struct ouro__blocking_job *job))
{
    ouro__list_init(&job->link);
    job->run = run;
    job->refuse = refuse;
    job->kind = kind;
    job->state = OURO__BLOCKING_IDLE;
}

/* What the pool is doing. */
struct ouro__blocking_stats {
    uint32_t threads; /* alive, also those with nothing to do */
    uint32_t running; /* jobs on a thread */
    uint32_t queued;  /* jobs waiting for one */
    uint64_t started; /* threads ever made */
};

/*
 * Makes a pool of at most @threads_max threads; none is made before the first job.  Calls run with
 * the signal mask of the thread that makes the pool.
 *
 * Owns:    one reference; release with ouro__blocking_pool_free().
 * Errors:  -EINVAL for 0; -ENOMEM.
 */
int ouro__blocking_pool_new(uint32_t threads_max, struct ouro__blocking_pool **out_pool);

/* How long a thread without work stays; 10 s unless told otherwise.  Before the first job. */
void ouro__blocking_pool_set_keep_alive(struct ouro__blocking_pool *pool, int64_t keep_alive_ns);

/*
 * Queues a job.  It may have run, and be gone, before this returns.
 *
 * Errors:  -EAGAIN when there is no thread and none can be made; -OURO_ESHUTDOWN.  Then the job is
 *          the caller's as if it had never been submitted.
 */
OURO__ANY_THREAD int ouro__blocking_submit(struct ouro__blocking_pool *pool,
                                           struct ouro__blocking_job *job);

/*
 * Takes a job back.  The caller must know that its memory is still there.
 *
 * Returns true when neither run() nor refuse() was or will be called; false when one of them was or
 * will be, and the caller must wait until that function has reported it.
 */
OURO__ANY_THREAD bool ouro__blocking_withdraw(struct ouro__blocking_pool *pool,
                                              struct ouro__blocking_job *job);

/*
 * Ends the pool: refuses the queued jobs, on the calling thread, and waits for the running ones,
 * for calls at most @grace_ns, for look-ups at most a fifth of a second of it.  May be called
 * again, to wait again.
 *
 * Errors:  -ETIMEDOUT when calls are still running; -OURO_ENESTED from one of the pool's threads.
 */
int ouro__blocking_pool_shutdown(struct ouro__blocking_pool *pool, int64_t grace_ns);

/*
 * Gives the pool up.  A pool that was not shut down is first shut down without grace.  Threads
 * still inside a job end when it does, and the last of them releases the memory.  NULL is ignored.
 */
void ouro__blocking_pool_free(struct ouro__blocking_pool *pool);

/* As free, in a forked child: there the threads do not exist, and the lock may be held for ever. */
void ouro__blocking_pool_free_in_child(struct ouro__blocking_pool *pool);

/* Whether the calling thread is one of this pool's. */
bool ouro__blocking_is_own_thread(const struct ouro__blocking_pool *pool);

OURO__ANY_THREAD void ouro__blocking_pool_stats(struct ouro__blocking_pool *pool,
                                                struct ouro__blocking_stats *out_stats);

#ifdef OURO_TESTING
/* The next @count attempts to make a thread fail with @error (EAGAIN). */
void ouro__blocking_fail_threads(uint32_t count, int error);
#endif

#endif
