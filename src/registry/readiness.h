/* SPDX-License-Identifier: MIT */
/*
 * The readiness word: what is known about a descriptor, in one atomic u64.
 *
 *     63        40 39        16 15     10   9      8     7      0
 *     +-----------+------------+-------+------+--------+---------+
 *     | write tick|  read tick |   0   |waited|shutdown|  ready  |
 *     +-----------+------------+-------+------+--------+---------+
 *
 * The driver sets: it ORs ready bits in and moves the tick of each direction it touched.  A task
 * clears: it names the word it saw, and its bits are taken out only where that direction's tick has
 * not moved since.  So
 *   - a stale clear never removes newer readiness, however many events lie between (the whole
 *     tick is compared; only exactly 2^24 events during one clear would go unnoticed);
 *   - a write event between a read event and its clear does not keep the read from being cleared;
 *   - READ_CLOSED, WRITE_CLOSED and SHUTDOWN are final: a clear masks and exchanges, it never
 *     rebuilds the word.
 *
 * WAITED says that somebody may wait; without it a change takes no lock, since it has nobody to
 * wake (registry/scheduled_io.c).
 *
 * Pure: no lock, no clock, no memory of its own.  tests/model explores all interleavings of it.
 */
#ifndef OURO_REGISTRY_READINESS_H
#define OURO_REGISTRY_READINESS_H

#include "base/atomic.h"
#include "base/compiler.h"

#include <ouro/poll_evented.h>

#include <stdbool.h>

#define OURO__READY_READ_SIDE (OURO_READABLE | OURO_READ_CLOSED | OURO_PRIORITY)
#define OURO__READY_WRITE_SIDE (OURO_WRITABLE | OURO_WRITE_CLOSED | OURO_ERROR)
#define OURO__READY_ALL (OURO__READY_READ_SIDE | OURO__READY_WRITE_SIDE)
#define OURO__READY_FINAL (OURO_READ_CLOSED | OURO_WRITE_CLOSED)
#define OURO__INTEREST_ALL (OURO_READABLE | OURO_WRITABLE | OURO_PRIORITY | OURO_ERROR)

#define OURO__READINESS_SHUTDOWN (UINT64_C(1) << 8)
#define OURO__READINESS_WAITED (UINT64_C(1) << 9)
#define OURO__READ_TICK_SHIFT 16
#define OURO__WRITE_TICK_SHIFT 40
#define OURO__TICK_MASK UINT64_C(0xffffff)

static inline uint32_t ouro__readiness_ready(uint64_t word)
{
    return (uint32_t)(word & OURO__READY_ALL);
}

static inline bool ouro__readiness_is_shutdown(uint64_t word)
{
    return (word & OURO__READINESS_SHUTDOWN) != 0;
}

/* The ready bits that satisfy an interest: a closed direction satisfies interest in it. */
static inline uint32_t ouro__interest_mask(uint32_t interest)
{
    uint32_t mask = interest & OURO__INTEREST_ALL;
    if ((interest & (OURO_READABLE | OURO_PRIORITY)) != 0)
        mask |= OURO_READ_CLOSED;
    if ((interest & OURO_WRITABLE) != 0)
        mask |= OURO_WRITE_CLOSED;
    return mask;
}

/* @word with the tick at @shift moved by one, wrapping inside its 24 bits. */
static inline uint64_t ouro__readiness_tick(uint64_t word, unsigned shift)
{
    uint64_t tick = (((word >> shift) & OURO__TICK_MASK) + 1) & OURO__TICK_MASK;
    return (word & ~(OURO__TICK_MASK << shift)) | (tick << shift);
}

/* @word with @ready in it and the ticks moved. */
uint64_t ouro__readiness_after(uint64_t word, uint32_t ready);

/* Driver: ORs @ready in and moves the ticks.  Returns the word before. */
uint64_t ouro__readiness_set(_Atomic uint64_t *word, uint32_t ready);

/*
 * Any thread: forgets the bits @ready that were seen in @snapshot, as far as their direction's tick
 * has not moved and they are not final.  Returns the word after.
 */
uint64_t ouro__readiness_clear(_Atomic uint64_t *word, uint64_t snapshot, uint32_t ready);

/* Any thread: sets the final SHUTDOWN flag.  Returns the word before. */
uint64_t ouro__readiness_shut_down(_Atomic uint64_t *word);

#endif
