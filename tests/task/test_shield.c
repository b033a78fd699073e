/* SPDX-License-Identifier: MIT */
/*
 * Shields: clean-up that cancellation, deadlines and shutdown do not interrupt.
 *
 * Owns:    nothing.
 * Threads: the runtime's.
 * Always:  what was held off is there when the shield has ended.
 */
#include "support/ouro_test.h"
#include "support/runtime.h"

#include <errno.h>
#include <ouro.h>
#include <pthread.h>
#include <stdatomic.h>

#define MS OURO_MILLISECOND

static int deadline_is_held_off(void *arg)
{
    (void)arg;
    struct ouro_deadline outer, inner;
    struct ouro_shield shield;
    ck_assert_int_eq(ouro_deadline_begin(&outer, 0), 0);
    ck_assert_int_eq(ouro_sleep(1), -ETIMEDOUT);
    ck_assert_int_eq(ouro_shield_begin(&shield), 0);
    ck_assert_int_eq(ouro_deadline_remaining_ns(), INT64_MAX);
    ck_assert_int_eq(ouro_sleep(MS / 5), 0);
    ck_assert_int_eq(ouro_yield(), 0);
    /* A deadline of the clean-up's own holds. */
    ck_assert_int_eq(ouro_deadline_begin(&inner, MS / 5), 0);
    ck_assert_int_eq(ouro_sleep(3600 * OURO_SECOND), -ETIMEDOUT);
    ouro_deadline_end(&inner);
    ck_assert_int_eq(ouro_sleep(1), 0);
    ouro_shield_end(&shield);
    ck_assert_int_eq(ouro_sleep(1), -ETIMEDOUT);
    ouro_deadline_end(&outer);
    ck_assert_int_eq(ouro_sleep(1), 0);

    /* One that passes while it is held off. */
    ck_assert_int_eq(ouro_deadline_begin(&outer, MS), 0);
    ck_assert_int_eq(ouro_shield_begin(&shield), 0);
    ck_assert_int_eq(ouro_sleep(2 * MS), 0);
    ouro_shield_end(&shield);
    ck_assert_int_eq(ouro_sleep(1), -ETIMEDOUT);
    ouro_shield_end(&shield);
    ouro_deadline_end(&outer);
    return 0;
}

OURO_TEST(outer_deadlines_are_held_off_and_inner_ones_hold)
{
    ouro_test_everywhere(deadline_is_held_off, NULL);
}

static int nested(void *arg)
{
    (void)arg;
    struct ouro_deadline scope[3];
    struct ouro_shield shield[3];
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(ouro_deadline_begin(&scope[i], 0), 0);
        ck_assert_int_eq(ouro_sleep(1), -ETIMEDOUT);
        ck_assert_int_eq(ouro_shield_begin(&shield[i]), 0);
        ck_assert_int_eq(ouro_sleep(1), 0);
    }
    for (int i = 2; i >= 0; i--) {
        ck_assert_int_eq(ouro_sleep(1), 0);
        ouro_shield_end(&shield[i]);
        ck_assert_int_eq(ouro_sleep(1), -ETIMEDOUT);
        ouro_deadline_end(&scope[i]);
    }
    /* The end of an outer scope ends the inner ones, of whatever kind. */
    ck_assert_int_eq(ouro_deadline_begin(&scope[0], 0), 0);
    ck_assert_int_eq(ouro_shield_begin(&shield[0]), 0);
    ck_assert_int_eq(ouro_deadline_begin(&scope[1], 0), 0);
    ouro_shield_end(&shield[0]);
    ck_assert_int_eq(ouro_sleep(1), -ETIMEDOUT);
    ck_assert_int_eq(ouro_shield_begin(&shield[1]), 0);
    ouro_deadline_end(&scope[0]);
    ck_assert_int_eq(ouro_sleep(1), 0);
    ck_assert_int_eq(ouro_deadline_remaining_ns(), INT64_MAX);
    ouro_shield_end(&shield[1]);
    ouro_deadline_end(&scope[1]);
    ck_assert_int_eq(ouro_sleep(1), 0);
    return 0;
}

OURO_TEST(shields_and_deadlines_nest)
{
    ouro_test_everywhere(nested, NULL);
}

/* A task that is cancelled, and what it does about it. */
struct cancelled {
    struct ouro_stream *reader;
    struct ouro_stream *writer;
    atomic_int stage;
};

