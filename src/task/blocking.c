/* SPDX-License-Identifier: MIT */
/*
 * The blocking pool as its callers see it: submit, withdraw, shut down.
 *
 * One lock guards all of it.  A job takes the pool tens of microseconds (a thread woken across
 * cores), so there is nothing to be gained from a cleverer queue.
 *
 * Owns:    the pool, by references: one of the owner and one of each thread.
 * Threads: any.
 * Always:  the lock is a leaf; run(), refuse() and joins happen without it.
 */
#include "task/blocking.h"

#include <ouro/error.h>

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/clock.h"
#include "task/blocking_pool.h"

#define KEEP_ALIVE_NS (10 * OURO__NS_PER_SEC)

/* Look-ups are given this long to end by themselves; a resolver that hangs takes half a minute. */
#define LOOKUP_GRACE_NS (200 * OURO__NS_PER_MS)

static int init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    int error = pthread_condattr_init(&attributes);
    if (error != 0)
        return -error;
    error = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    if (error == 0)
        error = pthread_cond_init(condition, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    return -error;
}

/* All threads for calls; for look-ups three quarters, at least one, and never the last one of two.
 */
static void set_limits(struct ouro__blocking_pool *pool, uint32_t threads_max)
{
    uint32_t reserve = threads_max < 8 ? 1 : threads_max / 4;
    pool->threads_max = threads_max;
    pool->running_max[OURO__BLOCKING_CALL] = threads_max;
    pool->running_max[OURO__BLOCKING_LOOKUP] = threads_max == 1 ? 1 : threads_max - reserve;
}

int ouro__blocking_pool_new(uint32_t threads_max, struct ouro__blocking_pool **out_pool)
{
    if (threads_max == 0)
        return -EINVAL;
    struct ouro__blocking_pool *pool = ouro__calloc(1, sizeof(*pool));
    if (pool == NULL)
        return -ENOMEM;
    int rc = -pthread_mutex_init(&pool->lock, NULL);
    if (rc < 0)
        goto no_lock;
    rc = init_condition(&pool->work);
    if (rc < 0)
        goto no_work;
    rc = init_condition(&pool->ended);
    if (rc < 0)
        goto no_ended;
    for (unsigned kind = 0; kind < OURO__BLOCKING_KINDS; kind++)
        ouro__list_init(&pool->queue[kind]);
    set_limits(pool, threads_max);
    pool->references = 1;
    pool->keep_alive_ns = KEEP_ALIVE_NS;
    *out_pool = pool;
    return 0;

no_ended:
    (void)pthread_cond_destroy(&pool->work);
no_work:
    (void)pthread_mutex_destroy(&pool->lock);
no_lock:
    ouro__free(pool);
    return rc;
}

void ouro__blocking_pool_set_keep_alive(struct ouro__blocking_pool *pool, int64_t keep_alive_ns)
{
    (void)pthread_mutex_lock(&pool->lock);
    pool->keep_alive_ns = keep_alive_ns;
    (void)pthread_mutex_unlock(&pool->lock);
}

static void remove_locked(struct ouro__blocking_pool *pool, struct ouro__blocking_job *job,
                          enum ouro__blocking_state state)
{
    ouro__list_remove(&job->link);
    pool->queued[job->kind]--;
    job->state = state;
}

