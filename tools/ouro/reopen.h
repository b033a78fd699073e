/* SPDX-License-Identifier: MIT */
/*
 * A standard descriptor's pipe or terminal, opened a second time.
 */
#ifndef OURO_CLI_REOPEN_H
#define OURO_CLI_REOPEN_H

#include <stdbool.h>

/*
 * Opens the pipe or terminal behind @fd again, non-blocking, for writing or for reading.  The flags
 * of the new open file are its own, so whoever shares @fd sees nothing of it.  Returns a descriptor
 * for the caller to close; -ENXIO for what must not be opened again; another -errno when the system
 * refuses.
 */
int reopen_nonblocking(int fd, bool for_writing);

/* Whether @fd is the master's side of a pseudo-terminal, a terminal emulator's say. */
bool reopen_is_pty_master(int fd);

#endif
