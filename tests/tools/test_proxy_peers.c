/* SPDX-License-Identifier: MIT */
/*
 * The proxy's count of connections by peer.
 */
#include "support/ouro_test.h"

#include <stdio.h>

#include "../../tools/ouro/proxy_peers.c"

static struct proxy_peers peers;

static void begin(void)
{
    peers = (struct proxy_peers){.lock = PTHREAD_MUTEX_INITIALIZER};
}

static struct ouro_socket_addr addr_of(const char *text)
{
    struct ouro_socket_addr addr;
    ck_assert_msg(ouro_socket_addr_parse(text, &addr) == 0, "%s", text);
    return addr;
}

static int enter(const char *text, uint64_t max)
{
    struct ouro_socket_addr addr = addr_of(text);
    return proxy_peers_enter(&peers, &addr, max);
}

static void leave(const char *text, uint64_t max)
{
    struct ouro_socket_addr addr = addr_of(text);
    proxy_peers_leave(&peers, &addr, max);
}

OURO_TEST_UNIT(a_peer_has_at_most_the_limit)
{
    begin();
    for (int round = 0; round < 3; round++) {
        ck_assert_int_eq(enter("192.0.2.1:1", 2), 0);
        ck_assert_int_eq(enter("192.0.2.1:2", 2), 0);
        ck_assert_int_eq(enter("192.0.2.1:3", 2), -EUSERS);
        ck_assert_int_eq(enter("192.0.2.2:1", 2), 0);
        leave("192.0.2.1:1", 2);
        ck_assert_int_eq(enter("192.0.2.1:4", 2), 0);
        ck_assert_int_eq(enter("192.0.2.1:5", 2), -EUSERS);
        leave("192.0.2.1:2", 2);
        leave("192.0.2.1:4", 2);
        leave("192.0.2.2:1", 2);
        ck_assert_ptr_null(peers.tree);
    }
}

OURO_TEST_UNIT(which_addresses_are_one_peer)
{
    static const struct {
        const char *left, *right;
        bool are_one;
    } pairs[] = {
        {"192.0.2.1:1", "[::ffff:192.0.2.1]:2", true},
        {"[2001:db8:0:1::1]:1", "[2001:db8:0:1:ffff::2]:1", true},
        {"[2001:db8:0:1::1]:1", "[2001:db8:0:2::1]:1", false},
        {"192.0.2.1:1", "192.0.2.2:1", false},
        {"[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.2]:1", false},
        {"[c000:0201::]:1", "192.0.2.1:1", false}, /* the same first bytes */
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        begin();
        ck_assert_int_eq(enter(pairs[i].left, 1), 0);
        int rc = enter(pairs[i].right, 1);
        ck_assert_msg((rc == -EUSERS) == pairs[i].are_one, "%s and %s", pairs[i].left,
                      pairs[i].right);
        leave(pairs[i].left, 1);
        if (rc == 0)
            leave(pairs[i].right, 1);
        ck_assert_ptr_null(peers.tree);
    }
}

OURO_TEST_UNIT(without_a_limit_and_for_unix_addresses_nothing_is_counted)
{
    begin();
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(enter("192.0.2.1:1", 0), 0);
        ck_assert_int_eq(enter("unix:/a", 1), 0);
        ck_assert_ptr_null(peers.tree);
    }
    leave("192.0.2.1:1", 0);
    leave("unix:/a", 1);
}

OURO_TEST_UNIT(many_peers)
{
    begin();
    char text[32];
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 2000; i++) {
            snprintf(text, sizeof(text), "10.0.%d.%d:1", i / 256, i % 256);
            if (round == 0)
                ck_assert_int_eq(enter(text, 1), 0);
            else
                leave(text, 1);
        }
    ck_assert_ptr_null(peers.tree);
}
