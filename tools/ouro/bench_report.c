/* SPDX-License-Identifier: MIT */
/*
 * The result of a run of `ouro bench`, as text or as JSON.
 *
 * The generator and the server share the machine, and what a rate says depends on which of them had
 * no time left.  So the report has the CPU time of both, and says when the generator was busy for
 * nearly all of the time: then the rate is the generator's, and the latencies contain its queue.
 *
 * Owns:    nothing.
 * Threads: one at a time.
 */
#include <inttypes.h>

#include "bench.h"
#include "json_text.h"
#include "latency.h"
#include "output.h"

#define LIMIT_BUSY 0.95 /* of a core: so busy a generator is the limit */

static double per_second(const struct bench *bench)
{
    double secs = bench_secs(bench);
    return secs > 0 ? (double)bench->done / secs : 0;
}

static double cores(const struct bench *bench, int64_t cpu_ns)
{
    int64_t ns = bench->sampled_ns[1] - bench->sampled_ns[0];
    return ns > 0 ? (double)cpu_ns / (double)ns : 0;
}

static double us_each(const struct bench *bench, int64_t cpu_ns)
{
    return bench->done > 0 ? (double)cpu_ns / 1e3 / (double)bench->done : 0;
}

/* Of the generator, while it was measured. */
static int64_t own_cpu_ns(const struct bench *bench)
{
    return bench->sampled_ns[1] != 0 ? bench->own_cpu_ns[1] - bench->own_cpu_ns[0] : 0;
}

static bool is_server_known(const struct bench *bench)
{
    return bench->options->pid != 0 && bench->usage_rc == 0 && bench->sampled_ns[1] != 0;
}

/* A descendant that ends without being waited for takes its time with it. */
static int64_t server_cpu_ns(const struct bench *bench)
{
    int64_t ns = bench->usage[1].cpu_ns - bench->usage[0].cpu_ns;
    return ns > 0 ? ns : 0;
}

static bool is_generator_the_limit(const struct bench *bench)
{
    return cores(bench, own_cpu_ns(bench)) >= LIMIT_BUSY;
}

static int set_load(json_t *object, const struct bench_options *options)
{
    const struct bench_kind *kind = options->kind;
    int rc = 0;
    rc |=
        json_object_set_new(object, "connections", json_integer((json_int_t)options->connections));
    if (kind->has_size)
        rc |= json_object_set_new(object, "size", json_integer((json_int_t)options->size_bytes));
    if (kind->has_depth)
        rc |= json_object_set_new(object, "depth", json_integer((json_int_t)options->depth));
    if (kind->has_sink)
        rc |= json_object_set_new(object, "directions", json_integer(options->both ? 2 : 1));
    if (!kind->is_idle)
        rc |= json_object_set_new(object, "rate_asked",
                                  options->rate != 0 ? json_integer((json_int_t)options->rate)
                                                     : json_null());
    return rc;
}

static int set_rate(json_t *object, const struct bench *bench)
{
    const struct bench_options *options = bench->options;
    double rate = per_second(bench);
    int rc = json_object_set_new(object, "unsent", json_integer((json_int_t)bench->unsent));
    rc |= json_object_set_new(object, "rate", json_real(rate));
    if (options->kind->has_size)
        rc |= json_object_set_new(object, "bytes_rate",
                                  json_real(rate * (double)options->size_bytes));
    return rc;
}

/* What a connection costs the server, in bytes. */
static double memory_each(const struct bench *bench)
{
    double before = (double)bench->memory[BENCH_MEMORY_BEFORE].rss_bytes;
    double held = (double)bench->memory[BENCH_MEMORY_HELD].rss_bytes;
    return (held - before) / bench->lane_count;
}

static json_t *memory_json(const struct bench *bench)
{
    if (!is_server_known(bench))
        return json_null();
    const struct process_usage *memory = bench->memory;
    json_t *settled = bench->options->settle_ns != 0
                          ? json_integer((json_int_t)memory[BENCH_MEMORY_SETTLED].rss_bytes)
                          : json_null();
    return json_pack("{s:I,s:I,s:o,s:f}", "before",
                     (json_int_t)memory[BENCH_MEMORY_BEFORE].rss_bytes, "held",
                     (json_int_t)memory[BENCH_MEMORY_HELD].rss_bytes, "settled", settled,
                     "per_connection", memory_each(bench));
}

static int set_result(json_t *object, const struct bench *bench)
{
    int rc = json_object_set_new(object, "secs", json_real(bench_secs(bench)));
    rc |= json_object_set_new(object, "done", json_integer((json_int_t)bench->done));
    rc |= json_object_set_new(object, "lost", json_integer((json_int_t)bench->lost));
    rc |= bench->options->kind->is_idle ? json_object_set_new(object, "memory", memory_json(bench))
                                        : set_rate(object, bench);
    rc |= latency_set_json(object, &bench->latency);
    rc |= json_object_set_new(object, "errors", tally_json(&bench->errors));
    return rc;
}

