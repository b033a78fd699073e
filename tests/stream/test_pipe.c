/* SPDX-License-Identifier: MIT */
/*
 * Pipes: bytes through them, waiting at both ends, their ends, FIFOs, and that no write to one
 * raises SIGPIPE.
 */
#include "net/everywhere.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "ouro/error.h"
#include "ouro/stream.h"
#include "ouro/time.h"
#include "stream/fill.h"
#include "stream/pipe.h"
#include "support/scratch.h"
#include "support/sockets.h"

#define TOTAL ((size_t)(1000000 / ouro_test_slowness()))

struct ends {
    struct ouro_stream *reader;
    struct ouro_stream *writer;
};

static struct ends piped(void)
{
    struct ends ends = {NULL, NULL};
    ck_assert_int_eq(ouro_pipe(&ends.reader, &ends.writer), 0);
    ck_assert_int_eq(ouro_stream_kind(ends.reader), OURO_STREAM_PIPE);
    ck_assert_int_eq(ouro_stream_kind(ends.writer), OURO_STREAM_PIPE);
    return ends;
}

static void close_both(struct ends *ends)
{
    ck_assert_int_eq(ouro_stream_close(ends->reader), 0);
    ck_assert_int_eq(ouro_stream_close(ends->writer), 0);
}

static unsigned char byte_at(size_t position)
{
    return (unsigned char)(position * 31 + (position >> 8) * 7 + 1);
}

/* Writes TOTAL bytes in pieces of many sizes, in all three ways, and closes. */
static int write_total(void *arg)
{
    struct ouro_stream *writer = arg;
    static _Thread_local unsigned char buffer[100000];
    for (size_t done = 0, turn = 0; done < TOTAL; turn++) {
        size_t size = done * 13 % sizeof(buffer) + 1;
        size = size < TOTAL - done ? size : TOTAL - done;
        for (size_t i = 0; i < size; i++)
            buffer[i] = byte_at(done + i);
        struct iovec parts[2] = {{.iov_base = buffer, .iov_len = size / 2},
                                 {.iov_base = buffer + size / 2, .iov_len = size - size / 2}};
        ssize_t n = 0;
        size_t written = 0;
        if (turn % 3 == 0)
            n = ouro_stream_write(writer, buffer, size);
        else if (turn % 3 == 1)
            n = ouro_stream_writev(writer, parts, 2);
        else if ((n = ouro_stream_write_all(writer, buffer, size, &written)) == 0)
            n = (ssize_t)written;
        if (n <= 0)
            return n == 0 ? -EIO : (int)n;
        done += (size_t)n;
    }
    return ouro_stream_close(writer);
}

static int carry(void *arg)
{
    struct ends ends = piped();
    struct ouro_task *task = NULL;
    static _Thread_local unsigned char buffer[70000];
    int result = -1;
    size_t done = 0;
    ssize_t n = 0;
    (void)arg;
    ck_assert_int_eq(ouro_task_spawn(write_total, ends.writer, &task), 0);
    do {
        size_t size = done * 17 % sizeof(buffer) + 1;
        struct iovec parts[2] = {{.iov_base = buffer, .iov_len = size / 3},
                                 {.iov_base = buffer + size / 3, .iov_len = size - size / 3}};
        n = done % 2 == 0 ? ouro_stream_read(ends.reader, buffer, size)
                          : ouro_stream_readv(ends.reader, parts, 2);
        ck_assert_msg(n >= 0, "read: %zd", n);
        for (ssize_t i = 0; i < n; i++)
            ck_assert_uint_eq(buffer[i], byte_at(done + (size_t)i));
        done += (size_t)n;
    } while (n > 0);
    ck_assert_uint_eq(done, TOTAL);
    ck_assert_int_eq(ouro_task_join(task, &result), 0);
    ck_assert_int_eq(result, 0);
    ck_assert_int_eq(ouro_stream_close(ends.reader), 0);
    return 0;
}

OURO_TEST(a_pipe_carries_every_byte)
{
    everywhere(carry, NULL);
}

