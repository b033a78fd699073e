/* SPDX-License-Identifier: MIT */
/*
 * Latency: the percentiles of a histogram, in JSON and as text.
 *
 * Owns:    nothing.
 * Threads: one at a time.
 */
#include "latency.h"

#include <stdio.h>

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

static double quantile_us(const struct histogram *histogram, double fraction)
{
    return (double)histogram_quantile(histogram, fraction) / 1e3;
}

int latency_set_json(json_t *object, const struct histogram *histogram)
{
    int rc = 0;
    for (size_t i = 0; i < QUANTILE_COUNT; i++)
        rc |= json_object_set_new(object, quantiles[i].name,
                                  json_real(quantile_us(histogram, quantiles[i].fraction)));
    return rc | json_object_set_new(object, "max", json_real((double)histogram->max_ns / 1e3));
}

void latency_print(const struct histogram *histogram)
{
    if (histogram->count == 0)
        return;
    printf("latency, us:");
    for (size_t i = 0; i < QUANTILE_COUNT; i++)
        printf("  %s %.1f", quantiles[i].label, quantile_us(histogram, quantiles[i].fraction));
    printf("  max %.1f\n", (double)histogram->max_ns / 1e3);
}
