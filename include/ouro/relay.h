/* SPDX-License-Identifier: MIT */
/*
 * Relay: the bytes of one stream go to another, in both directions, until both have ended.
 *
 *     struct ouro_relay_counts counts;
 *     int rc = ouro_relay(client, server, NULL, &counts);
 *     ouro_stream_close(server);
 *     ouro_stream_close(client);
 *
 * When one stream ends, the other one's write half is shut down, and the opposite direction goes
 * on: half-closed connections work through a relay.
 *
 * How the bytes go: what arrives in small pieces is copied through a buffer of 4 KiB on the
 * caller's stack.  When a read has filled that buffer, more is waiting, and the direction goes on
 * with splice(2), through a pipe, without a copy.  It returns to the buffer when less than 4 KiB
 * arrive at a time.  Where the kernel refuses splice(2), or no pipe can be made, all is copied.
 * Flags force one of the two ways; tools/bench/compare measures both (docs/PERFORMANCE.md).
 *
 * A relay passes on what has come; whether TCP sends it at once is the socket's affair: without
 * TCP_NODELAY (ouro_tcp_stream_set_nodelay()) the last piece of a message may wait for an
 * acknowledgement, for up to 40 ms.
 *
 * What a relay holds: the caller's task and one more, on the caller's worker; and while bytes are
 * under way, one pipe a direction.  A reader that does not read makes its direction hold at most
 * 128 KiB, and the relay stops reading from the other side.  An idle relay holds no pipe; a worker
 * keeps up to four empty pipes for its next relays until the runtime ends.
 */
#ifndef OURO_RELAY_H
#define OURO_RELAY_H

#include <ouro/api.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ouro_stream;

/* Only the bytes of the first stream go to the second; nothing is read from the second.  Both may
 * be the same stream. */
#define OURO_RELAY_F_ONE_WAY (1u << 0)
/* Always copy: for messages that a program knows to be small. */
#define OURO_RELAY_F_COPY (1u << 1)
/* Splice from the first byte on, however little comes at a time: for bulk data.  What cannot be
 * spliced is copied. */
#define OURO_RELAY_F_SPLICE (1u << 2)

/* Start from OURO_RELAY_OPTIONS_INIT; fields are only ever appended. */
struct ouro_relay_options {
    size_t size;    /* sizeof(struct ouro_relay_options) */
    uint32_t flags; /* OURO_RELAY_F_... */
    /*
     * The relay ends with -ETIMEDOUT when for so long no byte has been passed on in either
     * direction.  0: no limit.  The end may come up to a quarter of the time later.
     */
    int64_t idle_timeout_ns;
};

#define OURO_RELAY_OPTIONS_INIT                                                                    \
    {                                                                                              \
        sizeof(struct ouro_relay_options), 0, 0                                                    \
    }

/* The bytes that the kernel took for each stream.  What was read from one side and not yet taken
 * for the other, when a relay fails, is not counted. */
struct ouro_relay_counts {
    uint64_t first_to_second;
    uint64_t second_to_first;
};

/*
 * Relays between @first and @second until both have ended; with OURO_RELAY_F_ONE_WAY until @first
 * has ended.  An error of either stream ends both directions, and so does an interruption of the
 * caller (cancellation, a deadline, shutdown).  The caller then closes the streams: bytes that were
 * under way are lost.
 *
 * The end of a stream is passed on by a shutdown of the other's write half.  A pipe has none: it is
 * for one-way relays, and the caller passes the end on by closing it.
 *
 * During the relay other calls that read or write the streams return -EBUSY.  A close of one of
 * them ends the relay with -ECANCELED.  If that stream had ended already, this happens when the
 * other one brings the next byte, and the close waits until then; so cancel the relay instead.
 *
 * Suspends: until both directions have ended.
 * Owns:     the streams remain the caller's and must not be released meanwhile.  @options (NULL:
 *           the defaults) is borrowed.  *out_counts (NULL: not wanted) is set whatever is returned,
 *           and grows while the relay runs: a task on the caller's worker may read it.
 * Errors:   the first error of a read or a write (-ECONNRESET, -EPIPE, ...); -ETIMEDOUT after the
 *           idle time; -EBUSY while another call is in progress on one of the streams; -EBADF for
 *           the wrong end of a pipe; -EINVAL for NULL, one stream in both places without ONE_WAY,
 *           COPY with SPLICE, unknown flags or a negative time; -OURO_ETIMEDISABLED for an idle
 *           time in a runtime without time; -ENOMEM, -EAGAIN as ouro_task_spawn(); those of every
 *           suspending call.
 * Since:    0.3
 */
OURO_API int ouro_relay(struct ouro_stream *first, struct ouro_stream *second,
                        const struct ouro_relay_options *options,
                        struct ouro_relay_counts *out_counts) OURO_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
