/* SPDX-License-Identifier: MIT */
/*
 * The readiness word's three changes: set, clear, shut down.
 *
 * Owns:    nothing.
 * Threads: any; set only by the driver's thread.
 * Always:  only set() moves ticks, only clear() takes bits out, and neither touches what is final.
 * Tests:   tests/model/model_readiness.c
 */
#include "registry/readiness.h"

uint64_t ouro__readiness_after(uint64_t word, uint32_t ready)
{
    uint64_t after = word | (ready & OURO__READY_ALL);
    if ((ready & OURO__READY_READ_SIDE) != 0)
        after = ouro__readiness_tick(after, OURO__READ_TICK_SHIFT);
    if ((ready & OURO__READY_WRITE_SIDE) != 0)
        after = ouro__readiness_tick(after, OURO__WRITE_TICK_SHIFT);
    return after;
}

uint64_t ouro__readiness_set(_Atomic uint64_t *word, uint32_t ready)
{
    uint64_t before = ouro__load(word, memory_order_relaxed);
    uint64_t after = 0;
    do {
        after = ouro__readiness_after(before, ready);
    } while (!ouro__compare_exchange(word, &before, after, memory_order_acq_rel));
    return before;
}

/* Whether the tick at @shift is the same in both words. */
static bool same_tick(uint64_t left, uint64_t right, unsigned shift)
{
    return ((left ^ right) & (OURO__TICK_MASK << shift)) == 0;
}

uint64_t ouro__readiness_clear(_Atomic uint64_t *word, uint64_t snapshot, uint32_t ready)
{
    uint32_t clearable = ready & OURO__READY_ALL & ~OURO__READY_FINAL;
    uint64_t before = ouro__load(word, memory_order_acquire);
    uint64_t after = 0;
    do {
        uint32_t bits = 0;
        if (same_tick(before, snapshot, OURO__READ_TICK_SHIFT))
            bits |= clearable & OURO__READY_READ_SIDE;
        if (same_tick(before, snapshot, OURO__WRITE_TICK_SHIFT))
            bits |= clearable & OURO__READY_WRITE_SIDE;
        after = before & ~(uint64_t)bits;
        if (after == before)
            return before;
    } while (!ouro__compare_exchange(word, &before, after, memory_order_acq_rel));
    return after;
}

uint64_t ouro__readiness_shut_down(_Atomic uint64_t *word)
{
    return ouro__fetch_or(word, OURO__READINESS_SHUTDOWN, memory_order_acq_rel);
}
