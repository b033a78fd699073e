/* SPDX-License-Identifier: MIT */
/*
 * `ouro bench relay`: bytes through a proxy, to a sink that this process is itself.
 *
 *     client end  -->  TARGET, the proxy  -->  --sink, our listener  -->  sink end
 *
 * Both ends of each connection are ours, so every byte is checked where it comes out, and a
 * message's latency is the time from one end to the other by one clock.  With --both the sink ends
 * send messages, too.
 *
 * A proxy connects to the sink when it likes to, and other programs may look whether somebody
 * listens there.  So each client end first sends a greeting with its number; what arrives at the
 * sink without the right greeting is closed and not counted.
 *
 * When the last message has come, the client end ends its half, and the sink end must see that: a
 * proxy that loses the end leaves its users waiting.
 *
 * Owns:    the listener, while the connections are made; both ends: the lane with the client end.
 * Threads: the run's worker.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "bench.h"
#include "bench_flow.h"
#include "output.h"
#include "pattern.h"

/* What a client end sends first. */
struct greeting {
    char magic[4];
    uint32_t index;
    int64_t run; /* another run through the same proxy has another */
};

static struct greeting greeting_of(uint32_t index, int64_t run)
{
    struct greeting greeting = {.index = index, .run = run};
    memcpy(greeting.magic, "ouro", sizeof(greeting.magic));
    return greeting;
}

static int read_greeting(struct ouro_stream *stream, struct greeting *greeting)
{
    size_t received = 0;
    while (received < sizeof(*greeting)) {
        ssize_t got =
            ouro_stream_read(stream, (char *)greeting + received, sizeof(*greeting) - received);
        if (got < 0)
            return (int)got;
        if (got == 0)
            return BENCH_EARLY_END;
        received += (size_t)got;
    }
    return 0;
}

/* Accepts until the connection with this greeting comes. */
static int accept_greeted(struct ouro_tcp_listener *listener, const struct greeting *wanted,
                          struct ouro_stream **out_stream)
{
    for (;;) {
        struct ouro_stream *stream = NULL;
        int rc = ouro_tcp_listener_accept(listener, &stream, NULL);
        if (rc < 0)
            return rc;
        struct greeting greeting;
        rc = read_greeting(stream, &greeting);
        if (rc == 0 && memcmp(&greeting, wanted, sizeof(greeting)) == 0) {
            *out_stream = stream;
            return 0;
        }
        (void)ouro_stream_close(stream);
        if (rc == -ETIMEDOUT || rc == -ECANCELED)
            return rc;
    }
}

/* Makes the two ends of a lane. */
static int open_ends(struct bench_lane *lane, struct ouro_tcp_listener *listener, int64_t run)
{
    const struct bench *bench = lane->bench;
    const struct greeting greeting = greeting_of(lane->index, run);
    struct ouro_deadline limit;
    int rc = ouro_deadline_begin(&limit, bench->options->timeout_ns);
    if (rc < 0)
        return rc;
    rc = target_connect(&bench->target, OURO_CONNECT_F_NODELAY | bench_close_flag(bench), INT64_MAX,
                        NULL, &lane->stream);
    if (rc == 0)
        rc = ouro_stream_write_all(lane->stream, &greeting, sizeof(greeting), NULL);
    if (rc == 0)
        rc = accept_greeted(listener, &greeting, &lane->in);
    ouro_deadline_end(&limit);
    return rc;
}

/* The lane of the other direction, NULL where there is none: its ends are the same, exchanged. */
static struct bench_lane *other_direction(const struct bench_lane *lane)
{
    struct bench *bench = lane->bench;
    uint32_t connections = (uint32_t)bench->options->connections;
    if (bench->lane_count == connections)
        return NULL;
    return &bench->lanes[(lane->index + connections) % bench->lane_count];
}

static int open_with(struct bench *bench, struct ouro_tcp_listener *listener)
{
    const int64_t run = ouro_now_ns();
    const uint32_t connections = (uint32_t)bench->options->connections;
    for (uint32_t i = 0; i < connections; i++) {
        struct bench_lane *lane = &bench->lanes[i];
        int rc = open_ends(lane, listener, run);
        if (rc < 0 && !bench->stopped)
            output_error("%s to %s: connection %" PRIu32 " of %" PRIu32 ": %s (%s)",
                         bench->target.text, bench->options->sink, i + 1, connections,
                         ouro_strerror(rc), ouro_err_name(rc));
        if (rc < 0)
            return rc;
        struct bench_lane *back = other_direction(lane);
        if (back != NULL) {
            back->stream = lane->in;
            back->in = lane->stream;
        }
    }
    return 0;
}

static int open_all(struct bench *bench)
{
    pattern_init();
    struct ouro_tcp_listen_options options = OURO_TCP_LISTEN_OPTIONS_INIT;
    options.flags = OURO_LISTEN_F_NODELAY;
    struct ouro_tcp_listener *listener = NULL;
    int rc = ouro_tcp_listener_bind(OURO_ADDRS(bench->options->sink), &options, &listener);
    if (rc < 0) {
        output_error("%s: %s (%s)", bench->options->sink, ouro_strerror(rc), ouro_err_name(rc));
        return rc;
    }
    rc = open_with(bench, listener);
    (void)ouro_tcp_listener_close(listener);
    return rc;
}

static void close_all(struct bench *bench)
{
    for (uint64_t i = 0; i < bench->options->connections; i++) {
        (void)ouro_stream_close(bench->lanes[i].stream); /* NULL where none was opened */
        (void)ouro_stream_close(bench->lanes[i].in);
    }
}

/* Ends the sending half of the client end; the sink end must see the end, and nothing before it. */
static int end(struct bench_lane *lane)
{
    struct ouro_deadline limit;
    int rc = ouro_stream_shutdown(lane->stream, OURO_SHUTDOWN_WRITE);
    if (rc == 0)
        rc = ouro_deadline_begin(&limit, lane->bench->options->timeout_ns);
    if (rc < 0)
        return rc;
    char byte = 0;
    ssize_t got = ouro_stream_read(lane->in, &byte, 1);
    ouro_deadline_end(&limit);
    return got > 0 ? BENCH_WRONG_BYTES : (int)got;
}

static int relay_lane(void *arg)
{
    struct bench_lane *lane = arg;
    struct bench *bench = lane->bench;
    struct bench_lane *other = other_direction(lane);
    const struct bench_path path = {.out = lane->stream, .in = lane->in, .key = lane->index};
    uint64_t answered = 0;
    int rc = bench_flow_run(lane, &path, &answered);
    lane->is_done = true;
    bool is_last = other == NULL || other->is_done;
    if (rc == 0 && is_last && !bench->stopped)
        rc = end(lane->index < bench->options->connections ? lane : other);
    if (rc < 0)
        bench_fail(bench, rc);
    bench_leave(lane);
    return 0;
}

const struct bench_kind bench_relay_kind = {
    .name = "relay",
    .unit = "message",
    .connections = 10,
    .size_bytes = 16384,
    .depth = 4,
    .has_depth = true,
    .has_size = true,
    .has_sink = true,
    .open = open_all,
    .lane = relay_lane,
    .close = close_all,
};
