/* SPDX-License-Identifier: MIT */
/*
 * Servers: what they serve, from every place, and what does not end them.
 */
#include "serve_rig.h"

#include "base/fault.h"
#include "ouro/task.h"
#include "ouro/tcp.h"

enum { AT_ONCE = 12, ROUNDS = 3 };

static void echo_client(struct rig *rig)
{
    int fds[AT_ONCE];
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < AT_ONCE; i++)
            fds[i] = rig_connect(rig);
        for (int i = 0; i < AT_ONCE; i++)
            rig_exchange(fds[i], "first");
        for (int i = AT_ONCE - 1; i >= 0; i--)
            rig_exchange(fds[i], "the second message");
        for (int i = 0; i < AT_ONCE; i++) {
            ck_assert_int_eq(shutdown(fds[i], SHUT_WR), 0);
            rig_await_end(fds[i]);
        }
    }
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
}

static int serve_echo(void *arg)
{
    struct rig rig = {.handler = rig_echo, .client = echo_client};
    (void)arg;
    ck_assert_int_eq(rig_run(&rig), 0);
    ck_assert_uint_eq(rig.stats.accepted, AT_ONCE * ROUNDS);
    ck_assert_uint_eq(rig.stats.closed, AT_ONCE * ROUNDS);
    ck_assert_uint_eq(rig.stats.failed, 0);
    ck_assert_uint_eq(rig.stats.timed_out + rig.stats.cancelled, 0);
    ck_assert_int_eq(rig.handled, AT_ONCE * ROUNDS);
    return 0;
}

OURO_TEST(connections_are_served_from_every_place)
{
    everywhere(serve_echo, NULL);
}

static int tell_peer(struct ouro_stream *stream, const struct ouro_serve_peer *peer, void *arg)
{
    struct rig *rig = arg;
    struct ouro_socket_addr known;
    ck_assert_int_eq(ouro_tcp_stream_peer_addr(stream, &known), 0);
    ck_assert_int_eq(ouro_socket_addr_equal(&known, &peer->addr), 1);
    ck_assert_ptr_eq(peer->server, rig->server);
    ck_assert_uint_lt(peer->worker, 2);
    ck_assert_int_eq(ouro_server_is_draining(peer->server), 0);
    ck_assert_str_eq(ouro_task_name(ouro_task_current()), "connection");
    char family = ouro_socket_addr_family(&peer->addr) == AF_INET ? '4' : '6';
    rig->handled++;
    return ouro_stream_write_all(stream, &family, 1, NULL);
}

/* Two addresses of the options, then the caller's listener. */
static void client_of_three(struct rig *rig)
{
    for (uint32_t i = 0; i < 3; i++) {
        struct ouro_socket_addr addr;
        char byte = 0;
        ck_assert_int_eq(ouro_server_addr(rig->server, i, &addr), 0);
        int family = ouro_socket_addr_family(&addr);
        int fd = ouro_test_connect(family, ouro_socket_addr_port(&addr));
        ouro_test_read_exactly(fd, &byte, 1);
        ck_assert_int_eq(byte, family == AF_INET ? '4' : '6');
        ck_assert_int_eq(byte, i == 1 ? '6' : '4');
        rig_await_end(fd);
    }
    struct ouro_socket_addr addr = {.length = 77};
    ck_assert_int_eq(ouro_server_addr(rig->server, 3, &addr), -EINVAL);
    ck_assert_uint_eq(addr.length, 77);
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
}

static int serve_three(void *arg)
{
    struct ouro_tcp_listener *listener = NULL;
    struct rig rig = {.handler = tell_peer, .client = client_of_three};
    (void)arg;
    ck_assert_int_eq(ouro_tcp_listener_bind(OURO_ADDRS("127.0.0.1:0"), NULL, &listener), 0);
    rig.options.addresses = "127.0.0.1:0,[::1]:0";
    rig.options.listeners = &listener;
    rig.options.listeners_count = 1;
    ck_assert_int_eq(rig_run(&rig), 0);
    ck_assert_int_eq(rig.handled, 3);
    return 0;
}

