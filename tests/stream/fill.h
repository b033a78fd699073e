/* SPDX-License-Identifier: MIT */
/*
 * Filling a stream whose peer does not read.
 */
#ifndef OURO_TEST_FILL_H
#define OURO_TEST_FILL_H

#include <check.h>
#include <errno.h>

#include "ouro/stream.h"
#include "ouro/time.h"
#include "support/until.h"

/*
 * Writes @bytes, more than the kernel takes, until it takes no more.  Returns how many were
 * written, at least one.  On a busy machine a deadline may pass before the first byte, or while
 * there is still room: it is full when an attempt has written nothing after others had.
 */
static inline size_t fill_stream(struct ouro_stream *stream, const void *bytes, size_t size)
{
    struct ouro_deadline scope;
    size_t filled = 0;
    size_t written = 1;
    for (int64_t limit_ns = 20 * OURO_TEST_MS; written > 0 || filled == 0;) {
        ck_assert_int_eq(ouro_deadline_begin(&scope, limit_ns), 0);
        ck_assert_int_eq(
            ouro_stream_write_all(stream, (const char *)bytes + filled, size - filled, &written),
            -ETIMEDOUT);
        ouro_deadline_end(&scope);
        filled += written;
        if (filled == 0)
            limit_ns *= 4;
        ck_assert_int_lt(limit_ns, 10 * OURO_TEST_SECOND);
    }
    return filled;
}

#endif
