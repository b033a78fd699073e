/* SPDX-License-Identifier: MIT */
/*
 * ServeConnection: one connection of a server, from accept to close.
 */
#ifndef OURO_NET_SERVE_CONNECTION_H
#define OURO_NET_SERVE_CONNECTION_H

#include "net/server.h"

/*
 * Takes an accepted connection over: starts its handler, or closes it when a limit is reached.  A
 * task on the shard's worker.
 */
void ouro__connection_accepted(struct ouro__shard *shard, struct ouro_stream *stream,
                               const struct ouro_socket_addr *peer);

/*
 * Looks whether a byte has moved since the last look, and ends the call in which the handler waits
 * when none has for the idle time.  A task on the shard's worker.
 */
void ouro__connection_look(struct ouro__connection *connection, int64_t now_ns);

#endif
