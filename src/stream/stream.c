/* SPDX-License-Identifier: MIT */
/*
 * Stream: reading, writing, and how a stream begins and ends around a descriptor.
 *
 * A read is one receive into the caller's buffer, a write one send from it.  There is no copy and
 * no buffer of our own, so a slow reader slows its peer down and costs no memory.  Each call holds
 * its direction from its beginning to its end, so two writes at once are never mixed: the second
 * gets -EBUSY.
 *
 * Owns:    the stream's memory; a direction during a call.
 * Threads: any; one reader and one writer at a time.
 * Always:  the operation has ended when the call returns, so the buffer and the message header may
 *          lie on the caller's stack.  close releases the stream, whatever it returns; a failed
 *          from_fd leaves the descriptor alone.
 * Tests:   tests/net/test_tcp_stream.c, tests/net/test_stream_ends.c
 */
#include "stream/stream.h"

#include "base/alloc.h"

#include <errno.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* A result is an int32_t. */
static size_t clamp(size_t size)
{
    return size < INT32_MAX ? size : INT32_MAX;
}

/* Begins a public call: who calls, and the direction for him alone. */
static int enter(struct ouro__stream *stream, unsigned lane, struct ouro__context **out_context)
{
    int rc = ouro__context_enter(out_context);
    return rc < 0 ? rc : ouro__descriptor_enter(&stream->descriptor, lane);
}

ssize_t ouro__stream_read(struct ouro__stream *stream, void *buffer, size_t size, uint32_t flags)
{
    if (stream == NULL || (buffer == NULL && size > 0))
        return -EINVAL;
    struct ouro__context *context = NULL;
    int rc = enter(stream, OURO__LANE_READ, &context);
    if (OURO__UNLIKELY(rc < 0))
        return rc;
    int32_t result = 0;
    if (size > 0) {
        struct ouro__op op = {
            .code = OURO__OP_RECV,
            .lane = OURO__LANE_READ,
            .arg.io = {.buffer = buffer, .size = clamp(size), .flags = flags},
        };
        result = ouro__descriptor_await(&stream->descriptor, context, &op);
    }
    ouro__descriptor_leave(&stream->descriptor, OURO__LANE_READ);
    return result;
}

/* One send; the write direction is the caller's. */
static int32_t send_some(struct ouro__stream *stream, struct ouro__context *context,
                         const void *buffer, size_t size, uint32_t flags)
{
    struct ouro__op op = {
        .code = OURO__OP_SEND,
        .lane = OURO__LANE_WRITE,
        .arg.io = {.buffer = (void *)(uintptr_t)buffer, .size = clamp(size), .flags = flags},
    };
    return ouro__descriptor_await(&stream->descriptor, context, &op);
}

ssize_t ouro__stream_write(struct ouro__stream *stream, const void *buffer, size_t size)
{
    if (stream == NULL || (buffer == NULL && size > 0))
        return -EINVAL;
    struct ouro__context *context = NULL;
    int rc = enter(stream, OURO__LANE_WRITE, &context);
    if (OURO__UNLIKELY(rc < 0))
        return rc;
    int32_t result = size == 0 ? 0 : send_some(stream, context, buffer, size, 0);
    ouro__descriptor_leave(&stream->descriptor, OURO__LANE_WRITE);
    return result;
}

int ouro__stream_write_all(struct ouro__stream *stream, const void *buffer, size_t size)
{
    if (stream == NULL || (buffer == NULL && size > 0))
        return -EINVAL;
    struct ouro__context *context = NULL;
    int rc = enter(stream, OURO__LANE_WRITE, &context);
    if (OURO__UNLIKELY(rc < 0))
        return rc;
    const char *next = buffer;
    while (rc >= 0 && size > 0) {
        /* With MSG_WAITALL the driver goes on after a short send by itself; it still may end short,
         * when it was cancelled or met an error on the way.  Then the next one tells. */
        rc = send_some(stream, context, next, size, MSG_WAITALL);
        if (rc > 0) {
            next += rc;
            size -= (size_t)rc;
        }
    }
    ouro__descriptor_leave(&stream->descriptor, OURO__LANE_WRITE);
    return rc < 0 ? rc : 0;
}

/* Both vectored calls. */
static ssize_t transfer_vectors(struct ouro__stream *stream, const struct iovec *vectors, int count,
                                unsigned lane)
{
    if (stream == NULL || vectors == NULL || count < 1 || count > IOV_MAX)
        return -EINVAL;
    bool is_empty = true;
    for (int i = 0; i < count; i++) {
        if (vectors[i].iov_len > 0)
            is_empty = false;
    }
    struct ouro__context *context = NULL;
    int rc = enter(stream, lane, &context);
    if (OURO__UNLIKELY(rc < 0))
        return rc;
    int32_t result = 0;
    if (!is_empty) {
        struct msghdr header = {
            .msg_iov = (struct iovec *)(uintptr_t)vectors,
            .msg_iovlen = (size_t)count,
        };
        struct ouro__op op = {
            .code = lane == OURO__LANE_READ ? OURO__OP_RECVMSG : OURO__OP_SENDMSG,
            .lane = (uint8_t)lane,
            .arg.message = {.header = &header},
        };
        result = ouro__descriptor_await(&stream->descriptor, context, &op);
    }
    ouro__descriptor_leave(&stream->descriptor, lane);
    return result;
}

ssize_t ouro__stream_readv(struct ouro__stream *stream, const struct iovec *vectors, int count)
{
    return transfer_vectors(stream, vectors, count, OURO__LANE_READ);
}

ssize_t ouro__stream_writev(struct ouro__stream *stream, const struct iovec *vectors, int count)
{
    return transfer_vectors(stream, vectors, count, OURO__LANE_WRITE);
}

int ouro__stream_shutdown(struct ouro__stream *stream, enum ouro_shutdown how)
{
    static const int native[] = {SHUT_RD, SHUT_WR, SHUT_RDWR};
    if (stream == NULL || (unsigned)how >= OURO__ARRAY_LEN(native))
        return -EINVAL;
    /* The system call, not the ring's operation: it never waits, and what is pending hears of it.
     */
    if (shutdown(stream->descriptor.fd, native[how]) == 0 || errno == ENOTCONN)
        return 0; /* not connected any more: the peer has gone, there is nothing to end */
    return -errno;
}

int ouro__stream_from_fd(int fd, ouro__stream_adopt *adopt, struct ouro__stream **out_stream)
{
    struct ouro__context *context = NULL;
    int rc = out_stream == NULL ? -EINVAL : ouro__context_enter(&context);
    if (rc == 0)
        rc = ouro__descriptor_usable(context);
    if (rc == 0)
        rc = adopt(fd);
    if (rc < 0)
        return rc;
    struct ouro__stream *stream = ouro__alloc(sizeof(*stream));
    if (stream == NULL)
        return -ENOMEM;
    ouro__descriptor_init(&stream->descriptor, context->handle, fd);
    *out_stream = stream;
    return 0;
}

int ouro__stream_into_fd(struct ouro__stream *stream)
{
    if (stream == NULL)
        return -EINVAL;
    int fd = ouro__descriptor_into_fd(&stream->descriptor);
    if (fd >= 0)
        ouro__free(stream);
    return fd;
}

int ouro__stream_close(struct ouro__stream *stream)
{
    if (stream == NULL)
        return 0;
    int rc = ouro__descriptor_close(&stream->descriptor);
    ouro__free(stream);
    return rc;
}
