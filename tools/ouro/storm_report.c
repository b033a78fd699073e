/* SPDX-License-Identifier: MIT */
/*
 * The result of a storm, as a table or as JSON.
 *
 * The rate counts connections that were made.  CPU time for a connect is the CPU time of the whole
 * process, its start included, divided by the number of connects that ended, failed ones included.
 *
 * Owns:    nothing.
 * Threads: one at a time.
 */
#include <inttypes.h>

#include "json_text.h"
#include "output.h"
#include "storm.h"

static const struct {
    const char *name;
    const char *label;
    double fraction;
} quantiles[] = {
    {"p50", "50 %", 0.5},
    {"p90", "90 %", 0.9},
    {"p99", "99 %", 0.99},
    {"p999", "99.9 %", 0.999},
};

#define QUANTILE_COUNT (sizeof(quantiles) / sizeof(quantiles[0]))

void storm_count_error(struct storm_counts *counts, int code)
{
    size_t i = 0;
    while (i < STORM_ERROR_KINDS_MAX - 1 && counts->errors[i].count != 0 &&
           counts->errors[i].code != code)
        i++;
    counts->errors[i].code = code;
    counts->errors[i].count++;
    counts->failed++;
}

static double seconds(const struct storm_counts *counts)
{
    return (double)(counts->end_ns - counts->begin_ns) / 1e9;
}

static double rate(const struct storm_counts *counts)
{
    return counts->connected > 0 ? (double)counts->connected / seconds(counts) : 0;
}

static double cpu_us(const struct storm_counts *counts)
{
    uint64_t ended = counts->connected + counts->failed;
    return ended > 0 ? (double)counts->cpu_ns / 1e3 / (double)ended : 0;
}

static double quantile_us(const struct storm_counts *counts, double fraction)
{
    return (double)histogram_quantile(&counts->latency, fraction) / 1e3;
}

static const char *error_name(const struct storm_counts *counts, size_t index)
{
    return index == STORM_ERROR_KINDS_MAX - 1 ? "other" : ouro_err_name(counts->errors[index].code);
}

static bool print_json(const struct storm_counts *counts, const struct connect_options *options)
{
    json_t *object =
        json_pack("{s:o,s:s,s:I,s:I,s:I,s:I,s:b,s:f,s:f,s:f}", "target",
                  json_text_string(options->target.text), "driver", cli_driver_name(counts->driver),
                  "count", (json_int_t)options->count, "concurrency",
                  (json_int_t)options->concurrency, "connected", (json_int_t)counts->connected,
                  "failed", (json_int_t)counts->failed, "interrupted", counts->signal != 0, "rate",
                  rate(counts), "secs", seconds(counts), "cpu_us", cpu_us(counts));
    int rc = 0;
    for (size_t i = 0; i < QUANTILE_COUNT; i++)
        rc |= json_object_set_new(object, quantiles[i].name,
                                  json_real(quantile_us(counts, quantiles[i].fraction)));
    rc |= json_object_set_new(object, "max", json_real((double)counts->latency.max_ns / 1e3));
    json_t *errors = json_object();
    for (size_t i = 0; i < STORM_ERROR_KINDS_MAX && counts->errors[i].count > 0; i++)
        rc |= json_object_set_new(errors, error_name(counts, i),
                                  json_integer((json_int_t)counts->errors[i].count));
    rc |= json_object_set_new(object, "errors", errors);
    if (rc != 0) { /* no memory: half a result is none */
        json_decref(object);
        object = NULL;
    }
    return json_text_print(object);
}

bool storm_print(const struct storm_counts *counts, const struct connect_options *options)
{
    if (options->json)
        return print_json(counts, options);

    printf("%" PRIu64 " connected%s, %" PRIu64 " failed, %.3f s, %" PRIu64
           " at a time, driver %s\n",
           counts->connected, counts->signal != 0 ? " (interrupted)" : "", counts->failed,
           seconds(counts), options->concurrency, cli_driver_name(counts->driver));
    printf("%.0f connects/s, %.2f us of CPU per connect\n", rate(counts), cpu_us(counts));
    if (counts->connected > 0) {
        printf("latency, us:");
        for (size_t i = 0; i < QUANTILE_COUNT; i++)
            printf("  %s %.1f", quantiles[i].label, quantile_us(counts, quantiles[i].fraction));
        printf("  max %.1f\n", (double)counts->latency.max_ns / 1e3);
    }
    for (size_t i = 0; i < STORM_ERROR_KINDS_MAX && counts->errors[i].count > 0; i++)
        printf("%10" PRIu64 "  %s%s%s\n", counts->errors[i].count, error_name(counts, i),
               i < STORM_ERROR_KINDS_MAX - 1 ? "  " : "",
               i < STORM_ERROR_KINDS_MAX - 1 ? ouro_strerror(counts->errors[i].code) : "");
    return output_flush();
}
