/* SPDX-License-Identifier: MIT */
/*
 * Texts in a buffer: what is put, where it is cut, and that nothing beyond the buffer is touched.
 */
#include <stdint.h>
#include <string.h>

#include "base/text.h"
#include "support/ouro_test.h"

OURO_TEST_UNIT(pieces_follow_each_other)
{
    char buffer[200];
    struct ouro__text text = ouro__text_in(buffer, sizeof(buffer));
    ck_assert_str_eq(buffer, "");
    ouro__text_put(&text, "a");
    ouro__text_put(&text, "");
    ouro__text_put_bytes(&text, "bcd", 2);
    ouro__text_put_number(&text, 0);
    ouro__text_put(&text, " ");
    ouro__text_put_number(&text, UINT64_MAX);
    ouro__text_put(&text, " ");
    ouro__text_put_number_in(&text, UINT64_C(0xfedcba9876543210), 16);
    ouro__text_put(&text, " ");
    ouro__text_put_int(&text, INT64_MIN);
    ouro__text_put(&text, " ");
    ouro__text_put_int(&text, 42);
    ck_assert_str_eq(buffer, "abc0 18446744073709551615 fedcba9876543210 -9223372036854775808 42");
    ck_assert_uint_eq(text.length, strlen(buffer));
}

OURO_TEST_UNIT(a_number_of_the_most_digits_fits)
{
    char buffer[100];
    struct ouro__text text = ouro__text_in(buffer, sizeof(buffer));
    ouro__text_put_number_in(&text, UINT64_MAX, 2);
    ck_assert_uint_eq(text.length, 64);
    ck_assert_uint_eq(strspn(buffer, "1"), 64);
}

OURO_TEST_UNIT(a_text_is_cut_where_the_buffer_ends)
{
    const char whole[] = "0123456789";
    for (size_t size = 0; size <= sizeof(whole) + 2; size++) {
        char buffer[sizeof(whole) + 3];
        memset(buffer, '#', sizeof(buffer));
        struct ouro__text text = ouro__text_in(size > 0 ? buffer : NULL, size);
        ouro__text_put(&text, "0123");
        ouro__text_put_number(&text, 45);
        ouro__text_put_bytes(&text, whole + 6, 4);
        size_t fits = size == 0 ? 0 : size - 1 < strlen(whole) ? size - 1 : strlen(whole);
        ck_assert_uint_eq(text.length, fits);
        if (size > 0) {
            ck_assert_uint_eq(strlen(buffer), fits);
            ck_assert_int_eq(memcmp(buffer, whole, fits), 0);
        }
        for (size_t i = size; i < sizeof(buffer); i++)
            ck_assert_int_eq(buffer[i], '#');
    }
}
