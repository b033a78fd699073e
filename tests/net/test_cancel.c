/* SPDX-License-Identifier: MIT */
/*
 * Cancelling at every moment: exactly one outcome, and what won is delivered.
 */
#include "everywhere.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ouro/error.h"
#include "ouro/tcp.h"
#include "ouro/time.h"
#include "support/leaks.h"
#include "support/sockets.h"
#include "support/unanswered.h"

enum { YIELDS_MAX = 50 };

struct connecting {
    const struct ouro_to_socket_addrs *addrs;
    struct ouro_stream *stream;
    int rc;
};

static int connect_task(void *arg)
{
    struct connecting *c = arg;
    c->rc = ouro_tcp_stream_connect(c->addrs, &c->stream);
    return 0;
}

/* Lets the task go on for @steps rounds, and cancels it. */
static void cancel_after(struct connecting *c, int steps)
{
    struct ouro_task *task = NULL;
    c->rc = 1;
    c->stream = NULL;
    ck_assert_int_eq(ouro_task_spawn(connect_task, c, &task), 0);
    for (int i = 0; i < steps; i++)
        ck_assert_int_eq(ouro_yield(), 0);
    ck_assert_int_eq(ouro_task_cancel(task), 0);
    ck_assert_int_eq(ouro_task_cancel(task), 0);
    ck_assert_int_eq(ouro_task_join(task, NULL), 0);
}

static int sweep_connects(void *arg)
{
    struct connecting c = {.addrs = arg};
    unsigned before = ouro_test_open_descriptors();
    for (int k = 0; k <= YIELDS_MAX; k++) {
        cancel_after(&c, k);
        ck_assert_msg(c.rc == 0 || c.rc == -ECANCELED, "%d", c.rc);
        ck_assert_int_eq(c.rc == 0, c.stream != NULL);
        if (c.rc == 0) {
            /* Delivered is delivered: it can be written to. */
            ck_assert_int_eq(ouro_stream_write_all(c.stream, "x", 1, NULL), 0);
        }
        ck_assert_int_eq(ouro_stream_close(c.stream), 0);
        ck_assert_uint_eq(ouro_test_open_descriptors(), before);
    }
    return 0;
}

OURO_TEST(a_connect_that_is_cancelled_has_one_outcome)
{
    uint16_t port = 0;
    char text[OURO_TEST_ADDRESS_SIZE];
    int listener = ouro_test_listen(AF_INET, 1024, &port);
    everywhere(sweep_connects,
               (void *)(uintptr_t)OURO_ADDRS(ouro_test_address(AF_INET, port, text)));
    (void)close(listener);
}

/* Several addresses: racers are cancelled with their caller. */
OURO_TEST(a_race_that_is_cancelled_has_one_outcome)
{
    uint16_t port[2];
    struct ouro_socket_addr list[2];
    char text[OURO_TEST_ADDRESS_SIZE];
    int refusing = ouro_test_refusing(AF_INET, &port[0]);
    int listener = ouro_test_listen(AF_INET, 1024, &port[1]);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(
            ouro_socket_addr_parse(ouro_test_address(AF_INET, port[i], text), &list[i]), 0);
    everywhere(sweep_connects, (void *)(uintptr_t)OURO_ADDR_LIST(list, 2));
    (void)close(listener);
    (void)close(refusing);
}

static int sweep_pending_connects(void *arg)
{
    struct connecting c = {.addrs = arg};
    unsigned before = ouro_test_open_descriptors();
    for (int k = 0; k <= YIELDS_MAX; k++) {
        cancel_after(&c, k);
        ck_assert_int_eq(c.rc, -ECANCELED);
        ck_assert_ptr_null(c.stream);
        ck_assert_uint_eq(ouro_test_open_descriptors(), before);
    }
    return 0;
}

OURO_TEST(a_connect_without_an_answer_is_cancelled)
{
    struct ouro_test_full_backlog full;
    char text[OURO_TEST_ADDRESS_SIZE];
    ouro_test_full_backlog_open(&full, AF_INET);
    everywhere(sweep_pending_connects,
               (void *)(uintptr_t)OURO_ADDRS(ouro_test_address(AF_INET, full.port, text)));
    ouro_test_full_backlog_close(&full);
}

struct reading {
    struct ouro_stream *stream;
    char byte;
    ssize_t n;
};

