/* SPDX-License-Identifier: MIT */
/*
 * Adopt: a stream around a descriptor that the caller opened.
 *
 * The descriptor's type decides the kind.  All checks come before the first change, so a refused
 * descriptor is as it was.
 *
 * Owns:    nothing; after an error the descriptor is the caller's.
 * Threads: any.
 * Always:  what becomes a stream is connected, and non-blocking.
 * Tests:   tests/stream/test_adopt.c
 */
#include "base/alloc.h"
#include "base/kernel.h"
#include "stream/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

static int ask(int fd, int option, int *out_value)
{
    return ouro__kernel_get_option(fd, SOL_SOCKET, option, out_value, sizeof(*out_value));
}

static int kind_of_socket(int fd, const struct ouro__stream_kind **out_kind)
{
    int type = 0;
    int domain = 0;
    int protocol = 0;
    int rc = ask(fd, SO_TYPE, &type);
    if (rc == 0)
        rc = ask(fd, SO_DOMAIN, &domain);
    if (rc == 0)
        rc = ask(fd, SO_PROTOCOL, &protocol);
    if (rc < 0)
        return rc;
    if (type != SOCK_STREAM)
        return -EPROTOTYPE;
    if (domain == AF_UNIX)
        *out_kind = &ouro__stream_unix;
    else if ((domain == AF_INET || domain == AF_INET6) && protocol == IPPROTO_TCP)
        *out_kind = &ouro__stream_tcp;
    else
        return -EPROTOTYPE;
    struct sockaddr_storage peer;
    socklen_t length = sizeof(peer);
    return ouro__kernel_peer_name(fd, (struct sockaddr *)&peer, &length);
}

static int kind_of(int fd, const struct ouro__stream_kind **out_kind)
{
    mode_t mode = 0;
    int rc = ouro__kernel_file_mode(fd, &mode);
    if (rc < 0)
        return rc;
    if (S_ISSOCK(mode))
        return kind_of_socket(fd, out_kind);
    if (!S_ISFIFO(mode))
        return -EPROTOTYPE;
    *out_kind = &ouro__stream_pipe;
    return 0;
}

static int make_nonblocking(int fd)
{
    int flags = ouro__kernel_get_flags(fd);
    if (flags < 0)
        return flags;
    if ((flags & O_PATH) != 0) /* names a file, and can neither read nor write it */
        return -EBADF;
    return (flags & O_NONBLOCK) != 0 ? 0 : ouro__kernel_set_flags(fd, flags | O_NONBLOCK);
}

int ouro_stream_from_fd(int fd, struct ouro_stream **out_stream)
{
    struct ouro__context *context = NULL;
    const struct ouro__stream_kind *kind = NULL;
    int rc = out_stream == NULL ? -EINVAL : ouro__descriptor_context(&context);
    if (rc == 0)
        rc = kind_of(fd, &kind);
    if (rc < 0)
        return rc;
    struct ouro_stream *stream = ouro__alloc(sizeof(*stream));
    rc = stream == NULL ? -ENOMEM : make_nonblocking(fd);
    if (rc < 0) {
        ouro__free(stream);
        return rc;
    }
    ouro__stream_init(stream, kind, context->handle, fd);
    ouro__store(&stream->is_known_outside, true, memory_order_relaxed);
    *out_stream = stream;
    return 0;
}
