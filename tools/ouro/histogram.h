/* SPDX-License-Identifier: MIT */
/*
 * A histogram of durations that keeps three significant digits, whatever their size.
 */
#ifndef OURO_HISTOGRAM_H
#define OURO_HISTOGRAM_H

#include <stdint.h>

/* Buckets below 2^HISTOGRAM_TOP_BIT ns (73 minutes); longer durations count as that. */
#define HISTOGRAM_TOP_BIT 42
#define HISTOGRAM_HALF_BITS 10 /* 1024 steps for each doubling: 0.1 % */
#define HISTOGRAM_BUCKETS ((HISTOGRAM_TOP_BIT - HISTOGRAM_HALF_BITS + 1) << HISTOGRAM_HALF_BITS)

/* All zero is an empty one. */
struct histogram {
    uint64_t count;
    int64_t max_ns;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* Counts one duration; a negative one as zero. */
void histogram_record(struct histogram *histogram, int64_t duration_ns);

/*
 * The duration that @fraction (0 to 1) of all counted ones do not exceed: the upper end of its
 * bucket, never more than the longest that was counted.  0 of an empty histogram.
 */
int64_t histogram_quantile(const struct histogram *histogram, double fraction);

#endif
