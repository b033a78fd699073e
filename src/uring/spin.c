/* SPDX-License-Identifier: MIT */
/*
 * Spin: looking at the ring for a moment before sleeping in the kernel.
 *
 * Waking a sleeper on another core costs 15 to 70 us on a virtual machine; reading a few words of
 * shared memory costs almost nothing.  The words: the tail of the completion queue, the kernel's
 * flag that it has work to finish, and the unpark word.  While the owner spins it counts as awake,
 * so an unpark makes no system call either.
 *
 * A spin is worth its time only where waits are short.  So each spin that finds something adds
 * credit, each one that does not takes credit away, and without credit the owner sleeps at once,
 * until a sleep was short.  An idle owner hardly spins, because it waits seldom.
 *
 * Owns:    nothing.
 * Threads: the owner's.
 * Always:  at most budget_ns a turn, and never past the turn's own time-out.
 * Tests:   tests/registry/test_driver_wake.c
 */
#include "uring/ring.h"

#include <unistd.h>

#define BUDGET_DEFAULT_NS (50 * OURO__NS_PER_US)

enum { CREDIT_MAX = 4, LOOKS_PER_CLOCK = 16 };

void ouro__uring_spin_init(struct ouro__uring_spin *spin, uint32_t spin_us)
{
    *spin = (struct ouro__uring_spin){.credit = 1};
    if (spin_us == UINT32_MAX)
        return;
    if (spin_us != 0) {
        spin->budget_ns = (int64_t)spin_us * OURO__NS_PER_US;
        spin->always = true;
    } else if (sysconf(_SC_NPROCESSORS_ONLN) > 1) {
        spin->budget_ns = BUDGET_DEFAULT_NS;
    }
}

bool ouro__uring_spin_wanted(const struct ouro__uring_spin *spin)
{
    return spin->budget_ns > 0 && (spin->always || spin->credit > 0);
}

/* Looks until @until_ns. */
static bool look(const struct ouro__uring *uring, int64_t until_ns, int64_t *out_now_ns)
{
    struct ouro__unpark *unpark = &uring->driver.handle->unpark;
    for (;;) {
        for (unsigned i = 0; i < LOOKS_PER_CLOCK; i++) {
            if (ouro__uring_has_cqe(uring) || ouro__uring_has_task_work(uring) ||
                ouro__load(&unpark->state, memory_order_acquire) == OURO__UNPARK_NOTIFIED)
                return true;
            ouro__cpu_relax();
        }
        *out_now_ns = ouro__clock_now_ns();
        if (*out_now_ns >= until_ns)
            return false;
    }
}

bool ouro__uring_spin(struct ouro__uring *uring, int64_t *timeout_ns)
{
    struct ouro__uring_spin *spin = &uring->spin;
    struct ouro__unpark *unpark = &uring->driver.handle->unpark;
    bool forever = *timeout_ns < 0;
    int64_t budget_ns = forever || *timeout_ns > spin->budget_ns ? spin->budget_ns : *timeout_ns;
    /* turn() is called with the sleep announced.  Take that back while we look ... */
    bool found = ouro__exchange(&unpark->state, OURO__UNPARK_RUNNING, memory_order_acq_rel) ==
                 OURO__UNPARK_NOTIFIED;
    ouro__counter_add(&spin->tried, 1);
    int64_t begun_ns = ouro__clock_now_ns();
    int64_t now_ns = begun_ns;
    if (!found)
        found = look(uring, begun_ns + budget_ns, &now_ns);
    /* ... and announce it again before really sleeping: what came in between is seen here. */
    if (!found)
        found = !ouro__unpark_begin_sleep(unpark);
    if (found) {
        ouro__counter_add(&spin->found, 1);
        if (spin->credit < CREDIT_MAX)
            spin->credit++;
        return true;
    }
    if (spin->credit > 0)
        spin->credit--;
    if (!forever)
        *timeout_ns = *timeout_ns > now_ns - begun_ns ? *timeout_ns - (now_ns - begun_ns) : 0;
    return false;
}

void ouro__uring_spin_learn(struct ouro__uring_spin *spin, int64_t slept_ns)
{
    /* The wake itself takes about as long as a spin lasts. */
    if (slept_ns <= 2 * spin->budget_ns && spin->credit < CREDIT_MAX)
        spin->credit++;
}
