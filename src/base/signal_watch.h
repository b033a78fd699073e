/* SPDX-License-Identifier: MIT */
/*
 * SignalWatch: signals of the process as a descriptor that can be waited for.
 */
#ifndef OURO_BASE_SIGNAL_WATCH_H
#define OURO_BASE_SIGNAL_WATCH_H

#include "base/compiler.h"

/* How many there can be in a process at the same time. */
enum { OURO__SIGNAL_WATCHES = 16 };

struct ouro__signal_watch {
    int slot; /* -1: not open */
    int fd;   /* readable when one of the signals has come */
    uint32_t taken;
};

/*
 * From now on the signals of @set (bit n-1: signal n) are caught for this watch.  Signals that are
 * ignored at this time stay ignored.  Errors: -EINVAL for one that cannot be caught; -EBUSY when
 * there are too many watches; -EMFILE, -ENFILE.
 */
int ouro__signal_watch_open(struct ouro__signal_watch *watch, uint64_t set);

/* The number of the next one that has come; 0: none. */
int ouro__signal_watch_take(struct ouro__signal_watch *watch);

/* The last watch of a signal restores what its disposition was before the first. */
void ouro__signal_watch_close(struct ouro__signal_watch *watch);

#endif
