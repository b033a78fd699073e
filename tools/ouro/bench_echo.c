/* SPDX-License-Identifier: MIT */
/*
 * `ouro bench echo`: messages to an echo server, on connections that stay.
 *
 * All connections are made before the clock starts, one after the other: a server that does not
 * take them all cannot be measured as asked.  One that fails later is counted, and made anew after
 * a pause, which grows while nothing comes back.
 *
 * Owns:    a connection: its lane.
 * Threads: the run's worker.
 */
#include <errno.h>
#include <inttypes.h>

#include "bench.h"
#include "bench_flow.h"
#include "output.h"
#include "pattern.h"

#define PAUSE_MIN_NS (10 * OURO_MILLISECOND)
#define PAUSE_MAX_NS OURO_SECOND

static int connect_lane(struct bench_lane *lane)
{
    const struct bench *bench = lane->bench;
    return target_connect(&bench->target, OURO_CONNECT_F_NODELAY | bench_close_flag(bench),
                          bench->options->timeout_ns, NULL, &lane->stream);
}

static void close_lane(struct bench_lane *lane)
{
    (void)ouro_stream_close(lane->stream);
    lane->stream = NULL;
}

static int open_all(struct bench *bench)
{
    pattern_init();
    for (uint32_t i = 0; i < bench->lane_count; i++) {
        int rc = connect_lane(&bench->lanes[i]);
        if (rc < 0 && !bench->stopped)
            output_error("%s: connection %" PRIu32 " of %" PRIu32 ": %s (%s)", bench->target.text,
                         i + 1, bench->lane_count, ouro_strerror(rc), ouro_err_name(rc));
        if (rc < 0)
            return rc;
    }
    return 0;
}

static void close_all(struct bench *bench)
{
    for (uint32_t i = 0; i < bench->lane_count; i++)
        close_lane(&bench->lanes[i]); /* NULL where none was opened */
}

/* Sends on one connection until the run or the connection ends. */
static int use(struct bench_lane *lane, uint64_t *out_answered)
{
    int rc = lane->stream == NULL ? connect_lane(lane) : 0;
    if (rc == 0) {
        struct bench_path path = {.out = lane->stream, .in = lane->stream, .key = lane->index};
        rc = bench_flow_run(lane, &path, out_answered);
    }
    close_lane(lane);
    return rc;
}

static int echo_lane(void *arg)
{
    struct bench_lane *lane = arg;
    struct bench *bench = lane->bench;
    int64_t good_ns = bench->start_ns; /* when an answer came last */
    int64_t pause_ns = PAUSE_MIN_NS;
    for (;;) {
        uint64_t answered = 0;
        int rc = use(lane, &answered);
        if (rc == 0)
            break;
        bench_fail(bench, rc);
        int64_t now_ns = ouro_now_ns();
        if (answered > 0) {
            good_ns = now_ns;
            pause_ns = PAUSE_MIN_NS;
        }
        if (bench_is_over(lane, bench_due_ns(lane, now_ns), now_ns) ||
            now_ns - good_ns >= bench->options->timeout_ns || ouro_sleep(pause_ns) < 0)
            break;
        pause_ns = pause_ns < PAUSE_MAX_NS / 2 ? 2 * pause_ns : PAUSE_MAX_NS;
    }
    bench_leave(lane);
    return 0;
}

const struct bench_kind bench_echo_kind = {
    .name = "echo",
    .unit = "message",
    .connections = 50,
    .size_bytes = 64,
    .depth = 1,
    .has_depth = true,
    .has_size = true,
    .open = open_all,
    .lane = echo_lane,
    .close = close_all,
};
