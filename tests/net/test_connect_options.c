/* SPDX-License-Identifier: MIT */
/*
 * The options of a connect, seen on the socket that comes out and on the other end.
 */
#include "everywhere.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ouro/error.h"
#include "ouro/tcp.h"
#include "support/sockets.h"

#ifndef IP_BIND_ADDRESS_NO_PORT /* the system's number, which older headers lack */
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

struct target {
    int listener;
    struct ouro_socket_addr addr;
    struct ouro_tcp_connect_options options;
};

static struct ouro_socket_addr parsed(const char *text)
{
    struct ouro_socket_addr addr;
    ck_assert_int_eq(ouro_socket_addr_parse(text, &addr), 0);
    return addr;
}

static struct target listening(void)
{
    struct target target = {.options = OURO_TCP_CONNECT_OPTIONS_INIT};
    uint16_t port = 0;
    target.listener = ouro_test_listen(AF_INET, 64, &port);
    target.addr = parsed("127.0.0.1:1");
    ck_assert_int_eq(ouro_socket_addr_set_port(&target.addr, port), 0);
    return target;
}

static int connect_with(struct target *target, struct ouro_stream **out_stream)
{
    return ouro_tcp_stream_connect_with(OURO_ADDR_LIST(&target->addr, 1), &target->options,
                                        out_stream);
}

static int option(const struct ouro_stream *stream, int level, int name)
{
    int value = -1;
    socklen_t length = sizeof(value);
    ck_assert_int_eq(getsockopt(ouro_stream_fd(stream), level, name, &value, &length), 0);
    return value;
}

static int socket_options(void *arg)
{
    struct target *target = arg;
    struct ouro_stream *plain = NULL;
    struct ouro_stream *set = NULL;

    target->options = (struct ouro_tcp_connect_options)OURO_TCP_CONNECT_OPTIONS_INIT;
    ck_assert_int_eq(connect_with(target, &plain), 0);
    ck_assert_int_eq(option(plain, IPPROTO_TCP, TCP_NODELAY), 0);
    ck_assert_int_eq(option(plain, SOL_SOCKET, SO_KEEPALIVE), 0);
    target->options.flags = OURO_CONNECT_F_NODELAY | OURO_CONNECT_F_KEEPALIVE;
    target->options.send_buffer_bytes = 20000;
    target->options.receive_buffer_bytes = 30000;
    ck_assert_int_eq(connect_with(target, &set), 0);
    ck_assert_int_eq(option(set, IPPROTO_TCP, TCP_NODELAY), 1);
    ck_assert_int_eq(option(set, SOL_SOCKET, SO_KEEPALIVE), 1);
    ck_assert_int_eq(option(set, SOL_SOCKET, SO_SNDBUF), 2 * 20000); /* the kernel doubles them */
    ck_assert_int_eq(option(set, SOL_SOCKET, SO_RCVBUF), 2 * 30000);
    (void)close(ouro_test_accept(target->listener));
    (void)close(ouro_test_accept(target->listener));
    ck_assert_int_eq(ouro_stream_close(plain), 0);
    ck_assert_int_eq(ouro_stream_close(set), 0);
    return 0;
}

OURO_TEST(socket_options_are_set)
{
    struct target target = listening();
    everywhere(socket_options, &target);
    (void)close(target.listener);
}

static int reset_on_close(void *arg)
{
    struct target *target = arg;
    struct ouro_stream *stream = NULL;
    char byte = 0;
    target->options.flags = OURO_CONNECT_F_RESET;
    ck_assert_int_eq(connect_with(target, &stream), 0);
    int accepted = ouro_test_accept(target->listener);
    ck_assert_int_eq(ouro_stream_close(stream), 0);
    ck_assert_int_eq(recv(accepted, &byte, 1, 0), -1);
    ck_assert_int_eq(errno, ECONNRESET);
    (void)close(accepted);
    return 0;
}

OURO_TEST(reset_leaves_no_time_wait)
{
    struct target target = listening();
    everywhere(reset_on_close, &target);
    (void)close(target.listener);
}

