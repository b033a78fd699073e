/* SPDX-License-Identifier: MIT */
/*
 * Groups: their ends wait for every task, whatever interrupts the caller.
 *
 * Owns:    nothing.
 * Threads: the runtime's, and a thread of a test's own that cancels.
 * Always:  when a group has ended, no task of it runs.
 */
#include "support/ouro_test.h"
#include "support/runtime.h"

#include <errno.h>
#include <ouro.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define MS OURO_MILLISECOND

enum { TASKS = 40 };

/* What a test's tasks do and count; it lies on the stack of who began the group. */
struct work {
    struct ouro_group group;
    atomic_int begun;
    atomic_int ended;
    int result; /* of the tasks */
};

/* Waits for an interruption, and then a little more, so that an end that does not wait shows. */
static int lingers(struct work *work)
{
    int rc = ouro_sleep(3600 * OURO_SECOND);
    for (int i = 0; i < 50; i++)
        (void)ouro_yield();
    atomic_fetch_add(&work->ended, 1);
    return rc;
}

static int waits(void *arg)
{
    struct work *work = arg;
    atomic_fetch_add(&work->begun, 1);
    return lingers(work);
}

static int yields_and_returns(void *arg)
{
    struct work *work = arg;
    atomic_fetch_add(&work->begun, 1);
    for (int i = 0; i < 3; i++)
        (void)ouro_yield();
    atomic_fetch_add(&work->ended, 1);
    return work->result;
}

static void spawn_many(struct work *work, ouro_task_function *function, int count)
{
    for (int i = 0; i < count; i++) {
        struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
        options.name = "of a group";
        options.worker = i % 3 == 0 ? OURO_WORKER_CURRENT : OURO_WORKER_ANY;
        ck_assert_int_eq(
            ouro_group_spawn(&work->group, i % 2 == 0 ? &options : NULL, function, work), 0);
    }
}

static int all_succeed(void *arg)
{
    (void)arg;
    struct work work = {.result = 7};
    ck_assert_int_eq(ouro_group_begin(&work.group, 0), 0);
    spawn_many(&work, yields_and_returns, TASKS);
    ck_assert_int_eq(ouro_group_end(&work.group), 0);
    ck_assert_int_eq(atomic_load(&work.ended), TASKS);
    /* The same storage again, and a group without tasks. */
    ck_assert_int_eq(ouro_group_begin(&work.group, 0), 0);
    spawn_many(&work, yields_and_returns, 1);
    ck_assert_int_eq(ouro_group_end(&work.group), 0);
    ck_assert_int_eq(ouro_group_begin(&work.group, 0), 0);
    return ouro_group_end(&work.group);
}

OURO_TEST(the_end_waits_for_every_task)
{
    ouro_test_everywhere(all_succeed, NULL);
}

static int fails(void *arg)
{
    (void)arg;
    (void)ouro_yield();
    return -EIO;
}

static int fails_when_cancelled(void *arg)
{
    (void)ouro_sleep(3600 * OURO_SECOND);
    atomic_fetch_add(&((struct work *)arg)->ended, 1);
    return -ENOSPC;
}

static int first_failure_cancels(void *arg)
{
    (void)arg;
    struct work work = {.result = 0};
    ck_assert_int_eq(ouro_group_begin(&work.group, 0), 0);
    spawn_many(&work, waits, TASKS);
    ck_assert_int_eq(ouro_group_spawn(&work.group, NULL, fails_when_cancelled, &work), 0);
    ck_assert_int_eq(ouro_group_spawn(&work.group, NULL, fails, &work), 0);
    ck_assert_int_eq(ouro_group_end(&work.group), -EIO);
    ck_assert_int_eq(atomic_load(&work.ended), TASKS + 1);
    return ouro_yield(); /* the caller itself was not interrupted */
}

OURO_TEST(the_first_failure_cancels_the_others_and_is_returned)
{
    ouro_test_everywhere(first_failure_cancels, NULL);
}

static int collects_all(void *arg)
{
    (void)arg;
    struct work work = {.result = -EIO};
    ck_assert_int_eq(ouro_group_begin(&work.group, OURO_GROUP_F_COLLECT_ALL), 0);
    ck_assert_int_eq(ouro_group_spawn(&work.group, NULL, fails, &work), 0);
    spawn_many(&work, yields_and_returns, TASKS);
    ck_assert_int_eq(ouro_group_end(&work.group), -EIO);
    ck_assert_int_eq(atomic_load(&work.ended), TASKS);
    return 0;
}

