/* SPDX-License-Identifier: MIT */
/*
 * The blocking pool by itself: how many threads it makes and keeps, and that of every job exactly
 * one of run, refuse and withdraw comes true.
 */
#include "support/ouro_test.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "blocking/pool.h"
#include "ouro/error.h"
#include "support/leaks.h"

/* A job that says when it begins and may be held until it is let go. */
struct step {
    struct ouro__blocking_job job;
    sem_t begun;
    sem_t let_go;
    bool is_held;
    atomic_int runs;
    atomic_int refusals;
    pthread_t thread;
    char thread_name[16];
    sigset_t blocked;
};

static struct ouro__blocking_pool *pool;

static void step_run(struct ouro__blocking_job *job)
{
    struct step *step = OURO__CONTAINER_OF(job, struct step, job);
    step->thread = pthread_self();
    (void)pthread_getname_np(step->thread, step->thread_name, sizeof(step->thread_name));
    (void)pthread_sigmask(SIG_SETMASK, NULL, &step->blocked);
    (void)sem_post(&step->begun);
    while (step->is_held && sem_wait(&step->let_go) < 0)
        ck_assert_int_eq(errno, EINTR);
    atomic_fetch_add(&step->runs, 1);
}

static void step_refuse(struct ouro__blocking_job *job)
{
    struct step *step = OURO__CONTAINER_OF(job, struct step, job);
    atomic_fetch_add(&step->refusals, 1);
}

static void step_init(struct step *step, enum ouro__blocking_kind kind, bool is_held)
{
    memset(step, 0, sizeof(*step));
    ouro__blocking_job_init(&step->job, kind, step_run, step_refuse);
    (void)sem_init(&step->begun, 0, 0);
    (void)sem_init(&step->let_go, 0, 0);
    step->is_held = is_held;
}

static void submit(struct step *step)
{
    ck_assert_int_eq(ouro__blocking_submit(pool, &step->job), 0);
}

static void wait_begun(struct step *step)
{
    while (sem_wait(&step->begun) < 0)
        ck_assert_int_eq(errno, EINTR);
}

static struct ouro__blocking_stats stats(void)
{
    struct ouro__blocking_stats now;
    ouro__blocking_pool_stats(pool, &now);
    return now;
}

static void open_pool(uint32_t threads_max)
{
    ck_assert_int_eq(ouro__blocking_pool_new(threads_max, &pool), 0);
}

static void close_pool(void)
{
    ck_assert_int_eq(ouro__blocking_pool_shutdown(pool, 10 * OURO_TEST_SECOND), 0);
    ck_assert_uint_eq(stats().threads, 0);
    ouro__blocking_pool_free(pool);
}

static bool has_run(void *arg)
{
    return atomic_load(&((struct step *)arg)->runs) > 0;
}

static bool nothing_runs(void *arg)
{
    (void)arg;
    return stats().running == 0;
}

static bool no_threads(void *arg)
{
    (void)arg;
    return stats().threads == 0;
}

OURO_TEST_UNIT(no_thread_before_the_first_job)
{
    struct step step;

    ck_assert_int_eq(ouro__blocking_pool_new(0, &pool), -EINVAL);
    open_pool(4);
    ck_assert_uint_eq(stats().started, 0);
    step_init(&step, OURO__BLOCKING_CALL, false);
    submit(&step);
    ck_assert(ouro_test_until(has_run, &step, 10 * OURO_TEST_SECOND));
    ck_assert_uint_eq(stats().started, 1);
    close_pool();
}

/* The signals a job of @kind runs with; those of the job before it must have left no trace. */
static void run_with_mask(enum ouro__blocking_kind kind, bool is_quiet)
{
    struct step step;
    step_init(&step, kind, false);
    submit(&step);
    ck_assert(ouro_test_until(has_run, &step, 10 * OURO_TEST_SECOND));
    ck_assert_str_eq(step.thread_name, "ouro-blocking");
    ck_assert(pthread_equal(step.thread, pthread_self()) == 0);
    ck_assert_int_eq(sigismember(&step.blocked, SIGINT), is_quiet);
    ck_assert_int_eq(sigismember(&step.blocked, SIGTERM), is_quiet);
    ck_assert_int_eq(sigismember(&step.blocked, SIGALRM), is_quiet);
    ck_assert_int_eq(sigismember(&step.blocked, SIGUSR2), 1); /* the pool's maker blocks it */
    ck_assert_int_eq(sigismember(&step.blocked, SIGSEGV), 0);
    ck_assert_int_eq(sigismember(&step.blocked, SIGSYS), 0);
}