static int cleans_up(void *arg)
{
    struct cancelled *cancelled = arg;
    struct ouro_shield shield;
    struct ouro_deadline scope;
    char byte = 0;
    atomic_store(&cancelled->stage, 1);
    ck_assert_int_eq(ouro_sleep(3600 * OURO_SECOND), -ECANCELED);
    ck_assert_int_eq(ouro_stream_write(cancelled->writer, "x", 1), -ECANCELED);
    ck_assert_int_eq(ouro_shield_begin(&shield), 0);
    ck_assert_int_eq(ouro_task_is_cancelled(), 1);
    ck_assert_int_eq(ouro_sleep(MS / 5), 0);
    ck_assert_int_eq(ouro_stream_write(cancelled->writer, "x", 1), 1);
    ck_assert_int_eq(ouro_stream_read(cancelled->reader, &byte, 1), 1);
    ck_assert_int_eq(ouro_deadline_begin(&scope, MS / 5), 0);
    ck_assert_int_eq(ouro_stream_read(cancelled->reader, &byte, 1), -ETIMEDOUT);
    ouro_shield_end(&shield);
    ck_assert_int_eq(ouro_stream_read(cancelled->reader, &byte, 1), -ECANCELED);
    return 5;
}

/* Cancelled inside of the shield, while it waits for a byte. */
static int is_cancelled_inside(void *arg)
{
    struct cancelled *cancelled = arg;
    struct ouro_shield shield;
    char byte = 0;
    ck_assert_int_eq(ouro_shield_begin(&shield), 0);
    atomic_store(&cancelled->stage, 1);
    ck_assert_int_eq(ouro_stream_read(cancelled->reader, &byte, 1), 1);
    ck_assert_int_eq(byte, 'y');
    ck_assert_int_eq(ouro_task_is_cancelled(), 1);
    ouro_shield_end(&shield);
    ck_assert_int_eq(ouro_stream_read(cancelled->reader, &byte, 1), -ECANCELED);
    return 5;
}

static int cancels(void *arg)
{
    ouro_task_function *function = *(ouro_task_function **)arg;
    struct cancelled cancelled = {.stage = 0};
    struct ouro_task *task = NULL;
    int result = 0;
    ck_assert_int_eq(ouro_pipe(&cancelled.reader, &cancelled.writer), 0);
    ck_assert_int_eq(ouro_task_spawn(function, &cancelled, &task), 0);
    while (atomic_load(&cancelled.stage) != 1)
        ck_assert_int_eq(ouro_sleep(MS / 10), 0);
    ck_assert_int_eq(ouro_sleep(MS), 0);
    ck_assert_int_eq(ouro_task_cancel(task), 0);
    if (function == is_cancelled_inside) {
        ck_assert_int_eq(ouro_sleep(MS), 0);
        ck_assert_int_eq(ouro_stream_write(cancelled.writer, "y", 1), 1);
    }
    ck_assert_int_eq(ouro_task_join(task, &result), 0);
    ck_assert_int_eq(result, 5);
    ck_assert_int_eq(ouro_stream_close(cancelled.writer), 0);
    return ouro_stream_close(cancelled.reader);
}

OURO_TEST(a_cancelled_task_cleans_up)
{
    ouro_task_function *function = cleans_up;
    ouro_test_everywhere(cancels, &function);
}

OURO_TEST(a_cancel_inside_waits_for_the_end_of_the_shield)
{
    ouro_task_function *function = is_cancelled_inside;
    ouro_test_everywhere(cancels, &function);
}

/* A group of a cancelled task, begun and ended in its shield. */
static int counts(void *arg)
{
    (void)ouro_sleep(MS / 5);
    atomic_fetch_add((atomic_int *)arg, 1);
    return 0;
}

static int has_a_group(void *arg)
{
    struct cancelled *cancelled = arg;
    struct ouro_shield shield;
    struct ouro_group group;
    atomic_int count = 0;
    atomic_store(&cancelled->stage, 1);
    ck_assert_int_eq(ouro_sleep(3600 * OURO_SECOND), -ECANCELED);
    ck_assert_int_eq(ouro_shield_begin(&shield), 0);
    ck_assert_int_eq(ouro_group_begin(&group, 0), 0);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(ouro_group_spawn(&group, NULL, counts, &count), 0);
    ck_assert_int_eq(ouro_group_end(&group), 0); /* not cancelled: the caller was not interrupted */
    ouro_shield_end(&shield);
    ck_assert_int_eq(atomic_load(&count), 4);
    ck_assert_int_eq(ouro_sleep(1), -ECANCELED);
    return 5;
}

OURO_TEST(a_group_in_a_shield_is_not_cancelled_with_its_caller)
{
    ouro_task_function *function = has_a_group;
    ouro_test_everywhere(cancels, &function);
}