/* On one worker the order is known: the first to be spawned is the first to fail. */
static int collects_the_first(void *arg)
{
    (void)arg;
    struct work work = {.result = -ENOENT};
    ck_assert_int_eq(ouro_group_begin(&work.group, OURO_GROUP_F_COLLECT_ALL), 0);
    ck_assert_int_eq(ouro_group_spawn(&work.group, NULL, fails, &work), 0);
    spawn_many(&work, yields_and_returns, TASKS);
    ck_assert_int_eq(ouro_group_end(&work.group), -EIO);
    ck_assert_int_eq(atomic_load(&work.ended), TASKS);
    return 0;
}

OURO_TEST(collect_all_lets_the_others_run_to_their_ends)
{
    ouro_test_everywhere(collects_all, NULL);
    ck_assert_int_eq(ouro_test_in_task(collects_the_first, NULL), 0);
}

static int returns_canceled(void *arg)
{
    (void)arg;
    return -ECANCELED;
}

static int cancels(void *arg)
{
    (void)arg;
    struct work work = {.result = 0};
    ck_assert_int_eq(ouro_group_begin(&work.group, 0), 0);
    spawn_many(&work, waits, TASKS);
    ck_assert_int_eq(ouro_group_cancel(&work.group), 0);
    ck_assert_int_eq(ouro_group_cancel(&work.group), 0);
    ck_assert_int_eq(ouro_group_spawn(&work.group, NULL, waits, &work), -ECANCELED);
    /* What was asked for is no failure. */
    ck_assert_int_eq(ouro_group_end(&work.group), 0);
    ck_assert_int_eq(atomic_load(&work.ended), TASKS);
    ck_assert_int_eq(atomic_load(&work.begun), TASKS);

    ck_assert_int_eq(ouro_group_begin(&work.group, 0), 0);
    ck_assert_int_eq(ouro_group_cancel(&work.group), 0);
    ck_assert_int_eq(ouro_group_spawn(&work.group, NULL, waits, &work), -ECANCELED);
    ck_assert_int_eq(ouro_group_end(&work.group), 0);

    /* A task that says it was cancelled when it was not has failed. */
    ck_assert_int_eq(ouro_group_begin(&work.group, 0), 0);
    ck_assert_int_eq(ouro_group_spawn(&work.group, NULL, returns_canceled, &work), 0);
    ck_assert_int_eq(ouro_group_end(&work.group), -ECANCELED);
    return 0;
}

OURO_TEST(cancel_stops_the_tasks_and_refuses_new_ones)
{
    ouro_test_everywhere(cancels, NULL);
}

static int deadline_passes(void *arg)
{
    (void)arg;
    struct work work = {.result = 0};
    struct ouro_deadline scope;
    ck_assert_int_eq(ouro_deadline_begin(&scope, 3 * MS), 0);
    ck_assert_int_eq(ouro_group_begin(&work.group, 0), 0);
    spawn_many(&work, waits, TASKS);
    ck_assert_int_eq(ouro_group_end(&work.group), -ETIMEDOUT);
    ck_assert_int_eq(atomic_load(&work.ended), TASKS);
    /* Again, with a deadline that has passed long before. */
    ck_assert_int_eq(ouro_group_begin(&work.group, 0), 0);
    spawn_many(&work, waits, TASKS);
    ck_assert_int_eq(ouro_group_spawn(&work.group, NULL, fails_when_cancelled, &work), 0);
    ck_assert_int_eq(ouro_group_end(&work.group), -ENOSPC);
    ck_assert_int_eq(atomic_load(&work.ended), 2 * TASKS + 1);
    ouro_deadline_end(&scope);
    return ouro_yield();
}

OURO_TEST(a_deadline_cancels_the_tasks_and_the_end_still_waits)
{
    ouro_test_everywhere(deadline_passes, NULL);
}

static int ends_at_once(void *arg)
{
    struct work *work = arg;
    return work->result;
}

