/* SPDX-License-Identifier: MIT */
/*
 * The helpers in tests/support, shown to do what they say: a fixture that does not fix anything
 * would make the tests above it pass for nothing.
 *
 * Owns:    nothing.
 * Threads: the peer's.
 * Always:  no ouro call; a fault here is the harness's.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "support/child.h"
#include "support/forbid.h"
#include "support/netns.h"
#include "support/ouro_test.h"
#include "support/peer.h"
#include "support/scratch.h"
#include "support/sockets.h"
#include "support/unanswered.h"
#include "support/uring_probe.h"

/* A non-blocking connect to an IPv4 address; returns the descriptor and its first errno. */
static int begin_connect(const char *host, uint16_t port, int *error)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    ck_assert_int_eq(inet_pton(AF_INET, host, &address.sin_addr), 1);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    *error = connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 ? 0 : errno;
    return fd;
}

/* Whether a connect is still unanswered after a time in which loopback answers 1000 times. */
static void assert_pending(const char *host, uint16_t port)
{
    int error = 0;
    int fd = begin_connect(host, port, &error);
    ck_assert_int_eq(error, EINPROGRESS);
    ck_assert_int_eq(ouro_test_poll(fd, POLLOUT, 100 * OURO_TEST_MS), 0);
    ck_assert_int_eq(close(fd), 0);
}

OURO_TEST_UNIT(full_backlog_answers_nobody_until_relieved)
{
    struct ouro_test_full_backlog full;
    ouro_test_full_backlog_open(&full, AF_INET);
    assert_pending("127.0.0.1", full.port);

    int error = 0;
    int fd = begin_connect("127.0.0.1", full.port, &error);
    ouro_test_full_backlog_relieve(&full);
    ck_assert_int_eq(ouro_test_poll(fd, POLLOUT, 10 * OURO_TEST_SECOND), POLLOUT);
    ck_assert_int_eq(close(fd), 0);
    ouro_test_full_backlog_close(&full);
}

OURO_TEST_UNIT(black_hole_answers_nobody)
{
    uint16_t port = 0;
    int hole = ouro_test_black_hole(AF_INET, 0, &port);
    assert_pending("127.0.0.1", port);
    ck_assert_int_eq(close(hole), 0);
}

OURO_TEST_UNIT(refusing_port_refuses)
{
    uint16_t port = 0;
    int error = 0;
    int refusing = ouro_test_refusing(AF_INET, &port);
    socklen_t length = sizeof(error);
    int fd = begin_connect("127.0.0.1", port, &error);
    ck_assert_int_eq(error, EINPROGRESS);
    ck_assert_int_ne(ouro_test_poll(fd, POLLOUT, OURO_TEST_SECOND), 0);
    ck_assert_int_eq(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length), 0);
    ck_assert_int_eq(error, ECONNREFUSED);
    ck_assert_int_eq(close(fd), 0);
    ck_assert_int_eq(close(refusing), 0);
}

static int connect_into_the_void(void *arg)
{
    (void)arg;
    ouro_test_netns_enter();
    ouro_test_netns_add_void();
    assert_pending(OURO_TEST_VOID_ADDRESS, 80);
    int error = 0;
    (void)close(begin_connect("192.0.2.1", 80, &error));
    ck_assert_int_eq(error, ENETUNREACH);
    return 0;
}

OURO_TEST_UNIT(void_network_answers_nobody)
{
    ouro_test_child_must_pass(connect_into_the_void, NULL);
}

static void exchange(int family)
{
    struct ouro_test_peer peer;
    ouro_test_need_family(family);
    ouro_test_peer_start(&peer, family, OURO_TEST_PEER_ECHO);
    int fd = ouro_test_connect(family, peer.port);
    ck_assert_uint_eq(ouro_test_peer_port(fd), peer.port);
    char sent[40000];
    char back[sizeof(sent)];
    for (size_t i = 0; i < sizeof(sent); i++)
        sent[i] = (char)(i * 31 + i / 7);
    ouro_test_write_exactly(fd, sent, sizeof(sent));
    ouro_test_read_exactly(fd, back, sizeof(back));
    ck_assert_int_eq(memcmp(sent, back, sizeof(sent)), 0);
    ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
    ck_assert_int_eq(recv(fd, back, 1, 0), 0);
    ck_assert_int_eq(close(fd), 0);
    ouro_test_peer_stop(&peer);
    ck_assert_uint_eq(peer.accepted, 1);
    ck_assert_uint_eq(peer.bytes_read, sizeof(sent));
}

