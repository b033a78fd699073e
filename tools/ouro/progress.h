/* SPDX-License-Identifier: MIT */
/*
 * A progress bar on stderr, for when that is a terminal.
 */
#ifndef OURO_PROGRESS_H
#define OURO_PROGRESS_H

#include <stdint.h>

void progress_draw(uint64_t done, uint64_t total, double per_second);

/* Takes the bar away, so that what follows begins on an empty line. */
void progress_clear(void);

#endif
