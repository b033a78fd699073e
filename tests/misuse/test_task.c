/* SPDX-License-Identifier: MIT */
/*
 * Misuse of tasks, groups, scopes and wakers.
 *
 * Owns:    nothing.
 * Threads: the test's and the runtimes'.
 * Always:  what a refused call would have returned in an argument is untouched.
 */
#include "misuse/misuse.h"

#include <limits.h>
#include <pthread.h>
#include <string.h>

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int sleeps_long(void *arg)
{
    (void)arg;
    return ouro_sleep(100 * OURO_SECOND);
}

static void end_task(struct ouro_task *task)
{
    ck_assert_int_eq(ouro_task_cancel(task), 0);
    ck_assert_int_eq(ouro_task_join(task, NULL), 0);
}

MISUSE(ouro_task_spawn)
{
    struct ouro_task *task = NULL;
    IS_EINVAL(ouro_task_spawn(NULL, NULL, &task));
    IS_EINVAL(ouro_task_spawn(NULL, NULL, NULL));
    ck_assert_ptr_null(task);
}

MISUSE(ouro_task_spawn_with)
{
    struct ouro_task *task = NULL;
    struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
    IS_EINVAL(ouro_task_spawn_with(NULL, NULL, NULL, NULL, &task));
    options.size = 1;
    IS_EINVAL(ouro_task_spawn_with(NULL, &options, nothing, NULL, &task));
    options = (struct ouro_task_options)OURO_TASK_OPTIONS_INIT;
    options.worker = 12345;
    IS_EINVAL(ouro_task_spawn_with(NULL, &options, nothing, NULL, &task));
    options = (struct ouro_task_options)OURO_TASK_OPTIONS_INIT;
    options.stack_size_bytes = SIZE_MAX;
    IS_EINVAL(ouro_task_spawn_with(NULL, &options, nothing, NULL, &task));
    ck_assert_ptr_null(task);
}

MISUSE(ouro_task_spawn_here)
{
    struct ouro_task *task = NULL;
    IS_EINVAL(ouro_task_spawn_here(NULL, NULL, &task));
    ck_assert_ptr_null(task);
}

static int joins_itself(void *arg)
{
    (void)arg;
    return ouro_task_join(ouro_task_current(), NULL) == -EDEADLK ? 0 : 1;
}

static int joins_other(void *arg)
{
    int rc = 0;
    while ((rc = ouro_task_join(arg, NULL)) == -EBUSY) /* the other looks whether this one waits */
        (void)ouro_sleep(OURO_MILLISECOND);
    return rc;
}

MISUSE(ouro_task_join)
{
    struct ouro_task *task = NULL;
    struct ouro_task *waiting = NULL;
    int result = 5;
    IS_EINVAL(ouro_task_join(NULL, &result));
    ck_assert_int_eq(result, 5);
    ck_assert_int_eq(ouro_task_spawn(joins_itself, NULL, &task), 0);
    ck_assert_int_eq(ouro_task_join(task, &result), 0);
    ck_assert_int_eq(result, 0);
    /* One waits already. */
    ck_assert_int_eq(ouro_task_spawn(sleeps_long, NULL, &task), 0);
    ck_assert_int_eq(ouro_task_spawn(joins_other, task, &waiting), 0);
    int rc = 0;
    do {
        struct ouro_deadline look;
        ck_assert_int_eq(ouro_deadline_begin(&look, OURO_MILLISECOND), 0);
        rc = ouro_task_join(task, &result);
        ouro_deadline_end(&look);
        (void)ouro_sleep(OURO_MILLISECOND);
    } while (rc == -ETIMEDOUT);
    ck_assert_int_eq(rc, -EBUSY);
    ck_assert_int_eq(ouro_task_cancel(task), 0);
    ck_assert_int_eq(ouro_task_join(waiting, &result), 0);
    ck_assert_int_eq(result, 0);
}

MISUSE(ouro_task_poll_join)
{
    struct ouro_waker empty = {NULL, NULL};
    struct ouro_task *task = NULL;
    int result = 5;
    IS_EINVAL(ouro_task_poll_join(NULL, &empty, &result));
    ck_assert_int_eq(ouro_task_spawn(sleeps_long, NULL, &task), 0);
    IS_EINVAL(ouro_task_poll_join(task, NULL, &result));
    ck_assert_int_eq(result, 5);
    end_task(task);
}

