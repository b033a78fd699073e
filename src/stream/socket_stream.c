/* SPDX-License-Identifier: MIT */
/*
 * Socket streams: the kinds TCP and Unix.
 *
 * A read is one receive into the caller's buffer, a write one send from it.
 *
 * Owns:    nothing; the direction is held by the public call (stream.c).
 * Threads: any.
 * Always:  the message header lies in this call's frame: the operation has ended at the return.
 * Tests:   tests/stream/test_stream.c, tests/stream/test_stream_ends.c
 */
#include "base/kernel.h"
#include "registry/lending.h"
#include "stream/stream.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

static ssize_t socket_read(struct ouro_stream *stream, struct ouro__context *context, void *buffer,
                           size_t size, uint32_t flags)
{
    struct ouro__op op;
    ouro__op_init_io(&op, OURO__OP_RECV, OURO__LANE_READ, buffer, size, flags);
    return ouro__descriptor_await(&stream->descriptor, context, &op);
}

static ssize_t socket_read_loan(struct ouro_stream *stream, struct ouro__context *context,
                                struct ouro__loan_buffer **out_buffer)
{
    struct ouro__driver_handle *driver = NULL;
    int rc = ouro__descriptor_register(&stream->descriptor, context, &driver);
    if (rc < 0)
        return rc;
    const struct ouro__loan_pool *pool = ouro__lending_pool(driver);
    if (pool == NULL)
        return -ENOMEM;
    struct ouro__op op;
    ouro__op_init_loan(&op, OURO__OP_RECV_LOAN, OURO__LANE_READ, pool->buffer_bytes);
    int32_t n = ouro__descriptor_await(&stream->descriptor, context, &op);
    if (n > 0)
        *out_buffer = op.arg.io.loan;
    return n;
}

static ssize_t socket_write(struct ouro_stream *stream, struct ouro__context *context,
                            const void *buffer, size_t size, uint32_t flags)
{
    struct ouro__op op;
    ouro__op_init_io(&op, OURO__OP_SEND, OURO__LANE_WRITE, buffer, size, flags);
    return ouro__descriptor_await(&stream->descriptor, context, &op);
}

static ssize_t transfer_message(struct ouro_stream *stream, struct ouro__context *context,
                                const struct iovec *vectors, int count, unsigned lane)
{
    struct msghdr header = {
        .msg_iov = (struct iovec *)(uintptr_t)vectors,
        .msg_iovlen = (size_t)count,
    };
    struct ouro__op op;
    ouro__op_init(&op, lane == OURO__LANE_READ ? OURO__OP_RECVMSG : OURO__OP_SENDMSG, lane);
    op.arg.message.header = &header;
    op.arg.message.flags = 0;
    return ouro__descriptor_await(&stream->descriptor, context, &op);
}

static ssize_t socket_readv(struct ouro_stream *stream, struct ouro__context *context,
                            const struct iovec *vectors, int count)
{
    return transfer_message(stream, context, vectors, count, OURO__LANE_READ);
}

static ssize_t socket_writev(struct ouro_stream *stream, struct ouro__context *context,
                             const struct iovec *vectors, int count)
{
    return transfer_message(stream, context, vectors, count, OURO__LANE_WRITE);
}

static int socket_await(struct ouro_stream *stream, struct ouro__context *context,
                        uint32_t interest)
{
    const bool reads = interest == OURO_READABLE;
    struct ouro__op op;
    ouro__op_init(&op, reads ? OURO__OP_AWAIT_READ : OURO__OP_AWAIT_WRITE,
                  reads ? OURO__LANE_READ : OURO__LANE_WRITE);
    return ouro__descriptor_await(&stream->descriptor, context, &op);
}

static int socket_shutdown(struct ouro_stream *stream, enum ouro_shutdown how)
{
    static const int native[] = {SHUT_RD, SHUT_WR, SHUT_RDWR};
    /* The system call and not the ring's operation: it never waits, and it wakes what is pending.
     */
    int rc = ouro__kernel_shutdown(stream->descriptor.fd, native[how]);
    /* -ENOTCONN: the peer has reset the connection, so both halves have ended. */
    return rc == -ENOTCONN ? 0 : rc;
}

const struct ouro__stream_kind ouro__stream_tcp = {
    .id = OURO_STREAM_TCP,
    .read = socket_read,
    .readv = socket_readv,
    .write = socket_write,
    .writev = socket_writev,
    .await = socket_await,
    .shutdown = socket_shutdown,
    .read_loan = socket_read_loan,
};

const struct ouro__stream_kind ouro__stream_unix = {
    .id = OURO_STREAM_UNIX,
    .read = socket_read,
    .readv = socket_readv,
    .write = socket_write,
    .writev = socket_writev,
    .await = socket_await,
    .shutdown = socket_shutdown,
    .read_loan = socket_read_loan,
};
