/* SPDX-License-Identifier: MIT */
/*
 * Socket: makes sockets, those for connecting with their options, and reads their names.
 */
#ifndef OURO_NET_SOCKET_H
#define OURO_NET_SOCKET_H

#include <ouro/addr.h>

#include <stdbool.h>

struct ouro_tcp_connect_options;
struct ouro__port_range;

/* A stream socket, close-on-exec and non-blocking from the start.  Errors: those of socket(2). */
int ouro__socket_open(int family, int *out_fd);

/* setsockopt(2) of an int.  Errors: its. */
int ouro__socket_set(int fd, int level, int name, int value);

/* A TCP socket for a connect to @addr, with @options (NULL: none) set and bound as they say.
 * Errors: those of socket(2), setsockopt(2) and bind(2); -EAFNOSUPPORT for an address that is not
 * IPv4 or IPv6, and for binding to an address of another family. */
int ouro__socket_open_for_connect(const struct ouro_socket_addr *addr,
                                  const struct ouro_tcp_connect_options *options, int *out_fd);

/* Whether a socket that was connected to @target is its own peer: no socket listened there, and the
 * kernel chose the target's port for this end.  @ports: the ports that it chooses from; NULL when
 * they are not known, or the port was chosen by the caller. */
bool ouro__socket_is_connected_to_itself(int fd, const struct ouro_socket_addr *target,
                                         struct ouro__port_range *ports);

/* getsockname(2) and getpeername(2).  Errors: theirs. */
int ouro__socket_local_addr(int fd, struct ouro_socket_addr *out_addr);
int ouro__socket_peer_addr(int fd, struct ouro_socket_addr *out_addr);

#endif
