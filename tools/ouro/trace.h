/* SPDX-License-Identifier: MIT */
/*
 * A recorder for the library's trace points, and the table `ouro connect --trace` prints of them.
 */
#ifndef OURO_CLI_TRACE_H
#define OURO_CLI_TRACE_H

#include <jansson.h>
#include <ouro.h>
#include <stdatomic.h>
#include <stdbool.h>

/* One connect has about a dozen steps; a name with many dead addresses some hundreds. */
#define TRACE_EVENTS_MAX 1024

/* An event, with what it pointed to copied. */
struct trace_record {
    struct ouro_trace_event event;
    struct ouro_socket_addr addr;
    char name[32];
};

/* All zero is one that is switched off. */
struct trace {
    atomic_bool on;
    atomic_uint count;   /* may exceed what was kept */
    atomic_uint written; /* records that are complete */
    int64_t start_ns;
    enum ouro_driver_kind driver;
    struct trace_record records[TRACE_EVENTS_MAX];
};

/* For ouro_runtime_config.trace; @arg is the struct trace. */
void trace_callback(void *arg, const struct ouro_trace_event *event);

/* In a task: records from now on, and time begins. */
void trace_start(struct trace *trace);

void trace_stop(struct trace *trace);

/* The table, with a column that explains each step; for the caller to free().  NULL: no memory. */
char *trace_text(const struct trace *trace);

/* The same as an array of objects.  NULL without memory. */
json_t *trace_json(const struct trace *trace);

#endif
