/* SPDX-License-Identifier: MIT */
/*
 * Latencies as the reports show them: a histogram's percentiles.
 */
#ifndef OURO_CLI_LATENCY_H
#define OURO_CLI_LATENCY_H

#include <jansson.h>

#include "histogram.h"

/* Sets p50, p90, p99, p999 and max, in microseconds.  Nonzero without memory. */
int latency_set_json(json_t *object, const struct histogram *histogram);

/* One line on stdout, nothing for an empty histogram. */
void latency_print(const struct histogram *histogram);

#endif
