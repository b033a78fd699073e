/* SPDX-License-Identifier: MIT */
/*
 * ouro_blocking(): functions on pool threads, and what an interruption does to them.
 */
#include "support/ouro_test.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>

#include "blocking/pool.h"
#include "ouro/error.h"
#include "ouro/group.h"
#include "ouro/task.h"
#include "ouro/time.h"

/* A function that says that it has begun and waits until it is let go. */
static struct {
    sem_t begun;
    sem_t let_go;
    atomic_int calls;
} gate;

static int pass_gate(void *arg)
{
    atomic_fetch_add(&gate.calls, 1);
    (void)sem_post(&gate.begun);
    while (sem_wait(&gate.let_go) < 0)
        ck_assert_int_eq(errno, EINTR);
    return *(int *)arg;
}

static struct ouro_runtime *open_runtime(uint32_t blocking_threads_max)
{
    struct ouro_runtime_config config = OURO_RUNTIME_CONFIG_INIT;
    struct ouro_runtime *runtime = NULL;
    memset(&gate, 0, sizeof(gate));
    (void)sem_init(&gate.begun, 0, 0);
    (void)sem_init(&gate.let_go, 0, 0);
    config.driver = ouro_test_driver();
    config.blocking_threads_max = blocking_threads_max;
    ck_assert_int_eq(ouro_runtime_new(&config, &runtime), 0);
    return runtime;
}

static void run(ouro_task_function *body, uint32_t blocking_threads_max)
{
    struct ouro_runtime *runtime = open_runtime(blocking_threads_max);
    int result = -1;
    ck_assert_int_eq(ouro_runtime_block_on(runtime, body, NULL, &result), 0);
    ck_assert_int_eq(result, 0);
    ouro_runtime_free(runtime);
}

/* From a task: lets the others run until the gated function has begun. */
static void yield_until_begun(void)
{
    while (sem_trywait(&gate.begun) < 0)
        ck_assert_int_eq(ouro_yield(), 0);
}

static int tell_thread(void *arg)
{
    *(pthread_t *)arg = pthread_self();
    return -1234;
}

static int result_body(void *arg)
{
    pthread_t thread = pthread_self();
    int result = 0;
    (void)arg;
    ck_assert_int_eq(ouro_blocking(tell_thread, &thread, &result), 0);
    ck_assert_int_eq(result, -1234);
    ck_assert(!pthread_equal(thread, pthread_self()));
    ck_assert_int_eq(ouro_blocking(tell_thread, &thread, NULL), 0);
    ck_assert_int_eq(ouro_blocking(NULL, NULL, &result), -EINVAL);
    return 0;
}

OURO_TEST(function_runs_on_another_thread_and_returns_its_result)
{
    run(result_body, 0);
}

static int let_go_task(void *arg)
{
    (void)arg;
    yield_until_begun();
    (void)sem_post(&gate.let_go);
    return 0;
}

static int others_run_body(void *arg)
{
    struct ouro_task *task = NULL;
    int value = 7;
    int result = 0;
    (void)arg;
    ck_assert_int_eq(ouro_task_spawn(let_go_task, NULL, &task), 0);
    ck_assert_int_eq(ouro_blocking(pass_gate, &value, &result), 0);
    ck_assert_int_eq(result, 7);
    return ouro_task_join(task, NULL);
}

OURO_TEST(other_tasks_run_meanwhile)
{
    run(others_run_body, 0);
}

static int blocking_task(void *arg)
{
    int result = 0;
    int rc = ouro_blocking(pass_gate, arg, &result);
    return rc < 0 ? rc : result;
}

static int cancel_begun_body(void *arg)
{
    struct ouro_task *task = NULL;
    int value = 5;
    int result = 0;
    (void)arg;
    ck_assert_int_eq(ouro_task_spawn(blocking_task, &value, &task), 0);
    yield_until_begun();
    ck_assert_int_eq(ouro_task_cancel(task), 0);
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(ouro_yield(), 0); /* it must not end before its function */
    (void)sem_post(&gate.let_go);
    ck_assert_int_eq(ouro_task_join(task, &result), 0);
    ck_assert_int_eq(result, 5);
    return 0;
}

OURO_TEST(function_that_has_begun_is_waited_for)
{
    run(cancel_begun_body, 0);
}

