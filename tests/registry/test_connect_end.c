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

OURO_TEST_UNIT(zero_means_a_peer)
{
    uint16_t port = 0;
    int32_t result = 1;
    int listener = ouro_test_listen(AF_INET, 4, &port);
    int fd = connecting(port);
    while (!ouro__connect_has_ended(fd, &result))
        ck_assert_int_ge(ouro_test_poll(fd, POLLOUT, OURO_TEST_SECOND), 0);
    ck_assert_int_eq(result, 0);
    (void)close(fd);
    (void)close(listener);
}

OURO_TEST_UNIT(an_error_is_the_result_once)
{
    uint16_t port = 0;
    int32_t result = 1;
    int refusing = ouro_test_refusing(AF_INET, &port);
    int fd = connecting(port);
    while (!ouro__connect_has_ended(fd, &result))
        ck_assert_int_ge(ouro_test_poll(fd, POLLOUT, OURO_TEST_SECOND), 0);
    ck_assert_int_eq(result, -ECONNREFUSED);
    /* Somebody has read the error: there is no peer and never will be. */
    ck_assert(ouro__connect_has_ended(fd, &result));
    ck_assert_int_eq(result, -ECONNABORTED);
    (void)close(fd);
    (void)close(refusing);
}

OURO_TEST_UNIT(without_an_answer_it_goes_on)
{
    struct ouro_test_full_backlog full;
    int32_t result = 1;
    ouro_test_full_backlog_open(&full, AF_INET);
    int fd = connecting(full.port);
    ck_assert(!ouro__connect_has_ended(fd, &result));
    ck_assert_int_eq(result, 1);
    (void)close(fd);
    ouro_test_full_backlog_close(&full);
}

/* Any other failure is a failure, not a success. */
OURO_TEST_UNIT(what_cannot_be_asked_has_failed)
{
    int32_t result = 1;
    ck_assert(ouro__connect_has_ended(-1, &result));
    ck_assert_int_eq(result, -EBADF);
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert(ouro__connect_has_ended(fd, &result));
    ck_assert_int_eq(result, -ENOTSOCK);
    (void)close(fd);
}
