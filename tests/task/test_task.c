/* SPDX-License-Identifier: MIT */
/*
 * Tasks: spawn, join, detach, cancel, yield.
 *
 * Owns:    nothing.
 * Threads: the runtime's.
 * Always:  what is spawned ends, and its memory is back.
 */
#include "support/ouro_test.h"
#include "support/runtime.h"

#include <errno.h>
#include <ouro.h>
#include <stdatomic.h>
#include <stdbool.h>

static int returns_its_argument(void *arg)
{
    return (int)(intptr_t)arg;
}

static int join_gives_the_result(void *arg)
{
    (void)arg;
    for (int i = -3; i < 200; i++) {
        struct ouro_task *task = NULL;
        int result = 12345;
        ck_assert_int_eq(ouro_task_spawn(returns_its_argument, (void *)(intptr_t)i, &task), 0);
        ck_assert_int_eq(ouro_task_join(task, &result), 0);
        ck_assert_int_eq(result, i);
    }
    return 0;
}

OURO_TEST(join_returns_what_the_task_returned)
{
    ouro_test_everywhere(join_gives_the_result, NULL);
}

static int spawn_a_thousand(void *arg)
{
    enum { COUNT = 1000 };
    struct ouro_task *task[COUNT];
    (void)arg;
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < COUNT; i++)
            ck_assert_int_eq(ouro_task_spawn(returns_its_argument, (void *)(intptr_t)i, &task[i]),
                             0);
        for (int i = COUNT; i-- > 0;) {
            int result = -1;
            ck_assert_int_eq(ouro_task_join(task[i], &result), 0);
            ck_assert_int_eq(result, i);
        }
    }
    return 0;
}

OURO_TEST(a_thousand_tasks_at_a_time)
{
    ouro_test_everywhere(spawn_a_thousand, NULL);
}

static int adds_one(void *arg)
{
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(ouro_yield(), 0);
    atomic_fetch_add((_Atomic int *)arg, 1);
    return 0;
}

static int detach_many(void *arg)
{
    _Atomic int count = 0;
    (void)arg;
    for (int i = 0; i < 50; i++) {
        struct ouro_task *task = NULL;
        ck_assert_int_eq(ouro_task_spawn(adds_one, &count, i % 2 == 0 ? &task : NULL), 0);
        ouro_task_detach(task);
    }
    while (atomic_load(&count) < 50)
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
    return 0;
}

OURO_TEST(detached_tasks_run_to_their_end)
{
    ouro_test_everywhere(detach_many, NULL);
}

static int sleeps_for_ever(void *arg)
{
    (void)arg;
    int rc = ouro_sleep(3600 * OURO_SECOND);
    /* Cancellation stays. */
    ck_assert_int_eq(rc, -ECANCELED);
    ck_assert_int_eq(ouro_sleep(OURO_SECOND), -ECANCELED);
    ck_assert_int_eq(ouro_yield(), -ECANCELED);
    ck_assert_int_eq(ouro_task_is_cancelled(), 1);
    return 77;
}

static int cancel_ends_the_wait(void *arg)
{
    (void)arg;
    for (int yields = 0; yields < 4; yields++) {
        struct ouro_task *task = NULL;
        int result = 0;
        ck_assert_int_eq(ouro_task_spawn(sleeps_for_ever, NULL, &task), 0);
        for (int i = 0; i < yields; i++)
            ck_assert_int_eq(ouro_yield(), 0);
        ck_assert_int_eq(ouro_task_cancel(task), 0);
        ck_assert_int_eq(ouro_task_cancel(task), 0);
        ck_assert_int_eq(ouro_task_join(task, &result), 0);
        ck_assert_int_eq(result, 77);
    }
    ck_assert_int_eq(ouro_task_is_cancelled(), 0);
    return 0;
}

static int yields_once(void *arg)
{
    bool *has_begun = arg;
    *has_begun = true;
    return ouro_yield();
}

