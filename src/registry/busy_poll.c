/* SPDX-License-Identifier: MIT */
/*
 * BusyPoll: looking for events for a moment before the driver sleeps, where that makes operations
 * no dearer.
 *
 * A thread that sleeps has to be woken, which on a virtual machine takes 15 to 70 us and nearly as
 * much CPU time.  A thread that looks at shared memory meanwhile sees the event at once.  But it
 * then handles events one by one, which come in groups after a sleep.  So no single look or sleep
 * shows which way is cheaper.  It is tried (registry/trial.c): the waits are counted in stretches
 * of STRETCH_WAITS, and a stretch's work is what its waits brought.
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

#include <unistd.h>

#define BALANCED_LIMIT_NS (50 * OURO__NS_PER_US)
#define LATENCY_LIMIT_NS (200 * OURO__NS_PER_US)

/* 128 waits at one connection take two or three milliseconds. */
enum { STRETCH_WAITS = 128 };

void ouro__busy_poll_init(struct ouro__busy_poll *poll, uint32_t spin_us, uint32_t dial)
{
    *poll = (struct ouro__busy_poll){.waits_left = STRETCH_WAITS};
    ouro__trial_init(&poll->trial);
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

void ouro__busy_poll_next_stretch(struct ouro__busy_poll *poll)
{
    const bool looked = ouro__trial_way(&poll->trial);
    const uint64_t looked_ns = ouro__counter_read(&poll->looked_ns);
    const double units = (double)poll->units;
    const double used_ns = (double)ouro__trial_next_stretch(&poll->trial, poll->units);
    if (used_ns > 0) {
        const double saved_ns =
            units * poll->plain_cost_ns - (used_ns - (double)(looked_ns - poll->looked_begun_ns));
        if (!looked)
            poll->plain_cost_ns = used_ns / units;
        else if (saved_ns > 0)
            ouro__counter_add(&poll->saved_ns, (uint64_t)saved_ns);
    }
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
