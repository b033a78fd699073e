/* SPDX-License-Identifier: MIT */
/*
 * UdpSocket: the public calls of ouro/udp.h.
 *
 * A receive or send holds its lane from its beginning to its end (net/datagram.c has what they do).
 * Where the socket keeps ICMP errors, a call that fails for another datagram's error is made again
 * (net/udp_error.c).
 *
 * Owns:    the socket's memory; the headers of a batch, on the caller's stack.
 * Threads: any; one receiver, one sender and one reader of errors at a time.
 * Always:  close releases the socket, whatever it returns.
 * Tests:   tests/net/test_udp.c, tests/net/test_udp_batch.c, tests/net/test_udp_options.c
 */
#include "net/udp.h"

#include "base/alloc.h"
#include "base/kernel.h"
#include "base/options.h"
#include "net/resolve.h"
#include "net/socket.h"
#include "net/socket_addr.h"

#include <ouro/error.h>

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#ifndef SOL_UDP
#define SOL_UDP 17
#endif
#define OURO__UDP_GRO 104 /* UDP_GRO, Linux 5.0 */

#define KNOWN_FLAGS                                                                                \
    (OURO_UDP_F_REUSEPORT | OURO_UDP_F_V6ONLY | OURO_UDP_F_BROADCAST | OURO_UDP_F_LOCAL |          \
     OURO_UDP_F_TOS | OURO_UDP_F_ERRORS | OURO_UDP_F_GRO)

static int check_options(const struct ouro_udp_options *options)
{
    if (options == NULL || (options->flags & ~KNOWN_FLAGS) != 0)
        return -EINVAL;
    return options->send_buffer_bytes < 0 || options->receive_buffer_bytes < 0 ? -EINVAL : 0;
}

