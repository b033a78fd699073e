/* SPDX-License-Identifier: MIT */
/*
 * UDP messages: struct ouro_udp_message to and from the kernel's headers and control messages.
 *
 * An IPv6 socket sends and receives IPv4 too, with mapped addresses.  The kernel then takes the
 * IPv4 control messages for what is sent, but IPV6_PKTINFO with a mapped source; it ignores control
 * messages of the other protocol, so both types of service are given.
 *
 * Owns:    nothing.
 * Threads: any.
 * Always:  the control messages of a send fit in the frame: there are at most four.
 * Tests:   tests/net/test_udp_batch.c, tests/net/test_udp_options.c
 */
#include "net/udp.h"

#include "net/socket_addr.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#ifndef SOL_UDP
#define SOL_UDP 17
#endif
#define OURO__UDP_SEGMENT 103 /* UDP_SEGMENT, Linux 4.18 */
#define OURO__UDP_GRO 104     /* UDP_GRO, Linux 5.0 */

#define ANCILLARY (OURO_UDP_F_LOCAL | OURO_UDP_F_TOS | OURO_UDP_F_GRO)
#define KNOWN_FLAGS                                                                                \
    (OURO_UDP_MESSAGE_F_TRUNCATED | OURO_UDP_MESSAGE_F_TOS | OURO_UDP_MESSAGE_F_GROUP)

void ouro__udp_prepare_receive(const struct ouro_udp_socket *socket,
                               struct ouro_udp_message *message, struct ouro__udp_frame *frame,
                               struct msghdr *header)
{
    bool wants_control = (socket->flags & ANCILLARY) != 0;
    frame->vector = (struct iovec){.iov_base = message->buffer, .iov_len = message->buffer_bytes};
    *header = (struct msghdr){
        .msg_name = message->peer.storage,
        .msg_namelen = sizeof(message->peer.storage),
        .msg_iov = &frame->vector,
        .msg_iovlen = 1,
        .msg_control = wants_control ? frame->control : NULL,
        .msg_controllen = wants_control ? sizeof(frame->control) : 0,
    };
}

static bool is_of(const struct cmsghdr *at, int level, int type, size_t size)
{
    return at->cmsg_level == level && at->cmsg_type == type && at->cmsg_len >= CMSG_LEN(size);
}

static void read_ipv4_info(const struct cmsghdr *at, struct ouro_udp_message *message)
{
    struct in_pktinfo info;
    memcpy(&info, CMSG_DATA(at), sizeof(info));
    message->local = ouro__socket_addr_ipv4(info.ipi_spec_dst, 0);
    message->interface_index = (uint32_t)info.ipi_ifindex;
    if (info.ipi_addr.s_addr != info.ipi_spec_dst.s_addr)
        message->flags |= OURO_UDP_MESSAGE_F_GROUP;
}

static void read_ipv6_info(const struct cmsghdr *at, struct ouro_udp_message *message)
{
    struct in6_pktinfo info;
    memcpy(&info, CMSG_DATA(at), sizeof(info));
    message->interface_index = info.ipi6_ifindex;
    if (IN6_IS_ADDR_MULTICAST(&info.ipi6_addr)) {
        message->flags |= OURO_UDP_MESSAGE_F_GROUP;
        return;
    }
    uint32_t scope = IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr) ? info.ipi6_ifindex : 0;
    message->local = ouro__socket_addr_ipv6(&info.ipi6_addr, scope, 0);
}

static void read_control(const struct cmsghdr *at, struct ouro_udp_message *message)
{
    int value = 0;
    if (is_of(at, IPPROTO_IP, IP_PKTINFO, sizeof(struct in_pktinfo))) {
        read_ipv4_info(at, message);
    } else if (is_of(at, IPPROTO_IPV6, IPV6_PKTINFO, sizeof(struct in6_pktinfo))) {
        read_ipv6_info(at, message);
    } else if (is_of(at, IPPROTO_IP, IP_TOS, 1)) { /* one byte, though IP_TOS is set as an int */
        message->tos = *CMSG_DATA(at);
        message->flags |= OURO_UDP_MESSAGE_F_TOS;
    } else if (is_of(at, IPPROTO_IPV6, IPV6_TCLASS, sizeof(value))) {
        memcpy(&value, CMSG_DATA(at), sizeof(value));
        message->tos = (uint32_t)value & 0xff;
        message->flags |= OURO_UDP_MESSAGE_F_TOS;
    } else if (is_of(at, SOL_UDP, OURO__UDP_GRO, sizeof(value))) {
        memcpy(&value, CMSG_DATA(at), sizeof(value));
        message->segment_size = (uint32_t)value;
    }
}

void ouro__udp_finish_receive(const struct ouro_udp_socket *socket,
                              struct ouro_udp_message *message, struct msghdr *header,
                              size_t length)
{
    const struct sockaddr *name = ouro_socket_addr_sockaddr(&message->peer);
    if (ouro_socket_addr_from_sockaddr(name, header->msg_namelen, &message->peer) < 0)
        message->peer.length = 0;
    message->length = length;
    message->local.length = 0;
    message->interface_index = 0;
    message->flags = (header->msg_flags & MSG_TRUNC) != 0 ? OURO_UDP_MESSAGE_F_TRUNCATED : 0;
    message->tos = 0;
    message->segment_size = 0;
    if ((socket->flags & ANCILLARY) == 0)
        return;
    for (struct cmsghdr *at = CMSG_FIRSTHDR(header); at != NULL; at = CMSG_NXTHDR(header, at))
        read_control(at, message);
}

