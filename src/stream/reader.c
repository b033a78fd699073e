/* SPDX-License-Identifier: MIT */
/*
 * Reader: buffered reading from a stream, on loans.
 *
 * What was received and not taken is two pieces: `own`, memory of the reader's, then `loan`, the
 * rest of the buffer on loan.  Most of the time `own` is empty, and results point into the loan.
 *
 * Before the reader waits for more, what is left in the loan is copied to `own` and the loan is
 * released.  So a reader that waits holds no buffer: readers that each held one and waited for
 * another would wait for ever when the pool is small.  At most the bytes of one message that came
 * in several buffers are copied.
 *
 * A search goes over both pieces, and an occurrence may lie across the border.  Only what is
 * returned is put together.  Bytes that were searched are not searched again when more arrive,
 * but those at their end with which an occurrence could begin.
 *
 * Large reads go to the caller's buffer by a plain read when nothing is buffered.
 *
 * Owns:    `own`; the loan.
 * Threads: one at a time.
 * Always:  no error drops a byte.
 * Tests:   tests/stream/test_reader.c
 */
#include <ouro/reader.h>

#include "base/alloc.h"
#include "base/compiler.h"

#include <ouro/error.h>
#include <ouro/loan.h>
#include <ouro/stream.h>

#include <errno.h>
#include <string.h>

enum {
    DELIMITER_MAX = 64,
    DIRECT_MIN = 4096, /* from this size on a read needs no buffer of ours */
    OWN_MIN = 256,
};

struct reader {
    struct ouro_stream *stream;
    struct ouro_loan loan; /* data and size are what is left */
    char *own;
    size_t own_capacity;
    size_t own_begin; /* of what is left */
    size_t own_end;
};

_Static_assert(sizeof(struct reader) <= sizeof(struct ouro_reader), "it fits the public struct");

/* NULL for one that was not initialised. */
static struct reader *reader_of(struct ouro_reader *outer)
{
    struct reader *reader = (struct reader *)(void *)outer;
    return reader == NULL || reader->stream == NULL ? NULL : reader;
}

static size_t own_size(const struct reader *reader)
{
    return reader->own_end - reader->own_begin;
}

static size_t buffered(const struct reader *reader)
{
    return own_size(reader) + reader->loan.size;
}

static void take_from_loan(struct reader *reader, size_t size)
{
    reader->loan.data = (const char *)reader->loan.data + size;
    reader->loan.size -= size;
}

/* Moves the bytes past @size. */
static void take(struct reader *reader, size_t size)
{
    size_t from_own = own_size(reader) < size ? own_size(reader) : size;
    reader->own_begin += from_own;
    if (size > from_own)
        take_from_loan(reader, size - from_own);
}

/* A call begins: what the last one returned is not looked at any more. */
static void forget_taken(struct reader *reader)
{
    if (own_size(reader) == 0) {
        ouro__free(reader->own);
        reader->own = NULL;
        reader->own_capacity = 0;
        reader->own_begin = 0;
        reader->own_end = 0;
    }
    if (reader->loan.size == 0)
        ouro_loan_release(&reader->loan);
}

/* Room for @size more bytes behind those in `own`. */
static int reserve(struct reader *reader, size_t size)
{
    size_t left = own_size(reader);
    if (reader->own_capacity - reader->own_end >= size)
        return 0;
    if (size > SIZE_MAX / 4 || left > SIZE_MAX / 4)
        return -ENOMEM;
    size_t capacity = reader->own_capacity < OWN_MIN ? OWN_MIN : reader->own_capacity;
    while (capacity - left < size)
        capacity *= 2;
    char *own = ouro__alloc(capacity);
    if (own == NULL)
        return -ENOMEM;
    if (left > 0)
        memcpy(own, reader->own + reader->own_begin, left);
    ouro__free(reader->own);
    reader->own = own;
    reader->own_capacity = capacity;
    reader->own_begin = 0;
    reader->own_end = left;
    return 0;
}

