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

OURO_TEST(misuse_is_an_error)
{
    misuse_everywhere();
}
