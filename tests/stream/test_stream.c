/* SPDX-License-Identifier: MIT */
/*
 * Streams: what goes in comes out, in the right order and to the last byte, and who may use them at
 * once.  The peers are plain sockets.
 */
#include "net/everywhere.h"
#include "net/pair.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/compiler.h"
#include "ouro/error.h"
#include "ouro/tcp.h"
#include "ouro/time.h"
#include "support/peer.h"
#include "support/sockets.h"

/* The byte at a position of the test's endless data. */
static unsigned char byte_at(uint64_t position)
{
    return (unsigned char)(position * 31 + (position >> 8) * 7 + 1);
}

static void fill(unsigned char *buffer, size_t size, uint64_t position)
{
    for (size_t i = 0; i < size; i++)
        buffer[i] = byte_at(position + i);
}

static void check_bytes(const unsigned char *buffer, size_t size, uint64_t position)
{
    for (size_t i = 0; i < size; i++)
        ck_assert_msg(buffer[i] == byte_at(position + i), "byte %llu differs",
                      (unsigned long long)(position + i));
}

/* A thread that sends or takes `total` bytes in pieces of many sizes. */
struct pump {
    int fd;
    uint64_t total;
    pthread_t thread;
};

static void *pump_in(void *arg)
{
    struct pump *pump = arg;
    static __thread unsigned char buffer[70000];
    size_t size = 1;
    for (uint64_t done = 0; done < pump->total; done += size) {
        size = (size * 7 + 13) % sizeof(buffer) + 1;
        if (size > pump->total - done)
            size = (size_t)(pump->total - done);
        fill(buffer, size, done);
        ouro_test_write_exactly(pump->fd, buffer, size);
    }
    ck_assert_int_eq(shutdown(pump->fd, SHUT_WR), 0);
    return NULL;
}

static void *pump_out(void *arg)
{
    struct pump *pump = arg;
    static __thread unsigned char buffer[50000];
    uint64_t done = 0;
    for (;;) {
        ck_assert(ouro_test_poll(pump->fd, POLLIN, 10 * OURO_TEST_SECOND) != 0);
        ssize_t n = recv(pump->fd, buffer, (size_t)(done * 11 % sizeof(buffer)) + 1, 0);
        ck_assert_msg(n >= 0, "recv: %m");
        if (n == 0)
            break;
        check_bytes(buffer, (size_t)n, done);
        done += (uint64_t)n;
    }
    ck_assert_uint_eq(done, pump->total);
    return NULL;
}

/* Fewer where each byte costs a system call of an emulated machine. */
#define TOTAL ((uint64_t)(3000000 / ouro_test_slowness()))

static int drain(void *arg)
{
    struct pair pair = connected();
    struct pump pump = {.fd = pair.peer, .total = TOTAL};
    static __thread unsigned char buffer[40000];
    uint64_t done = 0;
    ssize_t n = 0;
    bool vectored = arg != NULL;

    ck_assert_int_eq(pthread_create(&pump.thread, NULL, pump_in, &pump), 0);
    do {
        size_t size = (size_t)(done * 17 % sizeof(buffer)) + 1;
        struct iovec parts[3] = {
            {.iov_base = buffer, .iov_len = size / 3},
            {.iov_base = buffer + size / 3, .iov_len = 0},
            {.iov_base = buffer + size / 3, .iov_len = size - size / 3},
        };
        n = vectored ? ouro_stream_readv(pair.stream, parts, 3)
                     : ouro_stream_read(pair.stream, buffer, size);
        ck_assert_msg(n >= 0, "read: %zd", n);
        ck_assert_uint_le((size_t)n, size);
        check_bytes(buffer, (size_t)n, done);
        done += (uint64_t)n;
    } while (n > 0);
    ck_assert_uint_eq(done, TOTAL);
    ck_assert_int_eq(ouro_stream_read(pair.stream, buffer, 1), 0); /* the end stays the end */
    ck_assert_int_eq(pthread_join(pump.thread, NULL), 0);
    disconnect(&pair);
    return 0;
}

