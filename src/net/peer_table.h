/* SPDX-License-Identifier: MIT */
/*
 * PeerTable: how many connections each peer has.
 */
#ifndef OURO_NET_PEER_TABLE_H
#define OURO_NET_PEER_TABLE_H

#include "base/compiler.h"

#include <stdbool.h>

struct sockaddr;

struct ouro__peer_count;

struct ouro__peer_table {
    struct ouro__peer_count *slots; /* a power of two of them, or NULL */
    uint32_t slots_count;
    uint32_t used;
    uint64_t seed;
};

/* A number for the peer: an IPv4 address (mapped into IPv6 or not), or the first 64 bits of an IPv6
 * one.  False: addresses of this family are not counted. */
bool ouro__peer_key(const struct sockaddr *name, uint64_t *out_key);

void ouro__peer_table_init(struct ouro__peer_table *table);
void ouro__peer_table_fini(struct ouro__peer_table *table);

/* One more connection of @key.  Errors: -EDQUOT when there are @max already; -ENOMEM. */
int ouro__peer_table_enter(struct ouro__peer_table *table, uint64_t key, uint32_t max);
/* One less. */
void ouro__peer_table_leave(struct ouro__peer_table *table, uint64_t key);

#endif
