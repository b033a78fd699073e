/* SPDX-License-Identifier: MIT */
/*
 * Stream: reading and writing.
 *
 * A read is one receive into the caller's buffer, a write one send from it: no copy, no buffer of
 * our own, back-pressure by nature.  Each call holds its direction for itself from its beginning to
 * its end, so what two writers write at once is never mixed: the second is told -EBUSY.
 *
 * Owns:    nothing but the direction during a call.
 * Threads: any; one reader and one writer at a time.
 * Always:  the operation has ended when the call returns, so the buffer and the message header may
 *          lie on the caller's stack.
 */
#include "net/stream.h"

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
    return rc < 0 ? rc : ouro__poll_evented_enter(&stream->evented, lane);
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
        result = ouro__poll_evented_await(&stream->evented, context, &op);
    }
    ouro__poll_evented_leave(&stream->evented, OURO__LANE_READ);
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
    return ouro__poll_evented_await(&stream->evented, context, &op);
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
    ouro__poll_evented_leave(&stream->evented, OURO__LANE_WRITE);
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
    ouro__poll_evented_leave(&stream->evented, OURO__LANE_WRITE);
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
        result = ouro__poll_evented_await(&stream->evented, context, &op);
    }
    ouro__poll_evented_leave(&stream->evented, lane);
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
    if (shutdown(stream->evented.fd, native[how]) == 0 || errno == ENOTCONN)
        return 0; /* not connected any more: the peer has gone, there is nothing to end */
    return -errno;
}
