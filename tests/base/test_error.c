/* SPDX-License-Identifier: MIT */
/*
 * Texts and names of codes: every range, their gaps and their ends.
 */
#include "support/ouro_test.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <string.h>

#include "ouro/error.h"

OURO_TEST_UNIT(kernel_codes_have_their_names)
{
    int known = 0;
    for (int number = 1; number < 4096; number++) {
        const char *expected = strerrorname_np(number);
        if (expected == NULL) {
            ck_assert_str_eq(ouro_err_name(-number), "UNKNOWN");
            ck_assert_str_eq(ouro_strerror(-number), "unknown error");
            continue;
        }
        known++;
        if (number != EOPNOTSUPP) /* which C libraries also call ENOTSUP */
            ck_assert_str_eq(ouro_err_name(-number), expected);
        ck_assert_str_ne(ouro_strerror(-number), "unknown error");
        ck_assert_uint_gt(strlen(ouro_strerror(-number)), 3);
    }
    ck_assert_int_gt(known, 100);
}

OURO_TEST_UNIT(texts_read_inside_a_sentence)
{
    ck_assert_str_eq(ouro_strerror(-ECONNREFUSED), "connection refused");
    ck_assert_str_eq(ouro_strerror(-ETIMEDOUT), "timed out");
    ck_assert_str_eq(ouro_strerror(-ECANCELED), "cancelled");
    ck_assert_str_eq(ouro_strerror(-EAGAIN), "resource temporarily unavailable");
}

OURO_TEST_UNIT(zero_is_success)
{
    ck_assert_str_eq(ouro_strerror(0), "success");
    ck_assert_str_eq(ouro_err_name(0), "0");
}

OURO_TEST_UNIT(positive_codes_are_their_negation)
{
    ck_assert_ptr_eq(ouro_strerror(ECONNRESET), ouro_strerror(-ECONNRESET));
    ck_assert_str_eq(ouro_err_name(OURO_ESHUTDOWN), "OURO_ESHUTDOWN");
}

OURO_TEST_UNIT(own_codes_have_distinct_texts)
{
    for (int code = OURO_EIODISABLED; code <= OURO_EBYTELIMIT; code++) {
        ck_assert_int_eq(strncmp(ouro_err_name(-code), "OURO_E", 6), 0);
        ck_assert_str_ne(ouro_strerror(-code), "unknown error");
        for (int other = OURO_EIODISABLED; other < code; other++) {
            ck_assert_str_ne(ouro_err_name(-code), ouro_err_name(-other));
            ck_assert_str_ne(ouro_strerror(-code), ouro_strerror(-other));
        }
    }
    ck_assert_str_eq(ouro_err_name(-OURO_ENOADDRESS), "OURO_ENOADDRESS");
    ck_assert_str_eq(ouro_err_name(-OURO_EIODISABLED), "OURO_EIODISABLED");
    ck_assert_str_eq(ouro_err_name(-(OURO_EIODISABLED - 1)), "UNKNOWN");
    ck_assert_str_eq(ouro_err_name(-(OURO_EBYTELIMIT + 1)), "UNKNOWN");
}

OURO_TEST_UNIT(resolver_codes_keep_their_names)
{
    ck_assert_str_eq(ouro_err_name(-(OURO_ERESOLVE - EAI_NONAME)), "EAI_NONAME");
    ck_assert_str_eq(ouro_strerror(-(OURO_ERESOLVE - EAI_NONAME)), "name or service not known");
    ck_assert_str_eq(ouro_err_name(-(OURO_ERESOLVE - EAI_SYSTEM)), "EAI_SYSTEM");
    ck_assert_str_eq(ouro_err_name(-(OURO_ERESOLVE - EAI_IDN_ENCODE)), "EAI_IDN_ENCODE");
    ck_assert_str_eq(ouro_err_name(-OURO_ERESOLVE), "UNKNOWN");
    ck_assert_str_eq(ouro_err_name(-(OURO_ERESOLVE + 50)), "UNKNOWN");
    ck_assert_str_eq(ouro_err_name(-(OURO_ERESOLVE - EAI_IDN_ENCODE + 1)), "UNKNOWN");
}

OURO_TEST_UNIT(every_int_has_a_text)
{
    ck_assert_str_eq(ouro_strerror(INT_MIN), "unknown error");
    ck_assert_str_eq(ouro_strerror(INT_MAX), "unknown error");
    ck_assert_str_eq(ouro_err_name(-4095), "UNKNOWN");
    ck_assert_str_eq(ouro_err_name(-4096), "UNKNOWN");
}

OURO_TEST_UNIT(library_and_header_are_of_one_version)
{
    ck_assert_str_eq(ouro_version(), OURO_VERSION);
}
