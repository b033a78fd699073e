/* SPDX-License-Identifier: MIT */
/*
 * Reading on loan: the bytes arrive in a buffer of the runtime's, which is the caller's until it
 * releases it.  Nothing is copied, and a stream that waits for data holds no buffer.
 *
 * Each worker has a pool of buffers.  A read takes one when data is there.  The pool makes buffers
 * as they are needed, up to a limit (loan_buffer_bytes and loan_buffers of ouro_runtime_config), so
 * it has as many as were needed at a time.  At the limit, and when the system has no memory, the
 * read waits until a buffer is released; reads that wait get buffers in the order in which they
 * began to wait, and no data is lost meanwhile.  Buffers that were not needed for a second or two
 * give their memory back to the system.
 *
 * What an idle connection costs: a task that waits in ouro_stream_read_loan() takes one page for
 * its stack and some 330 bytes for the stream, 4.4 KiB in all where pages are 4 KiB.  It needs a
 * second page when the frames of its functions are larger than about 2 KiB together; a large local
 * array counts even if it is not used.  In ouro_serve() a connection takes 200 bytes more; in
 * request mode it takes 512 bytes in all, because there it has no task (ouro/serve.h).
 *
 *     struct ouro_loan loan;
 *     ssize_t n = ouro_stream_read_loan(stream, &loan);
 *     if (n > 0) {
 *         use(loan.data, loan.size);
 *         ouro_loan_release(&loan);
 *     }
 *
 * A loan that is held during a write is held until the peer reads, so a peer that never reads costs
 * a buffer until it is ended, by a deadline or by the idle limit of ouro_serve().  A stream holds
 * at most loans_per_stream of them.  A program that lowers loan_buffers saves that memory, and lets
 * as many such peers stop every other read on loan of their worker.
 *
 * Release a loan before waiting for the next, where that can be: streams that each hold one and
 * wait for another may together hold all buffers, and then they wait for ever.  ouro/reader.h keeps
 * to this rule.
 */
#ifndef OURO_LOAN_H
#define OURO_LOAN_H

#include <ouro/api.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ouro_stream;

/*
 * Bytes on loan.  A zeroed struct is a loan of nothing.  The struct may be moved; of several copies
 * only one may be released.
 */
struct ouro_loan {
    const void *data;   /* the first byte */
    size_t size;        /* how many there are; the caller may change both, release ignores them */
    uint64_t opaque[2]; /* the library's */
};

/*
 * Reads the bytes that have arrived, at most a buffer full, on loan.  The loan may outlive this
 * call, the stream and the runtime: its bytes stay valid and unchanged until it is released.
 *
 * A stream may have ouro_runtime_config.loans_per_stream loans at a time, so that one slow consumer
 * cannot take the whole pool.
 *
 * Suspends: until at least one byte and a buffer, the end of the stream or an error.
 * Owns:     after a result above 0 *out_loan is the caller's; release it with ouro_loan_release().
 *           After 0 it is a loan of nothing.  After an error it is unchanged.
 * Errors:   0 is the end of the stream; -OURO_ECREDIT when the stream has all its loans; -ENOMEM
 *           when there is no memory for the pool; else as ouro_stream_read().  An error, also
 *           -ETIMEDOUT and -ECANCELED, takes no bytes from the stream.
 * Threads:  as ouro_stream_read().
 * Since:    0.3
 */
OURO_API ssize_t ouro_stream_read_loan(struct ouro_stream *stream,
                                       struct ouro_loan *out_loan) OURO_MUST_CHECK;

/*
 * Writes all bytes of a loan and releases it: ouro_stream_write_all() and ouro_loan_release() in
 * one, without a copy of the bytes where that is cheaper.
 *
 * A send without a copy (IORING_OP_SEND_ZC, Linux 6.0) takes the bytes from the loan's buffer when
 * they leave the machine, and the buffer comes back when the peer has acknowledged them; the call
 * does not wait for that.  It is made on io_uring, for TCP, in a task whose worker has the stream
 * and the buffer, if the loan has at least 4 KiB, and if ouro_runtime_config.zero_copy says so:
 * by default where the worker has measured that it is cheaper.  In all other cases, on epoll and in
 * plain threads among them, the bytes are copied.  ouro_handle_zero_copy_metrics() counts.
 *
 * Loans that are being sent do not count for the credit of the stream that they were read from.  Of
 * each stream as many are sent at a time as it may have loans; further ones are copied.
 *
 * Suspends: as ouro_stream_write_all().
 * Owns:     takes the loan and zeroes *@loan, also when the write fails.  A call that may not write
 *           at all leaves it to the caller: -EINVAL, -EBUSY, -OURO_ENORUNTIME, -OURO_EFORKED, and
 *           -ECANCELED while the stream is being closed.  An ouro_loan_release() afterwards is
 *           right in every case.
 * Errors:   as ouro_stream_write_all(); *@out_written (may be NULL) is how many bytes were written.
 * Threads:  as ouro_stream_write().
 * Since:    0.3
 */
OURO_API int ouro_stream_write_loan(struct ouro_stream *stream, struct ouro_loan *loan,
                                    size_t *out_written) OURO_MUST_CHECK;

/*
 * Gives the buffer back and zeroes *@loan.  A loan of nothing, and NULL, are ignored.  A second
 * release of the same buffer, by a copy of the struct, stops the program with a message: the buffer
 * may have another connection's bytes by then.
 *
 * Owns:    takes the buffer.
 * Threads: any, inside a runtime or not; also after the stream was closed and the runtime freed.
 *          In a forked child it only zeroes *@loan.
 * Since:   0.3
 */
OURO_API void ouro_loan_release(struct ouro_loan *loan);

#ifdef __cplusplus
}
#endif

#endif
