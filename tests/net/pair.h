/* SPDX-License-Identifier: MIT */
/*
 * A stream of ouro's connected with a plain socket.
 */
#ifndef OURO_TEST_PAIR_H
#define OURO_TEST_PAIR_H

#include <sys/socket.h>
#include <unistd.h>

#include "ouro/tcp.h"
#include "support/ouro_test.h"
#include "support/sockets.h"

/* One end an ouro stream, the other a plain socket. */
struct pair {
    struct ouro_stream *stream;
    int peer;
};

static inline struct pair connected(void)
{
    struct pair pair;
    uint16_t port = 0;
    char text[OURO_TEST_ADDRESS_SIZE];
    int listener = ouro_test_listen(AF_INET, 1, &port);
    ck_assert_int_eq(
        ouro_tcp_stream_connect(OURO_ADDRS(ouro_test_address(AF_INET, port, text)), &pair.stream),
        0);
    pair.peer = ouro_test_accept(listener);
    (void)close(listener);
    return pair;
}

static inline void disconnect(struct pair *pair)
{
    ck_assert_int_eq(ouro_stream_close(pair->stream), 0);
    (void)close(pair->peer);
}

#endif
