/* SPDX-License-Identifier: MIT */
/*
 * Meter: counts and limits the bytes of a socket stream, where somebody asks for it.
 */
#ifndef OURO_STREAM_METER_H
#define OURO_STREAM_METER_H

#include "base/atomic.h"
#include "stream/stream.h"

/* What several streams have in common: their limits, and the sums of their bytes. */
struct ouro__meter_group {
    uint64_t received_max; /* bytes of one stream; UINT64_MAX: no limit */
    uint64_t sent_max;
    _Atomic uint64_t received; /* by all */
    _Atomic uint64_t sent;
};

/* The bytes of one stream.  A count has one writer at a time: who holds that direction. */
struct ouro__stream_meter {
    struct ouro__meter_group *group;
    struct ouro__counter received; /* UINT64_MAX is never reached */
    struct ouro__counter sent;
    _Atomic bool has_met_limit; /* a call has failed with -OURO_EBYTELIMIT */
};

/* From now on the bytes of @stream, a socket stream that nobody uses yet, are counted in @meter,
 * which lives as long as the stream. */
void ouro__stream_meter(struct ouro_stream *stream, struct ouro__stream_meter *meter,
                        struct ouro__meter_group *group);

/* Begins to count anew.  No call is in progress on the stream. */
void ouro__stream_meter_restart(struct ouro__stream_meter *meter);

/*
 * For calls that move bytes by other means than the functions of the kind, with the direction held.
 * Where nothing is counted they do nothing.
 *
 * may_send: how many of @size bytes may be sent, at least 1; -OURO_EBYTELIMIT for none.
 * sent, received: the result of the call, a number of bytes or an error, is counted and returned,
 * except that bytes beyond the limit are -OURO_EBYTELIMIT.
 */
ssize_t ouro__stream_meter_may_send(const struct ouro_stream *stream, size_t size);
ssize_t ouro__stream_meter_sent(const struct ouro_stream *stream, ssize_t n);
ssize_t ouro__stream_meter_received(const struct ouro_stream *stream, ssize_t n);

#endif