/* Copies the next @size bytes of the loan to `own`. */
static int absorb(struct reader *reader, size_t size)
{
    int rc = reserve(reader, size);
    if (rc < 0 || size == 0)
        return rc;
    memcpy(reader->own + reader->own_end, reader->loan.data, size);
    reader->own_end += size;
    take_from_loan(reader, size);
    return 0;
}

/* Waits for more bytes.  A count, 0 at the end of the stream, or an error. */
static ssize_t receive(struct reader *reader)
{
    int rc = absorb(reader, reader->loan.size);
    if (rc < 0)
        return rc;
    ouro_loan_release(&reader->loan);
    return ouro_stream_read_loan(reader->stream, &reader->loan);
}

/* Makes the first @size bytes one piece, and returns it. */
static int gather(struct reader *reader, size_t size, const void **out_data)
{
    size_t own = own_size(reader);
    if (own == 0) {
        *out_data = reader->loan.data;
        return 0;
    }
    int rc = size > own ? absorb(reader, size - own) : 0;
    if (rc == 0)
        *out_data = reader->own + reader->own_begin;
    return rc;
}

/* The end of the first occurrence that begins at @from or later; 0: there is none. */
static size_t find(const struct reader *reader, const char *delimiter, size_t size, size_t from)
{
    const char *own = reader->own == NULL ? "" : reader->own + reader->own_begin;
    const char *loan = reader->loan.data;
    size_t own_count = own_size(reader);
    size_t loan_count = reader->loan.size;
    const char *at = NULL;
    if (from < own_count) {
        at = memmem(own + from, own_count - from, delimiter, size);
        if (at != NULL)
            return (size_t)(at - own) + size;
    }
    /* Across the border: @in_own bytes of it lie before. */
    size_t most = size - 1 < own_count ? size - 1 : own_count;
    for (size_t in_own = most; in_own > 0; in_own--) {
        size_t in_loan = size - in_own;
        if (own_count - in_own >= from && in_loan <= loan_count &&
            memcmp(own + own_count - in_own, delimiter, in_own) == 0 &&
            memcmp(loan, delimiter + in_own, in_loan) == 0)
            return own_count + in_loan;
    }
    size_t skip = from > own_count ? from - own_count : 0;
    if (loan_count < size || skip > loan_count - size)
        return 0;
    at = memmem(loan + skip, loan_count - skip, delimiter, size);
    return at == NULL ? 0 : own_count + (size_t)(at - loan) + size;
}

int ouro_reader_init(struct ouro_reader *outer, struct ouro_stream *stream)
{
    if (outer == NULL || stream == NULL)
        return -EINVAL;
    *(struct reader *)(void *)outer = (struct reader){.stream = stream};
    return 0;
}

void ouro_reader_fini(struct ouro_reader *outer)
{
    struct reader *reader = reader_of(outer);
    if (reader == NULL)
        return;
    ouro_loan_release(&reader->loan);
    ouro__free(reader->own);
    *reader = (struct reader){.stream = NULL};
}

size_t ouro_reader_buffered(const struct ouro_reader *outer)
{
    return outer == NULL ? 0 : buffered((const struct reader *)(const void *)outer);
}

/* Copies what is buffered, at most @size bytes, and takes it. */
static size_t copy_out(struct reader *reader, char *buffer, size_t size)
{
    size_t own = own_size(reader) < size ? own_size(reader) : size;
    size_t rest = size - own < reader->loan.size ? size - own : reader->loan.size;
    if (own > 0)
        memcpy(buffer, reader->own + reader->own_begin, own);
    if (rest > 0)
        memcpy(buffer + own, reader->loan.data, rest);
    take(reader, own + rest);
    forget_taken(reader);
    return own + rest;
}

