/* SPDX-License-Identifier: MIT */
/*
 * Calls that wait for a runtime, made from inside one: in a task, and in a waker that a worker
 * calls.  They are refused and make nothing; the harness counts descriptors and threads.
 *
 * Owns:    nothing.
 * Threads: the test's and the runtimes'.
 * Always:  a refused call returns at once.
 */
#include "support/ouro_test.h"
#include "support/runtime.h"

#include <errno.h>
#include <ouro.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define GRACE_NS (20 * OURO_SECOND)

static const enum ouro_flavour flavours[] = {OURO_FLAVOUR_CURRENT_THREAD,
                                             OURO_FLAVOUR_MULTI_THREAD};

static int must_not_run(void *arg)
{
    (void)arg;
    ck_abort_msg("a refused function ran");
    return 0;
}

/* @runtime is the caller's own, or another one. */
static void all_refused(struct ouro_runtime *runtime)
{
    struct ouro_runtime_config config = ouro_test_config(OURO_FLAVOUR_CURRENT_THREAD);
    struct ouro_runtime *made = NULL;
    struct ouro_handle *handle = ouro_runtime_handle(runtime);
    int64_t before_ns = ouro_now_ns();
    ck_assert_int_eq(ouro_runtime_shutdown(runtime, GRACE_NS), -OURO_ENESTED);
    ck_assert_int_eq(ouro_runtime_block_on(runtime, must_not_run, NULL, NULL), -OURO_ENESTED);
    ouro_runtime_free(runtime);
    ck_assert_int_eq(ouro_enter(handle), -OURO_ENESTED);
    ck_assert_int_eq(ouro_run(must_not_run, NULL), -OURO_ENESTED);
    for (int i = 0; i < 2; i++) {
        config.flavour = flavours[i];
        ck_assert_int_eq(ouro_runtime_new(&config, &made), -OURO_ENESTED);
    }
    ck_assert_ptr_null(made);
    ck_assert_int_lt(ouro_now_ns() - before_ns, 5 * OURO_SECOND);
    ouro_handle_unref(handle);
}

struct nest {
    struct ouro_runtime *runtime; /* the one that runs the caller */
    struct ouro_runtime *other;
    int ends[2];
    struct ouro_poll_evented *io;
    _Atomic int woken;
};

static int tries_in_a_task(void *arg)
{
    struct nest *nest = arg;
    all_refused(nest->runtime);
    all_refused(nest->other);
    return 7;
}

OURO_TEST(a_task_cannot_wait_for_a_runtime_nor_make_one)
{
    for (int i = 0; i < 4; i++) {
        struct nest nest = {.runtime = ouro_test_runtime_new(flavours[i % 2]),
                            .other = ouro_test_runtime_new(flavours[i / 2])};
        int result = 0;
        ck_assert_int_eq(ouro_runtime_block_on(nest.runtime, tries_in_a_task, &nest, &result), 0);
        ck_assert_int_eq(result, 7);
        ck_assert_int_eq(ouro_runtime_shutdown(nest.runtime, GRACE_NS), 0);
        ouro_runtime_free(nest.runtime);
        ouro_runtime_free(nest.other);
    }
}

static void *clone_nest(void *data)
{
    return data;
}

static void wake_nest(void *data)
{
    struct nest *nest = data;
    all_refused(nest->runtime);
    all_refused(nest->other);
    /* Nor does a waker have a task to suspend. */
    ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), -OURO_ENORUNTIME);
    atomic_store(&nest->woken, 1);
}

static void drop_nest(void *data)
{
    (void)data;
}

static const struct ouro_waker_vtable nest_waker = {clone_nest, wake_nest, drop_nest};

static int polls_with_a_waker(void *arg)
{
    struct nest *nest = arg;
    struct ouro_waker waker = {.vtable = &nest_waker, .data = nest};
    struct ouro_ready_event event;
    ck_assert_int_eq(ouro_poll_evented_new(nest->ends[0], OURO_READABLE, &nest->io), 0);
    ck_assert_int_eq(ouro_poll_evented_poll_ready(nest->io, OURO_READABLE, &waker, &event),
                     OURO_POLL_PENDING);
    ck_assert_int_eq((int)write(nest->ends[1], "x", 1), 1);
    while (atomic_load(&nest->woken) == 0)
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
    ouro_poll_evented_free(nest->io);
    return 0;
}

