/* SPDX-License-Identifier: MIT */
/*
 * ServeListener: the listening sockets of a server.
 */
#ifndef OURO_NET_SERVE_LISTENER_H
#define OURO_NET_SERVE_LISTENER_H

#include "net/server.h"

/* How many addresses there are in the text of the options; NULL: none. */
uint32_t ouro__server_count_addresses(const char *addresses);

/*
 * Opens a listener for each address and worker, and takes the caller's over: into the arrays
 * `listeners`, `accepts` and `addrs` of the server, which have room for them.  After an error the
 * listeners of the addresses are to be closed with ouro__server_close_listeners(), and the caller's
 * are still the caller's.
 * Errors: -OURO_EADDRSYNTAX; those of ouro_tcp_listener_bind_each().
 */
int ouro__server_open_listeners(struct ouro_server *server,
                                const struct ouro_serve_options *options);

/* An accept task has ended.  The last one of a listener closes it. */
void ouro__server_leave_listener(struct ouro_server *server,
                                 struct ouro__server_listener *listener);

/* Closes the listeners that are still open; no accept task runs. */
void ouro__server_close_listeners(struct ouro_server *server);

/* The pauses of accepting, of all listeners.  Any thread, also while listeners are closed. */
uint64_t ouro__server_accept_pauses(const struct ouro_server *server);

#endif
