/* SPDX-License-Identifier: MIT */
/*
 * Pipe streams: the kind PIPE, one end of a pipe or FIFO.
 *
 * A read or write is tried at once, by the system call.  After EAGAIN the call waits until the
 * driver reports readiness, and tries again.  This is not an operation of the ring: a read of a
 * non-blocking pipe through io_uring returns EAGAIN instead of waiting, and a blocking pipe takes
 * one of the kernel's worker threads for each waiting read on kernels before 6.4.
 *
 * Writing to a pipe without a reader raises SIGPIPE in the thread that writes, and there is no
 * MSG_NOSIGNAL for pipes.  Since Linux 6.18 pwritev2(2) has RWF_NOSIGNAL.  Elsewhere the signal is
 * held off during the write (stream/sigpipe.h).
 *
 * Owns:    nothing; the direction is held by the public call (stream.c).
 * Threads: any.
 * Always:  SIGPIPE is never delivered because of a write here; a signal that was pending before
 *          stays pending.
 * Tests:   tests/stream/test_pipe.c
 */
#include "stream/pipe.h"

#include "base/alloc.h"
#include "base/kernel.h"
#include "registry/lending.h"
#include "registry/readiness.h"
#include "stream/sigpipe.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

static _Atomic bool lacks_nosignal; /* this kernel has no RWF_NOSIGNAL */

void ouro__pipe_use_nosignal(bool use)
{
    ouro__store(&lacks_nosignal, !use, memory_order_relaxed);
}

static size_t bytes_of(const struct iovec *vectors, int count)
{
    size_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += vectors[i].iov_len;
    return bytes;
}

/* Writes with SIGPIPE held off. */
static ssize_t write_holding_the_signal(int fd, const struct iovec *vectors, int count)
{
    struct ouro__sigpipe held;
    ouro__sigpipe_hold(&held);
    ssize_t n = ouro__kernel_writev(fd, vectors, count);
    ouro__sigpipe_release(&held, n < 0 || (size_t)n < bytes_of(vectors, count));
    return n;
}

/* One write: a count or -errno. */
static ssize_t write_once(int fd, const struct iovec *vectors, int count)
{
    if (!ouro__load(&lacks_nosignal, memory_order_relaxed)) {
        ssize_t n = ouro__kernel_writev_nosignal(fd, vectors, count);
        if (n != -EOPNOTSUPP && n != -ENOSYS)
            return n;
        ouro__pipe_use_nosignal(false);
    }
    return write_holding_the_signal(fd, vectors, count);
}

typedef ssize_t transfer_function(int fd, const struct iovec *vectors, int count);

/* Tries, and waits for readiness as long as the answer is EAGAIN. */
static ssize_t transfer(struct ouro_stream *stream, struct ouro__context *context,
                        transfer_function *try_once, uint32_t interest, const struct iovec *vectors,
                        int count)
{
    struct ouro__descriptor *descriptor = &stream->descriptor;
    uint64_t seen = 0;
    int rc = ouro__context_interrupted_io(context);
    if (rc < 0)
        return rc;
    for (;;) {
        ssize_t n = try_once(descriptor->fd, vectors, count);
        if (n == -EINTR)
            continue;
        /* Also between two tries: readiness that the try does not confirm must not keep the worker
         * from its other tasks. */
        ouro__context_spend(context);
        if (n != -EAGAIN)
            return n;
        if (seen != 0)
            ouro__descriptor_clear(descriptor, seen, interest);
        rc = ouro__descriptor_await_ready(descriptor, context, interest, &seen);
        if (rc < 0)
            return rc;
    }
}

static ssize_t pipe_readv(struct ouro_stream *stream, struct ouro__context *context,
                          const struct iovec *vectors, int count)
{
    return transfer(stream, context, ouro__kernel_readv, OURO_READABLE, vectors, count);
}

static ssize_t pipe_read(struct ouro_stream *stream, struct ouro__context *context, void *buffer,
                         size_t size, uint32_t flags)
{
    if ((flags & MSG_PEEK) != 0)
        return -EOPNOTSUPP;
    const struct iovec vector = {.iov_base = buffer, .iov_len = size};
    return pipe_readv(stream, context, &vector, 1);
}

/* A buffer of the pool of the driver that the pipe is registered with. */
static int get_buffer(struct ouro_stream *stream, struct ouro__context *context,
                      struct ouro__loan_buffer **out_buffer)
{
    struct ouro__driver_handle *driver = NULL;
    int rc = ouro__descriptor_register(&stream->descriptor, context, &driver);
    if (rc < 0)
        return rc;
    struct ouro__loan_pool *pool = ouro__lending_pool(driver);
    if (pool == NULL)
        return -ENOMEM;
    if (ouro__driver_is_here(driver) && driver->driver != NULL) {
        *out_buffer = ouro__loan_pool_take(pool);
        if (*out_buffer != NULL)
            return 0;
    }
    struct ouro__op op;
    ouro__op_init_loan(&op, OURO__OP_TAKE_LOAN, OURO__LANE_READ, pool->buffer_bytes);
    rc = ouro__descriptor_await_beside(&stream->descriptor, context, &op);
    *out_buffer = op.arg.io.loan;
    return rc;
}

