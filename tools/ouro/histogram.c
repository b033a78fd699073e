/* SPDX-License-Identifier: MIT */
/*
 * Histogram: log-linear buckets, as HdrHistogram has them.
 *
 * Up to 2047 ns a bucket is one nanosecond wide.  From there every doubling of the value is cut
 * into 1024 buckets of the same width, so a bucket is never wider than a thousandth of what it
 * counts: three significant digits from nanoseconds to an hour, in 270 KiB, with a shift and an add
 * to record.
 *
 *     value        width    indices
 *     0..2047        1      0..2047
 *     2048..4095     2      2048..3071
 *     4096..8191     4      3072..4095  ...
 *
 * Owns:    nothing; the caller gives the storage.
 * Threads: one at a time.
 */
#include "histogram.h"

#include <math.h>
#include <stddef.h>

#define HALF (UINT64_C(1) << HISTOGRAM_HALF_BITS)

static size_t bucket_of(uint64_t value)
{
    if (value < 2 * HALF)
        return (size_t)value;
    unsigned shift = 63u - (unsigned)__builtin_clzll(value) - HISTOGRAM_HALF_BITS;
    return (size_t)(shift * HALF + (value >> shift));
}

/* The greatest value that bucket @index counts. */
static uint64_t bucket_top(size_t index)
{
    if (index < 2 * HALF)
        return index;
    unsigned shift = (unsigned)(index / HALF) - 1;
    return ((index - shift * HALF + 1) << shift) - 1;
}

void histogram_record(struct histogram *histogram, int64_t duration_ns)
{
    const int64_t top = (INT64_C(1) << HISTOGRAM_TOP_BIT) - 1;
    int64_t value = duration_ns < 0 ? 0 : duration_ns > top ? top : duration_ns;
    histogram->buckets[bucket_of((uint64_t)value)]++;
    histogram->count++;
    if (value > histogram->max_ns)
        histogram->max_ns = value;
}

int64_t histogram_quantile(const struct histogram *histogram, double fraction)
{
    double wanted = ceil(fraction * (double)histogram->count);
    uint64_t rank = wanted < 1 ? 1 : (uint64_t)wanted;
    uint64_t seen = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen >= rank) {
            int64_t top = (int64_t)bucket_top(i);
            return top < histogram->max_ns ? top : histogram->max_ns;
        }
    }
    return histogram->max_ns;
}
