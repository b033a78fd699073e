/* SPDX-License-Identifier: MIT */
/*
 * How streams end: by the peer, by this side, by a reset, by a deadline; and how they become plain
 * descriptors and were some before.
 */
#include "everywhere.h"
#include "pair.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ouro/error.h"
#include "ouro/tcp.h"
#include "ouro/time.h"
#include "support/sockets.h"

static int read_data_with_fin(void *arg)
{
    struct pair pair = connected();
    char buffer[64];
    (void)arg;
    ouro_test_write_exactly(pair.peer, "last words", 10);
    ck_assert_int_eq(shutdown(pair.peer, SHUT_WR), 0);
    ck_assert_int_eq(ouro_tcp_stream_read(pair.stream, buffer, 4), 4);
    ck_assert_int_eq(ouro_tcp_stream_read(pair.stream, buffer + 4, 60), 6);
    ck_assert_mem_eq(buffer, "last words", 10);
    ck_assert_int_eq(ouro_tcp_stream_read(pair.stream, buffer, 64), 0);
    /* The other direction goes on. */
    ck_assert_int_eq(ouro_tcp_stream_write_all(pair.stream, "reply", 5), 0);
    ouro_test_read_exactly(pair.peer, buffer, 5);
    ck_assert_mem_eq(buffer, "reply", 5);
    disconnect(&pair);
    return 0;
}

OURO_TEST(data_and_fin_together_are_data_then_the_end)
{
    everywhere(read_data_with_fin, NULL);
}

static int half_close(void *arg)
{
    struct pair pair = connected();
    char buffer[16];
    (void)arg;
    ck_assert_int_eq(ouro_tcp_stream_write_all(pair.stream, "question", 8), 0);
    ck_assert_int_eq(ouro_tcp_stream_shutdown(pair.stream, OURO_SHUTDOWN_WRITE), 0);
    ck_assert_int_eq(ouro_tcp_stream_shutdown(pair.stream, OURO_SHUTDOWN_WRITE), 0);
    ouro_test_read_exactly(pair.peer, buffer, 8);
    ck_assert(ouro_test_poll(pair.peer, POLLIN, OURO_TEST_SECOND) != 0);
    ck_assert_int_eq(recv(pair.peer, buffer, 1, 0), 0);
    ouro_test_write_exactly(pair.peer, "answer", 6);
    ck_assert_int_eq(ouro_tcp_stream_read(pair.stream, buffer, 16), 6);
    ck_assert_int_eq(ouro_tcp_stream_write(pair.stream, "x", 1), -EPIPE);
    ck_assert_int_eq(ouro_tcp_stream_shutdown(pair.stream, (enum ouro_shutdown)3), -EINVAL);
    disconnect(&pair);
    return 0;
}

OURO_TEST(half_close_keeps_the_other_direction)
{
    everywhere(half_close, NULL);
}

static int shutdown_after_the_peer_has_gone(void *arg)
{
    struct pair pair = connected();
    char byte = 0;
    (void)arg;
    ouro_test_reset(pair.peer);
    ck_assert_int_eq(ouro_tcp_stream_read(pair.stream, &byte, 1), -ECONNRESET);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(ouro_tcp_stream_shutdown(pair.stream, OURO_SHUTDOWN_WRITE), 0);
        ck_assert_int_eq(ouro_tcp_stream_shutdown(pair.stream, OURO_SHUTDOWN_BOTH), 0);
    }
    ck_assert_int_eq(ouro_tcp_stream_close(pair.stream), 0);
    return 0;
}

OURO_TEST(shutdown_again_is_harmless)
{
    everywhere(shutdown_after_the_peer_has_gone, NULL);
}

static void *reset_when_read_from(void *arg)
{
    char byte = 0;
    ouro_test_read_exactly(*(int *)arg, &byte, 1);
    ouro_test_reset(*(int *)arg);
    return NULL;
}

static int read_until_reset(void *arg)
{
    struct pair pair = connected();
    pthread_t thread;
    char byte = 'x';
    (void)arg;
    ck_assert_int_eq(pthread_create(&thread, NULL, reset_when_read_from, &pair.peer), 0);
    ck_assert_int_eq(ouro_tcp_stream_write_all(pair.stream, &byte, 1), 0);
    ck_assert_int_eq(ouro_tcp_stream_read(pair.stream, &byte, 1), -ECONNRESET);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(ouro_tcp_stream_close(pair.stream), 0);
    return 0;
}

OURO_TEST(a_reset_fails_the_pending_read)
{
    everywhere(read_until_reset, NULL);
}

static volatile sig_atomic_t sigpipes;

static void count_sigpipe(int signal)
{
    (void)signal;
    sigpipes++;
}