/* A write-only end is never readable, so it has to be found out before the wait. */
static int check_readable(struct ouro_stream *stream)
{
    if (OURO__LIKELY(stream->is_known_to_read))
        return 0;
    int flags = ouro__kernel_get_flags(stream->descriptor.fd);
    if (flags < 0)
        return flags;
    stream->is_known_to_read = (flags & O_ACCMODE) != O_WRONLY;
    return stream->is_known_to_read ? 0 : -EBADF;
}

/* The buffer is taken when the pipe is readable: one that waits for data has none. */
static ssize_t pipe_read_loan(struct ouro_stream *stream, struct ouro__context *context,
                              struct ouro__loan_buffer **out_buffer)
{
    struct ouro__descriptor *descriptor = &stream->descriptor;
    int rc = ouro__context_interrupted_io(context);
    if (rc == 0)
        rc = check_readable(stream);
    while (rc == 0) {
        uint64_t seen = 0;
        struct ouro__loan_buffer *buffer = NULL;
        rc = ouro__descriptor_await_ready(descriptor, context, OURO_READABLE, &seen);
        if (rc == 0)
            rc = get_buffer(stream, context, &buffer);
        if (rc < 0)
            break;
        const struct iovec vector = {.iov_base = buffer->data,
                                     .iov_len = buffer->pool->buffer_bytes};
        ssize_t n = ouro__kernel_readv(descriptor->fd, &vector, 1);
        if (n > 0) {
            *out_buffer = buffer;
            ouro__context_spend(context);
            return n;
        }
        (void)ouro__lending_return(buffer, ouro__loan_buffer_word(buffer));
        ouro__context_spend(context);
        if (n != -EAGAIN && n != -EINTR)
            return n;
        if (n == -EAGAIN)
            ouro__descriptor_clear(descriptor, seen, OURO_READABLE);
    }
    return rc;
}

static ssize_t pipe_writev(struct ouro_stream *stream, struct ouro__context *context,
                           const struct iovec *vectors, int count)
{
    return transfer(stream, context, write_once, OURO_WRITABLE, vectors, count);
}

static ssize_t pipe_write(struct ouro_stream *stream, struct ouro__context *context,
                          const void *buffer, size_t size, uint32_t flags)
{
    (void)flags;
    const struct iovec vector = {.iov_base = (void *)(uintptr_t)buffer, .iov_len = size};
    return pipe_writev(stream, context, &vector, 1);
}

/* As a transfer: 0 when the other end has made the descriptor ready. */
static ssize_t look_for(int fd, short events)
{
    int ready = ouro__kernel_look(fd, events);
    return ready == 0 ? -EAGAIN : ready > 0 ? 0 : ready;
}

static ssize_t look_for_bytes(int fd, const struct iovec *vectors, int count)
{
    (void)vectors;
    (void)count;
    return look_for(fd, POLLIN);
}

static ssize_t look_for_room(int fd, const struct iovec *vectors, int count)
{
    (void)vectors;
    (void)count;
    return look_for(fd, POLLOUT);
}

static int pipe_await(struct ouro_stream *stream, struct ouro__context *context, uint32_t interest)
{
    transfer_function *look = interest == OURO_READABLE ? look_for_bytes : look_for_room;
    return (int)transfer(stream, context, look, interest, NULL, 0);
}

static int pipe_shutdown(struct ouro_stream *stream, enum ouro_shutdown how)
{
    (void)stream;
    (void)how;
    return -EOPNOTSUPP;
}

const struct ouro__stream_kind ouro__stream_pipe = {
    .id = OURO_STREAM_PIPE,
    .read = pipe_read,
    .readv = pipe_readv,
    .write = pipe_write,
    .writev = pipe_writev,
    .await = pipe_await,
    .shutdown = pipe_shutdown,
    .read_loan = pipe_read_loan,
};

int ouro_pipe(struct ouro_stream **out_reader, struct ouro_stream **out_writer)
{
    struct ouro__context *context = NULL;
    int fds[2];
    int rc =
        out_reader == NULL || out_writer == NULL ? -EINVAL : ouro__descriptor_context(&context);
    if (rc < 0)
        return rc;
    struct ouro_stream *reader = ouro__alloc(sizeof(*reader));
    struct ouro_stream *writer = ouro__alloc(sizeof(*writer));
    if (reader == NULL || writer == NULL)
        rc = -ENOMEM;
    else
        rc = ouro__kernel_pipe(fds);
    if (rc < 0) {
        ouro__free(reader);
        ouro__free(writer);
        return rc;
    }
    ouro__stream_init(reader, &ouro__stream_pipe, context->handle, fds[0]);
    ouro__stream_init(writer, &ouro__stream_pipe, context->handle, fds[1]);
    *out_reader = reader;
    *out_writer = writer;
    return 0;
}
