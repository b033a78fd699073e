/* SPDX-License-Identifier: MIT */
/*
 * Progress bar: one line that is drawn over itself.
 *
 * Owns:    nothing.
 * Threads: one at a time.
 */
#include "progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BAR_WIDTH 40

void progress_draw(uint64_t done, uint64_t total, double per_second)
{
    double part = total > 0 ? (double)done / (double)total : 1;
    char bar[BAR_WIDTH + 1];
    memset(bar, '.', BAR_WIDTH);
    memset(bar, '#', (size_t)(part * BAR_WIDTH));
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "\r\033[K[%s] %3.0f %%  %" PRIu64 " of %" PRIu64 "  %.0f/s", bar, part * 100,
            done, total, per_second);
    fflush(stderr);
}

void progress_clear(void)
{
    fputs("\r\033[K", stderr);
    fflush(stderr);
}
