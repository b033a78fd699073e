/* SPDX-License-Identifier: MIT */
/*
 * UnixStream inside the library: what seqpackets share with streams.
 */
#ifndef OURO_NET_UNIX_STREAM_H
#define OURO_NET_UNIX_STREAM_H

#include "task/context.h"

#include <ouro/unix.h>

/* Connects a socket of either type; waits for room in the backlog until the context's deadline.
 * Errors: those of connect(2), and of every suspending call. */
int ouro__unix_connect_to(const struct ouro__context *context, int fd,
                          const struct ouro_socket_addr *addr);

/* Errors: -ENOTCONN; those of getsockopt(2). */
int ouro__unix_peer_credentials(int fd, struct ouro_unix_credentials *out_credentials);

#endif
