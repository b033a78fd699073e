/* SPDX-License-Identifier: MIT */
/*
 * Runs a body in every place from which a suspending call can be made: the same calls must give the
 * same results in all of them.
 *
 *     static int body(void *arg) { ...; return 0; }
 *     OURO_TEST(name) { everywhere(body, NULL); }
 */
#ifndef OURO_TEST_EVERYWHERE_H
#define OURO_TEST_EVERYWHERE_H

#include "support/ouro_test.h"
#include "support/runtime.h"

#include "ouro/metrics.h"
#include "ouro/task.h"

enum place {
    IN_TASK,          /* a task of a current-thread runtime */
    IN_OWN_THREAD,    /* its own thread, which turns the driver while it waits */
    IN_WORKER_TASK,   /* a task on one of two workers */
    IN_THREAD,        /* a plain thread that has entered that runtime: everything is remote */
    IN_DRIVER_THREAD, /* as above, and the descriptors are a dedicated driver thread's */
    PLACES
};

/*
 * An upper bound on time holds on a machine that has time.  True: the bound was kept.  False: try
 * once more; of five tries one must keep it, or the case fails.
 */
static inline bool is_in_time(int64_t took_ns, int64_t limit_ns, int *late)
{
    if (took_ns < limit_ns)
        return true;
    ck_assert_msg(++*late < 5, "took %lld us, which is more than %lld, and so each time",
                  (long long)(took_ns / 1000), (long long)(limit_ns / 1000));
    return false;
}

/* @base NULL: what every test starts from. */
static inline struct ouro_runtime *open_place_with(enum place place,
                                                   const struct ouro_runtime_config *base)
{
    struct ouro_runtime_config config = ouro_test_config(OURO_FLAVOUR_CURRENT_THREAD);
    struct ouro_runtime *runtime = NULL;
    if (base != NULL)
        config = *base;
    if (place >= IN_WORKER_TASK) {
        config.flavour = OURO_FLAVOUR_MULTI_THREAD;
        config.workers = 2;
    }
    config.driver_threads = place == IN_DRIVER_THREAD ? 1 : 0;
    int rc = ouro_runtime_new(&config, &runtime);
    ck_assert_msg(rc == 0, "ouro_runtime_new: %d", rc);
    return runtime;
}

static inline struct ouro_runtime *open_place(enum place place, uint32_t flags)
{
    struct ouro_runtime_config config = ouro_test_config(OURO_FLAVOUR_CURRENT_THREAD);
    config.flags = flags;
    return open_place_with(place, &config);
}

/* After the runtime: every descriptor that was registered has been deregistered and released, and
 * every operation has ended. */
static inline void check_nothing_left(struct ouro_handle *handle)
{
    struct ouro_io_driver_metrics metrics;
    ck_assert_int_eq(ouro_handle_metrics(handle, &metrics), 0);
    ck_assert_uint_eq(metrics.registered, metrics.deregistered);
    ck_assert_uint_eq(metrics.registered, metrics.released);
    ck_assert_uint_eq(metrics.submitted, metrics.completed);
}

static inline void run_in_place(enum place place, struct ouro_runtime *runtime,
                                ouro_task_function *body, void *arg)
{
    struct ouro_handle *handle = ouro_runtime_handle(runtime);
    int result = -1;
    if (place == IN_TASK || place == IN_WORKER_TASK) {
        ck_assert_int_eq(ouro_runtime_block_on(runtime, body, arg, &result), 0);
    } else {
        ck_assert_int_eq(ouro_enter(handle), 0);
        result = body(arg);
        ouro_leave();
    }
    ck_assert_msg(result == 0, "place %d: the body returned %d", (int)place, result);
    ouro_handle_unref(handle);
}

static inline void in_place_with(enum place place, const struct ouro_runtime_config *base,
                                 ouro_task_function *body, void *arg)
{
    struct ouro_runtime *runtime = open_place_with(place, base);
    struct ouro_handle *handle = ouro_runtime_handle(runtime);
    run_in_place(place, runtime, body, arg);
    ck_assert_int_eq(ouro_runtime_shutdown(runtime, 5 * OURO_TEST_SECOND), 0);
    ouro_runtime_free(runtime);
    check_nothing_left(handle);
    ouro_handle_unref(handle);
}

static inline void in_place(enum place place, ouro_task_function *body, void *arg)
{
    in_place_with(place, NULL, body, arg);
}

static inline void everywhere(ouro_task_function *body, void *arg)
{
    for (int place = 0; place < PLACES; place++)
        in_place((enum place)place, body, arg);
}

#endif
