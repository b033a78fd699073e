/* SPDX-License-Identifier: MIT */
/*
 * ConnectAddr: one attempt to connect to one address.
 */
#ifndef OURO_NET_CONNECT_ADDR_H
#define OURO_NET_CONNECT_ADDR_H

#include "stream/stream.h"

#include <ouro/tcp.h>

/* What one attempt needs to know.  All of it is borrowed. */
struct ouro__connect_target {
    const struct ouro_socket_addr *addr;
    const struct ouro_tcp_connect_options *options; /* NULL: the defaults */
    size_t number; /* of this attempt, from 1, and of how many: for the trace */
    size_t count;
};

/*
 * Socket, registration, connect.
 *
 * Suspends: until the connection stands or has failed.
 * Owns:     *out_stream is the caller's.
 * Errors:   that of the attempt, and nothing of it is left; those of every suspending call.
 */
int ouro__connect_addr(struct ouro__context *context, const struct ouro__connect_target *target,
                       struct ouro_stream **out_stream);

#endif