OURO_TEST(what_comes_in_is_read_to_the_last_byte)
{
    everywhere(drain, NULL);
}

OURO_TEST(what_comes_in_is_read_by_vectors)
{
    everywhere(drain, (void *)1);
}

enum how { WRITE, WRITEV, WRITE_ALL };

static ssize_t write_some(struct ouro_stream *stream, enum how how, unsigned char *buffer,
                          size_t size)
{
    struct iovec parts[3] = {
        {.iov_base = buffer, .iov_len = size / 2},
        {.iov_base = NULL, .iov_len = 0},
        {.iov_base = buffer + size / 2, .iov_len = size - size / 2},
    };
    if (how == WRITE)
        return ouro_stream_write(stream, buffer, size);
    if (how == WRITEV)
        return ouro_stream_writev(stream, parts, 3);
    int rc = ouro_stream_write_all(stream, buffer, size, NULL);
    return rc < 0 ? rc : (ssize_t)size;
}

static int feed(void *arg)
{
    enum how how = *(enum how *)arg;
    struct pair pair = connected();
    struct pump pump = {.fd = pair.peer, .total = TOTAL};
    unsigned char *buffer = malloc(600000);
    uint64_t done = 0;

    ck_assert_int_eq(pthread_create(&pump.thread, NULL, pump_out, &pump), 0);
    while (done < TOTAL) {
        size_t size = (size_t)(done * 13 % 600000) + 1;
        if (size > TOTAL - done)
            size = (size_t)(TOTAL - done);
        fill(buffer, size, done);
        ssize_t n = write_some(pair.stream, how, buffer, size);
        ck_assert_msg(n > 0 && (size_t)n <= size, "write: %zd of %zu", n, size);
        done += (uint64_t)n;
    }
    ck_assert_int_eq(ouro_stream_shutdown(pair.stream, OURO_SHUTDOWN_WRITE), 0);
    ck_assert_int_eq(pthread_join(pump.thread, NULL), 0);
    free(buffer);
    disconnect(&pair);
    return 0;
}

OURO_TEST(what_is_written_arrives_to_the_last_byte)
{
    enum how how = WRITE;
    everywhere(feed, &how);
}

OURO_TEST(what_is_written_by_vectors_arrives)
{
    enum how how = WRITEV;
    everywhere(feed, &how);
}

OURO_TEST(write_all_writes_all)
{
    enum how how = WRITE_ALL;
    everywhere(feed, &how);
}

static int peek_then_read(void *arg)
{
    struct pair pair = connected();
    char buffer[8] = "";
    (void)arg;
    ouro_test_write_exactly(pair.peer, "abcdef", 6);
    ck_assert_int_eq(ouro_stream_peek(pair.stream, buffer, 3), 3);
    ck_assert_int_eq(ouro_stream_peek(pair.stream, buffer, 8), 6);
    ck_assert_mem_eq(buffer, "abcdef", 6);
    ck_assert_int_eq(ouro_stream_read(pair.stream, buffer, 8), 6);
    ck_assert_mem_eq(buffer, "abcdef", 6);
    disconnect(&pair);
    return 0;
}

OURO_TEST(peek_takes_nothing)
{
    everywhere(peek_then_read, NULL);
}

