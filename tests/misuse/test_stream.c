/* SPDX-License-Identifier: MIT */
/*
 * Misuse of streams.
 *
 * Owns:    nothing.
 * Threads: the test's and the runtimes'.
 * Always:  what a refused call would have returned in an argument is untouched.
 */
#include "misuse/misuse.h"

#include <limits.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

MISUSE(ouro_pipe)
{
    struct ouro_stream *stream = NULL;
    IS_EINVAL(ouro_pipe(NULL, &stream));
    IS_EINVAL(ouro_pipe(&stream, NULL));
    ck_assert_ptr_null(stream);
}

MISUSE(ouro_stream_from_fd)
{
    struct ouro_stream *stream = NULL;
    int event_fd = eventfd(0, EFD_CLOEXEC);
    int unconnected = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int datagrams = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    IS_EINVAL(ouro_stream_from_fd(event_fd, NULL));
    ck_assert_int_eq(ouro_stream_from_fd(-1, &stream), -EBADF);
    ck_assert_int_eq(ouro_stream_from_fd(INT_MAX, &stream), -EBADF);
    ck_assert_int_eq(ouro_stream_from_fd(event_fd, &stream), -EPROTOTYPE);
    ck_assert_int_eq(ouro_stream_from_fd(datagrams, &stream), -EPROTOTYPE);
    ck_assert_int_eq(ouro_stream_from_fd(unconnected, &stream), -ENOTCONN);
    ck_assert_ptr_null(stream);
    close(event_fd);
    close(unconnected);
    close(datagrams);
}

/* A stream, and its peer's descriptor. */
static struct ouro_stream *stream_and_peer(int *out_peer)
{
    struct ouro_stream *stream = NULL;
    int pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    ck_assert_int_eq(ouro_stream_from_fd(pair[0], &stream), 0);
    *out_peer = pair[1];
    return stream;
}

static void end_stream(struct ouro_stream *stream, int peer)
{
    ck_assert_int_eq(ouro_stream_close(stream), 0);
    close(peer);
}

static int reads_one(void *arg)
{
    char byte = 0;
    ssize_t n = 0;
    while ((n = ouro_stream_read(arg, &byte, 1)) == -EBUSY) /* start_reader() looks */
        (void)ouro_sleep(OURO_MILLISECOND);
    return n == 1 ? 0 : -EIO;
}

/* Returns when a reader waits in the stream. */
static struct ouro_task *start_reader(struct ouro_stream *stream)
{
    struct ouro_task *reader = NULL;
    ssize_t n = 0;
    ck_assert_int_eq(ouro_task_spawn(reads_one, stream, &reader), 0);
    do {
        char byte = 0;
        struct ouro_deadline look;
        ck_assert_int_eq(ouro_deadline_begin(&look, OURO_MILLISECOND), 0);
        n = ouro_stream_read(stream, &byte, 1);
        ouro_deadline_end(&look);
        (void)ouro_sleep(OURO_MILLISECOND);
    } while (n == -ETIMEDOUT);
    ck_assert_int_eq(n, -EBUSY);
    return reader;
}

static void end_reader(struct ouro_task *reader, int peer)
{
    int result = -1;
    ck_assert_int_eq(write(peer, "x", 1), 1);
    ck_assert_int_eq(ouro_task_join(reader, &result), 0);
    ck_assert_int_eq(result, 0);
}

MISUSE(ouro_stream_into_fd)
{
    int peer = -1;
    IS_EINVAL(ouro_stream_into_fd(NULL));
    struct ouro_stream *stream = stream_and_peer(&peer);
    struct ouro_task *reader = start_reader(stream);
    ck_assert_int_eq(ouro_stream_into_fd(stream), -EBUSY);
    end_reader(reader, peer);
    end_stream(stream, peer);
}

MISUSE(ouro_stream_fd)
{
    IS_EINVAL(ouro_stream_fd(NULL));
}

MISUSE(ouro_stream_kind)
{
    ck_assert_int_eq((int)ouro_stream_kind(NULL), 0);
}

