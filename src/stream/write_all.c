/* SPDX-License-Identifier: MIT */
/*
 * WriteAll: writing until the kernel has taken every byte, from one buffer or from many.
 *
 * A write of many buffers that ends short usually ends inside one of them.  The caller's vectors
 * are not changed, so the next write begins with a copy of that buffer's vector, moved to the first
 * byte that is still to be written, and of some that follow.  Where a write begins at the start of
 * a buffer, it uses the caller's vectors as they are.
 *
 * Owns:    a direction during a call.
 * Threads: any; one writer at a time.
 * Always:  the direction is held from the first byte to the last, so no other write comes between.
 *          What is reported as written is what the kernel took, also after an error.
 * Tests:   tests/stream/test_write_all.c
 */
#include "stream/stream.h"

#include <errno.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* How many vectors are copied after a write that has ended inside a buffer. */
enum { WINDOW = 16 };

int ouro__stream_write_rest(struct ouro_stream *stream, struct ouro__context *context,
                            const char *buffer, size_t size, size_t *written)
{
    while (*written < size) {
        /* With MSG_WAITALL the driver goes on after a short send by itself.  It still ends short
         * when it was cancelled or met an error on the way; the next write returns that error. */
        ssize_t n = stream->kind->write(stream, context, buffer + *written,
                                        ouro__op_clamp(size - *written), MSG_WAITALL);
        if (n < 0)
            return (int)n;
        *written += (size_t)n;
    }
    return 0;
}

int ouro_stream_write_all(struct ouro_stream *stream, const void *buffer, size_t size,
                          size_t *out_written)
{
    struct ouro__context *context = NULL;
    size_t written = 0;
    int rc = stream == NULL || (buffer == NULL && size > 0) ? -EINVAL : 0;
    if (OURO__LIKELY(rc == 0))
        rc = ouro__stream_enter(stream, OURO__LANE_WRITE, &context);
    if (OURO__LIKELY(rc == 0)) {
        rc = ouro__stream_write_rest(stream, context, buffer, size, &written);
        ouro__stream_leave(stream, OURO__LANE_WRITE);
    }
    if (out_written != NULL)
        *out_written = written;
    return rc;
}

/* What is left of the caller's vectors: @done bytes of the first have been written. */
struct rest {
    const struct iovec *vectors;
    int count;
    size_t done;
};

/* Goes @size bytes on, and past empty vectors, so that the first of the rest has bytes left. */
static void advance(struct rest *rest, size_t size)
{
    rest->done += size;
    while (rest->count > 0 && rest->done >= rest->vectors->iov_len) {
        rest->done -= rest->vectors->iov_len;
        rest->vectors++;
        rest->count--;
    }
}

static ssize_t write_some(struct ouro_stream *stream, struct ouro__context *context,
                          const struct rest *rest)
{
    struct iovec window[WINDOW];
    if (rest->done == 0)
        return stream->kind->writev(stream, context, rest->vectors,
                                    rest->count < IOV_MAX ? rest->count : IOV_MAX);
    int count = rest->count < WINDOW ? rest->count : WINDOW;
    for (int i = 0; i < count; i++)
        window[i] = rest->vectors[i];
    window[0].iov_base = (char *)window[0].iov_base + rest->done;
    window[0].iov_len -= rest->done;
    return stream->kind->writev(stream, context, window, count);
}

static int writev_rest(struct ouro_stream *stream, struct ouro__context *context, struct rest *rest,
                       size_t *written)
{
    advance(rest, 0);
    while (rest->count > 0) {
        ssize_t n = write_some(stream, context, rest);
        if (n < 0)
            return (int)n;
        *written += (size_t)n;
        advance(rest, (size_t)n);
    }
    return 0;
}

static bool vectors_are_valid(const struct iovec *vectors, int count)
{
    size_t sum = 0;
    if (count < 0 || (vectors == NULL && count > 0))
        return false;
    for (int i = 0; i < count; i++) {
        if (__builtin_add_overflow(sum, vectors[i].iov_len, &sum))
            return false;
    }
    return true;
}

int ouro_stream_writev_all(struct ouro_stream *stream, const struct iovec *vectors, int count,
                           size_t *out_written)
{
    struct ouro__context *context = NULL;
    struct rest rest = {.vectors = vectors, .count = count};
    size_t written = 0;
    int rc = stream == NULL || !vectors_are_valid(vectors, count) ? -EINVAL : 0;
    if (rc == 0)
        rc = ouro__stream_enter(stream, OURO__LANE_WRITE, &context);
    if (rc == 0) {
        rc = writev_rest(stream, context, &rest, &written);
        ouro__stream_leave(stream, OURO__LANE_WRITE);
    }
    if (out_written != NULL)
        *out_written = written;
    return rc;
}
