/* SPDX-License-Identifier: MIT */
/*
 * Meter: counts and limits the bytes of a socket stream, where somebody asks for it.
 *
 * A stream whose bytes are counted is given another kind: its functions call those of the sockets
 * (socket_stream.c) and count.  So a read or write of any other stream costs nothing for this.
 *
 * A read is not made shorter by a limit: then one that has come to the limit could not tell the end
 * of the stream from another byte.  It fails when it has brought more than the limit, and what it
 * has brought is lost.  A write is cut short at the limit.
 *
 * A write of a Unix socket that goes on by itself after a part (MSG_WAITALL) would be counted when
 * it has ended.  The parts are counted one by one instead, because no other count tells whether the
 * peer of a Unix socket reads.  (For TCP the kernel tells.)
 *
 * Owns:    nothing; the meter is who attached it.
 * Threads: those of the stream; the sums any.
 * Always:  a byte is counted once, by the call that moves it.
 * Tests:   tests/net/test_serve_bytes.c
 */
#include "stream/meter.h"

#include "registry/lending.h"

#include <ouro/error.h>

#include <limits.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* The functions of both kinds of sockets are the same. */
#define SOCKET (&ouro__stream_tcp)

static ssize_t received(struct ouro__stream_meter *meter, ssize_t n)
{
    if (n <= 0)
        return n;
    ouro__counter_add(&meter->received, (uint64_t)n);
    (void)ouro__fetch_add(&meter->group->received, (uint64_t)n, memory_order_relaxed);
    if (OURO__LIKELY(ouro__counter_read(&meter->received) <= meter->group->received_max))
        return n;
    ouro__store(&meter->has_met_limit, true, memory_order_relaxed);
    return -OURO_EBYTELIMIT;
}

/* Whether a read has brought too much already. */
static bool is_over(const struct ouro__stream_meter *meter)
{
    return ouro__counter_read(&meter->received) > meter->group->received_max;
}

static ssize_t sent(struct ouro__stream_meter *meter, ssize_t n)
{
    if (n > 0) {
        ouro__counter_add(&meter->sent, (uint64_t)n);
        (void)ouro__fetch_add(&meter->group->sent, (uint64_t)n, memory_order_relaxed);
    }
    return n;
}

/* How many bytes may be sent; 0 is noted. */
static uint64_t left_to_send(struct ouro__stream_meter *meter)
{
    uint64_t left = meter->group->sent_max - ouro__counter_read(&meter->sent);
    if (OURO__UNLIKELY(left == 0))
        ouro__store(&meter->has_met_limit, true, memory_order_relaxed);
    return left;
}

static ssize_t metered_read(struct ouro_stream *stream, struct ouro__context *context, void *buffer,
                            size_t size, uint32_t flags)
{
    struct ouro__stream_meter *meter = stream->meter;
    if (OURO__UNLIKELY(is_over(meter)))
        return -OURO_EBYTELIMIT;
    ssize_t n = SOCKET->read(stream, context, buffer, size, flags);
    return (flags & MSG_PEEK) != 0 ? n : received(meter, n);
}

static ssize_t metered_readv(struct ouro_stream *stream, struct ouro__context *context,
                             const struct iovec *vectors, int count)
{
    if (OURO__UNLIKELY(is_over(stream->meter)))
        return -OURO_EBYTELIMIT;
    return received(stream->meter, SOCKET->readv(stream, context, vectors, count));
}

static ssize_t metered_read_loan(struct ouro_stream *stream, struct ouro__context *context,
                                 struct ouro__loan_buffer **out_buffer)
{
    if (OURO__UNLIKELY(is_over(stream->meter)))
        return -OURO_EBYTELIMIT;
    ssize_t n = SOCKET->read_loan(stream, context, out_buffer);
    ssize_t rc = received(stream->meter, n);
    if (OURO__UNLIKELY(n > 0 && rc < 0))
        (void)ouro__lending_return(*out_buffer, ouro__loan_buffer_word(*out_buffer));
    return rc;
}

