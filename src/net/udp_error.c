/* SPDX-License-Identifier: MIT */
/*
 * UDP errors: which call learns of an ICMP error.
 *
 * Without IP_RECVERR the kernel tells a connected socket alone, through the next call on it.  With
 * IP_RECVERR it does two things for each ICMP error of a datagram that the socket has sent.  It
 * queues the error with the datagram's destination; and it makes the next call on the socket fail
 * with it, whatever that call is: a send to B fails because A is not there.  So on an unconnected
 * socket a call that fails with such an error is made again.
 *
 * The queue is emptied at that time, into a ring of the last errors, also because an error queue
 * that is not empty is POLLERR: it ends every wait for data at once, so a receiver would spin.  An
 * error that the kernel has reported to some call is in the queue by then.  Only
 * ouro_udp_socket_recv_error() leaves errors there, while it waits in the kernel for one: it then
 * empties the queue itself.  `reader_waits` says so, under the lock: whoever finds it set leaves
 * the queue to the reader, and whoever finds it clear has put the errors where the reader looks
 * before it waits.
 *
 * Not every failure of a send is such a report: -EMSGSIZE and -ENETUNREACH may be about the send
 * itself.  That is returned again when the send is repeated, and nothing new is in the queue then.
 * Each error may have been taken out of the queue by another call, so a send is repeated
 * REPEATS times before its error is believed.
 *
 * Owns:    the ring.
 * Threads: any.
 * Always:  the lock is a leaf; no call waits under it.
 * Tests:   tests/net/test_udp_error.c
 */
#include "net/udp.h"

#include "base/alloc.h"
#include "base/kernel.h"
#include "base/mutex.h"
#include "net/socket.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <string.h>

enum { KEPT = 16, TAKEN_AT_ONCE = 64, REPEATS = 8 };

struct ouro__udp_errors {
    struct ouro__mutex lock; /* guards what follows */
    bool reader_waits;       /* recv_error waits in the kernel */
    unsigned first;
    unsigned count;
    struct ouro_udp_error kept[KEPT];
};

/* One entry of the error queue, as the kernel writes it. */
struct entry {
    struct msghdr header;
    struct ouro_socket_addr peer;
    _Alignas(struct cmsghdr) unsigned char control[512];
};

static void prepare(struct entry *entry)
{
    entry->header = (struct msghdr){
        .msg_name = entry->peer.storage,
        .msg_namelen = sizeof(entry->peer.storage),
        .msg_control = entry->control,
        .msg_controllen = sizeof(entry->control),
    };
}

static void set_addr(struct ouro_socket_addr *addr, const void *name, size_t length)
{
    if (ouro_socket_addr_from_sockaddr(name, length, addr) < 0)
        *addr = (struct ouro_socket_addr){.length = 0};
}

/* Where the ICMP message came from follows the error. */
static void set_reporter(struct ouro_socket_addr *addr, const unsigned char *data, size_t size)
{
    struct sockaddr_in6 name = {.sin6_family = AF_UNSPEC}; /* large enough for either */
    *addr = (struct ouro_socket_addr){.length = 0};
    if (size > sizeof(name))
        size = sizeof(name);
    memcpy(&name, data, size);
    if (name.sin6_family == AF_UNSPEC)
        return;
    set_addr(addr, &name, size);
    (void)ouro_socket_addr_set_port(addr, 0);
}

/* False: an entry of another kind, such as a time stamp, or what a send has returned by itself. */
static bool read_entry(struct entry *entry, struct ouro_udp_error *out)
{
    struct cmsghdr *at = CMSG_FIRSTHDR(&entry->header);
    for (; at != NULL; at = CMSG_NXTHDR(&entry->header, at)) {
        struct sock_extended_err extended;
        bool is_error = (at->cmsg_level == IPPROTO_IP && at->cmsg_type == IP_RECVERR) ||
                        (at->cmsg_level == IPPROTO_IPV6 && at->cmsg_type == IPV6_RECVERR);
        if (!is_error || at->cmsg_len < CMSG_LEN(sizeof(extended)))
            continue;
        memcpy(&extended, CMSG_DATA(at), sizeof(extended));
        if (extended.ee_origin != SO_EE_ORIGIN_ICMP && extended.ee_origin != SO_EE_ORIGIN_ICMP6)
            return false;
        out->error = -(int)extended.ee_errno;
        out->icmp_type = extended.ee_type;
        out->icmp_code = extended.ee_code;
        out->mtu = extended.ee_errno == EMSGSIZE ? extended.ee_info : 0;
        set_addr(&out->peer, entry->peer.storage, entry->header.msg_namelen);
        set_reporter(&out->reporter, CMSG_DATA(at) + sizeof(extended),
                     at->cmsg_len - CMSG_LEN(sizeof(extended)));
        return true;
    }
    return false;
}