static int misuse(void *arg)
{
    struct ends ends = piped();
    struct ouro_stream *other = NULL;
    char byte = 'x';
    (void)arg;
    ck_assert_int_eq(ouro_pipe(NULL, &other), -EINVAL);
    ck_assert_int_eq(ouro_pipe(&other, NULL), -EINVAL);
    ck_assert_ptr_null(other);
    ck_assert_int_eq(ouro_stream_peek(ends.reader, &byte, 1), -EOPNOTSUPP);
    ck_assert_int_eq(ouro_stream_shutdown(ends.writer, OURO_SHUTDOWN_WRITE), -EOPNOTSUPP);
    ck_assert_int_eq(ouro_stream_read(ends.writer, &byte, 1), -EBADF);
    ck_assert_int_eq(ouro_stream_write(ends.reader, &byte, 1), -EBADF);
    ck_assert_int_eq(ouro_stream_read(ends.reader, NULL, 0), 0);
    ck_assert_int_eq(ouro_stream_kind(NULL), 0);
    close_both(&ends);
    return 0;
}

OURO_TEST(what_a_pipe_cannot_do_is_an_error)
{
    everywhere(misuse, NULL);
}

static int reach_limits(void *arg)
{
    struct ends ends = piped();
    struct ouro_deadline scope;
    static char zeroes[1 << 20];
    char byte = 0;
    (void)arg;
    ck_assert_int_eq(ouro_deadline_begin(&scope, 10 * OURO_TEST_MS), 0);
    ck_assert_int_eq(ouro_stream_read(ends.reader, &byte, 1), -ETIMEDOUT);
    ouro_deadline_end(&scope);
    size_t written = fill_stream(ends.writer, zeroes, sizeof(zeroes));
    ck_assert_uint_eq(written, (size_t)fcntl(ouro_stream_fd(ends.writer), F_GETPIPE_SZ));
    /* Exactly that is in the pipe. */
    for (size_t left = written; left > 0;) {
        ssize_t n = ouro_stream_read(ends.reader, zeroes, sizeof(zeroes));
        ck_assert_int_gt(n, 0);
        left -= (size_t)n;
    }
    ck_assert_int_eq(ouro_stream_close(ends.writer), 0);
    ck_assert_int_eq(ouro_stream_read(ends.reader, &byte, 1), 0);
    ck_assert_int_eq(ouro_stream_read(ends.reader, &byte, 1), 0);
    ck_assert_int_eq(ouro_stream_close(ends.reader), 0);
    return 0;
}

OURO_TEST(deadlines_end_waits_at_both_ends)
{
    everywhere(reach_limits, NULL);
}

static void read_in_vain(struct ouro_stream *reader)
{
    struct ouro_deadline scope;
    char byte = 0;
    ck_assert_int_eq(ouro_deadline_begin(&scope, OURO_TEST_MS), 0);
    ck_assert_int_eq(ouro_stream_read(reader, &byte, 1), -ETIMEDOUT);
    ouro_deadline_end(&scope);
}

/* A call has waited at each end, so the driver watches both.  Each close is seen at once. */
static int close_after_a_wait(void *arg)
{
    struct ends ends = piped();
    char byte = 0;
    int fds[2];
    (void)arg;
    read_in_vain(ends.reader);
    int writer = ouro_stream_into_fd(ends.writer);
    ck_assert_int_eq(ouro_stream_close(ends.reader), 0);
    ouro__pipe_use_nosignal(true);
    ck_assert_int_eq(ouro_stream_from_fd(writer, &ends.writer), 0);
    ck_assert_int_eq(ouro_stream_write(ends.writer, "x", 1), -EPIPE);
    ck_assert_int_eq(ouro_stream_close(ends.writer), 0);

    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    ck_assert_int_eq(ouro_stream_from_fd(fds[1], &ends.writer), 0);
    static char zeroes[1 << 20];
    size_t written = fill_stream(ends.writer, zeroes, sizeof(zeroes));
    ck_assert_int_eq(ouro_stream_close(ends.writer), 0);
    for (ssize_t n = 1; n > 0;) {
        n = read(fds[0], zeroes, sizeof(zeroes)); /* blocks while there is a writer */
        ck_assert_int_ge(n, 0);
        written -= (size_t)n;
    }
    ck_assert_uint_eq(written, 0);
    ck_assert_int_eq(read(fds[0], &byte, 1), 0);
    (void)close(fds[0]);
    return 0;
}

OURO_TEST(the_other_end_sees_a_close_at_once)
{
    in_place(IN_TASK, close_after_a_wait, NULL);
    in_place(IN_OWN_THREAD, close_after_a_wait, NULL);
    in_place(IN_WORKER_TASK, close_after_a_wait, NULL);
}

static int read_for_ever(void *arg)
{
    char byte = 0;
    return (int)ouro_stream_read(arg, &byte, 1);
}

static int write_for_ever(void *arg)
{
    static char zeroes[1 << 20];
    return ouro_stream_write_all(arg, zeroes, sizeof(zeroes), NULL);
}

