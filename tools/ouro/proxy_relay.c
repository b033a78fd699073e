/* SPDX-License-Identifier: MIT */
/*
 * ProxyRelay: bytes both ways between a client and its target.
 *
 * Each direction is a task of a group.  The end of one side's data is passed on as the end of the
 * other's (shutdown of its writing half), and the other direction goes on; the relay is over when
 * both directions are.
 *
 *   reading fails     the side is gone: the other direction is cancelled
 *   writing fails     the side takes nothing more, but what it has sent may still be on its way:
 *                     the other direction goes on to its end.  The writer is told by shutting down
 *                     the half that is not read any more.
 *   nothing moves     in either direction for the idle time: both are cancelled
 *
 * Owns:    two buffers, while it runs.
 * Threads: both tasks are on the worker of the caller, so they share the time of the last byte.
 */
#include <errno.h>
#include <stdlib.h>

#include "proxy.h"

#define BUFFER_BYTES ((size_t)64 * 1024)

struct relay;

struct flow {
    struct relay *relay;
    struct ouro_stream *from, *to;
    atomic_uint_least64_t *bytes;
    char *buffer;
    size_t at, end; /* what of the buffer is still to be written */
    int write_rc;   /* why writing failed, if it did */
};

struct relay {
    int64_t idle_ns;
    int64_t active_ns; /* when the last bytes moved */
    struct flow flows[2];
};

/* Reads or writes once; a count, or a negative code. */
typedef ssize_t step_function(struct flow *flow);

static ssize_t read_step(struct flow *flow)
{
    return ouro_stream_read(flow->from, flow->buffer, BUFFER_BYTES);
}

static ssize_t write_step(struct flow *flow)
{
    return ouro_stream_write(flow->to, flow->buffer + flow->at, flow->end - flow->at);
}

/* Makes a step; gives it up when nothing has moved either way for the idle time. */
static ssize_t until_idle(struct flow *flow, step_function *step)
{
    struct relay *relay = flow->relay;
    if (relay->idle_ns == PROXY_NO_TIMEOUT)
        return step(flow);
    for (;;) {
        int64_t end_ns = relay->active_ns + relay->idle_ns;
        struct ouro_deadline scope;
        int rc = ouro_deadline_begin(&scope, end_ns - ouro_now_ns());
        if (rc < 0)
            return rc;
        ssize_t moved = step(flow);
        ouro_deadline_end(&scope);
        if (moved > 0)
            relay->active_ns = ouro_now_ns();
        /* A socket has timeouts of its own, which are failures. */
        bool is_ours = moved == -ETIMEDOUT && ouro_now_ns() >= end_ns;
        if (!is_ours || relay->active_ns + relay->idle_ns <= end_ns)
            return moved;
    }
}

static int copy(struct flow *flow)
{
    for (;;) {
        ssize_t got = until_idle(flow, read_step);
        if (got <= 0)
            return (int)got;
        flow->at = 0;
        flow->end = (size_t)got;
        while (flow->at < flow->end) {
            ssize_t put = until_idle(flow, write_step);
            if (put == -ETIMEDOUT || put == -ECANCELED)
                return (int)put;
            if (put < 0) {
                flow->write_rc = (int)put;
                return 0;
            }
            flow->at += (size_t)put;
            proxy_count(flow->bytes, (uint64_t)put);
        }
    }
}

static int flow_task(void *arg)
{
    struct flow *flow = arg;
    int rc = copy(flow);
    if (rc < 0)
        return rc;
    if (flow->write_rc < 0)
        (void)ouro_stream_shutdown(flow->from, OURO_SHUTDOWN_READ);
    (void)ouro_stream_shutdown(flow->to, OURO_SHUTDOWN_WRITE);
    return 0;
}

static int run_flows(struct relay *relay)
{
    struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
    options.name = "relay";
    options.worker = OURO_WORKER_CURRENT;
    struct ouro_group group;
    int rc = ouro_group_begin(&group, 0);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < 2 && rc == 0; i++)
        rc = ouro_group_spawn(&group, &options, flow_task, &relay->flows[i]);
    if (rc < 0)
        (void)ouro_group_cancel(&group); /* it cannot fail: the group has begun */
    int end_rc = ouro_group_end(&group);
    return rc < 0 ? rc : end_rc;
}

int proxy_relay(struct proxy *proxy, struct proxy_counts *counts, struct ouro_stream *client,
                struct ouro_stream *target)
{
    struct relay relay = {.idle_ns = proxy->options->idle_ns, .active_ns = ouro_now_ns()};
    relay.flows[0] = (struct flow){.relay = &relay,
                                   .from = client,
                                   .to = target,
                                   .bytes = &counts->to_targets,
                                   .buffer = malloc(BUFFER_BYTES)};
    relay.flows[1] = (struct flow){.relay = &relay,
                                   .from = target,
                                   .to = client,
                                   .bytes = &counts->to_clients,
                                   .buffer = malloc(BUFFER_BYTES)};
    bool has_buffers = relay.flows[0].buffer != NULL && relay.flows[1].buffer != NULL;
    int rc = has_buffers ? run_flows(&relay) : -ENOMEM;
    free(relay.flows[0].buffer);
    free(relay.flows[1].buffer);
    if (rc == 0)
        rc = relay.flows[0].write_rc < 0 ? relay.flows[0].write_rc : relay.flows[1].write_rc;
    return rc;
}
