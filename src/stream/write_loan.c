/* SPDX-License-Identifier: MIT */
/*
 * WriteLoan: writing a loan, and sending it without a copy where that is cheaper.
 *
 *     the loan --lend()--> a send, until the peer has acknowledged --came_back()--> the pool
 *
 * The kernel is asked once to send from the buffer.  What the socket does not take at once is
 * written from the same buffer with a copy, which can wait for room; so a slow peer never makes the
 * program wait for an acknowledgement.
 *
 * It is done where the caller, the stream's driver and the buffer's pool belong to the same worker:
 * a driver that closes cannot wait for acknowledgements, and only the buffers of its own pool are
 * used by nobody afterwards (registry/zero_copy.c).
 *
 * A send lies on the heap: it lives longer than the call, and often longer than the stream.  The
 * stream keeps its last one, to hear what the kernel reports of it: a stream whose bytes the kernel
 * copies all the same (loopback) is left alone.
 *
 * Owns:    the send: one reference each of the call, of the driver until the memory has come back,
 *          and of the stream.  The first two also hold the buffer: the call may have to write a
 *          rest from it after the kernel has given it back.
 * Threads: any; without a copy only the worker's.
 * Always:  the loan is the library's from the moment in which the writing direction was taken.
 * Tests:   tests/stream/test_write_loan.c
 */
#include <ouro/loan.h>

#include "base/alloc.h"
#include "registry/loan_pool.h"
#include "stream/meter.h"
#include "stream/stream.h"
#include "task/handle.h"
#include "task/worker.h"

#include <errno.h>

enum { REPORT_NONE = 0, REPORT_COPIED, REPORT_NOT_COPIED };

struct ouro__loan_send {
    struct ouro__zero_copy_op zero_copy;
    struct ouro__loan_buffer *buffer;
    _Atomic uint32_t holders; /* of the buffer */
    _Atomic uint32_t references;
    _Atomic uint32_t report;
};

static void unref(struct ouro__loan_send *send)
{
    if (ouro__fetch_sub(&send->references, 1, memory_order_acq_rel) == 1)
        ouro__free(send);
}

void ouro__write_loan_forget(struct ouro__loan_send *send)
{
    if (send != NULL)
        unref(send);
}

/* The call, or the driver, does not use the buffer any more. */
static void leave(struct ouro__loan_send *send)
{
    if (ouro__fetch_sub(&send->holders, 1, memory_order_acq_rel) == 1)
        ouro__loan_came_back(send->buffer);
    unref(send);
}

static void came_back(struct ouro__zero_copy_op *zero_copy)
{
    struct ouro__loan_send *send = OURO__CONTAINER_OF(zero_copy, struct ouro__loan_send, zero_copy);
    ouro__store(&send->report, zero_copy->was_copied ? REPORT_COPIED : REPORT_NOT_COPIED,
                memory_order_relaxed);
    leave(send);
}

static bool is_known_to_copy(const struct ouro_stream *stream)
{
    const struct ouro__loan_send *last = ouro__loan_last_send(stream);
    return last != NULL && ouro__load(&last->report, memory_order_relaxed) == REPORT_COPIED;
}

/* The pool that the loan must be of for a send without a copy; NULL: it is to be copied. */
static const struct ouro__loan_pool *pool_to_lend_from(struct ouro_stream *stream,
                                                       struct ouro__context *context, size_t size)
{
    const enum ouro_zero_copy mode = stream->descriptor.handle->config.zero_copy;
    struct ouro__driver_handle *handle = NULL;
    if (OURO__LIKELY(!ouro__zero_copy_is_allowed(mode, size)) ||
        (mode != OURO_ZERO_COPY_ALWAYS && is_known_to_copy(stream)))
        return NULL;
    if (stream->kind->id != OURO_STREAM_TCP || context->worker == NULL ||
        ouro__descriptor_register(&stream->descriptor, context, &handle) < 0 ||
        handle != &context->worker->io.handle ||
        !ouro__zero_copy_is_wanted(&handle->zero_copy, size, handle->moved_bytes))
        return NULL;
    return ouro__load(&handle->loans, memory_order_relaxed);
}