/* One call waits at each end of a pipe of its own.  @end ends each, with -ECANCELED. */
static int end_waits(void (*end)(struct ouro_stream *stream, struct ouro_task *task))
{
    struct ends quiet = piped();
    struct ends full = piped();
    struct ouro_task *tasks[2];
    struct ouro_stream *used[2] = {quiet.reader, full.writer};
    ck_assert_int_eq(ouro_task_spawn(read_for_ever, used[0], &tasks[0]), 0);
    ck_assert_int_eq(ouro_task_spawn(write_for_ever, used[1], &tasks[1]), 0);
    for (int i = 0; i < 2; i++) {
        while (atomic_load(&used[i]->descriptor.calls) == 0)
            ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
        int result = 0;
        end(used[i], tasks[i]);
        ck_assert_int_eq(ouro_task_join(tasks[i], &result), 0);
        ck_assert_int_eq(result, -ECANCELED);
    }
    return ouro_stream_close(quiet.writer) | ouro_stream_close(full.reader);
}

static void close_under(struct ouro_stream *stream, struct ouro_task *task)
{
    (void)task;
    ck_assert_int_eq(ouro_stream_close(stream), 0);
}

static void cancel_then_close(struct ouro_stream *stream, struct ouro_task *task)
{
    ck_assert_int_eq(ouro_task_cancel(task), 0);
    while (atomic_load(&stream->descriptor.calls) != 0)
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
    ck_assert_int_eq(ouro_stream_close(stream), 0);
}

static int end_waits_by_close(void *arg)
{
    (void)arg;
    return end_waits(close_under);
}

static int end_waits_by_cancel(void *arg)
{
    (void)arg;
    return end_waits(cancel_then_close);
}

OURO_TEST(close_ends_the_calls_of_others_on_a_pipe)
{
    for (int round = 0; round < 20; round++)
        everywhere(end_waits_by_close, NULL);
}

OURO_TEST(cancellation_ends_waits_at_both_ends)
{
    everywhere(end_waits_by_cancel, NULL);
}

/* The other call may be anywhere: about to begin, registering, waiting, leaving. */
static int close_at_any_moment(void *arg)
{
    (void)arg;
    for (int round = 0; round < 300; round++) {
        struct ends ends = piped();
        struct ouro_task *task = NULL;
        int result = 0;
        ck_assert_int_eq(ouro_task_spawn(read_for_ever, ends.reader, &task), 0);
        while (atomic_load(&ends.reader->descriptor.calls) == 0)
            ck_assert_int_eq(ouro_yield(), 0);
        close_both(&ends);
        ck_assert_int_eq(ouro_task_join(task, &result), 0);
        ck_assert_int_eq(result, -ECANCELED);
    }
    return 0;
}

OURO_TEST(close_meets_a_wait_for_a_pipe_at_any_moment)
{
    in_place(IN_TASK, close_at_any_moment, NULL);
    in_place(IN_WORKER_TASK, close_at_any_moment, NULL);
    in_place(IN_THREAD, close_at_any_moment, NULL);
    in_place(IN_DRIVER_THREAD, close_at_any_moment, NULL);
}

static _Atomic int signals;

static void count_signal(int number)
{
    (void)number;
    atomic_fetch_add(&signals, 1);
}

static bool is_pending(void)
{
    sigset_t pending;
    ck_assert_int_eq(sigpending(&pending), 0);
    return sigismember(&pending, SIGPIPE) == 1;
}

/* Two pipes have lost their reader: one before the write, one while the writer waits for room. */
static int write_without_reader(void *arg)
{
    struct ends ends = piped();
    sigset_t before;
    sigset_t after;
    (void)arg;
    ck_assert_int_eq(pthread_sigmask(SIG_SETMASK, NULL, &before), 0);
    ck_assert_int_eq(ouro_stream_close(ends.reader), 0);
    ck_assert_int_eq(ouro_stream_write(ends.writer, "x", 1), -EPIPE);
    ck_assert_int_eq(ouro_stream_write_all(ends.writer, "x", 1, NULL), -EPIPE);
    ck_assert_int_eq(ouro_stream_close(ends.writer), 0);
    ck_assert_int_eq(pthread_sigmask(SIG_SETMASK, NULL, &after), 0);
    ck_assert_int_eq(sigismember(&after, SIGPIPE), sigismember(&before, SIGPIPE));
    ck_assert(!is_pending());

    struct ouro_task *task = NULL;
    int result = 0;
    ends = piped();
    ck_assert_int_eq(ouro_task_spawn(write_for_ever, ends.writer, &task), 0);
    while (atomic_load(&ends.writer->descriptor.calls) == 0)
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
    ck_assert_int_eq(ouro_stream_close(ends.reader), 0);
    ck_assert_int_eq(ouro_task_join(task, &result), 0);
    ck_assert_int_eq(result, -EPIPE);
    ck_assert_int_eq(ouro_stream_close(ends.writer), 0);
    ck_assert_int_eq(atomic_load(&signals), 0);
    return 0;
}

