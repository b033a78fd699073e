/* SPDX-License-Identifier: MIT */
/*
 * UnixDatagram: the public calls for Unix sockets that keep message boundaries.
 *
 * Sending and receiving are those of every such socket (net/datagram.c), with one exception.  A
 * datagram that names its destination finds no room when that receiver's queue is full, and no
 * event tells when this has changed: poll(2) looks at the connected peer only, and would report
 * room all the time.  An operation would spin, so such a send sleeps and tries again.
 *
 * The end of a seqpacket and a message of no bytes are both a 0 of recvmsg(2).  The socket is told
 * to stamp messages with their time (SO_TIMESTAMPNS, which costs nothing else on a Unix socket):
 * every message then brings a control message, and the end brings none.
 *
 * Owns:    the socket's memory, and its file.
 * Threads: any; one receiver and one sender at a time.
 * Always:  a descriptor that has come is the caller's or closed.
 * Tests:   tests/net/test_unix_datagram.c, tests/net/test_unix_fds.c
 */
#include "net/unix_datagram.h"

#include "base/alloc.h"
#include "base/fork.h"
#include "base/kernel.h"
#include "base/options.h"
#include "net/socket.h"
#include "net/socket_addr.h"
#include "net/unix_fds.h"
#include "net/unix_stream.h"
#include "task/handle.h"

#include <ouro/error.h>
#include <ouro/time.h>

#include <errno.h>

#define PAUSE_MIN_NS OURO__NS_PER_MS
#define PAUSE_MAX_NS (16 * OURO__NS_PER_MS)

int ouro__unix_datagram_new(struct ouro__context *context, int fd, int type,
                            struct ouro_unix_datagram **out_socket)
{
    struct ouro_unix_datagram *socket = ouro__calloc(1, sizeof(*socket));
    int rc = socket == NULL ? -ENOMEM : 0;
    if (rc == 0 && type == SOCK_SEQPACKET)
        rc = ouro__socket_set(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1);
    if (rc < 0) {
        ouro__free(socket);
        return rc;
    }
    socket->type = type;
    ouro__datagram_init(&socket->datagram, context, fd);
    *out_socket = socket;
    return 0;
}

int ouro_unix_datagram_bind(const struct ouro_socket_addr *addr,
                            const struct ouro_unix_bind_options *options,
                            struct ouro_unix_datagram **out_socket)
{
    struct ouro__context *context = NULL;
    struct ouro__unix_path path;
    struct ouro_unix_datagram *socket = NULL;
    struct ouro_unix_bind_options defaults = OURO_UNIX_BIND_OPTIONS_INIT;
    int fd = -1;
    options = ouro__options_read(options, &defaults, sizeof(defaults));
    int rc = out_socket == NULL ? -EINVAL : ouro__unix_check_bind(addr, options);
    if (rc == 0)
        rc = ouro__descriptor_context(&context);
    if (rc == 0)
        rc = ouro__unix_bind(addr, SOCK_DGRAM, options, &path, &fd);
    if (rc < 0)
        return rc;
    rc = ouro__unix_datagram_new(context, fd, SOCK_DGRAM, &socket);
    if (rc < 0) {
        ouro__unix_path_remove(&path);
        ouro__kernel_close(fd);
        return rc;
    }
    socket->path = path;
    *out_socket = socket;
    return 0;
}

int ouro_unix_datagram_pair(enum ouro_unix_type type, struct ouro_unix_datagram **out_left,
                            struct ouro_unix_datagram **out_right)
{
    struct ouro__context *context = NULL;
    struct ouro_unix_datagram *left = NULL;
    int native = type == OURO_UNIX_SEQPACKET ? SOCK_SEQPACKET : SOCK_DGRAM;
    int fds[2];
    if (out_left == NULL || out_right == NULL ||
        (type != OURO_UNIX_SEQPACKET && type != OURO_UNIX_DATAGRAM))
        return -EINVAL;
    int rc = ouro__descriptor_context(&context);
    if (rc == 0)
        rc = ouro__kernel_socket_pair(AF_UNIX, native, fds);
    if (rc < 0)
        return rc;
    rc = ouro__unix_datagram_new(context, fds[0], native, &left);
    if (rc < 0) {
        ouro__kernel_close(fds[0]);
        ouro__kernel_close(fds[1]);
        return rc;
    }
    rc = ouro__unix_datagram_new(context, fds[1], native, out_right);
    if (rc < 0) {
        (void)ouro_unix_datagram_close(left);
        ouro__kernel_close(fds[1]);
        return rc;
    }
    *out_left = left;
    return 0;
}

