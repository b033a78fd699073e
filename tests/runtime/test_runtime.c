/* SPDX-License-Identifier: MIT */
/*
 * The runtime's life: made, entered, blocked on, shut down, freed.
 *
 * Owns:    nothing.
 * Threads: the test's and the runtime's.
 * Always:  after free nothing is left, however it ended.
 */
#include "support/child.h"
#include "support/ouro_test.h"
#include "support/runtime.h"

#include "base/fault.h"
#include "fiber/stack_tools.h"

#include <errno.h>
#include <ouro.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

static int forty_two(void *arg)
{
    (void)arg;
    return 42;
}

static const enum ouro_flavour flavours[] = {OURO_FLAVOUR_CURRENT_THREAD,
                                             OURO_FLAVOUR_MULTI_THREAD};

OURO_TEST(a_hundred_runtimes_one_after_the_other)
{
    for (int i = 0; i < 100; i++) {
        struct ouro_runtime *runtime = ouro_test_runtime_new(flavours[i % 2]);
        int result = 0;
        if (i % 4 < 2)
            ck_assert_int_eq(ouro_runtime_block_on(runtime, forty_two, NULL, &result), 0);
        ouro_runtime_free(runtime);
    }
}

OURO_TEST(the_driver_is_the_one_asked_for)
{
    struct ouro_runtime *runtime = ouro_test_runtime_new(OURO_FLAVOUR_CURRENT_THREAD);
    struct ouro_handle *handle = ouro_runtime_handle(runtime);
    ck_assert_int_eq(ouro_handle_driver(handle), ouro_test_driver());
    if (ouro_test_config(OURO_FLAVOUR_CURRENT_THREAD).driver == OURO_DRIVER_AUTO)
        ck_assert_str_ne(ouro_handle_driver_reason(handle), "epoll was asked for");
    else if (ouro_test_driver() == OURO_DRIVER_EPOLL)
        ck_assert_str_eq(ouro_handle_driver_reason(handle), "epoll was asked for");
    else
        ck_assert_str_eq(ouro_handle_driver_reason(handle), "");
    struct ouro_io_driver_metrics metrics;
    ck_assert_int_eq(ouro_handle_metrics(handle, &metrics), 0);
    ck_assert_uint_eq(metrics.registered, 0);
    ck_assert_int_eq(ouro_handle_metrics(NULL, &metrics), -EINVAL);
    struct ouro_busy_poll_metrics looks = OURO_BUSY_POLL_METRICS_INIT;
    ck_assert_int_eq(ouro_handle_busy_poll_metrics(handle, &looks), 0);
    ck_assert_uint_eq(looks.size, sizeof(looks));
    ck_assert_uint_le(looks.found, looks.looks);
    ck_assert_ptr_eq(ouro_handle_ref(handle), handle);
    ouro_handle_unref(handle);
    ouro_handle_unref(handle);
    ouro_handle_unref(NULL);
    ouro_runtime_free(runtime);
}

static int nests(void *arg)
{
    int result = 0;
    ck_assert_int_eq(ouro_runtime_block_on(arg, forty_two, NULL, &result), -OURO_ENESTED);
    ck_assert_int_eq(ouro_runtime_shutdown(arg, 0), -OURO_ENESTED);
    ck_assert_int_eq(result, 0);
    ouro_runtime_free(arg); /* refused: it would free what this runs on */
    struct ouro_handle *handle = ouro_handle_current();
    ck_assert_int_eq(ouro_enter(handle), -OURO_ENESTED);
    ouro_leave(); /* nothing */
    ouro_handle_unref(handle);
    return ouro_yield();
}

OURO_TEST(what_a_task_must_not_do_is_refused)
{
    for (int i = 0; i < 2; i++) {
        struct ouro_runtime *runtime = ouro_test_runtime_new(flavours[i]);
        int result = -1;
        ck_assert_int_eq(ouro_runtime_block_on(runtime, nests, runtime, &result), 0);
        ck_assert_int_eq(result, 0);
        ouro_runtime_free(runtime);
    }
}

