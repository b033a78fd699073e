/* SPDX-License-Identifier: MIT */
/*
 * tasks_max: a spawn that fails keeps no place, at whatever step it fails.
 *
 * Owns:    nothing.
 * Threads: the runtimes'.
 * Always:  after the failures there is room for tasks_max tasks, and for no more.
 */
#include "support/ouro_test.h"
#include "support/runtime.h"

#include "base/fault.h"

#include <errno.h>
#include <ouro.h>

enum { TASKS_MAX = 5, FAILURES = 10 };

static int sleeps_for_ever(void *arg)
{
    (void)arg;
    return ouro_sleep(3600 * OURO_SECOND);
}

/* The task that asks is one of them. */
static void is_room_for_all(void)
{
    struct ouro_task *task[TASKS_MAX];
    for (int i = 1; i < TASKS_MAX; i++)
        ck_assert_int_eq(ouro_task_spawn(sleeps_for_ever, NULL, &task[i]), 0);
    ck_assert_int_eq(ouro_task_spawn(sleeps_for_ever, NULL, &task[0]), -EAGAIN);
    for (int i = 1; i < TASKS_MAX; i++) {
        ck_assert_int_eq(ouro_task_cancel(task[i]), 0);
        ck_assert_int_eq(ouro_task_join(task[i], NULL), 0);
    }
}

static void without_memory(void)
{
    struct ouro_task *task = NULL;
    ouro__fault_arm(OURO__FAULT_STACK, 1, FAILURES, -ENOMEM);
    for (int i = 0; i < FAILURES; i++)
        ck_assert_int_eq(ouro_task_spawn(sleeps_for_ever, NULL, &task), -ENOMEM);
    ouro__fault_disarm_all();
}

/* The task has been made by the time that the spawn fails. */
static void into_a_cancelled_group(void)
{
    struct ouro_group group;
    ck_assert_int_eq(ouro_group_begin(&group, 0), 0);
    ck_assert_int_eq(ouro_group_cancel(&group), 0);
    for (int i = 0; i < FAILURES; i++)
        ck_assert_int_eq(ouro_group_spawn(&group, NULL, sleeps_for_ever, NULL), -ECANCELED);
    ck_assert_int_eq(ouro_group_end(&group), 0);
}

static void beyond_the_limit(void)
{
    struct ouro_task *task[TASKS_MAX];
    for (int i = 1; i < TASKS_MAX; i++)
        ck_assert_int_eq(ouro_task_spawn(sleeps_for_ever, NULL, &task[i]), 0);
    for (int i = 0; i < FAILURES; i++)
        ck_assert_int_eq(ouro_task_spawn(sleeps_for_ever, NULL, &task[0]), -EAGAIN);
    for (int i = 1; i < TASKS_MAX; i++) {
        ck_assert_int_eq(ouro_task_cancel(task[i]), 0);
        ck_assert_int_eq(ouro_task_join(task[i], NULL), 0);
    }
}

static int fails_in_each_way(void *arg)
{
    (void)arg;
    is_room_for_all();
    without_memory();
    is_room_for_all();
    into_a_cancelled_group();
    is_room_for_all();
    beyond_the_limit();
    is_room_for_all();
    return 0;
}

OURO_TEST(a_spawn_that_fails_keeps_no_place_in_tasks_max)
{
    const enum ouro_flavour flavours[] = {OURO_FLAVOUR_CURRENT_THREAD, OURO_FLAVOUR_MULTI_THREAD};
    for (int i = 0; i < 2; i++) {
        struct ouro_runtime_config config = ouro_test_config(flavours[i]);
        config.tasks_max = TASKS_MAX;
        struct ouro_runtime *runtime = ouro_test_runtime_with(&config);
        int result = -1;
        ck_assert_int_eq(ouro_runtime_block_on(runtime, fails_in_each_way, NULL, &result), 0);
        ck_assert_int_eq(result, 0);
        ouro_runtime_free(runtime);
    }
}