static int bind_to_another_loopback(void *arg)
{
    struct target *target = arg;
    struct ouro_socket_addr from = parsed("127.0.0.2:0");
    struct ouro_socket_addr local;
    struct ouro_stream *stream = NULL;
    target->options = (struct ouro_tcp_connect_options)OURO_TCP_CONNECT_OPTIONS_INIT;
    target->options.bind = &from;
    ck_assert_int_eq(connect_with(target, &stream), 0);
    ck_assert_int_eq(ouro_tcp_stream_local_addr(stream, &local), 0);
    uint16_t port = ouro_socket_addr_port(&local);
    ck_assert_uint_ne(port, 0);
    /* The port was chosen by the connect: binding took none away from other destinations. */
    ck_assert_int_eq(option(stream, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT), 1);
    ck_assert_int_eq(ouro_socket_addr_set_port(&local, 0), 0);
    ck_assert(ouro_socket_addr_equal(&local, &from));
    int accepted = ouro_test_accept(target->listener);
    ck_assert_uint_eq(ouro_test_peer_port(accepted), port);
    ck_assert_int_eq(ouro_stream_close(stream), 0);
    (void)close(accepted);
    return 0;
}

OURO_TEST(the_local_address_can_be_chosen)
{
    struct target target = listening();
    everywhere(bind_to_another_loopback, &target);
    (void)close(target.listener);
}

static int bind_wrongly(void *arg)
{
    struct target *target = arg;
    struct ouro_socket_addr taken = target->addr;
    struct ouro_socket_addr foreign = parsed("192.0.2.1:0");
    struct ouro_socket_addr other_family = parsed("[::1]:0");
    struct ouro_socket_addr empty = {.length = 0};
    struct ouro_stream *stream = NULL;
    target->options = (struct ouro_tcp_connect_options)OURO_TCP_CONNECT_OPTIONS_INIT;
    target->options.bind = &taken;
    ck_assert_int_eq(connect_with(target, &stream), -EADDRINUSE);
    target->options.bind = &foreign;
    ck_assert_int_eq(connect_with(target, &stream), -EADDRNOTAVAIL);
    target->options.bind = &other_family;
    ck_assert_int_eq(connect_with(target, &stream), -EAFNOSUPPORT);
    target->options.bind = &empty;
    ck_assert_int_eq(connect_with(target, &stream), -EINVAL);
    ck_assert_ptr_null(stream);
    return 0;
}

OURO_TEST(a_local_address_that_cannot_be_had_is_an_error)
{
    struct target target = listening();
    everywhere(bind_wrongly, &target);
    (void)close(target.listener);
}

static void refuses(struct target *target, size_t size, uint32_t flags, int buffer_bytes,
                    int64_t stagger_ns)
{
    struct ouro_stream *stream = NULL;
    target->options = (struct ouro_tcp_connect_options)OURO_TCP_CONNECT_OPTIONS_INIT;
    target->options.size = size;
    target->options.flags = flags;
    target->options.send_buffer_bytes = buffer_bytes;
    target->options.stagger_ns = stagger_ns;
    ck_assert_int_eq(connect_with(target, &stream), -EINVAL);
    ck_assert_ptr_null(stream);
}

static int unknown_options(void *arg)
{
    struct target *target = arg;
    size_t size = sizeof(target->options);
    refuses(target, 0, 0, 0, 0);
    refuses(target, size + 4, 0, 0, 0);
    refuses(target, size, 1u << 31, 0, 0);
    refuses(target, size, 0, -1, 0);
    refuses(target, size, 0, 0, -1);
    return 0;
}

OURO_TEST(unknown_options_are_errors)
{
    struct target target = listening();
    everywhere(unknown_options, &target);
    ck_assert_int_eq(ouro_test_poll(target.listener, 1, 0), 0);
    (void)close(target.listener);
}

static int null_options(void *arg)
{
    struct target *target = arg;
    struct ouro_stream *stream = NULL;
    ck_assert_int_eq(ouro_tcp_stream_connect_with(OURO_ADDR_LIST(&target->addr, 1), NULL, &stream),
                     0);
    ck_assert_int_eq(ouro_stream_close(stream), 0);
    (void)close(ouro_test_accept(target->listener));
    return 0;
}

OURO_TEST(no_options_are_the_defaults)
{
    struct target target = listening();
    everywhere(null_options, &target);
    (void)close(target.listener);
}
