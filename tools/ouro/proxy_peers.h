/* SPDX-License-Identifier: MIT */
/*
 * How many connections each peer has.
 */
#ifndef OURO_CLI_PROXY_PEERS_H
#define OURO_CLI_PROXY_PEERS_H

#include <ouro.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* All zero but the lock is one without peers. */
struct proxy_peers {
    pthread_mutex_t lock;
    void *tree; /* of tsearch(3) */
};

/*
 * Counts one more connection of the peer with this address, unless it has @max (0: any number).
 * Returns 0, -EUSERS when it has as many, -ENOMEM.  Ports do not matter; IPv6 addresses of one /64
 * network are one peer, and IPv4 addresses mapped into IPv6 are IPv4.  Unix addresses are not
 * counted.
 */
int proxy_peers_enter(struct proxy_peers *peers, const struct ouro_socket_addr *addr, uint64_t max);

/* Counts one less, after an enter that returned 0 with the same arguments. */
void proxy_peers_leave(struct proxy_peers *peers, const struct ouro_socket_addr *addr,
                       uint64_t max);

#endif
