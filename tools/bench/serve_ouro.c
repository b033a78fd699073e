/* SPDX-License-Identifier: MIT */
/*
 * Servers on ouro_serve(), with what can be chosen as an argument: what each choice costs.
 *
 *     bench_serve_ouro PORT uring|epoll stack|loan|requests|fan [CHOICE]
 *     bench_serve_ouro PORT uring|epoll relay|copy|splice SINK
 *
 * stack:     an echo; the task reads into 16 KiB on its stack, as most programs do
 * loan:      an echo; the task reads on loan, and holds no buffer while it waits
 * requests:  an echo in request mode: no task between two messages
 * fan:       what comes on one connection is sent to all others by SENDERS tasks: the ring gets as
 *            many sends by one enter, and the stacks of the tasks stay in the cache
 *
 * relay:    each connection is relayed to the port SINK, in the way that the relay chooses
 * copy, splice: in that way
 *
 * The choices `auto`, `never` and `latency` say whether a worker looks for events before it sleeps:
 * where that costs next to nothing (the dial's default), never, or always (the dial at latency).
 * With `singly` each accept is an operation of its own, as on kernels without multishot accept.
 * `copy` and `zerocopy`: every loan is sent so, also where that is dearer.
 *
 * Owns:    the list of connections of `fan`.
 * Threads: one worker, so the list needs no lock.
 */
#include <ouro.h>

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { STACK_BUFFER_BYTES = 16384, MESSAGE_BYTES = 4096, CONNECTIONS_MAX = 20000, SENDERS = 64 };

struct mode {
    const char *name;
    ouro_serve_handler *handler;
    uint32_t flags;
    uint32_t relay_flags;
};

struct server {
    const struct mode *mode;
    char address[32];
    char sink[32];
};

static int echo_stack(struct ouro_stream *stream, const struct ouro_serve_peer *peer, void *arg)
{
    char buffer[STACK_BUFFER_BYTES];
    ssize_t got = 0;
    (void)peer;
    (void)arg;
    while ((got = ouro_stream_read(stream, buffer, sizeof(buffer))) > 0) {
        int rc = ouro_stream_write_all(stream, buffer, (size_t)got, NULL);
        if (rc < 0)
            return rc;
    }
    return (int)got;
}

static ssize_t echo_one(struct ouro_stream *stream)
{
    struct ouro_loan loan = {0};
    ssize_t got = ouro_stream_read_loan(stream, &loan);
    if (got <= 0)
        return got;
    int rc = ouro_stream_write_loan(stream, &loan, NULL);
    ouro_loan_release(&loan); /* if the write has not taken it */
    return rc < 0 ? rc : got;
}

static int echo_loan(struct ouro_stream *stream, const struct ouro_serve_peer *peer, void *arg)
{
    ssize_t got = 0;
    (void)peer;
    (void)arg;
    do {
        got = echo_one(stream);
    } while (got > 0);
    return (int)got;
}

static int echo_request(struct ouro_stream *stream, const struct ouro_serve_peer *peer, void *arg)
{
    (void)peer;
    (void)arg;
    ssize_t got = echo_one(stream);
    return got < 0 ? (int)got : got > 0 ? OURO_SERVE_KEEP : OURO_SERVE_CLOSE;
}

static struct ouro_stream *streams[CONNECTIONS_MAX];
static size_t stream_count;

/* What is sent, and to whom next.  The senders share it. */
struct round {
    const struct ouro_stream *from;
    const char *bytes;
    size_t size;
    size_t next;
};

static int send_to_some(void *arg)
{
    struct round *round = arg;
    while (round->next < stream_count) {
        struct ouro_stream *to = streams[round->next++];
        if (to == round->from)
            continue;
        const int rc = ouro_stream_write_all(to, round->bytes, round->size, NULL);
        (void)rc; /* a receiver that fails is ended by its own handler; the others get theirs */
    }
    return 0;
}

static int send_to_others(const struct ouro_stream *from, const char *bytes, size_t size)
{
    struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
    struct round round = {.from = from, .bytes = bytes, .size = size};
    struct ouro_group group;
    int rc = ouro_group_begin(&group, 0);
    if (rc < 0)
        return rc;
    options.worker = OURO_WORKER_CURRENT;
    for (int i = 0; i < SENDERS && rc == 0; i++)
        rc = ouro_group_spawn(&group, &options, send_to_some, &round);
    (void)ouro_group_end(&group);
    return rc;
}

static void forget(const struct ouro_stream *stream)
{
    for (size_t i = 0; i < stream_count; i++)
        if (streams[i] == stream)
            streams[i] = streams[--stream_count];
}

/* One message at a time: only one of the connections sends. */
static int fan_out(struct ouro_stream *stream, const struct ouro_serve_peer *peer, void *arg)
{
    char buffer[MESSAGE_BYTES];
    ssize_t got = 0;
    int rc = 0;
    (void)peer;
    (void)arg;
    if (stream_count == CONNECTIONS_MAX)
        return -ENOSPC;
    streams[stream_count++] = stream;
    while (rc == 0 && (got = ouro_stream_read(stream, buffer, sizeof(buffer))) > 0)
        rc = send_to_others(stream, buffer, (size_t)got);
    forget(stream);
    return rc < 0 ? rc : (int)got;
}

