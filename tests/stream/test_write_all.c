/* SPDX-License-Identifier: MIT */
/*
 * Writing from many buffers until all is written: every byte once and in order through short
 * writes, over every kind of stream, and the right count after a failure.  Corking.
 */
#include "net/everywhere.h"
#include "net/pair.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ouro/stream.h"
#include "ouro/time.h"
#include "support/sockets.h"

enum { PARTS = 3000, PART_MAX = 1000, SMALL_BUFFER = 4096, TCP_BUFFER = 100000 };

static unsigned char byte_at(size_t position)
{
    return (unsigned char)(position * 31 + (position >> 8) * 7 + 1);
}

/* Reads to the end in pieces of many sizes. */
struct sink {
    int fd;
    size_t size; /* in the end */
    size_t wrong;
    pthread_t thread;
};

static void *take(void *arg)
{
    struct sink *sink = arg;
    static __thread unsigned char buffer[20000];
    for (;;) {
        ck_assert(ouro_test_poll(sink->fd, POLLIN, 10 * OURO_TEST_SECOND) != 0);
        ssize_t n = read(sink->fd, buffer, sink->size * 11 % sizeof(buffer) + 1);
        ck_assert_msg(n >= 0, "read: %m");
        if (n == 0)
            return NULL;
        for (ssize_t i = 0; i < n; i++)
            sink->wrong += buffer[i] != byte_at(sink->size + (size_t)i);
        sink->size += (size_t)n;
    }
}

/* A stream of each kind whose kernel buffer is small, so that writes end short. */
static struct ouro_stream *narrow(enum ouro_stream_kind kind, int *out_peer)
{
    const int small = kind == OURO_STREAM_TCP ? TCP_BUFFER : SMALL_BUFFER;
    struct ouro_stream *stream = NULL;
    int ends[2];
    if (kind == OURO_STREAM_TCP) {
        struct pair pair = connected();
        stream = pair.stream;
        ends[1] = pair.peer;
    } else if (kind == OURO_STREAM_UNIX) {
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        ck_assert_int_eq(ouro_stream_from_fd(ends[0], &stream), 0);
    } else {
        int pipe_ends[2];
        ck_assert_int_eq(pipe2(pipe_ends, O_CLOEXEC), 0);
        ck_assert_int_ge(fcntl(pipe_ends[1], F_SETPIPE_SZ, SMALL_BUFFER), SMALL_BUFFER);
        ck_assert_int_eq(ouro_stream_from_fd(pipe_ends[1], &stream), 0);
        ends[1] = pipe_ends[0];
    }
    if (kind != OURO_STREAM_PIPE)
        ck_assert_int_eq(
            setsockopt(ouro_stream_fd(stream), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
    *out_peer = ends[1];
    return stream;
}

/* Parts of many sizes over @bytes, empty ones among them; returns the sum. */
static size_t cut(unsigned char *bytes, struct iovec parts[PARTS])
{
    size_t sum = 0;
    for (size_t i = 0; i < PARTS; i++) {
        size_t size = i % 7 == 0 ? 0 : i * 2654435761u % PART_MAX;
        parts[i] = (struct iovec){.iov_base = size == 0 ? NULL : bytes + sum, .iov_len = size};
        sum += size;
    }
    for (size_t i = 0; i < sum; i++)
        bytes[i] = byte_at(i);
    return sum;
}

static int write_parts(void *arg)
{
    static const enum ouro_stream_kind kinds[] = {OURO_STREAM_TCP, OURO_STREAM_UNIX,
                                                  OURO_STREAM_PIPE};
    struct iovec *parts = calloc(PARTS, sizeof(*parts));
    struct iovec *before = calloc(PARTS, sizeof(*parts));
    unsigned char *bytes = malloc((size_t)PARTS * PART_MAX);
    size_t sum = cut(bytes, parts);
    (void)arg;
    memcpy(before, parts, PARTS * sizeof(*parts));
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct sink sink = {.size = 0};
        size_t written = 0;
        struct ouro_stream *stream = narrow(kinds[i], &sink.fd);
        ck_assert_int_eq(pthread_create(&sink.thread, NULL, take, &sink), 0);
        ck_assert_int_eq(ouro_stream_writev_all(stream, parts, PARTS, &written), 0);
        ck_assert_uint_eq(written, sum);
        ck_assert_int_eq(ouro_stream_close(stream), 0);
        ck_assert_int_eq(pthread_join(sink.thread, NULL), 0);
        ck_assert_uint_eq(sink.size, sum);
        ck_assert_uint_eq(sink.wrong, 0);
        (void)close(sink.fd);
    }
    ck_assert_mem_eq(before, parts, PARTS * sizeof(*parts));
    free(parts);
    free(before);
    free(bytes);
    return 0;
}

OURO_TEST(many_buffers_arrive_once_and_in_order)
{
    everywhere(write_parts, NULL);
}

static int write_nothing(void *arg)
{
    struct pair pair = connected();
    char byte = 'x';
    struct iovec empty[2] = {{.iov_base = NULL, .iov_len = 0}, {.iov_base = NULL, .iov_len = 0}};
    struct iovec huge[2] = {{.iov_base = &byte, .iov_len = SIZE_MAX},
                            {.iov_base = &byte, .iov_len = 1}};
    size_t written = 7;
    (void)arg;
    ck_assert_int_eq(ouro_stream_writev_all(pair.stream, NULL, 0, &written), 0);
    ck_assert_uint_eq(written, 0);
    ck_assert_int_eq(ouro_stream_writev_all(pair.stream, empty, 2, NULL), 0);
    written = 7;
    ck_assert_int_eq(ouro_stream_writev_all(pair.stream, huge, 2, &written), -EINVAL);
    ck_assert_uint_eq(written, 0);
    ck_assert_int_eq(recv(pair.peer, &byte, 1, MSG_DONTWAIT), -1);
    disconnect(&pair);
    return 0;
}

OURO_TEST(no_bytes_and_too_many_are_defined)
{
    everywhere(write_nothing, NULL);
}

static size_t count_until_end(int fd)
{
    static __thread char buffer[65536];
    size_t count = 0;
    ssize_t n = 0;
    while ((n = recv(fd, buffer, sizeof(buffer), 0)) > 0)
        count += (size_t)n;
    ck_assert_int_eq(n, 0);
    return count;
}

/* More than 2 GiB in all, to a peer that takes nothing for now: exactly what was counted is sent.
 */
static int write_until_deadline(void *arg)
{
    const size_t size = (size_t)16 << 20;
    struct pair pair = connected();
    struct ouro_deadline scope;
    struct iovec parts[160];
    size_t written = 0;
    void *zeros = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)arg;
    ck_assert_ptr_ne(zeros, MAP_FAILED);
    for (size_t i = 0; i < 160; i++)
        parts[i] = (struct iovec){.iov_base = zeros, .iov_len = i == 0 ? 1 : size};
    /* On a busy machine the time may be over before the first byte: then with more of it. */
    for (int64_t limit_ns = 20 * OURO_TEST_MS; written == 0 && limit_ns < 2 * OURO_TEST_SECOND;
         limit_ns *= 4) {
        ck_assert_int_eq(ouro_deadline_begin(&scope, limit_ns), 0);
        ck_assert_int_eq(ouro_stream_writev_all(pair.stream, parts, 160, &written), -ETIMEDOUT);
        ouro_deadline_end(&scope);
    }
    ck_assert_int_eq(ouro_stream_shutdown(pair.stream, OURO_SHUTDOWN_WRITE), 0);
    ck_assert_uint_eq(count_until_end(pair.peer), written);
    ck_assert_uint_gt(written, 1);
    ck_assert_int_eq(munmap(zeros, size), 0);
    disconnect(&pair);
    return 0;
}

