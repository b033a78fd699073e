/* SPDX-License-Identifier: MIT */
/*
 * Misuse of Unix sockets.
 *
 * Owns:    nothing.
 * Threads: the test's and the runtimes'.
 * Always:  what a refused call would have returned in an argument is untouched.
 */
#include "misuse/misuse.h"

#include <string.h>

static struct ouro_unix_datagram *datagram(void)
{
    struct ouro_unix_datagram *socket = NULL;
    ck_assert_int_eq(ouro_unix_datagram_bind(NULL, NULL, &socket), 0);
    return socket;
}

static void end(struct ouro_unix_datagram *socket)
{
    ck_assert_int_eq(ouro_unix_datagram_close(socket), 0);
}

static struct ouro_socket_addr parsed(const char *text)
{
    struct ouro_socket_addr addr;
    ck_assert_int_eq(ouro_socket_addr_parse(text, &addr), 0);
    return addr;
}

/* An address of which nothing makes sense. */
static struct ouro_socket_addr garbage(void)
{
    struct ouro_socket_addr addr;
    memset(&addr, 0xee, sizeof(addr));
    return addr;
}

/* A pipe's end: a stream of another kind. */
static struct ouro_stream *other_kind(void)
{
    struct ouro_stream *reader = NULL;
    struct ouro_stream *writer = NULL;
    ck_assert_int_eq(ouro_pipe(&reader, &writer), 0);
    ck_assert_int_eq(ouro_stream_close(reader), 0);
    return writer;
}

MISUSE(ouro_unix_stream_pair)
{
    struct ouro_stream *stream = NULL;
    IS_EINVAL(ouro_unix_stream_pair(NULL, &stream));
    IS_EINVAL(ouro_unix_stream_pair(&stream, NULL));
    ck_assert_ptr_null(stream);
}

MISUSE(ouro_unix_stream_peer_credentials)
{
    struct ouro_unix_credentials credentials = {.pid = 77};
    struct ouro_stream *other = other_kind();
    IS_EINVAL(ouro_unix_stream_peer_credentials(NULL, &credentials));
    IS_EINVAL(ouro_unix_stream_peer_credentials(other, NULL));
    ck_assert_int_eq(ouro_unix_stream_peer_credentials(other, &credentials), -EOPNOTSUPP);
    ck_assert_int_eq(credentials.pid, 77);
    ck_assert_int_eq(ouro_stream_close(other), 0);
}

MISUSE(ouro_unix_stream_send_fds)
{
    struct ouro_stream *other = other_kind();
    struct ouro_stream *left = NULL;
    struct ouro_stream *right = NULL;
    int fd = -1;
    ck_assert_int_eq(ouro_unix_stream_pair(&left, &right), 0);
    IS_EINVAL(ouro_unix_stream_send_fds(NULL, "x", 1, &fd, 1));
    IS_EINVAL(ouro_unix_stream_send_fds(left, NULL, 1, &fd, 1));
    IS_EINVAL(ouro_unix_stream_send_fds(left, "x", 0, &fd, 1));
    IS_EINVAL(ouro_unix_stream_send_fds(left, "x", 1, NULL, 1));
    IS_EINVAL(ouro_unix_stream_send_fds(left, "x", 1, &fd, OURO_UNIX_FDS_MAX + 1));
    ck_assert_int_eq(ouro_unix_stream_send_fds(left, "x", 1, &fd, 1), -EBADF);
    ck_assert_int_eq(ouro_unix_stream_send_fds(other, "x", 1, &fd, 1), -EOPNOTSUPP);
    ck_assert_int_eq(ouro_stream_close(left), 0);
    ck_assert_int_eq(ouro_stream_close(right), 0);
    ck_assert_int_eq(ouro_stream_close(other), 0);
}

MISUSE(ouro_unix_stream_recv_fds)
{
    struct ouro_stream *other = other_kind();
    struct ouro_stream *left = NULL;
    struct ouro_stream *right = NULL;
    char byte = 0;
    struct ouro_unix_fds fds = {.room = 0};
    struct ouro_unix_fds nowhere = {.room = 1};
    ck_assert_int_eq(ouro_unix_stream_pair(&left, &right), 0);
    IS_EINVAL(ouro_unix_stream_recv_fds(NULL, &byte, 1, &fds));
    IS_EINVAL(ouro_unix_stream_recv_fds(left, NULL, 1, &fds));
    IS_EINVAL(ouro_unix_stream_recv_fds(left, &byte, 0, &fds));
    IS_EINVAL(ouro_unix_stream_recv_fds(left, &byte, 1, NULL));
    IS_EINVAL(ouro_unix_stream_recv_fds(left, &byte, 1, &nowhere));
    ck_assert_int_eq(ouro_unix_stream_recv_fds(other, &byte, 1, &fds), -EOPNOTSUPP);
    ck_assert_int_eq(ouro_stream_close(left), 0);
    ck_assert_int_eq(ouro_stream_close(right), 0);
    ck_assert_int_eq(ouro_stream_close(other), 0);
}