OURO_TEST_UNIT(calls_have_the_mask_of_the_pools_maker_and_lookups_block_signals)
{
    sigset_t mine;
    (void)sigemptyset(&mine);
    (void)sigaddset(&mine, SIGUSR2);
    (void)pthread_sigmask(SIG_BLOCK, &mine, NULL);
    open_pool(1);
    (void)pthread_sigmask(SIG_UNBLOCK, &mine, NULL);
    for (int i = 0; i < 2; i++) {
        run_with_mask(OURO__BLOCKING_LOOKUP, true);
        run_with_mask(OURO__BLOCKING_CALL, false);
    }
    (void)pthread_sigmask(SIG_SETMASK, NULL, &mine);
    ck_assert_int_eq(sigismember(&mine, SIGINT), 0);
    ck_assert_int_eq(sigismember(&mine, SIGUSR2), 0);
    close_pool();
}

OURO_TEST_UNIT(idle_threads_are_used_again)
{
    struct step step;

    open_pool(8);
    for (int i = 0; i < 200; i++) {
        step_init(&step, OURO__BLOCKING_CALL, false);
        submit(&step);
        ck_assert(ouro_test_until(has_run, &step, 10 * OURO_TEST_SECOND));
        ck_assert(ouro_test_until(nothing_runs, NULL, 10 * OURO_TEST_SECOND));
    }
    ck_assert_uint_eq(stats().started, 1);
    close_pool();
}

OURO_TEST_UNIT(as_many_threads_as_jobs_up_to_the_bound)
{
    struct step steps[6];

    open_pool(4);
    for (int i = 0; i < 6; i++) {
        step_init(&steps[i], OURO__BLOCKING_CALL, true);
        submit(&steps[i]);
    }
    for (int i = 0; i < 4; i++)
        wait_begun(&steps[i]);
    struct ouro__blocking_stats now = stats();
    ck_assert_uint_eq(now.threads, 4);
    ck_assert_uint_eq(now.running, 4);
    ck_assert_uint_eq(now.queued, 2);

    (void)sem_post(&steps[2].let_go); /* first come, first served */
    wait_begun(&steps[4]);
    (void)sem_post(&steps[0].let_go);
    wait_begun(&steps[5]);
    for (int i = 0; i < 6; i++)
        (void)sem_post(&steps[i].let_go);
    for (int i = 0; i < 6; i++)
        ck_assert(ouro_test_until(has_run, &steps[i], 10 * OURO_TEST_SECOND));
    ck_assert_uint_eq(stats().started, 4);
    close_pool();
}

OURO_TEST_UNIT(idle_threads_end_after_the_keep_alive)
{
    struct step steps[3];

    open_pool(3);
    ouro__blocking_pool_set_keep_alive(pool, 20 * OURO_TEST_MS);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 3; i++) {
            step_init(&steps[i], OURO__BLOCKING_CALL, true);
            submit(&steps[i]);
        }
        for (int i = 0; i < 3; i++)
            wait_begun(&steps[i]);
        for (int i = 0; i < 3; i++)
            (void)sem_post(&steps[i].let_go);
        ck_assert(ouro_test_until(no_threads, NULL, 10 * OURO_TEST_SECOND));
    }
    ck_assert_uint_eq(stats().started, 9);
    close_pool();
}

OURO_TEST_UNIT(queued_jobs_can_be_withdrawn_and_running_ones_cannot)
{
    struct step running;
    struct step queued;

    open_pool(1);
    step_init(&running, OURO__BLOCKING_CALL, true);
    step_init(&queued, OURO__BLOCKING_CALL, false);
    submit(&running);
    wait_begun(&running);
    submit(&queued);
    ck_assert(ouro__blocking_withdraw(pool, &queued.job));
    ck_assert(!ouro__blocking_withdraw(pool, &queued.job));
    ck_assert(!ouro__blocking_withdraw(pool, &running.job));
    ck_assert_uint_eq(stats().queued, 0);
    submit(&queued); /* and submitted again */
    (void)sem_post(&running.let_go);
    ck_assert(ouro_test_until(has_run, &queued, 10 * OURO_TEST_SECOND));
    ck_assert_int_eq(atomic_load(&queued.runs), 1);
    ck_assert_int_eq(atomic_load(&running.runs), 1);
    close_pool();
}

