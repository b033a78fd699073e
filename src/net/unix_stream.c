/* SPDX-License-Identifier: MIT */
/*
 * UnixStream: connecting to a Unix socket.
 *
 * The connect is not an operation of the driver.  connect(2) on a non-blocking Unix socket ends at
 * once: it succeeds, fails, or returns EAGAIN when the listener's backlog is full, and no event
 * tells when there is room.  Through a ring the same call costs a hundred times as much on most
 * kernels (a retry loop inside the kernel), and with a blocking socket it takes one of the kernel's
 * worker threads.  So the system call is made here.  With a full backlog it is made again, at
 * growing intervals, until the caller's deadline.
 *
 * Owns:    the socket, until it is a stream's.
 * Threads: any.
 * Always:  a stream that is handed out is connected.
 * Tests:   tests/net/test_unix_stream.c
 */
#include <ouro/unix.h>

#include "base/alloc.h"
#include "base/kernel.h"
#include "net/socket.h"
#include "net/socket_addr.h"
#include "stream/stream.h"

#include <ouro/time.h>

#include <errno.h>
#include <sys/socket.h>

#define PAUSE_MIN_NS OURO__NS_PER_MS
#define PAUSE_MAX_NS (16 * OURO__NS_PER_MS)

/* Tries until there is room, or the deadline has passed. */
static int connect_to(const struct ouro__context *context, int fd,
                      const struct ouro_socket_addr *addr)
{
    const struct sockaddr *name = ouro_socket_addr_sockaddr(addr);
    int64_t pause_ns = PAUSE_MIN_NS;
    for (;;) {
        int rc = ouro__kernel_connect(fd, name, addr->length);
        if (rc == -EINTR)
            continue;
        if (rc != -EAGAIN || context->deadline_ns == OURO__NEVER)
            return rc;
        rc = ouro_sleep(pause_ns);
        if (rc < 0)
            return rc;
        pause_ns = pause_ns < PAUSE_MAX_NS ? 2 * pause_ns : PAUSE_MAX_NS;
    }
}

/* Takes @fd, and closes it after an error. */
static int connect_socket(struct ouro__context *context, int fd,
                          const struct ouro_socket_addr *addr, struct ouro_stream **out_stream)
{
    struct ouro_stream *stream = ouro__alloc(sizeof(*stream));
    int rc = stream == NULL ? -ENOMEM : connect_to(context, fd, addr);
    if (rc < 0) {
        ouro__free(stream);
        ouro__kernel_close(fd);
        return rc;
    }
    ouro__stream_init(stream, &ouro__stream_unix, context->handle, fd);
    *out_stream = stream;
    return 0;
}

static int attempt(struct ouro__context *context, const struct ouro_socket_addr *addr,
                   struct ouro_stream **out_stream)
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

int ouro_unix_stream_connect(const struct ouro_socket_addr *addr, struct ouro_stream **out_stream)
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