int ouro_unix_seqpacket_connect(const struct ouro_socket_addr *addr,
                                struct ouro_unix_datagram **out_socket)
{
    struct ouro__context *context = NULL;
    int fd = -1;
    if (addr == NULL || out_socket == NULL || !ouro__socket_addr_is_valid(addr))
        return -EINVAL;
    if (ouro_socket_addr_family(addr) != AF_UNIX)
        return -EAFNOSUPPORT;
    int rc = ouro__descriptor_context(&context);
    if (rc == 0)
        rc = ouro__context_interrupted(context);
    if (rc < 0)
        return rc;
    ouro__context_spend(context);
    rc = ouro__datagram_open(AF_UNIX, SOCK_SEQPACKET, &fd);
    if (rc < 0)
        return rc;
    rc = ouro__unix_connect_to(context, fd, addr);
    if (rc == 0)
        rc = ouro__unix_datagram_new(context, fd, SOCK_SEQPACKET, out_socket);
    if (rc < 0)
        ouro__kernel_close(fd);
    return rc;
}

int ouro_unix_datagram_connect(struct ouro_unix_datagram *socket,
                               const struct ouro_socket_addr *addr)
{
    struct ouro__context *context = NULL;
    if (socket == NULL || !ouro__socket_addr_is_valid(addr))
        return -EINVAL;
    if (ouro_socket_addr_family(addr) != AF_UNIX)
        return -EAFNOSUPPORT;
    if (socket->type != SOCK_DGRAM)
        return -EISCONN;
    int rc = ouro__datagram_enter(&socket->datagram, OURO__LANE_WRITE, &context);
    if (rc < 0)
        return rc;
    rc = ouro__kernel_connect(socket->datagram.descriptor.fd, ouro_socket_addr_sockaddr(addr),
                              addr->length);
    ouro__datagram_leave(&socket->datagram, OURO__LANE_WRITE);
    return rc;
}

int ouro_unix_datagram_local_addr(const struct ouro_unix_datagram *socket,
                                  struct ouro_socket_addr *out_addr)
{
    if (socket == NULL || out_addr == NULL)
        return -EINVAL;
    return ouro__socket_local_addr(socket->datagram.descriptor.fd, out_addr);
}

int ouro_unix_datagram_peer_credentials(const struct ouro_unix_datagram *socket,
                                        struct ouro_unix_credentials *out_credentials)
{
    if (socket == NULL || out_credentials == NULL)
        return -EINVAL;
    return ouro__unix_peer_credentials(socket->datagram.descriptor.fd, out_credentials);
}

int ouro_unix_datagram_fd(const struct ouro_unix_datagram *socket)
{
    return socket == NULL ? -EINVAL : socket->datagram.descriptor.fd;
}

/* To a destination that the header names: until there is room, or the socket is being closed. */
static ssize_t send_to_named(struct ouro_unix_datagram *socket, const struct msghdr *header)
{
    struct ouro__descriptor *descriptor = &socket->datagram.descriptor;
    int64_t pause_ns = PAUSE_MIN_NS;
    for (;;) {
        ssize_t n = ouro__kernel_send_message(descriptor->fd, header);
        if (n != -EAGAIN)
            return n;
        int rc = ouro_sleep(pause_ns);
        if (rc == 0 &&
            (ouro__load(&descriptor->calls, memory_order_acquire) & OURO__DESCRIPTOR_CLOSING) != 0)
            rc = -ECANCELED;
        if (rc < 0)
            return rc;
        pause_ns = pause_ns < PAUSE_MAX_NS ? 2 * pause_ns : PAUSE_MAX_NS;
    }
}

static ssize_t send_message(struct ouro_unix_datagram *socket, const void *buffer, size_t size,
                            const int *fds, size_t count, const struct ouro_socket_addr *peer)
{
    struct ouro__context *context = NULL;
    struct ouro__unix_control control;
    struct iovec vector = {.iov_base = (void *)(uintptr_t)buffer, .iov_len = size};
    struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};
    ssize_t n = ouro__datagram_enter(&socket->datagram, OURO__LANE_WRITE, &context);
    if (n < 0)
        return n;
    ouro__unix_pass_fds(&header, &control, fds, count);
    if (peer != NULL) {
        header.msg_name = (void *)(uintptr_t)peer->storage;
        header.msg_namelen = peer->length;
        n = send_to_named(socket, &header);
    } else {
        n = ouro__datagram_send(&socket->datagram, context, &header);
    }
    ouro__datagram_leave(&socket->datagram, OURO__LANE_WRITE);
    return n;
}

/* Why nothing can be sent to @peer. */
static int check_peer(const struct ouro_unix_datagram *socket, const struct ouro_socket_addr *peer)
{
    if (!ouro__socket_addr_is_valid(peer))
        return -EINVAL;
    if (ouro_socket_addr_family(peer) != AF_UNIX)
        return -EAFNOSUPPORT;
    return socket->type == SOCK_DGRAM ? 0 : -EISCONN;
}

