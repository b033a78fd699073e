/* SPDX-License-Identifier: MIT */
/*
 * The blocking pool: its jobs, and its threads.
 *
 * One lock guards all of it.  To wake a thread on another core takes tens of microseconds, so a
 * cleverer queue would gain nothing.
 *
 * A thread without work stays for a while (ten seconds) and then ends.  Ended threads are joined
 * and not detached, so that after a shutdown none of them is still inside the library: each thread
 * that ends leaves its id behind for the next one that ends, and joins the one before.  When the
 * last one has been joined, all have gone.  Only threads that outlive the pool's owner detach.
 *
 * The program's signal handlers should not run here: a thread inside getaddrinfo(3) would run the
 * handler and retry, and the program's own threads would not notice.  So the threads block them
 * (base/signals.h), except while they run a function of the program: what that function starts must
 * inherit the mask of the thread that made the pool.
 *
 * Owns:    the pool, by references: one of the owner and one of each thread.
 * Threads: any.
 * Always:  the lock is a leaf; run(), refuse() and joins happen without it, and a job is not looked
 *          at after its run().
 * Tests:   tests/blocking/test_pool.c
 */
#include "blocking/pool.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/atomic.h"
#include "base/clock.h"
#include "base/signals.h"

#include <ouro/error.h>

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

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
    sigset_t program_mask; /* of the thread that made the pool: what calls run with */
    bool is_shutdown;
    bool is_orphaned; /* the owner has gone: no thread is joined any more */

    bool has_last;  /* a thread has ended and waits to be joined */
    pthread_t last; /* by the next one to end, or by the owner */
};

/* Enough for getaddrinfo(3) with every NSS module we know; touched pages only are used. */
#define STACK_SIZE_BYTES ((size_t)256 * 1024)

static _Thread_local const struct ouro__blocking_pool *own_pool;

#ifdef OURO_TESTING
static _Atomic uint32_t failures_left;
static _Atomic int failure;

void ouro__blocking_fail_threads(uint32_t count, int error)
{
    ouro__store(&failure, error, memory_order_seq_cst);
    ouro__store(&failures_left, count, memory_order_seq_cst);
}

static int injected_failure(void)
{
    uint32_t left = ouro__load(&failures_left, memory_order_seq_cst);
    if (left == 0)
        return 0;
    ouro__store(&failures_left, left - 1, memory_order_seq_cst);
    return ouro__load(&failure, memory_order_seq_cst);
}
#else
#define injected_failure() 0
#endif

bool ouro__blocking_is_own_thread(const struct ouro__blocking_pool *pool)
{
    return own_pool == pool;
}

/* Jobs on a thread, of all kinds. */
static uint32_t running_locked(const struct ouro__blocking_pool *pool)
{
    return pool->running[OURO__BLOCKING_CALL] + pool->running[OURO__BLOCKING_LOOKUP];
}

/* Releases the lock, which the caller holds, and a reference; with the last one the pool. */
static void unref_locked(struct ouro__blocking_pool *pool)
{
    bool is_last = --pool->references == 0;
    (void)pthread_mutex_unlock(&pool->lock);
    if (!is_last)
        return;
    (void)pthread_cond_destroy(&pool->ended);
    (void)pthread_cond_destroy(&pool->work);
    (void)pthread_mutex_destroy(&pool->lock);
    ouro__free(pool);
}

static int engage_locked(struct ouro__blocking_pool *pool);

/* The next job that may run, now taken; NULL when there is none.  The kinds take turns. */
static struct ouro__blocking_job *take_job_locked(struct ouro__blocking_pool *pool)
{
    for (unsigned i = 0; i < OURO__BLOCKING_KINDS; i++) {
        unsigned kind = (pool->turn + i) % OURO__BLOCKING_KINDS;
        if (pool->queued[kind] == 0 || pool->running[kind] >= pool->running_max[kind])
            continue;
        struct ouro__list *first = pool->queue[kind].next;
        struct ouro__blocking_job *job = OURO__CONTAINER_OF(first, struct ouro__blocking_job, link);
        ouro__list_remove(first);
        pool->queued[kind]--;
        pool->running[kind]++;
        pool->turn = kind + 1;
        job->state = OURO__BLOCKING_TAKEN;
        return job;
    }
    return NULL;
}

