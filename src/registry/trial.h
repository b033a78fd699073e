/* SPDX-License-Identifier: MIT */
/*
 * Trial: which of two ways of doing the same work is cheaper, found out by trying.
 *
 * The work is counted in stretches.  The user asks ouro__trial_way() which way to go, and calls
 * ouro__trial_next_stretch() at the end of each stretch.
 */
#ifndef OURO_REGISTRY_TRIAL_H
#define OURO_REGISTRY_TRIAL_H

#include <stdbool.h>
#include <stdint.h>

struct ouro__trial {
    bool is_usual;           /* the second way is what is done outside of trials */
    bool is_running;         /* this stretch tries the other way */
    uint32_t stretches_left; /* until the next trial */
    int64_t cpu_begun_ns;    /* CPU time of the thread when the stretch began; 0: the first one */
    double usual_cost_ns; /* CPU time of a unit in the last stretch of the usual way; 0: unknown */
    double ratio;         /* the other way's cost to the usual one's, a running mean; 0: unknown */
};

/* The first way is the usual one; the second is tried soon. */
void ouro__trial_init(struct ouro__trial *trial);

/* Whether the second way is to be gone now. */
static inline bool ouro__trial_way(const struct ouro__trial *trial)
{
    return trial->is_usual != trial->is_running;
}

/*
 * Ends a stretch, which has done @units of work, at least 1, and begins the next.  Returns the CPU
 * time that the stretch took, at least 1 ns; 0 at the first call, which only begins one.
 * Threads: always the same, whose CPU time is meant.
 */
int64_t ouro__trial_next_stretch(struct ouro__trial *trial, uint64_t units);

#endif