static int queued_body(void *arg)
{
    struct ouro_deadline scope;
    struct ouro_task *running = NULL;
    struct ouro_task *queued = NULL;
    int value = 5;
    int result = 0;
    (void)arg;
    ck_assert_int_eq(ouro_task_spawn(blocking_task, &value, &running), 0);
    yield_until_begun();

    ck_assert_int_eq(ouro_task_spawn(blocking_task, &value, &queued), 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(ouro_yield(), 0);
    ck_assert_int_eq(ouro_task_cancel(queued), 0);
    ck_assert_int_eq(ouro_task_join(queued, &result), 0);
    ck_assert_int_eq(result, -ECANCELED);

    ck_assert_int_eq(ouro_deadline_begin(&scope, 5 * OURO_MILLISECOND), 0);
    ck_assert_int_eq(ouro_blocking(pass_gate, &value, &result), -ETIMEDOUT);
    ouro_deadline_end(&scope);

    (void)sem_post(&gate.let_go);
    ck_assert_int_eq(ouro_task_join(running, &result), 0);
    ck_assert_int_eq(result, 5);
    ck_assert_int_eq(atomic_load(&gate.calls), 1);
    return 0;
}

OURO_TEST(function_that_has_not_begun_is_withdrawn)
{
    run(queued_body, 1);
}

static int past_deadline_body(void *arg)
{
    struct ouro_deadline scope;
    int value = 5;
    int result = 77;
    (void)arg;
    ck_assert_int_eq(ouro_deadline_begin(&scope, 0), 0);
    ck_assert_int_eq(ouro_blocking(pass_gate, &value, &result), -ETIMEDOUT);
    ouro_deadline_end(&scope);
    ck_assert_int_eq(result, 77);
    ck_assert_int_eq(atomic_load(&gate.calls), 0);
    return 0;
}

OURO_TEST(past_deadline_runs_nothing)
{
    run(past_deadline_body, 0);
}

static int count_up(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
    return 0;
}

static int count_task(void *arg)
{
    for (int i = 0; i < 20; i++) {
        int rc = ouro_blocking(count_up, arg, NULL);
        if (rc < 0)
            return rc;
    }
    return 0;
}

enum { MANY = 100 };

static int many_body(void *arg)
{
    static struct ouro_task *tasks[MANY];
    atomic_int count = 0;
    (void)arg;
    for (int i = 0; i < MANY; i++)
        ck_assert_int_eq(ouro_task_spawn(count_task, &count, &tasks[i]), 0);
    for (int i = 0; i < MANY; i++) {
        int result = -1;
        ck_assert_int_eq(ouro_task_join(tasks[i], &result), 0);
        ck_assert_int_eq(result, 0);
    }
    ck_assert_int_eq(atomic_load(&count), MANY * 20);
    return 0;
}

OURO_TEST(many_calls_share_few_threads)
{
    run(many_body, 4);
}

static int call_inside(void *arg)
{
    atomic_int value = 0;
    (void)arg;
    return ouro_blocking(count_up, &value, NULL);
}

static int nested_body(void *arg)
{
    int result = 0;
    (void)arg;
    ck_assert_int_eq(ouro_blocking(call_inside, NULL, &result), 0);
    ck_assert_int_eq(result, -OURO_ENORUNTIME);
    return 0;
}

OURO_TEST(pool_threads_are_outside_the_runtime)
{
    run(nested_body, 0);
}

static int no_thread_body(void *arg)
{
    atomic_int count = 0;
    (void)arg;
    ouro__blocking_fail_threads(1, EAGAIN);
    ck_assert_int_eq(ouro_blocking(count_up, &count, NULL), -EAGAIN);
    ck_assert_int_eq(ouro_blocking(count_up, &count, NULL), 0);
    ck_assert_int_eq(atomic_load(&count), 1);
    return 0;
}

OURO_TEST(without_a_thread_the_call_fails)
{
    run(no_thread_body, 0);
}

static int leave_queued_body(void *arg)
{
    static int value = 5;
    struct ouro_task *task = NULL;
    (void)arg;
    ck_assert_int_eq(ouro_task_spawn(blocking_task, &value, &task), 0);
    ouro_task_detach(task);
    yield_until_begun();
    ck_assert_int_eq(ouro_task_spawn(blocking_task, &value, &task), 0);
    ouro_task_detach(task);
    ck_assert_int_eq(ouro_yield(), 0);
    return 0;
}

OURO_TEST(shutdown_withdraws_what_is_queued_and_waits_for_the_rest)
{
    struct ouro_runtime *runtime = open_runtime(1);
    ck_assert_int_eq(ouro_runtime_block_on(runtime, leave_queued_body, NULL, NULL), 0);
    ck_assert_int_eq(ouro_runtime_shutdown(runtime, 20 * OURO_MILLISECOND), -ETIMEDOUT);
    (void)sem_post(&gate.let_go);
    ck_assert_int_eq(ouro_runtime_shutdown(runtime, 10 * OURO_SECOND), 0);
    ck_assert_int_eq(atomic_load(&gate.calls), 1);
    ouro_runtime_free(runtime);
}

/* A shield keeps the shutdown from the caller, so its call is still queued when the pool ends. */
static int shielded_call_result;

static int calls_under_a_shield(void *arg)
{
    struct ouro_shield shield;
    ck_assert_int_eq(ouro_shield_begin(&shield), 0);
    shielded_call_result = ouro_blocking(pass_gate, arg, NULL);
    ouro_shield_end(&shield);
    return 0;
}

static int leave_shielded_body(void *arg)
{
    static int value = 5;
    (void)arg;
    ck_assert_int_eq(ouro_task_spawn(blocking_task, &value, NULL), 0);
    yield_until_begun();
    ck_assert_int_eq(ouro_task_spawn(calls_under_a_shield, &value, NULL), 0);
    return ouro_yield();
}

OURO_TEST(what_the_pool_cannot_begin_any_more_is_refused)
{
    struct ouro_runtime *runtime = open_runtime(1);
    shielded_call_result = 1;
    ck_assert_int_eq(ouro_runtime_block_on(runtime, leave_shielded_body, NULL, NULL), 0);
    ck_assert_int_eq(ouro_runtime_shutdown(runtime, 20 * OURO_MILLISECOND), -ETIMEDOUT);
    (void)sem_post(&gate.let_go);
    ck_assert_int_eq(ouro_runtime_shutdown(runtime, 10 * OURO_SECOND), 0);
    ck_assert_int_eq(shielded_call_result, -OURO_ESHUTDOWN);
    ck_assert_int_eq(atomic_load(&gate.calls), 1);
    ouro_runtime_free(runtime);
}

OURO_TEST_UNIT(outside_a_runtime_there_is_no_pool)
{
    atomic_int value = 0;
    ck_assert_int_eq(ouro_blocking(count_up, &value, NULL), -OURO_ENORUNTIME);
}
