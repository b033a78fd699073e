/* SPDX-License-Identifier: MIT */
/*
 * Misuse of runtimes, handles, the probe, errors and traces.
 *
 * Owns:    nothing.
 * Threads: the test's and the runtimes'.
 * Always:  what a refused call would have returned in an argument is untouched.
 */
#include "misuse/misuse.h"

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

MISUSE(ouro_version)
{
}

MISUSE(ouro_strerror)
{
    const int codes[] = {0, 1, -1, -99999, INT_MAX, INT_MIN};
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        ck_assert_ptr_nonnull(ouro_strerror(codes[i]));
}

MISUSE(ouro_err_name)
{
    const int codes[] = {0, 1, -1, -99999, INT_MAX, INT_MIN};
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        ck_assert_ptr_nonnull(ouro_err_name(codes[i]));
}

MISUSE(ouro_trace_kind_name)
{
    ck_assert_str_eq(ouro_trace_kind_name((enum ouro_trace_kind)0), "?");
    ck_assert_str_eq(ouro_trace_kind_name((enum ouro_trace_kind)9999), "?");
    ck_assert_str_eq(ouro_trace_kind_name((enum ouro_trace_kind) - 1), "?");
}

MISUSE(ouro_trace_format_readiness)
{
    char text[4] = "abc";
    ouro_trace_format_readiness(UINT64_MAX, NULL, 100);
    ouro_trace_format_readiness(UINT64_MAX, text, 0);
    ck_assert_str_eq(text, "abc");
    ouro_trace_format_readiness(UINT64_MAX, text, sizeof(text));
    ck_assert_uint_le(strlen(text), 3);
}

MISUSE(ouro_runtime_new)
{
    struct ouro_runtime *runtime = NULL;
    IS_EINVAL(ouro_runtime_new(NULL, NULL));
    struct ouro_runtime_config config = OURO_RUNTIME_CONFIG_INIT;
    config.size = 0;
    IS_EINVAL(ouro_runtime_new(&config, &runtime));
    config = (struct ouro_runtime_config)OURO_RUNTIME_CONFIG_INIT;
    config.flags = UINT32_MAX;
    IS_EINVAL(ouro_runtime_new(&config, &runtime));
    config = (struct ouro_runtime_config)OURO_RUNTIME_CONFIG_INIT;
    config.flavour = (enum ouro_flavour)77;
    IS_EINVAL(ouro_runtime_new(&config, &runtime));
    config = (struct ouro_runtime_config)OURO_RUNTIME_CONFIG_INIT;
    config.driver = (enum ouro_driver_kind)77;
    IS_EINVAL(ouro_runtime_new(&config, &runtime));
    config = (struct ouro_runtime_config)OURO_RUNTIME_CONFIG_INIT;
    config.workers = UINT32_MAX;
    IS_EINVAL(ouro_runtime_new(&config, &runtime));
    config = (struct ouro_runtime_config)OURO_RUNTIME_CONFIG_INIT;
    config.driver_threads = UINT32_MAX;
    IS_EINVAL(ouro_runtime_new(&config, &runtime));
    config = (struct ouro_runtime_config)OURO_RUNTIME_CONFIG_INIT;
    config.stack_size_bytes = SIZE_MAX;
    IS_EINVAL(ouro_runtime_new(&config, &runtime));
    ck_assert_ptr_null(runtime);
}

MISUSE(ouro_runtime_free)
{
    ouro_runtime_free(NULL);
}

MISUSE(ouro_runtime_block_on)
{
    int result = 5;
    IS_EINVAL(ouro_runtime_block_on(NULL, nothing, NULL, &result));
    ck_assert_int_eq(result, 5);
}

MISUSE(ouro_runtime_shutdown)
{
    IS_EINVAL(ouro_runtime_shutdown(NULL, 0));
}

MISUSE(ouro_runtime_fd)
{
    IS_EINVAL(ouro_runtime_fd(NULL));
}

MISUSE(ouro_runtime_turn)
{
    IS_EINVAL(ouro_runtime_turn(NULL, 0));
}

MISUSE(ouro_runtime_handle)
{
    ck_assert_ptr_null(ouro_runtime_handle(NULL));
}

MISUSE(ouro_run)
{
    ck_assert_int_lt(ouro_run(NULL, NULL), 0);
}

MISUSE(ouro_handle_current)
{
}

MISUSE(ouro_handle_ref)
{
    ck_assert_ptr_null(ouro_handle_ref(NULL));
}

MISUSE(ouro_handle_unref)
{
    ouro_handle_unref(NULL);
}

MISUSE(ouro_enter)
{
    IS_EINVAL(ouro_enter(NULL));
    struct ouro_handle *handle = ouro_handle_current();
    ck_assert_int_eq(ouro_enter(handle), -OURO_ENESTED);
    ouro_handle_unref(handle);
}

static void *leaves_unentered(void *arg)
{
    ouro_leave();
    ouro_leave();
    return arg;
}

MISUSE(ouro_leave)
{
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, leaves_unentered, NULL), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    if (ouro_task_current() != NULL) {
        ouro_leave(); /* in a task it does nothing */
        ck_assert_int_eq(ouro_yield(), 0);
    }
}

MISUSE(ouro_handle_driver)
{
    ck_assert_int_eq(ouro_handle_driver(NULL), OURO_DRIVER_AUTO);
}

MISUSE(ouro_handle_driver_reason)
{
    ck_assert_str_eq(ouro_handle_driver_reason(NULL), "");
}

