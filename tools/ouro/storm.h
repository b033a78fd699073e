/* SPDX-License-Identifier: MIT */
/*
 * What a storm of connects counts, and how it is printed.
 */
#ifndef OURO_CLI_STORM_H
#define OURO_CLI_STORM_H

#include "connect.h"
#include "histogram.h"

#define STORM_ERROR_KINDS_MAX 32

struct storm_counts {
    uint64_t started; /* connected + failed, and those under way */
    uint64_t connected;
    uint64_t failed;
    struct {
        int code;
        uint64_t count;
    } errors[STORM_ERROR_KINDS_MAX]; /* the last stands for all further kinds */
    int64_t begin_ns, end_ns;
    int64_t cpu_ns; /* of the process, from its start to the end of the storm */
    int signal;     /* that ended the storm early; 0 */
    enum ouro_driver_kind driver;
    struct histogram latency; /* of the successful ones */
};

/* Counts a failure under its code. */
void storm_count_error(struct storm_counts *counts, int code);

/* To stdout, for people or as a JSON object.  False when it could not be written. */
bool storm_print(const struct storm_counts *counts, const struct connect_options *options);

#endif
