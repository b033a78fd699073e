/* SPDX-License-Identifier: MIT */
/*
 * The limit of the proxy's messages.
 */
#include "support/ouro_test.h"

#include <stdio.h>
#include <string.h>

#include "../../tools/ouro/output.h"

/* In place of output.c: the last line, and how many there were. */
static char last_line[600];
static unsigned lines_count;

#define output_error(...) (lines_count++, (void)snprintf(last_line, sizeof(last_line), __VA_ARGS__))
#include "../../tools/ouro/proxy_log.c"

OURO_TEST_UNIT(the_first_lines_of_a_second_may_be_written)
{
    struct proxy_log_limit of = {.lock = PTHREAD_MUTEX_INITIALIZER};
    uint64_t left_out;
    for (int64_t second = 1; second < 4; second++) {
        for (int i = 0; i < PROXY_LOG_LINES_MAX; i++) {
            ck_assert(proxy_log_may(&of, second * OURO_SECOND + i, &left_out));
            ck_assert_uint_eq(left_out, i == 0 && second > 1 ? 7 : 0);
        }
        for (int i = 0; i < 7; i++)
            ck_assert(!proxy_log_may(&of, (second + 1) * OURO_SECOND - 1, &left_out));
    }
}

OURO_TEST_UNIT(what_is_left_out_is_told_at_the_end)
{
    for (int i = 0; i < 3 * PROXY_LOG_LINES_MAX; i++)
        proxy_log("line %d", i);
    ck_assert_uint_le(lines_count, 2 * PROXY_LOG_LINES_MAX + 1); /* a second may have begun */
    unsigned before = lines_count;
    proxy_log_end();
    ck_assert_uint_eq(lines_count, before + 1);
    ck_assert_ptr_nonnull(strstr(last_line, "more messages were left out"));
    proxy_log_end();
    ck_assert_uint_eq(lines_count, before + 1);
}
