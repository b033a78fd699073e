/* SPDX-License-Identifier: MIT */
/*
 * ServeAccept: a task for each listener of a server.
 *
 * A shortage of descriptors or memory ends when connections end, so the task waits, longer each
 * time.  Until then the backlog keeps the newcomers; asking again at once would burn the CPU that
 * the connections need.
 *
 * When it is cancelled, the kernel may have completed connections that nobody has taken yet.  Their
 * peers believe that they are connected, and closing the listener would reset them.  So it takes
 * what is there before it closes, under a shield and a short deadline.
 *
 * Owns:    the listener.
 * Threads: its worker's.
 * Always:  the listener is closed when the task ends.
 * Tests:   tests/net/test_serve.c, tests/net/test_serve_end.c
 */
#include "net/serve_accept.h"

#include "net/serve_connection.h"
#include "net/serve_end.h"
#include "net/serve_request.h"

#include <ouro/error.h>
#include <ouro/task.h>

#include <errno.h>

enum { LAST_MAX = 1024 };

#define PAUSE_MIN_NS (10 * OURO__NS_PER_MS)
#define PAUSE_MAX_NS OURO__NS_PER_SEC
#define LAST_NS (2 * OURO__NS_PER_MS)

/* ENOSPC: of epoll's watches, which are counted for each user (epoll(7), max_user_watches). */
static bool is_shortage(int rc)
{
    return rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM || rc == -ENOBUFS || rc == -ENOSPC ||
           rc == -EAGAIN;
}

/* What accept(2) tells of the network, of a firewall or of the peer.  The listener is as good as
 * before. */
static bool is_of_the_peer(int rc)
{
    return rc == -ECONNABORTED || rc == -EPROTO || rc == -EINTR || rc == -EPERM ||
           rc == -ENETDOWN || rc == -ENETUNREACH || rc == -EHOSTDOWN || rc == -EHOSTUNREACH ||
           rc == -ENONET || rc == -ENOPROTOOPT;
}

static int accept_one(struct ouro__server_listener *from)
{
    struct ouro_stream *stream = NULL;
    struct ouro_socket_addr peer;
    int rc = ouro_tcp_listener_accept(from->listener, &stream, &peer);
    if (rc < 0)
        return rc;
    struct ouro__connection *connection =
        ouro__connection_admit(&from->server->shards[from->shard], stream, &peer);
    if (connection == NULL)
        return 0;
    if ((from->server->options.flags & OURO_SERVE_F_REQUESTS) != 0)
        ouro__request_await(connection);
    else
        ouro__connection_serve(connection);
    return 0;
}

/* Accepts until that is interrupted or fails for good.  Returns why. */
static int accept_all(struct ouro__server_listener *from)
{
    struct ouro__shard *shard = &from->server->shards[from->shard];
    int64_t pause_ns = PAUSE_MIN_NS;
    for (;;) {
        int rc = accept_one(from);
        if (rc == 0) {
            pause_ns = PAUSE_MIN_NS;
            continue;
        }
        if (is_shortage(rc)) {
            ouro__counter_add(&shard->accept_pauses, 1);
            rc = ouro_sleep(pause_ns);
            pause_ns = pause_ns < PAUSE_MAX_NS / 2 ? 2 * pause_ns : PAUSE_MAX_NS;
        } else if (is_of_the_peer(rc)) {
            rc = ouro_yield(); /* a firewall can refuse one after the other */
        }
        if (rc < 0)
            return rc;
    }
}

/* Takes the connections that the kernel has completed. */
static void accept_last(struct ouro__server_listener *from)
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
    struct ouro__server_listener *from = arg;
    struct ouro_server *server = from->server;
    int rc = accept_all(from);
    bool was_asked_to = rc == -ECANCELED && ouro__server_is_draining(server);
    if (was_asked_to)
        accept_last(from);
    (void)ouro_tcp_listener_close(from->listener);
    from->listener = NULL;
    if (was_asked_to)
        return 0;
    ouro__server_ask(server, OURO__SERVER_DRAINS);
    return rc;
}
