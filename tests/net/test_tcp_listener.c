/* SPDX-License-Identifier: MIT */
/*
 * Listeners: accepting, and what can be listened on.
 */
#include "listening.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "ouro/error.h"

static struct ouro_tcp_listener *listen_with(uint32_t flags, const char *text, uint16_t *out_port)
{
    struct ouro_tcp_listen_options options = OURO_TCP_LISTEN_OPTIONS_INIT;
    struct ouro_tcp_listener *listener = NULL;
    struct ouro_socket_addr addr;
    options.flags = flags;
    ck_assert_int_eq(ouro_tcp_listener_bind(OURO_ADDRS(text), &options, &listener), 0);
    ck_assert_int_eq(ouro_tcp_listener_local_addr(listener, &addr), 0);
    *out_port = ouro_socket_addr_port(&addr);
    ck_assert_uint_ne(*out_port, 0);
    return listener;
}

static int accept_one(void *arg)
{
    uint16_t port = 0;
    bool v6 = arg != NULL;
    int family = v6 ? AF_INET6 : AF_INET;
    struct ouro_tcp_listener *listener = listen_with(0, v6 ? "[::1]:0" : "127.0.0.1:0", &port);
    int peer = ouro_test_connect(family, port);
    struct ouro_stream *stream = NULL;
    struct ouro_socket_addr addr;
    char buffer[8];

    ck_assert_int_eq(ouro_tcp_listener_accept(listener, &stream, &addr), 0);
    ck_assert_int_eq(ouro_socket_addr_family(&addr), family);
    ck_assert_uint_eq(ouro_socket_addr_port(&addr), ouro_test_local_port(peer));
    int fd = ouro_stream_fd(stream);
    ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    ck_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
    ouro_test_write_exactly(peer, "hello", 5);
    ck_assert_int_eq(ouro_stream_read(stream, buffer, 8), 5);
    ck_assert_int_eq(ouro_stream_write_all(stream, buffer, 5, NULL), 0);
    ouro_test_read_exactly(peer, buffer, 5);
    (void)close(peer);
    peer = ouro_test_connect(family, port);
    struct ouro_stream *second = NULL;
    ck_assert_int_eq(ouro_tcp_listener_accept(listener, &second, NULL), 0);
    ck_assert_int_eq(ouro_stream_close(second), 0);
    ck_assert_int_eq(ouro_stream_close(stream), 0);
    ck_assert_int_eq(ouro_tcp_listener_close(listener), 0);
    (void)close(peer);
    return 0;
}

OURO_TEST(connections_are_accepted)
{
    everywhere(accept_one, NULL);
    ouro_test_need_family(AF_INET6);
    everywhere(accept_one, (void *)1);
}

/* A cancel and a connection at the same time: a stream, or -ECANCELED and nothing. */
static int cancel_in_a_race(void *arg)
{
    uint16_t port = 0;
    struct ouro_tcp_listener *listener = listen_with(0, "127.0.0.1:0", &port);
    (void)arg;
    for (int k = 0; k < 40; k++) {
        struct acceptor acceptor;
        start_acceptor(&acceptor, listener);
        for (int i = 0; i < k % 8; i++)
            ck_assert_int_eq(ouro_yield(), 0);
        int peer = ouro_test_connect(AF_INET, port);
        for (int i = 0; i < k / 8; i++)
            ck_assert_int_eq(ouro_yield(), 0);
        ck_assert_int_eq(ouro_task_cancel(acceptor.task), 0);
        int rc = join_acceptor(&acceptor);
        ck_assert_msg(rc == 0 || rc == -ECANCELED, "%d", rc);
        if (rc < 0) /* it stayed in the backlog */
            ck_assert_int_eq(ouro_tcp_listener_accept(listener, &acceptor.stream, NULL), 0);
        ck_assert_int_eq(ouro_stream_close(acceptor.stream), 0);
        (void)close(peer);
    }
    ck_assert_int_eq(ouro_tcp_listener_close(listener), 0);
    return 0;
}

OURO_TEST(a_cancelled_accept_loses_no_connection)
{
    everywhere(cancel_in_a_race, NULL);
}

static int listen_with_options(void *arg)
{
    uint16_t port = 0;
    char text[OURO_TEST_ADDRESS_SIZE];
    struct ouro_tcp_listen_options options = OURO_TCP_LISTEN_OPTIONS_INIT;
    uint32_t flags = OURO_LISTEN_F_REUSEPORT | OURO_LISTEN_F_NODELAY;
    struct ouro_tcp_listener *first = listen_with(flags, "127.0.0.1:0", &port);
    struct ouro_tcp_listener *second = NULL;
    struct ouro_stream *stream = NULL;
    int on = 0;
    socklen_t length = sizeof(on);
    (void)arg;
    int peer = ouro_test_connect(AF_INET, port);
    ck_assert_int_eq(ouro_tcp_listener_accept(first, &stream, NULL), 0);
    int fd = ouro_stream_fd(stream);
    ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &length), 0);
    ck_assert_int_eq(on, 1);
    ouro_test_address(AF_INET, port, text);
    ck_assert_int_eq(ouro_tcp_listener_bind(OURO_ADDRS(text), NULL, &second), -EADDRINUSE);
    options.flags = flags;
    options.backlog = 5;
    ck_assert_int_eq(ouro_tcp_listener_bind(OURO_ADDRS(text), &options, &second), 0);
    ck_assert_int_eq(ouro_tcp_listener_close(second), 0);
    ck_assert_int_eq(ouro_tcp_listener_close(first), 0);
    ck_assert_int_eq(ouro_stream_close(stream), 0);
    (void)close(peer);
    return 0;
}