OURO_TEST_UNIT(echo_peer_sends_back_on_ipv4)
{
    exchange(AF_INET);
}

OURO_TEST_UNIT(echo_peer_sends_back_on_ipv6)
{
    exchange(AF_INET6);
}

OURO_TEST_UNIT(reset_peer_resets)
{
    struct ouro_test_peer peer;
    char byte = 0;
    ouro_test_peer_start(&peer, AF_INET, OURO_TEST_PEER_RESET);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons(peer.port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    /* The reset may come before connect(2) has returned. */
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
        ck_assert_int_eq(recv(fd, &byte, 1, 0), -1);
    ck_assert_int_eq(errno, ECONNRESET);
    ck_assert_int_eq(close(fd), 0);
    ouro_test_peer_stop(&peer);
}

OURO_TEST_UNIT(scratch_holds_a_unix_socket)
{
    struct ouro_test_scratch scratch;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    ouro_test_scratch_open(&scratch);
    const char *path = ouro_test_scratch_path(&scratch, "socket");
    ck_assert_uint_lt(strlen(path), sizeof(address.sun_path));
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(close(fd), 0);
    ouro_test_scratch_close(&scratch);
    ck_assert_int_eq(access(scratch.directory, F_OK), -1);
}

static int refused_ring(void *arg)
{
    (void)arg;
    ouro_test_forbid_uring(OURO_TEST_URING_ALL, ENOSYS);
    ck_assert_int_eq(ouro_test_uring_probe(), -ENOSYS);
    ck_assert_int_eq(syscall(SYS_io_uring_enter, -1, 0, 0, 0, NULL, 0), -1);
    ck_assert_int_eq(errno, ENOSYS);
    return 0;
}

OURO_TEST_UNIT(forbidden_ring_is_refused)
{
    ouro_test_child_must_pass(refused_ring, NULL);
}

static int deadly_ring(void *arg)
{
    (void)arg;
    ouro_test_kill_on_uring(OURO_TEST_URING_ALL);
    (void)ouro_test_uring_probe();
    return 0;
}

OURO_TEST_UNIT(deadly_ring_kills)
{
    struct ouro_test_child child;
    ouro_test_child_run(deadly_ring, NULL, &child);
    if (child.exit_status == 77)
        ouro_test_skip("%s", child.output);
    ck_assert_int_eq(child.signal_number, SIGSYS);
}

static int fail_loudly(void *arg)
{
    (void)puts("before");
    (void)fflush(stdout);
    ck_assert_msg(arg != NULL, "the argument is missing");
    return 5;
}

OURO_TEST_UNIT(child_tells_how_it_ended)
{
    struct ouro_test_child child;
    ouro_test_child_run(fail_loudly, &child, &child);
    ck_assert_int_eq(child.exit_status, 5);
    ouro_test_child_run(fail_loudly, NULL, &child);
    ck_assert_int_eq(child.exit_status, 1);
    ck_assert_ptr_nonnull(strstr(child.output, "before\n"));
    ck_assert_ptr_nonnull(strstr(child.output, "the argument is missing"));
}

static bool counts_to_three(void *arg)
{
    int *count = arg;
    return ++*count == 3;
}

OURO_TEST_UNIT(until_looks_again_and_gives_up)
{
    int count = 0;
    ck_assert(ouro_test_until(counts_to_three, &count, OURO_TEST_SECOND));
    ck_assert_int_eq(count, 3);
    int64_t before_ns = ouro_test_now_ns();
    ck_assert(!ouro_test_until(counts_to_three, &count, 20 * OURO_TEST_MS));
    ck_assert_int_ge(ouro_test_now_ns() - before_ns, 20 * OURO_TEST_MS);
}