MISUSE(ouro_unix_datagram_bind)
{
    struct ouro_unix_bind_options options = OURO_UNIX_BIND_OPTIONS_INIT;
    struct ouro_unix_datagram *socket = NULL;
    struct ouro_socket_addr tcp = parsed("127.0.0.1:1");
    const struct ouro_socket_addr bad = garbage();
    IS_EINVAL(ouro_unix_datagram_bind(NULL, NULL, NULL));
    IS_EINVAL(ouro_unix_datagram_bind(&bad, NULL, &socket));
    ck_assert_int_eq(ouro_unix_datagram_bind(&tcp, NULL, &socket), -EAFNOSUPPORT);
    options.size = 5;
    IS_EINVAL(ouro_unix_datagram_bind(NULL, &options, &socket));
    options = (struct ouro_unix_bind_options)OURO_UNIX_BIND_OPTIONS_INIT;
    options.flags = UINT32_MAX;
    IS_EINVAL(ouro_unix_datagram_bind(NULL, &options, &socket));
    options = (struct ouro_unix_bind_options)OURO_UNIX_BIND_OPTIONS_INIT;
    options.mode = UINT32_MAX;
    IS_EINVAL(ouro_unix_datagram_bind(NULL, &options, &socket));
    options = (struct ouro_unix_bind_options)OURO_UNIX_BIND_OPTIONS_INIT;
    options.send_buffer_bytes = -1;
    IS_EINVAL(ouro_unix_datagram_bind(NULL, &options, &socket));
    options = (struct ouro_unix_bind_options)OURO_UNIX_BIND_OPTIONS_INIT;
    options.receive_buffer_bytes = -1;
    IS_EINVAL(ouro_unix_datagram_bind(NULL, &options, &socket));
    ck_assert_ptr_null(socket);
}

MISUSE(ouro_unix_datagram_connect)
{
    struct ouro_unix_datagram *socket = datagram();
    struct ouro_socket_addr tcp = parsed("127.0.0.1:1");
    const struct ouro_socket_addr bad = garbage();
    IS_EINVAL(ouro_unix_datagram_connect(NULL, &tcp));
    IS_EINVAL(ouro_unix_datagram_connect(socket, NULL));
    IS_EINVAL(ouro_unix_datagram_connect(socket, &bad));
    ck_assert_int_eq(ouro_unix_datagram_connect(socket, &tcp), -EAFNOSUPPORT);
    end(socket);
}

MISUSE(ouro_unix_datagram_pair)
{
    struct ouro_unix_datagram *socket = NULL;
    IS_EINVAL(ouro_unix_datagram_pair(OURO_UNIX_DATAGRAM, NULL, &socket));
    IS_EINVAL(ouro_unix_datagram_pair(OURO_UNIX_DATAGRAM, &socket, NULL));
    IS_EINVAL(ouro_unix_datagram_pair((enum ouro_unix_type)77, &socket, &socket));
    ck_assert_ptr_null(socket);
}

MISUSE(ouro_unix_seqpacket_connect)
{
    struct ouro_unix_datagram *socket = NULL;
    struct ouro_socket_addr addr = parsed("unix:@nobody-listens-here");
    struct ouro_socket_addr tcp = parsed("127.0.0.1:1");
    const struct ouro_socket_addr bad = garbage();
    IS_EINVAL(ouro_unix_seqpacket_connect(NULL, &socket));
    IS_EINVAL(ouro_unix_seqpacket_connect(&bad, &socket));
    IS_EINVAL(ouro_unix_seqpacket_connect(&addr, NULL));
    ck_assert_int_eq(ouro_unix_seqpacket_connect(&tcp, &socket), -EAFNOSUPPORT);
    ck_assert_int_eq(ouro_unix_seqpacket_connect(&addr, &socket), -ECONNREFUSED);
    ck_assert_ptr_null(socket);
}