static int set_ancillary(const struct ouro_udp_socket *socket, int fd)
{
    const uint32_t flags = socket->flags;
    bool is_ipv6 = socket->family == AF_INET6;
    int rc = 0;
    if ((flags & OURO_UDP_F_LOCAL) != 0)
        rc = is_ipv6 ? ouro__socket_set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
                     : ouro__socket_set(fd, IPPROTO_IP, IP_PKTINFO, 1);
    if (rc == 0 && (flags & OURO_UDP_F_TOS) != 0) {
        rc = ouro__socket_set(fd, IPPROTO_IP, IP_RECVTOS, 1);
        if (rc == 0 && is_ipv6)
            rc = ouro__socket_set(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
    }
    if (rc == 0 && (flags & OURO_UDP_F_GRO) != 0)
        rc = ouro__socket_set(fd, SOL_UDP, OURO__UDP_GRO, 1);
    return rc;
}

static int set_options(const struct ouro_udp_socket *socket, int fd,
                       const struct ouro_udp_options *options)
{
    int rc = 0;
    if ((options->flags & OURO_UDP_F_REUSEPORT) != 0)
        rc = ouro__socket_set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (rc == 0 && socket->family == AF_INET6 && (options->flags & OURO_UDP_F_V6ONLY) != 0)
        rc = ouro__socket_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (rc == 0 && (options->flags & OURO_UDP_F_BROADCAST) != 0)
        rc = ouro__socket_set(fd, SOL_SOCKET, SO_BROADCAST, 1);
    if (rc == 0 && options->send_buffer_bytes > 0)
        rc = ouro__socket_set(fd, SOL_SOCKET, SO_SNDBUF, options->send_buffer_bytes);
    if (rc == 0 && options->receive_buffer_bytes > 0)
        rc = ouro__socket_set(fd, SOL_SOCKET, SO_RCVBUF, options->receive_buffer_bytes);
    return rc == 0 ? set_ancillary(socket, fd) : rc;
}

/* Opens and binds a socket for @addr.  After an error nothing is open. */
static int open_at(struct ouro_udp_socket *socket, const struct ouro_socket_addr *addr,
                   const struct ouro_udp_options *options, int *out_fd)
{
    int fd = -1;
    socket->family = ouro_socket_addr_family(addr);
    if (socket->family != AF_INET && socket->family != AF_INET6)
        return -EAFNOSUPPORT;
    int rc = ouro__datagram_open(socket->family, SOCK_DGRAM, &fd);
    if (rc < 0)
        return rc;
    rc = set_options(socket, fd, options);
    if (rc == 0)
        rc = ouro__kernel_bind(fd, ouro_socket_addr_sockaddr(addr), addr->length);
    if (rc == 0 && (socket->flags & OURO_UDP_F_ERRORS) != 0)
        rc = ouro__udp_errors_open(socket, fd);
    if (rc < 0)
        ouro__kernel_close(fd);
    else
        *out_fd = fd;
    return rc;
}

static int open_first(struct ouro_udp_socket *socket, const struct ouro_to_socket_addrs *addrs,
                      const struct ouro_udp_options *options, int *out_fd)
{
    struct ouro__addr_vec vec;
    ouro__addr_vec_init(&vec);
    int rc = ouro__resolve(addrs, &vec);
    if (rc >= 0) {
        const struct ouro_socket_addr *items = ouro__addr_vec_items(&vec);
        rc = -EINVAL;
        for (size_t i = 0; rc < 0 && i < vec.count; i++)
            rc = open_at(socket, &items[i], options, out_fd);
    }
    ouro__addr_vec_fini(&vec);
    return rc;
}

int ouro_udp_socket_bind(const struct ouro_to_socket_addrs *addrs,
                         const struct ouro_udp_options *options,
                         struct ouro_udp_socket **out_socket)
{
    struct ouro__context *context = NULL;
    struct ouro_udp_options defaults = OURO_UDP_OPTIONS_INIT;
    options = ouro__options_read(options, &defaults, sizeof(defaults));
    int rc = addrs == NULL || out_socket == NULL ? -EINVAL : check_options(options);
    if (rc == 0)
        rc = ouro__descriptor_context(&context);
    if (rc < 0)
        return rc;
    struct ouro_udp_socket *socket = ouro__calloc(1, sizeof(*socket));
    if (socket == NULL)
        return -ENOMEM;
    int fd = -1;
    socket->flags = options->flags;
    ouro__atomic_init(&socket->connected, OURO__UDP_NO_PEER);
    rc = open_first(socket, addrs, options, &fd);
    if (rc < 0) {
        ouro__free(socket);
        return rc;
    }
    ouro__datagram_init(&socket->datagram, context, fd);
    *out_socket = socket;
    return 0;
}

/* Which packets go to the peer that the socket is connected to now. */
static uint32_t peer_kind(int fd)
{
    struct ouro_socket_addr peer;
    struct sockaddr_in6 in6;
    if (ouro__socket_peer_addr(fd, &peer) < 0)
        return OURO__UDP_NO_PEER;
    if (ouro_socket_addr_family(&peer) == AF_INET)
        return OURO__UDP_PEER_IPV4;
    memcpy(&in6, peer.storage, sizeof(in6));
    return IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr) ? OURO__UDP_PEER_IPV4 : OURO__UDP_PEER_IPV6;
}

static int connect_first(struct ouro_udp_socket *socket, struct ouro__addr_vec *vec)
{
    const struct ouro_socket_addr *items = ouro__addr_vec_items(vec);
    struct ouro__context *context = NULL;
    int rc = ouro__datagram_enter(&socket->datagram, OURO__LANE_WRITE, &context);
    if (rc < 0)
        return rc;
    int fd = socket->datagram.descriptor.fd;
    rc = -EINVAL;
    for (size_t i = 0; rc < 0 && i < vec->count; i++) {
        int family = ouro_socket_addr_family(&items[i]);
        rc = -EAFNOSUPPORT;
        if (family == AF_INET || family == socket->family) /* never waits on a datagram socket */
            rc = ouro__kernel_connect(fd, ouro_socket_addr_sockaddr(&items[i]), items[i].length);
    }
    ouro__store(&socket->connected, peer_kind(fd), memory_order_release);
    ouro__datagram_leave(&socket->datagram, OURO__LANE_WRITE);
    return rc;
}

int ouro_udp_socket_connect(struct ouro_udp_socket *socket,
                            const struct ouro_to_socket_addrs *addrs)
{
    struct ouro__addr_vec vec;
    if (socket == NULL || addrs == NULL)
        return -EINVAL;
    ouro__addr_vec_init(&vec);
    int rc = ouro__resolve(addrs, &vec);
    if (rc >= 0)
        rc = connect_first(socket, &vec);
    ouro__addr_vec_fini(&vec);
    return rc;
}

int ouro_udp_socket_local_addr(const struct ouro_udp_socket *socket,
                               struct ouro_socket_addr *out_addr)
{
    if (socket == NULL || out_addr == NULL)
        return -EINVAL;
    return ouro__socket_local_addr(socket->datagram.descriptor.fd, out_addr);
}

