/* SPDX-License-Identifier: MIT */
/*
 * Stream: what TcpStream and UnixStream have in common, which is everything but how they come
 * about.
 */
#ifndef OURO_STREAM_STREAM_H
#define OURO_STREAM_STREAM_H

#include "stream/descriptor.h"

#include <ouro/tcp.h>

struct iovec;

/* Both public stream types, and the listener, begin with this; it lies on the heap. */
struct ouro__stream {
    struct ouro__descriptor descriptor;
};

struct ouro_tcp_stream {
    struct ouro__stream stream;
};

struct ouro_unix_stream {
    struct ouro__stream stream;
};

/* The calls of ouro/tcp.h on either kind; @stream may be NULL, then -EINVAL. */
ssize_t ouro__stream_read(struct ouro__stream *stream, void *buffer, size_t size, uint32_t flags);
ssize_t ouro__stream_write(struct ouro__stream *stream, const void *buffer, size_t size);
int ouro__stream_write_all(struct ouro__stream *stream, const void *buffer, size_t size);
ssize_t ouro__stream_readv(struct ouro__stream *stream, const struct iovec *vectors, int count);
ssize_t ouro__stream_writev(struct ouro__stream *stream, const struct iovec *vectors, int count);
int ouro__stream_shutdown(struct ouro__stream *stream, enum ouro_shutdown how);

/* Checks that @fd is a connected descriptor of the stream's kind, and makes it non-blocking. */
typedef int ouro__stream_adopt(int fd);

/*
 * A stream around a descriptor that @adopt accepts, which it takes over.
 * Errors: those of @adopt and of ouro_tcp_stream_from_fd(); then the descriptor is the caller's.
 */
int ouro__stream_from_fd(int fd, ouro__stream_adopt *adopt, struct ouro__stream **out_stream);

/* Those of ouro/tcp.h; they take the stream, which may be NULL. */
int ouro__stream_into_fd(struct ouro__stream *stream);
int ouro__stream_close(struct ouro__stream *stream);

#endif
