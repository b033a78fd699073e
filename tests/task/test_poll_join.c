/* SPDX-License-Identifier: MIT */
/*
 * poll_join: the end of a task, with a waker instead of a wait.  And spawning on one's own worker.
 *
 * Owns:    nothing.
 * Threads: the runtime's, and the test's, which has entered no runtime where it polls.
 * Always:  each clone of a waker is dropped once.
 */
#include "support/ouro_test.h"
#include "support/runtime.h"

#include <errno.h>
#include <ouro.h>
#include <pthread.h>
#include <stdatomic.h>

#define MS OURO_MILLISECOND

/* A waker that counts. */
struct counter {
    atomic_int clones;
    atomic_int drops;
    atomic_int wakes;
    struct ouro_task *task; /* to be polled inside of wake; NULL: only counted */
    int result;
    atomic_int polled;
};

static void *count_clone(void *data)
{
    atomic_fetch_add(&((struct counter *)data)->clones, 1);
    return data;
}

static struct ouro_waker waker_of(struct counter *counter);

static void count_wake(void *data)
{
    struct counter *counter = data;
    if (counter->task != NULL) {
        struct ouro_waker waker = waker_of(counter);
        atomic_store(&counter->polled,
                     ouro_task_poll_join(counter->task, &waker, &counter->result));
    }
    atomic_fetch_add(&counter->wakes, 1);
}

static void count_drop(void *data)
{
    atomic_fetch_add(&((struct counter *)data)->drops, 1);
}

static const struct ouro_waker_vtable counting = {count_clone, count_wake, count_drop};

static struct ouro_waker waker_of(struct counter *counter)
{
    return (struct ouro_waker){&counting, counter};
}

static bool is_woken(void *arg)
{
    struct counter *counter = arg;
    return atomic_load(&counter->wakes) > 0 &&
           atomic_load(&counter->drops) == atomic_load(&counter->clones);
}

/* A task that ends when it is told to. */
static int ends_when_told(void *arg)
{
    atomic_int *told = arg;
    while (atomic_load(told) == 0)
        if (ouro_sleep(MS / 10) < 0)
            return -1;
    return 42;
}

static struct ouro_task *spawn_waiting(struct ouro_runtime *runtime, atomic_int *told)
{
    struct ouro_handle *handle = ouro_runtime_handle(runtime);
    struct ouro_task *task = NULL;
    ck_assert_int_eq(ouro_task_spawn_with(handle, NULL, ends_when_told, told, &task), 0);
    ouro_handle_unref(handle);
    return task;
}

OURO_TEST(the_newest_waker_is_woken_once_at_the_end)
{
    struct ouro_runtime *runtime = ouro_test_runtime_new(OURO_FLAVOUR_MULTI_THREAD);
    atomic_int told = 0;
    struct counter old = {.result = 0}, new = {.result = 0};
    struct ouro_waker old_waker = waker_of(&old), new_waker = waker_of(&new);
    int result = 0;
    struct ouro_task *task = spawn_waiting(runtime, &told);
    ck_assert_int_eq(ouro_task_poll_join(task, &old_waker, &result), OURO_POLL_PENDING);
    ck_assert_int_eq(ouro_task_poll_join(task, &old_waker, &result), OURO_POLL_PENDING);
    ck_assert_int_eq(ouro_task_poll_join(task, &new_waker, &result), OURO_POLL_PENDING);
    ck_assert_int_eq(result, 0);
    atomic_store(&told, 1);
    ck_assert(ouro_test_until(is_woken, &new, 30 * OURO_SECOND));
    ck_assert_int_eq(atomic_load(&old.wakes), 0);
    ck_assert_int_eq(atomic_load(&old.drops), 2);
    ck_assert_int_eq(ouro_task_poll_join(task, &new_waker, &result), OURO_POLL_READY);
    ck_assert_int_eq(result, 42);
    ck_assert_int_eq(atomic_load(&new.wakes), 1);
    ouro_runtime_free(runtime);
}

