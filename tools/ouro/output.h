/* SPDX-License-Identifier: MIT */
/*
 * What the command writes: results on stdout, messages on stderr.
 */
#ifndef OURO_CLI_OUTPUT_H
#define OURO_CLI_OUTPUT_H

#include <stdbool.h>

/*
 * To be called first in main().  From then on the process cannot end with status 0 when something
 * printed on stdout could not be written.
 */
void output_start(void);

/* What output_error() puts in front of each message: "ouro", or "ouro NAME". */
void output_set_name(const char *name);
const char *output_name(void);

/* One line on stderr, "ouro connect: " in front, in one write so that lines do not mix. */
void output_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Prints @text on stdout and writes it out.  When that fails, says why and returns false. */
bool output_result(const char *text);

/* The same for what was printed on stdout by stdio. */
bool output_flush(void);

/* Writes @text to stderr as it stands.  False when stderr does not take it. */
bool output_message(const char *text);

/* The same, but never waits: false when stderr does not take it at once. */
bool output_offer(const char *text);

/*
 * From now on stderr cannot stop the command: a message that stderr does not take at once is
 * dropped, and SIGPIPE is ignored, so that a pipe that nobody reads gives an error.  For a command
 * whose work is not its messages.
 */
void output_never_wait(void);

/*
 * Says that a result cannot be written, and why (an errno, 0: not known).  Says it once, however
 * often it is called.
 */
void output_lost(int error);

#endif