OURO_TEST(listen_options_are_set)
{
    everywhere(listen_with_options, NULL);
}

/* A first listener that is exclusive takes no part of an address that others share, and lets later
 * ones share its own. */
static int listen_exclusively(void *arg)
{
    const uint32_t shared = OURO_LISTEN_F_REUSEPORT;
    const uint32_t exclusive = OURO_LISTEN_F_REUSEPORT | OURO_LISTEN_F_EXCLUSIVE;
    struct ouro_tcp_listen_options options = OURO_TCP_LISTEN_OPTIONS_INIT;
    struct ouro_tcp_listener *listeners[4];
    uint16_t port = 0;
    char text[OURO_TEST_ADDRESS_SIZE];
    (void)arg;
    listeners[0] = listen_with(exclusive, "127.0.0.1:0", &port);
    ouro_test_address(AF_INET, port, text);
    for (int i = 1; i < 3; i++) {
        options.flags = exclusive;
        ck_assert_int_eq(ouro_tcp_listener_bind(OURO_ADDRS(text), &options, &listeners[i]),
                         -EADDRINUSE);
        options.flags = OURO_LISTEN_F_EXCLUSIVE; /* alone: what is so without any flag */
        ck_assert_int_eq(ouro_tcp_listener_bind(OURO_ADDRS(text), &options, &listeners[i]),
                         -EADDRINUSE);
        options.flags = shared;
        ck_assert_int_eq(ouro_tcp_listener_bind(OURO_ADDRS(text), &options, &listeners[i]), 0);
    }
    /* The kernel deals the connections out: none of the three is left without one. */
    for (int i = 0; i < 3; i++) {
        int peers[256];
        struct ouro_deadline deadline;
        struct ouro_stream *stream = NULL;
        int count = 0;
        int rc = -ETIMEDOUT;
        while (rc == -ETIMEDOUT && count < 256) {
            peers[count++] = ouro_test_connect(AF_INET, port);
            ck_assert_int_eq(
                ouro_deadline_begin(&deadline, count < 256 ? OURO_MILLISECOND : 10 * OURO_SECOND),
                0);
            rc = ouro_tcp_listener_accept(listeners[i], &stream, NULL);
            (void)ouro_deadline_end(&deadline);
        }
        ck_assert_int_eq(rc, 0);
        ck_assert_int_eq(ouro_stream_close(stream), 0);
        while (count > 0)
            (void)close(peers[--count]);
    }
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(ouro_tcp_listener_close(listeners[i]), 0);
    return 0;
}

OURO_TEST(an_exclusive_listener_is_the_first)
{
    everywhere(listen_exclusively, NULL);
}

/* [::] alone takes IPv4 too; with V6ONLY it gets along with an IPv4 listener. */
static int listen_on_both(void *arg)
{
    int rc = -EADDRINUSE;
    (void)arg;
    /* A port that is free for IPv4 may be somebody else's for IPv6. */
    for (int round = 0; round < 10 && rc == -EADDRINUSE; round++) {
        struct ouro_tcp_listen_options options = OURO_TCP_LISTEN_OPTIONS_INIT;
        struct ouro_tcp_listener *v6 = NULL;
        uint16_t port = 0;
        int v4 = ouro_test_listen(AF_INET, 1, &port);
        ck_assert_int_eq(ouro_tcp_listener_bind(OURO_HOST_PORT("::", port), &options, &v6),
                         -EADDRINUSE);
        options.flags = OURO_LISTEN_F_V6ONLY;
        rc = ouro_tcp_listener_bind(OURO_HOST_PORT("::", port), &options, &v6);
        ck_assert_int_eq(ouro_tcp_listener_close(v6), 0);
        (void)close(v4);
    }
    return rc;
}

OURO_TEST(v6only_leaves_ipv4_alone)
{
    ouro_test_need_family(AF_INET6);
    everywhere(listen_on_both, NULL);
}

static int listen_wrongly(void *arg)
{
    struct ouro_tcp_listen_options options = OURO_TCP_LISTEN_OPTIONS_INIT;
    struct ouro_tcp_listener *listener = NULL;
    struct ouro_stream *stream = NULL;
    struct ouro_socket_addr addr;
    (void)arg;
    ck_assert_int_eq(ouro_tcp_listener_bind(OURO_ADDRS("192.0.2.1:0"), NULL, &listener),
                     -EADDRNOTAVAIL);
    ck_assert_int_eq(ouro_tcp_listener_bind(OURO_ADDRS("nonsense"), NULL, &listener),
                     -OURO_EADDRSYNTAX);
    ck_assert_int_eq(ouro_tcp_listener_bind(OURO_ADDRS("unix:/x"), NULL, &listener), -EAFNOSUPPORT);
    ck_assert_int_eq(ouro_tcp_listener_bind(NULL, NULL, &listener), -EINVAL);
    ck_assert_int_eq(ouro_tcp_listener_bind(OURO_ADDRS("127.0.0.1:0"), NULL, NULL), -EINVAL);
    options.flags = 1u << 31;
    ck_assert_int_eq(ouro_tcp_listener_bind(OURO_ADDRS("127.0.0.1:0"), &options, &listener),
                     -EINVAL);
    ck_assert_int_eq(ouro_tcp_listener_accept(NULL, &stream, NULL), -EINVAL);
    ck_assert_int_eq(ouro_tcp_listener_local_addr(NULL, &addr), -EINVAL);
    ck_assert_int_eq(ouro_tcp_listener_close(NULL), 0);
    ck_assert_ptr_null(listener);
    return 0;
}

OURO_TEST(what_cannot_be_listened_on_is_an_error)
{
    everywhere(listen_wrongly, NULL);
}
