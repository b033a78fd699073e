/* SPDX-License-Identifier: MIT */
/*
 * Sends without a copy, below the streams: which sizes are tried, the two ends of an operation, and
 * a driver that closes between them.
 */
#include "registry/driver_bench.h"

#include <ouro/runtime.h>

#include "base/fault.h"

enum { STRETCH = 128 };

static struct ouro__driver_handle *handle_of(struct bench *bench, enum ouro_zero_copy mode)
{
    bench_init(bench);
    bench->config.zero_copy = mode;
    ck_assert_int_eq(ouro__driver_open(&bench->handle, &bench->config), 0);
    return &bench->handle;
}

static int wanted(struct ouro__driver_handle *handle, size_t size, int count)
{
    int yes = 0;
    for (int i = 0; i < count; i++)
        yes += ouro__zero_copy_is_wanted(&handle->zero_copy, size, 0);
    return yes;
}

static bool is_possible(struct bench *bench)
{
    bool is_possible = !handle_of(bench, OURO_ZERO_COPY_ALWAYS)->zero_copy.is_refused;
    ck_assert_int_eq(wanted(&bench->handle, 1, 1), is_possible);
    bench_close(bench);
    return is_possible;
}

OURO_TEST(each_class_of_sizes_is_tried_by_itself)
{
    struct bench bench;
    if (!is_possible(&bench)) {
        ck_assert_int_eq(wanted(handle_of(&bench, OURO_ZERO_COPY_AUTO), 1 << 20, 3 * STRETCH), 0);
        bench_close(&bench);
        return;
    }
    struct ouro__driver_handle *handle = handle_of(&bench, OURO_ZERO_COPY_AUTO);
    ck_assert_int_eq(wanted(handle, 4095, 3 * STRETCH), 0);
    static const size_t sizes[] = {4096, 8192, 16384, 32768};
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(wanted(handle, sizes[i], STRETCH), 0);
        ck_assert_int_eq(wanted(handle, 2 * sizes[i] - 1, STRETCH), STRETCH);
    }
    bench_close(&bench);
    ck_assert_int_eq(wanted(handle_of(&bench, OURO_ZERO_COPY_NEVER), 1 << 20, 3 * STRETCH), 0);
    bench_close(&bench);
}

/* A send over a connection, and what became of its memory. */
struct send {
    struct bench bench;
    int fds[2];
    struct ouro__registration registration;
    struct ouro__zero_copy_op op;
    int done;
    int came_back;
    bool was_done; /* when it came back */
};

static void send_done(struct ouro__op *op)
{
    ((struct send *)op->waiter)->done++;
}

static void send_came_back(struct ouro__zero_copy_op *op)
{
    struct send *send = op->op.waiter;
    send->came_back++;
    send->was_done = send->done == 1;
}

static char text[64 * 1024];

static void begin(struct send *send)
{
    uint16_t port = 0;
    *send = (struct send){.op = {.came_back = send_came_back}};
    if (!is_possible(&send->bench))
        ouro_test_skip("no sends without a copy here");
    (void)handle_of(&send->bench, OURO_ZERO_COPY_ALWAYS);
    int listener = ouro_test_listen(AF_INET, 1, &port);
    send->fds[0] = ouro_test_connect(AF_INET, port);
    send->fds[1] = ouro_test_accept(listener);
    (void)close(listener);
    send->registration = bench_register(&send->bench, send->fds[0]);
}

static void submit(struct send *send)
{
    send->op.op.sio = send->registration.sio;
    send->op.op.done = send_done;
    send->op.op.waiter = send;
    ouro__op_init_io(&send->op.op, OURO__OP_SEND_ZERO_COPY, OURO__LANE_SLOT, text, sizeof(text), 0);
    ouro__driver_submit(send->bench.handle.driver, &send->op.op);
}

/* Submits it and turns until it is done. */
static void send_it(struct send *send)
{
    submit(send);
    while (send->done == 0)
        bench_turn(&send->bench, OURO_TEST_SECOND);
}

static void end(struct send *send)
{
    bench_close(&send->bench);
    (void)close(send->fds[0]);
    (void)close(send->fds[1]);
}

OURO_TEST(the_memory_comes_back_after_the_result)
{
    struct send send;
    begin(&send);
    submit(&send);
    while (send.came_back == 0) {
        bench_turn(&send.bench, OURO_TEST_SECOND);
        ck_assert_int_le(send.done, 1);
    }
    ck_assert(send.was_done && ouro__zero_copy_has_lent(&send.op.op));
    ck_assert_int_gt(send.op.op.result, 0);
    ck_assert(send.op.was_copied); /* over loopback */
    bench_release(&send.bench, &send.registration);
    end(&send);
    ck_assert_int_eq(send.came_back, 1);
}

OURO_TEST(a_send_that_fails_at_once_lends_nothing_for_long)
{
    struct send send;
    begin(&send);
    ck_assert_int_eq(shutdown(send.fds[0], SHUT_WR), 0);
    send_it(&send);
    ck_assert_int_eq(send.op.op.result, -EPIPE);
    bench_release(&send.bench, &send.registration);
    end(&send);
    ck_assert_int_eq(send.came_back, ouro__zero_copy_has_lent(&send.op.op));
}

/* Neither the descriptor nor the driver waits for the acknowledgement. */
OURO_TEST(a_driver_closes_while_memory_is_lent)
{
    struct send send;
    begin(&send);
    ouro__fault_arm(OURO__FAULT_RING_NOTIFICATION, 1, UINT64_MAX, -ENOENT);
    send_it(&send);
    ck_assert_uint_eq(send.bench.handle.driver->inflight, 0);
    ouro__driver_cancel(send.bench.handle.driver, &send.op.op); /* has ended: nothing happens */
    bench_release(&send.bench, &send.registration);
    ck_assert_int_eq(send.came_back, 0);
    end(&send);
    ck_assert_int_eq(send.came_back, 1);
}