static void run_job_locked(struct ouro__blocking_pool *pool, struct ouro__blocking_job *job)
{
    enum ouro__blocking_kind kind = job->kind;
    (void)engage_locked(pool); /* there may be more than this thread can take */
    (void)pthread_mutex_unlock(&pool->lock);
    if (kind == OURO__BLOCKING_CALL)
        (void)pthread_sigmask(SIG_SETMASK, &pool->program_mask, NULL);
    job->run(job);
    if (kind == OURO__BLOCKING_CALL)
        (void)pthread_sigmask(SIG_SETMASK, ouro__signals_quiet(), NULL);
    (void)pthread_mutex_lock(&pool->lock);
    pool->running[kind]--;
    if (pool->is_shutdown)
        (void)pthread_cond_broadcast(&pool->ended);
}

/* Leaves the pool: joins the thread that ended before, and lets the next one join this. */
static void end_locked(struct ouro__blocking_pool *pool)
{
    bool has_before = pool->has_last;
    pthread_t before = pool->last;

    pool->threads--;
    if (pool->is_orphaned) {
        (void)pthread_detach(pthread_self());
    } else {
        pool->last = pthread_self();
        pool->has_last = true;
    }
    (void)pthread_cond_broadcast(&pool->ended);
    /* When the owner leaves, it clears has_last; so if has_before is true, the owner is still
     * there. */
    unref_locked(pool);
    if (has_before)
        (void)pthread_join(before, NULL);
}

static void *thread_main(void *arg)
{
    struct ouro__blocking_pool *pool = arg;
    int64_t idle_until_ns = 0;
    bool is_late = false;

    own_pool = pool;
    (void)pthread_setname_np(pthread_self(), "ouro-blocking");
    (void)pthread_mutex_lock(&pool->lock);
    for (;;) {
        struct ouro__blocking_job *job = take_job_locked(pool);
        if (job != NULL) {
            run_job_locked(pool, job);
            idle_until_ns = 0;
            is_late = false;
            continue;
        }
        if (pool->is_shutdown || is_late)
            break;
        if (idle_until_ns == 0)
            idle_until_ns = ouro__clock_add_ns(ouro__clock_now_ns(), pool->keep_alive_ns);
        const struct timespec until = ouro__clock_to_timespec(idle_until_ns);
        is_late = pthread_cond_timedwait(&pool->work, &pool->lock, &until) == ETIMEDOUT;
    }
    end_locked(pool);
    return NULL;
}

static int create_thread(struct ouro__blocking_pool *pool, size_t stack_size_bytes)
{
    pthread_attr_t attributes;
    pthread_t thread;

    int error = pthread_attr_init(&attributes);
    if (error != 0)
        return error;
    if (stack_size_bytes != 0)
        error = pthread_attr_setstacksize(&attributes, stack_size_bytes);
    if (error == 0)
        error = ouro__signals_create_quiet(&thread, &attributes, thread_main, pool);
    (void)pthread_attr_destroy(&attributes);
    return error;
}

static int start_thread_locked(struct ouro__blocking_pool *pool)
{
    int error = injected_failure();
    if (error != 0)
        return -EAGAIN;
    error = create_thread(pool, STACK_SIZE_BYTES);
    /* A program's thread-local variables lie on the stack too, and may leave no room on this one.
     */
    if (error == EINVAL)
        error = create_thread(pool, 0);
    if (error != 0)
        return -EAGAIN;
    pool->threads++;
    pool->references++;
    pool->started++;
    return 0;
}

/*
 * Makes sure that a thread takes the jobs that could run now: wakes a thread, or makes one.
 * Errors: -EAGAIN when there is no thread at all and none can be made.
 */
static int engage_locked(struct ouro__blocking_pool *pool)
{
    uint32_t runnable = 0;
    for (unsigned kind = 0; kind < OURO__BLOCKING_KINDS; kind++) {
        uint32_t room = pool->running_max[kind] - pool->running[kind];
        runnable += pool->queued[kind] < room ? pool->queued[kind] : room;
    }
    if (runnable == 0)
        return 0;
    /* A thread that runs nothing waits for work, or is on its way to look for some. */
    uint32_t free_threads = pool->threads - running_locked(pool);
    int rc = 0;
    if (runnable > free_threads && pool->threads < pool->threads_max)
        rc = start_thread_locked(pool);
    (void)pthread_cond_signal(&pool->work);
    return rc < 0 && pool->threads == 0 ? rc : 0;
}

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
    (void)pthread_sigmask(SIG_SETMASK, NULL, &pool->program_mask);
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
        rc = engage_locked(pool);
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
    unref_locked(pool);
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
        .running = running_locked(pool),
        .queued = pool->queued[OURO__BLOCKING_CALL] + pool->queued[OURO__BLOCKING_LOOKUP],
        .started = pool->started,
    };
    (void)pthread_mutex_unlock(&pool->lock);
}
