/* SPDX-License-Identifier: MIT */
/*
 * The threads of the blocking pool: how they are made, find work, and end.
 *
 * A thread without work stays for a while (ten seconds) and then ends.  Ended threads are joined
 * and not detached, so that after a shutdown none of them is still inside the library: each that
 * ends leaves its id behind for the next one that does, and joins the one before.  Joining the last
 * one then means that all have gone.  Only threads whose owner has given up on them detach.
 *
 * The caller's signals must not land here: a thread that is inside getaddrinfo(3) would run the
 * handler and retry, and the program's own threads would not notice.  So all are blocked, except
 * those a thread brings upon itself, which must reach the handler that reports them.
 *
 * Owns:    the threads.
 * Threads: the pool's own; engage from any, with the lock held.
 * Always:  run() is called with no lock held, and the job is not looked at after it.
 */
#include "task/blocking_pool.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/clock.h"

/* Enough for getaddrinfo(3) with every NSS module we know; touched pages only are used. */
#define STACK_SIZE_BYTES ((size_t)256 * 1024)

static _Thread_local const struct ouro__blocking_pool *own_pool;

#ifdef OURO_TESTING
#include <stdatomic.h>

static _Atomic uint32_t failures_left;
static _Atomic int failure;

void ouro__blocking_fail_threads(uint32_t count, int error)
{
    atomic_store(&failure, error);
    atomic_store(&failures_left, count);
}

static int injected_failure(void)
{
    uint32_t left = atomic_load(&failures_left);
    if (left == 0)
        return 0;
    atomic_store(&failures_left, left - 1);
    return atomic_load(&failure);
}
#else
#define injected_failure() 0
#endif

bool ouro__blocking_is_own_thread(const struct ouro__blocking_pool *pool)
{
    return own_pool == pool;
}

uint32_t ouro__blocking_running_locked(const struct ouro__blocking_pool *pool)
{
    return pool->running[OURO__BLOCKING_CALL] + pool->running[OURO__BLOCKING_LOOKUP];
}

void ouro__blocking_pool_unref_locked(struct ouro__blocking_pool *pool)
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
    (void)ouro__blocking_engage_locked(pool); /* there may be more than this thread can take */
    (void)pthread_mutex_unlock(&pool->lock);
    job->run(job);
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
    /* The owner took "last" away when it left, so has_before implies that it has not. */
    ouro__blocking_pool_unref_locked(pool);
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

/* Every signal but those that a thread's own instructions raise. */
static void fill_blocked_signals(sigset_t *set)
{
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
    (void)sigfillset(set);
    for (size_t i = 0; i < OURO__ARRAY_LEN(own); i++)
        (void)sigdelset(set, own[i]);
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
        error = pthread_create(&thread, &attributes, thread_main, pool);
    (void)pthread_attr_destroy(&attributes);
    return error;
}

static int start_thread_locked(struct ouro__blocking_pool *pool)
{
    sigset_t blocked;
    sigset_t before;

    int error = injected_failure();
    if (error != 0)
        return -EAGAIN;
    fill_blocked_signals(&blocked);
    (void)pthread_sigmask(SIG_SETMASK, &blocked, &before);
    error = create_thread(pool, STACK_SIZE_BYTES);
    /* A program's thread-local variables lie on the stack too, and may leave no room on this one.
     */
    if (error == EINVAL)
        error = create_thread(pool, 0);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0)
        return -EAGAIN;
    pool->threads++;
    pool->references++;
    pool->started++;
    return 0;
}

int ouro__blocking_engage_locked(struct ouro__blocking_pool *pool)
{
    uint32_t runnable = 0;
    for (unsigned kind = 0; kind < OURO__BLOCKING_KINDS; kind++) {
        uint32_t room = pool->running_max[kind] - pool->running[kind];
        runnable += pool->queued[kind] < room ? pool->queued[kind] : room;
    }
    if (runnable == 0)
        return 0;
    /* A thread that runs nothing waits for work, or is on its way to look for some. */
    uint32_t free_threads = pool->threads - ouro__blocking_running_locked(pool);
    int rc = 0;
    if (runnable > free_threads && pool->threads < pool->threads_max)
        rc = start_thread_locked(pool);
    (void)pthread_cond_signal(&pool->work);
    return rc < 0 && pool->threads == 0 ? rc : 0;
}
