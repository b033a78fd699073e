/* SPDX-License-Identifier: MIT */
/*
 * UDP inside the library: the socket, its messages and its errors.
 */
#ifndef OURO_NET_UDP_H
#define OURO_NET_UDP_H

#include "base/atomic.h"
#include "net/datagram.h"

#include <ouro/udp.h>

struct ouro__udp_errors;

enum ouro__udp_peer { OURO__UDP_NO_PEER = 0, OURO__UDP_PEER_IPV4 = 1, OURO__UDP_PEER_IPV6 = 2 };

struct ouro_udp_socket {
    struct ouro__datagram datagram;
    int family;                      /* AF_INET or AF_INET6 */
    uint32_t flags;                  /* OURO_UDP_F_... */
    _Atomic uint32_t connected;      /* enum ouro__udp_peer: which packets it sends to its peer */
    struct ouro__udp_errors *errors; /* NULL without OURO_UDP_F_ERRORS */
};

/* Room for every control message that the options ask for, and for one that no option does. */
enum { OURO__UDP_CONTROL_SIZE = 160 };

/* What the header of one message points to, beside the program's struct ouro_udp_message. */
struct ouro__udp_frame {
    struct iovec vector;
    _Alignas(struct cmsghdr) unsigned char control[OURO__UDP_CONTROL_SIZE];
};

/* Makes @header ready for a receive into @message. */
void ouro__udp_prepare_receive(const struct ouro_udp_socket *socket,
                               struct ouro_udp_message *message, struct ouro__udp_frame *frame,
                               struct msghdr *header);

/* Tells @message what has come: a datagram of @length bytes, with what @header says. */
void ouro__udp_finish_receive(const struct ouro_udp_socket *socket,
                              struct ouro_udp_message *message, struct msghdr *header,
                              size_t length);

/* Makes @header ready for sending @message.  Errors: -EINVAL, -EMSGSIZE, -EAFNOSUPPORT. */
int ouro__udp_prepare_send(const struct ouro_udp_socket *socket,
                           const struct ouro_udp_message *message, struct ouro__udp_frame *frame,
                           struct msghdr *header);

/* Makes the kernel queue ICMP errors, and room for them.  Errors: those of setsockopt(2); -ENOMEM.
 */
int ouro__udp_errors_open(struct ouro_udp_socket *socket, int fd);
void ouro__udp_errors_close(struct ouro_udp_socket *socket);

/*
 * Whether @error, which a receive or send has returned, is an ICMP error about some other datagram,
 * so that the call has to be made again.  @tries counts; 0 before the first call.  The error queue
 * is emptied on the way.
 */
bool ouro__udp_is_of_others(struct ouro_udp_socket *socket, unsigned lane, ssize_t error,
                            unsigned *tries);

#endif
