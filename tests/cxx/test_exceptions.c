/* SPDX-License-Identifier: MIT */
/*
 * C++ exceptions belong to the task, or thread, that handles them: in a program of C++.
 *
 * Owns:    nothing.
 * Threads: the runtimes', and plain ones.
 * Always:  the cases are the same on both drivers.
 */
#include "support/ouro_test.h"

#include "cxx/everyone.h"

static throws_function *all[4] = {throws_rethrow, throws_nested, throws_while_unwinding,
                                  throws_keep};

OURO_TEST(each_task_rethrows_its_own)
{
    ouro_test_everywhere(throw_all_at_once, all);
}

static struct ouro_runtime *runtime;

/* What the thread that made the runtime calls inside its own catch blocks. */
static int blocks_on_others_that_throw(void)
{
    int wrong = -1;
    int rc = ouro_runtime_block_on(runtime, throw_all_at_once, all, &wrong);
    return rc < 0 ? rc : wrong;
}

/* The loop runs on this thread, in the midst of its own exceptions. */
OURO_TEST(the_threads_own_exceptions_are_not_its_tasks)
{
    static const enum ouro_flavour flavours[] = {OURO_FLAVOUR_CURRENT_THREAD,
                                                 OURO_FLAVOUR_MULTI_THREAD};
    for (int i = 0; i < 2; i++) {
        runtime = ouro_test_runtime_new(flavours[i]);
        for (int f = 0; f < 4; f++)
            ck_assert_int_eq(all[f]("the thread", blocks_on_others_that_throw), 0);
        ouro_runtime_free(runtime);
    }
}

/* A task that was suspended inside its catch block is ended by shutdown, and handles its own. */
static int never_woken_sleeps(void)
{
    int rc = ouro_sleep(3600 * OURO_SECOND);
    return rc == -OURO_ESHUTDOWN ? 0 : -1;
}

static int rethrows_at_shutdown(void *arg)
{
    *(int *)arg = throws_rethrow("until shutdown", never_woken_sleeps);
    return 0;
}

static int spawns_and_leaves(void *arg)
{
    ck_assert_int_eq(ouro_task_spawn(rethrows_at_shutdown, arg, NULL), 0);
    ck_assert_int_eq(ouro_yield(), 0);
    return 0;
}

OURO_TEST(a_catch_block_that_shutdown_ends_handles_its_own)
{
    int line = -1;
    runtime = ouro_test_runtime_new(OURO_FLAVOUR_CURRENT_THREAD);
    ck_assert_int_eq(ouro_runtime_block_on(runtime, spawns_and_leaves, &line, NULL), 0);
    ck_assert_int_eq(throws_rethrow("the thread", blocks_on_others_that_throw), 0);
    ck_assert_int_eq(line, -1);
    ouro_runtime_free(runtime);
    ck_assert_int_eq(line, 0);
}
