/* SPDX-License-Identifier: MIT */
/*
 * Stream: the public calls of ouro/stream.h, for every kind.  (Those that write until all is
 * written are in write_all.c.)
 *
 * Each call holds its direction from its beginning to its end, so the bytes of two writes are never
 * mixed: the second writer gets -EBUSY.  There is no buffer between the caller's and the kernel's,
 * so a slow reader slows its peer down and costs no memory.
 *
 * Closing must not stop the worker.  With SO_LINGER and a time, close(2) waits inside the kernel
 * until the peer has acknowledged everything, and stops the thread that calls it.  What it waits
 * for happens without it, too: Linux sends the rest in the background, whether close(2) waited or
 * not.  So the option is switched off before the close.  Only a program that has had the descriptor
 * can have set it, so other streams pay no system call for this.
 *
 * Owns:    the stream's memory; a direction during a call.
 * Threads: any; one reader and one writer at a time.
 * Always:  the operation has ended when the call returns, so buffers and vectors may lie on the
 *          caller's stack.  close releases the stream, whatever it returns.
 * Tests:   tests/stream/test_stream.c, tests/stream/test_close.c
 */
#include "stream/stream.h"

#include "base/alloc.h"
#include "base/fork.h"
#include "base/kernel.h"
#include "task/handle.h"

#include <ouro/error.h>

#include <errno.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/uio.h>

static ssize_t read_with(struct ouro_stream *stream, void *buffer, size_t size, uint32_t flags)
{
    if (stream == NULL || (buffer == NULL && size > 0))
        return -EINVAL;
    struct ouro__context *context = NULL;
    int rc = ouro__stream_enter(stream, OURO__LANE_READ, &context);
    if (OURO__UNLIKELY(rc < 0))
        return rc;
    ssize_t n = 0;
    if (size > 0)
        n = stream->kind->read(stream, context, buffer, ouro__op_clamp(size), flags);
    ouro__stream_leave(stream, OURO__LANE_READ);
    return n;
}

ssize_t ouro_stream_read(struct ouro_stream *stream, void *buffer, size_t size)
{
    return read_with(stream, buffer, size, 0);
}

ssize_t ouro_stream_peek(struct ouro_stream *stream, void *buffer, size_t size)
{
    return read_with(stream, buffer, size, MSG_PEEK);
}

ssize_t ouro_stream_write(struct ouro_stream *stream, const void *buffer, size_t size)
{
    if (stream == NULL || (buffer == NULL && size > 0))
        return -EINVAL;
    struct ouro__context *context = NULL;
    int rc = ouro__stream_enter(stream, OURO__LANE_WRITE, &context);
    if (OURO__UNLIKELY(rc < 0))
        return rc;
    ssize_t n = 0;
    if (size > 0)
        n = stream->kind->write(stream, context, buffer, ouro__op_clamp(size), 0);
    ouro__stream_leave(stream, OURO__LANE_WRITE);
    return n;
}

static bool vectors_are_valid(const struct iovec *vectors, int count)
{
    return vectors != NULL && count >= 1 && count <= IOV_MAX;
}

static bool vectors_are_empty(const struct iovec *vectors, int count)
{
    for (int i = 0; i < count; i++) {
        if (vectors[i].iov_len > 0)
            return false;
    }
    return true;
}

ssize_t ouro_stream_readv(struct ouro_stream *stream, const struct iovec *vectors, int count)
{
    if (stream == NULL || !vectors_are_valid(vectors, count))
        return -EINVAL;
    struct ouro__context *context = NULL;
    int rc = ouro__stream_enter(stream, OURO__LANE_READ, &context);
    if (OURO__UNLIKELY(rc < 0))
        return rc;
    ssize_t n = 0;
    if (!vectors_are_empty(vectors, count))
        n = stream->kind->readv(stream, context, vectors, count);
    ouro__stream_leave(stream, OURO__LANE_READ);
    return n;
}

ssize_t ouro_stream_writev(struct ouro_stream *stream, const struct iovec *vectors, int count)
{
    if (stream == NULL || !vectors_are_valid(vectors, count))
        return -EINVAL;
    struct ouro__context *context = NULL;
    int rc = ouro__stream_enter(stream, OURO__LANE_WRITE, &context);
    if (OURO__UNLIKELY(rc < 0))
        return rc;
    ssize_t n = 0;
    if (!vectors_are_empty(vectors, count))
        n = stream->kind->writev(stream, context, vectors, count);
    ouro__stream_leave(stream, OURO__LANE_WRITE);
    return n;
}

int ouro_stream_shutdown(struct ouro_stream *stream, enum ouro_shutdown how)
{
    if (stream == NULL || (unsigned)how > OURO_SHUTDOWN_BOTH)
        return -EINVAL;
    if (OURO__UNLIKELY(ouro__fork_is_child(stream->descriptor.handle->fork_generation)))
        return -OURO_EFORKED; /* the parent has the same socket */
    return stream->kind->shutdown(stream, how);
}

int ouro_stream_fd(const struct ouro_stream *stream)
{
    if (stream == NULL)
        return -EINVAL;
    /* Streams lie on the heap: the const is the caller's view. */
    struct ouro_stream *known = (struct ouro_stream *)(uintptr_t)stream;
    ouro__store(&known->is_known_outside, true, memory_order_relaxed);
    return stream->descriptor.fd;
}

enum ouro_stream_kind ouro_stream_kind(const struct ouro_stream *stream)
{
    return stream == NULL ? (enum ouro_stream_kind)0 : stream->kind->id;
}

int ouro_stream_into_fd(struct ouro_stream *stream)
{
    if (stream == NULL)
        return -EINVAL;
    if (ouro__loan_is_out(stream))
        return -OURO_ELOANED;
    int fd = ouro__descriptor_into_fd(&stream->descriptor);
    if (fd >= 0) {
        (void)ouro__loan_close(stream);
        ouro__free(stream);
    }
    return fd;
}

/* Makes close(2) return at once.  A time of 0 stays: it resets the connection and does not wait. */
static void stop_lingering(const struct ouro_stream *stream)
{
    int fd = stream->descriptor.fd;
    struct linger linger = {.l_onoff = 0};
    if (stream->kind->id != OURO_STREAM_TCP ||
        ouro__kernel_get_option(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) < 0)
        return;
    if (linger.l_onoff == 0 || linger.l_linger == 0)
        return;
    linger.l_onoff = 0;
    (void)ouro__kernel_set_option(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

int ouro_stream_close(struct ouro_stream *stream)
{
    if (stream == NULL)
        return 0;
    /* A forked child shares the socket, and must not change the parent's options. */
    if (OURO__UNLIKELY(ouro__load(&stream->is_known_outside, memory_order_relaxed)) &&
        !ouro__fork_is_child(stream->descriptor.handle->fork_generation))
        stop_lingering(stream);
    int rc = ouro__descriptor_close(&stream->descriptor);
    if (rc == 0)
        rc = ouro__loan_close(stream);
    ouro__free(stream);
    return rc;
}
