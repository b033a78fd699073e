/* SPDX-License-Identifier: MIT */
/*
 * ServePeer: whose connections a server has.
 *
 * A connection keeps the address of its peer in as few bytes as it needs, because it may be idle
 * for long: without the flow label of IPv6, which nobody asks a server for.
 *
 * The limit for each peer is a table with a lock (net/peer_table.c), which is left alone where it
 * could refuse nobody.  A peer at a Unix socket is a user, as the kernel knows it (SO_PEERCRED).
 *
 * Owns:    the connection's place in the table.
 * Threads: the shard's worker's.
 * Always:  a connection is counted for one peer at most, and no longer after it has left.
 * Tests:   tests/net/test_serve.c, tests/net/test_serve_limits.c, tests/net/test_serve_unix.c
 */
#include "net/serve_peer.h"

#include "net/unix_stream.h"
#include "stream/stream.h"

#include <errno.h>
#include <string.h>

/* Any of the addresses. */
union name {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

/* Whether one peer can reach its limit before all together reach theirs. */
static bool counts_peers(const struct ouro_server *server)
{
    return server->options.per_peer_max < server->options.connections_max;
}

void ouro__connection_set_peer(struct ouro__connection *connection,
                               const struct ouro_socket_addr *addr)
{
    struct ouro__peer_name *peer = &connection->peer;
    struct ouro_unix_credentials credentials;
    union name name;
    memset(peer, 0, sizeof(*peer));
    if (connection->stream->kind->id == OURO_STREAM_UNIX) {
        int fd = connection->stream->descriptor.fd;
        peer->family = AF_UNIX;
        if (counts_peers(connection->shard->server) &&
            ouro__unix_peer_credentials(fd, &credentials) == 0)
            peer->uid_or_scope = credentials.uid;
        return;
    }
    memset(&name, 0, sizeof(name));
    memcpy(&name, ouro_socket_addr_sockaddr(addr),
           addr->length < sizeof(name) ? addr->length : sizeof(name));
    peer->family = name.any.sa_family;
    if (peer->family == AF_INET) {
        peer->port = name.in.sin_port;
        peer->host.in = name.in.sin_addr;
    } else {
        peer->port = name.in6.sin6_port;
        peer->host.in6 = name.in6.sin6_addr;
        peer->uid_or_scope = name.in6.sin6_scope_id;
    }
}

/* Its address as the kernel has it; returns the length. */
static size_t expand(const struct ouro__peer_name *peer, union name *out_name)
{
    memset(out_name, 0, sizeof(*out_name));
    out_name->any.sa_family = peer->family;
    switch (peer->family) {
    case AF_INET:
        out_name->in.sin_port = peer->port;
        out_name->in.sin_addr = peer->host.in;
        return sizeof(out_name->in);
    case AF_INET6:
        out_name->in6.sin6_port = peer->port;
        out_name->in6.sin6_addr = peer->host.in6;
        out_name->in6.sin6_scope_id = peer->uid_or_scope;
        return sizeof(out_name->in6);
    default:
        return sizeof(out_name->any.sa_family);
    }
}

void ouro__connection_peer_addr(const struct ouro__connection *connection,
                                struct ouro_socket_addr *out_addr)
{
    union name name;
    size_t length = expand(&connection->peer, &name);
    *out_addr = (struct ouro_socket_addr){.length = (uint32_t)length};
    memcpy(out_addr->storage, &name, length);
}

/* The number of the peer in the table; false: its connections are not counted. */
static bool key_of(const struct ouro__connection *connection, uint64_t *out_key)
{
    union name name;
    if (connection->peer.family == AF_UNIX) {
        /* A multicast network of IPv6, which is nobody's address. */
        *out_key = UINT64_MAX - connection->peer.uid_or_scope;
        return true;
    }
    (void)expand(&connection->peer, &name);
    return ouro__peer_key(&name.any, out_key);
}

int ouro__connection_enter_table(struct ouro__connection *connection)
{
    struct ouro_server *server = connection->shard->server;
    uint64_t key = 0;
    if (!counts_peers(server) || !key_of(connection, &key))
        return 0;
    ouro__mutex_lock(&server->peers_lock);
    int rc = ouro__peer_table_enter(&server->peers, key, server->options.per_peer_max);
    ouro__mutex_unlock(&server->peers_lock);
    connection->is_in_table = rc == 0;
    return rc;
}

void ouro__connection_leave_table(struct ouro__connection *connection)
{
    struct ouro_server *server = connection->shard->server;
    uint64_t key = 0;
    if (!connection->is_in_table || !key_of(connection, &key))
        return;
    ouro__mutex_lock(&server->peers_lock);
    ouro__peer_table_leave(&server->peers, key);
    ouro__mutex_unlock(&server->peers_lock);
    connection->is_in_table = false;
}
