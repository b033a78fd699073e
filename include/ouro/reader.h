/* SPDX-License-Identifier: MIT */
/*
 * Reader: buffered reading from a stream, for protocols made of lines and of messages of a known
 * size.
 *
 *     struct ouro_reader reader;
 *     const void *line;
 *     ssize_t n;
 *     ouro_reader_init(&reader, stream);
 *     while ((n = ouro_reader_read_until(&reader, "\r\n", 2, 8192, &line)) > 0)
 *         handle(line, (size_t)n);
 *     ouro_reader_fini(&reader);
 *
 * It reads on loan (ouro/loan.h).  A result points into the buffer on loan where it lies there in
 * one piece; a result that came in several pieces is put together in memory of the reader's.  A
 * reader holds one loan while there are bytes in it that the caller has not taken, and none while
 * it waits: an idle reader holds no buffer.  While its caller writes to a peer that does not read,
 * a reader keeps what it holds (ouro/loan.h).
 *
 * One task or thread uses a reader at a time.  Nobody else reads from its stream.  A pointer that a
 * call returns is valid until the next call on the reader.
 *
 * Bytes are lost by no error: what has arrived stays in the reader, or is in the caller's buffer
 * and counted, and the call can be made again.
 */
#ifndef OURO_READER_H
#define OURO_READER_H

#include <ouro/api.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ouro_stream;

/* Lies in the caller's storage; not to be copied or moved. */
struct ouro_reader {
    uint64_t opaque[12];
};

/*
 * Begins to read from @stream.
 *
 * Owns:     @stream is borrowed until ouro_reader_fini().
 * Errors:   -EINVAL.
 * Since:    0.3
 */
OURO_API int ouro_reader_init(struct ouro_reader *reader, struct ouro_stream *stream);

/*
 * Releases what the reader holds.  Bytes that were not taken are dropped.  The stream stays open;
 * ouro_stream_close() comes after this.  NULL and a zeroed reader are ignored.
 *
 * Since:    0.3
 */
OURO_API void ouro_reader_fini(struct ouro_reader *reader);

/*
 * Returns how many bytes have been received and not taken; 0 for NULL.
 *
 * Since:    0.3
 */
OURO_API size_t ouro_reader_buffered(const struct ouro_reader *reader);

/*
 * Takes the bytes that are there, at most @size, as ouro_stream_read().
 *
 * Suspends: when none are there, until at least one byte, the end of the stream or an error.
 * Errors:   as ouro_stream_read().
 * Since:    0.3
 */
OURO_API ssize_t ouro_reader_read(struct ouro_reader *reader, void *buffer,
                                  size_t size) OURO_MUST_CHECK;

/*
 * Takes exactly @size bytes.  *out_read (NULL: not wanted) receives the number of bytes in
 * @buffer: @size on success, fewer after an error.  It is set whatever the call returns.  After an
 * error the next bytes are those behind the counted ones.
 *
 * Suspends: until all have come.
 * Errors:   -OURO_ESTREAMEND when the stream ended before, also before the first byte; else as
 *           ouro_stream_read().
 * Since:    0.3
 */
OURO_API int ouro_reader_read_exact(struct ouro_reader *reader, void *buffer, size_t size,
                                    size_t *out_read) OURO_MUST_CHECK;

/*
 * Takes everything up to and including the first occurrence of a delimiter of @delimiter_size bytes
 * (1 to 64), at most @size_max bytes.  *out_data points to the first of them.
 *
 * Suspends: until the delimiter has come.
 * Errors:   the count, delimiter included; 0 when the stream ended and no byte is left.  After an
 *           error nothing is taken: -OURO_ESTREAMEND when the stream ended without the delimiter;
 *           -EMSGSIZE when the first @size_max bytes do not have it; -ENOMEM; else as
 *           ouro_stream_read_loan().  The bytes can then be looked at with ouro_reader_peek(), or
 *           taken by any other call.
 * Since:    0.3
 */
OURO_API ssize_t ouro_reader_read_until(struct ouro_reader *reader, const void *delimiter,
                                        size_t delimiter_size, size_t size_max,
                                        const void **out_data) OURO_MUST_CHECK;

/*
 * Looks at the bytes that come next without taking them: at least @size_min in one piece, perhaps
 * more.  With @size_min 0 it looks at what is there and does not wait.
 *
 * Suspends: until @size_min bytes have come.
 * Errors:   the count; 0 when the stream ended and no byte is left, or with @size_min 0 when none
 *           is there; -OURO_ESTREAMEND when it ended before @size_min bytes: what there is can be
 *           looked at with @size_min 0; -ENOMEM; else as ouro_stream_read_loan().
 * Since:    0.3
 */
OURO_API ssize_t ouro_reader_peek(struct ouro_reader *reader, size_t size_min,
                                  const void **out_data) OURO_MUST_CHECK;

/*
 * Takes @size bytes that have been received, without looking at them.
 *
 * Errors:   -EINVAL, also for more than ouro_reader_buffered() says.
 * Since:    0.3
 */
OURO_API int ouro_reader_consume(struct ouro_reader *reader, size_t size);

#ifdef __cplusplus
}
#endif

#endif