static void add_control(struct msghdr *header, int level, int type, const void *data, size_t size)
{
    struct cmsghdr *at =
        (struct cmsghdr *)(void *)((char *)header->msg_control + header->msg_controllen);
    at->cmsg_level = level;
    at->cmsg_type = type;
    at->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(at), data, size);
    header->msg_controllen += CMSG_SPACE(size);
}

/* Whether the message leaves as an IPv4 packet. */
static bool goes_by_ipv4(const struct ouro_udp_socket *socket,
                         const struct ouro_udp_message *message)
{
    struct sockaddr_in6 peer;
    switch (ouro_socket_addr_family(&message->peer)) {
    case AF_INET:
        return true;
    case AF_INET6:
        memcpy(&peer, message->peer.storage, sizeof(peer));
        return IN6_IS_ADDR_V4MAPPED(&peer.sin6_addr);
    default:
        return ouro__load(&socket->connected, memory_order_acquire) == OURO__UDP_PEER_IPV4;
    }
}

static struct in6_addr mapped(struct in_addr host)
{
    struct in6_addr addr = {{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}}};
    memcpy(&addr.s6_addr[12], &host, sizeof(host));
    return addr;
}

static int add_ipv4_source(const struct ouro_udp_message *message, struct msghdr *header)
{
    struct in_pktinfo info = {.ipi_ifindex = (int)message->interface_index};
    struct sockaddr_in local = {.sin_family = AF_INET};
    if (message->local.length != 0) {
        if (ouro_socket_addr_family(&message->local) != AF_INET)
            return -EAFNOSUPPORT;
        memcpy(&local, message->local.storage, sizeof(local));
    }
    info.ipi_spec_dst = local.sin_addr;
    if (info.ipi_ifindex != 0 || info.ipi_spec_dst.s_addr != 0)
        add_control(header, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
    return 0;
}

static void add_ipv6_source(const struct ouro_udp_message *message, struct msghdr *header,
                            bool is_ipv4)
{
    struct in6_pktinfo info = {.ipi6_ifindex = message->interface_index};
    if (ouro_socket_addr_family(&message->local) == AF_INET) {
        struct sockaddr_in local;
        memcpy(&local, message->local.storage, sizeof(local));
        info.ipi6_addr = mapped(local.sin_addr);
    } else if (message->local.length != 0) {
        struct sockaddr_in6 local;
        memcpy(&local, message->local.storage, sizeof(local));
        info.ipi6_addr = local.sin6_addr;
    }
    bool is_named = !IN6_IS_ADDR_UNSPECIFIED(&info.ipi6_addr);
    if (!is_named && is_ipv4)
        info.ipi6_addr = mapped((struct in_addr){.s_addr = INADDR_ANY});
    if (is_named || info.ipi6_ifindex != 0)
        add_control(header, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
}

/* The control messages that @message asks for. */
static int add_controls(const struct ouro_udp_socket *socket,
                        const struct ouro_udp_message *message, struct msghdr *header)
{
    int rc = 0;
    if (message->local.length != 0 || message->interface_index != 0) {
        if (socket->family == AF_INET)
            rc = add_ipv4_source(message, header);
        else
            add_ipv6_source(message, header, goes_by_ipv4(socket, message));
    }
    if ((message->flags & OURO_UDP_MESSAGE_F_TOS) != 0) {
        int tos = (int)message->tos;
        add_control(header, IPPROTO_IP, IP_TOS, &tos, sizeof(tos));
        if (socket->family == AF_INET6)
            add_control(header, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos));
    }
    if (message->segment_size != 0) {
        uint16_t size = (uint16_t)message->segment_size;
        add_control(header, SOL_UDP, OURO__UDP_SEGMENT, &size, sizeof(size));
    }
    return rc;
}

static bool is_internet(const struct ouro_socket_addr *addr)
{
    int family = ouro_socket_addr_family(addr);
    return ouro__socket_addr_is_valid(addr) && (family == AF_INET || family == AF_INET6);
}

static int check(const struct ouro_udp_message *message)
{
    if (message->buffer == NULL && message->length > 0)
        return -EINVAL;
    if ((message->flags & ~KNOWN_FLAGS) != 0 || message->tos > 0xff ||
        message->segment_size > UINT16_MAX || message->interface_index > INT32_MAX)
        return -EINVAL;
    if ((message->flags & OURO_UDP_MESSAGE_F_TRUNCATED) != 0)
        return -EMSGSIZE; /* length is more than the buffer has */
    if ((message->peer.length != 0 && !is_internet(&message->peer)) ||
        (message->local.length != 0 && !is_internet(&message->local)))
        return -EAFNOSUPPORT;
    return 0;
}

int ouro__udp_prepare_send(const struct ouro_udp_socket *socket,
                           const struct ouro_udp_message *message, struct ouro__udp_frame *frame,
                           struct msghdr *header)
{
    int rc = check(message);
    if (rc < 0)
        return rc;
    frame->vector = (struct iovec){.iov_base = message->buffer, .iov_len = message->length};
    *header = (struct msghdr){
        .msg_iov = &frame->vector,
        .msg_iovlen = 1,
        .msg_control = frame->control,
    };
    if (message->peer.length != 0) {
        header->msg_name = (void *)(uintptr_t)message->peer.storage;
        header->msg_namelen = message->peer.length;
    }
    rc = add_controls(socket, message, header);
    if (header->msg_controllen == 0)
        header->msg_control = NULL;
    return rc;
}