/* It is cancelled while it is in the run queue, behind the task that cancels it. */
static int cancel_one_that_yields(void *arg)
{
    (void)arg;
    struct ouro_task *task = NULL;
    bool has_begun = false;
    int result = 0;
    ck_assert_int_eq(ouro_task_spawn_here(yields_once, &has_begun, &task), 0);
    while (!has_begun)
        ck_assert_int_eq(ouro_yield(), 0);
    ck_assert_int_eq(ouro_task_cancel(task), 0);
    ck_assert_int_eq(ouro_task_join(task, &result), 0);
    ck_assert_int_eq(result, -ECANCELED);
    return 0;
}

OURO_TEST(a_yield_tells_of_a_cancellation_that_came_meanwhile)
{
    ck_assert_int_eq(ouro_test_in_task(cancel_one_that_yields, NULL), 0);
    ck_assert_int_eq(ouro_test_in_task_of_many(cancel_one_that_yields, NULL), 0);
}

OURO_TEST(cancel_ends_a_sleep_and_all_later_waits)
{
    ouro_test_everywhere(cancel_ends_the_wait, NULL);
}

static int joins_another(void *arg)
{
    int result = 0;
    return ouro_task_join(arg, &result);
}

static int cancelled_join(void *arg)
{
    struct ouro_task *sleeper = NULL;
    struct ouro_task *joiner = NULL;
    int result = 0;
    (void)arg;
    ck_assert_int_eq(ouro_task_spawn(sleeps_for_ever, NULL, &sleeper), 0);
    ck_assert_int_eq(ouro_task_spawn(joins_another, sleeper, &joiner), 0);
    ck_assert_int_eq(ouro_yield(), 0);
    ck_assert_int_eq(ouro_task_cancel(joiner), 0);
    ck_assert_int_eq(ouro_task_join(joiner, &result), 0);
    ck_assert_int_eq(result, -ECANCELED);
    /* The join that was cancelled released nothing. */
    ck_assert_int_eq(ouro_task_cancel(sleeper), 0);
    ck_assert_int_eq(ouro_task_join(sleeper, &result), 0);
    ck_assert_int_eq(result, 77);
    return 0;
}

OURO_TEST(a_cancelled_join_releases_nothing)
{
    ouro_test_everywhere(cancelled_join, NULL);
}

static int joins_itself(void *arg)
{
    struct ouro_task **self = arg;
    return ouro_task_join(*self, NULL);
}

static int misuse(void *arg)
{
    (void)arg;
    struct ouro_task *task = NULL;
    int result = 0;
    ck_assert_int_eq(ouro_task_spawn(NULL, NULL, &task), -EINVAL);
    ck_assert_int_eq(ouro_task_join(NULL, &result), -EINVAL);
    ck_assert_int_eq(ouro_task_cancel(NULL), -EINVAL);
    ouro_task_detach(NULL);
    struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
    options.worker = 999;
    ck_assert_int_eq(ouro_task_spawn_with(NULL, &options, returns_its_argument, NULL, &task),
                     -EINVAL);
    options = (struct ouro_task_options)OURO_TASK_OPTIONS_INIT;
    options.size = 3;
    ck_assert_int_eq(ouro_task_spawn_with(NULL, &options, returns_its_argument, NULL, &task),
                     -EINVAL);
    options = (struct ouro_task_options)OURO_TASK_OPTIONS_INIT;
    options.stack_size_bytes = SIZE_MAX - 5;
    ck_assert_int_eq(ouro_task_spawn_with(NULL, &options, returns_its_argument, NULL, &task),
                     -EINVAL);
    ck_assert_ptr_null(task);
    options = (struct ouro_task_options)OURO_TASK_OPTIONS_INIT;
    options.worker = 0;
    ck_assert_int_eq(ouro_task_spawn_with(NULL, &options, joins_itself, &task, &task), 0);
    ck_assert_int_eq(ouro_task_join(task, &result), 0);
    ck_assert_int_eq(result, -EDEADLK);
    return 0;
}