ssize_t ouro_unix_datagram_send(struct ouro_unix_datagram *socket, const void *buffer, size_t size)
{
    if (socket == NULL || (buffer == NULL && size > 0))
        return -EINVAL;
    return send_message(socket, buffer, size, NULL, 0, NULL);
}

ssize_t ouro_unix_datagram_send_to(struct ouro_unix_datagram *socket, const void *buffer,
                                   size_t size, const struct ouro_socket_addr *peer)
{
    if (socket == NULL || (buffer == NULL && size > 0))
        return -EINVAL;
    int rc = check_peer(socket, peer);
    return rc < 0 ? rc : send_message(socket, buffer, size, NULL, 0, peer);
}

ssize_t ouro_unix_datagram_send_fds(struct ouro_unix_datagram *socket, const void *buffer,
                                    size_t size, const int *fds, size_t count,
                                    const struct ouro_socket_addr *peer)
{
    if (socket == NULL || (buffer == NULL && size > 0) || !ouro__unix_fds_are_valid(fds, count))
        return -EINVAL;
    int rc = peer == NULL ? 0 : check_peer(socket, peer);
    return rc < 0 ? rc : send_message(socket, buffer, size, fds, count, peer);
}

static ssize_t receive_message(struct ouro_unix_datagram *socket, void *buffer, size_t size,
                               struct ouro_unix_fds *fds, struct ouro_socket_addr *out_peer)
{
    struct ouro__context *context = NULL;
    struct ouro__unix_control control;
    struct sockaddr_storage name;
    struct iovec vector = {.iov_base = buffer, .iov_len = size};
    struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};
    ssize_t n = ouro__datagram_enter(&socket->datagram, OURO__LANE_READ, &context);
    if (n < 0)
        return n;
    if (out_peer != NULL) {
        header.msg_name = &name;
        header.msg_namelen = sizeof(name);
    }
    if (fds != NULL || socket->type == SOCK_SEQPACKET)
        ouro__unix_expect_fds(&header, &control, fds == NULL ? 0 : fds->room);
    n = ouro__datagram_receive(&socket->datagram, context, OURO__LANE_READ, &header, 0);
    ouro__datagram_leave(&socket->datagram, OURO__LANE_READ);
    if (n < 0)
        return n;
    if (n == 0 && socket->type == SOCK_SEQPACKET && header.msg_controllen == 0)
        return -ENODATA;
    if (header.msg_control != NULL)
        ouro__unix_take_fds(&header, fds);
    if (out_peer != NULL && ouro_socket_addr_from_sockaddr((const struct sockaddr *)&name,
                                                           header.msg_namelen, out_peer) < 0)
        out_peer->length = 0;
    return n;
}

ssize_t ouro_unix_datagram_recv(struct ouro_unix_datagram *socket, void *buffer, size_t size)
{
    if (socket == NULL || (buffer == NULL && size > 0))
        return -EINVAL;
    return receive_message(socket, buffer, size, NULL, NULL);
}

ssize_t ouro_unix_datagram_recv_from(struct ouro_unix_datagram *socket, void *buffer, size_t size,
                                     struct ouro_socket_addr *out_peer)
{
    if (socket == NULL || (buffer == NULL && size > 0) || out_peer == NULL)
        return -EINVAL;
    return receive_message(socket, buffer, size, NULL, out_peer);
}

ssize_t ouro_unix_datagram_recv_fds(struct ouro_unix_datagram *socket, void *buffer, size_t size,
                                    struct ouro_unix_fds *fds, struct ouro_socket_addr *out_peer)
{
    if (socket == NULL || (buffer == NULL && size > 0) || !ouro__unix_room_is_valid(fds))
        return -EINVAL;
    return receive_message(socket, buffer, size, fds, out_peer);
}

int ouro_unix_datagram_shutdown(struct ouro_unix_datagram *socket, enum ouro_shutdown how)
{
    static const int native[] = {SHUT_RD, SHUT_WR, SHUT_RDWR};
    if (socket == NULL || (unsigned)how > OURO_SHUTDOWN_BOTH)
        return -EINVAL;
    if (ouro__fork_is_child(socket->datagram.descriptor.handle->fork_generation))
        return -OURO_EFORKED; /* the parent has the same socket */
    return ouro__kernel_shutdown(socket->datagram.descriptor.fd, native[how]);
}

int ouro_unix_datagram_close(struct ouro_unix_datagram *socket)
{
    if (socket == NULL)
        return 0;
    if (!ouro__fork_is_child(socket->datagram.descriptor.handle->fork_generation))
        ouro__unix_path_remove(&socket->path);
    int rc = ouro__descriptor_close(&socket->datagram.descriptor);
    ouro__free(socket);
    return rc;
}
