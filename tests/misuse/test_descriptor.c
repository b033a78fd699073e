/* SPDX-License-Identifier: MIT */
/*
 * Misuse of addresses, connecting, listeners and foreign descriptors.
 *
 * Owns:    nothing.
 * Threads: the test's and the runtimes'.
 * Always:  what a refused call would have returned in an argument is untouched.
 */
#include "misuse/misuse.h"

#include <arpa/inet.h>
#include <limits.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

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

MISUSE(ouro_socket_addr_parse)
{
    struct ouro_socket_addr addr = {.length = 77};
    IS_EINVAL(ouro_socket_addr_parse(NULL, &addr));
    IS_EINVAL(ouro_socket_addr_parse("1.2.3.4:5", NULL));
    ck_assert_int_eq(ouro_socket_addr_parse("", &addr), -OURO_EADDRSYNTAX);
    ck_assert_int_eq(ouro_socket_addr_parse("name:1", &addr), -OURO_EADDRSYNTAX);
    ck_assert_uint_eq(addr.length, 77);
}

MISUSE(ouro_socket_addr_format)
{
    char text[OURO_ADDR_TEXT_MAX] = "x";
    struct ouro_socket_addr addr = parsed("1.2.3.4:5");
    const struct ouro_socket_addr bad = garbage();
    ck_assert_str_eq(ouro_socket_addr_format(NULL, text, sizeof(text)), "");
    ck_assert_str_eq(ouro_socket_addr_format(&addr, NULL, sizeof(text)), "");
    ck_assert_str_eq(ouro_socket_addr_format(&addr, text, 0), "");
    ck_assert_ptr_nonnull(ouro_socket_addr_format(&bad, text, sizeof(text)));
    ck_assert_uint_lt(strlen(text), sizeof(text));
}

MISUSE(ouro_socket_addr_from_sockaddr)
{
    struct ouro_socket_addr addr = {.length = 77};
    const struct sockaddr_in in = {.sin_family = AF_INET};
    const struct sockaddr *generic = (const struct sockaddr *)(const void *)&in;
    IS_EINVAL(ouro_socket_addr_from_sockaddr(NULL, sizeof(in), &addr));
    IS_EINVAL(ouro_socket_addr_from_sockaddr(generic, sizeof(in), NULL));
    IS_EINVAL(ouro_socket_addr_from_sockaddr(generic, 0, &addr));
    IS_EINVAL(ouro_socket_addr_from_sockaddr(generic, 3, &addr));
    IS_EINVAL(ouro_socket_addr_from_sockaddr(generic, SIZE_MAX, &addr));
    ck_assert_uint_eq(addr.length, 77);
}

MISUSE(ouro_socket_addr_sockaddr)
{
    ck_assert_ptr_null(ouro_socket_addr_sockaddr(NULL));
}

MISUSE(ouro_socket_addr_family)
{
    ck_assert_int_eq(ouro_socket_addr_family(NULL), AF_UNSPEC);
}

MISUSE(ouro_socket_addr_port)
{
    ck_assert_uint_eq(ouro_socket_addr_port(NULL), 0);
}

MISUSE(ouro_socket_addr_set_port)
{
    struct ouro_socket_addr addr = parsed("unix:/nowhere");
    IS_EINVAL(ouro_socket_addr_set_port(NULL, 1));
    ck_assert_int_eq(ouro_socket_addr_set_port(&addr, 1), -EAFNOSUPPORT);
}

MISUSE(ouro_socket_addr_equal)
{
    struct ouro_socket_addr addr = parsed("1.2.3.4:5");
    const struct ouro_socket_addr bad = garbage();
    ck_assert_int_eq(ouro_socket_addr_equal(NULL, &addr), 0);
    ck_assert_int_eq(ouro_socket_addr_equal(&addr, NULL), 0);
    ck_assert_int_eq(ouro_socket_addr_equal(&addr, &bad), 0);
}

/* Descriptions of addresses that describe nothing. */
static const struct ouro_to_socket_addrs no_text = {.kind = OURO_ADDRS_TEXT};
static const struct ouro_to_socket_addrs no_host = {.kind = OURO_ADDRS_HOST_PORT};
static const struct ouro_to_socket_addrs no_list = {.kind = OURO_ADDRS_LIST, .count = 3};
static const struct ouro_to_socket_addrs no_kind = {.kind = (enum ouro_addrs_kind)77};
static const struct ouro_to_socket_addrs bad_flags = {
    .kind = OURO_ADDRS_TEXT, .flags = UINT32_MAX, .text = "127.0.0.1:1"};
static const struct ouro_to_socket_addrs *const descriptions[] = {NULL,     &no_text, &no_host,
                                                                  &no_list, &no_kind, &bad_flags};