OURO_TEST(misuse_is_an_error_and_not_a_crash)
{
    ck_assert_int_eq(ouro_test_in_task(misuse, NULL), 0);
    struct ouro_task *task = NULL;
    ck_assert_int_eq(ouro_task_spawn(returns_its_argument, NULL, &task), -OURO_ENORUNTIME);
    ck_assert_int_eq(ouro_yield(), -OURO_ENORUNTIME);
    ck_assert_int_eq(ouro_sleep(1), -OURO_ENORUNTIME);
    ck_assert_ptr_null(ouro_task_current());
    ck_assert_int_eq(ouro_task_is_cancelled(), 0);
    ck_assert_uint_eq(ouro_task_stack_used_bytes(), 0);
}

static int uses_stack(void *arg)
{
    volatile char frame[100 * 1024];
    for (size_t i = 0; i < sizeof(frame); i += 64)
        frame[i] = 1;
    ck_assert_uint_ge(ouro_task_stack_used_bytes(), sizeof(frame));
    ck_assert_str_eq(ouro_task_name(ouro_task_current()), (const char *)arg);
    return frame[64] - 1;
}

static int name_and_stack(void *arg)
{
    (void)arg;
    struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
    char name[64] = "a name that is longer than thirty-one bytes";
    struct ouro_task *task = NULL;
    int result = -1;
    options.name = name;
    options.stack_size_bytes = 512 * 1024;
    name[31] = '\0'; /* what will be kept of it */
    ck_assert_int_eq(ouro_task_spawn_with(NULL, &options, uses_stack, name, &task), 0);
    ck_assert_int_eq(ouro_task_join(task, &result), 0);
    ck_assert_int_eq(result, 0);
    return 0;
}

OURO_TEST(a_task_has_the_name_and_the_stack_it_was_given)
{
    ouro_test_everywhere(name_and_stack, NULL);
}

struct turns {
    int order[64];
    int count;
};

static int takes_turns(void *arg)
{
    struct turns *turns = arg;
    for (int i = 0; i < 20; i++) {
        turns->order[turns->count++] = 2;
        ck_assert_int_eq(ouro_yield(), 0);
    }
    return 0;
}

static int yield_alternates(void *arg)
{
    (void)arg;
    struct turns turns = {.count = 0};
    struct ouro_task *task = NULL;
    ck_assert_int_eq(ouro_task_spawn(takes_turns, &turns, &task), 0);
    for (int i = 0; i < 20; i++) {
        turns.order[turns.count++] = 1;
        ck_assert_int_eq(ouro_yield(), 0);
    }
    for (int i = 0; i < 40; i++)
        ck_assert_int_eq(turns.order[i], i % 2 + 1);
    return ouro_task_join(task, NULL);
}

OURO_TEST(yield_lets_the_others_run_in_turn)
{
    ck_assert_int_eq(ouro_test_in_task(yield_alternates, NULL), 0);
}

static int counts_live(void *arg)
{
    (void)arg;
    struct ouro_task *task[8];
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(ouro_task_spawn(sleeps_for_ever, NULL, &task[i]), 0);
    /* This task is the fifth. */
    ck_assert_int_eq(ouro_task_spawn(sleeps_for_ever, NULL, &task[4]), -EAGAIN);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(ouro_task_cancel(task[i]), 0);
        ck_assert_int_eq(ouro_task_join(task[i], NULL), 0);
    }
    ck_assert_int_eq(ouro_task_spawn(returns_its_argument, NULL, &task[0]), 0);
    return ouro_task_join(task[0], NULL);
}

OURO_TEST(tasks_max_bounds_the_live_ones)
{
    struct ouro_runtime_config config = ouro_test_config(OURO_FLAVOUR_CURRENT_THREAD);
    config.tasks_max = 5;
    struct ouro_runtime *runtime = ouro_test_runtime_with(&config);
    int result = -1;
    ck_assert_int_eq(ouro_runtime_block_on(runtime, counts_live, NULL, &result), 0);
    ck_assert_int_eq(result, 0);
    ouro_runtime_free(runtime);
}
