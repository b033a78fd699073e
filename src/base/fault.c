/* SPDX-License-Identifier: MIT */
/*
 * Fault points (base/fault.h), which exist in testing builds only.
 *
 * Owns:    one counter of passages and one plan for each point, for the whole process.
 * Threads: any; a plan is armed before the threads that meet it look.
 * Always:  an unarmed point gives 0.
 * Tests:   tests/harness/test_helpers.c, tests/net/test_tcp_connect.c
 */
#include "base/fault.h"
#include "base/atomic.h"

#ifdef OURO_TESTING
#include "base/assert.h"

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
    uint64_t first = ouro__load(&plan->first, memory_order_seq_cst);
    if (OURO__LIKELY(first == 0))
        return 0;
    uint64_t now = ouro__fetch_add(&plan->passed, 1, memory_order_seq_cst) + 1;
    if (now < first || now - first >= ouro__load(&plan->times, memory_order_seq_cst))
        return 0;
    (void)ouro__fetch_add(&plan->fired, 1, memory_order_seq_cst);
    return ouro__load(&plan->error, memory_order_seq_cst);
}

void ouro__fault_arm(enum ouro__fault_point point, uint64_t first, uint64_t times, int error)
{
    OURO__ASSERT(point > OURO__FAULT_NONE && point < OURO__FAULT_POINTS);
    struct plan *plan = &plans[point];
    ouro__store(&plan->passed, 0, memory_order_seq_cst);
    ouro__store(&plan->fired, 0, memory_order_seq_cst);
    ouro__store(&plan->times, times, memory_order_seq_cst);
    ouro__store(&plan->error, error, memory_order_seq_cst);
    ouro__store(&plan->first, first, memory_order_seq_cst);
}

void ouro__fault_disarm_all(void)
{
    for (unsigned i = 0; i < OURO__FAULT_POINTS; i++)
        ouro__store(&plans[i].first, 0, memory_order_seq_cst);
}

uint64_t ouro__fault_fired(enum ouro__fault_point point)
{
    return ouro__load(&plans[point].fired, memory_order_seq_cst);
}
#endif