static int write_to_nobody(void *arg)
{
    struct pair pair = connected();
    char data[1000] = {0};
    struct iovec vector = {.iov_base = data, .iov_len = sizeof(data)};
    (void)arg;
    (void)close(pair.peer);
    ssize_t n = 0;
    while (n >= 0) /* the first may still be taken */
        n = ouro_tcp_stream_write(pair.stream, data, sizeof(data));
    ck_assert_msg(n == -EPIPE || n == -ECONNRESET, "%zd", n);
    ck_assert_int_eq(ouro_tcp_stream_write_all(pair.stream, data, sizeof(data)), -EPIPE);
    ck_assert_int_eq(ouro_tcp_stream_writev(pair.stream, &vector, 1), -EPIPE);
    ck_assert_int_eq(ouro_tcp_stream_close(pair.stream), 0);
    return 0;
}

OURO_TEST(sigpipe_is_never_raised)
{
    struct sigaction counting = {.sa_handler = count_sigpipe};
    ck_assert_int_eq(sigaction(SIGPIPE, &counting, NULL), 0);
    everywhere(write_to_nobody, NULL);
    ck_assert_int_eq(sigpipes, 0);
}

static int read_until_deadline(void *arg)
{
    struct pair pair = connected();
    struct ouro_deadline scope;
    char buffer[4] = "old";
    (void)arg;
    ck_assert_int_eq(ouro_deadline_begin(&scope, 20 * OURO_TEST_MS), 0);
    ck_assert_int_eq(ouro_tcp_stream_read(pair.stream, buffer, 4), -ETIMEDOUT);
    ouro_deadline_end(&scope);
    /* Nothing is in flight any more: what comes now is not written to the old buffer. */
    ouro_test_write_exactly(pair.peer, "new", 3);
    char other[4] = "";
    ck_assert_int_eq(ouro_tcp_stream_read(pair.stream, other, 4), 3);
    ck_assert_str_eq(buffer, "old");
    ck_assert_mem_eq(other, "new", 3);
    disconnect(&pair);
    return 0;
}

OURO_TEST(a_read_past_its_deadline_writes_nothing)
{
    everywhere(read_until_deadline, NULL);
}

static int write_until_deadline(void *arg)
{
    struct pair pair = connected();
    struct ouro_deadline scope;
    size_t size = 64 << 20;
    char *much = calloc(1, size);
    (void)arg;
    ck_assert_int_eq(ouro_deadline_begin(&scope, 20 * OURO_TEST_MS), 0);
    ck_assert_int_eq(ouro_tcp_stream_write_all(pair.stream, much, size), -ETIMEDOUT);
    ouro_deadline_end(&scope);
    free(much);
    disconnect(&pair);
    return 0;
}

OURO_TEST(a_write_ends_at_its_deadline)
{
    everywhere(write_until_deadline, NULL);
}

static int pass_through_raw(void *arg)
{
    struct pair pair = connected();
    char byte = 0;
    (void)arg;
    ouro_test_write_exactly(pair.peer, "ab", 2);
    ck_assert_int_eq(ouro_tcp_stream_read(pair.stream, &byte, 1), 1);
    int fd = ouro_tcp_stream_into_fd(pair.stream);
    ck_assert_int_ge(fd, 0);
    ck_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
    ck_assert_int_eq(recv(fd, &byte, 1, MSG_DONTWAIT), 1);
    ck_assert_int_eq(byte, 'b');
    ck_assert_int_eq(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK), 0);
    ck_assert_int_eq(ouro_tcp_stream_from_fd(fd, &pair.stream), 0);
    ck_assert_int_eq(ouro_tcp_stream_fd(pair.stream), fd);
    ck_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
    ouro_test_write_exactly(pair.peer, "c", 1);
    ck_assert_int_eq(ouro_tcp_stream_read(pair.stream, &byte, 1), 1);
    ck_assert_int_eq(byte, 'c');
    disconnect(&pair);
    return 0;
}

OURO_TEST(a_stream_turns_into_a_descriptor_and_back)
{
    everywhere(pass_through_raw, NULL);
}

static void refuses(int fd, int error)
{
    struct ouro_tcp_stream *stream = NULL;
    ck_assert_int_eq(ouro_tcp_stream_from_fd(fd, &stream), error);
    ck_assert_ptr_null(stream);
}

static int adopt_the_wrong(void *arg)
{
    int pipes[2];
    int locals[2];
    (void)arg;
    ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, locals), 0);
    int datagram = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int fresh = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    refuses(-1, -EBADF);
    refuses(pipes[0], -ENOTSOCK);
    refuses(locals[0], -EPROTOTYPE);
    refuses(datagram, -EPROTOTYPE);
    refuses(fresh, -ENOTCONN);
    ck_assert_int_eq(ouro_tcp_stream_from_fd(fresh, NULL), -EINVAL);
    ck_assert_int_eq(fcntl(fresh, F_GETFL) & O_NONBLOCK, 0); /* as it was */
    int all[] = {pipes[0], pipes[1], locals[0], locals[1], datagram, fresh};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        ck_assert_int_eq(close(all[i]), 0);
    return 0;
}

OURO_TEST(only_connected_tcp_sockets_are_adopted)
{
    everywhere(adopt_the_wrong, NULL);
}
