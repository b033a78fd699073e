/* SPDX-License-Identifier: MIT */
/*
 * Whether a connect under way has ended, and how: the one decision of both backends.
 */
#include "registry/driver_bench.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>

#include "registry/connect_end.h"
#include "support/unanswered.h"

static int connecting(uint16_t port)
{
    struct sockaddr_in to = bench_loopback(port);
    int fd = bench_socket();
    int rc = connect(fd, (const struct sockaddr *)&to, sizeof(to));
    ck_assert(rc == 0 || errno == EINPROGRESS);
    return fd;
}

static bool has_ended(int fd, uint16_t port, int32_t *result)
{
    struct sockaddr_in to = bench_loopback(port);
    return ouro__connect_has_ended(fd, (const struct sockaddr *)&to, sizeof(to), result);
}

static int32_t end_of(int fd, uint16_t port)
{
    int32_t result = 1;
    while (!has_ended(fd, port, &result))
        ck_assert_int_ge(ouro_test_poll(fd, POLLOUT, OURO_TEST_SECOND), 0);
    return result;
}

OURO_TEST_UNIT(zero_means_a_peer)
{
    uint16_t port = 0;
    int listener = ouro_test_listen(AF_INET, 4, &port);
    int fd = connecting(port);
    ck_assert_int_eq(end_of(fd, port), 0);
    /* One connection was made, not two. */
    int peer = ouro_test_accept(listener);
    ck_assert_uint_eq(ouro_test_peer_port(peer), ouro_test_local_port(fd));
    ck_assert_int_eq(ouro_test_poll(listener, POLLIN, 0), 0);
    /* Connected by another call meanwhile: it has a peer all the same. */
    ck_assert_int_eq(end_of(fd, port), 0);
    (void)close(peer);
    (void)close(fd);
    (void)close(listener);
}

OURO_TEST_UNIT(an_error_is_the_result)
{
    uint16_t port = 0;
    int refusing = ouro_test_refusing(AF_INET, &port);
    int fd = connecting(port);
    ck_assert_int_eq(end_of(fd, port), -ECONNREFUSED);
    (void)close(fd);
    (void)close(refusing);
}

/* Another reader of SO_ERROR has taken the error: there is no peer and never will be. */
OURO_TEST_UNIT(a_failure_whose_error_was_taken_is_an_abort)
{
    uint16_t port = 0;
    int refusing = ouro_test_refusing(AF_INET, &port);
    int fd = connecting(port);
    ck_assert_int_ne(ouro_test_poll(fd, POLLOUT, OURO_TEST_SECOND), 0);
    int error = 0;
    socklen_t length = sizeof(error);
    ck_assert_int_eq(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length), 0);
    ck_assert_int_eq(error, ECONNREFUSED);
    ck_assert_int_eq(end_of(fd, port), -ECONNABORTED);
    (void)close(fd);
    (void)close(refusing);
}

OURO_TEST_UNIT(without_an_answer_it_goes_on)
{
    struct ouro_test_full_backlog full;
    int32_t result = 1;
    ouro_test_full_backlog_open(&full, AF_INET);
    int fd = connecting(full.port);
    ck_assert(!has_ended(fd, full.port, &result));
    ck_assert_int_eq(result, 1);
    (void)close(fd);
    ouro_test_full_backlog_close(&full);
}

/* Any other failure is a failure, not a success. */
OURO_TEST_UNIT(what_cannot_be_asked_has_failed)
{
    int32_t result = 1;
    ck_assert(has_ended(-1, 1, &result));
    ck_assert_int_eq(result, -EBADF);
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert(has_ended(fd, 1, &result));
    ck_assert_int_eq(result, -ENOTSOCK);
    (void)close(fd);
}
