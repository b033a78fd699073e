/* SPDX-License-Identifier: MIT */
/*
 * RelayWay: one direction of a relay.
 */
#ifndef OURO_STREAM_RELAY_WAY_H
#define OURO_STREAM_RELAY_WAY_H

#include "base/pipe_pool.h"
#include "stream/stream.h"

/* Pieces below this size are copied; a read of so much begins splicing. */
enum { OURO__RELAY_COPY_BYTES = 4096 };

/* What a direction asks for at a time, and holds at most in its pipe.  A pipe holds 16 pieces of
 * what has come, each of up to 32 KiB.  A sender's usual 64 KiB are half of it, so that a source
 * that has no more is known by the result. */
enum { OURO__RELAY_PIPE_BYTES = 131072 };

/* What it moves at most before other tasks have their turn. */
enum { OURO__RELAY_BURST_BYTES = 2 * OURO__RELAY_PIPE_BYTES };

struct ouro__relay_way {
    struct ouro_stream *from;
    struct ouro_stream *to;
    uint64_t *count; /* grows by what the kernel takes for @to */
    bool always_splices;
    bool cannot_splice; /* it may not, or the kernel has refused it for these streams */

    /* What follows is the way's own; zeroed. */
    struct ouro__pipe pipe; /* while has_pipe */
    size_t held;            /* bytes in it */
    bool has_pipe;
    bool holds_sigpipe; /* during splices; a program that ignores the signal saves the calls */
};

/*
 * Moves bytes until @from ends, and passes the end on.  The caller holds the two directions; the
 * context has a worker.
 * Errors: the first of a read or a write; those of every suspending call.
 */
int ouro__relay_way_run(struct ouro__relay_way *way, struct ouro__context *context);

#endif
