/* SPDX-License-Identifier: MIT */
/*
 * SendFile: bytes of a file to a stream, without a copy through the program's memory.
 *
 * sendfile(2) may wait for a disk, and no flag makes it tell instead.  So it is called on a thread
 * of the blocking pool, on both drivers.  It does not wait for the peer: sockets are non-blocking,
 * and it returns what they took.  When that is nothing, the caller waits on its own driver until
 * there is room; no thread is kept for a peer that does not read.
 *
 * (The ring's own way is a splice from the file into a pipe and one from the pipe to the socket.
 * The kernel makes each on a thread of its own, for one pipe's capacity at a time.)
 *
 * Kernels before 6.5 hold the last packet back when they expect more of the file, and they expect
 * as much as they were asked for.  So no more is asked for than the file has.
 *
 * Owns:    nothing; the descriptor is the caller's.
 * Threads: any; the calls on the file are made by the pool's.
 * Always:  what is reported as sent is what the kernel took.  No SIGPIPE is raised.
 * Tests:   tests/stream/test_send_file.c
 */
#include "stream/stream.h"

#include "base/kernel.h"
#include "stream/meter.h"
#include "stream/sigpipe.h"

#include <errno.h>

/* What one call on the pool sends at most.  Nothing interrupts it. */
#define PIECE_BYTES ((uint64_t)1 << 20)

struct piece {
    const struct ouro_stream *stream;
    int fd;
    uint64_t offset;
    uint64_t size; /* at most PIECE_BYTES */
};

/* How much of the piece the file has: a count, 0 at its end, or -errno. */
static int64_t size_in_file(const struct piece *piece)
{
    mode_t mode = 0;
    int64_t length = 0;
    int rc = ouro__kernel_file_size(piece->fd, &mode, &length);
    if (rc < 0)
        return rc;
    if (!S_ISREG(mode) && !S_ISBLK(mode))
        return -EINVAL;
    uint64_t size = piece->size;
    if (S_ISBLK(mode)) /* its length is not in st_size */
        return (int64_t)size;
    uint64_t left = (uint64_t)length > piece->offset ? (uint64_t)length - piece->offset : 0;
    return (int64_t)(left < size ? left : size);
}

/* On the pool. */
static int send_piece(void *arg)
{
    const struct piece *piece = arg;
    const bool to_pipe = piece->stream->kind->id == OURO_STREAM_PIPE;
    int64_t size = size_in_file(piece);
    if (size <= 0)
        return (int)size;
    struct ouro__sigpipe held;
    ssize_t n = 0;
    ouro__sigpipe_hold(&held);
    do {
        n = ouro__kernel_send_file(piece->stream->descriptor.fd, to_pipe, piece->fd,
                                   (int64_t)piece->offset, (size_t)size);
    } while (n == -EINTR);
    ouro__sigpipe_release(&held, n < size);
    return (int)n;
}

static int send_pieces(struct ouro_stream *stream, struct ouro__context *context,
                       const struct piece *whole, uint64_t *sent)
{
    while (*sent < whole->size) {
        struct piece piece = *whole;
        int n = 0;
        piece.offset += *sent;
        piece.size -= *sent;
        ssize_t size = ouro__stream_meter_may_send(
            stream, (size_t)(piece.size < PIECE_BYTES ? piece.size : PIECE_BYTES));
        if (size < 0)
            return (int)size;
        piece.size = (uint64_t)size;
        int rc = ouro__context_interrupted_io(context);
        if (rc == 0 && ouro__descriptor_is_closing(&stream->descriptor))
            rc = -ECANCELED;
        if (rc == 0)
            rc = ouro__wait_for_call(context, send_piece, &piece, NULL, &n);
        if (rc == 0 && n == -EAGAIN)
            rc = stream->kind->await(stream, context, OURO_WRITABLE);
        else if (rc == 0 && n <= 0)
            return n; /* an error, or the end of the file */
        if (rc < 0)
            return rc;
        *sent += n > 0 ? (uint64_t)n : 0;
        (void)ouro__stream_meter_sent(stream, n);
    }
    return 0;
}

int ouro_stream_send_file(struct ouro_stream *stream, int fd, uint64_t offset, uint64_t size,
                          uint64_t *out_sent)
{
    struct ouro__context *context = NULL;
    uint64_t sent = 0;
    int rc = stream == NULL || offset > INT64_MAX ? -EINVAL : fd < 0 ? -EBADF : 0;
    if (rc == 0)
        rc = ouro__stream_enter(stream, OURO__LANE_WRITE, &context);
    if (rc == 0) {
        struct piece whole = {.stream = stream, .fd = fd, .offset = offset, .size = size};
        if (whole.size > INT64_MAX - offset)
            whole.size = INT64_MAX - offset;
        rc = send_pieces(stream, context, &whole, &sent);
        ouro__stream_leave(stream, OURO__LANE_WRITE);
    }
    if (out_sent != NULL)
        *out_sent = sent;
    return rc;
}