int ouro_udp_socket_peer_addr(const struct ouro_udp_socket *socket,
                              struct ouro_socket_addr *out_addr)
{
    if (socket == NULL || out_addr == NULL)
        return -EINVAL;
    return ouro__socket_peer_addr(socket->datagram.descriptor.fd, out_addr);
}

int ouro_udp_socket_fd(const struct ouro_udp_socket *socket)
{
    return socket == NULL ? -EINVAL : socket->datagram.descriptor.fd;
}

static ssize_t send_one(struct ouro_udp_socket *socket, const void *buffer, size_t size,
                        const struct ouro_socket_addr *peer)
{
    struct ouro__context *context = NULL;
    struct iovec vector = {.iov_base = (void *)(uintptr_t)buffer, .iov_len = size};
    struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};
    unsigned tries = 0;
    ssize_t n = ouro__datagram_enter(&socket->datagram, OURO__LANE_WRITE, &context);
    if (n < 0)
        return n;
    if (peer != NULL) {
        header.msg_name = (void *)(uintptr_t)peer->storage;
        header.msg_namelen = peer->length;
    }
    do {
        n = ouro__datagram_send(&socket->datagram, context, &header);
    } while (ouro__udp_is_of_others(socket, OURO__LANE_WRITE, n, &tries));
    ouro__datagram_leave(&socket->datagram, OURO__LANE_WRITE);
    return n;
}

ssize_t ouro_udp_socket_send(struct ouro_udp_socket *socket, const void *buffer, size_t size)
{
    if (socket == NULL || (buffer == NULL && size > 0))
        return -EINVAL;
    return send_one(socket, buffer, size, NULL);
}

ssize_t ouro_udp_socket_send_to(struct ouro_udp_socket *socket, const void *buffer, size_t size,
                                const struct ouro_socket_addr *peer)
{
    if (socket == NULL || (buffer == NULL && size > 0) || !ouro__socket_addr_is_valid(peer))
        return -EINVAL;
    int family = ouro_socket_addr_family(peer);
    if (family != AF_INET && family != AF_INET6)
        return -EAFNOSUPPORT;
    return send_one(socket, buffer, size, peer);
}

static ssize_t receive_one(struct ouro_udp_socket *socket, void *buffer, size_t size,
                           struct ouro_socket_addr *out_peer)
{
    struct ouro__context *context = NULL;
    struct sockaddr_storage name;
    struct iovec vector = {.iov_base = buffer, .iov_len = size};
    struct msghdr header;
    unsigned tries = 0;
    ssize_t n = ouro__datagram_enter(&socket->datagram, OURO__LANE_READ, &context);
    if (n < 0)
        return n;
    do {
        header = (struct msghdr){.msg_iov = &vector, .msg_iovlen = 1};
        if (out_peer != NULL) {
            header.msg_name = &name;
            header.msg_namelen = sizeof(name);
        }
        n = ouro__datagram_receive(&socket->datagram, context, OURO__LANE_READ, &header, 0);
    } while (ouro__udp_is_of_others(socket, OURO__LANE_READ, n, &tries));
    ouro__datagram_leave(&socket->datagram, OURO__LANE_READ);
    if (n >= 0 && out_peer != NULL &&
        ouro_socket_addr_from_sockaddr((const struct sockaddr *)&name, header.msg_namelen,
                                       out_peer) < 0)
        out_peer->length = 0;
    return n;
}

ssize_t ouro_udp_socket_recv(struct ouro_udp_socket *socket, void *buffer, size_t size)
{
    if (socket == NULL || (buffer == NULL && size > 0))
        return -EINVAL;
    return receive_one(socket, buffer, size, NULL);
}

ssize_t ouro_udp_socket_recv_from(struct ouro_udp_socket *socket, void *buffer, size_t size,
                                  struct ouro_socket_addr *out_peer)
{
    if (socket == NULL || (buffer == NULL && size > 0) || out_peer == NULL)
        return -EINVAL;
    return receive_one(socket, buffer, size, out_peer);
}

/* The headers of a batch.  They are too large for a frame that others are called from. */
struct batch {
    struct mmsghdr headers[OURO__DATAGRAM_BATCH];
    struct ouro__udp_frame frames[OURO__DATAGRAM_BATCH];
};

