/* SPDX-License-Identifier: MIT */
/*
 * Misuse of UDP sockets.
 *
 * Owns:    nothing.
 * Threads: the test's and the runtimes'.
 * Always:  what a refused call would have returned in an argument is untouched.
 */
#include "misuse/misuse.h"

#include <string.h>

static struct ouro_udp_socket *udp(void)
{
    struct ouro_udp_socket *socket = NULL;
    ck_assert_int_eq(ouro_udp_socket_bind(OURO_ADDRS("127.0.0.1:0"), NULL, &socket), 0);
    return socket;
}

/* An address of which nothing makes sense. */
static struct ouro_socket_addr garbage(void)
{
    struct ouro_socket_addr addr;
    memset(&addr, 0xee, sizeof(addr));
    return addr;
}

MISUSE(ouro_udp_socket_bind)
{
    struct ouro_udp_options options = OURO_UDP_OPTIONS_INIT;
    const struct ouro_to_socket_addrs no_kind = {.kind = (enum ouro_addrs_kind)77};
    struct ouro_udp_socket *socket = NULL;
    IS_EINVAL(ouro_udp_socket_bind(NULL, NULL, &socket));
    IS_EINVAL(ouro_udp_socket_bind(&no_kind, NULL, &socket));
    IS_EINVAL(ouro_udp_socket_bind(OURO_ADDRS("127.0.0.1:0"), NULL, NULL));
    ck_assert_int_eq(ouro_udp_socket_bind(OURO_ADDR_LIST(NULL, 0), NULL, &socket),
                     -OURO_ENOADDRESS);
    options.size = 5;
    IS_EINVAL(ouro_udp_socket_bind(OURO_ADDRS("127.0.0.1:0"), &options, &socket));
    options = (struct ouro_udp_options)OURO_UDP_OPTIONS_INIT;
    options.flags = UINT32_MAX;
    IS_EINVAL(ouro_udp_socket_bind(OURO_ADDRS("127.0.0.1:0"), &options, &socket));
    options = (struct ouro_udp_options)OURO_UDP_OPTIONS_INIT;
    options.send_buffer_bytes = -1;
    IS_EINVAL(ouro_udp_socket_bind(OURO_ADDRS("127.0.0.1:0"), &options, &socket));
    options = (struct ouro_udp_options)OURO_UDP_OPTIONS_INIT;
    options.receive_buffer_bytes = -1;
    IS_EINVAL(ouro_udp_socket_bind(OURO_ADDRS("127.0.0.1:0"), &options, &socket));
    ck_assert_ptr_null(socket);
}

MISUSE(ouro_udp_socket_connect)
{
    struct ouro_udp_socket *socket = udp();
    IS_EINVAL(ouro_udp_socket_connect(NULL, OURO_ADDRS("127.0.0.1:1")));
    IS_EINVAL(ouro_udp_socket_connect(socket, NULL));
    ck_assert_int_eq(ouro_udp_socket_connect(socket, OURO_ADDRS("unix:/nowhere")), -EAFNOSUPPORT);
    ck_assert_int_eq(ouro_udp_socket_connect(socket, OURO_ADDRS("nonsense")), -OURO_EADDRSYNTAX);
    ck_assert_int_eq(ouro_udp_socket_close(socket), 0);
}

MISUSE(ouro_udp_socket_local_addr)
{
    struct ouro_udp_socket *socket = udp();
    struct ouro_socket_addr addr;
    IS_EINVAL(ouro_udp_socket_local_addr(NULL, &addr));
    IS_EINVAL(ouro_udp_socket_local_addr(socket, NULL));
    ck_assert_int_eq(ouro_udp_socket_close(socket), 0);
}

MISUSE(ouro_udp_socket_peer_addr)
{
    struct ouro_udp_socket *socket = udp();
    struct ouro_socket_addr addr = {.length = 77};
    IS_EINVAL(ouro_udp_socket_peer_addr(NULL, &addr));
    IS_EINVAL(ouro_udp_socket_peer_addr(socket, NULL));
    ck_assert_int_eq(ouro_udp_socket_peer_addr(socket, &addr), -ENOTCONN);
    ck_assert_uint_eq(addr.length, 77);
    ck_assert_int_eq(ouro_udp_socket_close(socket), 0);
}

MISUSE(ouro_udp_socket_fd)
{
    IS_EINVAL(ouro_udp_socket_fd(NULL));
}

MISUSE(ouro_udp_socket_send)
{
    struct ouro_udp_socket *socket = udp();
    IS_EINVAL(ouro_udp_socket_send(NULL, "x", 1));
    IS_EINVAL(ouro_udp_socket_send(socket, NULL, 1));
    ck_assert_int_eq(ouro_udp_socket_send(socket, "x", 1), -EDESTADDRREQ);
    ck_assert_int_eq(ouro_udp_socket_close(socket), 0);
}