static int relay(struct ouro_stream *client, const struct ouro_serve_peer *peer, void *arg)
{
    const struct server *server = arg;
    struct ouro_relay_options options = OURO_RELAY_OPTIONS_INIT;
    struct ouro_stream *sink = NULL;
    (void)peer;
    options.flags = server->mode->relay_flags;
    int rc = ouro_connect(server->sink, INT64_MAX, &sink);
    if (rc < 0)
        return rc;
    rc = ouro_tcp_stream_set_nodelay(sink, 1);
    if (rc == 0)
        rc = ouro_relay(client, sink, &options, NULL);
    (void)ouro_stream_close(sink);
    return rc;
}

static const struct mode modes[] = {
    {"stack", echo_stack, 0, 0},
    {"loan", echo_loan, 0, 0},
    {"requests", echo_request, OURO_SERVE_F_REQUESTS, 0},
    {"fan", fan_out, 0, 0},
    {"relay", relay, 0, 0},
    {"copy", relay, 0, OURO_RELAY_F_COPY},
    {"splice", relay, 0, OURO_RELAY_F_SPLICE},
};

static int serve(void *arg)
{
    struct server *server = arg;
    struct ouro_serve_options options = OURO_SERVE_OPTIONS_INIT;
    options.flags = server->mode->flags;
    options.per_peer_max = OURO_SERVE_NO_LIMIT; /* the load is one peer */
    options.addresses = server->address;
    struct ouro_tcp_listen_options listen = OURO_TCP_LISTEN_OPTIONS_INIT;
    listen.flags = OURO_LISTEN_F_NODELAY;
    listen.backlog = 4096;
    options.listen = &listen;
    return ouro_serve(&options, server->mode->handler, server);
}

static const struct mode *find_mode(const char *name)
{
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
        if (strcmp(modes[i].name, name) == 0)
            return &modes[i];
    return NULL;
}

/* The bit of a feature in the mask of those that are not to be used. */
static uint64_t feature_bit(const char *name)
{
    struct ouro_probe *probe = NULL;
    struct ouro_probe_item item;
    uint64_t bit = 0;
    if (ouro_probe_new(&probe) < 0)
        return 0;
    for (uint32_t i = 0; bit == 0 && ouro_probe_feature(probe, i, &item) == 0; i++)
        bit = strcmp(item.name, name) == 0 ? UINT64_C(1) << i : 0;
    ouro_probe_free(probe);
    return bit;
}

static bool set_choice(const char *text, struct ouro_runtime_config *config)
{
    if (strcmp(text, "never") == 0)
        config->spin_us = UINT32_MAX;
    else if (strcmp(text, "latency") == 0)
        config->dial = OURO_DIAL_LATENCY;
    else if (strcmp(text, "copy") == 0)
        config->zero_copy = OURO_ZERO_COPY_NEVER;
    else if (strcmp(text, "zerocopy") == 0)
        config->zero_copy = OURO_ZERO_COPY_ALWAYS;
    else if (strcmp(text, "singly") == 0)
        config->feature_mask = feature_bit("accept-multishot");
    else
        return strcmp(text, "auto") == 0;
    return true;
}

/* As many descriptors as may be: each connection has one. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
    struct server server = {.mode = argc >= 4 ? find_mode(argv[3]) : NULL};
    struct ouro_runtime_config config = OURO_RUNTIME_CONFIG_INIT;
    const bool relays = server.mode != NULL && server.mode->handler == relay;
    if (server.mode == NULL || argc > 5 || (relays && argc != 5) ||
        (!relays && argc == 5 && !set_choice(argv[4], &config))) {
        (void)fprintf(stderr, "usage: bench_serve_ouro PORT uring|epoll stack|loan|requests|fan "
                              "[auto|never|latency|singly|copy|zerocopy]\n"
                              "       bench_serve_ouro PORT uring|epoll relay|copy|splice SINK\n");
        return 2;
    }
    (void)snprintf(server.address, sizeof(server.address), "127.0.0.1:%.5s", argv[1]);
    if (relays)
        (void)snprintf(server.sink, sizeof(server.sink), "127.0.0.1:%.5s", argv[4]);
    config.driver = strcmp(argv[2], "epoll") == 0 ? OURO_DRIVER_EPOLL : OURO_DRIVER_URING;

    raise_descriptor_limit();
    struct ouro_runtime *runtime = NULL;
    int served = 0;
    int rc = ouro_runtime_new(&config, &runtime);
    if (rc == 0)
        rc = ouro_runtime_block_on(runtime, serve, &server, &served);
    ouro_runtime_free(runtime);
    if (rc == 0)
        rc = served;
    if (rc < 0)
        (void)fprintf(stderr, "%s: %s\n", server.address, ouro_strerror(rc));
    return rc < 0;
}
