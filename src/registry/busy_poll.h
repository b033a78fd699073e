/* SPDX-License-Identifier: MIT */
/*
 * BusyPoll: looking for events for a moment before the driver sleeps, where that costs little.
 */
#ifndef OURO_REGISTRY_BUSY_POLL_H
#define OURO_REGISTRY_BUSY_POLL_H

#include "base/atomic.h"
#include "registry/unpark.h"

#include <stdbool.h>
#include <stdint.h>

struct ouro__busy_poll {
    int64_t limit_ns;        /* the longest look; 0: it never looks */
    bool is_forced;          /* the program chose to look: what it costs does not matter */
    bool is_measured;        /* the coming sleep */
    uint32_t until_measured; /* sleeps until one is measured again */
    int64_t balance_ns;      /* CPU time: what looks may cost before they must save some */
    int64_t sleep_cost_ns;   /* CPU time of a sleep, a running mean */
    int64_t awake_since_ns;  /* the end of the last look or sleep; 0: none yet */
    int64_t cpu_before_ns;   /* of the thread, before the sleep that is measured */
    struct ouro__counter looks;
    struct ouro__counter found;     /* looks that saw an event */
    struct ouro__counter looked_ns; /* what looking has cost, */
    struct ouro__counter saved_ns;  /* and what the sleeps that it replaced would have */
};

/* @spin_us and @dial (enum ouro_dial) as in ouro_runtime_config. */
void ouro__busy_poll_init(struct ouro__busy_poll *poll, uint32_t spin_us, uint32_t dial);

/* Whether ouro__busy_poll() shall be called before the coming sleep. */
static inline bool ouro__busy_poll_is_wanted(const struct ouro__busy_poll *poll)
{
    return poll->limit_ns > 0 &&
           (poll->is_forced || poll->balance_ns >= 0 || poll->until_measured == 0);
}

/*
 * Looks until @has_events(@arg) says true, the owner is unparked or the limit is reached.  True: do
 * not sleep.  *timeout_ns is what is left of it.  Called inside turn(), with everything submitted.
 */
bool ouro__busy_poll(struct ouro__busy_poll *poll, struct ouro__unpark *unpark,
                     bool (*has_events)(void *arg), void *arg, int64_t *timeout_ns);

/* Before and after the wait in the kernel. */
void ouro__busy_poll_sleeps(struct ouro__busy_poll *poll);
void ouro__busy_poll_slept(struct ouro__busy_poll *poll);

#endif