static int call_wrongly(void *arg)
{
    struct pair pair = connected();
    char byte = 0;
    struct iovec empty[2] = {{.iov_base = NULL, .iov_len = 0}, {.iov_base = NULL, .iov_len = 0}};
    (void)arg;
    ck_assert_int_eq(ouro_stream_read(pair.stream, NULL, 0), 0);
    ck_assert_int_eq(ouro_stream_write(pair.stream, NULL, 0), 0);
    ck_assert_int_eq(ouro_stream_write_all(pair.stream, NULL, 0, NULL), 0);
    ck_assert_int_eq(ouro_stream_readv(pair.stream, empty, 2), 0);
    ck_assert_int_eq(ouro_stream_writev(pair.stream, empty, 2), 0);
    ck_assert_int_eq(ouro_stream_read(pair.stream, NULL, 1), -EINVAL);
    ck_assert_int_eq(ouro_stream_read(NULL, &byte, 1), -EINVAL);
    ck_assert_int_eq(ouro_stream_peek(NULL, &byte, 1), -EINVAL);
    ck_assert_int_eq(ouro_stream_write(NULL, &byte, 1), -EINVAL);
    ck_assert_int_eq(ouro_stream_write_all(NULL, &byte, 1, NULL), -EINVAL);
    ck_assert_int_eq(ouro_stream_readv(pair.stream, empty, 0), -EINVAL);
    ck_assert_int_eq(ouro_stream_writev(pair.stream, empty, IOV_MAX + 1), -EINVAL);
    ck_assert_int_eq(ouro_stream_writev(pair.stream, NULL, 1), -EINVAL);
    ck_assert_int_eq(ouro_stream_shutdown(NULL, OURO_SHUTDOWN_READ), -EINVAL);
    ck_assert_int_eq(ouro_tcp_stream_local_addr(pair.stream, NULL), -EINVAL);
    ck_assert_int_eq(ouro_tcp_stream_peer_addr(NULL, NULL), -EINVAL);
    ck_assert_int_eq(ouro_tcp_stream_set_nodelay(NULL, 1), -EINVAL);
    ck_assert_int_eq(ouro_stream_fd(NULL), -EINVAL);
    ck_assert_int_eq(ouro_stream_into_fd(NULL), -EINVAL);
    ck_assert_int_eq(ouro_stream_close(NULL), 0);
    disconnect(&pair);
    return 0;
}

OURO_TEST(wrong_arguments_are_errors_and_nothing_is_no_wait)
{
    everywhere(call_wrongly, NULL);
}

