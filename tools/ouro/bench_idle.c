/* SPDX-License-Identifier: MIT */
/*
 * `ouro bench idle`: what connections cost that do nothing.
 *
 * Each connection is made, and brings one message there and its echo back, so that the server has
 * done for it what it does for a connection in use.  Then all are held.  At the end of the time the
 * server's memory is compared with what it was before, and each connection brings another message:
 * those that the server has closed meanwhile, or forgotten, are counted as lost.
 *
 * With --settle all are closed then, and the memory is looked at again after that time: how much of
 * it the server gives back.
 *
 * One task does all of this, one connection after the other: the server never has two messages at
 * once, and what it needs for a crowd of them is not counted as memory of idle connections.
 *
 * Owns:    the connections.
 * Threads: the run's worker.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "bench.h"
#include "bench_message.h"
#include "output.h"
#include "pattern.h"

/* A message on a lane's connection, within the time limit. */
static int echo_once(const struct bench_lane *lane, uint64_t number)
{
    const struct bench_options *options = lane->bench->options;
    const size_t size = (size_t)options->size_bytes;
    char *buffer = malloc(size);
    if (buffer == NULL)
        return -ENOMEM;
    struct ouro_deadline limit;
    int rc = ouro_deadline_begin(&limit, options->timeout_ns);
    if (rc == 0) {
        rc = bench_message_echo(lane->stream, lane->index, number * size, buffer, size);
        ouro_deadline_end(&limit);
    }
    free(buffer);
    return rc;
}

static int open_lane(struct bench_lane *lane)
{
    const struct bench *bench = lane->bench;
    int rc = target_connect(&bench->target, OURO_CONNECT_F_NODELAY | bench_close_flag(bench),
                            bench->options->timeout_ns, NULL, &lane->stream);
    return rc < 0 ? rc : echo_once(lane, 0);
}

/* Looks at the server's memory. */
static void look(struct bench *bench, enum bench_memory when)
{
    if (bench->options->pid != 0)
        bench->usage_rc = process_usage(&bench->process, &bench->memory[when]);
}

static int open_all(struct bench *bench)
{
    pattern_init();
    look(bench, BENCH_MEMORY_BEFORE);
    for (uint32_t i = 0; i < bench->lane_count; i++) {
        int rc = open_lane(&bench->lanes[i]);
        if (rc < 0 && !bench->stopped) {
            const char *name = NULL;
            const char *text = bench_explain(rc, &name);
            output_error("%s: connection %" PRIu32 " of %" PRIu32 ": %s (%s)", bench->target.text,
                         i + 1, bench->lane_count, text, name);
        }
        if (rc < 0)
            return rc;
    }
    return 0;
}

static void close_all(struct bench *bench)
{
    for (uint32_t i = 0; i < bench->lane_count; i++) {
        (void)ouro_stream_close(bench->lanes[i].stream); /* NULL where none is open */
        bench->lanes[i].stream = NULL;
    }
}

/* Whether each connection is still what it was. */
static void use_all(struct bench *bench)
{
    for (uint32_t i = 0; i < bench->lane_count && !bench->stopped; i++) {
        int64_t begin_ns = ouro_now_ns();
        bench->begun++;
        int rc = echo_once(&bench->lanes[i], 1);
        if (rc == 0) {
            bench_done(bench, begin_ns, ouro_now_ns());
        } else {
            bench_lose(bench, begin_ns);
            bench_fail(bench, rc);
        }
    }
}

static int idle_lane(void *arg)
{
    struct bench_lane *lane = arg;
    struct bench *bench = lane->bench;
    (void)ouro_sleep(bench->options->duration_ns); /* less when the run is stopped */
    look(bench, BENCH_MEMORY_HELD);
    use_all(bench);
    if (bench->options->settle_ns != 0 && !bench->stopped) {
        close_all(bench);
        if (ouro_sleep(bench->options->settle_ns) == 0)
            look(bench, BENCH_MEMORY_SETTLED);
    }
    bench_leave(lane);
    return 0;
}

const struct bench_kind bench_idle_kind = {
    .name = "idle",
    .unit = "connection",
    .connections = 1000,
    .size_bytes = 64,
    .has_size = true,
    .size_max = BENCH_MESSAGE_MAX,
    .is_idle = true,
    .open = open_all,
    .lane = idle_lane,
    .close = close_all,
};
