/* SPDX-License-Identifier: MIT */
/*
 * ServeRequest: request mode, in which a connection has a task only while it has a request.  The
 * functions run on the thread of the shard's worker.
 */
#ifndef OURO_NET_SERVE_REQUEST_H
#define OURO_NET_SERVE_REQUEST_H

#include "net/server.h"

/* In a task: begins the wait for the next request of a connection without a handler. */
void ouro__request_await(struct ouro__connection *connection);

/* Ends the waits that have lasted for the idle time. */
void ouro__request_expire(struct ouro__shard *shard, int64_t now_ns);

/* Ends all waits.  A request whose bytes have come is still handled. */
void ouro__request_end_all(struct ouro__shard *shard);

#endif
