/* SPDX-License-Identifier: MIT */
/*
 * The parts of `ouro connect`: its options, and the three things it can do with them.
 */
#ifndef OURO_CLI_CONNECT_H
#define OURO_CLI_CONNECT_H

#include "cli.h"
#include "cli_runtime.h"
#include "target.h"
#include "trace.h"

struct connect_options {
    struct target target;
    struct cli_runtime runtime;
    int64_t timeout_ns; /* of each connect; INT64_MAX: none */
    bool relay;
    bool json;
    bool trace;
    uint64_t count;       /* 0: one connection, no storm */
    uint64_t concurrency; /* of a storm */
};

/* One connection, with or without a relay.  Returns an exit code. */
int connect_once(const struct connect_options *options);

/* A storm of connections.  Returns an exit code. */
int connect_storm(const struct connect_options *options);

/*
 * In a task: copies stdin to the stream and the stream to stdout, until both have ended.  Reports
 * failures on stderr.  Returns an exit code; the stream remains the caller's.
 */
int relay_run(struct ouro_stream *stream);

#endif