static unsigned batch_of(size_t count)
{
    return count < OURO__DATAGRAM_BATCH ? (unsigned)count : OURO__DATAGRAM_BATCH;
}

/* Receives up to a batch; @waits: until there is one. */
static ssize_t receive_some(struct ouro_udp_socket *socket, struct ouro__context *context,
                            struct ouro_udp_message *messages, size_t count, bool waits)
{
    struct batch batch;
    unsigned limit = batch_of(count);
    unsigned tries = 0;
    ssize_t n = 0;
    do {
        for (unsigned i = 0; i < limit; i++)
            ouro__udp_prepare_receive(socket, &messages[i], &batch.frames[i],
                                      &batch.headers[i].msg_hdr);
        if (waits)
            n = ouro__datagram_receive_many(&socket->datagram, context, batch.headers, limit);
        else
            n = ouro__datagram_receive_more(&socket->datagram, batch.headers, limit);
    } while (ouro__udp_is_of_others(socket, OURO__LANE_READ, n, &tries));
    for (ssize_t i = 0; i < n; i++)
        ouro__udp_finish_receive(socket, &messages[i], &batch.headers[i].msg_hdr,
                                 batch.headers[i].msg_len);
    return n;
}

static bool buffers_are_valid(const struct ouro_udp_message *messages, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (messages[i].buffer == NULL && messages[i].buffer_bytes > 0)
            return false;
    }
    return true;
}

ssize_t ouro_udp_socket_recv_batch(struct ouro_udp_socket *socket,
                                   struct ouro_udp_message *messages, size_t count)
{
    struct ouro__context *context = NULL;
    if (socket == NULL || messages == NULL || count == 0 || !buffers_are_valid(messages, count))
        return -EINVAL;
    ssize_t n = ouro__datagram_enter(&socket->datagram, OURO__LANE_READ, &context);
    if (n < 0)
        return n;
    n = receive_some(socket, context, messages, count, true);
    /* More than a full batch may be there. */
    for (ssize_t more = n; more == OURO__DATAGRAM_BATCH && (size_t)n < count; n += more)
        more = receive_some(socket, context, messages + n, count - (size_t)n, false);
    ouro__datagram_leave(&socket->datagram, OURO__LANE_READ);
    return n;
}

/* Sends up to a batch; @waits: until there is room for the first. */
static ssize_t send_some(struct ouro_udp_socket *socket, struct ouro__context *context,
                         const struct ouro_udp_message *messages, size_t count, bool waits)
{
    struct batch batch;
    unsigned limit = batch_of(count);
    unsigned ready = 0;
    unsigned tries = 0;
    ssize_t n = 0;
    for (; n == 0 && ready < limit; ready += n == 0 ? 1 : 0) /* those before a wrong one are sent */
        n = ouro__udp_prepare_send(socket, &messages[ready], &batch.frames[ready],
                                   &batch.headers[ready].msg_hdr);
    if (ready == 0)
        return n; /* why the first cannot be sent */
    do {
        n = ouro__datagram_send_many(&socket->datagram, context, batch.headers, ready, waits);
    } while (ouro__udp_is_of_others(socket, OURO__LANE_WRITE, n, &tries));
    return n;
}

ssize_t ouro_udp_socket_send_batch(struct ouro_udp_socket *socket,
                                   const struct ouro_udp_message *messages, size_t count)
{
    struct ouro__context *context = NULL;
    if (socket == NULL || (messages == NULL && count > 0))
        return -EINVAL;
    ssize_t n = ouro__datagram_enter(&socket->datagram, OURO__LANE_WRITE, &context);
    if (n < 0)
        return n;
    size_t sent = 0;
    bool goes_on = count > 0;
    while (goes_on) {
        n = send_some(socket, context, messages + sent, count - sent, sent == 0);
        sent += n > 0 ? (size_t)n : 0;
        goes_on = n == OURO__DATAGRAM_BATCH && sent < count;
    }
    if (sent > 0)
        n = (ssize_t)sent;
    ouro__datagram_leave(&socket->datagram, OURO__LANE_WRITE);
    return n;
}

int ouro_udp_socket_close(struct ouro_udp_socket *socket)
{
    if (socket == NULL)
        return 0;
    int rc = ouro__descriptor_close(&socket->datagram.descriptor);
    ouro__udp_errors_close(socket);
    ouro__free(socket);
    return rc;
}