/* The waker polls as it is woken, on the worker's thread, right after the task has ended. */
OURO_TEST(a_waker_may_poll_from_inside_its_wake)
{
    struct ouro_runtime *runtime = ouro_test_runtime_new(OURO_FLAVOUR_MULTI_THREAD);
    for (int round = 0; round < 50; round++) {
        atomic_int told = 0;
        struct counter counter = {.task = spawn_waiting(runtime, &told), .polled = -1};
        struct ouro_waker waker = waker_of(&counter);
        ck_assert_int_eq(ouro_task_poll_join(counter.task, &waker, NULL), OURO_POLL_PENDING);
        atomic_store(&told, 1);
        ck_assert(ouro_test_until(is_woken, &counter, 30 * OURO_SECOND));
        ck_assert_int_eq(atomic_load(&counter.polled), OURO_POLL_READY);
        ck_assert_int_eq(counter.result, 42);
    }
    ouro_runtime_free(runtime);
}

static int returns_its_argument(void *arg)
{
    return (int)(intptr_t)arg;
}

/* Ends and polls meet in all ways, since the tasks end at once on the other worker, too. */
static int polls_many(void *arg)
{
    (void)arg;
    enum { COUNT = 500 };
    struct ouro_task *task[COUNT];
    struct counter counter = {.result = 0};
    struct ouro_waker waker = waker_of(&counter);
    for (int i = 0; i < COUNT; i++)
        ck_assert_int_eq(ouro_task_spawn(returns_its_argument, (void *)(intptr_t)i, &task[i]), 0);
    for (int left = COUNT; left > 0;) {
        for (int i = 0; i < COUNT; i++) {
            int result = -1;
            int rc =
                task[i] == NULL ? OURO_POLL_PENDING : ouro_task_poll_join(task[i], &waker, &result);
            ck_assert_int_ge(rc, 0);
            if (rc == OURO_POLL_READY) {
                ck_assert_int_eq(result, i);
                task[i] = NULL;
                left--;
            }
        }
        ck_assert_int_eq(ouro_sleep(MS / 10), 0);
    }
    while (atomic_load(&counter.drops) < atomic_load(&counter.clones))
        ck_assert_int_eq(ouro_sleep(MS / 10), 0);
    ck_assert_int_eq(atomic_load(&counter.drops), atomic_load(&counter.clones));
    return 0;
}

OURO_TEST(polls_and_ends_meet)
{
    ouro_test_everywhere(polls_many, NULL);
}

static int polls_then_joins(void *arg)
{
    (void)arg;
    atomic_int told = 0;
    struct counter counter = {.result = 0};
    struct ouro_waker waker = waker_of(&counter);
    struct ouro_task *task = NULL;
    int result = 0;
    ck_assert_int_eq(ouro_task_spawn(ends_when_told, &told, &task), 0);
    ck_assert_int_eq(ouro_task_poll_join(task, &waker, NULL), OURO_POLL_PENDING);
    /* A join that times out leaves the handle; the waker is gone. */
    struct ouro_deadline scope;
    ck_assert_int_eq(ouro_deadline_begin(&scope, MS / 5), 0);
    ck_assert_int_eq(ouro_task_join(task, &result), -ETIMEDOUT);
    ouro_deadline_end(&scope);
    ck_assert_int_eq(atomic_load(&counter.drops), 1);
    ck_assert_int_eq(ouro_task_poll_join(task, &waker, NULL), OURO_POLL_PENDING);
    atomic_store(&told, 1);
    ck_assert_int_eq(ouro_task_join(task, &result), 0);
    ck_assert_int_eq(result, 42);

    atomic_store(&told, 0);
    ck_assert_int_eq(ouro_task_spawn(ends_when_told, &told, &task), 0);
    ck_assert_int_eq(ouro_task_poll_join(task, &waker, NULL), OURO_POLL_PENDING);
    ouro_task_detach(task);
    atomic_store(&told, 1);
    ck_assert_int_eq(ouro_sleep(MS), 0);
    ck_assert_int_eq(atomic_load(&counter.drops), atomic_load(&counter.clones));
    return 0;
}

OURO_TEST(join_and_detach_take_over_from_poll_join)
{
    ouro_test_everywhere(polls_then_joins, NULL);
}

/* Through poll_fn: waits until both tasks have ended. */
struct both {
    struct ouro_task *task[2];
    int sum;
};

