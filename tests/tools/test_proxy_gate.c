/* SPDX-License-Identifier: MIT */
/*
 * The proxy's gate: room, its end, and who waits for which.
 */
#include "support/ouro_test.h"

#include <fcntl.h>
#include <unistd.h>

#include "../../tools/ouro/proxy_gate.c"

static struct proxy_gate gate;
static int entered, ended; /* of the tasks below */

static int enter_task(void *arg)
{
    int rc = proxy_gate_enter(&gate, *(const size_t *)arg);
    if (rc == 0)
        entered++;
    ended++;
    return rc == -ESHUTDOWN ? 0 : rc;
}

static int let_others_run(void)
{
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(ouro_yield(), 0);
    return entered;
}

static int room_task(void *arg)
{
    static const size_t numbers[] = {0, 1, 2, 3};
    struct ouro_group group;
    (void)arg;
    ck_assert_int_eq(proxy_gate_init(&gate, 2, 4), 0);
    ck_assert_int_eq(ouro_group_begin(&group, 0), 0);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(ouro_group_spawn(&group, NULL, enter_task, (void *)&numbers[i]), 0);
    ck_assert_int_eq(let_others_run(), 2);
    proxy_gate_leave(&gate);
    ck_assert_int_eq(let_others_run(), 3);
    proxy_gate_squeeze(&gate); /* now there are 3 inside */
    proxy_gate_leave(&gate);
    ck_assert_int_eq(let_others_run(), 3);
    ck_assert_int_eq(ended, 3);
    proxy_gate_close(&gate); /* the last one gets none */
    ck_assert_int_eq(ouro_group_end(&group), 0);
    ck_assert_int_eq(entered, 3);
    ck_assert_int_eq(proxy_gate_enter(&gate, 0), -ESHUTDOWN);
    ck_assert_uint_eq(gate.inside, 2);
    proxy_gate_fini(&gate);
    return 0;
}

static int run(ouro_task_function *function)
{
    struct ouro_runtime_config config = OURO_RUNTIME_CONFIG_INIT;
    config.driver = ouro_test_driver();
    struct ouro_runtime *runtime;
    int result = -1;
    ck_assert_int_eq(ouro_runtime_new(&config, &runtime), 0);
    ck_assert_int_eq(ouro_runtime_block_on(runtime, function, NULL, &result), 0);
    ouro_runtime_free(runtime);
    return result;
}

OURO_TEST(so_many_may_be_inside)
{
    ck_assert_int_eq(run(room_task), 0);
}

static int cancelled_task(void *arg)
{
    static const size_t number = 0;
    struct ouro_task *task;
    int result;
    (void)arg;
    ck_assert_int_eq(proxy_gate_init(&gate, 0, 1), 0);
    ck_assert_int_eq(ouro_task_spawn_here(enter_task, (void *)&number, &task), 0);
    ck_assert_int_eq(let_others_run(), 0);
    ck_assert_int_eq(ouro_task_cancel(task), 0);
    ck_assert_int_eq(ouro_task_join(task, &result), 0);
    ck_assert_int_eq(result, -ECANCELED);
    ck_assert_ptr_null(gate.waiters[0].vtable); /* its waker is gone */
    proxy_gate_fini(&gate);
    return 0;
}

OURO_TEST(who_waits_may_be_cancelled)
{
    ck_assert_int_eq(run(cancelled_task), 0);
}

struct pipe_reader {
    struct ouro_poll_evented *io;
    struct ouro_ready_event event;
    int wakes, last;
};

static int reader_task(void *arg)
{
    struct pipe_reader *reader = arg;
    do {
        reader->last = proxy_gate_wait(&gate, 0, reader->io, &reader->event);
        reader->wakes++;
    } while (reader->last == 0);
    return 0;
}

static int readable_task(void *arg)
{
    int fds[2];
    struct pipe_reader reader = {0};
    struct ouro_task *task;
    (void)arg;
    ck_assert_int_eq(proxy_gate_init(&gate, 1, 1), 0);
    ck_assert_int_eq(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
    ck_assert_int_eq(ouro_poll_evented_new(fds[0], OURO_READABLE, &reader.io), 0);
    ck_assert_int_eq(ouro_task_spawn_here(reader_task, &reader, &task), 0);
    for (int i = 1; i <= 3; i++) {
        ck_assert_int_eq(write(fds[1], "x", 1), 1);
        while (reader.wakes < i)
            ck_assert_int_eq(ouro_sleep(100 * OURO_MICROSECOND), 0);
    }
    ck_assert_int_eq(reader.last, 0);
    proxy_gate_close(&gate);
    ck_assert_int_eq(ouro_task_join(task, NULL), 0);
    ck_assert_int_eq(reader.last, -ESHUTDOWN);
    ouro_poll_evented_free(reader.io);
    ck_assert_int_eq(close(fds[0]), 0);
    ck_assert_int_eq(close(fds[1]), 0);
    proxy_gate_fini(&gate);
    return 0;
}

OURO_TEST(each_connection_wakes_and_so_does_the_end)
{
    ck_assert_int_eq(run(readable_task), 0);
}
