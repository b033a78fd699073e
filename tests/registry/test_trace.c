/* SPDX-License-Identifier: MIT */
/*
 * Trace points in words.
 *
 * Owns:    nothing.
 * Threads: one.
 * Always:  text never runs over its buffer.
 */
#include "support/ouro_test.h"

#include "registry/readiness.h"

#include <ouro.h>
#include <string.h>

OURO_TEST_UNIT(every_kind_has_a_name)
{
    for (int kind = OURO_TRACE_PARSED; kind <= OURO_TRACE_RELEASED; kind++)
        ck_assert_str_ne(ouro_trace_kind_name((enum ouro_trace_kind)kind), "?");
    ck_assert_str_eq(ouro_trace_kind_name(OURO_TRACE_SOCKET), "socket");
    ck_assert_str_eq(ouro_trace_kind_name((enum ouro_trace_kind)0), "?");
    ck_assert_str_eq(ouro_trace_kind_name((enum ouro_trace_kind)99), "?");
}

OURO_TEST_UNIT(a_readiness_word_in_words)
{
    char text[128];
    _Atomic uint64_t word = 0;
    ouro_trace_format_readiness(word, text, sizeof(text));
    ck_assert_str_eq(text, "- r0 w0");
    ouro__readiness_set(&word, OURO_READABLE | OURO_WRITABLE);
    ouro__readiness_set(&word, OURO_READ_CLOSED);
    ouro_trace_format_readiness(word, text, sizeof(text));
    ck_assert_str_eq(text, "readable|writable|read-closed r2 w1");
    ouro__readiness_shut_down(&word);
    ouro_trace_format_readiness(word, text, sizeof(text));
    ck_assert_str_eq(text, "readable|writable|read-closed|shutdown r2 w1");
}

OURO_TEST_UNIT(text_is_cut_to_its_buffer)
{
    char text[16];
    for (size_t size = 0; size < sizeof(text); size++) {
        memset(text, 'x', sizeof(text));
        ouro_trace_format_readiness(UINT64_MAX, text, size);
        ck_assert_int_eq(text[size], 'x');
        if (size > 0)
            ck_assert_uint_eq(strnlen(text, sizeof(text)), size - 1);
    }
    ouro_trace_format_readiness(0, NULL, 5);
}
