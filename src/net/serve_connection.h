/* SPDX-License-Identifier: MIT */
/*
 * ServeConnection: one connection of a server, from accept to close.  The functions run on the
 * thread of the shard's worker.
 */
#ifndef OURO_NET_SERVE_CONNECTION_H
#define OURO_NET_SERVE_CONNECTION_H

#include "net/server.h"

#include <ouro/task.h>

/*
 * Takes an accepted stream over.  NULL: a limit is reached or memory is short, and the stream has
 * been closed and counted.
 */
struct ouro__connection *ouro__connection_admit(struct ouro__shard *shard,
                                                struct ouro_stream *stream,
                                                const struct ouro_socket_addr *peer);

/* Starts the task of a connection that has one handler for its whole life. */
void ouro__connection_serve(struct ouro__connection *connection);

/*
 * Starts a task for the connection, in the group of its shard; it is counted as active.  After an
 * error the connection has been released.
 */
int ouro__connection_start(struct ouro__connection *connection, const char *name,
                           ouro_task_function *function);

/*
 * In such a task: runs the handler until @deadline_ns at most.  Returns whether the connection is
 * to be kept: the handler says so, and nothing has ended it.
 */
bool ouro__connection_handle(struct ouro__connection *connection, int64_t now_ns,
                             int64_t deadline_ns);

/* Closes and releases it.  @counter is what it is counted as. */
void ouro__connection_release(struct ouro__connection *connection, struct ouro__counter *counter);

/* After the counts of the shard have become less: tells the keeper if it waits for that. */
void ouro__connection_ended(struct ouro__shard *shard);

/*
 * Looks whether a byte has moved since the last look, and ends the call in which the handler waits
 * when none has for the idle time.
 */
void ouro__connection_look(struct ouro__connection *connection, int64_t now_ns);

#endif
