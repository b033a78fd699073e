/* SPDX-License-Identifier: MIT */
/*
 * A server for a test to talk to: one thread, poll(2), plain sockets, many connections.
 */
#ifndef OURO_TEST_PEER_H
#define OURO_TEST_PEER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

enum ouro_test_peer_kind {
    OURO_TEST_PEER_ECHO,  /* sends back what comes, ends its side after the other ended */
    OURO_TEST_PEER_SINK,  /* reads and drops, closes at the other's end */
    OURO_TEST_PEER_RESET, /* accepts and resets at once */
    OURO_TEST_PEER_HOLD,  /* accepts and neither reads nor writes */
};

struct ouro_test_peer {
    uint16_t port;
    enum ouro_test_peer_kind kind;
    int listener;
    int stop_event;
    pthread_t thread;
    _Atomic uint64_t accepted;
    _Atomic uint64_t bytes_read;
    _Atomic uint64_t ended; /* connections it has closed */
};

/* Starts one on loopback of @family. */
void ouro_test_peer_start(struct ouro_test_peer *peer, int family, enum ouro_test_peer_kind kind);

/* Closes its connections and ends its thread. */
void ouro_test_peer_stop(struct ouro_test_peer *peer);

#endif