OURO_TEST(a_failure_tells_how_many_bytes_were_written)
{
    everywhere(write_until_deadline, NULL);
}

static void *reset_later(void *arg)
{
    int fd = *(int *)arg;
    char bytes[1000];
    ouro_test_read_exactly(fd, bytes, sizeof(bytes));
    ouro_test_reset(fd);
    return NULL;
}

static int write_into_a_reset(void *arg)
{
    const size_t size = (size_t)64 << 20;
    struct pair pair = connected();
    struct iovec parts[2] = {{.iov_base = calloc(1, 1000), .iov_len = 1000},
                             {.iov_base = calloc(1, size), .iov_len = size}};
    size_t written = 0;
    pthread_t thread;
    (void)arg;
    ck_assert_int_eq(pthread_create(&thread, NULL, reset_later, &pair.peer), 0);
    int rc = ouro_stream_writev_all(pair.stream, parts, 2, &written);
    ck_assert_msg(rc == -ECONNRESET || rc == -EPIPE, "writev_all: %d", rc);
    ck_assert_uint_ge(written, 1000);
    ck_assert_uint_lt(written, size);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(ouro_stream_close(pair.stream), 0);
    free(parts[0].iov_base);
    free(parts[1].iov_base);
    return 0;
}

OURO_TEST(a_reset_ends_a_write_of_many_buffers)
{
    everywhere(write_into_a_reset, NULL);
}

/* Bytes that the kernel has and has not sent. */
static int not_sent(struct ouro_stream *stream)
{
    int count = -1;
    ck_assert_int_eq(ioctl(ouro_stream_fd(stream), SIOCOUTQNSD, &count), 0);
    return count;
}

static int cork(void *arg)
{
    struct pair pair = connected();
    char bytes[8];
    int late = 0;
    int64_t begun_ns = 0;
    int held = 0;
    (void)arg;
    ck_assert_int_eq(ouro_tcp_stream_set_nodelay(pair.stream, 1), 0);
    do { /* the kernel lets go by itself after 200 ms */
        ck_assert_int_eq(ouro_tcp_stream_set_cork(pair.stream, 5), 0);
        begun_ns = ouro_test_now_ns();
        ck_assert_int_eq(ouro_stream_write_all(pair.stream, "head", 4, NULL), 0);
        ck_assert_int_eq(ouro_stream_write_all(pair.stream, "body", 4, NULL), 0);
        held = not_sent(pair.stream);
        int64_t took_ns = ouro_test_now_ns() - begun_ns;
        ck_assert_int_eq(ouro_tcp_stream_set_cork(pair.stream, 0), 0);
        ouro_test_read_exactly(pair.peer, bytes, 8);
        ck_assert_mem_eq(bytes, "headbody", 8);
        if (is_in_time(took_ns, 150 * OURO_TEST_MS, &late))
            break;
    } while (true);
    ck_assert_int_eq(held, 8);
    disconnect(&pair);
    return 0;
}

OURO_TEST(a_cork_holds_small_writes_together)
{
    everywhere(cork, NULL);
}