static void *elsewhere(void *arg)
{
    int result = 0;
    ck_assert_int_eq(ouro_runtime_block_on(arg, forty_two, NULL, &result), -OURO_EWRONGTHREAD);
    ck_assert_int_eq(ouro_runtime_shutdown(arg, 0), -OURO_EWRONGTHREAD);
    return NULL;
}

OURO_TEST(a_current_thread_runtime_belongs_to_its_thread)
{
    struct ouro_runtime *runtime = ouro_test_runtime_new(OURO_FLAVOUR_CURRENT_THREAD);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, elsewhere, runtime), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ouro_runtime_free(runtime);
}

OURO_TEST(bad_configurations_are_refused)
{
    struct ouro_runtime *runtime = NULL;
    struct ouro_runtime_config config = ouro_test_config(OURO_FLAVOUR_CURRENT_THREAD);
    config.size = 7;
    ck_assert_int_eq(ouro_runtime_new(&config, &runtime), -EINVAL);
    config = ouro_test_config(OURO_FLAVOUR_CURRENT_THREAD);
    config.flags = 1u << 30;
    ck_assert_int_eq(ouro_runtime_new(&config, &runtime), -EINVAL);
    config = ouro_test_config(OURO_FLAVOUR_CURRENT_THREAD);
    config.workers = 2;
    ck_assert_int_eq(ouro_runtime_new(&config, &runtime), -EINVAL);
    config = ouro_test_config(OURO_FLAVOUR_MULTI_THREAD);
    config.workers = 1u << 20;
    ck_assert_int_eq(ouro_runtime_new(&config, &runtime), -EINVAL);
    config = ouro_test_config((enum ouro_flavour)9);
    ck_assert_int_eq(ouro_runtime_new(&config, &runtime), -EINVAL);
    config = ouro_test_config(OURO_FLAVOUR_CURRENT_THREAD);
    config.driver = (enum ouro_driver_kind)9;
    ck_assert_int_eq(ouro_runtime_new(&config, &runtime), -EINVAL);
    config = ouro_test_config(OURO_FLAVOUR_CURRENT_THREAD);
    config.stack_size_bytes = SIZE_MAX / 2;
    ck_assert_int_eq(ouro_runtime_new(&config, &runtime), -EINVAL);
    ck_assert_int_eq(ouro_runtime_new(NULL, NULL), -EINVAL);
    ck_assert_ptr_null(runtime);
    ouro_runtime_free(NULL);
}

OURO_TEST(every_rung_of_the_start_can_break)
{
    for (uint64_t nth = 1; nth <= 4; nth++) {
        for (int i = 0; i < 2; i++) {
            struct ouro_runtime_config config = ouro_test_config(flavours[i]);
            struct ouro_runtime *runtime = NULL;
            config.driver = ouro_test_driver(); /* left to choose, it would go on with epoll */
            config.workers = flavours[i] == OURO_FLAVOUR_MULTI_THREAD ? 4 : 0;
            config.driver_threads = flavours[i] == OURO_FLAVOUR_MULTI_THREAD ? 0 : 3;
            ouro__fault_arm(OURO__FAULT_DRIVER_OPEN, nth, 1, -EMFILE);
            ck_assert_int_eq(ouro_runtime_new(&config, &runtime), -EMFILE);
            ouro__fault_arm(OURO__FAULT_DRIVER_OPEN, 100, 1, -EMFILE);
            if (flavours[i] == OURO_FLAVOUR_MULTI_THREAD || nth < 4) {
                ouro__fault_arm(OURO__FAULT_THREAD, nth, 1, -EAGAIN);
                ck_assert_int_eq(ouro_runtime_new(&config, &runtime), -EAGAIN);
            }
            ouro__fault_disarm_all();
            ck_assert_ptr_null(runtime);
        }
    }
}

static int io_is_off(void *arg)
{
    (void)arg;
    struct ouro_stream *stream = NULL;
    struct ouro_poll_evented *io = NULL;
    ck_assert_int_eq(ouro_tcp_stream_connect(OURO_ADDRS("127.0.0.1:1"), &stream),
                     -OURO_EIODISABLED);
    ck_assert_int_eq(ouro_poll_evented_new(0, OURO_READABLE, &io), -OURO_EIODISABLED);
    ck_assert_ptr_null(stream);
    return ouro_sleep(OURO_MILLISECOND);
}