/* A send that has taken the loan, or NULL: the loan is to be copied. */
static struct ouro__loan_send *begin_send(struct ouro_stream *stream, struct ouro__context *context,
                                          struct ouro_loan *loan)
{
    const struct ouro__loan_pool *pool = pool_to_lend_from(stream, context, loan->size);
    if (OURO__LIKELY(pool == NULL))
        return NULL;
    struct ouro__loan_send *send = ouro__alloc(sizeof(*send));
    if (send == NULL)
        return NULL;
    send->buffer = ouro__loan_lend(loan, pool);
    if (send->buffer == NULL) {
        ouro__free(send);
        return NULL;
    }
    ouro__atomic_init(&send->holders, 2); /* the call and the driver, as the next */
    ouro__atomic_init(&send->references, 2);
    ouro__atomic_init(&send->report, REPORT_NONE);
    send->zero_copy.came_back = came_back;
    ouro__op_init(&send->zero_copy.op, OURO__OP_SEND_ZERO_COPY, OURO__LANE_SLOT);
    return send;
}

/* The kernel does not send so.  (-ENOMEM: RLIMIT_MEMLOCK is too small.) */
static bool is_refusal(ssize_t n)
{
    return n == -EINVAL || n == -EOPNOTSUPP || n == -ENOMEM;
}

/* The kernel did not send so: the bytes are copied instead. */
static bool is_to_be_copied(ssize_t n)
{
    return is_refusal(n) || n == -EAGAIN || n == -EINTR || n == -ENOBUFS;
}

/* Asks the kernel once.  0: what is missing in *written is to be copied. */
static int try_send(struct ouro_stream *stream, struct ouro__context *context,
                    struct ouro__loan_send *send, const char *data, size_t size, size_t *written)
{
    struct ouro__op *op = &send->zero_copy.op;
    ssize_t n = ouro__stream_meter_may_send(stream, ouro__op_clamp(size));
    if (n < 0)
        return (int)n;
    op->arg.io.buffer = (void *)(uintptr_t)data; /* only read */
    op->arg.io.size = (size_t)n;
    n = ouro__stream_meter_sent(stream, ouro__descriptor_await(&stream->descriptor, context, op));
    if (is_refusal(n))
        context->worker->io.handle.zero_copy.is_refused = true;
    if (is_to_be_copied(n))
        return 0;
    *written = n > 0 ? (size_t)n : 0;
    return n < 0 ? (int)n : 0;
}

/* The memory of @send is lent: the stream will want to know what becomes of it. */
static void keep(struct ouro_stream *stream, struct ouro__loan_send *send)
{
    (void)ouro__fetch_add(&send->references, 1, memory_order_relaxed);
    ouro__write_loan_forget(ouro__loan_keep_send(stream, send));
}

static int write_with(struct ouro_stream *stream, struct ouro__context *context,
                      struct ouro__loan_send *send, const char *data, size_t size, size_t *written)
{
    int rc = try_send(stream, context, send, data, size, written);
    bool is_lent = ouro__zero_copy_has_lent(&send->zero_copy.op);
    if (is_lent)
        keep(stream, send);
    if (rc == 0)
        rc = ouro__stream_write_rest(stream, context, data, size, written);
    if (!is_lent)
        leave(send); /* for the driver, which never had it */
    leave(send);
    return rc;
}

int ouro_stream_write_loan(struct ouro_stream *stream, struct ouro_loan *loan, size_t *out_written)
{
    struct ouro__context *context = NULL;
    size_t written = 0;
    int rc = stream == NULL || loan == NULL || (loan->data == NULL && loan->size > 0) ? -EINVAL : 0;
    if (OURO__LIKELY(rc == 0))
        rc = ouro__stream_enter(stream, OURO__LANE_WRITE, &context);
    if (OURO__LIKELY(rc == 0)) {
        const char *data = loan->data;
        const size_t size = loan->size;
        struct ouro__loan_send *send = begin_send(stream, context, loan);
        if (OURO__LIKELY(send == NULL)) {
            rc = ouro__stream_write_rest(stream, context, data, size, &written);
            ouro_loan_release(loan);
        } else {
            rc = write_with(stream, context, send, data, size, &written);
        }
        ouro__stream_leave(stream, OURO__LANE_WRITE);
    }
    if (out_written != NULL)
        *out_written = written;
    return rc;
}