OURO_TEST(a_waker_on_a_worker_cannot_wait_for_a_runtime)
{
    for (int i = 0; i < 2; i++) {
        struct nest nest = {.runtime = ouro_test_runtime_new(flavours[i]),
                            .other = ouro_test_runtime_new(OURO_FLAVOUR_MULTI_THREAD)};
        ck_assert_int_eq(pipe(nest.ends), 0);
        ck_assert_int_eq(ouro_runtime_block_on(nest.runtime, polls_with_a_waker, &nest, NULL), 0);
        (void)close(nest.ends[0]);
        (void)close(nest.ends[1]);
        ck_assert_int_eq(ouro_runtime_shutdown(nest.runtime, GRACE_NS), 0);
        ouro_runtime_free(nest.runtime);
        ouro_runtime_free(nest.other);
    }
}

/* No task runs here: the waker is called in the loop that the thread itself turns. */
OURO_TEST(a_waker_called_by_a_waiting_own_thread_cannot_wait)
{
    struct nest nest = {.runtime = ouro_test_runtime_new(OURO_FLAVOUR_CURRENT_THREAD),
                        .other = ouro_test_runtime_new(OURO_FLAVOUR_MULTI_THREAD)};
    struct ouro_handle *handle = ouro_runtime_handle(nest.runtime);
    ck_assert_int_eq(pipe(nest.ends), 0);
    ck_assert_int_eq(ouro_enter(handle), 0);
    ck_assert_int_eq(polls_with_a_waker(&nest), 0);
    ouro_leave();
    (void)close(nest.ends[0]);
    (void)close(nest.ends[1]);
    ouro_handle_unref(handle);
    ouro_runtime_free(nest.runtime);
    ouro_runtime_free(nest.other);
}

static int returns_11(void *arg)
{
    (void)arg;
    return 11;
}

/* A thread of the blocking pool is a plain thread: there a runtime may be made, run and freed. */
static int runs_another(void *arg)
{
    struct ouro_runtime *runtime = ouro_test_runtime_new(flavours[*(int *)arg]);
    int result = 0;
    ck_assert_int_eq(ouro_runtime_block_on(runtime, returns_11, NULL, &result), 0);
    ck_assert_int_eq(ouro_runtime_shutdown(runtime, GRACE_NS), 0);
    ouro_runtime_free(runtime);
    return result;
}

static int calls_a_thread(void *arg)
{
    int result = 0;
    ck_assert_int_eq(ouro_blocking(runs_another, arg, &result), 0);
    return result;
}

OURO_TEST(a_runtime_inside_a_blocking_call_is_complete)
{
    for (int i = 0; i < 4; i++) {
        struct ouro_runtime *runtime = ouro_test_runtime_new(flavours[i % 2]);
        int inner = i / 2, result = 0;
        ck_assert_int_eq(ouro_runtime_block_on(runtime, calls_a_thread, &inner, &result), 0);
        ck_assert_int_eq(result, 11);
        ouro_runtime_free(runtime);
    }
}

/* The thread of a current-thread runtime is no task: it may use others meanwhile. */
OURO_TEST(an_entered_thread_may_run_another_runtime)
{
    for (int i = 0; i < 4; i++) {
        struct ouro_runtime *runtime = ouro_test_runtime_new(flavours[i % 2]);
        struct ouro_handle *handle = ouro_runtime_handle(runtime);
        int inner = i / 2;
        ck_assert_int_eq(ouro_enter(handle), 0);
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
        ck_assert_int_eq(runs_another(&inner), 11);
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
        ck_assert_int_eq(ouro_runtime_shutdown(runtime, GRACE_NS), 0);
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), -OURO_ESHUTDOWN);
        ouro_leave();
        ouro_handle_unref(handle);
        ouro_runtime_free(runtime);
    }
}