OURO_TEST_UNIT(a_runtime_without_io_runs_tasks_and_timers)
{
    for (int i = 0; i < 4; i++) {
        struct ouro_runtime_config config = ouro_test_config(flavours[i % 2]);
        if (i < 2)
            config.flags = OURO_RUNTIME_F_NO_IO;
        else
            config.driver = OURO_DRIVER_NONE;
        struct ouro_runtime *runtime = ouro_test_runtime_with(&config);
        struct ouro_handle *handle = ouro_runtime_handle(runtime);
        struct ouro_io_driver_metrics metrics;
        int result = -1;
        ck_assert_int_eq(ouro_runtime_block_on(runtime, io_is_off, NULL, &result), 0);
        ck_assert_int_eq(result, 0);
        ck_assert_int_eq(ouro_handle_driver(handle), OURO_DRIVER_NONE);
        ck_assert_int_eq(ouro_handle_metrics(handle, &metrics), -OURO_EIODISABLED);
        struct ouro_busy_poll_metrics looks = OURO_BUSY_POLL_METRICS_INIT;
        ck_assert_int_eq(ouro_handle_busy_poll_metrics(handle, &looks), -OURO_EIODISABLED);
        ouro_handle_unref(handle);
        ouro_runtime_free(runtime);
    }
}

static int in_child(void *arg)
{
    struct ouro_runtime *runtime = arg;
    struct ouro_handle *handle = ouro_handle_current();
    int result = 0;
    struct ouro_task *task = NULL;
    if (ouro_yield() != -OURO_EFORKED || ouro_sleep(1) != -OURO_EFORKED)
        return 1;
    if (ouro_task_spawn(forty_two, NULL, &task) != -OURO_EFORKED)
        return 2;
    if (ouro_runtime_block_on(runtime, forty_two, NULL, &result) != -OURO_EFORKED)
        return 3;
    if (ouro_runtime_shutdown(runtime, 0) != -OURO_EFORKED)
        return 4;
    ouro_handle_unref(handle);
    ouro_runtime_free(runtime);
    /* And a runtime of its own works. */
    return ouro_run(forty_two, NULL) == 42 ? 0 : 5;
}

static int forks(void *arg)
{
    ouro_test_child_must_pass(in_child, arg);
    return ouro_sleep(OURO_MILLISECOND);
}

OURO_TEST(a_forked_child_gets_a_defined_error)
{
    if (ouro__stack_on_valgrind())
        ouro_test_skip("Valgrind believes that the child has the parent's ring mappings");
    for (int i = 0; i < 2; i++) {
        struct ouro_runtime *runtime = ouro_test_runtime_new(flavours[i]);
        int result = -1;
        ck_assert_int_eq(ouro_runtime_block_on(runtime, forks, runtime, &result), 0);
        ck_assert_int_eq(result, 0);
        ouro_runtime_free(runtime);
    }
}

OURO_TEST(the_thread_of_a_current_thread_runtime_may_enter_it)
{
    struct ouro_runtime *runtime = ouro_test_runtime_new(OURO_FLAVOUR_CURRENT_THREAD);
    struct ouro_handle *handle = ouro_runtime_handle(runtime);
    ck_assert_int_eq(ouro_enter(NULL), -EINVAL);
    ck_assert_int_eq(ouro_enter(handle), 0);
    ck_assert_int_eq(ouro_enter(handle), -OURO_ENESTED);
    struct ouro_task *task = NULL;
    int result = 0;
    ck_assert_int_eq(ouro_task_spawn(forty_two, NULL, &task), 0);
    ck_assert_int_eq(ouro_sleep(5 * OURO_MILLISECOND), 0);
    ck_assert_int_eq(ouro_task_join(task, &result), 0);
    ck_assert_int_eq(result, 42);
    ouro_leave();
    ouro_leave();
    ck_assert_int_eq(ouro_sleep(1), -OURO_ENORUNTIME);
    ouro_handle_unref(handle);
    ouro_runtime_free(runtime);
}

OURO_TEST(run_is_new_block_on_and_free)
{
    ck_assert_int_eq(ouro_run(forty_two, NULL), 42);
    ck_assert_int_eq(ouro_run(NULL, NULL), -EINVAL);
}
