/* SPDX-License-Identifier: MIT */
/*
 * Groups: what goes wrong.  No memory, no room, misuse, and an end that is forgotten.
 *
 * Owns:    nothing.
 * Threads: the runtime's.
 * Always:  a group that refused something is as it was before.
 */
#include "support/child.h"
#include "support/ouro_test.h"
#include "support/runtime.h"

#include "base/fault.h"

#include <errno.h>
#include <ouro.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

/* What a test's tasks count; it lies on the stack of who began the group. */
struct work {
    struct ouro_group group;
    atomic_int ended;
};

static int waits(void *arg)
{
    struct work *work = arg;
    int rc = ouro_sleep(3600 * OURO_SECOND);
    atomic_fetch_add(&work->ended, 1);
    return rc;
}

static int has_no_memory(void *arg)
{
    (void)arg;
    struct work work = {.ended = 0};
    ck_assert_int_eq(ouro_group_begin(&work.group, 0), 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(ouro_group_spawn(&work.group, NULL, waits, &work), 0);
    ouro__fault_arm(OURO__FAULT_STACK, 1, 1, -ENOMEM);
    ck_assert_int_eq(ouro_group_spawn(&work.group, NULL, waits, &work), -ENOMEM);
    ouro__fault_disarm_all();
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(ouro_group_spawn(&work.group, NULL, waits, &work), 0);
    ck_assert_int_eq(ouro_group_cancel(&work.group), 0);
    ck_assert_int_eq(ouro_group_end(&work.group), 0);
    ck_assert_int_eq(atomic_load(&work.ended), 6);
    return 0;
}

OURO_TEST(a_spawn_without_memory_leaves_the_group_as_it_was)
{
    ouro_test_everywhere(has_no_memory, NULL);
}

static int fills_up(void *arg)
{
    (void)arg;
    for (int round = 0; round < 50; round++) {
        struct work work = {.ended = 0};
        ck_assert_int_eq(ouro_group_begin(&work.group, 0), 0);
        /* This task is one of the five. */
        for (int i = 0; i < 4; i++)
            ck_assert_int_eq(ouro_group_spawn(&work.group, NULL, waits, &work), 0);
        ck_assert_int_eq(ouro_group_spawn(&work.group, NULL, waits, &work), -EAGAIN);
        ck_assert_int_eq(ouro_group_cancel(&work.group), 0);
        ck_assert_int_eq(ouro_group_end(&work.group), 0);
    }
    return 0;
}

OURO_TEST(tasks_of_an_ended_group_no_longer_count)
{
    struct ouro_runtime_config config = ouro_test_config(OURO_FLAVOUR_MULTI_THREAD);
    config.tasks_max = 5;
    struct ouro_runtime *runtime = ouro_test_runtime_with(&config);
    int result = -1;
    ck_assert_int_eq(ouro_runtime_block_on(runtime, fills_up, NULL, &result), 0);
    ck_assert_int_eq(result, 0);
    ouro_runtime_free(runtime);
}

static int ends_the_callers_group(void *arg)
{
    struct work *work = arg;
    ck_assert_int_eq(ouro_group_end(&work->group), -EPERM);
    return 0;
}

static int misuses(void *arg)
{
    (void)arg;
    struct ouro_group group;
    struct work work = {.ended = 0};
    memset(&group, 0, sizeof(group));
    ck_assert_int_eq(ouro_group_begin(NULL, 0), -EINVAL);
    ck_assert_int_eq(ouro_group_begin(&group, 1u << 31), -EINVAL);
    ck_assert_int_eq(ouro_group_end(NULL), -EINVAL);
    ck_assert_int_eq(ouro_group_cancel(NULL), -EINVAL);
    ck_assert_int_eq(ouro_group_spawn(NULL, NULL, waits, &work), -EINVAL);
    ck_assert_int_eq(ouro_group_end(&group), -EINVAL);
    ck_assert_int_eq(ouro_group_cancel(&group), -EINVAL);
    ck_assert_int_eq(ouro_group_spawn(&group, NULL, waits, &work), -EINVAL);

    ck_assert_int_eq(ouro_group_begin(&work.group, 0), 0);
    ck_assert_int_eq(ouro_group_spawn(&work.group, NULL, NULL, &work), -EINVAL);
    struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
    options.worker = 1000;
    ck_assert_int_eq(ouro_group_spawn(&work.group, &options, waits, &work), -EINVAL);
    group = work.group; /* a copy is no group */
    ck_assert_int_eq(ouro_group_end(&group), -EINVAL);
    ck_assert_int_eq(ouro_group_spawn(&work.group, NULL, ends_the_callers_group, &work), 0);
    ck_assert_int_eq(ouro_group_end(&work.group), 0);
    ck_assert_int_eq(ouro_group_end(&work.group), -EINVAL);
    ck_assert_int_eq(ouro_group_cancel(&work.group), -EINVAL);
    ck_assert_int_eq(ouro_group_spawn(&work.group, NULL, waits, &work), -EINVAL);
    return 0;
}

OURO_TEST(misuse_is_an_error)
{
    ouro_test_everywhere(misuses, NULL);
    struct ouro_group group;
    ck_assert_int_eq(ouro_group_begin(&group, 0), -OURO_ENORUNTIME);
    ck_assert_int_eq(ouro_group_end(&group), -OURO_ENORUNTIME);
}

struct forked {
    struct work work;
    struct ouro_shield shield;
    struct ouro_task *task;
};

static void *keep(void *data)
{
    return data;
}

static void ignore(void *data)
{
    (void)data;
}

static const struct ouro_waker_vtable nothing = {keep, ignore, ignore};

static int in_a_forked_child(void *arg)
{
    struct forked *forked = arg;
    struct ouro_shield shield;
    struct ouro_waker waker = {&nothing, NULL};
    ck_assert_int_eq(ouro_group_spawn(&forked->work.group, NULL, waits, &forked->work),
                     -OURO_EFORKED);
    ck_assert_int_eq(ouro_group_cancel(&forked->work.group), -OURO_EFORKED);
    ck_assert_int_eq(ouro_group_end(&forked->work.group), -OURO_EFORKED);
    ck_assert_int_eq(ouro_shield_begin(&shield), -OURO_EFORKED);
    ouro_shield_end(&shield);
    ouro_shield_end(&forked->shield);
    ck_assert_int_eq(ouro_task_poll_join(forked->task, &waker, NULL), -OURO_EFORKED);
    return 0;
}

static int forks(void *arg)
{
    (void)arg;
    struct forked forked = {.task = NULL};
    ck_assert_int_eq(ouro_shield_begin(&forked.shield), 0);
    ck_assert_int_eq(ouro_group_begin(&forked.work.group, 0), 0);
    ck_assert_int_eq(ouro_group_spawn(&forked.work.group, NULL, waits, &forked.work), 0);
    ck_assert_int_eq(ouro_task_spawn(waits, &forked.work, &forked.task), 0);
    ouro_test_child_must_pass(in_a_forked_child, &forked);
    ck_assert_int_eq(ouro_group_cancel(&forked.work.group), 0);
    ck_assert_int_eq(ouro_group_end(&forked.work.group), 0);
    ck_assert_int_eq(ouro_task_cancel(forked.task), 0);
    ck_assert_int_eq(ouro_task_join(forked.task, NULL), 0);
    ck_assert_int_eq(atomic_load(&forked.work.ended), 2);
    ouro_shield_end(&forked.shield);
    return 0;
}

OURO_TEST(a_forked_child_has_none_of_its_parents_groups)
{
    ck_assert_int_eq(ouro_test_in_thread(forks, NULL), 0);
}

static int forgets(void *arg)
{
    (void)arg;
    struct ouro_group group;
    return ouro_group_begin(&group, 0);
}

static int task_forgets(void *arg)
{
    (void)arg;
    return ouro_test_in_task(forgets, NULL);
}

static int thread_forgets(void *arg)
{
    (void)arg;
    return ouro_test_in_thread(forgets, NULL);
}

OURO_TEST(a_group_left_open_stops_the_program_with_a_message)
{
    int (*const body[])(void *) = {task_forgets, thread_forgets};
    for (int i = 0; i < 2; i++) {
        struct ouro_test_child child;
        ouro_test_child_run(body[i], NULL, &child);
        ck_assert_int_eq(child.signal_number, SIGABRT);
        ck_assert_ptr_nonnull(strstr(child.output, "ouro_group_end() is missing"));
    }
}
