/* SPDX-License-Identifier: MIT */
/*
 * UDP: sockets that send and receive datagrams.
 *
 * A datagram arrives whole or not at all.  One of no bytes is a datagram like any other; a UDP
 * socket has no end of stream.
 *
 * One task or thread may receive and one may send at the same time; a second receiver, or a second
 * sender, gets -EBUSY.  A send that finds room in the socket's buffer does not wait, so tasks of
 * one worker that share a socket meet -EBUSY only while one of them waits for room.  A socket may
 * be closed after its runtime has ended.
 *
 * An ICMP error tells that an earlier datagram did not arrive: no socket is bound to the port, or
 * the host or network cannot be reached.  Where it is reported:
 *
 *   connected socket      by the next call that receives or sends, once; a datagram that this call
 *                         was to send has not been sent
 *   unconnected socket    by ouro_udp_socket_recv_error(), which names the destination, if the
 *                         socket has OURO_UDP_F_ERRORS; else nowhere.  No other call fails for it:
 *                         one destination's error never fails a send to another
 *
 * With OURO_UDP_F_ERRORS, ouro_udp_socket_recv_error() also returns the errors of a connected
 * socket.
 */
#ifndef OURO_UDP_H
#define OURO_UDP_H

#include <ouro/addr.h>
#include <ouro/api.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ouro_udp_socket;

#define OURO_UDP_F_REUSEPORT (1u << 0) /* SO_REUSEPORT: several sockets on one address */
#define OURO_UDP_F_V6ONLY (1u << 1)    /* IPV6_V6ONLY */
#define OURO_UDP_F_BROADCAST (1u << 2) /* SO_BROADCAST: may send to broadcast addresses */
#define OURO_UDP_F_LOCAL (1u << 3)     /* messages tell the address and interface they came to */
#define OURO_UDP_F_TOS (1u << 4)       /* messages tell their type of service, with the ECN bits */
#define OURO_UDP_F_ERRORS (1u << 5)    /* keeps ICMP errors for ouro_udp_socket_recv_error() */
/*
 * The kernel may join datagrams of one sender that follow each other and have one size, but the
 * last, which may be shorter.  segment_size of the message is that size.  Give buffers of 64 KiB.
 */
#define OURO_UDP_F_GRO (1u << 6)

/* Start from OURO_UDP_OPTIONS_INIT; fields are only ever appended. */
struct ouro_udp_options {
    size_t size;              /* sizeof(struct ouro_udp_options) */
    uint32_t flags;           /* OURO_UDP_F_... */
    int send_buffer_bytes;    /* SO_SNDBUF; 0: the system's */
    int receive_buffer_bytes; /* SO_RCVBUF; 0: the system's */
};

#define OURO_UDP_OPTIONS_INIT                                                                      \
    {                                                                                              \
        sizeof(struct ouro_udp_options), 0, 0, 0                                                   \
    }

#define OURO_UDP_MESSAGE_F_TRUNCATED (1u << 0) /* longer than the buffer: the rest is lost */
#define OURO_UDP_MESSAGE_F_TOS (1u << 1)       /* tos is set */
#define OURO_UDP_MESSAGE_F_GROUP (1u << 2)     /* with F_LOCAL: it came by multicast or broadcast */

/*
 * A datagram with all that belongs to it.  A message that was received can be sent as it is: it
 * goes back to its sender, from the address and by the interface it had come to.  Start from zeros.
 */
struct ouro_udp_message {
    void *buffer;        /* the data; a send only reads it */
    size_t buffer_bytes; /* receive: how many fit */
    size_t length;       /* send: how many to send; receive: how many it had, which may not fit */
    /* Receive: from whom.  Send: to whom; empty (length 0): to the connected peer. */
    struct ouro_socket_addr peer;
    /* Receive, with F_LOCAL: the address of this end, with port 0; empty for IPv6 multicast.  Send:
     * where it comes from; empty: the kernel chooses. */
    struct ouro_socket_addr local;
    uint32_t interface_index; /* receive, with F_LOCAL: where it came in; send: where out; 0: any */
    uint32_t flags;           /* OURO_UDP_MESSAGE_F_... */
    uint32_t tos;             /* with its flag: IP_TOS or IPV6_TCLASS; the lower two bits are ECN */
    uint32_t segment_size;    /* 0: one datagram; else this many bytes each (GRO; send: GSO) */
};

