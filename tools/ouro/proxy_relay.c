/* SPDX-License-Identifier: MIT */
/*
 * ProxyRelay: bytes both ways between a client and its target, and how many.
 *
 * The library's relay counts into a struct that only its own worker may read while it runs.  The
 * counters of the proxy are read by other threads.  So each worker has a list of its relays, and a
 * task on that worker adds what they have moved to the counters when somebody asks: a relay costs
 * nothing for being counted.
 *
 * Owns:    nothing; the entry of the list is on the stack of the relay's task.
 * Threads: a list belongs to its worker.
 */
#include "proxy.h"

/* A relay in progress. */
struct proxy_flow {
    struct ouro_relay_counts counts;
    struct ouro_relay_counts told; /* what of it is in the counters already */
    struct proxy_flow *next, **back;
};

static void tell(struct proxy_counts *counts, struct proxy_flow *flow)
{
    struct ouro_relay_counts now = flow->counts;
    proxy_count(&counts->to_targets, now.first_to_second - flow->told.first_to_second);
    proxy_count(&counts->to_clients, now.second_to_first - flow->told.second_to_first);
    flow->told = now;
}

int proxy_relay_tell_task(void *arg)
{
    struct proxy_counts *counts = arg;
    for (struct proxy_flow *flow = counts->flows; flow != NULL; flow = flow->next)
        tell(counts, flow);
    return 0;
}

static void link_flow(struct proxy_counts *counts, struct proxy_flow *flow)
{
    flow->next = counts->flows;
    flow->back = &counts->flows;
    if (flow->next != NULL)
        flow->next->back = &flow->next;
    counts->flows = flow;
}

static void unlink_flow(struct proxy_flow *flow)
{
    *flow->back = flow->next;
    if (flow->next != NULL)
        flow->next->back = flow->back;
}

int proxy_relay(struct proxy *proxy, struct proxy_counts *counts, struct ouro_stream *client,
                struct ouro_stream *target)
{
    struct ouro_relay_options options = OURO_RELAY_OPTIONS_INIT;
    struct proxy_flow flow = {0};
    if (proxy->options->idle_ns != PROXY_NO_TIMEOUT)
        options.idle_timeout_ns = proxy->options->idle_ns;
    link_flow(counts, &flow);
    int rc = ouro_relay(client, target, &options, &flow.counts);
    tell(counts, &flow);
    unlink_flow(&flow);
    return rc;
}
