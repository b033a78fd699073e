/* SPDX-License-Identifier: MIT */
/*
 * A program written for 0.1 compiles and runs unchanged: every old name of ouro/compat.h, as 0.1's
 * headers declared it.
 */
#include "support/ouro_test.h"

#include <ouro.h>

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "support/runtime.h"
#include "support/sockets.h"

static int over_tcp(void *arg)
{
    uint16_t port = 0;
    int listener = ouro_test_listen(AF_INET, 8, &port);
    char target[OURO_TEST_ADDRESS_SIZE];
    char buffer[8];
    struct iovec vector = {.iov_base = buffer, .iov_len = sizeof(buffer)};
    struct ouro_tcp_stream *stream = NULL;
    (void)arg;
    ck_assert_int_eq(
        ouro_tcp_stream_connect(OURO_ADDRS(ouro_test_address(AF_INET, port, target)), &stream), 0);
    int peer = ouro_test_accept(listener);
    ck_assert_int_eq(ouro_tcp_stream_write_all(stream, "ab", 2), 0);
    ck_assert_int_eq(ouro_tcp_stream_write(stream, "c", 1), 1);
    ouro_test_read_exactly(peer, buffer, 3);
    ouro_test_write_exactly(peer, "xyz", 3);
    ck_assert_int_eq(ouro_tcp_stream_peek(stream, buffer, 1), 1);
    ck_assert_int_eq(ouro_tcp_stream_read(stream, buffer, 1), 1);
    ck_assert_int_eq(ouro_tcp_stream_readv(stream, &vector, 1), 2);
    ck_assert_int_eq(memcmp(buffer, "yz", 2), 0);
    vector.iov_len = 2;
    ck_assert_int_eq(ouro_tcp_stream_writev(stream, &vector, 1), 2);
    ouro_test_read_exactly(peer, buffer, 2);
    ck_assert_int_eq(ouro_tcp_stream_shutdown(stream, OURO_SHUTDOWN_WRITE), 0);
    ck_assert_int_eq(read(peer, buffer, 1), 0);
    int fd = ouro_tcp_stream_fd(stream);
    ck_assert_int_eq(ouro_tcp_stream_into_fd(stream), fd);
    ck_assert_int_eq(ouro_tcp_stream_from_fd(fd, &stream), 0);
    ck_assert_int_eq(ouro_tcp_stream_close(stream), 0);
    (void)close(peer);
    (void)close(listener);
    return 0;
}

static int over_unix(void *arg)
{
    int pair[2];
    char buffer[8];
    struct ouro_unix_stream *stream = NULL;
    (void)arg;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    ck_assert_int_eq(ouro_unix_stream_from_fd(pair[0], &stream), 0);
    ck_assert_int_eq(ouro_unix_stream_fd(stream), pair[0]);
    ck_assert_int_eq(ouro_unix_stream_write_all(stream, "ab", 2), 0);
    ck_assert_int_eq(ouro_unix_stream_write(stream, "c", 1), 1);
    ouro_test_read_exactly(pair[1], buffer, 3);
    ouro_test_write_exactly(pair[1], "x", 1);
    ck_assert_int_eq(ouro_unix_stream_read(stream, buffer, sizeof(buffer)), 1);
    ck_assert_int_eq(ouro_unix_stream_shutdown(stream, OURO_SHUTDOWN_WRITE), 0);
    ck_assert_int_eq(ouro_unix_stream_into_fd(stream), pair[0]);
    ck_assert_int_eq(ouro_unix_stream_from_fd(pair[0], &stream), 0);
    ck_assert_int_eq(ouro_unix_stream_close(stream), 0);
    (void)close(pair[1]);
    return 0;
}

OURO_TEST(the_names_of_0_1_work_on_tcp)
{
    ck_assert_int_eq(ouro_test_in_task(over_tcp, NULL), 0);
}

OURO_TEST(the_names_of_0_1_work_on_unix_sockets)
{
    ck_assert_int_eq(ouro_test_in_task(over_unix, NULL), 0);
}
