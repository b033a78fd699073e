/* SPDX-License-Identifier: MIT */
/*
 * Stream: one type for every kind of byte stream.
 *
 * The public calls (stream.c) check their arguments, take the direction, and call the kind's
 * function: one indirect call for a read or a write.
 */
#ifndef OURO_STREAM_STREAM_H
#define OURO_STREAM_STREAM_H

#include "stream/descriptor.h"

#include <ouro/stream.h>

struct iovec;
struct ouro_loan;
struct ouro__loan_account;
struct ouro__loan_buffer;
struct ouro__loan_pool;
struct ouro__loan_send;
struct ouro__stream_meter;

/*
 * What one kind does.  The functions run with their direction held, and with at least one byte to
 * transfer; sizes are at most INT32_MAX.  @flags are MSG_PEEK for a peek, MSG_WAITALL for a write
 * that shall go on until all is written: a kind may end it short all the same.
 */
struct ouro__stream_kind {
    enum ouro_stream_kind id;
    ssize_t (*read)(struct ouro_stream *stream, struct ouro__context *context, void *buffer,
                    size_t size, uint32_t flags);
    ssize_t (*readv)(struct ouro_stream *stream, struct ouro__context *context,
                     const struct iovec *vectors, int count);
    ssize_t (*write)(struct ouro_stream *stream, struct ouro__context *context, const void *buffer,
                     size_t size, uint32_t flags);
    ssize_t (*writev)(struct ouro_stream *stream, struct ouro__context *context,
                      const struct iovec *vectors, int count);
    /* Waits until a read (OURO_READABLE) or a write (OURO_WRITABLE) may succeed or fail. */
    int (*await)(struct ouro_stream *stream, struct ouro__context *context, uint32_t interest);
    int (*shutdown)(struct ouro_stream *stream, enum ouro_shutdown how);
    /* Reads into a buffer of the driver's pool; after a result above 0 *out_buffer is the caller's.
     */
    ssize_t (*read_loan)(struct ouro_stream *stream, struct ouro__context *context,
                         struct ouro__loan_buffer **out_buffer);
};

extern const struct ouro__stream_kind ouro__stream_tcp;  /* socket_stream.c */
extern const struct ouro__stream_kind ouro__stream_unix; /* socket_stream.c */
extern const struct ouro__stream_kind ouro__stream_pipe; /* pipe.c */

/* Lies on the heap, from ouro__alloc(). */
struct ouro_stream {
    struct ouro__descriptor descriptor;
    const struct ouro__stream_kind *kind;
    /* NULL before the first read on loan, and the first send without a copy (loan.c). */
    _Atomic(struct ouro__loan_account *) loans;
    _Atomic bool
        is_known_outside;  /* the program has had the descriptor, and may have set options */
    bool is_known_to_read; /* a pipe's: its descriptor is not for writing only */
    struct ouro__stream_meter *meter; /* NULL: its bytes are not counted (meter.c) */
};

/* loan.c: whether buffers are on loan from @stream. */
bool ouro__loan_is_out(const struct ouro_stream *stream);

/* loan.c: the stream ends, and no call is in progress.  Errors: -OURO_ELOANED when buffers are on
 * loan from it; they may be released later all the same. */
int ouro__loan_close(struct ouro_stream *stream);

/*
 * loan.c: the loan becomes a send's, which returns the buffer with ouro__loan_came_back().  NULL,
 * and the loan is still the caller's: as many are lent as may be, it was released before, its
 * bytes are not in its buffer, or that is not of @pool.
 */
struct ouro__loan_buffer *ouro__loan_lend(struct ouro_loan *loan,
                                          const struct ouro__loan_pool *pool);
void ouro__loan_came_back(struct ouro__loan_buffer *buffer);

/* loan.c: what the stream keeps for write_loan.c, its last send without a copy; NULL: none.  The
 * writing direction is held. */
struct ouro__loan_send *ouro__loan_last_send(const struct ouro_stream *stream);
/* Keeps @send, and returns what was kept before; @send itself when there is no memory. */
struct ouro__loan_send *ouro__loan_keep_send(struct ouro_stream *stream,
                                             struct ouro__loan_send *send);

/* write_loan.c: @send is not kept any more.  NULL is ignored. */
void ouro__write_loan_forget(struct ouro__loan_send *send);

/* write_all.c, with the writing direction held: writes until all is written or something fails, and
 * counts in *written, from which it begins. */
int ouro__stream_write_rest(struct ouro_stream *stream, struct ouro__context *context,
                            const char *buffer, size_t size, size_t *written);

/* Takes @fd over, and a reference to @handle.  Registers nothing. */
static inline void ouro__stream_init(struct ouro_stream *stream,
                                     const struct ouro__stream_kind *kind,
                                     struct ouro_handle *handle, int fd)
{
    ouro__descriptor_init(&stream->descriptor, handle, fd);
    stream->kind = kind;
    ouro__atomic_init(&stream->loans, NULL);
    ouro__atomic_init(&stream->is_known_outside, false);
    stream->is_known_to_read = false;
    stream->meter = NULL;
}

/* Begins a public call: finds the caller's context and takes the direction. */
static OURO__ALWAYS_INLINE int ouro__stream_enter(struct ouro_stream *stream, unsigned lane,
                                                  struct ouro__context **out_context)
{
    int rc = ouro__context_enter(out_context);
    return rc < 0 ? rc : ouro__descriptor_enter(&stream->descriptor, lane);
}

static inline void ouro__stream_leave(struct ouro_stream *stream, unsigned lane)
{
    ouro__descriptor_leave(&stream->descriptor, lane);
}

#endif
