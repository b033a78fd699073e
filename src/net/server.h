/* SPDX-License-Identifier: MIT */
/*
 * Server: the data of ouro/serve.h.  The functions that act on it are in the files serve*.c.
 *
 *     server         shared: options, listeners, groups of tasks, how it is to end
 *       shard        one for each worker that runs tasks; only that worker's thread writes it
 *         connection
 *
 * A connection belongs to the shard of the worker that accepted it, from accept to end.  So its
 * lists and counters need no lock.
 */
#ifndef OURO_NET_SERVER_H
#define OURO_NET_SERVER_H

#include "base/atomic.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/mutex.h"
#include "base/signal_watch.h"
#include "net/peer_table.h"
#include "stream/meter.h"
#include "task/context.h"

#include <ouro/group.h>
#include <ouro/serve.h>
#include <ouro/waker.h>

#include <netinet/in.h>

struct ouro__acceptor;
struct ouro__stream_kind;
struct ouro_stream;

/* The address of a peer, in as few bytes as it needs (serve_peer.c). */
struct ouro__peer_name {
    sa_family_t family;
    in_port_t port;
    uint32_t uid_or_scope; /* AF_UNIX: the user; AF_INET6: sin6_scope_id */
    union {
        struct in_addr in;
        struct in6_addr in6;
    } host;
};

struct OURO__ALIGNED(OURO__CACHE_LINE) ouro__shard {
    struct ouro_server *server;
    uint32_t worker;
    struct ouro_group handlers; /* the runner begins and ends it */
    struct ouro__list active;   /* connections with a handler; struct ouro__connection.link */
    struct ouro__list idle;     /* those that wait for a request, the longest first */
    struct ouro__list ending;   /* idle ones whose wait was cancelled */
    uint64_t active_count;
    uint64_t idle_count;          /* with those that are ending */
    struct ouro__context *keeper; /* NULL: it has not begun, or has ended */
    bool has_closed;              /* the keeper has seen that no more connections come */
    struct ouro_waker waker;      /* the keeper's, for other threads; under the server's lock */
    struct ouro__meter_group bytes;
    /* Written on the worker's thread, read anywhere. */
    struct ouro__counter accepted, closed, refused, refused_peer, shed, timed_out, cancelled,
        failed, over_limit, requests, idle_now;
};

/*
 * While it waits for a request, this, its stream and its ScheduledIo are all that a connection has.
 * So what is needed only then, and only in a handler, share their place.
 */
struct ouro__connection {
    struct ouro__list link;
    struct ouro__shard *shard;
    struct ouro_stream *stream;
    struct ouro__peer_name peer;
    bool is_in_table;       /* counted for its peer */
    bool is_cut;            /* by the idle limit */
    char first_byte;        /* of a request: it is looked at and not taken */
    uint32_t requests;      /* that it has made */
    int64_t accepted_ns;    /* when */
    int64_t quiet_since_ns; /* the last look at which it was not idle, or when the wait began */
    union {
        struct ouro__op op; /* the wait for a request */
        struct {
            struct ouro__context *context; /* of its handler */
            uint64_t moved;                /* bytes received and acknowledged until then */
        } handler;
    } now;
    struct ouro__stream_meter meter[]; /* one, when bytes are counted (stream->meter) */
};

static inline bool ouro__shard_is_empty(const struct ouro__shard *shard)
{
    return shard->active_count == 0 && shard->idle_count == 0;
}

/* How a server is to end. */
enum ouro__server_end {
    OURO__SERVER_GOES_ON = 0,
    OURO__SERVER_DRAINS = 1,
    OURO__SERVER_CANCELS = 2
};

enum ouro__server_state { OURO__SERVER_NEW = 0, OURO__SERVER_RUNS = 1, OURO__SERVER_ENDED = 2 };

/* A listening socket: one of `tcp` and `local`. */
struct ouro__server_listener {
    struct ouro_tcp_listener *tcp;
    struct ouro_unix_listener *local;
    struct ouro__acceptor *acceptor;      /* inside it; NULL: closed.  Under the server's lock */
    const struct ouro__stream_kind *kind; /* of its connections */
    uint64_t pauses;                      /* at its end; under the server's lock */
    _Atomic uint32_t tasks_left;          /* accept tasks that have not ended */
};

/* An accept task: one worker at one listener. */
struct ouro__server_accept {
    struct ouro__server_listener *listener;
    struct ouro_server *server;
    uint32_t shard;
};

struct ouro_server {
    struct ouro_handle *handle; /* one reference */
    ouro_serve_handler *handler;
    void *arg;
    struct ouro_serve_options options; /* with the defaults; its pointers are not used any more */

    struct ouro__server_listener *listeners;
    uint32_t listeners_count;
    struct ouro__server_accept *accepts;
    uint32_t accepts_count;
    struct ouro_socket_addr *addrs; /* of the texts, then of the caller's listeners */
    uint32_t addrs_count;
    struct ouro__shard *shards;
    uint32_t shards_count;

    _Atomic uint32_t state;        /* enum ouro__server_state */
    _Atomic uint32_t end;          /* enum ouro__server_end, as asked for */
    _Atomic uint32_t is_draining;  /* the end has begun */
    _Atomic uint32_t is_closed;    /* no more connections come: the acceptors have ended */
    _Atomic uint32_t live;         /* connections of all shards */
    _Atomic uint32_t keepers_left; /* that have not ended */
    _Atomic int32_t signal;        /* the first that came */

    struct ouro__mutex lock;  /* guards runner, the shards' wakers, and the closing of
                               * listeners */
    struct ouro_waker runner; /* vtable NULL: there is none */

    struct ouro__mutex peers_lock;
    struct ouro__peer_table peers;

    struct ouro_group acceptors; /* the runner's */
    struct ouro_group helpers;   /* likewise: the keepers, and the task that waits for signals */
    struct ouro__signal_watch watch;
};

static inline bool ouro__server_is_draining(const struct ouro_server *server)
{
    return ouro__load(&server->is_draining, memory_order_seq_cst) != 0;
}

static inline bool ouro__server_is_closed(const struct ouro_server *server)
{
    return ouro__load(&server->is_closed, memory_order_seq_cst) != 0;
}

#endif