static json_t *server_json(const struct bench *bench)
{
    if (bench->options->pid == 0)
        return json_null();
    if (!is_server_known(bench))
        return json_pack("{s:I,s:s}", "pid", (json_int_t)bench->options->pid, "error",
                         ouro_err_name(bench->usage_rc));
    const struct process_usage *usage = &bench->usage[1];
    return json_pack("{s:I,s:f,s:f,s:I,s:I,s:I}", "pid", (json_int_t)bench->options->pid, "cpu_us",
                     us_each(bench, server_cpu_ns(bench)), "busy",
                     cores(bench, server_cpu_ns(bench)), "processes", (json_int_t)usage->processes,
                     "threads", (json_int_t)usage->threads, "rss", (json_int_t)usage->rss_bytes);
}

static json_t *generator_json(const struct bench *bench)
{
    return json_pack("{s:f,s:f,s:b}", "cpu_us", us_each(bench, own_cpu_ns(bench)), "busy",
                     cores(bench, own_cpu_ns(bench)), "limit", is_generator_the_limit(bench));
}

static bool print_json(const struct bench *bench)
{
    const struct bench_options *options = bench->options;
    json_t *object =
        json_pack("{s:s,s:s,s:o,s:s,s:b}", "bench", options->kind->name, "unit",
                  options->kind->unit, "target", json_text_string(options->target.text), "driver",
                  cli_driver_name(bench->driver), "interrupted", bench->signal != 0);
    int rc = object == NULL;
    rc |= set_load(object, options);
    rc |= set_result(object, bench);
    rc |= json_object_set_new(object, "server", server_json(bench));
    rc |= json_object_set_new(object, "generator", generator_json(bench));
    if (rc != 0) { /* no memory: half a result is none */
        json_decref(object);
        object = NULL;
    }
    return json_text_print(object);
}

static void print_load(const struct bench *bench)
{
    const struct bench_options *options = bench->options;
    printf("%s %s: %" PRIu64 " connections", options->kind->name, options->target.text,
           options->connections);
    if (options->kind->has_size)
        printf(", %" PRIu64 " bytes", options->size_bytes);
    if (options->kind->has_depth)
        printf(", depth %" PRIu64, options->depth);
    if (options->kind->has_sink)
        printf(", %s", options->both ? "both directions" : "one direction");
    if (options->rate != 0)
        printf(", %" PRIu64 " %ss/s asked for", options->rate, options->kind->unit);
    printf(", driver %s\n", cli_driver_name(bench->driver));
}

static void print_server(const struct bench *bench)
{
    const struct bench_options *options = bench->options;
    if (options->pid == 0)
        return;
    if (!is_server_known(bench)) {
        printf("server: process %" PRIu64 ": %s\n", options->pid,
               bench->usage_rc == 0 ? "not measured" : ouro_strerror(bench->usage_rc));
        return;
    }
    const struct process_usage *usage = &bench->usage[1];
    printf("server: %.2f us of CPU per %s, %.2f cores busy, %.1f MiB; %u processes, %u threads\n",
           us_each(bench, server_cpu_ns(bench)), options->kind->unit,
           cores(bench, server_cpu_ns(bench)), (double)usage->rss_bytes / 1048576, usage->processes,
           usage->threads);
}

static void print_memory(const struct bench *bench)
{
    if (!is_server_known(bench))
        return;
    const struct process_usage *memory = bench->memory;
    printf("memory: %.0f bytes for each connection; %.1f MiB before, %.1f MiB with %" PRIu32,
           memory_each(bench), (double)memory[BENCH_MEMORY_BEFORE].rss_bytes / 1048576,
           (double)memory[BENCH_MEMORY_HELD].rss_bytes / 1048576, bench->lane_count);
    if (bench->options->settle_ns != 0)
        printf(", %.1f MiB after them", (double)memory[BENCH_MEMORY_SETTLED].rss_bytes / 1048576);
    printf("\n");
}

static void print_rate(const struct bench *bench)
{
    const struct bench_options *options = bench->options;
    printf("%.0f %ss/s", per_second(bench), options->kind->unit);
    if (options->kind->has_size)
        printf(", %.2f MB/s", per_second(bench) * (double)options->size_bytes / 1e6);
    printf("\n");
}

bool bench_print(const struct bench *bench)
{
    const struct bench_options *options = bench->options;
    const char *unit = options->kind->unit;
    if (options->json)
        return print_json(bench);
    print_load(bench);
    printf("%" PRIu64 " %ss%s in %.3f s%s, %" PRIu64 " lost", bench->done, unit,
           options->kind->is_idle ? " held" : "", bench_secs(bench),
           bench->signal != 0 ? " (interrupted)" : "", bench->lost);
    if (bench->unsent > 0)
        printf(", %" PRIu64 " due and not sent", bench->unsent);
    printf("\n");
    if (options->kind->is_idle)
        print_memory(bench);
    else
        print_rate(bench);
    latency_print(&bench->latency);
    print_server(bench);
    printf("generator: %.2f us of CPU per %s, %.2f cores busy%s\n",
           us_each(bench, own_cpu_ns(bench)), unit, cores(bench, own_cpu_ns(bench)),
           is_generator_the_limit(bench) ? ": the generator was the limit, not the server" : "");
    tally_print(&bench->errors);
    return output_flush();
}
