/* SPDX-License-Identifier: MIT */
/*
 * The histogram of `ouro connect --count`: quantiles against a sorted list of the same values.
 */
#include "support/ouro_test.h"

#include <stdlib.h>

#include "../../tools/ouro/histogram.c"

static struct histogram histogram;

static void begin(void)
{
    histogram = (struct histogram){0};
}

static int compare(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

/* Not below the exact value, and above it by no more than a thousandth. */
static void check_quantile(double fraction, int64_t exact)
{
    int64_t got = histogram_quantile(&histogram, fraction);
    ck_assert_int_ge(got, exact);
    ck_assert_int_le(got, exact + exact / 1000);
}

OURO_TEST_UNIT(empty_histogram_has_zero_quantiles)
{
    begin();
    ck_assert_int_eq(histogram_quantile(&histogram, 0), 0);
    ck_assert_int_eq(histogram_quantile(&histogram, 1), 0);
}

OURO_TEST_UNIT(every_bucket_holds_its_own_top_and_no_more)
{
    uint64_t previous = 0;
    ck_assert_uint_eq(bucket_top(0), 0);
    for (size_t i = 1; i < HISTOGRAM_BUCKETS; i++) {
        uint64_t top = bucket_top(i);
        ck_assert_uint_eq(bucket_of(top), i);
        ck_assert_uint_eq(bucket_of(previous + 1), i);
        previous = top;
    }
    ck_assert_uint_eq(previous, (UINT64_C(1) << HISTOGRAM_TOP_BIT) - 1);
}

OURO_TEST_UNIT(quantiles_agree_with_a_sorted_list_to_three_digits)
{
    enum { COUNT = 50000 };
    static int64_t values[COUNT];
    uint64_t random = 6142;
    begin();
    for (size_t i = 0; i < COUNT; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        /* From a few nanoseconds to some minutes, each magnitude as often as the other. */
        values[i] = (int64_t)((random >> 32) >> ((random >> 8) % 30)) << 6;
        histogram_record(&histogram, values[i]);
    }
    qsort(values, COUNT, sizeof(values[0]), compare);
    check_quantile(0.5, values[COUNT / 2 - 1]);
    check_quantile(0.9, values[COUNT / 10 * 9 - 1]);
    check_quantile(0.999, values[COUNT / 1000 * 999 - 1]);
    ck_assert_int_eq(histogram_quantile(&histogram, 1), values[COUNT - 1]);
    ck_assert_int_eq(histogram.max_ns, values[COUNT - 1]);
    ck_assert_uint_eq(histogram.count, COUNT);
}

OURO_TEST_UNIT(durations_out_of_range_count_as_the_nearest)
{
    begin();
    histogram_record(&histogram, -5);
    histogram_record(&histogram, INT64_MAX);
    ck_assert_int_eq(histogram_quantile(&histogram, 0.5), 0);
    ck_assert_int_eq(histogram_quantile(&histogram, 1), (INT64_C(1) << HISTOGRAM_TOP_BIT) - 1);
}