enum { DESCRIPTIONS = sizeof(descriptions) / sizeof(descriptions[0]) };

MISUSE(ouro_resolve)
{
    struct ouro_socket_addr *list = NULL;
    size_t count = 77;
    for (int i = 0; i < DESCRIPTIONS; i++)
        IS_EINVAL(ouro_resolve(descriptions[i], &list, &count));
    IS_EINVAL(ouro_resolve(OURO_ADDRS("1.2.3.4:5"), NULL, &count));
    IS_EINVAL(ouro_resolve(OURO_ADDRS("1.2.3.4:5"), &list, NULL));
    ck_assert_int_eq(ouro_resolve(OURO_ADDR_LIST(NULL, 0), &list, &count), -OURO_ENOADDRESS);
    ck_assert_ptr_null(list);
    ck_assert_uint_eq(count, 77);
}

MISUSE(ouro_addr_list_free)
{
    ouro_addr_list_free(NULL);
}

MISUSE(ouro_connect)
{
    struct ouro_stream *stream = NULL;
    IS_EINVAL(ouro_connect(NULL, OURO_SECOND, &stream));
    IS_EINVAL(ouro_connect("127.0.0.1:1", OURO_SECOND, NULL));
    ck_assert_int_eq(ouro_connect("", OURO_SECOND, &stream), -OURO_EADDRSYNTAX);
    ck_assert_int_eq(ouro_connect("127.0.0.1:1", -1, &stream), -ETIMEDOUT);
    ck_assert_ptr_null(stream);
}

MISUSE(ouro_tcp_stream_connect)
{
    struct ouro_stream *stream = NULL;
    for (int i = 0; i < DESCRIPTIONS; i++)
        IS_EINVAL(ouro_tcp_stream_connect(descriptions[i], &stream));
    IS_EINVAL(ouro_tcp_stream_connect(OURO_ADDRS("127.0.0.1:1"), NULL));
    ck_assert_ptr_null(stream);
}

MISUSE(ouro_tcp_stream_connect_with)
{
    struct ouro_stream *stream = NULL;
    const struct ouro_socket_addr bad = garbage();
    struct ouro_tcp_connect_options options = OURO_TCP_CONNECT_OPTIONS_INIT;
    IS_EINVAL(ouro_tcp_stream_connect_with(NULL, NULL, &stream));
    IS_EINVAL(ouro_tcp_stream_connect_with(OURO_ADDRS("127.0.0.1:1"), NULL, NULL));
    options.size = 5;
    IS_EINVAL(ouro_tcp_stream_connect_with(OURO_ADDRS("127.0.0.1:1"), &options, &stream));
    options = (struct ouro_tcp_connect_options)OURO_TCP_CONNECT_OPTIONS_INIT;
    options.flags = UINT32_MAX;
    IS_EINVAL(ouro_tcp_stream_connect_with(OURO_ADDRS("127.0.0.1:1"), &options, &stream));
    options = (struct ouro_tcp_connect_options)OURO_TCP_CONNECT_OPTIONS_INIT;
    options.bind = &bad;
    IS_EINVAL(ouro_tcp_stream_connect_with(OURO_ADDRS("127.0.0.1:1"), &options, &stream));
    options = (struct ouro_tcp_connect_options)OURO_TCP_CONNECT_OPTIONS_INIT;
    options.stagger_ns = -1;
    IS_EINVAL(ouro_tcp_stream_connect_with(OURO_ADDRS("127.0.0.1:1"), &options, &stream));
    ck_assert_ptr_null(stream);
}

MISUSE(ouro_unix_stream_connect)
{
    struct ouro_stream *stream = NULL;
    struct ouro_socket_addr addr = parsed("unix:@nobody-listens-here");
    struct ouro_socket_addr tcp = parsed("127.0.0.1:1");
    const struct ouro_socket_addr bad = garbage();
    IS_EINVAL(ouro_unix_stream_connect(NULL, &stream));
    IS_EINVAL(ouro_unix_stream_connect(&addr, NULL));
    ck_assert_int_lt(ouro_unix_stream_connect(&tcp, &stream), 0);
    ck_assert_int_lt(ouro_unix_stream_connect(&bad, &stream), 0);
    ck_assert_ptr_null(stream);
}

