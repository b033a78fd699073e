/* SPDX-License-Identifier: MIT */
/*
 * Trial: which of two ways of doing the same work is cheaper, found out by trying.
 *
 *     a stretch's cost is the thread's CPU time divided by the work that was done;
 *     one way is the usual one; now and then a stretch tries the other way;
 *     when the other way is cheaper by MARGIN in two trials, it becomes the usual one.
 *
 * How seldom the other way is tried depends on how much dearer it was: its trials may make all
 * work dearer by TRIAL_SHARE.  When the usual way's cost changes by half, the work has changed, and
 * the other way is tried at once.
 *
 * Owns:    nothing.
 * Threads: one.
 * Always:  a trial is one stretch long.
 * Tests:   tests/registry/test_trial.c, tests/registry/test_busy_poll.c
 */
#include "registry/trial.h"

#include "base/clock.h"

#include <time.h>

enum { STRETCHES_SOON = 2 };

/* Numbers that clang lets one compare with a double. */
#define STRETCHES_MIN 32u
#define STRETCHES_MAX 1024u

#define MARGIN 0.02
#define TRIAL_SHARE 0.004
#define CHANGE 1.5
#define RATIO_MAX 16.0 /* one bad measurement is forgotten after a few good ones */

void ouro__trial_init(struct ouro__trial *trial)
{
    *trial = (struct ouro__trial){.stretches_left = 1};
}

static int64_t cpu_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * OURO__NS_PER_SEC + now.tv_nsec;
}

/* How many stretches of the usual way come before the next trial. */
static uint32_t stretches_until_trial(double ratio)
{
    double stretches = (ratio - 1) / TRIAL_SHARE;
    if (stretches < STRETCHES_MIN)
        return STRETCHES_MIN;
    return stretches > STRETCHES_MAX ? STRETCHES_MAX : (uint32_t)stretches;
}

static void end_trial(struct ouro__trial *trial, double cost_ns)
{
    const bool is_first = trial->ratio == 0;
    double ratio = cost_ns / trial->usual_cost_ns;
    if (ratio > RATIO_MAX)
        ratio = RATIO_MAX;
    trial->ratio = is_first ? ratio : (trial->ratio + ratio) / 2;
    trial->is_running = false;
    trial->stretches_left = stretches_until_trial(trial->ratio);
    if (trial->ratio >= 1 - MARGIN)
        return;
    if (is_first) { /* a program that has just begun runs in a cold cache */
        trial->stretches_left = STRETCHES_SOON;
        return;
    }
    trial->is_usual = !trial->is_usual;
    trial->usual_cost_ns = cost_ns;
    trial->ratio = 1 / trial->ratio;
    trial->stretches_left = stretches_until_trial(trial->ratio);
}

static void end_usual(struct ouro__trial *trial, double cost_ns)
{
    double before_ns = trial->usual_cost_ns;
    trial->usual_cost_ns = cost_ns;
    if (before_ns != 0 && (cost_ns > CHANGE * before_ns || before_ns > CHANGE * cost_ns)) {
        trial->ratio = 0;
        trial->stretches_left = 1;
    }
    trial->is_running = --trial->stretches_left == 0;
}

int64_t ouro__trial_next_stretch(struct ouro__trial *trial, uint64_t units)
{
    const int64_t now_ns = cpu_ns();
    int64_t used_ns = 0;
    if (trial->cpu_begun_ns != 0) {
        used_ns = now_ns - trial->cpu_begun_ns + 1; /* never 0 */
        double cost_ns = (double)used_ns / (double)units;
        if (trial->is_running)
            end_trial(trial, cost_ns);
        else
            end_usual(trial, cost_ns);
    }
    trial->cpu_begun_ns = now_ns;
    return used_ns;
}