OURO_TEST_UNIT(lookups_leave_a_thread_for_calls)
{
    struct step lookups[4];
    struct step call;

    open_pool(4);
    for (int i = 0; i < 4; i++) {
        step_init(&lookups[i], OURO__BLOCKING_LOOKUP, true);
        submit(&lookups[i]);
    }
    for (int i = 0; i < 3; i++)
        wait_begun(&lookups[i]);
    ck_assert_uint_eq(stats().running, 3);
    ck_assert_uint_eq(stats().queued, 1);
    step_init(&call, OURO__BLOCKING_CALL, false);
    submit(&call);
    ck_assert(ouro_test_until(has_run, &call, 10 * OURO_TEST_SECOND));
    ck_assert(ouro_test_until(nothing_runs, NULL, 0) == false);
    ck_assert_uint_eq(stats().queued, 1); /* the fourth look-up still waits */

    for (int i = 0; i < 4; i++)
        (void)sem_post(&lookups[i].let_go);
    for (int i = 0; i < 4; i++)
        ck_assert(ouro_test_until(has_run, &lookups[i], 10 * OURO_TEST_SECOND));
    close_pool();
}

OURO_TEST_UNIT(pool_of_one_thread_does_lookups_too)
{
    struct step lookup;

    open_pool(1);
    step_init(&lookup, OURO__BLOCKING_LOOKUP, false);
    submit(&lookup);
    ck_assert(ouro_test_until(has_run, &lookup, 10 * OURO_TEST_SECOND));
    close_pool();
}

OURO_TEST_UNIT(without_any_thread_submit_fails)
{
    struct step steps[2];

    open_pool(2);
    step_init(&steps[0], OURO__BLOCKING_CALL, true);
    step_init(&steps[1], OURO__BLOCKING_CALL, false);
    ouro__blocking_fail_threads(1, EAGAIN);
    ck_assert_int_eq(ouro__blocking_submit(pool, &steps[0].job), -EAGAIN);
    ck_assert_uint_eq(stats().queued, 0);
    ck_assert_uint_eq(stats().threads, 0);

    submit(&steps[0]);
    wait_begun(&steps[0]);
    ouro__blocking_fail_threads(1, EAGAIN); /* one there is: the job waits for it */
    submit(&steps[1]);
    ck_assert_uint_eq(stats().threads, 1);
    ck_assert_uint_eq(stats().queued, 1);
    (void)sem_post(&steps[0].let_go);
    ck_assert(ouro_test_until(has_run, &steps[1], 10 * OURO_TEST_SECOND));
    close_pool();
}

OURO_TEST_UNIT(shutdown_refuses_queued_jobs_and_later_ones)
{
    struct step running;
    struct step queued;
    struct step late;

    open_pool(1);
    step_init(&running, OURO__BLOCKING_CALL, true);
    step_init(&queued, OURO__BLOCKING_CALL, false);
    step_init(&late, OURO__BLOCKING_CALL, false);
    submit(&running);
    wait_begun(&running);
    submit(&queued);

    ck_assert_int_eq(ouro__blocking_pool_shutdown(pool, 5 * OURO_TEST_MS), -ETIMEDOUT);
    ck_assert_int_eq(atomic_load(&queued.refusals), 1);
    ck_assert_int_eq(atomic_load(&queued.runs), 0);
    ck_assert(!ouro__blocking_withdraw(pool, &queued.job));
    ck_assert_int_eq(ouro__blocking_submit(pool, &late.job), -OURO_ESHUTDOWN);
    ck_assert_int_eq(atomic_load(&running.refusals), 0);

    (void)sem_post(&running.let_go);
    close_pool();
    ck_assert_int_eq(atomic_load(&running.runs), 1);
}

OURO_TEST_UNIT(shutdown_does_not_wait_for_a_lookup_that_hangs)
{
    struct step lookup;

    open_pool(2);
    step_init(&lookup, OURO__BLOCKING_LOOKUP, true);
    submit(&lookup);
    wait_begun(&lookup);
    int64_t before_ns = ouro_test_now_ns();
    ck_assert_int_eq(ouro__blocking_pool_shutdown(pool, 60 * OURO_TEST_SECOND), 0);
    ck_assert_int_lt(ouro_test_now_ns() - before_ns, 10 * OURO_TEST_SECOND);
    ouro__blocking_pool_free(pool);
    /* The pool's memory goes with the thread: the leak check behind this case sees both. */
    ck_assert_int_gt(ouro__alloc_live_blocks(), 0);
    (void)sem_post(&lookup.let_go);
    ck_assert(ouro_test_until(has_run, &lookup, 10 * OURO_TEST_SECOND));
}

static bool has_as_many_threads(void *arg)
{
    const struct ouro_test_holdings *before = arg;
    static struct ouro_test_holdings now;
    ouro_test_holdings_take(&now);
    return now.threads == before->threads;
}