/* Some of @size bytes, at least one: a count, 0 at the end, or an error. */
static ssize_t read_some(struct reader *reader, char *buffer, size_t size)
{
    if (buffered(reader) == 0) {
        if (size >= DIRECT_MIN)
            return ouro_stream_read(reader->stream, buffer, size);
        ssize_t n = receive(reader);
        if (n <= 0)
            return n;
    }
    return (ssize_t)copy_out(reader, buffer, size);
}

ssize_t ouro_reader_read(struct ouro_reader *outer, void *buffer, size_t size)
{
    struct reader *reader = reader_of(outer);
    if (reader == NULL || (buffer == NULL && size > 0))
        return -EINVAL;
    forget_taken(reader);
    return size == 0 ? 0 : read_some(reader, buffer, size);
}

int ouro_reader_read_exact(struct ouro_reader *outer, void *buffer, size_t size, size_t *out_read)
{
    struct reader *reader = reader_of(outer);
    int rc = reader == NULL || (buffer == NULL && size > 0) ? -EINVAL : 0;
    size_t done = 0;
    if (rc == 0)
        forget_taken(reader);
    while (rc == 0 && done < size) {
        ssize_t n = read_some(reader, (char *)buffer + done, size - done);
        if (n > 0)
            done += (size_t)n;
        else
            rc = n == 0 ? -OURO_ESTREAMEND : (int)n;
    }
    if (out_read != NULL)
        *out_read = done;
    return rc;
}

/* Receives until the delimiter is there.  The end of its first occurrence, or an error; 0 at the
 * end of a stream of which nothing is left. */
static ssize_t await_delimiter(struct reader *reader, const void *delimiter, size_t size,
                               size_t size_max)
{
    size_t searched = 0;
    for (;;) {
        size_t end = find(reader, delimiter, size, searched);
        if (end != 0 && end <= size_max)
            return (ssize_t)end;
        if (end != 0 || buffered(reader) >= size_max)
            return -EMSGSIZE;
        searched = buffered(reader) < size ? 0 : buffered(reader) - (size - 1);
        ssize_t n = receive(reader);
        if (n < 0)
            return n;
        if (n == 0)
            return buffered(reader) == 0 ? 0 : -OURO_ESTREAMEND;
    }
}

ssize_t ouro_reader_read_until(struct ouro_reader *outer, const void *delimiter,
                               size_t delimiter_size, size_t size_max, const void **out_data)
{
    struct reader *reader = reader_of(outer);
    if (reader == NULL || delimiter == NULL || out_data == NULL || delimiter_size == 0 ||
        delimiter_size > DELIMITER_MAX || size_max < delimiter_size || size_max > SIZE_MAX / 2)
        return -EINVAL;
    forget_taken(reader);
    ssize_t end = await_delimiter(reader, delimiter, delimiter_size, size_max);
    if (end <= 0)
        return end;
    int rc = gather(reader, (size_t)end, out_data);
    if (rc < 0)
        return rc;
    take(reader, (size_t)end);
    return end;
}

ssize_t ouro_reader_peek(struct ouro_reader *outer, size_t size_min, const void **out_data)
{
    struct reader *reader = reader_of(outer);
    if (reader == NULL || out_data == NULL || size_min > SIZE_MAX / 2)
        return -EINVAL;
    forget_taken(reader);
    while (buffered(reader) < size_min) {
        ssize_t n = receive(reader);
        if (n < 0)
            return n;
        if (n == 0)
            return buffered(reader) == 0 ? 0 : -OURO_ESTREAMEND;
    }
    int rc = gather(reader, size_min, out_data);
    if (rc < 0)
        return rc;
    return (ssize_t)(own_size(reader) > 0 ? own_size(reader) : reader->loan.size);
}

int ouro_reader_consume(struct ouro_reader *outer, size_t size)
{
    struct reader *reader = reader_of(outer);
    if (reader == NULL || size > buffered(reader))
        return -EINVAL;
    take(reader, size);
    forget_taken(reader);
    return 0;
}
