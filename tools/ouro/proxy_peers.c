/* SPDX-License-Identifier: MIT */
/*
 * ProxyPeers: a balanced tree of counts, by address.
 *
 * A tree and not a hash table: clients choose the keys, and a tree has no bad ones.
 *
 * Owns:    the nodes; a peer without connections has none.
 * Threads: any; the lock is held for the search only.
 */
#include "proxy_peers.h"

#include <errno.h>
#include <netinet/in.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct peer {
    unsigned char key[9]; /* the family's length, then 4 bytes of IPv4 or 8 of an IPv6 network */
    uint64_t count;
};

static int compare(const void *left, const void *right)
{
    const struct peer *a = left, *b = right;
    return memcmp(a->key, b->key, sizeof(a->key));
}

/* False for an address that is not counted. */
static bool make_key(const struct ouro_socket_addr *addr, struct peer *out_peer)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)addr->storage;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)addr->storage;
    *out_peer = (struct peer){0};
    switch (ouro_socket_addr_family(addr)) {
    case AF_INET:
        out_peer->key[0] = 4;
        memcpy(&out_peer->key[1], &in->sin_addr, 4);
        return true;
    case AF_INET6:
        out_peer->key[0] = IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr) ? 4 : 8;
        memcpy(&out_peer->key[1], &in6->sin6_addr.s6_addr[out_peer->key[0] == 4 ? 12 : 0],
               out_peer->key[0]);
        return true;
    default:
        return false;
    }
}

int proxy_peers_enter(struct proxy_peers *peers, const struct ouro_socket_addr *addr, uint64_t max)
{
    struct peer key;
    if (max == 0 || !make_key(addr, &key))
        return 0;
    int rc = 0;
    struct peer *new = malloc(sizeof(*new));
    if (new == NULL)
        return -ENOMEM;
    *new = key;
    pthread_mutex_lock(&peers->lock);
    struct peer **found = tsearch(new, &peers->tree, compare);
    if (found == NULL)
        rc = -ENOMEM;
    else if ((*found)->count >= max)
        rc = -EUSERS;
    else
        (*found)->count++;
    bool is_used = found != NULL && *found == new;
    pthread_mutex_unlock(&peers->lock);
    if (!is_used)
        free(new);
    return rc;
}

void proxy_peers_leave(struct proxy_peers *peers, const struct ouro_socket_addr *addr, uint64_t max)
{
    struct peer key, *gone = NULL;
    if (max == 0 || !make_key(addr, &key))
        return;
    pthread_mutex_lock(&peers->lock);
    struct peer **found = tfind(&key, &peers->tree, compare);
    if (found != NULL && --(*found)->count == 0) {
        gone = *found;
        (void)tdelete(gone, &peers->tree, compare);
    }
    pthread_mutex_unlock(&peers->lock);
    free(gone);
}
