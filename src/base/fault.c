/* SPDX-License-Identifier: MIT */
/*
 * Fault points (base/fault.h), which exist in testing builds only.
 *
 * Owns:    one counter of passages and one plan for each point, for the whole process.
 * Threads: any; a plan is armed before the threads that meet it look.
 * Always:  an unarmed point gives 0.
 */
#include "base/fault.h"

#ifdef OURO_TESTING
#include "base/assert.h"

#include <stdatomic.h>

struct plan {
    _Atomic uint64_t passed;
    _Atomic uint64_t first; /* 0: not armed */
    _Atomic uint64_t times;
    _Atomic uint64_t fired;
    _Atomic int error;
};

static struct plan plans[OURO__FAULT_POINTS];

int ouro__fault(enum ouro__fault_point point)
{
    struct plan *plan = &plans[point];
    uint64_t first = atomic_load(&plan->first);
    if (OURO__LIKELY(first == 0))
        return 0;
    uint64_t now = atomic_fetch_add(&plan->passed, 1) + 1;
    if (now < first || now - first >= atomic_load(&plan->times))
        return 0;
    atomic_fetch_add(&plan->fired, 1);
    return atomic_load(&plan->error);
}

void ouro__fault_arm(enum ouro__fault_point point, uint64_t first, uint64_t times, int error)
{
    OURO__ASSERT(point > OURO__FAULT_NONE && point < OURO__FAULT_POINTS);
    struct plan *plan = &plans[point];
    atomic_store(&plan->passed, 0);
    atomic_store(&plan->fired, 0);
    atomic_store(&plan->times, times);
    atomic_store(&plan->error, error);
    atomic_store(&plan->first, first);
}

void ouro__fault_disarm_all(void)
{
    for (unsigned i = 0; i < OURO__FAULT_POINTS; i++)
        atomic_store(&plans[i].first, 0);
}

uint64_t ouro__fault_fired(enum ouro__fault_point point)
{
    return atomic_load(&plans[point].fired);
}
#endif
