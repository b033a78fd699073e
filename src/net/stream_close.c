/* SPDX-License-Identifier: MIT */
/*
 * Stream: its beginnings and ends around a descriptor.
 *
 * Owns:    the stream's memory.
 * Threads: any.
 * Always:  close releases the stream, whatever it returns; a failed from_fd leaves the descriptor.
 */
#include "net/stream.h"

#include "base/alloc.h"
#include "net/socket.h"

#include <errno.h>

int ouro__stream_from_fd(int fd, int family, int other_family, struct ouro__stream **out_stream)
{
    struct ouro__context *context = NULL;
    int rc = out_stream == NULL ? -EINVAL : ouro__context_enter(&context);
    if (rc == 0)
        rc = ouro__poll_evented_usable(context);
    if (rc == 0)
        rc = ouro__socket_adopt(fd, family, other_family);
    if (rc < 0)
        return rc;
    struct ouro__stream *stream = ouro__alloc(sizeof(*stream));
    if (stream == NULL)
        return -ENOMEM;
    ouro__poll_evented_init(&stream->evented, context->handle, fd);
    *out_stream = stream;
    return 0;
}

int ouro__stream_into_fd(struct ouro__stream *stream)
{
    if (stream == NULL)
        return -EINVAL;
    int fd = ouro__poll_evented_into_fd(&stream->evented);
    if (fd >= 0)
        ouro__free(stream);
    return fd;
}

int ouro__stream_close(struct ouro__stream *stream)
{
    if (stream == NULL)
        return 0;
    int rc = ouro__poll_evented_close(&stream->evented);
    ouro__free(stream);
    return rc;
}