OURO_TEST(several_addresses_and_the_callers_listeners_are_served)
{
    ouro_test_need_family(AF_INET6);
    everywhere(serve_three, NULL);
}

static int fails(struct ouro_stream *stream, const struct ouro_serve_peer *peer, void *arg)
{
    (void)stream;
    (void)peer;
    (void)arg;
    return -EPROTO;
}

static void client_of_failures(struct rig *rig)
{
    for (int i = 0; i < 5; i++)
        rig_await_end(rig_connect(rig));
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
}

static int serve_failures(void *arg)
{
    struct rig rig = {.handler = fails, .client = client_of_failures};
    (void)arg;
    ck_assert_int_eq(rig_run(&rig), 0);
    ck_assert_uint_eq(rig.stats.failed, 5);
    ck_assert_uint_eq(rig.stats.closed, 5);
    return 0;
}

OURO_TEST(a_handler_that_fails_is_counted_and_ends_nothing)
{
    everywhere(serve_failures, NULL);
}

/* Shortages and a peer's error stand before a good connection. */
static void client_after_errors(struct rig *rig)
{
    const int errors[] = {-ENOSPC, -ENOBUFS, -ENOMEM, -EPERM};
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        ouro__fault_arm(OURO__FAULT_ACCEPT, 1, 1, errors[i]);
        int fd = rig_connect(rig); /* ends the accept that waits now, if the next fails */
        int second = rig_connect(rig);
        rig_exchange(fd, "x");
        rig_exchange(second, "y");
        ouro__fault_disarm_all();
        (void)close(fd);
        (void)close(second);
    }
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
}

static int serve_after_errors(void *arg)
{
    struct rig rig = {.handler = rig_echo, .client = client_after_errors};
    rig.options.listen = arg;
    ck_assert_int_eq(rig_run(&rig), 0);
    ck_assert_uint_eq(rig.stats.closed, 8);
    ck_assert_uint_eq(rig.stats.accept_pauses, 3);
    return 0;
}

OURO_TEST(errors_of_accepting_do_not_end_the_server)
{
    everywhere(serve_after_errors, NULL);
}

/* The caller's listener reports a shortage to its acceptors; a server's is as any other. */
static int serve_a_reporting_listener(void *arg)
{
    struct ouro_tcp_listener *listener = NULL;
    struct rig rig = {.handler = rig_echo, .client = client_after_errors};
    ck_assert_int_eq(ouro_tcp_listener_bind(OURO_ADDRS("127.0.0.1:0"), arg, &listener), 0);
    rig.options.listeners = &listener;
    rig.options.listeners_count = 1;
    ck_assert_int_eq(rig_run(&rig), 0);
    ck_assert_uint_eq(rig.stats.closed, 8);
    ck_assert_uint_eq(rig.stats.accept_pauses, 3);
    return 0;
}

OURO_TEST(a_shortage_that_a_listener_reports_does_not_end_the_server)
{
    struct ouro_tcp_listen_options options = OURO_TCP_LISTEN_OPTIONS_INIT;
    options.flags = OURO_LISTEN_F_REPORT_SHORTAGE;
    everywhere(serve_after_errors, &options);
    everywhere(serve_a_reporting_listener, &options);
}

static void client_of_a_broken_listener(struct rig *rig)
{
    int first = rig_connect(rig);
    int second = -1;
    rig_exchange(first, "x");
    ouro__fault_arm(OURO__FAULT_ACCEPT, 1, 1, -ENOTSOCK);
    int rc = rig_try_to_connect(rig, &second);
    ck_assert(rc == 0 || rc == -ECONNRESET); /* the server closes its listener at once */
    RIG_AWAIT(rig_is_draining, rig);
    ouro__fault_disarm_all();
    rig_exchange(first, "still served");
    (void)close(first);
    (void)close(second);
}

