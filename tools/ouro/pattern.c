/* SPDX-License-Identifier: MIT */
/*
 * Pattern: one table of random bytes, which each stream walks through from a place of its own.
 *
 * Sending from the table needs no copy and checking is one memcmp().  The length of the table is a
 * prime, so that neither a message nor a buffer of the server is a divisor of it: bytes that are
 * lost, doubled, or another connection's do not match.
 *
 * Owns:    the table.
 * Threads: any, after pattern_init().
 */
#include "pattern.h"

#include <string.h>

#define PERIOD 65521u
#define STRIDE 7919u /* between the beginnings of two streams */

static unsigned char table[PERIOD + PATTERN_SLICE_MAX];

void pattern_init(void)
{
    uint64_t state = 6142; /* any; the bytes are the same in every run */
    for (size_t i = 0; i < sizeof(table); i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        table[i] = i < PERIOD ? (unsigned char)(state >> 56) : table[i - PERIOD];
    }
}

const void *pattern_at(uint64_t key, uint64_t offset)
{
    return table + (key % PERIOD * STRIDE + offset) % PERIOD;
}

bool pattern_matches(uint64_t key, uint64_t offset, const void *bytes, size_t size)
{
    return memcmp(pattern_at(key, offset), bytes, size) == 0;
}