MISUSE(ouro_unix_datagram_local_addr)
{
    struct ouro_unix_datagram *socket = datagram();
    struct ouro_socket_addr addr;
    IS_EINVAL(ouro_unix_datagram_local_addr(NULL, &addr));
    IS_EINVAL(ouro_unix_datagram_local_addr(socket, NULL));
    end(socket);
}

MISUSE(ouro_unix_datagram_peer_credentials)
{
    struct ouro_unix_datagram *socket = datagram();
    struct ouro_unix_credentials credentials;
    IS_EINVAL(ouro_unix_datagram_peer_credentials(NULL, &credentials));
    IS_EINVAL(ouro_unix_datagram_peer_credentials(socket, NULL));
    ck_assert_int_eq(ouro_unix_datagram_peer_credentials(socket, &credentials), -ENOTCONN);
    end(socket);
}

MISUSE(ouro_unix_datagram_fd)
{
    IS_EINVAL(ouro_unix_datagram_fd(NULL));
}

MISUSE(ouro_unix_datagram_send)
{
    struct ouro_unix_datagram *socket = datagram();
    IS_EINVAL(ouro_unix_datagram_send(NULL, "x", 1));
    IS_EINVAL(ouro_unix_datagram_send(socket, NULL, 1));
    ck_assert_int_eq(ouro_unix_datagram_send(socket, "x", 1), -ENOTCONN);
    end(socket);
}

MISUSE(ouro_unix_datagram_send_to)
{
    struct ouro_unix_datagram *socket = datagram();
    struct ouro_socket_addr tcp = parsed("127.0.0.1:1");
    const struct ouro_socket_addr bad = garbage();
    IS_EINVAL(ouro_unix_datagram_send_to(NULL, "x", 1, &tcp));
    IS_EINVAL(ouro_unix_datagram_send_to(socket, NULL, 1, &tcp));
    IS_EINVAL(ouro_unix_datagram_send_to(socket, "x", 1, NULL));
    IS_EINVAL(ouro_unix_datagram_send_to(socket, "x", 1, &bad));
    ck_assert_int_eq(ouro_unix_datagram_send_to(socket, "x", 1, &tcp), -EAFNOSUPPORT);
    end(socket);
}

MISUSE(ouro_unix_datagram_send_fds)
{
    struct ouro_unix_datagram *socket = datagram();
    struct ouro_socket_addr tcp = parsed("127.0.0.1:1");
    int fd = 0;
    IS_EINVAL(ouro_unix_datagram_send_fds(NULL, "x", 1, &fd, 1, NULL));
    IS_EINVAL(ouro_unix_datagram_send_fds(socket, NULL, 1, &fd, 1, NULL));
    IS_EINVAL(ouro_unix_datagram_send_fds(socket, "x", 1, NULL, 1, NULL));
    IS_EINVAL(ouro_unix_datagram_send_fds(socket, "x", 1, &fd, OURO_UNIX_FDS_MAX + 1, NULL));
    ck_assert_int_eq(ouro_unix_datagram_send_fds(socket, "x", 1, &fd, 1, &tcp), -EAFNOSUPPORT);
    ck_assert_int_eq(ouro_unix_datagram_send_fds(socket, "x", 1, &fd, 1, NULL), -ENOTCONN);
    end(socket);
}

MISUSE(ouro_unix_datagram_recv)
{
    struct ouro_unix_datagram *socket = datagram();
    char byte = 0;
    IS_EINVAL(ouro_unix_datagram_recv(NULL, &byte, 1));
    IS_EINVAL(ouro_unix_datagram_recv(socket, NULL, 1));
    end(socket);
}

MISUSE(ouro_unix_datagram_recv_from)
{
    struct ouro_unix_datagram *socket = datagram();
    struct ouro_socket_addr addr;
    char byte = 0;
    IS_EINVAL(ouro_unix_datagram_recv_from(NULL, &byte, 1, &addr));
    IS_EINVAL(ouro_unix_datagram_recv_from(socket, NULL, 1, &addr));
    IS_EINVAL(ouro_unix_datagram_recv_from(socket, &byte, 1, NULL));
    end(socket);
}

