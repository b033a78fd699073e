/* SPDX-License-Identifier: MIT */
/*
 * Message: sent, received and checked by one task.
 *
 * Owns:    nothing.
 * Threads: the run's worker.
 */
#include "bench_message.h"

#include "bench.h"
#include "pattern.h"

int bench_message_echo(struct ouro_stream *stream, uint64_t key, uint64_t offset, char *buffer,
                       size_t size)
{
    int rc = ouro_stream_write_all(stream, pattern_at(key, offset), size, NULL);
    if (rc < 0)
        return rc;
    size_t received = 0;
    while (received < size) {
        ssize_t got = ouro_stream_read(stream, buffer + received, size - received);
        if (got < 0)
            return (int)got;
        if (got == 0)
            return BENCH_EARLY_END;
        received += (size_t)got;
    }
    return pattern_matches(key, offset, buffer, size) ? 0 : BENCH_WRONG_BYTES;
}
