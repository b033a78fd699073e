/* SPDX-License-Identifier: MIT */
/*
 * A flow: messages that leave by one stream and must come back by another, or by the same.
 */
#ifndef OURO_CLI_BENCH_FLOW_H
#define OURO_CLI_BENCH_FLOW_H

#include "bench.h"

/* The two ends of a flow, and the key of its bytes (pattern.h). */
struct bench_path {
    struct ouro_stream *out;
    struct ouro_stream *in;
    uint64_t key;
};

/*
 * In a lane's task: sends messages of the lane as they are due, at most `depth` of them unanswered,
 * and checks every byte that comes.  Returns 0 when bench_is_over() and all messages have come, or
 * why the flow has failed: a code of the library or a bench_failure.  What was on its way then is
 * lost.  *out_answered is the number of messages that came, always.
 */
int bench_flow_run(struct bench_lane *lane, const struct bench_path *path, uint64_t *out_answered);

#endif