MISUSE(ouro_tcp_listener_bind)
{
    struct ouro_tcp_listener *listener = NULL;
    struct ouro_tcp_listen_options options = OURO_TCP_LISTEN_OPTIONS_INIT;
    for (int i = 0; i < DESCRIPTIONS; i++)
        IS_EINVAL(ouro_tcp_listener_bind(descriptions[i], NULL, &listener));
    IS_EINVAL(ouro_tcp_listener_bind(OURO_ADDRS("127.0.0.1:0"), NULL, NULL));
    options.size = 4;
    IS_EINVAL(ouro_tcp_listener_bind(OURO_ADDRS("127.0.0.1:0"), &options, &listener));
    options = (struct ouro_tcp_listen_options)OURO_TCP_LISTEN_OPTIONS_INIT;
    options.flags = UINT32_MAX;
    IS_EINVAL(ouro_tcp_listener_bind(OURO_ADDRS("127.0.0.1:0"), &options, &listener));
    options = (struct ouro_tcp_listen_options)OURO_TCP_LISTEN_OPTIONS_INIT;
    options.backlog = -1;
    IS_EINVAL(ouro_tcp_listener_bind(OURO_ADDRS("127.0.0.1:0"), &options, &listener));
    ck_assert_ptr_null(listener);
}

MISUSE(ouro_tcp_listener_bind_each)
{
    struct ouro_tcp_listener *listeners[2] = {NULL, NULL};
    struct ouro_tcp_listen_options options = OURO_TCP_LISTEN_OPTIONS_INIT;
    for (int i = 0; i < DESCRIPTIONS; i++)
        IS_EINVAL(ouro_tcp_listener_bind_each(descriptions[i], NULL, 2, listeners));
    IS_EINVAL(ouro_tcp_listener_bind_each(OURO_ADDRS("127.0.0.1:0"), NULL, 2, NULL));
    IS_EINVAL(ouro_tcp_listener_bind_each(OURO_ADDRS("127.0.0.1:0"), NULL, 0, listeners));
    ck_assert_int_eq(
        ouro_tcp_listener_bind_each(OURO_ADDRS("127.0.0.1:0"), NULL, SIZE_MAX, listeners), -ENOMEM);
    options.size = 4;
    IS_EINVAL(ouro_tcp_listener_bind_each(OURO_ADDRS("127.0.0.1:0"), &options, 2, listeners));
    options = (struct ouro_tcp_listen_options)OURO_TCP_LISTEN_OPTIONS_INIT;
    options.flags = UINT32_MAX;
    IS_EINVAL(ouro_tcp_listener_bind_each(OURO_ADDRS("127.0.0.1:0"), &options, 2, listeners));
    ck_assert_ptr_null(listeners[0]);
}

MISUSE(ouro_tcp_listener_accept)
{
    struct ouro_tcp_listener *listener = NULL;
    struct ouro_stream *stream = NULL;
    ck_assert_int_eq(ouro_tcp_listener_bind(OURO_ADDRS("127.0.0.1:0"), NULL, &listener), 0);
    IS_EINVAL(ouro_tcp_listener_accept(NULL, &stream, NULL));
    IS_EINVAL(ouro_tcp_listener_accept(listener, NULL, NULL));
    ck_assert_ptr_null(stream);
    ck_assert_int_eq(ouro_tcp_listener_close(listener), 0);
}

MISUSE(ouro_tcp_listener_stats)
{
    struct ouro_tcp_listener *listener = NULL;
    struct ouro_tcp_listener_stats stats;
    ck_assert_int_eq(ouro_tcp_listener_bind(OURO_ADDRS("127.0.0.1:0"), NULL, &listener), 0);
    IS_EINVAL(ouro_tcp_listener_stats(NULL, &stats));
    IS_EINVAL(ouro_tcp_listener_stats(listener, NULL));
    ck_assert_int_eq(ouro_tcp_listener_close(listener), 0);
}

MISUSE(ouro_tcp_listener_local_addr)
{
    struct ouro_tcp_listener *listener = NULL;
    struct ouro_socket_addr addr;
    ck_assert_int_eq(ouro_tcp_listener_bind(OURO_ADDRS("127.0.0.1:0"), NULL, &listener), 0);
    IS_EINVAL(ouro_tcp_listener_local_addr(NULL, &addr));
    IS_EINVAL(ouro_tcp_listener_local_addr(listener, NULL));
    ck_assert_int_eq(ouro_tcp_listener_close(listener), 0);
}

MISUSE(ouro_tcp_listener_close)
{
    ck_assert_int_eq(ouro_tcp_listener_close(NULL), 0);
}

static struct ouro_poll_evented *registered(int *out_fd)
{
    struct ouro_poll_evented *io = NULL;
    *out_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ck_assert_int_ge(*out_fd, 0);
    ck_assert_int_eq(ouro_poll_evented_new(*out_fd, OURO_READABLE, &io), 0);
    return io;
}

static void end_registered(struct ouro_poll_evented *io, int fd)
{
    ouro_poll_evented_free(io);
    close(fd);
}