static void keep_locked(struct ouro__udp_errors *errors, const struct ouro_udp_error *error)
{
    errors->kept[(errors->first + errors->count) % KEPT] = *error;
    if (errors->count < KEPT)
        errors->count++;
    else
        errors->first = (errors->first + 1) % KEPT;
}

/* Moves the kernel's errors into the ring; returns how many. */
static unsigned empty_queue_locked(struct ouro_udp_socket *socket)
{
    unsigned found = 0;
    for (unsigned i = 0; i < TAKEN_AT_ONCE; i++) {
        struct entry entry;
        struct ouro_udp_error error = {.error = 0};
        prepare(&entry);
        if (ouro__kernel_receive_message(socket->datagram.descriptor.fd, &entry.header,
                                         MSG_ERRQUEUE) < 0)
            break;
        if (!read_entry(&entry, &error))
            continue;
        keep_locked(socket->errors, &error);
        found++;
    }
    return found;
}

/* What ICMP messages become: icmp_err_convert and its like for IPv6 in the kernel. */
static bool may_be_icmp(ssize_t error)
{
    switch (-error) {
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EHOSTDOWN:
    case ENONET:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
    case EMSGSIZE:
    case EPROTO:
    case EACCES:
        return true;
    default:
        return false;
    }
}

bool ouro__udp_is_of_others(struct ouro_udp_socket *socket, unsigned lane, ssize_t error,
                            unsigned *tries)
{
    struct ouro__udp_errors *errors = socket->errors;
    if (OURO__LIKELY(error >= 0 || errors == NULL) || !may_be_icmp(error))
        return false;
    ouro__mutex_lock(&errors->lock);
    unsigned found = errors->reader_waits ? 0 : empty_queue_locked(socket);
    ouro__mutex_unlock(&errors->lock);
    if (ouro__load(&socket->connected, memory_order_acquire) != OURO__UDP_NO_PEER)
        return false;
    /* A receive has no such errors of its own. */
    return lane == OURO__LANE_READ || found > 0 || (*tries)++ < REPEATS;
}

int ouro__udp_errors_open(struct ouro_udp_socket *socket, int fd)
{
    struct ouro__udp_errors *errors = ouro__calloc(1, sizeof(*errors));
    if (errors == NULL)
        return -ENOMEM;
    /* An IPv6 socket sends IPv4 as well. */
    int rc = ouro__socket_set(fd, IPPROTO_IP, IP_RECVERR, 1);
    if (rc == 0 && socket->family == AF_INET6)
        rc = ouro__socket_set(fd, IPPROTO_IPV6, IPV6_RECVERR, 1);
    if (rc < 0) {
        ouro__free(errors);
        return rc;
    }
    ouro__mutex_init(&errors->lock);
    socket->errors = errors;
    return 0;
}

void ouro__udp_errors_close(struct ouro_udp_socket *socket)
{
    if (socket->errors == NULL)
        return;
    ouro__mutex_fini(&socket->errors->lock);
    ouro__free(socket->errors);
}

/* Takes the oldest of the ring, or makes this the reader that waits in the kernel. */
static bool take(struct ouro__udp_errors *errors, struct ouro_udp_error *out_error)
{
    ouro__mutex_lock(&errors->lock);
    bool found = errors->count > 0;
    if (found) {
        *out_error = errors->kept[errors->first];
        errors->first = (errors->first + 1) % KEPT;
        errors->count--;
    } else {
        errors->reader_waits = true;
    }
    ouro__mutex_unlock(&errors->lock);
    return found;
}

/* Waits for an entry of the kernel's queue and empties the queue. */
static int await_entry(struct ouro_udp_socket *socket, struct ouro__context *context)
{
    struct entry entry;
    struct ouro_udp_error error = {.error = 0};
    prepare(&entry);
    ssize_t n = ouro__datagram_receive(&socket->datagram, context, OURO__LANE_ERROR, &entry.header,
                                       MSG_ERRQUEUE);
    ouro__mutex_lock(&socket->errors->lock);
    socket->errors->reader_waits = false;
    if (n >= 0 && read_entry(&entry, &error))
        keep_locked(socket->errors, &error);
    (void)empty_queue_locked(socket);
    ouro__mutex_unlock(&socket->errors->lock);
    return n < 0 ? (int)n : 0;
}

int ouro_udp_socket_recv_error(struct ouro_udp_socket *socket, struct ouro_udp_error *out_error)
{
    struct ouro__context *context = NULL;
    if (socket == NULL || out_error == NULL)
        return -EINVAL;
    if (socket->errors == NULL)
        return -EOPNOTSUPP;
    int rc = ouro__datagram_enter(&socket->datagram, OURO__LANE_ERROR, &context);
    if (rc < 0)
        return rc;
    while (rc == 0 && !take(socket->errors, out_error))
        rc = await_entry(socket, context);
    ouro__datagram_leave(&socket->datagram, OURO__LANE_ERROR);
    return rc;
}
