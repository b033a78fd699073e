/* SPDX-License-Identifier: MIT */
/*
 * What a listener is made with: options, and several listeners on one address.
 */
#include "everywhere.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "ouro/error.h"
#include "ouro/tcp.h"
#include "ouro/time.h"
#include "support/sockets.h"

static uint16_t port_of(const struct ouro_tcp_listener *listener)
{
    struct ouro_socket_addr addr;
    ck_assert_int_eq(ouro_tcp_listener_local_addr(listener, &addr), 0);
    ck_assert_uint_ne(ouro_socket_addr_port(&addr), 0);
    return ouro_socket_addr_port(&addr);
}

static int option_of(int fd, int level, int name)
{
    int value = -1;
    socklen_t length = sizeof(value);
    ck_assert_int_eq(getsockopt(fd, level, name, &value, &length), 0);
    return value;
}

/* The descriptor of this process that listens on @port. */
static int listening_on(uint16_t port)
{
    for (int fd = 0; fd < 256; fd++) {
        int listens = 0;
        socklen_t length = sizeof(listens);
        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) == 0 && listens == 1 &&
            ouro_test_local_port(fd) == port)
            return fd;
    }
    ck_abort_msg("nothing listens on port %u", (unsigned)port);
}

/* The kernel doubles the size of a buffer, for its own bookkeeping (socket(7)). */
static int accepted_streams_have_the_options(void *arg)
{
    struct ouro_tcp_listen_options options = OURO_TCP_LISTEN_OPTIONS_INIT;
    struct ouro_tcp_listener *listener = NULL;
    struct ouro_stream *stream = NULL;
    (void)arg;
    options.flags = OURO_LISTEN_F_KEEPALIVE;
    options.fastopen_queue = 7;
    options.send_buffer_bytes = 20000;
    options.receive_buffer_bytes = 30000;
    options.keepalive_idle_s = 31;
    options.keepalive_interval_s = 5;
    options.keepalive_count = 4;
    ck_assert_int_eq(ouro_tcp_listener_bind(OURO_ADDRS("127.0.0.1:0"), &options, &listener), 0);
    uint16_t port = port_of(listener);
    ck_assert_int_eq(option_of(listening_on(port), IPPROTO_TCP, TCP_FASTOPEN), 7);
    int peer = ouro_test_connect(AF_INET, port);
    ck_assert_int_eq(ouro_tcp_listener_accept(listener, &stream, NULL), 0);
    int fd = ouro_stream_fd(stream);
    ck_assert_int_eq(option_of(fd, SOL_SOCKET, SO_SNDBUF), 2 * 20000);
    ck_assert_int_eq(option_of(fd, SOL_SOCKET, SO_RCVBUF), 2 * 30000);
    ck_assert_int_eq(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    ck_assert_int_eq(option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE), 31);
    ck_assert_int_eq(option_of(fd, IPPROTO_TCP, TCP_KEEPINTVL), 5);
    ck_assert_int_eq(option_of(fd, IPPROTO_TCP, TCP_KEEPCNT), 4);
    ck_assert_int_eq(ouro_stream_close(stream), 0);
    ck_assert_int_eq(ouro_tcp_listener_close(listener), 0);
    (void)close(peer);
    return 0;
}

OURO_TEST(accepted_streams_have_the_listeners_options)
{
    everywhere(accepted_streams_have_the_options, NULL);
}

static int refuse_options(void *arg)
{
    struct ouro_tcp_listener *listener = NULL;
    (void)arg;
    for (int field = 0; field < 6; field++) {
        struct ouro_tcp_listen_options options = OURO_TCP_LISTEN_OPTIONS_INIT;
        int *fields[] = {&options.fastopen_queue,       &options.send_buffer_bytes,
                         &options.receive_buffer_bytes, &options.keepalive_idle_s,
                         &options.keepalive_interval_s, &options.keepalive_count};
        *fields[field] = -1;
        ck_assert_int_eq(ouro_tcp_listener_bind(OURO_ADDRS("127.0.0.1:0"), &options, &listener),
                         -EINVAL);
    }
    /* What the kernel refuses (TCP_KEEPCNT above 127) is an error, too. */
    struct ouro_tcp_listen_options options = OURO_TCP_LISTEN_OPTIONS_INIT;
    options.keepalive_count = 1000;
    ck_assert_int_eq(ouro_tcp_listener_bind(OURO_ADDRS("127.0.0.1:0"), &options, &listener),
                     -EINVAL);
    ck_assert_ptr_null(listener);
    return 0;
}

OURO_TEST(options_that_cannot_be_set_are_errors)
{
    everywhere(refuse_options, NULL);
}

enum { SHARERS = 3, CLIENTS = 512 };

/*
 * A connection of @listener, from one of as many clients as it takes: the kernel chooses the
 * listener of each by a hash.
 */
static void give_one(struct ouro_tcp_listener *listener, uint16_t port)
{
    static int peers[CLIENTS];
    struct ouro_stream *stream = NULL;
    int count = 0;
    int rc = -ETIMEDOUT;
    while (rc == -ETIMEDOUT && count < CLIENTS) {
        struct ouro_deadline deadline;
        peers[count++] = ouro_test_connect(AF_INET, port);
        ck_assert_int_eq(ouro_deadline_begin(&deadline, OURO_MILLISECOND), 0);
        rc = ouro_tcp_listener_accept(listener, &stream, NULL);
        ouro_deadline_end(&deadline);
    }
    ck_assert_int_eq(rc, 0);
    ck_assert_int_eq(ouro_stream_close(stream), 0);
    while (count > 0)
        (void)close(peers[--count]);
}