MISUSE(ouro_unix_datagram_recv_fds)
{
    struct ouro_unix_datagram *socket = datagram();
    struct ouro_unix_fds fds = {.room = 0};
    struct ouro_unix_fds nowhere = {.room = 1};
    char byte = 0;
    IS_EINVAL(ouro_unix_datagram_recv_fds(NULL, &byte, 1, &fds, NULL));
    IS_EINVAL(ouro_unix_datagram_recv_fds(socket, NULL, 1, &fds, NULL));
    IS_EINVAL(ouro_unix_datagram_recv_fds(socket, &byte, 1, NULL, NULL));
    IS_EINVAL(ouro_unix_datagram_recv_fds(socket, &byte, 1, &nowhere, NULL));
    end(socket);
}

MISUSE(ouro_unix_datagram_shutdown)
{
    struct ouro_unix_datagram *socket = datagram();
    IS_EINVAL(ouro_unix_datagram_shutdown(NULL, OURO_SHUTDOWN_BOTH));
    IS_EINVAL(ouro_unix_datagram_shutdown(socket, (enum ouro_shutdown)77));
    IS_EINVAL(ouro_unix_datagram_shutdown(socket, (enum ouro_shutdown) - 1));
    end(socket);
}

MISUSE(ouro_unix_datagram_close)
{
    ck_assert_int_eq(ouro_unix_datagram_close(NULL), 0);
}

MISUSE(ouro_unix_listener_bind)
{
    struct ouro_unix_listen_options options = OURO_UNIX_LISTEN_OPTIONS_INIT;
    struct ouro_unix_listener *listener = NULL;
    struct ouro_socket_addr tcp = parsed("127.0.0.1:1");
    IS_EINVAL(ouro_unix_listener_bind(NULL, NULL, NULL));
    ck_assert_int_eq(ouro_unix_listener_bind(&tcp, NULL, &listener), -EAFNOSUPPORT);
    options.size = 5;
    IS_EINVAL(ouro_unix_listener_bind(NULL, &options, &listener));
    options = (struct ouro_unix_listen_options)OURO_UNIX_LISTEN_OPTIONS_INIT;
    options.flags = UINT32_MAX;
    IS_EINVAL(ouro_unix_listener_bind(NULL, &options, &listener));
    options = (struct ouro_unix_listen_options)OURO_UNIX_LISTEN_OPTIONS_INIT;
    options.mode = 01000;
    IS_EINVAL(ouro_unix_listener_bind(NULL, &options, &listener));
    options = (struct ouro_unix_listen_options)OURO_UNIX_LISTEN_OPTIONS_INIT;
    options.backlog = -1;
    IS_EINVAL(ouro_unix_listener_bind(NULL, &options, &listener));
    ck_assert_ptr_null(listener);
}

MISUSE(ouro_unix_listener_accept)
{
    struct ouro_unix_listener *listener = NULL;
    struct ouro_stream *stream = NULL;
    ck_assert_int_eq(ouro_unix_listener_bind(NULL, NULL, &listener), 0);
    IS_EINVAL(ouro_unix_listener_accept(NULL, &stream));
    IS_EINVAL(ouro_unix_listener_accept(listener, NULL));
    ck_assert_int_eq(ouro_unix_listener_close(listener), 0);
}

MISUSE(ouro_unix_listener_accept_seqpacket)
{
    struct ouro_unix_listener *listener = NULL;
    struct ouro_unix_datagram *socket = NULL;
    ck_assert_int_eq(ouro_unix_listener_bind(NULL, NULL, &listener), 0);
    IS_EINVAL(ouro_unix_listener_accept_seqpacket(NULL, &socket));
    IS_EINVAL(ouro_unix_listener_accept_seqpacket(listener, NULL));
    ck_assert_int_eq(ouro_unix_listener_accept_seqpacket(listener, &socket), -EPROTOTYPE);
    ck_assert_int_eq(ouro_unix_listener_close(listener), 0);
}

MISUSE(ouro_unix_listener_local_addr)
{
    struct ouro_unix_listener *listener = NULL;
    struct ouro_socket_addr addr;
    ck_assert_int_eq(ouro_unix_listener_bind(NULL, NULL, &listener), 0);
    IS_EINVAL(ouro_unix_listener_local_addr(NULL, &addr));
    IS_EINVAL(ouro_unix_listener_local_addr(listener, NULL));
    ck_assert_int_eq(ouro_unix_listener_close(listener), 0);
}

MISUSE(ouro_unix_listener_close)
{
    ck_assert_int_eq(ouro_unix_listener_close(NULL), 0);
}

OURO_TEST(every_misuse_is_an_error)
{
    misuse_everywhere();
}