static int read_task(void *arg)
{
    struct reading *r = arg;
    r->n = ouro_stream_read(r->stream, &r->byte, 1);
    return 0;
}

/* Data and a cancellation at once: the byte is read once, by this read or by the next. */
static int sweep_reads(void *arg)
{
    struct reading r = {.byte = 0};
    uint16_t port = 0;
    char text[OURO_TEST_ADDRESS_SIZE];
    int listener = ouro_test_listen(AF_INET, 1, &port);
    (void)arg;
    ck_assert_int_eq(
        ouro_tcp_stream_connect(OURO_ADDRS(ouro_test_address(AF_INET, port, text)), &r.stream), 0);
    int peer = ouro_test_accept(listener);
    for (int k = 0; k <= YIELDS_MAX; k++) {
        struct ouro_task *task = NULL;
        char sent = (char)('A' + k);
        r.byte = 0;
        ck_assert_int_eq(ouro_task_spawn(read_task, &r, &task), 0);
        for (int i = 0; i < k % 7; i++)
            ck_assert_int_eq(ouro_yield(), 0);
        ouro_test_write_exactly(peer, &sent, 1);
        for (int i = 0; i < k / 7; i++)
            ck_assert_int_eq(ouro_yield(), 0);
        ck_assert_int_eq(ouro_task_cancel(task), 0);
        ck_assert_int_eq(ouro_task_join(task, NULL), 0);
        if (r.n == -ECANCELED) {
            ck_assert_int_eq(r.byte, 0);
            ck_assert_int_eq(ouro_stream_read(r.stream, &r.byte, 1), 1);
        } else {
            ck_assert_int_eq(r.n, 1);
        }
        ck_assert_int_eq(r.byte, sent);
    }
    ck_assert_int_eq(ouro_stream_close(r.stream), 0);
    (void)close(peer);
    (void)close(listener);
    return 0;
}

OURO_TEST(a_read_that_is_cancelled_loses_no_byte)
{
    everywhere(sweep_reads, NULL);
}

/* A deadline anywhere in a connect: the same rules. */
static int sweep_deadlines(void *arg)
{
    struct ouro_stream *stream = NULL;
    unsigned before = ouro_test_open_descriptors();
    for (int k = 0; k < 200; k++) {
        struct ouro_deadline scope;
        ck_assert_int_eq(ouro_deadline_begin(&scope, k * 20 * OURO_MICROSECOND), 0);
        int rc = ouro_tcp_stream_connect(arg, &stream);
        ouro_deadline_end(&scope);
        ck_assert_msg(rc == 0 || rc == -ETIMEDOUT, "%d", rc);
        ck_assert_int_eq(rc == 0, stream != NULL);
        ck_assert_int_eq(ouro_stream_close(stream), 0);
        stream = NULL;
        ck_assert_uint_eq(ouro_test_open_descriptors(), before);
    }
    return 0;
}

OURO_TEST(a_deadline_at_any_moment_has_one_outcome)
{
    uint16_t port = 0;
    char text[OURO_TEST_ADDRESS_SIZE];
    int listener = ouro_test_listen(AF_INET, 4096, &port);
    everywhere(sweep_deadlines,
               (void *)(uintptr_t)OURO_ADDRS(ouro_test_address(AF_INET, port, text)));
    (void)close(listener);
}

static int is_cancelled_before(void *arg)
{
    struct connecting *c = arg;
    ck_assert_int_eq(ouro_task_cancel(ouro_task_current()), 0);
    ck_assert_int_eq(ouro_task_is_cancelled(), 1);
    c->rc = ouro_tcp_stream_connect(c->addrs, &c->stream);
    return 0;
}

OURO_TEST(a_cancelled_task_makes_no_attempt)
{
    uint16_t port = 0;
    char text[OURO_TEST_ADDRESS_SIZE];
    int listener = ouro_test_listen(AF_INET, 16, &port);
    struct connecting c = {.addrs = OURO_ADDRS(ouro_test_address(AF_INET, port, text)), .rc = 1};
    in_place(IN_TASK, is_cancelled_before, &c);
    ck_assert_int_eq(c.rc, -ECANCELED);
    ck_assert_int_eq(ouro_test_poll(listener, POLLIN, 0), 0);
    (void)close(listener);
}