static enum ouro_poll poll_both(void *arg, const struct ouro_waker *waker)
{
    struct both *both = arg;
    for (int i = 0; i < 2; i++) {
        int result = 0;
        if (both->task[i] == NULL)
            continue;
        if (ouro_task_poll_join(both->task[i], waker, &result) != OURO_POLL_READY)
            return OURO_POLL_PENDING;
        both->task[i] = NULL;
        both->sum += result;
    }
    return OURO_POLL_READY;
}

static int waits_for_both(void *arg)
{
    (void)arg;
    atomic_int told = 0;
    struct both both = {.sum = 0};
    ck_assert_int_eq(ouro_task_spawn(ends_when_told, &told, &both.task[0]), 0);
    ck_assert_int_eq(ouro_task_spawn(returns_its_argument, (void *)(intptr_t)8, &both.task[1]), 0);
    atomic_store(&told, 1);
    ck_assert_int_eq(ouro_poll_fn(poll_both, &both), 0);
    ck_assert_int_eq(both.sum, 50);
    return 0;
}

OURO_TEST(poll_fn_waits_for_several_tasks)
{
    ouro_test_everywhere(waits_for_both, NULL);
}

struct busy {
    atomic_int told;
    struct ouro_task *task;
};

static int joins(void *arg)
{
    struct busy *busy = arg;
    return ouro_task_join(busy->task, NULL);
}

static int polls_itself(void *arg)
{
    struct counter *counter = arg;
    struct ouro_waker waker = waker_of(counter);
    return ouro_task_poll_join(ouro_task_current(), &waker, NULL);
}

static int misuses(void *arg)
{
    (void)arg;
    struct busy busy = {.told = 0};
    struct counter counter = {.result = 0};
    struct ouro_waker waker = waker_of(&counter), empty = {NULL, NULL};
    struct ouro_task *joiner = NULL;
    int result = 0;
    ck_assert_int_eq(ouro_task_spawn(polls_itself, &counter, &joiner), 0);
    ck_assert_int_eq(ouro_task_join(joiner, &result), 0);
    ck_assert_int_eq(result, -EDEADLK);
    ck_assert_int_eq(ouro_task_poll_join(NULL, &waker, NULL), -EINVAL);
    ck_assert_int_eq(ouro_task_spawn(ends_when_told, &busy.told, &busy.task), 0);
    ck_assert_int_eq(ouro_task_poll_join(busy.task, NULL, NULL), -EINVAL);
    ck_assert_int_eq(ouro_task_poll_join(busy.task, &empty, NULL), -EINVAL);
    ck_assert_int_eq(ouro_task_spawn(joins, &busy, &joiner), 0);
    int rc = OURO_POLL_PENDING;
    while (rc == OURO_POLL_PENDING) {
        ck_assert_int_eq(ouro_sleep(MS), 0);
        rc = ouro_task_poll_join(busy.task, &waker, NULL);
    }
    ck_assert_int_eq(rc, -EBUSY);
    atomic_store(&busy.told, 1);
    ck_assert_int_eq(ouro_task_join(joiner, &result), 0);
    ck_assert_int_eq(result, 0);
    return 0;
}

OURO_TEST(misuse_is_an_error)
{
    ck_assert_int_eq(ouro_test_in_task(misuses, NULL), 0);
}

static int is_on_thread(void *arg)
{
    return pthread_equal(pthread_self(), *(pthread_t *)arg) != 0;
}

static int spawns_here(void *arg)
{
    (void)arg;
    pthread_t here = pthread_self();
    for (int i = 0; i < 20; i++) {
        struct ouro_task *task = NULL;
        int result = 0;
        ck_assert_int_eq(ouro_task_spawn_here(is_on_thread, &here, &task), 0);
        ck_assert_int_eq(ouro_task_join(task, &result), 0);
        ck_assert_int_eq(result, ouro_task_current() != NULL);
    }
    ck_assert_int_eq(ouro_task_spawn_here(NULL, NULL, NULL), -EINVAL);
    return ouro_task_spawn_here(returns_its_argument, NULL, NULL); /* detached */
}

OURO_TEST(spawn_here_stays_on_the_callers_worker)
{
    ouro_test_everywhere(spawns_here, NULL);
    ck_assert_int_eq(ouro_task_spawn_here(returns_its_argument, NULL, NULL), -OURO_ENORUNTIME);
}