MISUSE(ouro_task_detach)
{
    ouro_task_detach(NULL);
}

MISUSE(ouro_task_cancel)
{
    IS_EINVAL(ouro_task_cancel(NULL));
}

MISUSE(ouro_task_is_cancelled)
{
    ck_assert_int_eq(ouro_task_is_cancelled(), 0);
}

MISUSE(ouro_task_current)
{
}

MISUSE(ouro_task_name)
{
    ck_assert_str_eq(ouro_task_name(NULL), "");
}

MISUSE(ouro_task_stack_used_bytes)
{
    if (ouro_task_current() == NULL)
        ck_assert_uint_eq(ouro_task_stack_used_bytes(), 0);
}

MISUSE(ouro_yield)
{
}

MISUSE(ouro_blocking)
{
    int result = 5;
    IS_EINVAL(ouro_blocking(NULL, NULL, &result));
    ck_assert_int_eq(result, 5);
    ck_assert_int_eq(ouro_blocking(nothing, NULL, NULL), 0);
}

MISUSE(ouro_group_begin)
{
    struct ouro_group group;
    IS_EINVAL(ouro_group_begin(NULL, 0));
    IS_EINVAL(ouro_group_begin(&group, UINT32_MAX));
}

MISUSE(ouro_group_spawn)
{
    struct ouro_group group;
    memset(&group, 0x5a, sizeof(group));
    IS_EINVAL(ouro_group_spawn(NULL, NULL, nothing, NULL));
    IS_EINVAL(ouro_group_spawn(&group, NULL, nothing, NULL));
    ck_assert_int_eq(ouro_group_begin(&group, 0), 0);
    IS_EINVAL(ouro_group_spawn(&group, NULL, NULL, NULL));
    struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
    options.size = 3;
    IS_EINVAL(ouro_group_spawn(&group, &options, nothing, NULL));
    ck_assert_int_eq(ouro_group_end(&group), 0);
    IS_EINVAL(ouro_group_spawn(&group, NULL, nothing, NULL));
}

MISUSE(ouro_group_cancel)
{
    struct ouro_group group;
    memset(&group, 0, sizeof(group));
    IS_EINVAL(ouro_group_cancel(NULL));
    IS_EINVAL(ouro_group_cancel(&group));
}

static int ends_others_group(void *arg)
{
    return ouro_group_end(arg) == -EPERM ? 0 : -EIO;
}

MISUSE(ouro_group_end)
{
    struct ouro_group group;
    memset(&group, 0, sizeof(group));
    IS_EINVAL(ouro_group_end(NULL));
    IS_EINVAL(ouro_group_end(&group));
    ck_assert_int_eq(ouro_group_begin(&group, 0), 0);
    ck_assert_int_eq(ouro_group_spawn(&group, NULL, ends_others_group, &group), 0);
    ck_assert_int_eq(ouro_group_end(&group), 0);
    IS_EINVAL(ouro_group_end(&group));
}

MISUSE(ouro_shield_begin)
{
    IS_EINVAL(ouro_shield_begin(NULL));
}

MISUSE(ouro_shield_end)
{
    struct ouro_shield shield;
    ouro_shield_end(NULL);
    ck_assert_int_eq(ouro_shield_begin(&shield), 0);
    ouro_shield_end(&shield);
    ouro_shield_end(&shield);
}

MISUSE(ouro_now_ns)
{
}

MISUSE(ouro_sleep)
{
    ck_assert_int_eq(ouro_sleep(-1), 0);
    ck_assert_int_eq(ouro_sleep(INT64_MIN), 0);
}

MISUSE(ouro_deadline_begin)
{
    struct ouro_deadline scope;
    IS_EINVAL(ouro_deadline_begin(NULL, OURO_SECOND));
    ck_assert_int_eq(ouro_deadline_begin(&scope, INT64_MIN), 0);
    ck_assert_int_eq(ouro_sleep(OURO_SECOND), -ETIMEDOUT);
    ouro_deadline_end(&scope);
    ck_assert_int_eq(ouro_deadline_begin(&scope, INT64_MAX), 0);
    ouro_deadline_end(&scope);
}

