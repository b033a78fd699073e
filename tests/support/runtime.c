/* SPDX-License-Identifier: MIT */
/*
 * Runtimes for tests.
 *
 * Owns:    nothing.
 * Threads: the test's.
 * Always:  a runtime made here is gone when the function that made it returns, but for the two that
 *          hand it out.
 */
#include "support/runtime.h"

#include <stdlib.h>

#include "support/ouro_test.h"

static uint64_t mask_from(const char *variable)
{
    const char *text = getenv(variable);
    return text == NULL ? 0 : strtoull(text, NULL, 0);
}

struct ouro_runtime_config ouro_test_config(enum ouro_flavour flavour)
{
    struct ouro_runtime_config config = OURO_RUNTIME_CONFIG_INIT;
    config.flavour = flavour;
    config.workers = flavour == OURO_FLAVOUR_MULTI_THREAD ? 2 : 0;
    /* With OURO_TEST_AUTO the runtime is left to find the driver of this run by itself. */
    config.driver = getenv("OURO_TEST_AUTO") != NULL ? OURO_DRIVER_AUTO : ouro_test_driver();
    config.feature_mask = mask_from("OURO_TEST_FEATURE_MASK");
    config.quirk_mask = mask_from("OURO_TEST_QUIRK_MASK");
    return config;
}

struct ouro_runtime *ouro_test_runtime_with(const struct ouro_runtime_config *config)
{
    struct ouro_runtime *runtime = NULL;
    ck_assert_int_eq(ouro_runtime_new(config, &runtime), 0);
    ck_assert_ptr_nonnull(runtime);
    if (config->driver == OURO_DRIVER_AUTO && (config->flags & OURO_RUNTIME_F_NO_IO) == 0 &&
        getenv("OURO_TEST_AUTO") != NULL) {
        struct ouro_handle *handle = ouro_runtime_handle(runtime);
        ck_assert_int_eq(ouro_handle_driver(handle), ouro_test_driver());
        ouro_handle_unref(handle);
    }
    return runtime;
}

struct ouro_runtime *ouro_test_runtime_new(enum ouro_flavour flavour)
{
    struct ouro_runtime_config config = ouro_test_config(flavour);
    return ouro_test_runtime_with(&config);
}

static int in_task(enum ouro_flavour flavour, ouro_task_function *function, void *arg)
{
    struct ouro_runtime *runtime = ouro_test_runtime_new(flavour);
    int result = 0;
    ck_assert_int_eq(ouro_runtime_block_on(runtime, function, arg, &result), 0);
    ouro_runtime_free(runtime);
    return result;
}

int ouro_test_in_task(ouro_task_function *function, void *arg)
{
    return in_task(OURO_FLAVOUR_CURRENT_THREAD, function, arg);
}

int ouro_test_in_task_of_many(ouro_task_function *function, void *arg)
{
    return in_task(OURO_FLAVOUR_MULTI_THREAD, function, arg);
}

int ouro_test_in_thread(ouro_task_function *function, void *arg)
{
    struct ouro_runtime *runtime = ouro_test_runtime_new(OURO_FLAVOUR_MULTI_THREAD);
    struct ouro_handle *handle = ouro_runtime_handle(runtime);
    ck_assert_int_eq(ouro_enter(handle), 0);
    int result = function(arg);
    ouro_leave();
    ouro_handle_unref(handle);
    ouro_runtime_free(runtime);
    return result;
}

void ouro_test_everywhere(ouro_task_function *function, void *arg)
{
    ck_assert_int_eq(ouro_test_in_task(function, arg), 0);
    ck_assert_int_eq(ouro_test_in_task_of_many(function, arg), 0);
    ck_assert_int_eq(ouro_test_in_thread(function, arg), 0);
}