static int share_an_address(void *arg)
{
    const uint32_t *flags = arg;
    struct ouro_tcp_listen_options options = OURO_TCP_LISTEN_OPTIONS_INIT;
    struct ouro_tcp_listener *listeners[SHARERS];
    struct ouro_tcp_listener *others[SHARERS] = {NULL};
    char text[OURO_TEST_ADDRESS_SIZE];
    options.flags = *flags;
    ck_assert_int_eq(
        ouro_tcp_listener_bind_each(OURO_ADDRS("127.0.0.1:0"), &options, SHARERS, listeners), 0);
    uint16_t port = port_of(listeners[0]);
    for (int i = 0; i < SHARERS; i++) {
        ck_assert_uint_eq(port_of(listeners[i]), port);
        give_one(listeners[i], port);
    }
    /* A second instance of the program. */
    bool is_open = *flags == OURO_LISTEN_F_REUSEPORT;
    ouro_test_address(AF_INET, port, text);
    ck_assert_int_eq(ouro_tcp_listener_bind_each(OURO_ADDRS(text), &options, SHARERS, others),
                     is_open ? 0 : -EADDRINUSE);
    for (int i = 0; i < SHARERS; i++) {
        ck_assert_int_eq(others[i] != NULL, is_open);
        ck_assert_int_eq(ouro_tcp_listener_close(others[i]), 0);
        ck_assert_int_eq(ouro_tcp_listener_close(listeners[i]), 0);
    }
    return 0;
}

OURO_TEST(listeners_share_an_address_and_keep_others_out)
{
    everywhere(share_an_address, &(uint32_t){0});
    everywhere(share_an_address, &(uint32_t){OURO_LISTEN_F_EXCLUSIVE});
    everywhere(share_an_address, &(uint32_t){OURO_LISTEN_F_REUSEPORT | OURO_LISTEN_F_EXCLUSIVE});
}

OURO_TEST(listeners_share_an_address_with_others_on_request)
{
    everywhere(share_an_address, &(uint32_t){OURO_LISTEN_F_REUSEPORT});
}

/* Each allocation and each socket may fail: then there is no listener, and nothing is left. */
static int make_all_or_none(void *arg)
{
    struct ouro_tcp_listener *listeners[SHARERS] = {NULL};
    (void)arg;
    int rc = -ENOMEM;
    for (uint64_t nth = 1; rc == -ENOMEM; nth++) {
        ouro__alloc_fail_at(nth);
        rc = ouro_tcp_listener_bind_each(OURO_ADDRS("127.0.0.1:0"), NULL, SHARERS, listeners);
        ouro__alloc_fail_at(0);
        ck_assert(nth < 100 && (rc == 0) == (listeners[0] != NULL));
    }
    ck_assert_int_eq(rc, 0);
    for (int i = 0; i < SHARERS; i++) {
        ck_assert_int_eq(ouro_tcp_listener_close(listeners[i]), 0);
        listeners[i] = NULL;
    }
    for (uint64_t nth = 1; nth <= SHARERS; nth++) {
        ouro__fault_arm(OURO__FAULT_SOCKET, nth, 1, -EMFILE);
        rc = ouro_tcp_listener_bind_each(OURO_ADDRS("127.0.0.1:0"), NULL, SHARERS, listeners);
        ck_assert_uint_eq(ouro__fault_fired(OURO__FAULT_SOCKET), 1);
        ouro__fault_disarm_all();
        ck_assert_int_eq(rc, -EMFILE);
        ck_assert_ptr_null(listeners[0]);
    }
    return 0;
}

OURO_TEST(listeners_are_made_all_or_none)
{
    everywhere(make_all_or_none, NULL);
}

/* The second address serves when the first does not. */
static int take_the_second_address(void *arg)
{
    struct ouro_tcp_listener *listeners[2];
    uint16_t taken = 0;
    char text[2 * OURO_TEST_ADDRESS_SIZE];
    int other = ouro_test_listen(AF_INET, 1, &taken);
    (void)arg;
    struct ouro_socket_addr addrs[2];
    ouro_test_address(AF_INET, taken, text);
    ck_assert_int_eq(ouro_socket_addr_parse(text, &addrs[0]), 0);
    ck_assert_int_eq(ouro_socket_addr_parse("127.0.0.1:0", &addrs[1]), 0);
    ck_assert_int_eq(ouro_tcp_listener_bind_each(OURO_ADDR_LIST(addrs, 2), NULL, 2, listeners), 0);
    ck_assert_uint_ne(port_of(listeners[0]), taken);
    ck_assert_uint_eq(port_of(listeners[0]), port_of(listeners[1]));
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(ouro_tcp_listener_close(listeners[i]), 0);
    (void)close(other);
    return 0;
}

OURO_TEST(listeners_take_the_first_address_that_is_free)
{
    everywhere(take_the_second_address, NULL);
}