MISUSE(ouro_poll_evented_new)
{
    struct ouro_poll_evented *io = NULL;
    int fd = eventfd(0, EFD_CLOEXEC);
    IS_EINVAL(ouro_poll_evented_new(fd, OURO_READABLE, NULL));
    IS_EINVAL(ouro_poll_evented_new(fd, 0, &io));
    IS_EINVAL(ouro_poll_evented_new(fd, UINT32_MAX, &io));
    ck_assert_int_eq(ouro_poll_evented_new(-1, OURO_READABLE, &io), -EBADF);
    ck_assert_int_eq(ouro_poll_evented_new(INT_MAX, OURO_READABLE, &io), -EBADF);
    ck_assert_ptr_null(io);
    close(fd);
}

MISUSE(ouro_poll_evented_free)
{
    ouro_poll_evented_free(NULL);
}

MISUSE(ouro_poll_evented_ready)
{
    struct ouro_ready_event event;
    int fd = -1;
    struct ouro_poll_evented *io = registered(&fd);
    IS_EINVAL(ouro_poll_evented_ready(NULL, OURO_READABLE, &event));
    IS_EINVAL(ouro_poll_evented_ready(io, OURO_READABLE, NULL));
    IS_EINVAL(ouro_poll_evented_ready(io, 0, &event));
    IS_EINVAL(ouro_poll_evented_ready(io, UINT32_MAX, &event));
    IS_EINVAL(ouro_poll_evented_ready(io, OURO_WRITABLE, &event)); /* not registered */
    end_registered(io, fd);
}

static void *clone_nothing(void *data)
{
    return data;
}

static void do_nothing(void *data)
{
    (void)data;
}

MISUSE(ouro_poll_evented_poll_ready)
{
    static const struct ouro_waker_vtable vtable = {clone_nothing, do_nothing, do_nothing};
    static const struct ouro_waker_vtable holes[] = {
        {NULL, do_nothing, do_nothing},
        {clone_nothing, NULL, do_nothing},
        {clone_nothing, do_nothing, NULL},
    };
    struct ouro_waker waker = {&vtable, NULL};
    struct ouro_waker empty = {NULL, NULL};
    struct ouro_ready_event event;
    int fd = -1;
    struct ouro_poll_evented *io = registered(&fd);
    IS_EINVAL(ouro_poll_evented_poll_ready(NULL, OURO_READABLE, &waker, &event));
    IS_EINVAL(ouro_poll_evented_poll_ready(io, 0, &waker, &event));
    IS_EINVAL(ouro_poll_evented_poll_ready(io, UINT32_MAX, &waker, &event));
    IS_EINVAL(ouro_poll_evented_poll_ready(io, OURO_WRITABLE, &waker, &event));
    IS_EINVAL(ouro_poll_evented_poll_ready(io, OURO_READABLE, NULL, &event));
    IS_EINVAL(ouro_poll_evented_poll_ready(io, OURO_READABLE, &empty, &event));
    IS_EINVAL(ouro_poll_evented_poll_ready(io, OURO_READABLE, &waker, NULL));
    for (size_t i = 0; i < sizeof(holes) / sizeof(holes[0]); i++) {
        waker.vtable = &holes[i];
        IS_EINVAL(ouro_poll_evented_poll_ready(io, OURO_READABLE, &waker, &event));
    }
    end_registered(io, fd);
}

MISUSE(ouro_poll_evented_clear)
{
    struct ouro_ready_event event = {.ready = UINT32_MAX, .snapshot = UINT64_MAX};
    int fd = -1;
    struct ouro_poll_evented *io = registered(&fd);
    ouro_poll_evented_clear(NULL, &event);
    ouro_poll_evented_clear(io, NULL);
    ouro_poll_evented_clear(io, &event);
    ck_assert_int_eq(eventfd_write(fd, 1), 0);
    ck_assert_int_eq(ouro_poll_evented_ready(io, OURO_READABLE, &event), 0);
    end_registered(io, fd);
}

static ssize_t no_io(int fd, void *arg)
{
    (void)fd;
    (void)arg;
    return 0;
}

MISUSE(ouro_poll_evented_io)
{
    int fd = -1;
    struct ouro_poll_evented *io = registered(&fd);
    IS_EINVAL(ouro_poll_evented_io(NULL, OURO_READABLE, no_io, NULL));
    IS_EINVAL(ouro_poll_evented_io(io, OURO_READABLE, NULL, NULL));
    IS_EINVAL(ouro_poll_evented_io(io, 0, no_io, NULL));
    IS_EINVAL(ouro_poll_evented_io(io, UINT32_MAX, no_io, NULL));
    end_registered(io, fd);
}

OURO_TEST(every_misuse_is_an_error)
{
    misuse_everywhere();
}