/*
 * Makes a socket and binds it to the first of the addresses that can be bound.  Port 0 is any free
 * port.  Bound to [::] it receives and sends IPv4 as well, unless V6ONLY is set.
 *
 * Suspends: only to resolve a name.
 * Owns:     *out_socket is the caller's; release with ouro_udp_socket_close().  @options (NULL: the
 *           defaults) is borrowed.
 * Errors:   those of socket(2), setsockopt(2) and bind(2) for the last address; -EAFNOSUPPORT for
 *           an address that is not IPv4 or IPv6; -ENOPROTOOPT for GRO before Linux 5.0; those of
 *           ouro_resolve(); -EINVAL for unknown flags or a negative number; -ENOMEM;
 *           -OURO_EIODISABLED; those of every suspending call.
 * Since:    0.3
 */
OURO_API int ouro_udp_socket_bind(const struct ouro_to_socket_addrs *addrs,
                                  const struct ouro_udp_options *options,
                                  struct ouro_udp_socket **out_socket) OURO_MUST_CHECK;

/*
 * Connects the socket: from now on it receives only from the first of the addresses that can be
 * connected to, and sends there what names no destination.  It may be called again.  Datagrams that
 * had arrived before are still received.
 *
 * Suspends: only to resolve a name.
 * Errors:   those of connect(2) for the last address, -EAFNOSUPPORT for one of a family that the
 *           socket does not send to; those of ouro_resolve(); -EBUSY while a call sends; -EINVAL;
 *           -ENOMEM; those of every suspending call.
 * Since:    0.3
 */
OURO_API int ouro_udp_socket_connect(struct ouro_udp_socket *socket,
                                     const struct ouro_to_socket_addrs *addrs) OURO_MUST_CHECK;

/*
 * Returns the address that the socket is bound to, with the port that the system chose for port 0.
 *
 * Errors:   -EINVAL; those of getsockname(2).
 * Since:    0.3
 */
OURO_API int ouro_udp_socket_local_addr(const struct ouro_udp_socket *socket,
                                        struct ouro_socket_addr *out_addr);

/*
 * Returns the address that the socket is connected to.
 *
 * Errors:   -EINVAL; -ENOTCONN.
 * Since:    0.3
 */
OURO_API int ouro_udp_socket_peer_addr(const struct ouro_udp_socket *socket,
                                       struct ouro_socket_addr *out_addr);

/*
 * Returns the socket's descriptor, for setsockopt(2) and the like (multicast groups, for one).  Do
 * not close it.
 *
 * Errors:   -EINVAL for NULL.
 * Threads:  any.
 * Since:    0.3
 */
OURO_API int ouro_udp_socket_fd(const struct ouro_udp_socket *socket);

/*
 * Sends one datagram to the connected peer.
 *
 * Suspends: until there is room in the socket's buffer.
 * Errors:   @size, or -EDESTADDRREQ when not connected; -EMSGSIZE when it is too long;
 *           -ECONNREFUSED and other ICMP errors, see the top; -EPERM by a packet filter; -EBUSY
 *           while another call sends; -ECANCELED when the socket is closed meanwhile; -EINVAL;
 *           those of send(2) but -EAGAIN, and of every suspending call.
 * Since:    0.3
 */
OURO_API ssize_t ouro_udp_socket_send(struct ouro_udp_socket *socket, const void *buffer,
                                      size_t size) OURO_MUST_CHECK;

/*
 * Sends one datagram to @peer.
 *
 * Suspends: as ouro_udp_socket_send().
 * Errors:   as ouro_udp_socket_send(); -ENETUNREACH, -EHOSTUNREACH without a route to @peer;
 *           -EAFNOSUPPORT for an address of another family; -EACCES for a broadcast address
 *           without OURO_UDP_F_BROADCAST.
 * Since:    0.3
 */
OURO_API ssize_t ouro_udp_socket_send_to(struct ouro_udp_socket *socket, const void *buffer,
                                         size_t size,
                                         const struct ouro_socket_addr *peer) OURO_MUST_CHECK;

/*
 * Receives one datagram.  Returns its length, which is more than @size when it did not fit: then
 * the first @size bytes are in @buffer and the rest is lost.  0 is a datagram of no bytes.
 *
 * Suspends: until there is one.
 * Errors:   on a connected socket -ECONNREFUSED and other ICMP errors, see the top; -EBUSY while
 *           another call receives; -ECANCELED when the socket is closed meanwhile; -EINVAL; those
 *           of recv(2) but -EAGAIN, and of every suspending call.
 * Since:    0.3
 */