MISUSE(ouro_handle_zero_copy_metrics)
{
    struct ouro_zero_copy_metrics metrics = OURO_ZERO_COPY_METRICS_INIT;
    struct ouro_handle *handle = ouro_handle_current();
    IS_EINVAL(ouro_handle_zero_copy_metrics(NULL, &metrics));
    IS_EINVAL(ouro_handle_zero_copy_metrics(handle, NULL));
    metrics.size++;
    IS_EINVAL(ouro_handle_zero_copy_metrics(handle, &metrics));
    ouro_handle_unref(handle);
}

MISUSE(ouro_handle_busy_poll_metrics)
{
    struct ouro_busy_poll_metrics metrics = OURO_BUSY_POLL_METRICS_INIT;
    struct ouro_handle *handle = ouro_handle_current();
    metrics.looks = 77;
    IS_EINVAL(ouro_handle_busy_poll_metrics(NULL, &metrics));
    IS_EINVAL(ouro_handle_busy_poll_metrics(handle, NULL));
    metrics.size--;
    IS_EINVAL(ouro_handle_busy_poll_metrics(handle, &metrics));
    ck_assert_uint_eq(metrics.looks, 77);
    ouro_handle_unref(handle);
}

MISUSE(ouro_handle_metrics)
{
    struct ouro_io_driver_metrics metrics = {.registered = 77};
    struct ouro_handle *handle = ouro_handle_current();
    IS_EINVAL(ouro_handle_metrics(NULL, &metrics));
    IS_EINVAL(ouro_handle_metrics(handle, NULL));
    ck_assert_uint_eq(metrics.registered, 77);
    ouro_handle_unref(handle);
}

MISUSE(ouro_probe_new)
{
    IS_EINVAL(ouro_probe_new(NULL));
}

MISUSE(ouro_probe_free)
{
    ouro_probe_free(NULL);
}

MISUSE(ouro_probe_uring_usable)
{
    ck_assert_int_eq(ouro_probe_uring_usable(NULL), 0);
}

MISUSE(ouro_probe_reason)
{
    ck_assert_str_eq(ouro_probe_reason(NULL), "");
}

MISUSE(ouro_probe_remedy)
{
    ck_assert_str_eq(ouro_probe_remedy(NULL), "");
}

MISUSE(ouro_probe_kernel)
{
    ck_assert_str_eq(ouro_probe_kernel(NULL), "");
}

static void misuse_items(int (*get)(const struct ouro_probe *, uint32_t, struct ouro_probe_item *))
{
    struct ouro_probe *probe = NULL;
    struct ouro_probe_item item = {.present = 77};
    ck_assert_int_eq(ouro_probe_new(&probe), 0);
    IS_EINVAL(get(NULL, 0, &item));
    IS_EINVAL(get(probe, 0, NULL));
    ck_assert_int_eq(get(probe, UINT32_MAX, &item), -ENOENT);
    ck_assert_int_eq(get(probe, 10000, &item), -ENOENT);
    ck_assert_int_eq(item.present, 77);
    ouro_probe_free(probe);
}

MISUSE(ouro_probe_feature)
{
    misuse_items(ouro_probe_feature);
}

MISUSE(ouro_probe_quirk)
{
    misuse_items(ouro_probe_quirk);
}

OURO_TEST(every_misuse_is_an_error)
{
    misuse_everywhere();
}

static int blocks_inside(void *arg)
{
    int result = 0;
    ck_assert_int_eq(ouro_runtime_block_on(arg, nothing, NULL, &result), -OURO_ENESTED);
    ck_assert_int_eq(ouro_runtime_shutdown(arg, 0), -OURO_ENESTED);
    ouro_runtime_free(arg); /* does nothing from inside */
    return ouro_yield();
}

static void *blocks_elsewhere(void *arg)
{
    int result = 0;
    ck_assert_int_eq(ouro_runtime_block_on(arg, nothing, NULL, &result), -OURO_EWRONGTHREAD);
    ck_assert_int_eq(ouro_runtime_shutdown(arg, 0), -OURO_EWRONGTHREAD);
    return NULL;
}

OURO_TEST(runtimes_waited_for_in_the_wrong_place)
{
    const enum ouro_flavour flavours[] = {OURO_FLAVOUR_CURRENT_THREAD, OURO_FLAVOUR_MULTI_THREAD};
    for (int i = 0; i < 2; i++) {
        struct ouro_runtime *runtime = ouro_test_runtime_new(flavours[i]);
        int result = -1;
        pthread_t thread;
        IS_EINVAL(ouro_runtime_block_on(runtime, NULL, NULL, &result));
        ck_assert_int_eq(ouro_runtime_block_on(runtime, blocks_inside, runtime, &result), 0);
        ck_assert_int_eq(result, 0);
        if (flavours[i] == OURO_FLAVOUR_CURRENT_THREAD) {
            ck_assert_int_eq(pthread_create(&thread, NULL, blocks_elsewhere, runtime), 0);
            ck_assert_int_eq(pthread_join(thread, NULL), 0);
        }
        struct ouro_handle *handle = ouro_runtime_handle(runtime);
        ck_assert_int_eq(ouro_runtime_shutdown(runtime, OURO_SECOND), 0);
        ck_assert_int_eq(ouro_runtime_block_on(runtime, nothing, NULL, &result), -OURO_ESHUTDOWN);
        ck_assert_int_eq(ouro_enter(handle), -OURO_ESHUTDOWN);
        ouro_handle_unref(handle);
        ouro_runtime_free(runtime);
    }
}
