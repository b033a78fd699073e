/* SPDX-License-Identifier: MIT */
/*
 * How streams end: by the peer, by this side, by a reset, by a deadline.
 */
#include "net/everywhere.h"
#include "net/pair.h"

#include <errno.h>
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
#include "stream/fill.h"
#include "support/sockets.h"

static int read_data_with_fin(void *arg)
{
    struct pair pair = connected();
    char buffer[64];
    (void)arg;
    ouro_test_write_exactly(pair.peer, "last words", 10);
    ck_assert_int_eq(shutdown(pair.peer, SHUT_WR), 0);
    ck_assert_int_eq(ouro_stream_read(pair.stream, buffer, 4), 4);
    ck_assert_int_eq(ouro_stream_read(pair.stream, buffer + 4, 60), 6);
    ck_assert_mem_eq(buffer, "last words", 10);
    ck_assert_int_eq(ouro_stream_read(pair.stream, buffer, 64), 0);
    /* The other direction goes on. */
    ck_assert_int_eq(ouro_stream_write_all(pair.stream, "reply", 5, NULL), 0);
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
    ck_assert_int_eq(ouro_stream_write_all(pair.stream, "question", 8, NULL), 0);
    ck_assert_int_eq(ouro_stream_shutdown(pair.stream, OURO_SHUTDOWN_WRITE), 0);
    ck_assert_int_eq(ouro_stream_shutdown(pair.stream, OURO_SHUTDOWN_WRITE), 0);
    ouro_test_read_exactly(pair.peer, buffer, 8);
    ck_assert(ouro_test_poll(pair.peer, POLLIN, OURO_TEST_SECOND) != 0);
    ck_assert_int_eq(recv(pair.peer, buffer, 1, 0), 0);
    ouro_test_write_exactly(pair.peer, "answer", 6);
    ck_assert_int_eq(ouro_stream_read(pair.stream, buffer, 16), 6);
    ck_assert_int_eq(ouro_stream_write(pair.stream, "x", 1), -EPIPE);
    ck_assert_int_eq(ouro_stream_shutdown(pair.stream, (enum ouro_shutdown)3), -EINVAL);
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
    ck_assert_int_eq(ouro_stream_read(pair.stream, &byte, 1), -ECONNRESET);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(ouro_stream_shutdown(pair.stream, OURO_SHUTDOWN_WRITE), 0);
        ck_assert_int_eq(ouro_stream_shutdown(pair.stream, OURO_SHUTDOWN_BOTH), 0);
    }
    ck_assert_int_eq(ouro_stream_close(pair.stream), 0);
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
    ck_assert_int_eq(ouro_stream_write_all(pair.stream, &byte, 1, NULL), 0);
    ck_assert_int_eq(ouro_stream_read(pair.stream, &byte, 1), -ECONNRESET);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(ouro_stream_close(pair.stream), 0);
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
        n = ouro_stream_write(pair.stream, data, sizeof(data));
    ck_assert_msg(n == -EPIPE || n == -ECONNRESET, "%zd", n);
    ck_assert_int_eq(ouro_stream_write_all(pair.stream, data, sizeof(data), NULL), -EPIPE);
    ck_assert_int_eq(ouro_stream_writev(pair.stream, &vector, 1), -EPIPE);
    ck_assert_int_eq(ouro_stream_close(pair.stream), 0);
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
    ck_assert_int_eq(ouro_stream_read(pair.stream, buffer, 4), -ETIMEDOUT);
    ouro_deadline_end(&scope);
    /* Nothing is in flight any more: what comes now is not written to the old buffer. */
    ouro_test_write_exactly(pair.peer, "new", 3);
    char other[4] = "";
    ck_assert_int_eq(ouro_stream_read(pair.stream, other, 4), 3);
    ck_assert_str_eq(buffer, "old");
    ck_assert_mem_eq(other, "new", 3);
    disconnect(&pair);
    return 0;
}

OURO_TEST(a_read_past_its_deadline_writes_nothing)
{
    everywhere(read_until_deadline, NULL);
}

static uint64_t count_until_end(int fd)
{
    static __thread char buffer[65536];
    uint64_t count = 0;
    ssize_t n = 0;
    while ((n = recv(fd, buffer, sizeof(buffer), 0)) > 0)
        count += (uint64_t)n;
    ck_assert_int_eq(n, 0);
    return count;
}

static int write_until_deadline(void *arg)
{
    struct pair pair = connected();
    size_t size = 64 << 20;
    char *much = calloc(1, size);
    (void)arg;
    size_t written = fill_stream(pair.stream, much, size);
    free(much);
    /* Exactly what was counted has reached the peer. */
    ck_assert_int_eq(ouro_stream_shutdown(pair.stream, OURO_SHUTDOWN_WRITE), 0);
    ck_assert_uint_eq(count_until_end(pair.peer), written);
    ck_assert_uint_lt(written, size);
    disconnect(&pair);
    return 0;
}

OURO_TEST(a_write_ends_at_its_deadline_and_tells_how_far_it_came)
{
    everywhere(write_until_deadline, NULL);
}