MISUSE(ouro_udp_socket_send_to)
{
    struct ouro_udp_socket *socket = udp();
    const struct ouro_socket_addr bad = garbage();
    struct ouro_socket_addr other;
    ck_assert_int_eq(ouro_socket_addr_parse("unix:/nowhere", &other), 0);
    IS_EINVAL(ouro_udp_socket_send_to(NULL, "x", 1, &other));
    IS_EINVAL(ouro_udp_socket_send_to(socket, "x", 1, NULL));
    IS_EINVAL(ouro_udp_socket_send_to(socket, "x", 1, &bad));
    IS_EINVAL(ouro_udp_socket_send_to(socket, NULL, 1, &other));
    ck_assert_int_eq(ouro_udp_socket_send_to(socket, "x", 1, &other), -EAFNOSUPPORT);
    ck_assert_int_eq(ouro_udp_socket_close(socket), 0);
}

MISUSE(ouro_udp_socket_recv)
{
    struct ouro_udp_socket *socket = udp();
    char byte = 0;
    IS_EINVAL(ouro_udp_socket_recv(NULL, &byte, 1));
    IS_EINVAL(ouro_udp_socket_recv(socket, NULL, 1));
    ck_assert_int_eq(ouro_udp_socket_close(socket), 0);
}

MISUSE(ouro_udp_socket_recv_from)
{
    struct ouro_udp_socket *socket = udp();
    struct ouro_socket_addr addr;
    char byte = 0;
    IS_EINVAL(ouro_udp_socket_recv_from(NULL, &byte, 1, &addr));
    IS_EINVAL(ouro_udp_socket_recv_from(socket, NULL, 1, &addr));
    IS_EINVAL(ouro_udp_socket_recv_from(socket, &byte, 1, NULL));
    ck_assert_int_eq(ouro_udp_socket_close(socket), 0);
}

MISUSE(ouro_udp_socket_recv_batch)
{
    struct ouro_udp_socket *socket = udp();
    char byte = 0;
    struct ouro_udp_message message = {.buffer = &byte, .buffer_bytes = 1};
    IS_EINVAL(ouro_udp_socket_recv_batch(NULL, &message, 1));
    IS_EINVAL(ouro_udp_socket_recv_batch(socket, NULL, 1));
    IS_EINVAL(ouro_udp_socket_recv_batch(socket, &message, 0));
    message.buffer = NULL;
    IS_EINVAL(ouro_udp_socket_recv_batch(socket, &message, 1));
    ck_assert_int_eq(ouro_udp_socket_close(socket), 0);
}

MISUSE(ouro_udp_socket_send_batch)
{
    struct ouro_udp_socket *socket = udp();
    char byte = 0;
    const struct ouro_udp_message good = {.buffer = &byte, .length = 1};
    struct ouro_udp_message message = good;
    IS_EINVAL(ouro_udp_socket_send_batch(NULL, &message, 1));
    IS_EINVAL(ouro_udp_socket_send_batch(socket, NULL, 1));
    ck_assert_int_eq(ouro_udp_socket_send_batch(socket, NULL, 0), 0);
    message.buffer = NULL;
    IS_EINVAL(ouro_udp_socket_send_batch(socket, &message, 1));
    message = good;
    message.flags = 1u << 31;
    IS_EINVAL(ouro_udp_socket_send_batch(socket, &message, 1));
    message = good;
    message.tos = 256;
    IS_EINVAL(ouro_udp_socket_send_batch(socket, &message, 1));
    message = good;
    message.segment_size = UINT32_MAX;
    IS_EINVAL(ouro_udp_socket_send_batch(socket, &message, 1));
    message = good;
    message.interface_index = UINT32_MAX;
    IS_EINVAL(ouro_udp_socket_send_batch(socket, &message, 1));
    message = good;
    message.peer = garbage();
    ck_assert_int_eq(ouro_udp_socket_send_batch(socket, &message, 1), -EAFNOSUPPORT);
    message = good;
    message.local = garbage();
    ck_assert_int_eq(ouro_udp_socket_send_batch(socket, &message, 1), -EAFNOSUPPORT);
    message = good;
    message.flags = OURO_UDP_MESSAGE_F_TRUNCATED;
    ck_assert_int_eq(ouro_udp_socket_send_batch(socket, &message, 1), -EMSGSIZE);
    ck_assert_int_eq(ouro_udp_socket_close(socket), 0);
}

MISUSE(ouro_udp_socket_recv_error)
{
    struct ouro_udp_socket *socket = udp();
    struct ouro_udp_error error = {.error = 77};
    IS_EINVAL(ouro_udp_socket_recv_error(NULL, &error));
    IS_EINVAL(ouro_udp_socket_recv_error(socket, NULL));
    ck_assert_int_eq(ouro_udp_socket_recv_error(socket, &error), -EOPNOTSUPP);
    ck_assert_int_eq(error.error, 77);
    ck_assert_int_eq(ouro_udp_socket_close(socket), 0);
}

MISUSE(ouro_udp_socket_close)
{
    ck_assert_int_eq(ouro_udp_socket_close(NULL), 0);
}

OURO_TEST(every_misuse_is_an_error)
{
    misuse_everywhere();
}