static void raises_no_signal(bool use_nosignal)
{
    struct sigaction before;
    struct sigaction count = {.sa_handler = count_signal};
    ck_assert_int_eq(sigaction(SIGPIPE, &count, &before), 0);
    for (int place = 0; place < PLACES; place++) {
        ouro__pipe_use_nosignal(use_nosignal);
        in_place((enum place)place, write_without_reader, NULL);
    }
    ouro__pipe_use_nosignal(true);
    ck_assert_int_eq(sigaction(SIGPIPE, &before, NULL), 0);
}

OURO_TEST(no_write_raises_sigpipe)
{
    raises_no_signal(true);
}

OURO_TEST(no_write_raises_sigpipe_on_kernels_without_the_flag)
{
    raises_no_signal(false);
}

/* A thread that blocks SIGPIPE and has one pending keeps it. */
static int write_with_a_pending_signal(void *arg)
{
    struct ends ends = piped();
    sigset_t set;
    sigset_t before;
    (void)arg;
    ck_assert_int_eq(sigemptyset(&set), 0);
    ck_assert_int_eq(sigaddset(&set, SIGPIPE), 0);
    ck_assert_int_eq(pthread_sigmask(SIG_BLOCK, &set, &before), 0);
    ck_assert_int_eq(pthread_kill(pthread_self(), SIGPIPE), 0);
    ck_assert_int_eq(ouro_stream_close(ends.reader), 0);
    ck_assert_int_eq(ouro_stream_write(ends.writer, "x", 1), -EPIPE);
    ck_assert(is_pending());
    ck_assert_int_eq(ouro_stream_close(ends.writer), 0);
    ck_assert_int_eq(sigwaitinfo(&set, NULL), SIGPIPE);
    ck_assert_int_eq(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
    return 0;
}

OURO_TEST(a_pending_sigpipe_stays_pending)
{
    ouro__pipe_use_nosignal(false);
    in_place(IN_OWN_THREAD, write_with_a_pending_signal, NULL);
    in_place(IN_THREAD, write_with_a_pending_signal, NULL);
    ouro__pipe_use_nosignal(true);
}

/* Each allocation fails in turn, and nothing is left. */
static int lack_memory(void *arg)
{
    struct ends ends = {NULL, NULL};
    uint64_t failures = 0;
    int rc = -ENOMEM;
    char byte = 0;
    (void)arg;
    for (uint64_t nth = 1; rc != 0; nth++) {
        ouro__alloc_fail_at(nth);
        rc = ouro_pipe(&ends.reader, &ends.writer);
        ouro__alloc_fail_at(0);
        ck_assert(rc == 0 || rc == -ENOMEM);
        failures += rc != 0;
    }
    ck_assert_uint_eq(failures, 2);
    rc = -ENOMEM;
    for (uint64_t nth = 1; rc == -ENOMEM; nth++) {
        struct ouro_deadline scope;
        ck_assert_int_eq(ouro_deadline_begin(&scope, OURO_TEST_MS), 0);
        ouro__alloc_fail_at(nth);
        rc = (int)ouro_stream_read(ends.reader, &byte, 1);
        ouro__alloc_fail_at(0);
        ouro_deadline_end(&scope);
    }
    ck_assert_int_eq(rc, -ETIMEDOUT);
    close_both(&ends);
    return 0;
}

OURO_TEST(lack_of_memory_leaves_no_pipe)
{
    everywhere(lack_memory, NULL);
}

static int lack_descriptors(void *arg)
{
    struct ends ends = {NULL, NULL};
    struct rlimit before;
    (void)arg;
    int next = dup(0);
    (void)close(next);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit one = {.rlim_cur = (rlim_t)next + 1, .rlim_max = before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &one), 0);
    ck_assert_int_eq(ouro_pipe(&ends.reader, &ends.writer), -EMFILE);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert_ptr_null(ends.reader);
    return 0;
}

OURO_TEST(lack_of_descriptors_makes_no_pipe)
{
    everywhere(lack_descriptors, NULL);
}