int ouro__blocking_submit(struct ouro__blocking_pool *pool, struct ouro__blocking_job *job)
{
    int rc = -OURO_ESHUTDOWN;

    (void)pthread_mutex_lock(&pool->lock);
    OURO__ASSERT(job->state == OURO__BLOCKING_IDLE);
    if (!pool->is_shutdown) {
        ouro__list_push_back(&pool->queue[job->kind], &job->link);
        pool->queued[job->kind]++;
        job->state = OURO__BLOCKING_QUEUED;
        rc = ouro__blocking_engage_locked(pool);
        if (rc < 0)
            remove_locked(pool, job, OURO__BLOCKING_IDLE);
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return rc;
}

bool ouro__blocking_withdraw(struct ouro__blocking_pool *pool, struct ouro__blocking_job *job)
{
    (void)pthread_mutex_lock(&pool->lock);
    bool is_ours = job->state == OURO__BLOCKING_QUEUED;
    if (is_ours)
        remove_locked(pool, job, OURO__BLOCKING_IDLE);
    (void)pthread_mutex_unlock(&pool->lock);
    return is_ours;
}

/* From here on nothing begins any more; what was queued moves to @refused. */
static void begin_shutdown_locked(struct ouro__blocking_pool *pool, struct ouro__list *refused)
{
    pool->is_shutdown = true;
    for (unsigned kind = 0; kind < OURO__BLOCKING_KINDS; kind++) {
        while (pool->queued[kind] > 0) {
            struct ouro__blocking_job *job =
                OURO__CONTAINER_OF(pool->queue[kind].next, struct ouro__blocking_job, link);
            remove_locked(pool, job, OURO__BLOCKING_TAKEN);
            ouro__list_push_back(refused, &job->link);
        }
    }
    (void)pthread_cond_broadcast(&pool->work);
}

static void refuse_all(struct ouro__list *refused)
{
    while (!ouro__list_is_empty(refused)) {
        struct ouro__list *first = refused->next;
        ouro__list_remove(first);
        struct ouro__blocking_job *job = OURO__CONTAINER_OF(first, struct ouro__blocking_job, link);
        job->refuse(job);
    }
}

/* Joins the last thread that ended, and with it all before. */
static void join_last_and_unlock(struct ouro__blocking_pool *pool)
{
    bool has_last = pool->has_last;
    pthread_t last = pool->last;
    pool->has_last = false;
    (void)pthread_mutex_unlock(&pool->lock);
    if (has_last)
        (void)pthread_join(last, NULL);
}

int ouro__blocking_pool_shutdown(struct ouro__blocking_pool *pool, int64_t grace_ns)
{
    struct ouro__list refused;
    int64_t lookup_grace_ns = grace_ns < LOOKUP_GRACE_NS ? grace_ns : LOOKUP_GRACE_NS;
    int64_t now_ns = ouro__clock_now_ns();
    const int64_t calls_until_ns = ouro__clock_add_ns(now_ns, grace_ns);
    const int64_t lookups_until_ns = ouro__clock_add_ns(now_ns, lookup_grace_ns);

    if (ouro__blocking_is_own_thread(pool))
        return -OURO_ENESTED;
    ouro__list_init(&refused);
    (void)pthread_mutex_lock(&pool->lock);
    begin_shutdown_locked(pool, &refused);
    (void)pthread_mutex_unlock(&pool->lock);
    refuse_all(&refused);

    (void)pthread_mutex_lock(&pool->lock);
    while (pool->threads > 0) {
        bool only_lookups = pool->threads == pool->running[OURO__BLOCKING_LOOKUP];
        int64_t until_ns = only_lookups ? lookups_until_ns : calls_until_ns;
        const struct timespec until = ouro__clock_to_timespec(until_ns > 0 ? until_ns : 0);
        if (pthread_cond_timedwait(&pool->ended, &pool->lock, &until) == ETIMEDOUT)
            break;
    }
    int rc = pool->running[OURO__BLOCKING_CALL] > 0 ? -ETIMEDOUT : 0;
    join_last_and_unlock(pool);
    return rc;
}

void ouro__blocking_pool_free(struct ouro__blocking_pool *pool)
{
    struct ouro__list refused;

    if (pool == NULL)
        return;
    ouro__list_init(&refused);
    (void)pthread_mutex_lock(&pool->lock);
    begin_shutdown_locked(pool, &refused);
    pool->is_orphaned = true;
    join_last_and_unlock(pool);
    refuse_all(&refused);
    (void)pthread_mutex_lock(&pool->lock);
    ouro__blocking_pool_unref_locked(pool);
}

void ouro__blocking_pool_free_in_child(struct ouro__blocking_pool *pool)
{
    ouro__free(pool);
}

void ouro__blocking_pool_stats(struct ouro__blocking_pool *pool,
                               struct ouro__blocking_stats *out_stats)
{
    (void)pthread_mutex_lock(&pool->lock);
    *out_stats = (struct ouro__blocking_stats){
        .threads = pool->threads,
        .running = ouro__blocking_running_locked(pool),
        .queued = pool->queued[OURO__BLOCKING_CALL] + pool->queued[OURO__BLOCKING_LOOKUP],
        .started = pool->started,
    };
    (void)pthread_mutex_unlock(&pool->lock);
}