static void free_with_a_job_running(void)
{
    static struct step running;
    static struct step queued;
    static struct ouro_test_holdings before;

    ouro_test_holdings_take(&before);
    open_pool(1);
    step_init(&running, OURO__BLOCKING_CALL, true);
    step_init(&queued, OURO__BLOCKING_CALL, false);
    submit(&running);
    wait_begun(&running);
    submit(&queued);
    ouro__blocking_pool_free(pool);
    ck_assert_int_eq(atomic_load(&queued.refusals), 1);
    (void)sem_post(&running.let_go);
    ck_assert(ouro_test_until(has_run, &running, 10 * OURO_TEST_SECOND));
    /* libc keeps the stack of a thread that ends by itself until the next one begins or ends. */
    ck_assert(ouro_test_until(has_as_many_threads, &before, 10 * OURO_TEST_SECOND));
}

OURO_TEST_UNIT(free_without_shutdown_refuses_what_is_queued)
{
    /* Often enough that the stacks of threads which nobody joined or detached would show. */
    for (int round = 0; round < 8; round++)
        free_with_a_job_running();
    ouro__blocking_pool_free(NULL);
}

static int shutdown_from_inside;

static void shut_down(struct ouro__blocking_job *job)
{
    struct step *step = OURO__CONTAINER_OF(job, struct step, job);
    shutdown_from_inside = ouro__blocking_pool_shutdown(pool, OURO_TEST_SECOND);
    atomic_fetch_add(&step->runs, 1);
}

OURO_TEST_UNIT(shutdown_from_its_own_thread_is_an_error)
{
    struct step step;

    open_pool(1);
    step_init(&step, OURO__BLOCKING_CALL, false);
    step.job.run = shut_down;
    submit(&step);
    ck_assert(ouro_test_until(has_run, &step, 10 * OURO_TEST_SECOND));
    ck_assert_int_eq(shutdown_from_inside, -OURO_ENESTED);
    close_pool();
}

OURO_TEST_UNIT(lack_of_memory_makes_no_pool)
{
    struct ouro__blocking_pool *untouched = (void *)&pool;
    pool = untouched;
    ouro__alloc_fail_at(1);
    ck_assert_int_eq(ouro__blocking_pool_new(1, &pool), -ENOMEM);
    ouro__alloc_fail_at(0);
    ck_assert_ptr_eq(pool, untouched);
}

enum { STRESS_SUBMITTERS = 3, STRESS_JOBS = 4000 };

struct stress_job {
    struct ouro__blocking_job job;
    atomic_int outcomes;
};

static atomic_int ran;

static void stress_run(struct ouro__blocking_job *job)
{
    atomic_fetch_add(&OURO__CONTAINER_OF(job, struct stress_job, job)->outcomes, 1);
    atomic_fetch_add(&ran, 1);
}

static void stress_refuse(struct ouro__blocking_job *job)
{
    atomic_fetch_add(&OURO__CONTAINER_OF(job, struct stress_job, job)->outcomes, 1);
}

/* Submits, takes some back, and goes on until the shutdown refuses everything. */
static void *stress_submit(void *arg)
{
    struct stress_job *jobs = arg;
    for (int i = 0; i < STRESS_JOBS; i++) {
        enum ouro__blocking_kind kind = i % 3 == 0 ? OURO__BLOCKING_LOOKUP : OURO__BLOCKING_CALL;
        ouro__blocking_job_init(&jobs[i].job, kind, stress_run, stress_refuse);
        int rc = ouro__blocking_submit(pool, &jobs[i].job);
        if (rc < 0) {
            ck_assert_int_eq(rc, -OURO_ESHUTDOWN);
            atomic_fetch_add(&jobs[i].outcomes, 1);
        } else if (i % 2 == 0 && ouro__blocking_withdraw(pool, &jobs[i].job)) {
            atomic_fetch_add(&jobs[i].outcomes, 1);
        }
    }
    return NULL;
}

static bool some_ran(void *arg)
{
    (void)arg;
    return atomic_load(&ran) >= 100;
}

OURO_TEST_UNIT(every_job_has_exactly_one_outcome)
{
    static struct stress_job jobs[STRESS_SUBMITTERS][STRESS_JOBS];
    pthread_t threads[STRESS_SUBMITTERS];

    open_pool(5);
    ouro__blocking_pool_set_keep_alive(pool, 0); /* threads come and go all the time */
    for (int i = 0; i < STRESS_SUBMITTERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, stress_submit, jobs[i]), 0);
    ck_assert(ouro_test_until(some_ran, NULL, 10 * OURO_TEST_SECOND));
    ck_assert_int_eq(ouro__blocking_pool_shutdown(pool, 10 * OURO_TEST_SECOND), 0);
    for (int i = 0; i < STRESS_SUBMITTERS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    close_pool();
    for (int i = 0; i < STRESS_SUBMITTERS; i++)
        for (int j = 0; j < STRESS_JOBS; j++)
            ck_assert_int_eq(atomic_load(&jobs[i][j].outcomes), 1);
}
