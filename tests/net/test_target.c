/* SPDX-License-Identifier: MIT */
/*
 * The short form of connecting: every form of target, and the timeout.
 */
#include "everywhere.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ouro/addr.h"
#include "ouro/error.h"
#include "ouro/stream.h"
#include "ouro/time.h"
#include "support/scratch.h"
#include "support/sockets.h"
#include "support/unanswered.h"

struct target {
    const char *text;
    enum ouro_stream_kind kind;
    int listener;
};

static int connect_to(void *arg)
{
    struct target *target = arg;
    const int64_t timeouts_ns[] = {10 * OURO_SECOND, INT64_MAX};
    for (int i = 0; i < 2; i++) {
        struct ouro_stream *stream = NULL;
        ck_assert_int_eq(ouro_connect(target->text, timeouts_ns[i], &stream), 0);
        ck_assert_int_eq(ouro_stream_kind(stream), target->kind);
        int peer = ouro_test_accept(target->listener);
        ck_assert_int_eq(ouro_stream_write(stream, "x", 1), 1);
        char byte = 0;
        ouro_test_read_exactly(peer, &byte, 1);
        ck_assert_int_eq(ouro_deadline_remaining_ns() == INT64_MAX, 1); /* the scope has ended */
        ck_assert_int_eq(ouro_stream_close(stream), 0);
        (void)close(peer);
    }
    return 0;
}

OURO_TEST(a_tcp_target_connects)
{
    const int families[] = {AF_INET, AF_INET6};
    for (int i = 0; i < 2; i++) {
        char text[OURO_TEST_ADDRESS_SIZE];
        uint16_t port = 0;
        struct target target = {.kind = OURO_STREAM_TCP};
        target.listener = ouro_test_listen(families[i], 8, &port);
        target.text = ouro_test_address(families[i], port, text);
        everywhere(connect_to, &target);
        (void)close(target.listener);
    }
}

OURO_TEST(a_unix_target_connects)
{
    struct ouro_test_scratch scratch;
    char text[OURO_ADDR_TEXT_MAX];
    struct ouro_socket_addr addr;
    ouro_test_scratch_open(&scratch);
    (void)snprintf(text, sizeof(text), "unix:%s", ouro_test_scratch_path(&scratch, "socket"));
    ck_assert_int_eq(ouro_socket_addr_parse(text, &addr), 0);
    struct target target = {.text = text, .kind = OURO_STREAM_UNIX};
    target.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(
        bind(target.listener, ouro_socket_addr_sockaddr(&addr), (socklen_t)addr.length), 0);
    ck_assert_int_eq(listen(target.listener, 8), 0);
    everywhere(connect_to, &target);
    (void)close(target.listener);
    ouro_test_scratch_close(&scratch);
}

static int connect_wrongly(void *arg)
{
    struct ouro_stream *stream = NULL;
    const char *wrong[] = {"",      "localhost", "127.0.0.1", "[::1]",          "::1:80",
                           "unix:", "127.1:80",  "*:80",      "[127.0.0.1]:80", "127.0.0.1:65536"};
    char text[OURO_TEST_ADDRESS_SIZE];
    uint16_t port = 0;
    (void)arg;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        ck_assert_msg(ouro_connect(wrong[i], OURO_SECOND, &stream) == -OURO_EADDRSYNTAX, "%s",
                      wrong[i]);
    ck_assert_int_eq(ouro_connect(NULL, OURO_SECOND, &stream), -EINVAL);
    ck_assert_int_eq(ouro_connect("127.0.0.1:1", OURO_SECOND, NULL), -EINVAL);
    ck_assert_int_eq(ouro_connect("unix:/nonexistent/socket", OURO_SECOND, &stream), -ENOENT);
    ck_assert_int_eq(ouro_connect("127.0.0.1:1", 0, &stream), -ETIMEDOUT);
    int holder = ouro_test_refusing(AF_INET, &port);
    ck_assert_int_eq(ouro_connect(ouro_test_address(AF_INET, port, text), OURO_SECOND, &stream),
                     -ECONNREFUSED);
    (void)close(holder);
    ck_assert_ptr_null(stream);
    return 0;
}

OURO_TEST(a_wrong_target_says_why)
{
    everywhere(connect_wrongly, NULL);
}

static int connect_without_time(void *arg)
{
    struct ouro_stream *stream = NULL;
    (void)arg;
    ck_assert_int_eq(ouro_connect("127.0.0.1:1", OURO_SECOND, &stream), -OURO_ETIMEDISABLED);
    ck_assert_int_eq(ouro_connect("unix:/nonexistent/socket", INT64_MAX, &stream), -ENOENT);
    return 0;
}

OURO_TEST(a_runtime_without_time_connects_without_a_timeout)
{
    struct ouro_runtime *runtime = open_place(IN_TASK, OURO_RUNTIME_F_NO_TIME);
    run_in_place(IN_TASK, runtime, connect_without_time, NULL);
    ouro_runtime_free(runtime);
}

static int connect_in_vain(void *arg)
{
    struct ouro_stream *stream = NULL;
    int64_t begin_ns = ouro_now_ns();
    ck_assert_int_eq(ouro_connect(arg, 30 * OURO_TEST_MS, &stream), -ETIMEDOUT);
    ck_assert_int_ge(ouro_now_ns() - begin_ns, 30 * OURO_TEST_MS);
    ck_assert_ptr_null(stream);
    return 0;
}

OURO_TEST(a_target_that_does_not_answer_times_out)
{
    char text[OURO_TEST_ADDRESS_SIZE];
    uint16_t port = 0;
    int hole = ouro_test_black_hole(AF_INET, 0, &port);
    everywhere(connect_in_vain, ouro_test_address(AF_INET, port, text));
    (void)close(hole);
}
