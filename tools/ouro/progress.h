/* SPDX-License-Identifier: MIT */
/*
 * A progress bar on stderr, for when that is a terminal.
 */
#ifndef OURO_PROGRESS_H
#define OURO_PROGRESS_H

/* @part of the work is done, 0 to 1; @text says more, in a few words. */
void progress_draw(double part, const char *text);

/* Takes the bar away, so that what follows begins on an empty line. */
void progress_clear(void);

#endif
