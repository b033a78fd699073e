/* SPDX-License-Identifier: MIT */
/*
 * The table of peers: compared with counts in a plain array, and what counts as one peer.
 */
#include "support/ouro_test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/un.h>

#include "base/alloc.h"
#include "net/peer_table.h"

enum { KEYS = 300, STEPS = 200000, MAX = 3 };

OURO_TEST_UNIT(counts_are_those_of_a_plain_array)
{
    struct ouro__peer_table table;
    uint32_t counts[KEYS] = {0};
    unsigned seed = 1;
    ouro__peer_table_init(&table);
    for (int step = 0; step < STEPS; step++) {
        /* Mostly enters for a while, then mostly leaves. */
        bool enters = rand_r(&seed) % 100 < ((step / 5000) % 2 == 0 ? 80 : 20);
        uint32_t i = (uint32_t)rand_r(&seed) % KEYS;
        uint64_t key = (uint64_t)i * 64; /* alike in the low bits */
        if (enters) {
            int rc = ouro__peer_table_enter(&table, key, MAX);
            ck_assert_int_eq(rc, counts[i] < MAX ? 0 : -EDQUOT);
            counts[i] += rc == 0 ? 1 : 0;
        } else if (counts[i] > 0) {
            ouro__peer_table_leave(&table, key);
            counts[i]--;
        }
    }
    for (uint32_t i = 0; i < KEYS; i++) {
        while (counts[i]-- > 0)
            ouro__peer_table_leave(&table, (uint64_t)i * 64);
    }
    ck_assert_uint_eq(table.used, 0);
    ouro__peer_table_fini(&table);
}

OURO_TEST_UNIT(without_memory_nothing_is_counted)
{
    struct ouro__peer_table table;
    ouro__peer_table_init(&table);
    ouro__alloc_fail_at(1);
    ck_assert_int_eq(ouro__peer_table_enter(&table, 7, 1), -ENOMEM);
    ouro__alloc_fail_at(0);
    ck_assert_int_eq(ouro__peer_table_enter(&table, 7, 1), 0);
    ck_assert_int_eq(ouro__peer_table_enter(&table, 7, 1), -EDQUOT);
    ouro__peer_table_leave(&table, 7);
    ouro__peer_table_fini(&table);
}

static uint64_t key_of(int family, const char *text)
{
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } name = {.any.sa_family = (sa_family_t)family};
    uint64_t key = 77;
    ck_assert_int_eq(
        inet_pton(family, text,
                  family == AF_INET ? (void *)&name.in.sin_addr : (void *)&name.in6.sin6_addr),
        1);
    ck_assert(ouro__peer_key(&name.any, &key));
    return key;
}

OURO_TEST_UNIT(a_peer_is_an_ipv4_address_or_an_ipv6_network)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    uint64_t key = 0;
    ck_assert_uint_ne(key_of(AF_INET, "192.0.2.1"), key_of(AF_INET, "192.0.2.2"));
    ck_assert_uint_eq(key_of(AF_INET, "192.0.2.1"), key_of(AF_INET6, "::ffff:192.0.2.1"));
    ck_assert_uint_eq(key_of(AF_INET6, "2001:db8::1"), key_of(AF_INET6, "2001:db8::ffff:2"));
    ck_assert_uint_ne(key_of(AF_INET6, "2001:db8::1"), key_of(AF_INET6, "2001:db8:0:1::1"));
    ck_assert(!ouro__peer_key((const struct sockaddr *)&name, &key));
}
