/* SPDX-License-Identifier: MIT */
/*
 * `ouro bench storm` and `ouro bench churn`: connections that are made to be closed.  A storm's do
 * nothing else; a churn's bring one message there and its echo back.
 *
 * Between two connections a lane reads the clock and increments a few numbers; it allocates nothing
 * and prints nothing.
 *
 * Owns:    a connection, the buffer: its lane.
 * Threads: the run's worker.
 */
#include <errno.h>
#include <stdlib.h>

#include "bench.h"
#include "bench_message.h"
#include "pattern.h"

/* One connection.  *out_end_ns is when it had done its work, before it was closed. */
static int connect_once(const struct bench_lane *lane, char *buffer, int64_t *out_end_ns)
{
    const struct bench_options *options = lane->bench->options;
    const uint64_t key = lane->next * lane->bench->lane_count + lane->index;
    struct ouro_stream *stream = NULL;
    int rc = target_connect(&lane->bench->target, bench_close_flag(lane->bench), INT64_MAX, NULL,
                            &stream);
    if (rc == 0 && buffer != NULL)
        rc = bench_message_echo(stream, key, 0, buffer, (size_t)options->size_bytes);
    *out_end_ns = ouro_now_ns();
    (void)ouro_stream_close(stream); /* NULL when it is not connected */
    return rc;
}

static int connect_in_time(const struct bench_lane *lane, char *buffer, int64_t *out_end_ns)
{
    const int64_t timeout_ns = lane->bench->options->timeout_ns;
    if (timeout_ns == INT64_MAX)
        return connect_once(lane, buffer, out_end_ns);
    struct ouro_deadline limit;
    int rc = ouro_deadline_begin(&limit, timeout_ns);
    if (rc < 0)
        return rc;
    rc = connect_once(lane, buffer, out_end_ns);
    ouro_deadline_end(&limit);
    return rc;
}

static void run_lane(struct bench_lane *lane, char *buffer)
{
    struct bench *bench = lane->bench;
    for (;;) {
        int64_t now_ns = ouro_now_ns();
        int64_t due_ns = bench_due_ns(lane, now_ns);
        if (bench_is_over(lane, due_ns, now_ns))
            return;
        if (due_ns > now_ns) {
            if (ouro_sleep(due_ns - now_ns) < 0)
                return;
            continue;
        }
        bench_take(lane, due_ns);
        int64_t end_ns = now_ns;
        int rc = connect_in_time(lane, buffer, &end_ns);
        if (rc == 0) {
            bench_done(bench, due_ns, end_ns);
        } else {
            bench_lose(bench, due_ns);
            bench_fail(bench, rc);
            (void)ouro_yield(); /* a connect that fails at once never waited */
        }
    }
}

static int storm_lane(void *arg)
{
    run_lane(arg, NULL);
    bench_leave(arg);
    return 0;
}

static int churn_lane(void *arg)
{
    struct bench_lane *lane = arg;
    char *buffer = malloc((size_t)lane->bench->options->size_bytes);
    if (buffer != NULL)
        run_lane(lane, buffer);
    else
        bench_fail(lane->bench, -ENOMEM);
    free(buffer);
    bench_leave(lane);
    return 0;
}

static int open_churn(struct bench *bench)
{
    (void)bench;
    pattern_init();
    return 0;
}

const struct bench_kind bench_storm_kind = {
    .name = "storm",
    .unit = "connect",
    .connections = 64,
    .lane = storm_lane,
};

const struct bench_kind bench_churn_kind = {
    .name = "churn",
    .unit = "connection",
    .connections = 64,
    .size_bytes = 64,
    .has_size = true,
    .size_max = BENCH_MESSAGE_MAX,
    .open = open_churn,
    .lane = churn_lane,
};