OURO_API ssize_t ouro_udp_socket_recv(struct ouro_udp_socket *socket, void *buffer,
                                      size_t size) OURO_MUST_CHECK;

/*
 * Receives one datagram, and tells who sent it.
 *
 * Suspends: as ouro_udp_socket_recv().
 * Errors:   as ouro_udp_socket_recv().
 * Since:    0.3
 */
OURO_API ssize_t ouro_udp_socket_recv_from(struct ouro_udp_socket *socket, void *buffer,
                                           size_t size,
                                           struct ouro_socket_addr *out_peer) OURO_MUST_CHECK;

/*
 * Receives as many datagrams as are there, at least one and at most @count, with few system calls.
 * Returns how many.  Each sets all of its message but buffer and buffer_bytes.
 *
 * Suspends: until there is one.
 * Errors:   as ouro_udp_socket_recv(); -EINVAL for a @count of 0.  After an error, messages[0] may
 *           have changed.
 * Since:    0.3
 */
OURO_API ssize_t ouro_udp_socket_recv_batch(struct ouro_udp_socket *socket,
                                            struct ouro_udp_message *messages,
                                            size_t count) OURO_MUST_CHECK;

/*
 * Sends as many of the datagrams as there is room for, in order, at least one, with few system
 * calls.  Returns how many, 0 only for a @count of 0.  When it is fewer than @count, begin the next
 * call with the first that was not sent: that call waits for room, or returns why that one cannot
 * be sent.  On a connected socket an ICMP error may have ended the batch; the kernel does not
 * report it a second time (sendmmsg(2), BUGS).
 *
 * A message with a segment_size is cut by the kernel into datagrams of that many bytes, the last
 * one shorter: at most 64 of them, and 65,507 bytes.
 *
 * Suspends: until there is room for one.
 * Errors:   as ouro_udp_socket_send_to(), for the first message; -EINVAL for a segment_size that
 *           needs more than 64 datagrams, for a kernel without UDP_SEGMENT (before Linux 4.18), and
 *           for flags that are not known; -EMSGSIZE for a message with the flag TRUNCATED, whose
 *           buffer does not have all of it.
 * Since:    0.3
 */
OURO_API ssize_t ouro_udp_socket_send_batch(struct ouro_udp_socket *socket,
                                            const struct ouro_udp_message *messages,
                                            size_t count) OURO_MUST_CHECK;

/* What an ICMP message told about a datagram that was sent. */
struct ouro_udp_error {
    int error;                        /* -ECONNREFUSED, -EHOSTUNREACH, ... */
    uint8_t icmp_type;                /* of the ICMP or ICMPv6 message */
    uint8_t icmp_code;                /* likewise */
    uint32_t mtu;                     /* of the path, with -EMSGSIZE; else 0 */
    struct ouro_socket_addr peer;     /* where the datagram was sent to */
    struct ouro_socket_addr reporter; /* who sent the ICMP message; port 0.  May be empty */
};

/*
 * Takes the oldest ICMP error of a socket with OURO_UDP_F_ERRORS.  The library keeps 16; when more
 * come, the oldest are dropped.
 *
 * Suspends: until there is one.
 * Errors:   -EOPNOTSUPP without OURO_UDP_F_ERRORS; -EBUSY while another call waits here;
 *           -ECANCELED when the socket is closed meanwhile; -EINVAL; those of every suspending
 *           call.
 * Since:    0.3
 */
OURO_API int ouro_udp_socket_recv_error(struct ouro_udp_socket *socket,
                                        struct ouro_udp_error *out_error) OURO_MUST_CHECK;

/*
 * Closes and releases the socket.  Calls in progress get -ECANCELED and have left the socket when
 * close returns.  Cancellation, deadlines and shutdown do not interrupt it.
 *
 * Suspends: only until calls of other tasks have ended.
 * Owns:     takes @socket, always; NULL is ignored.
 * Errors:   -OURO_EFORKED in a forked child, where only the child's descriptor is closed.  Whatever
 *           is returned, the socket is released.
 * Since:    0.3
 */
OURO_API int ouro_udp_socket_close(struct ouro_udp_socket *socket);

#ifdef __cplusplus
}
#endif

#endif