/* The most vectors there may be, and a buffer larger than an int can say. */
static int call_with_much(void *arg)
{
    struct pair pair = connected();
    static struct iovec vectors[IOV_MAX];
    static unsigned char bytes[IOV_MAX];
    (void)arg;
    fill(bytes, IOV_MAX, 0);
    for (int i = 0; i < IOV_MAX; i++)
        vectors[i] = (struct iovec){.iov_base = &bytes[i], .iov_len = 1};
    ck_assert_int_eq(ouro_stream_writev(pair.stream, vectors, IOV_MAX), IOV_MAX);
    memset(bytes, 0, sizeof(bytes));
    ouro_test_read_exactly(pair.peer, bytes, IOV_MAX);
    check_bytes(bytes, IOV_MAX, 0);
    ouro_test_write_exactly(pair.peer, bytes, 5);
    void *huge = mmap(NULL, (size_t)3 << 30, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ck_assert_ptr_ne(huge, MAP_FAILED);
    ck_assert_int_eq(ouro_stream_read(pair.stream, huge, (size_t)3 << 30), 5);
    ck_assert_int_eq(munmap(huge, (size_t)3 << 30), 0);
    disconnect(&pair);
    return 0;
}

/* A buffer of which one call carries no more than the first 2 GiB, all zeros; marks come after. */
#define LARGE_BYTES (((size_t)2 << 30) + 3 * MARK_BYTES)
enum { MARK_BYTES = 65536 };

struct large_sink {
    int fd;
    uint64_t zeros;
    bool has_marks;
};

static void *take_large(void *arg)
{
    struct large_sink *sink = arg;
    static unsigned char buffer[1 << 20];
    static unsigned char mark[3 * MARK_BYTES];
    while (sink->zeros < LARGE_BYTES - sizeof(mark)) {
        size_t wish = LARGE_BYTES - sizeof(mark) - sink->zeros;
        ssize_t n = read(sink->fd, buffer, wish < sizeof(buffer) ? wish : sizeof(buffer));
        if (n <= 0)
            return NULL;
        sink->zeros += (uint64_t)n;
    }
    ouro_test_read_exactly(sink->fd, mark, sizeof(mark));
    sink->has_marks = true;
    for (size_t i = 0; i < sizeof(mark); i++)
        sink->has_marks = sink->has_marks && mark[i] == byte_at(i);
    return NULL;
}

static int write_more_than_a_call_carries(void *arg)
{
    unsigned char *large = arg;
    struct ouro_stream *stream = NULL;
    struct large_sink sink = {.zeros = 0};
    size_t written = 0;
    pthread_t thread;
    int ends[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    sink.fd = ends[1];
    ck_assert_int_eq(ouro_stream_from_fd(ends[0], &stream), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, take_large, &sink), 0);
    ck_assert_int_eq(ouro_stream_write_all(stream, large, LARGE_BYTES, &written), 0);
    ck_assert_uint_eq(written, LARGE_BYTES);
    ck_assert_int_eq(ouro_stream_close(stream), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_uint_eq(sink.zeros, LARGE_BYTES - 3 * (size_t)MARK_BYTES);
    ck_assert(sink.has_marks);
    (void)close(ends[1]);
    return 0;
}

OURO_TEST(more_than_one_call_can_carry_is_sent_once, .timeout_s = 120)
{
    if (OURO__ASAN || OURO__TSAN || ouro_test_slowness() > 1 || sizeof(size_t) < 8)
        ouro_test_skip("2 GiB are too many here");
    /* Pages that are only read are all the same page of zeros. */
    unsigned char *large = mmap(NULL, LARGE_BYTES, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ck_assert_ptr_ne(large, MAP_FAILED);
    fill(large + LARGE_BYTES - 3 * (size_t)MARK_BYTES, 3 * (size_t)MARK_BYTES, 0);
    ck_assert_int_eq(ouro_test_in_task(write_more_than_a_call_carries, large), 0);
    ck_assert_int_eq(munmap(large, LARGE_BYTES), 0);
}

OURO_TEST(the_largest_calls_work)
{
    everywhere(call_with_much, NULL);
}

static int set_nodelay(void *arg)
{
    struct pair pair = connected();
    int fd = ouro_stream_fd(pair.stream);
    (void)arg;
    for (int on = 1; on >= 0; on--) {
        int now = -1;
        socklen_t length = sizeof(now);
        ck_assert_int_eq(ouro_tcp_stream_set_nodelay(pair.stream, on * 5), 0);
        ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &now, &length), 0);
        ck_assert_int_eq(now, on);
    }
    disconnect(&pair);
    return 0;
}

OURO_TEST(nodelay_can_be_switched)
{
    everywhere(set_nodelay, NULL);
}

/* A reader and a writer task on one stream, against an echo. */
struct duplex {
    struct ouro_stream *stream;
    uint64_t total;
};

static int duplex_writer(void *arg)
{
    struct duplex *duplex = arg;
    unsigned char buffer[5000];
    for (uint64_t done = 0; done < duplex->total; done += sizeof(buffer)) {
        fill(buffer, sizeof(buffer), done);
        int rc = ouro_stream_write_all(duplex->stream, buffer, sizeof(buffer), NULL);
        if (rc < 0)
            return rc;
    }
    return ouro_stream_shutdown(duplex->stream, OURO_SHUTDOWN_WRITE);
}

static int duplex_reader(void *arg)
{
    struct duplex *duplex = arg;
    unsigned char buffer[7000];
    uint64_t done = 0;
    ssize_t n = 0;
    while ((n = ouro_stream_read(duplex->stream, buffer, sizeof(buffer))) > 0) {
        check_bytes(buffer, (size_t)n, done);
        done += (uint64_t)n;
    }
    return n < 0 ? (int)n : done == duplex->total ? 0 : -EIO;
}

static int use_both_directions(void *arg)
{
    struct ouro_test_peer peer;
    struct duplex duplex = {.total = 2000000};
    struct ouro_task *reader = NULL;
    char text[OURO_TEST_ADDRESS_SIZE];
    int result = -1;
    (void)arg;
    ouro_test_peer_start(&peer, AF_INET, OURO_TEST_PEER_ECHO);
    ck_assert_int_eq(ouro_tcp_stream_connect(
                         OURO_ADDRS(ouro_test_address(AF_INET, peer.port, text)), &duplex.stream),
                     0);
    /* With two workers the reader is on either of them. */
    ck_assert_int_eq(ouro_task_spawn(duplex_reader, &duplex, &reader), 0);
    ck_assert_int_eq(duplex_writer(&duplex), 0);
    ck_assert_int_eq(ouro_task_join(reader, &result), 0);
    ck_assert_int_eq(result, 0);
    ck_assert_int_eq(ouro_stream_close(duplex.stream), 0);
    ouro_test_peer_stop(&peer);
    return 0;
}

OURO_TEST(a_reader_and_a_writer_at_once)
{
    for (int round = 0; round < 4; round++)
        everywhere(use_both_directions, NULL);
}

/* A task that reads one byte, however often somebody else is at it. */
struct reader {
    struct ouro_stream *stream;
    ssize_t result;
};

static int read_one(void *arg)
{
    struct reader *reader = arg;
    char byte = 0;
    do {
        reader->result = ouro_stream_read(reader->stream, &byte, 1);
    } while (reader->result == -EBUSY && ouro_sleep(OURO_MILLISECOND) == 0);
    return 0;
}

static int read_at_once(void *arg)
{
    struct pair pair = connected();
    struct reader reader = {.stream = pair.stream};
    struct ouro_task *task = NULL;
    char byte = 0;
    ssize_t n = 0;
    (void)arg;
    ck_assert_int_eq(ouro_task_spawn(read_one, &reader, &task), 0);
    /* As long as the other does not read, this one would: it must make room again. */
    do {
        struct ouro_deadline scope;
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
        ck_assert_int_eq(ouro_deadline_begin(&scope, OURO_MILLISECOND), 0);
        n = ouro_stream_read(pair.stream, &byte, 1);
        ouro_deadline_end(&scope);
    } while (n == -ETIMEDOUT);
    ck_assert_int_eq(n, -EBUSY);
    ck_assert_int_eq(ouro_stream_into_fd(pair.stream), -EBUSY);
    ck_assert_int_eq(ouro_stream_write(pair.stream, "w", 1), 1); /* writing is another matter */
    ouro_test_write_exactly(pair.peer, "r", 1);
    ck_assert_int_eq(ouro_task_join(task, NULL), 0);
    ck_assert_int_eq(reader.result, 1);
    disconnect(&pair);
    return 0;
}

OURO_TEST(a_second_reader_is_busy)
{
    everywhere(read_at_once, NULL);
}

/* A reader and a writer on two workers are the first to use a stream, at the same time. */
struct first {
    struct ouro_stream *stream;
    _Atomic int *arrived;
    bool writes;
};

static int use_first(void *arg)
{
    struct first *first = arg;
    char byte = 'x';
    atomic_fetch_add(first->arrived, 1);
    while (atomic_load(first->arrived) < 2)
        continue;
    return (int)(first->writes ? ouro_stream_write(first->stream, &byte, 1)
                               : ouro_stream_read(first->stream, &byte, 1));
}

static int use_at_once(void *arg)
{
    (void)arg;
    for (int round = 0; round < 1000; round++) {
        struct pair pair = connected();
        struct ouro_task *tasks[2];
        _Atomic int arrived = 0;
        int fd = ouro_stream_into_fd(pair.stream);
        ck_assert_int_eq(ouro_stream_from_fd(fd, &pair.stream), 0); /* not registered any more */
        struct first first[2] = {{.stream = pair.stream, .arrived = &arrived, .writes = true},
                                 {.stream = pair.stream, .arrived = &arrived, .writes = false}};
        ouro_test_write_exactly(pair.peer, "y", 1);
        for (uint32_t i = 0; i < 2; i++) {
            struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
            options.worker = i;
            ck_assert_int_eq(ouro_task_spawn_with(NULL, &options, use_first, &first[i], &tasks[i]),
                             0);
        }
        for (int i = 0; i < 2; i++) {
            int result = 0;
            ck_assert_int_eq(ouro_task_join(tasks[i], &result), 0);
            ck_assert_int_eq(result, 1);
        }
        disconnect(&pair);
    }
    return 0;
}

OURO_TEST(both_directions_may_be_the_first_to_register)
{
    in_place(IN_THREAD, use_at_once, NULL);
}
