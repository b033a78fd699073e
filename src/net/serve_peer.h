/* SPDX-License-Identifier: MIT */
/*
 * ServePeer: whose connections a server has.
 */
#ifndef OURO_NET_SERVE_PEER_H
#define OURO_NET_SERVE_PEER_H

#include "net/server.h"

/* Sets the connection's peer: @addr, or for a Unix socket whoever has connected. */
void ouro__connection_set_peer(struct ouro__connection *connection,
                               const struct ouro_socket_addr *addr);

/* The address of the peer; AF_UNIX without a name for a Unix socket. */
void ouro__connection_peer_addr(const struct ouro__connection *connection,
                                struct ouro_socket_addr *out_addr);

/* One connection more, or less, of its peer.  Errors: -EDQUOT when there are per_peer_max;
 * -ENOMEM. */
int ouro__connection_enter_table(struct ouro__connection *connection);
void ouro__connection_leave_table(struct ouro__connection *connection);

#endif
