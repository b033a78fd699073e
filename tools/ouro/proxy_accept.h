/* SPDX-License-Identifier: MIT */
/*
 * The tasks that accept connections.
 */
#ifndef OURO_CLI_PROXY_ACCEPT_H
#define OURO_CLI_PROXY_ACCEPT_H

#include "proxy.h"

/* One listening socket and the task that accepts from it. */
struct proxy_acceptor {
    struct proxy *proxy;
    size_t number; /* its place at the gate */
    struct proxy_listener *listener;
    size_t socket;   /* which of the listener's */
    bool spreads;    /* connections go to all workers in turn, not to the acceptor's own */
    uint32_t worker; /* that it runs on */
};

/*
 * A task: accepts until the gate closes, takes what is in the backlog by then, and waits for its
 * connections to end.  0, or the error that ended it.
 */
int proxy_accept_task(void *arg);

#endif
