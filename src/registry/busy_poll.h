/* SPDX-License-Identifier: MIT */
/*
 * BusyPoll: looking for events for a moment before the driver sleeps, where that makes operations
 * no dearer.
 */
#ifndef OURO_REGISTRY_BUSY_POLL_H
#define OURO_REGISTRY_BUSY_POLL_H

#include "base/atomic.h"
#include "registry/trial.h"
#include "registry/unpark.h"

#include <stdbool.h>
#include <stdint.h>

struct ouro__busy_poll {
    int64_t limit_ns;         /* the longest look; 0: it never looks */
    bool is_forced;           /* the program chose to look: what it costs does not matter */
    uint32_t waits_left;      /* of this stretch */
    struct ouro__trial trial; /* whether looking is the cheaper way */
    uint64_t brought;         /* what the waits brought until the last one */
    uint64_t units;           /* of this stretch: what its waits brought, at least one each */
    uint64_t looked_begun_ns;
    double plain_cost_ns; /* of a unit in the last stretch without looking; 0: unknown */
    struct ouro__counter looks;
    struct ouro__counter found;     /* looks that saw an event */
    struct ouro__counter looked_ns; /* what looking has cost, */
    struct ouro__counter saved_ns;  /* and by how much that made the rest cheaper */
};

/* @spin_us and @dial (enum ouro_dial) as in ouro_runtime_config. */
void ouro__busy_poll_init(struct ouro__busy_poll *poll, uint32_t spin_us, uint32_t dial);

/* Ends a stretch of waits; for ouro__busy_poll_is_wanted(). */
void ouro__busy_poll_next_stretch(struct ouro__busy_poll *poll);

/*
 * Called before each wait: whether ouro__busy_poll() shall be called.  @brought counts what the
 * waits have brought so far, such as completions.
 */
static inline bool ouro__busy_poll_is_wanted(struct ouro__busy_poll *poll, uint64_t brought)
{
    if (poll->limit_ns == 0 || poll->is_forced)
        return poll->is_forced;
    poll->units += brought != poll->brought ? brought - poll->brought : 1;
    poll->brought = brought;
    if (--poll->waits_left == 0)
        ouro__busy_poll_next_stretch(poll);
    return ouro__trial_way(&poll->trial);
}

/*
 * Looks until @has_events(@arg) says true, the owner is unparked or the limit is reached.  True: do
 * not sleep.  *timeout_ns is what is left of it.  Called inside turn(), with everything submitted.
 */
bool ouro__busy_poll(struct ouro__busy_poll *poll, struct ouro__unpark *unpark,
                     bool (*has_events)(void *arg), void *arg, int64_t *timeout_ns);

#endif