static ssize_t metered_write(struct ouro_stream *stream, struct ouro__context *context,
                             const void *buffer, size_t size, uint32_t flags)
{
    uint64_t left = left_to_send(stream->meter);
    if (OURO__UNLIKELY(left == 0))
        return -OURO_EBYTELIMIT;
    if (stream->kind->id == OURO_STREAM_UNIX)
        flags &= ~(uint32_t)MSG_WAITALL;
    ssize_t n = SOCKET->write(stream, context, buffer, size < left ? size : (size_t)left, flags);
    return sent(stream->meter, n);
}

/* As many vectors as may be sent whole; when that is none, a part of the first. */
static ssize_t write_what_may_be(struct ouro_stream *stream, struct ouro__context *context,
                                 const struct iovec *vectors, int count, uint64_t left)
{
    int whole = 0;
    uint64_t sum = 0;
    while (whole < count && vectors[whole].iov_len <= left - sum)
        sum += vectors[whole++].iov_len;
    if (sum > 0)
        return SOCKET->writev(stream, context, vectors, whole);
    const struct iovec *first = &vectors[whole];
    return SOCKET->write(stream, context, first->iov_base,
                         first->iov_len < left ? first->iov_len : (size_t)left, 0);
}

static ssize_t metered_writev(struct ouro_stream *stream, struct ouro__context *context,
                              const struct iovec *vectors, int count)
{
    uint64_t left = left_to_send(stream->meter);
    if (OURO__UNLIKELY(left == 0))
        return -OURO_EBYTELIMIT;
    if (stream->meter->group->sent_max == UINT64_MAX)
        return sent(stream->meter, SOCKET->writev(stream, context, vectors, count));
    return sent(stream->meter, write_what_may_be(stream, context, vectors, count, left));
}

static int metered_await(struct ouro_stream *stream, struct ouro__context *context,
                         uint32_t interest)
{
    return SOCKET->await(stream, context, interest);
}

static int metered_shutdown(struct ouro_stream *stream, enum ouro_shutdown how)
{
    return SOCKET->shutdown(stream, how);
}

#define METERED(kind_id)                                                                           \
    {                                                                                              \
        .id = (kind_id), .read = metered_read, .readv = metered_readv, .write = metered_write,     \
        .writev = metered_writev, .await = metered_await, .shutdown = metered_shutdown,            \
        .read_loan = metered_read_loan,                                                            \
    }

static const struct ouro__stream_kind metered_tcp = METERED(OURO_STREAM_TCP);
static const struct ouro__stream_kind metered_unix = METERED(OURO_STREAM_UNIX);

void ouro__stream_meter(struct ouro_stream *stream, struct ouro__stream_meter *meter,
                        struct ouro__meter_group *group)
{
    meter->group = group;
    ouro__stream_meter_restart(meter);
    stream->kind = stream->kind->id == OURO_STREAM_TCP ? &metered_tcp : &metered_unix;
    stream->meter = meter;
}

void ouro__stream_meter_restart(struct ouro__stream_meter *meter)
{
    ouro__store(&meter->received.value, 0, memory_order_relaxed);
    ouro__store(&meter->sent.value, 0, memory_order_relaxed);
    ouro__store(&meter->has_met_limit, false, memory_order_relaxed);
}

ssize_t ouro__stream_meter_may_send(const struct ouro_stream *stream, size_t size)
{
    size = size < SSIZE_MAX ? size : SSIZE_MAX;
    if (OURO__LIKELY(stream->meter == NULL))
        return (ssize_t)size;
    uint64_t left = left_to_send(stream->meter);
    if (left == 0)
        return -OURO_EBYTELIMIT;
    return (ssize_t)(size < left ? size : left);
}

ssize_t ouro__stream_meter_sent(const struct ouro_stream *stream, ssize_t n)
{
    return OURO__LIKELY(stream->meter == NULL) ? n : sent(stream->meter, n);
}

ssize_t ouro__stream_meter_received(const struct ouro_stream *stream, ssize_t n)
{
    return OURO__LIKELY(stream->meter == NULL) ? n : received(stream->meter, n);
}