static int finished_first(void *arg)
{
    (void)arg;
    struct work work = {.result = 0};
    struct ouro_deadline scope;
    ck_assert_int_eq(ouro_group_begin(&work.group, 0), 0);
    ck_assert_int_eq(ouro_group_spawn(&work.group, NULL, ends_at_once, &work), 0);
    ck_assert_int_eq(ouro_yield(), 0); /* on one worker: it runs, and ends */
    ck_assert_int_eq(ouro_deadline_begin(&scope, 0), 0);
    int rc = ouro_group_end(&work.group);
    ouro_deadline_end(&scope);
    return rc;
}

OURO_TEST(tasks_that_ended_before_the_interruption_have_succeeded)
{
    ck_assert_int_eq(ouro_test_in_task(finished_first, NULL), 0);
}

static int parent(void *arg)
{
    struct work *work = arg;
    ck_assert_int_eq(ouro_group_begin(&work->group, 0), 0);
    spawn_many(work, waits, TASKS);
    int rc = ouro_group_end(&work->group);
    ck_assert_int_eq(atomic_load(&work->ended), TASKS);
    return rc;
}

static bool all_begun(void *arg)
{
    return atomic_load(&((struct work *)arg)->begun) == TASKS;
}

static int cancels_the_parent(void *arg)
{
    (void)arg;
    struct work work = {.result = 0};
    struct ouro_task *task = NULL;
    int result = 0;
    ck_assert_int_eq(ouro_task_spawn(parent, &work, &task), 0);
    while (!all_begun(&work))
        ck_assert_int_eq(ouro_sleep(MS / 4), 0);
    ck_assert_int_eq(ouro_task_cancel(task), 0);
    ck_assert_int_eq(ouro_task_join(task, &result), 0);
    return result == -ECANCELED ? 0 : -1;
}

OURO_TEST(a_cancelled_parent_waits_for_its_children)
{
    ouro_test_everywhere(cancels_the_parent, NULL);
}

/* A tree: every task begins a group of its own, until the depth is used up. */
struct tree {
    atomic_int *leaves;
    int depth;
    int leaf_result;
};

static int grow(void *arg)
{
    struct tree *tree = arg;
    if (tree->depth == 0) {
        if (atomic_fetch_add(tree->leaves, 1) == 5 && tree->leaf_result < 0)
            return tree->leaf_result;
        return tree->leaf_result < 0 ? ouro_sleep(3600 * OURO_SECOND) : 0;
    }
    struct ouro_group group;
    struct tree child = {tree->leaves, tree->depth - 1, tree->leaf_result};
    int rc = ouro_group_begin(&group, 0);
    for (int i = 0; i < 3 && rc == 0; i++)
        rc = ouro_group_spawn(&group, NULL, grow, &child);
    int end_rc = ouro_group_end(&group);
    return end_rc < 0 ? end_rc : rc;
}

static int nested(void *arg)
{
    (void)arg;
    atomic_int leaves = 0;
    struct tree tree = {&leaves, 4, 0};
    ck_assert_int_eq(grow(&tree), 0);
    ck_assert_int_eq(atomic_load(&leaves), 81);
    /* One leaf fails, all others wait for ever: the failure cancels its way up and down. */
    atomic_store(&leaves, 0);
    tree.leaf_result = -EDOM;
    ck_assert_int_eq(grow(&tree), -EDOM);
    return ouro_yield();
}

OURO_TEST(groups_nest_and_a_failure_comes_up_through_all_of_them)
{
    ouro_test_everywhere(nested, NULL);
}

static int two_groups(void *arg)
{
    (void)arg;
    struct work left = {.result = 0}, right = {.result = 0};
    ck_assert_int_eq(ouro_group_begin(&left.group, 0), 0);
    ck_assert_int_eq(ouro_group_begin(&right.group, 0), 0);
    spawn_many(&left, waits, TASKS);
    spawn_many(&right, yields_and_returns, TASKS);
    /* Not in the reverse order of their beginnings: groups do not depend on each other. */
    ck_assert_int_eq(ouro_group_cancel(&left.group), 0);
    ck_assert_int_eq(ouro_group_end(&left.group), 0);
    ck_assert_int_eq(atomic_load(&left.ended), TASKS);
    ck_assert_int_eq(ouro_group_end(&right.group), 0);
    ck_assert_int_eq(atomic_load(&right.ended), TASKS);
    return 0;
}

OURO_TEST(groups_of_one_caller_are_independent)
{
    ouro_test_everywhere(two_groups, NULL);
}

