/* SPDX-License-Identifier: MIT */
/*
 * UnixStream: connecting to a Unix socket, and what only a Unix stream has.
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
 * Tests:   tests/net/test_unix_stream.c, tests/net/test_unix_fds.c
 */
#include "net/unix_stream.h"

#include "base/alloc.h"
#include "base/kernel.h"
#include "net/socket.h"
#include "net/socket_addr.h"
#include "net/unix_fds.h"
#include "stream/meter.h"
#include "stream/stream.h"

#include <ouro/error.h>
#include <ouro/time.h>

#include <errno.h>
#include <sys/socket.h>

#define PAUSE_MIN_NS OURO__NS_PER_MS
#define PAUSE_MAX_NS (16 * OURO__NS_PER_MS)

int ouro__unix_connect_to(const struct ouro__context *context, int fd,
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
    int rc = stream == NULL ? -ENOMEM : ouro__unix_connect_to(context, fd, addr);
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
    int rc = ouro__descriptor_context(&context);
    if (rc == 0)
        rc = ouro__context_interrupted(context);
    if (rc < 0)
        return rc;
    ouro__context_spend(context);
    return attempt(context, addr, out_stream);
}

int ouro_unix_stream_pair(struct ouro_stream **out_left, struct ouro_stream **out_right)
{
    struct ouro__context *context = NULL;
    int fds[2];
    int rc = out_left == NULL || out_right == NULL ? -EINVAL : ouro__descriptor_context(&context);
    if (rc < 0)
        return rc;
    struct ouro_stream *left = ouro__alloc(sizeof(*left));
    struct ouro_stream *right = ouro__alloc(sizeof(*right));
    rc = left == NULL || right == NULL ? -ENOMEM
                                       : ouro__kernel_socket_pair(AF_UNIX, SOCK_STREAM, fds);
    if (rc < 0) {
        ouro__free(left);
        ouro__free(right);
        return rc;
    }
    ouro__stream_init(left, &ouro__stream_unix, context->handle, fds[0]);
    ouro__stream_init(right, &ouro__stream_unix, context->handle, fds[1]);
    *out_left = left;
    *out_right = right;
    return 0;
}

int ouro__unix_peer_credentials(int fd, struct ouro_unix_credentials *out_credentials)
{
    struct ucred peer = {.pid = 0};
    int rc = ouro__kernel_get_option(fd, SOL_SOCKET, SO_PEERCRED, &peer, sizeof(peer));
    if (rc < 0)
        return rc;
    /* A socket without a peer has the credentials of nobody. */
    if (peer.pid == 0 && peer.uid == (uid_t)-1)
        return -ENOTCONN;
    *out_credentials = (struct ouro_unix_credentials){
        .pid = (int32_t)peer.pid, .uid = (uint32_t)peer.uid, .gid = (uint32_t)peer.gid};
    return 0;
}

int ouro_unix_stream_peer_credentials(const struct ouro_stream *stream,
                                      struct ouro_unix_credentials *out_credentials)
{
    if (stream == NULL || out_credentials == NULL)
        return -EINVAL;
    if (stream->kind->id != OURO_STREAM_UNIX)
        return -EOPNOTSUPP;
    return ouro__unix_peer_credentials(stream->descriptor.fd, out_credentials);
}

/* One message operation on @lane.  A write sends no more than may be sent. */
static ssize_t transfer_in_lane(struct ouro_stream *stream, struct ouro__context *context,
                                unsigned lane, struct msghdr *header)
{
    struct ouro__op op;
    bool reads = lane == OURO__LANE_READ;
    if (!reads) {
        ssize_t size = ouro__stream_meter_may_send(stream, header->msg_iov->iov_len);
        if (size < 0)
            return size;
        header->msg_iov->iov_len = (size_t)size;
    }
    ouro__op_init(&op, reads ? OURO__OP_RECVMSG : OURO__OP_SENDMSG, lane);
    op.arg.message.header = header;
    op.arg.message.flags = 0;
    ssize_t n = ouro__descriptor_await(&stream->descriptor, context, &op);
    return reads ? ouro__stream_meter_received(stream, n) : ouro__stream_meter_sent(stream, n);
}

/* The same, begun and ended as every call of a stream. */
static ssize_t transfer(struct ouro_stream *stream, unsigned lane, struct msghdr *header)
{
    struct ouro__context *context = NULL;
    int rc = ouro__context_enter(&context);
    if (rc == 0)
        rc = ouro__descriptor_enter(&stream->descriptor, lane);
    if (rc < 0)
        return rc;
    ssize_t n = transfer_in_lane(stream, context, lane, header);
    ouro__descriptor_leave(&stream->descriptor, lane);
    return n;
}

ssize_t ouro_unix_stream_send_fds(struct ouro_stream *stream, const void *buffer, size_t size,
                                  const int *fds, size_t count)
{
    struct ouro__unix_control control;
    struct iovec vector = {.iov_base = (void *)(uintptr_t)buffer, .iov_len = ouro__op_clamp(size)};
    struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};
    if (stream == NULL || buffer == NULL || size == 0 || !ouro__unix_fds_are_valid(fds, count))
        return -EINVAL;
    if (stream->kind->id != OURO_STREAM_UNIX)
        return -EOPNOTSUPP;
    ouro__unix_pass_fds(&header, &control, fds, count);
    return transfer(stream, OURO__LANE_WRITE, &header);
}

ssize_t ouro_unix_stream_recv_fds(struct ouro_stream *stream, void *buffer, size_t size,
                                  struct ouro_unix_fds *fds)
{
    struct ouro__unix_control control;
    struct iovec vector = {.iov_base = buffer, .iov_len = ouro__op_clamp(size)};
    struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};
    if (stream == NULL || buffer == NULL || size == 0 || !ouro__unix_room_is_valid(fds))
        return -EINVAL;
    if (stream->kind->id != OURO_STREAM_UNIX)
        return -EOPNOTSUPP;
    ouro__unix_expect_fds(&header, &control, fds->room);
    ssize_t n = transfer(stream, OURO__LANE_READ, &header);
    struct ouro_unix_fds none = {.room = 0};
    if (n >= 0)
        ouro__unix_take_fds(&header, fds);
    else if (n == -OURO_EBYTELIMIT) /* the descriptors have come all the same */
        ouro__unix_take_fds(&header, &none);
    return n;
}
