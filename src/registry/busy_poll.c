/* SPDX-License-Identifier: MIT */
/*
 * BusyPoll: looking for events for a moment before the driver sleeps, where that makes operations
 * no dearer.
 *
 * A thread that sleeps has to be woken, which on a virtual machine takes 15 to 70 us and nearly as
 * much CPU time.  A thread that looks at shared memory meanwhile sees the event at once.  But it
 * then handles events one by one, which come in groups after a sleep.  So no single look or sleep
 * shows which way is cheaper.  It is tried:
 *
 *     the waits are counted in stretches of STRETCH_WAITS;
 *     a stretch's cost is the thread's CPU time divided by what its waits brought;
 *     one way, looking or not, is the usual one; now and then a stretch tries the other way;
 *     when the other way is cheaper by MARGIN in two trials, it becomes the usual one.
 *
 * How seldom the other way is tried depends on how much dearer it was: its trials may make all
 * operations dearer by TRIAL_SHARE.  When the usual way's cost changes by half, the work has
 * changed, and the other way is tried at once.
 *
 * A program that has chosen to look (spin_us, or the dial at latency) looks before each sleep.
 *
 * While the owner looks it counts as awake: an unpark makes no system call.
 *
 * Owns:    nothing.
 * Threads: the owner's; the counters are read by any.
 * Always:  a look lasts at most limit_ns, and never past the turn's own time-out.
 * Tests:   tests/registry/test_busy_poll.c
 */
#include "registry/busy_poll.h"

#include "base/clock.h"
#include "base/compiler.h"

#include <ouro/runtime.h>

#include <time.h>
#include <unistd.h>

#define BALANCED_LIMIT_NS (50 * OURO__NS_PER_US)
#define LATENCY_LIMIT_NS (200 * OURO__NS_PER_US)

/* 128 waits at one connection take two or three milliseconds. */
enum { STRETCH_WAITS = 128, STRETCHES_SOON = 2 };

/* Numbers that clang lets one compare with a double. */
#define STRETCHES_MIN 32u
#define STRETCHES_MAX 1024u

#define MARGIN 0.02
#define TRIAL_SHARE 0.004
#define CHANGE 1.5
#define RATIO_MAX 16.0 /* one bad measurement is forgotten after a few good ones */

void ouro__busy_poll_init(struct ouro__busy_poll *poll, uint32_t spin_us, uint32_t dial)
{
    *poll = (struct ouro__busy_poll){.waits_left = STRETCH_WAITS, .stretches_left = 1};
    if (spin_us == UINT32_MAX)
        return;
    poll->is_forced = spin_us != 0 || dial == OURO_DIAL_LATENCY;
    if (spin_us != 0)
        poll->limit_ns = (int64_t)spin_us * OURO__NS_PER_US;
    else if (dial == OURO_DIAL_LATENCY)
        poll->limit_ns = LATENCY_LIMIT_NS;
    /* On one processor, who looks keeps the event from happening. */
    else if (dial == OURO_DIAL_BALANCED && sysconf(_SC_NPROCESSORS_ONLN) > 1)
        poll->limit_ns = BALANCED_LIMIT_NS;
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

static void end_trial(struct ouro__busy_poll *poll, double cost_ns)
{
    const bool is_first = poll->ratio == 0;
    double ratio = cost_ns / poll->usual_cost_ns;
    if (ratio > RATIO_MAX)
        ratio = RATIO_MAX;
    poll->ratio = is_first ? ratio : (poll->ratio + ratio) / 2;
    poll->is_trial = false;
    poll->stretches_left = stretches_until_trial(poll->ratio);
    if (poll->ratio >= 1 - MARGIN)
        return;
    if (is_first) { /* a program that has just begun runs in a cold cache */
        poll->stretches_left = STRETCHES_SOON;
        return;
    }
    poll->is_usual = !poll->is_usual;
    poll->usual_cost_ns = cost_ns;
    poll->ratio = 1 / poll->ratio;
    poll->stretches_left = stretches_until_trial(poll->ratio);
}

static void end_usual(struct ouro__busy_poll *poll, double cost_ns)
{
    double before_ns = poll->usual_cost_ns;
    poll->usual_cost_ns = cost_ns;
    if (before_ns != 0 && (cost_ns > CHANGE * before_ns || before_ns > CHANGE * cost_ns)) {
        poll->ratio = 0;
        poll->stretches_left = 1;
    }
    poll->is_trial = --poll->stretches_left == 0;
}

void ouro__busy_poll_next_stretch(struct ouro__busy_poll *poll)
{
    const bool looked = poll->is_usual != poll->is_trial;
    const int64_t now_ns = cpu_ns();
    const uint64_t looked_ns = ouro__counter_read(&poll->looked_ns);
    if (poll->cpu_begun_ns != 0) {
        const double units = (double)poll->units;
        const double used_ns = (double)(now_ns - poll->cpu_begun_ns + 1); /* never 0 */
        const double saved_ns =
            units * poll->plain_cost_ns - (used_ns - (double)(looked_ns - poll->looked_begun_ns));
        if (!looked)
            poll->plain_cost_ns = used_ns / units;
        else if (saved_ns > 0)
            ouro__counter_add(&poll->saved_ns, (uint64_t)saved_ns);
        if (poll->is_trial)
            end_trial(poll, used_ns / units);
        else
            end_usual(poll, used_ns / units);
    }
    poll->cpu_begun_ns = now_ns;
    poll->looked_begun_ns = looked_ns;
    poll->units = 0;
    poll->waits_left = STRETCH_WAITS;
}

bool ouro__busy_poll(struct ouro__busy_poll *poll, struct ouro__unpark *unpark,
                     bool (*has_events)(void *arg), void *arg, int64_t *timeout_ns)
{
    const int64_t begun_ns = ouro__clock_now_ns();
    int64_t now_ns = begun_ns;
    int64_t limit_ns =
        *timeout_ns < 0 || *timeout_ns > poll->limit_ns ? poll->limit_ns : *timeout_ns;
    /* turn() is called with the sleep announced.  Take that back while we look ... */
    bool found = ouro__exchange(&unpark->state, OURO__UNPARK_RUNNING, memory_order_acq_rel) ==
                 OURO__UNPARK_NOTIFIED;
    ouro__counter_add(&poll->looks, 1); /* who sees it counted finds an owner that is awake */
    while (!found && now_ns - begun_ns < limit_ns) {
        found = has_events(arg) ||
                ouro__load(&unpark->state, memory_order_acquire) == OURO__UNPARK_NOTIFIED;
        if (!found)
            ouro__cpu_relax();
        now_ns = ouro__clock_now_ns();
    }
    /* ... and announce it again before really sleeping: what came in between is seen here. */
    if (!found)
        found = !ouro__unpark_begin_sleep(unpark);
    int64_t took_ns = now_ns - begun_ns;
    /* A thread that loses its processor meanwhile takes longer, and uses no more CPU time. */
    ouro__counter_add(&poll->looked_ns, (uint64_t)(took_ns < limit_ns ? took_ns : limit_ns));
    if (found)
        ouro__counter_add(&poll->found, 1);
    else if (*timeout_ns >= 0)
        *timeout_ns = *timeout_ns > took_ns ? *timeout_ns - took_ns : 0;
    return found;
}