/* Tasks that put more tasks into their own group, while its end waits. */
static int breeds(void *arg)
{
    struct work *work = arg;
    int number = atomic_fetch_add(&work->begun, 1);
    (void)ouro_yield();
    int rc = 0;
    for (int i = 0; i < 2 && number < 500 && rc == 0; i++)
        rc = ouro_group_spawn(&work->group, NULL, breeds, work);
    atomic_fetch_add(&work->ended, 1);
    return rc;
}

static int spawns_from_inside(void *arg)
{
    (void)arg;
    struct work work = {.result = 0};
    ck_assert_int_eq(ouro_group_begin(&work.group, 0), 0);
    ck_assert_int_eq(ouro_group_spawn(&work.group, NULL, breeds, &work), 0);
    ck_assert_int_eq(ouro_group_end(&work.group), 0);
    ck_assert_int_eq(atomic_load(&work.ended), 1001);
    return 0;
}

OURO_TEST(a_task_spawns_into_its_own_group)
{
    ouro_test_everywhere(spawns_from_inside, NULL);
}

/* Breeds for ever, so that a spawn runs into the cancellation sooner or later. */
static int breeds_until_refused(void *arg)
{
    struct work *work = arg;
    atomic_fetch_add(&work->begun, 1);
    int rc = ouro_group_spawn(&work->group, NULL, breeds_until_refused, work);
    if (rc == 0)
        rc = ouro_yield();
    atomic_fetch_add(&work->ended, 1);
    return rc;
}

static int cancels_while_spawning(void *arg)
{
    (void)arg;
    for (int round = 0; round < 20; round++) {
        struct work work = {.result = 0};
        ck_assert_int_eq(ouro_group_begin(&work.group, 0), 0);
        spawn_many(&work, breeds_until_refused, 8);
        ck_assert_int_eq(ouro_sleep(MS / 10 * (round % 4)), 0);
        ck_assert_int_eq(ouro_group_cancel(&work.group), 0);
        ck_assert_int_eq(ouro_group_end(&work.group), 0);
        ck_assert_int_eq(atomic_load(&work.ended), atomic_load(&work.begun));
    }
    return 0;
}

OURO_TEST(a_cancel_meets_spawns_from_the_groups_own_tasks)
{
    ouro_test_everywhere(cancels_while_spawning, NULL);
}

static int many_short_ones(void *arg)
{
    (void)arg;
    for (int round = 0; round < 300; round++) {
        struct work work = {.result = round % 5 == 0 ? -EPIPE : 0};
        ck_assert_int_eq(ouro_group_begin(&work.group, 0), 0);
        int rc = 0;
        for (int i = 0; i < 4 && rc == 0; i++)
            rc = ouro_group_spawn(&work.group, NULL, ends_at_once, &work);
        ck_assert(rc == 0 || (rc == -ECANCELED && work.result < 0));
        ck_assert_int_eq(ouro_group_end(&work.group), work.result);
        memset(&work, 0xdb, sizeof(work));
    }
    return 0;
}

OURO_TEST(storage_is_the_callers_again_after_the_end)
{
    ouro_test_everywhere(many_short_ones, NULL);
}

/* The thread that drives a current-thread runtime, itself. */
OURO_TEST(the_own_thread_of_a_current_thread_runtime_has_groups_too)
{
    struct ouro_runtime *runtime = ouro_test_runtime_new(OURO_FLAVOUR_CURRENT_THREAD);
    struct ouro_handle *handle = ouro_runtime_handle(runtime);
    ck_assert_int_eq(ouro_enter(handle), 0);
    ck_assert_int_eq(all_succeed(NULL), 0);
    ck_assert_int_eq(first_failure_cancels(NULL), 0);
    ck_assert_int_eq(deadline_passes(NULL), 0);
    ouro_leave();
    ouro_handle_unref(handle);
    ouro_runtime_free(runtime);
}

struct shutdown {
    struct ouro_handle *handle;
    struct work work;
    atomic_int result;
};

static void *group_on_a_thread(void *arg)
{
    struct shutdown *shutdown = arg;
    ck_assert_int_eq(ouro_enter(shutdown->handle), 0);
    atomic_store(&shutdown->result, parent(&shutdown->work));
    ouro_leave();
    return NULL;
}

static int group_in_a_task(void *arg)
{
    struct shutdown *shutdown = arg;
    atomic_store(&shutdown->result, parent(&shutdown->work));
    return 0;
}

