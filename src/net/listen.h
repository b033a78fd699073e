/* SPDX-License-Identifier: MIT */
/*
 * Listen: makes the sockets of TCP listeners.
 */
#ifndef OURO_NET_LISTEN_H
#define OURO_NET_LISTEN_H

#include "net/to_socket_addrs.h"

struct ouro_tcp_listen_options;

/* Whether @options can be meant; NULL cannot.  Errors: -EINVAL. */
int ouro__listen_check_options(const struct ouro_tcp_listen_options *options);

/*
 * Makes @count sockets that listen on one address, the first in @addrs for which all of them can be
 * made; port 0: they share the port that the system chose for the first.  One socket has what the
 * flags of @options say.  Several share their address, and take it for themselves unless the flags
 * say REUSEPORT without EXCLUSIVE.  After an error there is no socket.
 * Errors: for the last address those of socket(2), setsockopt(2), bind(2), listen(2) and
 * getsockname(2); -EAFNOSUPPORT for an address that is not IPv4 or IPv6.
 */
int ouro__listen(struct ouro__addr_vec *addrs, const struct ouro_tcp_listen_options *options,
                 size_t count, int out_fds[]);

#endif
