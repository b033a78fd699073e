/* SPDX-License-Identifier: MIT */
/*
 * PeerTable: how many connections each peer has.
 *
 * A hash table with linear probing, at most half full.  A peer without connections has no slot: the
 * slots behind it move up, so there are no marks of deleted ones that would fill the table in time.
 *
 * The key of an IPv6 peer is its /64 network: one host has 2^64 addresses in it, so a count of
 * single addresses would limit nobody.  The hash is seeded, or a peer with many networks could
 * choose those that collide.
 *
 * Owns:    the slots.
 * Threads: one at a time; a server's has a lock.
 * Always:  every slot that is used can be reached from the place of its key without a gap.
 * Tests:   tests/net/test_peer_table.c
 */
#include "net/peer_table.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/clock.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

enum { SLOTS_MIN = 64 };

struct ouro__peer_count {
    uint64_t key;
    uint32_t count; /* 0: the slot is free */
};

bool ouro__peer_key(const struct sockaddr *name, uint64_t *out_key)
{
    if (name->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)name;
        *out_key = in->sin_addr.s_addr;
        return true;
    }
    if (name->sa_family != AF_INET6)
        return false;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)name;
    const unsigned char *bytes = in6->sin6_addr.s6_addr;
    *out_key = 0;
    if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
        memcpy(out_key, bytes + 12, 4);
    else
        memcpy(out_key, bytes, 8);
    return true;
}

void ouro__peer_table_init(struct ouro__peer_table *table)
{
    *table = (struct ouro__peer_table){.seed = (uint64_t)ouro__clock_now_ns() ^ (uintptr_t)table};
}

void ouro__peer_table_fini(struct ouro__peer_table *table)
{
    ouro__free(table->slots);
    table->slots = NULL;
}

/* The place where a key is looked for first.  Two rounds of multiply and xor (splitmix64). */
static uint32_t place_of(const struct ouro__peer_table *table, uint64_t key)
{
    uint64_t x = key ^ table->seed;
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)(x ^ (x >> 31)) & (table->slots_count - 1);
}

/* The slot of @key, or the free one where it would be put. */
static struct ouro__peer_count *find(const struct ouro__peer_table *table, uint64_t key)
{
    uint32_t at = place_of(table, key);
    while (table->slots[at].count != 0 && table->slots[at].key != key)
        at = (at + 1) & (table->slots_count - 1);
    return &table->slots[at];
}

static int grow(struct ouro__peer_table *table)
{
    struct ouro__peer_table larger = *table;
    larger.slots_count = table->slots_count == 0 ? SLOTS_MIN : 2 * table->slots_count;
    larger.slots = ouro__calloc(larger.slots_count, sizeof(*larger.slots));
    if (larger.slots == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < table->slots_count; i++) {
        if (table->slots[i].count != 0)
            *find(&larger, table->slots[i].key) = table->slots[i];
    }
    ouro__free(table->slots);
    *table = larger;
    return 0;
}

int ouro__peer_table_enter(struct ouro__peer_table *table, uint64_t key, uint32_t max)
{
    if (2 * (table->used + 1) > table->slots_count) {
        int rc = grow(table);
        if (rc < 0)
            return rc;
    }
    struct ouro__peer_count *slot = find(table, key);
    if (slot->count >= max)
        return -EDQUOT;
    if (slot->count++ == 0) {
        slot->key = key;
        table->used++;
    }
    return 0;
}

/* Frees a slot, and moves those up that could not be reached over the gap. */
static void free_slot(struct ouro__peer_table *table, uint32_t gap)
{
    uint32_t mask = table->slots_count - 1;
    for (uint32_t at = (gap + 1) & mask; table->slots[at].count != 0; at = (at + 1) & mask) {
        uint32_t way = (at - place_of(table, table->slots[at].key)) & mask;
        if (way >= ((at - gap) & mask)) {
            table->slots[gap] = table->slots[at];
            gap = at;
        }
    }
    table->slots[gap].count = 0;
    table->used--;
}

void ouro__peer_table_leave(struct ouro__peer_table *table, uint64_t key)
{
    struct ouro__peer_count *slot = find(table, key);
    OURO__ASSERT(slot->count > 0);
    if (slot->count == 1)
        free_slot(table, (uint32_t)(slot - table->slots));
    else
        slot->count--;
}