MISUSE(ouro_stream_read)
{
    char byte = 0;
    int peer = -1;
    struct ouro_stream *stream = stream_and_peer(&peer);
    IS_EINVAL(ouro_stream_read(NULL, &byte, 1));
    IS_EINVAL(ouro_stream_read(stream, NULL, 1));
    struct ouro_task *reader = start_reader(stream);
    ck_assert_int_eq(ouro_stream_read(stream, &byte, 1), -EBUSY);
    end_reader(reader, peer);
    end_stream(stream, peer);
}

typedef ssize_t vector_call(struct ouro_stream *stream, const struct iovec *vectors, int count);

static void misuse_vectors(vector_call *call)
{
    char byte = 0;
    int peer = -1;
    struct iovec vector = {&byte, 1};
    struct ouro_stream *stream = stream_and_peer(&peer);
    IS_EINVAL(call(NULL, &vector, 1));
    IS_EINVAL(call(stream, NULL, 1));
    IS_EINVAL(call(stream, &vector, 0));
    IS_EINVAL(call(stream, &vector, -1));
    IS_EINVAL(call(stream, &vector, INT_MIN));
    IS_EINVAL(call(stream, &vector, INT_MAX));
    end_stream(stream, peer);
}

MISUSE(ouro_stream_readv)
{
    misuse_vectors(ouro_stream_readv);
}

MISUSE(ouro_stream_writev)
{
    misuse_vectors(ouro_stream_writev);
}

MISUSE(ouro_stream_peek)
{
    char byte = 0;
    int peer = -1;
    struct ouro_stream *stream = stream_and_peer(&peer);
    struct ouro_stream *reader = NULL;
    struct ouro_stream *writer = NULL;
    IS_EINVAL(ouro_stream_peek(NULL, &byte, 1));
    IS_EINVAL(ouro_stream_peek(stream, NULL, 1));
    ck_assert_int_eq(ouro_pipe(&reader, &writer), 0);
    ck_assert_int_eq(ouro_stream_peek(reader, &byte, 1), -EOPNOTSUPP);
    ck_assert_int_eq(ouro_stream_read(writer, &byte, 1), -EBADF);
    ck_assert_int_eq(ouro_stream_write(reader, &byte, 1), -EBADF);
    ck_assert_int_eq(ouro_stream_shutdown(writer, OURO_SHUTDOWN_WRITE), -EOPNOTSUPP);
    ck_assert_int_eq(ouro_stream_close(reader), 0);
    ck_assert_int_eq(ouro_stream_close(writer), 0);
    end_stream(stream, peer);
}

MISUSE(ouro_stream_write)
{
    int peer = -1;
    struct ouro_stream *stream = stream_and_peer(&peer);
    IS_EINVAL(ouro_stream_write(NULL, "x", 1));
    IS_EINVAL(ouro_stream_write(stream, NULL, 1));
    end_stream(stream, peer);
}

MISUSE(ouro_stream_write_all)
{
    int peer = -1;
    struct ouro_stream *stream = stream_and_peer(&peer);
    IS_EINVAL(ouro_stream_write_all(NULL, "x", 1, NULL));
    IS_EINVAL(ouro_stream_write_all(stream, NULL, 1, NULL));
    end_stream(stream, peer);
}

MISUSE(ouro_relay)
{
    int peer = -1;
    struct ouro_stream *stream = stream_and_peer(&peer);
    struct ouro_relay_options options = OURO_RELAY_OPTIONS_INIT;
    IS_EINVAL(ouro_relay(NULL, stream, NULL, NULL));
    IS_EINVAL(ouro_relay(stream, NULL, NULL, NULL));
    IS_EINVAL(ouro_relay(stream, stream, NULL, NULL)); /* to itself: one way only */
    options.flags = OURO_RELAY_F_ONE_WAY | 1u << 31;
    IS_EINVAL(ouro_relay(stream, stream, &options, NULL));
    options.flags = OURO_RELAY_F_ONE_WAY | OURO_RELAY_F_COPY | OURO_RELAY_F_SPLICE;
    IS_EINVAL(ouro_relay(stream, stream, &options, NULL));
    options.flags = OURO_RELAY_F_ONE_WAY;
    options.idle_timeout_ns = -1;
    IS_EINVAL(ouro_relay(stream, stream, &options, NULL));
    options.idle_timeout_ns = 0;
    options.size = 0;
    IS_EINVAL(ouro_relay(stream, stream, &options, NULL));
    end_stream(stream, peer);
}