static int serve_with_a_broken_listener(void *arg)
{
    struct rig rig = {.handler = rig_echo, .client = client_of_a_broken_listener};
    (void)arg;
    ck_assert_int_eq(rig_run(&rig), -ENOTSOCK);
    return 0;
}

OURO_TEST(an_error_of_a_listener_drains_the_server_and_is_returned)
{
    everywhere(serve_with_a_broken_listener, NULL);
}

static int run_again(void *arg)
{
    struct rig rig = {.handler = rig_echo};
    (void)arg;
    rig_open(&rig);
    ck_assert_int_eq(ouro_server_is_draining(rig.server), 0);
    ck_assert_int_eq(ouro_server_stop(rig.server), 0);
    ck_assert_int_eq(ouro_server_run(rig.server), 0);
    ck_assert(rig_is_refused(&rig));
    ck_assert_int_eq(ouro_server_run(rig.server), -EALREADY);
    rig_close(&rig);
    rig_open(&rig); /* and one that never runs */
    ck_assert_int_eq(ouro_server_free(rig.server), 0);
    ck_assert(rig_is_refused(&rig));
    return 0;
}

OURO_TEST(a_server_runs_once)
{
    everywhere(run_again, NULL);
}

static void client_of_a_busy_server(struct rig *rig)
{
    int fd = rig_connect(rig);
    rig_exchange(fd, "x");
    ck_assert_int_eq(ouro_server_free(rig->server), -EBUSY);
    (void)close(fd);
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
}

static int free_too_early(void *arg)
{
    struct rig rig = {.handler = rig_echo, .client = client_of_a_busy_server};
    (void)arg;
    ck_assert_int_eq(rig_run(&rig), 0);
    return 0;
}

OURO_TEST(a_server_that_runs_is_not_freed)
{
    everywhere(free_too_early, NULL);
}

static int stop_at_once(struct ouro_stream *stream, const struct ouro_serve_peer *peer, void *arg)
{
    (void)arg;
    ck_assert_int_eq(ouro_server_stop(peer->server), 0);
    ck_assert_int_eq(ouro_stream_write_all(stream, "x", 1, NULL), 0);
    return 0;
}

static int connect_and_read(void *arg)
{
    const char *address = arg;
    struct ouro_stream *stream = NULL;
    char byte = 0;
    ck_assert_int_eq(ouro_connect(address, 10 * OURO_SECOND, &stream), 0);
    ck_assert_int_eq(ouro_stream_read(stream, &byte, 1), 1);
    ck_assert_int_eq(ouro_stream_close(stream), 0);
    return 0;
}

/* ouro_serve() itself: the port must be known before. */
static int serve_in_one_call(void *arg)
{
    struct ouro_serve_options options = OURO_SERVE_OPTIONS_INIT;
    struct ouro_task *task = NULL;
    struct ouro_tcp_listener *listener = NULL;
    struct ouro_socket_addr addr;
    char text[OURO_ADDR_TEXT_MAX];
    (void)arg;
    ck_assert_int_eq(ouro_serve(NULL, stop_at_once, NULL), -EINVAL);
    ck_assert_int_eq(ouro_tcp_listener_bind(OURO_ADDRS("127.0.0.1:0"), NULL, &listener), 0);
    ck_assert_int_eq(ouro_tcp_listener_local_addr(listener, &addr), 0);
    (void)ouro_socket_addr_format(&addr, text, sizeof(text));
    options.listeners = &listener;
    options.listeners_count = 1;
    ck_assert_int_eq(ouro_task_spawn(connect_and_read, text, &task), 0);
    ck_assert_int_eq(ouro_serve(&options, stop_at_once, NULL), 0);
    ck_assert_int_eq(ouro_task_join(task, NULL), 0);
    return 0;
}

OURO_TEST(one_call_serves)
{
    everywhere(serve_in_one_call, NULL);
}
