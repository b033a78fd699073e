/* SPDX-License-Identifier: MIT */
/*
 * Datagram: a socket that keeps message boundaries, without knowing whose.  UDP sockets and the
 * Unix sockets of the types datagram and seqpacket are made of one.
 */
#ifndef OURO_NET_DATAGRAM_H
#define OURO_NET_DATAGRAM_H

#include "stream/descriptor.h"

#include <sys/socket.h>

/* How many messages one system call transfers: their headers lie on the caller's stack. */
enum { OURO__DATAGRAM_BATCH = 32 };

struct ouro__datagram {
    struct ouro__descriptor descriptor;
    int late_error; /* the next receive's: it ended a batch after its first message */
};

/* A socket, close-on-exec and non-blocking.  Errors: those of socket(2). */
int ouro__datagram_open(int family, int type, int *out_fd);

/* Takes @fd over, and a reference to the context's runtime.  Registers nothing. */
void ouro__datagram_init(struct ouro__datagram *datagram, struct ouro__context *context, int fd);

/*
 * Begins a public call that receives (OURO__LANE_READ), sends (OURO__LANE_WRITE) or reads the error
 * queue (OURO__LANE_ERROR); after 0 the caller must call ouro__datagram_leave().
 * Errors: -EBUSY, -ECANCELED as ouro__descriptor_enter(); -OURO_ESHUTDOWN when the socket's runtime
 * ends; those of every suspending call.
 */
int ouro__datagram_enter(struct ouro__datagram *datagram, unsigned lane,
                         struct ouro__context **out_context);

static inline void ouro__datagram_leave(struct ouro__datagram *datagram, unsigned lane)
{
    ouro__descriptor_leave(&datagram->descriptor, lane);
}

/*
 * Receives one message into @header, and waits for it.  @flags: MSG_PEEK, MSG_ERRQUEUE (in
 * OURO__LANE_ERROR).  Returns its length, which may exceed its buffers.
 */
ssize_t ouro__datagram_receive(struct ouro__datagram *datagram, struct ouro__context *context,
                               unsigned lane, struct msghdr *header, uint32_t flags);

/* Receives as many as are there, waits for the first.  Returns how many; @count is at least 1. */
ssize_t ouro__datagram_receive_many(struct ouro__datagram *datagram, struct ouro__context *context,
                                    struct mmsghdr *headers, unsigned count);

/* Takes what is there besides, without waiting, into up to @count headers; never fails: an error is
 * the next receive's. */
unsigned ouro__datagram_receive_more(struct ouro__datagram *datagram, struct mmsghdr *headers,
                                     unsigned count);

/* Sends one message, and waits for room.  Returns its length. */
ssize_t ouro__datagram_send(struct ouro__datagram *datagram, struct ouro__context *context,
                            struct msghdr *header);

/* Sends as many as there is room for; @waits: until there is room for the first.  Returns how many;
 * @count is at least 1. */
ssize_t ouro__datagram_send_many(struct ouro__datagram *datagram, struct ouro__context *context,
                                 struct mmsghdr *headers, unsigned count, bool waits);

#endif
