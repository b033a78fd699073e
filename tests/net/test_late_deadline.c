/* SPDX-License-Identifier: MIT */
/*
 * A deadline that passed while its caller computed: every call on a descriptor sees it, though it
 * could be done at once.
 *
 * Owns:    nothing.
 * Threads: the runtime's.
 * Always:  what such a call would have taken is still there afterwards.
 */
#include "support/ouro_test.h"
#include "support/runtime.h"
#include "support/sockets.h"

#include <errno.h>
#include <ouro.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* Everything that the calls need, ready for each of them. */
struct ready {
    struct ouro_stream *stream; /* has bytes to read, and room to write */
    struct ouro_tcp_listener *listener;
    struct ouro_poll_evented *evented; /* readable */
    char address[OURO_TEST_ADDRESS_SIZE];
};

static ssize_t reads(struct ready *ready)
{
    char byte = 0;
    return ouro_stream_read(ready->stream, &byte, 1);
}

static ssize_t reads_vectors(struct ready *ready)
{
    char byte = 0;
    struct iovec vector = {&byte, 1};
    return ouro_stream_readv(ready->stream, &vector, 1);
}

static ssize_t peeks(struct ready *ready)
{
    char byte = 0;
    return ouro_stream_peek(ready->stream, &byte, 1);
}

static ssize_t writes(struct ready *ready)
{
    return ouro_stream_write(ready->stream, "x", 1);
}

static ssize_t writes_vectors(struct ready *ready)
{
    struct iovec vector = {(char[]){'x'}, 1};
    return ouro_stream_writev(ready->stream, &vector, 1);
}

static ssize_t writes_all(struct ready *ready)
{
    return ouro_stream_write_all(ready->stream, "x", 1, NULL);
}

static ssize_t accepts(struct ready *ready)
{
    struct ouro_stream *stream = NULL;
    int rc = ouro_tcp_listener_accept(ready->listener, &stream, NULL);
    if (rc == 0)
        (void)ouro_stream_close(stream);
    return rc;
}

static ssize_t connects(struct ready *ready)
{
    struct ouro_stream *stream = NULL;
    int rc = ouro_tcp_stream_connect(OURO_ADDRS(ready->address), &stream);
    if (rc == 0)
        (void)ouro_stream_close(stream);
    return rc;
}

static ssize_t resolves(struct ready *ready)
{
    struct ouro_socket_addr *list = NULL;
    size_t count = 0;
    (void)ready;
    int rc = ouro_resolve(OURO_ADDRS("localhost:80"), &list, &count);
    if (rc == 0)
        ouro_addr_list_free(list);
    return rc;
}

static ssize_t waits_for_readiness(struct ready *ready)
{
    struct ouro_ready_event event;
    return ouro_poll_evented_ready(ready->evented, OURO_READABLE, &event);
}

static ssize_t read_counter(int fd, void *arg)
{
    (void)arg;
    uint64_t count = 0;
    ssize_t n = read(fd, &count, sizeof(count));
    return n < 0 ? -errno : n;
}

static ssize_t calls_by_readiness(struct ready *ready)
{
    return ouro_poll_evented_io(ready->evented, OURO_READABLE, read_counter, NULL);
}

static const struct {
    const char *name;
    ssize_t (*call)(struct ready *ready);
} calls[] = {
    {"read", reads},
    {"readv", reads_vectors},
    {"peek", peeks},
    {"write", writes},
    {"writev", writes_vectors},
    {"write_all", writes_all},
    {"accept", accepts},
    {"connect", connects},
    {"resolve", resolves},
    {"poll_evented_ready", waits_for_readiness},
    {"poll_evented_io", calls_by_readiness},
};

enum { CALLS = sizeof(calls) / sizeof(calls[0]) };

static void call_too_late(struct ready *ready, unsigned i)
{
    struct ouro_deadline scope;
    ck_assert_int_eq(ouro_deadline_begin(&scope, 50 * OURO_MICROSECOND), 0);
    while (ouro_deadline_remaining_ns() > 0)
        ; /* no suspending call: the worker's timer cannot fire */
    ssize_t rc = calls[i].call(ready);
    ouro_deadline_end(&scope);
    if (rc != -ETIMEDOUT)
        ck_abort_msg("%s returned %zd", calls[i].name, rc);
}

static int all_calls(void *arg)
{
    (void)arg;
    struct ready ready = {.stream = NULL};
    struct ouro_socket_addr addr;
    int fd[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
    ck_assert_int_eq(ouro_stream_from_fd(fd[0], &ready.stream), 0);
    ouro_test_write_exactly(fd[1], "abcdefghijklmnop", 16);
    ck_assert_int_eq(ouro_tcp_listener_bind(OURO_ADDRS("127.0.0.1:0"), NULL, &ready.listener), 0);
    ck_assert_int_eq(ouro_tcp_listener_local_addr(ready.listener, &addr), 0);
    uint16_t port = ouro_socket_addr_port(&addr);
    (void)ouro_test_address(AF_INET, port, ready.address);
    int client = ouro_test_connect(AF_INET, port);
    int counter = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
    ck_assert_int_ge(counter, 0);
    ck_assert_int_eq(ouro_poll_evented_new(counter, OURO_READABLE, &ready.evented), 0);
    /* Each twice: in the second round the registrations exist already. */
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 0; i < CALLS; i++)
            call_too_late(&ready, i);
        if (round == 0) {
            ck_assert_int_eq(ouro_poll_evented_ready(ready.evented, OURO_READABLE,
                                                     &(struct ouro_ready_event){0}),
                             0);
            ck_assert_int_eq(reads(&ready), 1);
            ck_assert_int_eq(writes(&ready), 1);
        }
    }
    for (unsigned i = 0; i < CALLS; i++)
        ck_assert_int_ge(calls[i].call(&ready), 0);
    ouro_poll_evented_free(ready.evented);
    ck_assert_int_eq(ouro_tcp_listener_close(ready.listener), 0);
    ck_assert_int_eq(ouro_stream_close(ready.stream), 0);
    close(counter);
    close(client);
    close(fd[1]);
    return 0;
}

OURO_TEST(a_call_after_the_deadline_takes_nothing)
{
    ouro_test_need_localhost();
    ouro_test_everywhere(all_calls, NULL);
}
