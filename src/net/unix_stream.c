/* SPDX-License-Identifier: MIT */
/*
 * UnixStream: the public calls.
 *
 * A connect to a Unix socket is not an operation of the driver.  connect(2) on a non-blocking one
 * never has anything under way: it is done, or it has failed, or the listener's backlog is full and
 * it says EAGAIN; no event will tell when there is room.  Through a ring the same costs a hundred
 * times as much on most kernels (a retry loop of the kernel's own), and for a blocking socket one
 * of its threads.  So it is called here, and a full backlog is asked again, less and less often, as
 * long as the caller's deadline lasts.
 *
 * Owns:    what stream.c says.
 * Threads: any.
 * Always:  a stream that is handed out is connected.
 * Tests:   tests/net/test_unix_stream.c
 */
#include <ouro/unix.h>

#include "base/alloc.h"
#include "net/socket.h"
#include "net/socket_addr.h"
#include "stream/stream.h"

#include <ouro/time.h>

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAUSE_MIN_NS OURO__NS_PER_MS
#define PAUSE_MAX_NS (16 * OURO__NS_PER_MS)

/* Asks until there is room, or the deadline has passed. */
static int connect_to(const struct ouro__context *context, int fd,
                      const struct ouro_socket_addr *addr)
{
    const struct sockaddr *name = ouro_socket_addr_sockaddr(addr);
    int64_t pause_ns = PAUSE_MIN_NS;
    for (;;) {
        if (connect(fd, name, (socklen_t)addr->length) == 0)
            return 0;
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return -errno;
        if (context->deadline_ns == OURO__NEVER)
            return -EAGAIN;
        int rc = ouro_sleep(pause_ns);
        if (rc < 0)
            return rc;
        pause_ns = pause_ns < PAUSE_MAX_NS ? 2 * pause_ns : PAUSE_MAX_NS;
    }
}

/* Takes @fd, and closes it after an error. */
static int connect_socket(struct ouro__context *context, int fd,
                          const struct ouro_socket_addr *addr, struct ouro_unix_stream **out_stream)
{
    struct ouro_unix_stream *stream = ouro__alloc(sizeof(*stream));
    int rc = stream == NULL ? -ENOMEM : connect_to(context, fd, addr);
    if (rc < 0) {
        ouro__free(stream);
        (void)close(fd);
        return rc;
    }
    ouro__descriptor_init(&stream->stream.descriptor, context->handle, fd);
    *out_stream = stream;
    return 0;
}

static int attempt(struct ouro__context *context, const struct ouro_socket_addr *addr,
                   struct ouro_unix_stream **out_stream)
{
    struct ouro__driver_handle *trace = ouro__descriptor_trace(context);
    OURO__TRACE(trace, .kind = OURO_TRACE_ATTEMPT, .fd = -1, .a = 1, .b = 1, .addr = addr);
    int fd = -1;
    int rc = ouro__socket_open(AF_UNIX, &fd);
    if (rc == 0) {
        OURO__TRACE(trace, .kind = OURO_TRACE_SOCKET, .fd = fd);
        rc = connect_socket(context, fd, addr, out_stream);
    }
    if (rc < 0) {
        OURO__TRACE(trace, .kind = OURO_TRACE_FAILED, .fd = -1, .a = 1, .result = rc, .addr = addr);
        return rc;
    }
    OURO__TRACE(trace, .kind = OURO_TRACE_CONNECTED, .fd = fd, .a = 1, .addr = addr);
    OURO__TRACE(trace, .kind = OURO_TRACE_CREATED, .fd = fd, .addr = addr);
    return 0;
}

int ouro_unix_stream_connect(const struct ouro_socket_addr *addr,
                             struct ouro_unix_stream **out_stream)
{
    struct ouro__context *context = NULL;
    if (addr == NULL || out_stream == NULL || !ouro__socket_addr_is_valid(addr))
        return -EINVAL;
    if (ouro_socket_addr_family(addr) != AF_UNIX)
        return -EAFNOSUPPORT;
    int rc = ouro__context_enter(&context);
    if (rc == 0)
        rc = ouro__descriptor_usable(context);
    if (rc == 0)
        rc = ouro__context_interrupted(context);
    if (rc < 0)
        return rc;
    ouro__context_spend(context);
    return attempt(context, addr, out_stream);
}

static int adopt_unix(int fd)
{
    return ouro__socket_adopt(fd, AF_UNIX, AF_UNIX);
}

int ouro_unix_stream_from_fd(int fd, struct ouro_unix_stream **out_stream)
{
    struct ouro__stream *stream = NULL;
    if (out_stream == NULL)
        return -EINVAL;
    int rc = ouro__stream_from_fd(fd, adopt_unix, &stream);
    if (rc == 0)
        *out_stream = OURO__CONTAINER_OF(stream, struct ouro_unix_stream, stream);
    return rc;
}

int ouro_unix_stream_into_fd(struct ouro_unix_stream *stream)
{
    return ouro__stream_into_fd(stream == NULL ? NULL : &stream->stream);
}

int ouro_unix_stream_fd(const struct ouro_unix_stream *stream)
{
    return stream == NULL ? -EINVAL : stream->stream.descriptor.fd;
}

ssize_t ouro_unix_stream_read(struct ouro_unix_stream *stream, void *buffer, size_t size)
{
    return ouro__stream_read(stream == NULL ? NULL : &stream->stream, buffer, size, 0);
}

ssize_t ouro_unix_stream_write(struct ouro_unix_stream *stream, const void *buffer, size_t size)
{
    return ouro__stream_write(stream == NULL ? NULL : &stream->stream, buffer, size);
}

int ouro_unix_stream_write_all(struct ouro_unix_stream *stream, const void *buffer, size_t size)
{
    return ouro__stream_write_all(stream == NULL ? NULL : &stream->stream, buffer, size);
}

int ouro_unix_stream_shutdown(struct ouro_unix_stream *stream, enum ouro_shutdown how)
{
    return ouro__stream_shutdown(stream == NULL ? NULL : &stream->stream, how);
}

int ouro_unix_stream_close(struct ouro_unix_stream *stream)
{
    return ouro__stream_close(stream == NULL ? NULL : &stream->stream);
}
