/* SPDX-License-Identifier: MIT */
/*
 * ServeAccept: the tasks that accept the connections of a server.
 *
 * In a shortage of descriptors or memory, and while nothing but failing connections come, an accept
 * pauses by itself and counts its pauses (net/acceptor.c).
 *
 * When it is cancelled, the kernel may have completed connections that nobody has taken yet.  Their
 * peers believe that they are connected, and closing the listener would reset them.  So it takes
 * what is there before it closes, under a shield and a short deadline.
 *
 * Owns:    nothing; the last task of a listener closes it (net/serve_listener.c).
 * Threads: its worker's.
 * Always:  the listeners are closed when all tasks have ended.
 * Tests:   tests/net/test_serve.c, tests/net/test_serve_end.c
 */
#include "net/serve_accept.h"

#include "net/acceptor.h"
#include "net/serve_connection.h"
#include "net/serve_end.h"
#include "net/serve_listener.h"
#include "net/serve_request.h"
#include "stream/stream.h"

#include <ouro/task.h>

#include <errno.h>

enum { LAST_MAX = 1024 };

#define LAST_NS (2 * OURO__NS_PER_MS)

static int accept_one(struct ouro__server_accept *from)
{
    struct ouro__shard *shard = &from->server->shards[from->shard];
    const struct ouro__server_listener *listener = from->listener;
    bool has_peer = listener->kind->id == OURO_STREAM_TCP;
    struct ouro_stream *stream = NULL;
    struct ouro_socket_addr peer = {.length = 0};
    int rc =
        ouro__acceptor_accept(listener->acceptor, listener->kind, &stream, has_peer ? &peer : NULL);
    if (rc < 0)
        return rc;
    struct ouro__connection *connection = ouro__connection_admit(shard, stream, &peer);
    if (connection == NULL)
        return 0;
    if ((from->server->options.flags & OURO_SERVE_F_REQUESTS) != 0)
        ouro__request_await(connection);
    else
        ouro__connection_serve(connection);
    return 0;
}

/* Accepts until that is interrupted or fails for good.  Returns why. */
static int accept_all(struct ouro__server_accept *from)
{
    int rc = 0;
    while (rc == 0)
        rc = accept_one(from);
    return rc;
}

/* Takes the connections that the kernel has completed. */
static void accept_last(struct ouro__server_accept *from)
{
    struct ouro_shield shield;
    int rc = ouro_shield_begin(&shield);
    for (int i = 0; i < LAST_MAX && rc == 0; i++) {
        struct ouro_deadline scope;
        rc = ouro_deadline_begin(&scope, LAST_NS);
        if (rc == 0)
            rc = accept_one(from);
        ouro_deadline_end(&scope);
    }
    ouro_shield_end(&shield);
}

int ouro__server_accept(void *arg)
{
    struct ouro__server_accept *from = arg;
    struct ouro_server *server = from->server;
    int rc = accept_all(from);
    bool was_asked_to = rc == -ECANCELED && ouro__server_is_draining(server);
    if (was_asked_to)
        accept_last(from);
    ouro__server_leave_listener(server, from->listener);
    if (was_asked_to)
        return 0;
    ouro__server_ask(server, OURO__SERVER_DRAINS);
    return rc;
}