MISUSE(ouro_deadline_end)
{
    ouro_deadline_end(NULL);
}

MISUSE(ouro_deadline_remaining_ns)
{
    ck_assert_int_eq(ouro_deadline_remaining_ns(), INT64_MAX);
}

MISUSE(ouro_poll_fn)
{
    IS_EINVAL(ouro_poll_fn(NULL, NULL));
}

MISUSE(ouro_waker_clone)
{
    struct ouro_waker empty = {NULL, NULL};
    struct ouro_waker clone = ouro_waker_clone(NULL);
    ck_assert_ptr_null(clone.vtable);
    clone = ouro_waker_clone(&empty);
    ck_assert_ptr_null(clone.vtable);
}

MISUSE(ouro_waker_wake)
{
    struct ouro_waker empty = {NULL, NULL};
    ouro_waker_wake(NULL);
    ouro_waker_wake(&empty);
}

MISUSE(ouro_waker_drop)
{
    struct ouro_waker empty = {NULL, NULL};
    ouro_waker_drop(NULL);
    ouro_waker_drop(&empty);
}

OURO_TEST(every_misuse_is_an_error)
{
    misuse_everywhere();
}

static enum ouro_poll ready(void *arg, const struct ouro_waker *waker)
{
    (void)arg;
    (void)waker;
    return OURO_POLL_READY;
}

OURO_TEST(calls_from_outside_a_runtime_are_refused)
{
    struct ouro_task *task = NULL;
    struct ouro_stream *stream = NULL;
    struct ouro_stream *other = NULL;
    struct ouro_tcp_listener *listener = NULL;
    struct ouro_poll_evented *io = NULL;
    struct ouro_deadline scope;
    struct ouro_shield shield;
    struct ouro_group group;
    ck_assert_int_eq(ouro_task_spawn(nothing, NULL, &task), -OURO_ENORUNTIME);
    ck_assert_int_eq(ouro_task_spawn_here(nothing, NULL, &task), -OURO_ENORUNTIME);
    ck_assert_int_eq(ouro_task_spawn_with(NULL, NULL, nothing, NULL, &task), -OURO_ENORUNTIME);
    ck_assert_int_eq(ouro_yield(), -OURO_ENORUNTIME);
    ck_assert_int_eq(ouro_sleep(0), -OURO_ENORUNTIME);
    ck_assert_int_eq(ouro_blocking(nothing, NULL, NULL), -OURO_ENORUNTIME);
    ck_assert_int_eq(ouro_poll_fn(ready, NULL), -OURO_ENORUNTIME);
    ck_assert_int_eq(ouro_deadline_begin(&scope, 0), -OURO_ENORUNTIME);
    ouro_deadline_end(&scope);
    ck_assert_int_eq(ouro_shield_begin(&shield), -OURO_ENORUNTIME);
    ouro_shield_end(&shield);
    ck_assert_int_eq(ouro_group_begin(&group, 0), -OURO_ENORUNTIME);
    ck_assert_int_eq(ouro_tcp_stream_connect(OURO_ADDRS("127.0.0.1:1"), &stream), -OURO_ENORUNTIME);
    ck_assert_int_eq(ouro_connect("127.0.0.1:1", OURO_SECOND, &stream), -OURO_ENORUNTIME);
    ck_assert_int_eq(ouro_tcp_listener_bind(OURO_ADDRS("127.0.0.1:0"), NULL, &listener),
                     -OURO_ENORUNTIME);
    ck_assert_int_eq(ouro_pipe(&stream, &other), -OURO_ENORUNTIME);
    ck_assert_int_eq(ouro_poll_evented_new(0, OURO_READABLE, &io), -OURO_ENORUNTIME);
    ck_assert_ptr_null(ouro_handle_current());
    ck_assert_ptr_null(ouro_task_current());
    ck_assert_int_eq(ouro_task_is_cancelled(), 0);
    ck_assert_int_eq(ouro_deadline_remaining_ns(), INT64_MAX);
    ouro_leave();
    ck_assert(task == NULL && stream == NULL && other == NULL && listener == NULL && io == NULL);
}
