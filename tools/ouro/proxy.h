/* SPDX-License-Identifier: MIT */
/*
 * What the parts of `ouro proxy` share: its options and its state.
 */
#ifndef OURO_CLI_PROXY_H
#define OURO_CLI_PROXY_H

#include <ouro.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "cli_runtime.h"
#include "proxy_gate.h"
#include "proxy_listener.h"
#include "proxy_peers.h"
#include "proxy_targets.h"

#define PROXY_NO_TIMEOUT INT64_MAX

struct proxy_options {
    const char *listen[PROXY_LISTENERS_MAX]; /* as given */
    size_t listen_count;
    struct proxy_targets targets;
    struct cli_runtime runtime;
    bool accept_proxy;     /* each client begins with a PROXY header */
    unsigned send_proxy;   /* 0: no header to the targets, else its version */
    int64_t header_ns;     /* within which the header has come */
    int64_t connect_ns;    /* for one attempt at one target */
    int64_t idle_ns;       /* without a byte in either direction */
    int64_t grace_ns;      /* for connections to end by themselves */
    uint64_t max;          /* connections at a time */
    uint64_t max_per_peer; /* of one address; 0: no limit */
    bool stats;
    const char *stats_path;   /* NULL: stdout */
    const char *control_path; /* NULL: no control socket */
};

/* How a connection ended; each that was accepted ends in one of these ways. */
enum proxy_outcome {
    PROXY_DONE,       /* both sides ended */
    PROXY_REFUSED,    /* too many of its peer */
    PROXY_BAD_HEADER, /* no valid PROXY header, or not in time */
    PROXY_NO_TARGET,  /* no target took it */
    PROXY_IDLE,       /* the idle timeout ended it */
    PROXY_BROKEN,     /* one side reset it, or failed otherwise */
    PROXY_CUT,        /* the end of the proxy ended it */
    PROXY_OUTCOMES
};

struct proxy_flow;

/* What one worker has done.  Written by its tasks only; the counters are read by any. */
struct proxy_counts {
    _Alignas(64) atomic_uint_least64_t accepted;
    atomic_uint_least64_t ended[PROXY_OUTCOMES];
    atomic_uint_least64_t to_targets; /* bytes */
    atomic_uint_least64_t to_clients; /* bytes */
    struct proxy_flow *flows;         /* relays in progress */
};

struct proxy {
    struct proxy_options *options;
    struct proxy_listeners listeners;
    struct proxy_gate gate;
    struct proxy_peers peers;
    struct ouro_task *main_task; /* cancelled to cut what is left */
    int signal_fd;
    struct proxy_counts counts[CLI_WORKERS_MAX];
};

/* Adds to a counter that only the calling worker's tasks write. */
static inline void proxy_count(atomic_uint_least64_t *counter, uint64_t amount)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + amount,
                          memory_order_relaxed);
}

/* A connection that was accepted, for proxy_connection_task(), which frees it. */
struct proxy_client {
    struct proxy *proxy;
    struct proxy_counts *counts; /* of the worker it runs on */
    int fd;
    struct ouro_socket_addr addr; /* of its other end */
};

/* Serves one client to its end: header, target, relay.  Gives back its room at the gate. */
int proxy_connection_task(void *arg);

/*
 * Copies both ways until both sides have ended.  Returns 0; -ETIMEDOUT when nothing moved for
 * options->idle_ns; else why a side failed.
 */
int proxy_relay(struct proxy *proxy, struct proxy_counts *counts, struct ouro_stream *client,
                struct ouro_stream *target);

/* A task of the worker whose counts @arg are: adds to them what its relays have moved by now. */
int proxy_relay_tell_task(void *arg);

/* In a task: writes the counters to stderr, for people. */
void proxy_stats_print(struct proxy *proxy);

/* A task: writes the counters as a line of JSON each second, and once more when it is cancelled. */
int proxy_stats_task(void *arg);

/* The whole of it, as the main task; @arg is the struct proxy.  Returns the exit status. */
int proxy_main_task(void *arg);

#endif