static void shut_down_with_a_group_open(bool from_thread)
{
    struct shutdown shutdown = {.result = 1};
    struct ouro_runtime *runtime = ouro_test_runtime_new(OURO_FLAVOUR_MULTI_THREAD);
    shutdown.handle = ouro_runtime_handle(runtime);
    pthread_t thread;
    if (from_thread)
        ck_assert_int_eq(pthread_create(&thread, NULL, group_on_a_thread, &shutdown), 0);
    else
        ck_assert_int_eq(
            ouro_task_spawn_with(shutdown.handle, NULL, group_in_a_task, &shutdown, NULL), 0);
    ck_assert(ouro_test_until(all_begun, &shutdown.work, 30 * OURO_SECOND));
    ck_assert_int_eq(ouro_runtime_shutdown(runtime, 10 * OURO_SECOND), 0);
    if (from_thread)
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(atomic_load(&shutdown.result), -OURO_ESHUTDOWN);
    ck_assert_int_eq(atomic_load(&shutdown.work.ended), TASKS);
    ouro_handle_unref(shutdown.handle);
    ouro_runtime_free(runtime);
}

OURO_TEST(a_shutdown_ends_the_tasks_and_the_end_still_waits)
{
    shut_down_with_a_group_open(false);
    shut_down_with_a_group_open(true);
}

/* A thread that begins group after group until it is told of the shutdown. */
static int begins_groups(struct shutdown *shutdown)
{
    struct work *work = &shutdown->work;
    int rc = 0;
    while (rc == 0) {
        struct work mine = {.result = 0};
        ck_assert_int_eq(ouro_group_begin(&mine.group, 0), 0);
        int spawned = 0;
        while (spawned < 4 && rc == 0) {
            rc = ouro_group_spawn(&mine.group, NULL, spawned == 3 ? waits : yields_and_returns,
                                  &mine);
            spawned += rc == 0;
        }
        atomic_fetch_add(&work->begun, 1);
        (void)ouro_group_cancel(&mine.group);
        int end_rc = ouro_group_end(&mine.group);
        ck_assert_int_eq(atomic_load(&mine.begun), spawned);
        ck_assert_int_eq(atomic_load(&mine.ended), spawned);
        rc = end_rc < 0 ? end_rc : rc;
    }
    return rc;
}

static void *groups_on_a_thread(void *arg)
{
    struct shutdown *shutdown = arg;
    int rc = ouro_enter(shutdown->handle); /* the shutdown may have come first */
    if (rc == 0) {
        rc = begins_groups(shutdown);
        ouro_leave();
    }
    atomic_store(&shutdown->result, rc);
    return NULL;
}

static int groups_in_a_task(void *arg)
{
    struct shutdown *shutdown = arg;
    (void)begins_groups(shutdown);
    return 0;
}

static int sleeps_a_little(void *arg)
{
    return ouro_sleep((intptr_t)arg);
}

/* Each group that was begun ends with all of its tasks, whenever the shutdown comes. */
OURO_TEST(a_shutdown_meets_groups_that_begin_and_end)
{
    for (int round = 0; round < 20; round++) {
        struct shutdown shutdown = {.result = 1};
        struct ouro_runtime *runtime = ouro_test_runtime_new(
            round % 2 == 0 ? OURO_FLAVOUR_MULTI_THREAD : OURO_FLAVOUR_CURRENT_THREAD);
        shutdown.handle = ouro_runtime_handle(runtime);
        pthread_t thread;
        ck_assert_int_eq(pthread_create(&thread, NULL, groups_on_a_thread, &shutdown), 0);
        for (int i = 0; i < 3; i++)
            ck_assert_int_eq(
                ouro_task_spawn_with(shutdown.handle, NULL, groups_in_a_task, &shutdown, NULL), 0);
        ck_assert_int_eq(ouro_runtime_block_on(runtime, sleeps_a_little,
                                               (void *)(intptr_t)(round * MS / 8), NULL),
                         0);
        ck_assert_int_eq(ouro_runtime_shutdown(runtime, 20 * OURO_SECOND), 0);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
        ck_assert_int_eq(atomic_load(&shutdown.result), -OURO_ESHUTDOWN);
        ouro_handle_unref(shutdown.handle);
        ouro_runtime_free(runtime);
    }
}