/* With no descriptor left, waiting for a pipe works all the same. */
static int wait_without_descriptors(void *arg)
{
    struct ends ends = piped();
    struct rlimit before;
    (void)arg;
    int next = dup(0); /* the lowest that is free */
    (void)close(next);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit none = {.rlim_cur = (rlim_t)next, .rlim_max = before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    read_in_vain(ends.reader);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    close_both(&ends);
    return 0;
}

OURO_TEST(waiting_for_a_pipe_takes_no_descriptor)
{
    everywhere(wait_without_descriptors, NULL);
}

/* One descriptor of a FIFO that reads and writes, used by two tasks at once. */
static int use_fifo(void *arg)
{
    struct ouro_test_scratch scratch;
    struct ouro_stream *fifo = NULL;
    struct ouro_task *task = NULL;
    int result = 0;
    (void)arg;
    ouro_test_scratch_open(&scratch);
    const char *path = ouro_test_scratch_path(&scratch, "fifo");
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ouro_stream_from_fd(fd, &fifo), 0);
    ck_assert_int_eq(ouro_task_spawn(write_for_ever, fifo, &task), 0);
    size_t left = 1 << 20;
    static _Thread_local char buffer[30000];
    while (left > 0) {
        ssize_t n = ouro_stream_read(fifo, buffer, sizeof(buffer));
        ck_assert_int_gt(n, 0);
        left -= (size_t)n;
    }
    ck_assert_int_eq(ouro_task_join(task, &result), 0);
    ck_assert_int_eq(result, 0);
    ck_assert_int_eq(ouro_stream_close(fifo), 0);
    ouro_test_scratch_close(&scratch);
    return 0;
}

OURO_TEST(a_fifo_reads_and_writes_at_once)
{
    everywhere(use_fifo, NULL);
}

/* A FIFO with a byte in it is ready for both directions. */
struct half {
    struct ouro_handle *handle;
    struct ouro_stream *fifo;
    _Atomic int *arrived;
    unsigned lane;
    uint32_t interest;
    int rc;
};

static void *wait_first(void *arg)
{
    struct half *half = arg;
    struct ouro__descriptor *descriptor = &half->fifo->descriptor;
    struct ouro__context *context = NULL;
    uint64_t word = 0;
    ck_assert_int_eq(ouro_enter(half->handle), 0);
    ck_assert_int_eq(ouro__context_enter(&context), 0);
    ck_assert_int_eq(ouro__descriptor_enter(descriptor, half->lane), 0);
    atomic_fetch_add(half->arrived, 1);
    while (atomic_load(half->arrived) < 2)
        continue;
    half->rc = ouro__descriptor_await_ready(descriptor, context, half->interest, &word);
    ouro__descriptor_leave(descriptor, half->lane);
    ouro_leave();
    return NULL;
}

/* Two threads with one driver: both directions may wait for the first time at the same moment. */
static int register_twice(void *arg)
{
    struct ouro_handle *handle = ouro_handle_current();
    for (int round = 0; round < 300; round++) {
        _Atomic int arrived = 0;
        struct ouro_stream *fifo = NULL;
        pthread_t threads[2];
        int fd = open(arg, O_RDWR | O_CLOEXEC);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(write(fd, "x", 1), 1);
        ck_assert_int_eq(ouro_stream_from_fd(fd, &fifo), 0);
        struct half halves[2] = {
            {handle, fifo, &arrived, OURO__LANE_READ, OURO_READABLE, -1},
            {handle, fifo, &arrived, OURO__LANE_WRITE, OURO_WRITABLE, -1},
        };
        for (int i = 0; i < 2; i++)
            ck_assert_int_eq(pthread_create(&threads[i], NULL, wait_first, &halves[i]), 0);
        for (int i = 0; i < 2; i++) {
            ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
            ck_assert_msg(halves[i].rc == 0, "direction %d: %s", i, ouro_err_name(halves[i].rc));
        }
        ck_assert_int_eq(ouro_stream_close(fifo), 0);
    }
    ouro_handle_unref(handle);
    return 0;
}

OURO_TEST(both_directions_of_a_fifo_may_be_the_first_to_wait)
{
    struct ouro_test_scratch scratch;
    char path[sizeof(scratch.path)];
    ouro_test_scratch_open(&scratch);
    (void)snprintf(path, sizeof(path), "%s", ouro_test_scratch_path(&scratch, "fifo"));
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    in_place(IN_DRIVER_THREAD, register_twice, path);
    ouro_test_scratch_close(&scratch);
}
