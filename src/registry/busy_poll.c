/* SPDX-License-Identifier: MIT */
/*
 * BusyPoll: looking for events for a moment before the driver sleeps, where that costs little.
 *
 * A thread that sleeps has to be woken, which on a virtual machine takes 15 to 70 us and nearly as
 * much CPU time.  A thread that looks at shared memory meanwhile sees the event at once.  Whether
 * looking is cheaper depends on how long the wait is and on what a sleep costs on this machine.  So
 * both are measured, and an account is kept in CPU time:
 *
 *     a look costs the time that it takes;
 *     a look that finds an event saves the cost of a sleep;
 *     and a small share of the time in which the thread works is given to it, to try again.
 *
 * The driver looks while the account is not overdrawn.  So looking costs at most that share of the
 * work where it never finds anything, and an idle driver, which does little work, hardly looks.
 * A program that has chosen to look (spin_us, or the dial at latency) looks before each sleep.
 *
 * The cost of a sleep is measured now and then, by the thread's own CPU clock.  It is read where
 * everything has been submitted, so that it is the sleep alone that is measured.
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

/* One part of the thread's work in SHARE is given to looking. */
enum { SHARE = 32, BALANCE_LIMITS = 4, MEASURED_EVERY = 16, MEAN_OF = 8 };

void ouro__busy_poll_init(struct ouro__busy_poll *poll, uint32_t spin_us, uint32_t dial)
{
    *poll = (struct ouro__busy_poll){.limit_ns = 0};
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
    poll->balance_ns = poll->limit_ns; /* one look on credit */
}

static void credit(struct ouro__busy_poll *poll, int64_t ns)
{
    int64_t most_ns = BALANCE_LIMITS * poll->limit_ns;
    poll->balance_ns = poll->balance_ns + ns < most_ns ? poll->balance_ns + ns : most_ns;
}

/* The thread has worked since the last look or sleep. */
static void credit_work(struct ouro__busy_poll *poll, int64_t now_ns)
{
    if (poll->awake_since_ns != 0)
        credit(poll, (now_ns - poll->awake_since_ns) / SHARE);
}

static int64_t cpu_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * OURO__NS_PER_SEC + now.tv_nsec;
}

bool ouro__busy_poll(struct ouro__busy_poll *poll, struct ouro__unpark *unpark,
                     bool (*has_events)(void *arg), void *arg, int64_t *timeout_ns)
{
    int64_t begun_ns = ouro__clock_now_ns();
    int64_t now_ns = begun_ns;
    credit_work(poll, begun_ns);
    poll->awake_since_ns = begun_ns;
    poll->is_measured = poll->until_measured == 0;
    if (!poll->is_forced && poll->balance_ns < 0)
        return has_events(arg); /* the sleep is to be measured */
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
    poll->awake_since_ns = now_ns;
    /* A thread that loses its processor meanwhile takes longer, and uses no more CPU time. */
    int64_t cost_ns = took_ns < limit_ns ? took_ns : limit_ns;
    ouro__counter_add(&poll->looked_ns, (uint64_t)cost_ns);
    credit(poll, (found ? poll->sleep_cost_ns : 0) - cost_ns);
    if (found) {
        ouro__counter_add(&poll->found, 1);
        ouro__counter_add(&poll->saved_ns, (uint64_t)poll->sleep_cost_ns);
    } else if (*timeout_ns >= 0) {
        *timeout_ns = *timeout_ns > took_ns ? *timeout_ns - took_ns : 0;
    }
    return found;
}

void ouro__busy_poll_sleeps(struct ouro__busy_poll *poll)
{
    if (poll->limit_ns == 0)
        return;
    credit_work(poll, ouro__clock_now_ns());
    if (poll->is_measured)
        poll->cpu_before_ns = cpu_ns();
}

void ouro__busy_poll_slept(struct ouro__busy_poll *poll)
{
    if (poll->limit_ns == 0)
        return;
    if (poll->until_measured > 0)
        poll->until_measured--;
    if (poll->is_measured) {
        int64_t cost_ns = cpu_ns() - poll->cpu_before_ns;
        poll->sleep_cost_ns +=
            poll->sleep_cost_ns == 0 ? cost_ns : (cost_ns - poll->sleep_cost_ns) / MEAN_OF;
        poll->until_measured = MEASURED_EVERY;
        poll->is_measured = false;
    }
    poll->awake_since_ns = ouro__clock_now_ns();
}