struct shutdown {
    struct ouro_handle *handle;
    atomic_int stage;
    atomic_int is_over;
};

static int sleeps_through_a_shutdown(void *arg)
{
    struct shutdown *shutdown = arg;
    struct ouro_shield shield;
    struct ouro_stream *reader = NULL, *writer = NULL;
    char byte = 0;
    ck_assert_int_eq(ouro_pipe(&reader, &writer), 0);
    ck_assert_int_eq(ouro_stream_write(writer, "ab", 2), 2);
    ck_assert_int_eq(ouro_stream_read(reader, &byte, 1), 1);
    ck_assert_int_eq(ouro_shield_begin(&shield), 0);
    atomic_store(&shutdown->stage, 1);
    while (atomic_load(&shutdown->is_over) == 0)
        ck_assert_int_eq(ouro_sleep(MS / 10), 0);
    ck_assert_int_eq(ouro_sleep(MS), 0);
    /* The drivers are closing: no operation begins any more, shielded or not. */
    ck_assert_int_eq(ouro_stream_read(reader, &byte, 1), -OURO_ESHUTDOWN);
    ouro_shield_end(&shield);
    ck_assert_int_eq(ouro_sleep(1), -OURO_ESHUTDOWN);
    ck_assert_int_eq(ouro_stream_close(reader), 0);
    ck_assert_int_eq(ouro_stream_close(writer), 0);
    atomic_store(&shutdown->stage, 2);
    return 0;
}

static void *on_a_thread(void *arg)
{
    struct shutdown *shutdown = arg;
    ck_assert_int_eq(ouro_enter(shutdown->handle), 0);
    (void)sleeps_through_a_shutdown(shutdown);
    ouro_leave();
    return NULL;
}

static bool has_begun(void *arg)
{
    return atomic_load(&((struct shutdown *)arg)->stage) > 0;
}

static void shut_down(bool from_thread)
{
    struct shutdown shutdown = {.stage = 0};
    struct ouro_runtime *runtime = ouro_test_runtime_new(OURO_FLAVOUR_MULTI_THREAD);
    shutdown.handle = ouro_runtime_handle(runtime);
    pthread_t thread;
    if (from_thread)
        ck_assert_int_eq(pthread_create(&thread, NULL, on_a_thread, &shutdown), 0);
    else
        ck_assert_int_eq(
            ouro_task_spawn_with(shutdown.handle, NULL, sleeps_through_a_shutdown, &shutdown, NULL),
            0);
    ck_assert(ouro_test_until(has_begun, &shutdown, 30 * OURO_SECOND));
    /* The task holds the shutdown up until the time is over; a plain thread does not. */
    if (from_thread)
        ck_assert_int_eq(ouro_runtime_shutdown(runtime, 30 * OURO_SECOND), 0);
    else
        ck_assert_int_eq(ouro_runtime_shutdown(runtime, 5 * MS), -ETIMEDOUT);
    atomic_store(&shutdown.is_over, 1);
    if (from_thread)
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(ouro_runtime_shutdown(runtime, 10 * OURO_SECOND), 0);
    ck_assert_int_eq(atomic_load(&shutdown.stage), 2);
    ouro_handle_unref(shutdown.handle);
    ouro_runtime_free(runtime);
}

OURO_TEST(a_shutdown_is_held_off_from_sleeping_but_not_from_io)
{
    shut_down(false);
    shut_down(true);
}

static int ends_anothers(void *arg)
{
    ouro_shield_end(arg);
    return 0;
}

static int misuses(void *arg)
{
    (void)arg;
    struct ouro_shield shield;
    struct ouro_deadline scope;
    struct ouro_task *task = NULL;
    ck_assert_int_eq(ouro_shield_begin(NULL), -EINVAL);
    ouro_shield_end(NULL);
    ck_assert_int_eq(ouro_deadline_begin(&scope, 0), 0);
    ck_assert_int_eq(ouro_shield_begin(&shield), 0);
    ck_assert_int_eq(ouro_task_spawn(ends_anothers, &shield, &task), 0);
    ck_assert_int_eq(ouro_task_join(task, NULL), 0);
    ck_assert_int_eq(ouro_sleep(1), 0); /* still shielded */
    return 0;                           /* a task may return with a shield open */
}

OURO_TEST(misuse_is_an_error_or_nothing)
{
    ouro_test_everywhere(misuses, NULL);
    struct ouro_shield shield;
    ck_assert_int_eq(ouro_shield_begin(&shield), -OURO_ENORUNTIME);
    ouro_shield_end(&shield);
}
