/* SPDX-License-Identifier: MIT */
/*
 * `ouro connect --count`: the storm of `ouro bench storm`, for a number of connects, without a
 * warm-up, and with a report of its own.
 *
 * The rate counts connections that were made.  CPU time for a connect is the CPU time of the whole
 * process, its start included, divided by the number of connects that ended, failed ones included.
 *
 * Owns:    the run.
 * Threads: the main thread's.
 */
#include <inttypes.h>

#include "bench.h"
#include "connect.h"
#include "json_text.h"
#include "latency.h"
#include "output.h"

static double rate(const struct bench *bench)
{
    double secs = bench_secs(bench);
    return bench->done > 0 && secs > 0 ? (double)bench->done / secs : 0;
}

static double cpu_us(const struct bench *bench)
{
    uint64_t ended = bench->done + bench->lost;
    return ended > 0 ? (double)bench->own_cpu_ns[1] / 1e3 / (double)ended : 0;
}

static bool print_json(const struct bench *bench)
{
    const struct bench_options *options = bench->options;
    json_t *object =
        json_pack("{s:o,s:s,s:I,s:I,s:I,s:I,s:b,s:f,s:f,s:f}", "target",
                  json_text_string(options->target.text), "driver", cli_driver_name(bench->driver),
                  "count", (json_int_t)options->count, "concurrency",
                  (json_int_t)options->connections, "connected", (json_int_t)bench->done, "failed",
                  (json_int_t)bench->lost, "interrupted", bench->signal != 0, "rate", rate(bench),
                  "secs", bench_secs(bench), "cpu_us", cpu_us(bench));
    int rc = object == NULL;
    rc |= latency_set_json(object, &bench->latency);
    rc |= json_object_set_new(object, "errors", tally_json(&bench->errors));
    if (rc != 0) { /* no memory: half a result is none */
        json_decref(object);
        object = NULL;
    }
    return json_text_print(object);
}

static bool print(const struct bench *bench)
{
    if (bench->options->json)
        return print_json(bench);

    printf("%" PRIu64 " connected%s, %" PRIu64 " failed, %.3f s, %" PRIu64
           " at a time, driver %s\n",
           bench->done, bench->signal != 0 ? " (interrupted)" : "", bench->lost, bench_secs(bench),
           bench->options->connections, cli_driver_name(bench->driver));
    printf("%.0f connects/s, %.2f us of CPU per connect\n", rate(bench), cpu_us(bench));
    latency_print(&bench->latency);
    tally_print(&bench->errors);
    return output_flush();
}

int connect_storm(const struct connect_options *options)
{
    static struct bench bench; /* a part of it is a histogram of 270 KiB */
    const struct bench_options bench_options = {
        .kind = &bench_storm_kind,
        .target = options->target,
        .runtime = options->runtime,
        .connections = options->concurrency,
        .count = options->count,
        .duration_ns = INT64_MAX,
        .timeout_ns = options->timeout_ns,
        .json = options->json,
    };
    bench.options = &bench_options;
    return bench_run(&bench, print);
}
