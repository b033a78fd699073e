/* SPDX-License-Identifier: MIT */
/*
 * The runtime and the process it lives in: what an exec'd child inherits, what a stack overflow
 * says, and that memory may run out anywhere.
 *
 * Owns:    nothing.
 * Threads: the test's and the runtime's.
 * Always:  a failed start leaves nothing behind.
 */
#include "support/child.h"
#include "support/ouro_test.h"
#include "support/runtime.h"
#include "support/sockets.h"

#include "base/alloc.h"

#include <errno.h>
#include <ouro.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* exec's this program, for it to list its descriptors. */
static int exec_and_list(void *arg)
{
    (void)arg;
    char path[OURO_TEST_PATH_SIZE];
    if (ouro_test_own_path(path) != NULL)
        execl(path, path, "--descriptors", (char *)NULL);
    return 99;
}

static int holds_descriptors(void *arg)
{
    uint16_t port = 0;
    char address[OURO_TEST_ADDRESS_SIZE];
    struct ouro_stream *stream = NULL;
    struct ouro_tcp_listener *listener = NULL;
    int listening = ouro_test_listen(AF_INET, 4, &port);
    ouro_test_address(AF_INET, port, address);
    ck_assert_int_eq(ouro_tcp_stream_connect(OURO_ADDRS(address), &stream), 0);
    ck_assert_int_eq(ouro_tcp_listener_bind(OURO_ADDRS("127.0.0.1:0"), NULL, &listener), 0);
    struct ouro_test_child child;
    ouro_test_child_run(exec_and_list, NULL, &child);
    ck_assert_int_eq(child.exit_status, 0);
    ck_assert_str_eq(child.output, (const char *)arg);
    ouro_tcp_listener_close(listener);
    ouro_stream_close(stream);
    close(listening);
    return 0;
}

OURO_TEST(an_execed_child_inherits_nothing_of_ours)
{
    struct ouro_test_child without;
    ouro_test_child_run(exec_and_list, NULL, &without);
    ck_assert_int_eq(without.exit_status, 0);
    ck_assert_str_ne(without.output, "");
    ck_assert_int_eq(ouro_test_in_task(holds_descriptors, without.output), 0);
    ck_assert_int_eq(ouro_test_in_task_of_many(holds_descriptors, without.output), 0);
}

static int recurses(void *arg)
{
    volatile char frame[512];
    frame[0] = (char)(intptr_t)arg;
    if ((intptr_t)arg > 1000000)
        return frame[0];
    return recurses((void *)((intptr_t)arg + 1)) + frame[0];
}

static int overflows(void *arg)
{
    struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
    struct ouro_task *task = NULL;
    (void)arg;
    options.name = "digger";
    if (ouro_task_spawn_with(NULL, &options, recurses, NULL, &task) < 0)
        return 3;
    return ouro_task_join(task, NULL);
}

static int overflow_in_child(void *arg)
{
    return *(const enum ouro_flavour *)arg == OURO_FLAVOUR_CURRENT_THREAD
               ? ouro_test_in_task(overflows, NULL)
               : ouro_test_in_task_of_many(overflows, NULL);
}

OURO_TEST(a_stack_overflow_names_the_task)
{
    enum ouro_flavour flavours[] = {OURO_FLAVOUR_CURRENT_THREAD, OURO_FLAVOUR_MULTI_THREAD};
    for (int i = 0; i < 2; i++) {
        struct ouro_test_child child;
        ouro_test_child_run(overflow_in_child, &flavours[i], &child);
        ck_assert_msg(child.exit_status != 0, "the child survived");
        ck_assert_msg(strstr(child.output, "'digger'") != NULL, "said: %s", child.output);
    }
}

static int connects(void *arg)
{
    struct ouro_stream *stream = NULL;
    int rc = ouro_tcp_stream_connect(OURO_ADDRS((const char *)arg), &stream);
    if (rc == 0)
        ouro_stream_close(stream);
    return rc;
}

static int sleeps_and_joins(void *arg)
{
    struct ouro_task *task = NULL;
    int result = 0;
    int rc = ouro_task_spawn(connects, arg, &task);
    if (rc < 0)
        return rc;
    while ((rc = ouro_task_join(task, &result)) == -ENOMEM)
        (void)ouro_sleep(OURO_MILLISECOND);
    return rc < 0 ? rc : result;
}

/* Everything once with the n-th allocation failing.  True: that allocation was reached. */
static bool run_with_failure(enum ouro_flavour flavour, uint64_t nth, char *address)
{
    struct ouro_runtime_config config = ouro_test_config(flavour);
    struct ouro_runtime *runtime = NULL;
    int result = 0;
    uint64_t before = ouro__alloc_calls();
    ouro__alloc_fail_at(nth);
    int rc = ouro_runtime_new(&config, &runtime);
    if (rc == 0)
        rc = ouro_runtime_block_on(runtime, sleeps_and_joins, address, &result);
    ouro__alloc_fail_at(0);
    bool reached = ouro__alloc_calls() - before >= nth;
    ck_assert_msg(rc == 0 || rc == -ENOMEM || rc == -EAGAIN, "%s", ouro_err_name(rc));
    ck_assert_msg(result == 0 || result == -ENOMEM || result == -EAGAIN, "%s",
                  ouro_err_name(result));
    ouro_runtime_free(runtime);
    return reached;
}

OURO_TEST(memory_may_run_out_anywhere, .timeout_s = 120)
{
    uint16_t port = 0;
    char address[OURO_TEST_ADDRESS_SIZE];
    int listening = ouro_test_listen(AF_INET, 1024, &port);
    ouro_test_address(AF_INET, port, address);
    for (uint64_t nth = 1; run_with_failure(OURO_FLAVOUR_CURRENT_THREAD, nth, address); nth++)
        continue;
    for (uint64_t nth = 1; run_with_failure(OURO_FLAVOUR_MULTI_THREAD, nth, address); nth++)
        continue;
    close(listening);
}
