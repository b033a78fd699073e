/* SPDX-License-Identifier: MIT */
/*
 * Wrong use of loans and of buffered readers: an error each time, and nothing changes.
 */
#include "misuse/misuse.h"

#include <string.h>

MISUSE(ouro_loan_release)
{
    struct ouro_loan loan;
    memset(&loan, 0, sizeof(loan));
    ouro_loan_release(NULL);
    ouro_loan_release(&loan);
    loan.data = "text"; /* the caller may change both: it is still a loan of nothing */
    loan.size = 4;
    ouro_loan_release(&loan);
}

MISUSE(ouro_stream_read_loan)
{
    struct ouro_loan loan = {.size = 7};
    struct ouro_stream *reader = NULL;
    struct ouro_stream *writer = NULL;
    ck_assert_int_eq(ouro_pipe(&reader, &writer), 0);
    IS_EINVAL(ouro_stream_read_loan(NULL, &loan));
    IS_EINVAL(ouro_stream_read_loan(reader, NULL));
    ck_assert_int_eq(ouro_stream_read_loan(writer, &loan), -EBADF);
    ck_assert_uint_eq(loan.size, 7);
    ck_assert_int_eq(ouro_stream_close(reader), 0);
    ck_assert_int_eq(ouro_stream_close(writer), 0);
}

MISUSE(ouro_stream_write_loan)
{
    struct ouro_loan loan = {.data = "x", .size = 1};
    struct ouro_stream *reader = NULL;
    struct ouro_stream *writer = NULL;
    size_t written = 7;
    ck_assert_int_eq(ouro_pipe(&reader, &writer), 0);
    IS_EINVAL(ouro_stream_write_loan(NULL, &loan, &written));
    ck_assert_uint_eq(written, 0);
    IS_EINVAL(ouro_stream_write_loan(writer, NULL, NULL));
    ck_assert_uint_eq(loan.size, 1); /* still the caller's */
    loan.data = NULL;
    IS_EINVAL(ouro_stream_write_loan(writer, &loan, NULL));
    loan.data = "x";
    ck_assert_int_eq(ouro_stream_write_loan(reader, &loan, NULL), -EBADF);
    ck_assert_int_eq(ouro_stream_close(reader), 0);
    ck_assert_int_eq(ouro_stream_close(writer), 0);
}

static void open_reader(struct ouro_reader *reader, struct ouro_stream **out_reader,
                        struct ouro_stream **out_writer)
{
    ck_assert_int_eq(ouro_pipe(out_reader, out_writer), 0);
    ck_assert_int_eq(ouro_reader_init(reader, *out_reader), 0);
    ck_assert_int_eq(ouro_stream_write(*out_writer, "ab", 2), 2);
}

static void close_reader(struct ouro_reader *reader, struct ouro_stream *read_end,
                         struct ouro_stream *write_end)
{
    char bytes[2];
    ck_assert_int_eq(ouro_reader_read_exact(reader, bytes, 2, NULL), 0);
    ck_assert_int_eq(memcmp(bytes, "ab", 2), 0);
    ouro_reader_fini(reader);
    ck_assert_int_eq(ouro_stream_close(read_end), 0);
    ck_assert_int_eq(ouro_stream_close(write_end), 0);
}

/* A reader that was never begun. */
static struct ouro_reader not_begun;

MISUSE(ouro_reader_init)
{
    struct ouro_reader reader;
    IS_EINVAL(ouro_reader_init(NULL, NULL));
    IS_EINVAL(ouro_reader_init(&reader, NULL));
}

MISUSE(ouro_reader_fini)
{
    ouro_reader_fini(NULL);
    ouro_reader_fini(&not_begun);
}

MISUSE(ouro_reader_buffered)
{
    ck_assert_uint_eq(ouro_reader_buffered(NULL), 0);
    ck_assert_uint_eq(ouro_reader_buffered(&not_begun), 0);
}

MISUSE(ouro_reader_read)
{
    char byte = 0;
    struct ouro_reader reader;
    struct ouro_stream *ends[2];
    open_reader(&reader, &ends[0], &ends[1]);
    IS_EINVAL(ouro_reader_read(NULL, &byte, 1));
    IS_EINVAL(ouro_reader_read(&not_begun, &byte, 1));
    IS_EINVAL(ouro_reader_read(&reader, NULL, 1));
    ck_assert_int_eq(ouro_reader_read(&reader, NULL, 0), 0);
    close_reader(&reader, ends[0], ends[1]);
}

MISUSE(ouro_reader_read_exact)
{
    char byte = 0;
    size_t count = 77;
    struct ouro_reader reader;
    struct ouro_stream *ends[2];
    open_reader(&reader, &ends[0], &ends[1]);
    IS_EINVAL(ouro_reader_read_exact(NULL, &byte, 1, &count));
    ck_assert_uint_eq(count, 0);
    IS_EINVAL(ouro_reader_read_exact(&not_begun, &byte, 1, NULL));
    IS_EINVAL(ouro_reader_read_exact(&reader, NULL, 1, &count));
    ck_assert_int_eq(ouro_reader_read_exact(&reader, NULL, 0, &count), 0);
    close_reader(&reader, ends[0], ends[1]);
}

MISUSE(ouro_reader_read_until)
{
    const void *data = NULL;
    struct ouro_reader reader;
    struct ouro_stream *ends[2];
    open_reader(&reader, &ends[0], &ends[1]);
    IS_EINVAL(ouro_reader_read_until(NULL, "\n", 1, 10, &data));
    IS_EINVAL(ouro_reader_read_until(&not_begun, "\n", 1, 10, &data));
    IS_EINVAL(ouro_reader_read_until(&reader, NULL, 1, 10, &data));
    IS_EINVAL(ouro_reader_read_until(&reader, "\n", 0, 10, &data));
    IS_EINVAL(ouro_reader_read_until(&reader, "\n", 65, 100, &data));
    IS_EINVAL(ouro_reader_read_until(&reader, "\r\n", 2, 1, &data));
    IS_EINVAL(ouro_reader_read_until(&reader, "\n", 1, SIZE_MAX, &data));
    IS_EINVAL(ouro_reader_read_until(&reader, "\n", 1, 10, NULL));
    ck_assert_ptr_null(data);
    close_reader(&reader, ends[0], ends[1]);
}

MISUSE(ouro_reader_peek)
{
    const void *data = NULL;
    struct ouro_reader reader;
    struct ouro_stream *ends[2];
    open_reader(&reader, &ends[0], &ends[1]);
    IS_EINVAL(ouro_reader_peek(NULL, 1, &data));
    IS_EINVAL(ouro_reader_peek(&not_begun, 1, &data));
    IS_EINVAL(ouro_reader_peek(&reader, SIZE_MAX, &data));
    IS_EINVAL(ouro_reader_peek(&reader, 1, NULL));
    ck_assert_ptr_null(data);
    close_reader(&reader, ends[0], ends[1]);
}

MISUSE(ouro_reader_consume)
{
    struct ouro_reader reader;
    struct ouro_stream *ends[2];
    open_reader(&reader, &ends[0], &ends[1]);
    IS_EINVAL(ouro_reader_consume(NULL, 0));
    IS_EINVAL(ouro_reader_consume(&not_begun, 0));
    IS_EINVAL(ouro_reader_consume(&reader, 1)); /* nothing has been received */
    close_reader(&reader, ends[0], ends[1]);
}

OURO_TEST(misuse_is_an_error)
{
    misuse_everywhere();
}
