/* SPDX-License-Identifier: MIT */
/*
 * Sending from files: every byte of the range and no other, over every kind of stream; files that
 * end early or are cut meanwhile; what is counted after a failure; and no SIGPIPE.
 */
#include "stream/relayed.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "ouro/error.h"
#include "ouro/stream.h"
#include "ouro/time.h"
#include "support/child.h"
#include "support/scratch.h"
#include "support/sockets.h"

enum { FILE_BYTES = 1500000 };

/* A file with @size bytes of flow 1, open for reading and writing. */
static int file_of(struct ouro_test_scratch *scratch, size_t size)
{
    unsigned char *bytes = malloc(size);
    int fd =
        open(ouro_test_scratch_path(scratch, "file"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    for (size_t i = 0; i < size; i++)
        bytes[i] = flow_byte(1, i);
    ck_assert_int_eq(pwrite(fd, bytes, size, 0), (ssize_t)size);
    free(bytes);
    return fd;
}

/* A stream of a kind, and the peer's descriptor. */
static struct ouro_stream *stream_of(enum ouro_stream_kind kind, int *out_peer)
{
    struct ouro_stream *stream = NULL;
    int ends[2];
    if (kind == OURO_STREAM_TCP) {
        struct pair pair = connected();
        *out_peer = pair.peer;
        return pair.stream;
    }
    if (kind == OURO_STREAM_UNIX) {
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    } else {
        ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
        int reader = ends[0];
        ends[0] = ends[1];
        ends[1] = reader;
    }
    ck_assert_int_eq(ouro_stream_from_fd(ends[0], &stream), 0);
    *out_peer = ends[1];
    return stream;
}

/* Reads to the end; the bytes must be those of the file from @start on. */
struct reader {
    int fd;
    uint64_t start;
    uint64_t count;
    uint64_t wrong;
    pthread_t thread;
};

static void *read_all(void *arg)
{
    struct reader *reader = arg;
    static __thread unsigned char bytes[50000];
    ssize_t n = 0;
    while ((n = read(reader->fd, bytes, (size_t)(reader->count * 7 % sizeof(bytes)) + 1)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            reader->wrong += bytes[i] != flow_byte(1, reader->start + reader->count + (uint64_t)i);
        reader->count += (uint64_t)n;
    }
    ck_assert_msg(n == 0, "read: %m");
    return NULL;
}

struct range {
    uint64_t offset, size, sent;
};

static int send_ranges(void *arg)
{
    static const struct range ranges[] = {
        {0, FILE_BYTES, FILE_BYTES},
        {1234567, 100, 100},
        {4095, 1200001, 1200001},
        {FILE_BYTES - 10, 100, 10},
        {5, UINT64_MAX, FILE_BYTES - 5},
        {FILE_BYTES, 100, 0},
        {FILE_BYTES + 1000, UINT64_MAX, 0},
        {INT64_MAX, UINT64_MAX, 0},
        {0, 0, 0},
    };
    const int fd = *(int *)arg;
    ck_assert_int_eq(lseek(fd, 77, SEEK_SET), 77);
    for (int kind = OURO_STREAM_TCP; kind <= OURO_STREAM_PIPE; kind++) {
        for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
            struct reader reader = {.start = ranges[i].offset};
            uint64_t sent = 99;
            struct ouro_stream *stream = stream_of((enum ouro_stream_kind)kind, &reader.fd);
            ck_assert_int_eq(pthread_create(&reader.thread, NULL, read_all, &reader), 0);
            ck_assert_int_eq(
                ouro_stream_send_file(stream, fd, ranges[i].offset, ranges[i].size, &sent), 0);
            ck_assert_uint_eq(sent, ranges[i].sent);
            ck_assert_int_eq(ouro_stream_close(stream), 0);
            ck_assert_int_eq(pthread_join(reader.thread, NULL), 0);
            ck_assert_uint_eq(reader.count, sent);
            ck_assert_uint_eq(reader.wrong, 0);
            (void)close(reader.fd);
        }
    }
    ck_assert_int_eq(lseek(fd, 0, SEEK_CUR), 77); /* the file's own offset is as it was */
    return 0;
}

static void with_file(ouro_task_function *body, size_t size)
{
    struct ouro_test_scratch scratch;
    ouro_test_scratch_open(&scratch);
    int fd = file_of(&scratch, size);
    everywhere(body, &fd);
    (void)close(fd);
    ouro_test_scratch_close(&scratch);
}

OURO_TEST(every_byte_of_the_range_arrives_and_no_other)
{
    with_file(send_ranges, FILE_BYTES);
}

/* A header, a file and a trailer follow each other. */
static int send_between_writes(void *arg)
{
    struct pair pair = connected();
    char got[9];
    (void)arg;
    ck_assert_int_eq(ouro_tcp_stream_set_cork(pair.stream, 1), 0);
    ck_assert_int_eq(ouro_stream_write_all(pair.stream, "abc", 3, NULL), 0);
    ck_assert_int_eq(ouro_stream_send_file(pair.stream, *(int *)arg, 10, 3, NULL), 0);
    ck_assert_int_eq(ouro_stream_write_all(pair.stream, "xyz", 3, NULL), 0);
    ck_assert_int_eq(ouro_tcp_stream_set_cork(pair.stream, 0), 0);
    ouro_test_read_exactly(pair.peer, got, 9);
    ck_assert_mem_eq(got, "abc", 3);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_uint_eq((unsigned char)got[3 + i], flow_byte(1, 10 + i));
    ck_assert_mem_eq(got + 6, "xyz", 3);
    disconnect(&pair);
    return 0;
}

OURO_TEST(a_file_goes_between_two_writes)
{
    with_file(send_between_writes, 100);
}

enum { CUT_BYTES = 1 << 20, LONG_BYTES = 6 << 20 };

struct cutter {
    struct reader reader;
    int file;
};

/* Reads a little, cuts the file, reads the rest. */
static void *read_and_cut(void *arg)
{
    struct cutter *cutter = arg;
    unsigned char bytes[1000];
    ouro_test_read_exactly(cutter->reader.fd, bytes, sizeof(bytes));
    for (size_t i = 0; i < sizeof(bytes); i++)
        cutter->reader.wrong += bytes[i] != flow_byte(1, i);
    ck_assert_int_eq(ftruncate(cutter->file, CUT_BYTES), 0);
    static __thread unsigned char rest[65536];
    uint64_t count = sizeof(bytes);
    ssize_t n = 0;
    while ((n = read(cutter->reader.fd, rest, sizeof(rest))) > 0) {
        for (ssize_t i = 0; i < n && count + (uint64_t)i < CUT_BYTES; i++)
            cutter->reader.wrong += rest[i] != flow_byte(1, count + (uint64_t)i);
        count += (uint64_t)n;
    }
    cutter->reader.count = count;
    return NULL;
}

static int send_what_is_cut(void *arg)
{
    struct ouro_test_scratch *scratch = arg;
    struct cutter cutter = {.file = file_of(scratch, LONG_BYTES)};
    uint64_t sent = 0;
    struct ouro_stream *stream = stream_of(OURO_STREAM_UNIX, &cutter.reader.fd);
    ck_assert_int_eq(pthread_create(&cutter.reader.thread, NULL, read_and_cut, &cutter), 0);
    ck_assert_int_eq(ouro_stream_send_file(stream, cutter.file, 0, LONG_BYTES, &sent), 0);
    ck_assert_int_eq(ouro_stream_close(stream), 0);
    ck_assert_int_eq(pthread_join(cutter.reader.thread, NULL), 0);
    ck_assert_uint_eq(cutter.reader.count, sent);
    ck_assert_uint_eq(cutter.reader.wrong, 0);
    ck_assert_uint_ge(sent, CUT_BYTES);
    ck_assert_uint_lt(sent, LONG_BYTES);
    (void)close(cutter.reader.fd);
    (void)close(cutter.file);
    return 0;
}

OURO_TEST(a_file_that_is_cut_meanwhile_ends_early)
{
    struct ouro_test_scratch scratch;
    ouro_test_scratch_open(&scratch);
    everywhere(send_what_is_cut, &scratch);
    ouro_test_scratch_close(&scratch);
}

static uint64_t count_until_end(int fd)
{
    static __thread char bytes[65536];
    uint64_t count = 0;
    ssize_t n = 0;
    while ((n = read(fd, bytes, sizeof(bytes))) > 0)
        count += (uint64_t)n;
    ck_assert_int_eq(n, 0);
    return count;
}

/* Nobody reads until the deadline: what was counted is what arrives. */
static int send_until_deadline(void *arg)
{
    for (int kind = OURO_STREAM_UNIX; kind <= OURO_STREAM_PIPE; kind++) {
        struct ouro_deadline scope;
        uint64_t sent = 0;
        int peer = -1;
        struct ouro_stream *stream = stream_of((enum ouro_stream_kind)kind, &peer);
        ck_assert_int_eq(ouro_deadline_begin(&scope, 30 * OURO_TEST_MS), 0);
        ck_assert_int_eq(ouro_stream_send_file(stream, *(int *)arg, 0, FILE_BYTES, &sent),
                         -ETIMEDOUT);
        ouro_deadline_end(&scope);
        ck_assert_int_eq(ouro_stream_close(stream), 0);
        ck_assert_uint_eq(count_until_end(peer), sent);
        ck_assert_uint_lt(sent, FILE_BYTES);
        (void)close(peer);
    }
    return 0;
}

OURO_TEST(a_deadline_ends_it_and_what_was_sent_is_known)
{
    with_file(send_until_deadline, FILE_BYTES);
}

struct sending {
    struct ouro_stream *stream;
    int file;
    uint64_t sent;
};

static int send_it(void *arg)
{
    struct sending *sending = arg;
    return ouro_stream_send_file(sending->stream, sending->file, 0, UINT64_MAX, &sending->sent);
}

/* @round: cancelled, or its stream closed by another; another writer is busy meanwhile. */
static int end_from_outside(void *arg)
{
    for (int round = 0; round < 2; round++) {
        struct sending sending = {.file = *(int *)arg};
        struct ouro_task *task = NULL;
        int peer = -1;
        int result = 0;
        char byte = 0;
        sending.stream = stream_of(OURO_STREAM_UNIX, &peer);
        ck_assert_int_eq(ouro_task_spawn(send_it, &sending, &task), 0);
        while (recv(peer, &byte, 1, MSG_DONTWAIT) != 1) /* so it has begun */
            ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
        ck_assert_int_eq(ouro_stream_write(sending.stream, &byte, 1), -EBUSY);
        if (round == 0)
            ck_assert_int_eq(ouro_task_cancel(task), 0);
        else
            ck_assert_int_eq(ouro_stream_close(sending.stream), 0);
        ck_assert_int_eq(ouro_task_join(task, &result), 0);
        ck_assert_int_eq(result, -ECANCELED);
        if (round == 0)
            ck_assert_int_eq(ouro_stream_close(sending.stream), 0);
        ck_assert_uint_eq(count_until_end(peer) + 1, sending.sent);
        (void)close(peer);
    }
    return 0;
}

OURO_TEST(cancellation_and_close_end_it)
{
    with_file(end_from_outside, FILE_BYTES);
}

static void *read_and_go(void *arg)
{
    static __thread char bytes[100000];
    const int fd = *(int *)arg;
    for (size_t count = 0; count < sizeof(bytes);) {
        ssize_t n = read(fd, bytes, sizeof(bytes));
        ck_assert_int_gt(n, 0);
        count += (size_t)n;
    }
    (void)close(fd);
    return NULL;
}

static int send_to_one_who_goes(void *arg)
{
    for (int kind = OURO_STREAM_TCP; kind <= OURO_STREAM_PIPE; kind++) {
        uint64_t sent = 0;
        int peer = -1;
        pthread_t thread;
        struct ouro_stream *stream = stream_of((enum ouro_stream_kind)kind, &peer);
        ck_assert_int_eq(pthread_create(&thread, NULL, read_and_go, &peer), 0);
        int rc = 0;
        while (rc == 0) /* TCP may take all before it hears of the end */
            rc = ouro_stream_send_file(stream, *(int *)arg, 0, UINT64_MAX, &sent);
        ck_assert_msg(rc == -EPIPE || rc == -ECONNRESET, "send_file: %d", rc);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
        ck_assert_int_eq(ouro_stream_send_file(stream, *(int *)arg, 0, 1, &sent), -EPIPE);
        ck_assert_uint_eq(sent, 0);
        ck_assert_int_eq(ouro_stream_close(stream), 0);
    }
    return 0;
}

static int with_default_sigpipe(void *arg)
{
    (void)arg;
    (void)signal(SIGPIPE, SIG_DFL);
    with_file(send_to_one_who_goes, FILE_BYTES);
    return 0;
}

OURO_TEST(a_peer_that_goes_is_an_error_and_no_signal)
{
    ouro_test_child_must_pass(with_default_sigpipe, NULL);
}

static int send_what_is_no_file(void *arg)
{
    struct pair pair = connected();
    struct ouro_test_scratch *scratch = arg;
    uint64_t sent = 99;
    int fds[2];
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    int for_writing =
        open(ouro_test_scratch_path(scratch, "file"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    int directory = open(scratch->directory, O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(write(for_writing, "x", 1), 1);
    ck_assert_int_eq(ouro_stream_send_file(pair.stream, fds[0], 0, 1, &sent), -EINVAL);
    ck_assert_uint_eq(sent, 0);
    ck_assert_int_eq(ouro_stream_send_file(pair.stream, pair.peer, 0, 1, NULL), -EINVAL);
    ck_assert_int_eq(ouro_stream_send_file(pair.stream, directory, 0, 1, NULL), -EINVAL);
    ck_assert_int_eq(ouro_stream_send_file(pair.stream, for_writing, 0, 1, NULL), -EBADF);
    ck_assert_int_eq(ouro_stream_send_file(pair.stream, -1, 0, 1, NULL), -EBADF);
    ck_assert_int_eq(ouro_stream_send_file(pair.stream, 10000, 0, 1, NULL), -EBADF);
    (void)close(fds[0]);
    (void)close(fds[1]);
    (void)close(for_writing);
    (void)close(directory);
    disconnect(&pair);
    return 0;
}

OURO_TEST(what_is_no_file_is_refused)
{
    struct ouro_test_scratch scratch;
    ouro_test_scratch_open(&scratch);
    everywhere(send_what_is_no_file, &scratch);
    ouro_test_scratch_close(&scratch);
}
