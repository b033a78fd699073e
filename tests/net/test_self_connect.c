/* SPDX-License-Identifier: MIT */
/*
 * Connecting to this machine's own ports while the kernel has one port to choose from, in a network
 * of the test's own: to nobody, which must be refused, and from one port to two listeners.
 */
#include "everywhere.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/port_range.h"
#include "ouro/error.h"
#include "ouro/tcp.h"
#include "support/child.h"
#include "support/netns.h"
#include "support/sockets.h"

/* The kernel then chooses this port for every connect. */
static void choose_only(uint16_t port)
{
    ouro_test_netns_choose_ports(port, port);
}

/* A new port each time: the one before may still be in TIME_WAIT. */
static uint16_t next_port(uint16_t base)
{
    static uint16_t offset;
    return (uint16_t)(base + offset++);
}

static int listening_at(const char *text, struct ouro_socket_addr *out_addr)
{
    ck_assert_int_eq(ouro_socket_addr_parse(text, out_addr), 0);
    return ouro_test_listen_at(AF_INET, 128, ouro_socket_addr_port(out_addr));
}

static int connect_to_nobody(void *arg)
{
    const char *hosts[] = {"127.0.0.1", "127.1.2.3", "[::1]",   "[::ffff:127.0.0.1]",
                           "0.0.0.0",   "[::]",      "[::1%lo]"};
    const uint16_t bases[] = {40000, 20000, 6142, 1100};
    (void)arg;
    for (size_t i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
        for (size_t j = 0; j < sizeof(hosts) / sizeof(hosts[0]); j++) {
            struct ouro_stream *stream = NULL;
            char text[OURO_TEST_ADDRESS_SIZE];
            uint16_t port = next_port(bases[i]);
            (void)snprintf(text, sizeof(text), "%s:%d", hosts[j], port);
            choose_only(port);
            int rc = ouro_tcp_stream_connect(OURO_ADDRS(text), &stream);
            ck_assert_msg(rc == -ECONNREFUSED, "%s: %s", text, ouro_err_name(rc));
            ck_assert_ptr_null(stream);
        }
    }
    return 0;
}

/* After many connects a worker knows which ports the kernel chooses, and looks only at those. */
static int connect_to_nobody_after_many(void *arg)
{
    struct ouro_tcp_connect_options options = OURO_TCP_CONNECT_OPTIONS_INIT;
    struct ouro_socket_addr target;
    struct ouro_socket_addr nobody;
    int listener = listening_at("127.0.0.1:7003", &target);
    uint16_t port = next_port(15000);
    (void)arg;
    choose_only(port);
    options.flags = OURO_CONNECT_F_RESET;
    for (int i = 0; i < 2 * OURO__PORT_RANGE_ASKED_MIN; i++) {
        struct ouro_stream *stream = NULL;
        int rc = ouro_tcp_stream_connect_with(OURO_ADDR_LIST(&target, 1), &options, &stream);
        ck_assert_msg(rc == 0, "connection %d: %s", i, ouro_err_name(rc));
        ck_assert_int_eq(ouro_stream_close(stream), 0);
    }
    nobody = target;
    ck_assert_int_eq(ouro_socket_addr_set_port(&nobody, port), 0);
    for (int i = 0; i < 3; i++) {
        struct ouro_stream *stream = NULL;
        int rc = ouro_tcp_stream_connect_with(OURO_ADDR_LIST(&nobody, 1), &options, &stream);
        ck_assert_msg(rc == -ECONNREFUSED, "%s", ouro_err_name(rc));
    }
    (void)close(listener);
    return 0;
}

/* Bound to the very address it connects to. */
static int bind_to_the_target(void *arg)
{
    struct ouro_tcp_connect_options options = OURO_TCP_CONNECT_OPTIONS_INIT;
    struct ouro_stream *stream = NULL;
    struct ouro_socket_addr addr;
    (void)arg;
    ck_assert_int_eq(ouro_socket_addr_parse("127.0.0.1:1", &addr), 0);
    ck_assert_int_eq(ouro_socket_addr_set_port(&addr, next_port(9000)), 0);
    options.bind = &addr;
    ck_assert_int_eq(ouro_tcp_stream_connect_with(OURO_ADDR_LIST(&addr, 1), &options, &stream),
                     -ECONNREFUSED);
    return 0;
}

/*
 * Bound to an address and no port, one port serves a connection to each listener: it is chosen at
 * the connect, when the four of address and port are known (IP_BIND_ADDRESS_NO_PORT).
 */
static int share_a_port(void *arg)
{
    struct ouro_tcp_connect_options options = OURO_TCP_CONNECT_OPTIONS_INIT;
    struct ouro_socket_addr target[2];
    struct ouro_socket_addr from;
    struct ouro_socket_addr local;
    struct ouro_stream *stream[2] = {NULL, NULL};
    int listener[2] = {listening_at("127.0.0.1:7001", &target[0]),
                       listening_at("127.0.0.1:7002", &target[1])};
    uint16_t port = next_port(12000);
    (void)arg;
    choose_only(port);
    ck_assert_int_eq(ouro_socket_addr_parse("127.0.0.1:0", &from), 0);
    options.bind = &from;
    options.flags = OURO_CONNECT_F_RESET;
    for (int i = 0; i < 2; i++) {
        int rc = ouro_tcp_stream_connect_with(OURO_ADDR_LIST(&target[i], 1), &options, &stream[i]);
        ck_assert_msg(rc == 0, "connection %d: %s", i, ouro_err_name(rc));
        ck_assert_int_eq(ouro_tcp_stream_local_addr(stream[i], &local), 0);
        ck_assert_uint_eq(ouro_socket_addr_port(&local), port);
    }
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(ouro_stream_close(stream[i]), 0);
        (void)close(listener[i]);
    }
    return 0;
}

static int in_a_network_of_its_own(void *arg)
{
    ouro_task_function *const *body = arg;
    ouro_test_netns_enter();
    everywhere(*body, NULL);
    return 0;
}

static void isolated(ouro_task_function *body)
{
    ouro_test_child_must_pass(in_a_network_of_its_own, &body);
}

OURO_TEST(a_connect_to_nobody_is_refused_at_every_port_and_address)
{
    isolated(connect_to_nobody);
}

OURO_TEST(a_connect_to_nobody_is_refused_after_many_that_were_not)
{
    isolated(connect_to_nobody_after_many);
}

OURO_TEST(a_connect_to_the_address_it_is_bound_to_is_refused)
{
    isolated(bind_to_the_target);
}

OURO_TEST(a_bound_address_takes_no_port_before_the_connect)
{
    isolated(share_a_port);
}
