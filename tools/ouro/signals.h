/* SPDX-License-Identifier: MIT */
/*
 * SIGINT and SIGTERM as something a task can wait for.
 */
#ifndef OURO_SIGNALS_H
#define OURO_SIGNALS_H

#include <ouro.h>

/*
 * Blocks SIGINT and SIGTERM for the calling thread and all that it makes, and opens a signalfd(2)
 * for them; one that is ignored is left alone.  To be called before the runtime is made.  Returns
 * the descriptor, or -errno.
 */
int signals_open(void);

/* The same for another signal as well, ignored or not. */
int signals_open_with(int number);

/* In a task: waits for one of the signals.  Returns its number, or a negative code. */
int signals_wait(int fd);

/* The same where the descriptor is registered already, for who waits again and again. */
int signals_next(struct ouro_poll_evented *io);

/*
 * From now on the signals end the process, as they do by default.  They are taken by a thread made
 * for it: the main thread blocks them, and a worker takes none while it waits.
 */
void signals_unblock(void);

#endif