MISUSE(ouro_stream_send_file)
{
    int peer = -1;
    struct ouro_stream *stream = stream_and_peer(&peer);
    IS_EINVAL(ouro_stream_send_file(NULL, 0, 0, 1, NULL));
    IS_EINVAL(ouro_stream_send_file(stream, peer, 0, 1, NULL)); /* no file */
    IS_EINVAL(ouro_stream_send_file(stream, peer, UINT64_MAX, 1, NULL));
    ck_assert_int_eq(ouro_stream_send_file(stream, -1, 0, 1, NULL), -EBADF);
    ck_assert_int_eq(ouro_stream_send_file(stream, INT_MAX, 0, 1, NULL), -EBADF);
    end_stream(stream, peer);
}

MISUSE(ouro_stream_writev_all)
{
    char byte = 0;
    int peer = -1;
    const struct iovec vectors[2] = {{&byte, SIZE_MAX}, {&byte, SIZE_MAX}};
    struct ouro_stream *stream = stream_and_peer(&peer);
    IS_EINVAL(ouro_stream_writev_all(NULL, vectors, 1, NULL));
    IS_EINVAL(ouro_stream_writev_all(stream, NULL, 1, NULL));
    IS_EINVAL(ouro_stream_writev_all(stream, vectors, -1, NULL));
    IS_EINVAL(ouro_stream_writev_all(stream, vectors, INT_MIN, NULL));
    IS_EINVAL(ouro_stream_writev_all(stream, vectors, 2, NULL));
    end_stream(stream, peer);
}

MISUSE(ouro_stream_shutdown)
{
    int peer = -1;
    struct ouro_stream *stream = stream_and_peer(&peer);
    IS_EINVAL(ouro_stream_shutdown(NULL, OURO_SHUTDOWN_BOTH));
    IS_EINVAL(ouro_stream_shutdown(stream, (enum ouro_shutdown)77));
    end_stream(stream, peer);
}

MISUSE(ouro_stream_close)
{
    ck_assert_int_eq(ouro_stream_close(NULL), 0);
}

typedef int stream_addr_call(const struct ouro_stream *stream, struct ouro_socket_addr *out_addr);

static void misuse_stream_addr(stream_addr_call *call)
{
    struct ouro_socket_addr addr = {.length = 77};
    int peer = -1;
    struct ouro_stream *stream = stream_and_peer(&peer);
    IS_EINVAL(call(NULL, &addr));
    IS_EINVAL(call(stream, NULL));
    ck_assert_int_eq(call(stream, &addr), -EOPNOTSUPP);
    ck_assert_uint_eq(addr.length, 77);
    end_stream(stream, peer);
}

MISUSE(ouro_tcp_stream_local_addr)
{
    misuse_stream_addr(ouro_tcp_stream_local_addr);
}

MISUSE(ouro_tcp_stream_peer_addr)
{
    misuse_stream_addr(ouro_tcp_stream_peer_addr);
}

MISUSE(ouro_tcp_stream_set_nodelay)
{
    int peer = -1;
    struct ouro_stream *stream = stream_and_peer(&peer);
    IS_EINVAL(ouro_tcp_stream_set_nodelay(NULL, 1));
    ck_assert_int_eq(ouro_tcp_stream_set_nodelay(stream, 1), -EOPNOTSUPP);
    end_stream(stream, peer);
}

MISUSE(ouro_tcp_stream_set_cork)
{
    int peer = -1;
    struct ouro_stream *stream = stream_and_peer(&peer);
    IS_EINVAL(ouro_tcp_stream_set_cork(NULL, 1));
    ck_assert_int_eq(ouro_tcp_stream_set_cork(stream, 1), -EOPNOTSUPP);
    end_stream(stream, peer);
}

OURO_TEST(every_misuse_is_an_error)
{
    misuse_everywhere();
}
