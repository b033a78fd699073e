/* SPDX-License-Identifier: MIT */
/*
 * Timer wheel: one worker's timers.
 *
 * Ticks are numbers of 6-bit digits, a digit for each level.  A timer lies on the level of the
 * highest digit in which its tick differs from now, in the slot that this digit names.  When now
 * reaches a slot above the lowest level, the timers in it move to lower levels, by the digits that
 * still differ.
 *
 * Owns:    nothing; timers are members of others.
 * Threads: the worker's.
 * Always:  a slot's bit in `occupied` is set exactly when its list is not empty.
 * Tests:   tests/task/test_timer.c
 */
#include "task/timer.h"

#include "base/assert.h"

#define LEVEL_BITS 6
#define SLOT_MASK (OURO__WHEEL_SLOTS - 1)
/* The longest a wheel can look ahead, 2.3 years; a later timer lies in the last slot, and is placed
 * again when now gets there. */
#define TICKS_MAX ((UINT64_C(1) << (LEVEL_BITS * OURO__WHEEL_LEVELS)) - 1)
/* Timers this many ticks after the earliest are fired by the same wake of the worker: a wake costs
 * far more than a timer. */
#define SHARED_TICKS OURO__TIMER_SHARED_TICKS

void ouro__timer_wheel_init(struct ouro__timer_wheel *wheel, int64_t now_ns)
{
    wheel->now = (uint64_t)now_ns >> OURO__TIMER_TICK_SHIFT;
    wheel->count = 0;
    for (unsigned level = 0; level < OURO__WHEEL_LEVELS; level++) {
        wheel->occupied[level] = 0;
        for (unsigned slot = 0; slot < OURO__WHEEL_SLOTS; slot++)
            ouro__list_init(&wheel->slot[level][slot]);
    }
}

/* The first tick at which a timer for @when_ns may fire: rounded up, so that none fires early. */
static uint64_t tick_of(int64_t when_ns)
{
    if (when_ns <= 0)
        return 0;
    return ((uint64_t)when_ns + OURO__TIMER_TICK_NS - 1) >> OURO__TIMER_TICK_SHIFT;
}

static void place(struct ouro__timer_wheel *wheel, struct ouro__timer *timer)
{
    uint64_t tick = timer->tick;
    if (tick <= wheel->now)
        tick = wheel->now + 1; /* the next advance() fires it */
    if (tick - wheel->now > TICKS_MAX)
        tick = wheel->now + TICKS_MAX;
    uint64_t differs = (tick ^ wheel->now) | SLOT_MASK;
    unsigned level = (63u - (unsigned)__builtin_clzll(differs)) / LEVEL_BITS;
    if (level >= OURO__WHEEL_LEVELS)
        level = OURO__WHEEL_LEVELS - 1;
    unsigned slot = (unsigned)(tick >> (level * LEVEL_BITS)) & SLOT_MASK;
    ouro__list_push_back(&wheel->slot[level][slot], &timer->link);
    wheel->occupied[level] |= UINT64_C(1) << slot;
}

void ouro__timer_set(struct ouro__timer_wheel *wheel, struct ouro__timer *timer, int64_t when_ns)
{
    OURO__ASSERT(!ouro__timer_is_set(timer));
    timer->tick = tick_of(when_ns);
    wheel->count++;
    place(wheel, timer);
}

void ouro__timer_remove(struct ouro__timer_wheel *wheel, struct ouro__timer *timer)
{
    struct ouro__list *neighbour = timer->link.next;
    bool last = timer->link.prev == neighbour; /* then both are the slot's head */
    ouro__list_remove(&timer->link);
    wheel->count--;
    if (!last)
        return;
    uintptr_t index = (uintptr_t)(neighbour - &wheel->slot[0][0]);
    if (index < OURO__WHEEL_LEVELS * OURO__WHEEL_SLOTS)
        wheel->occupied[index / OURO__WHEEL_SLOTS] &= ~(UINT64_C(1) << (index % OURO__WHEEL_SLOTS));
}

/*
 * The next slot that is not empty: its level and the tick at which it begins.  Lower levels come
 * before higher ones, since these begin only where the lower ones end.  The slot that now is in
 * comes last on its level: only the highest level has timers there, a whole round away.
 */
static bool next_slot(const struct ouro__timer_wheel *wheel, unsigned *out_level,
                      uint64_t *out_tick)
{
    for (unsigned level = 0; level < OURO__WHEEL_LEVELS; level++) {
        uint64_t occupied = wheel->occupied[level];
        if (occupied == 0)
            continue;
        unsigned shift = level * LEVEL_BITS;
        unsigned first = (unsigned)((wheel->now >> shift) + 1) & SLOT_MASK;
        uint64_t turned = first == 0 ? occupied : (occupied >> first) | (occupied << (64 - first));
        unsigned ahead = 1 + (unsigned)__builtin_ctzll(turned);
        *out_level = level;
        *out_tick = ((wheel->now >> shift) + ahead) << shift;
        return true;
    }
    return false;
}

/* Fires the timers of one slot, or moves them to lower levels. */
static unsigned process(struct ouro__timer_wheel *wheel, unsigned level)
{
    unsigned slot = (unsigned)(wheel->now >> (level * LEVEL_BITS)) & SLOT_MASK;
    struct ouro__list due;
    ouro__list_init(&due);
    ouro__list_splice_back(&due, &wheel->slot[level][slot]);
    wheel->occupied[level] &= ~(UINT64_C(1) << slot);
    unsigned fired = 0;
    while (!ouro__list_is_empty(&due)) {
        struct ouro__timer *timer = OURO__CONTAINER_OF(due.next, struct ouro__timer, link);
        ouro__list_remove(&timer->link);
        if (timer->tick <= wheel->now) {
            wheel->count--;
            fired++;
            timer->fire(timer);
        } else {
            place(wheel, timer);
        }
    }
    return fired;
}

unsigned ouro__timer_wheel_advance(struct ouro__timer_wheel *wheel, int64_t now_ns)
{
    uint64_t target = (uint64_t)now_ns >> OURO__TIMER_TICK_SHIFT;
    unsigned fired = 0;
    unsigned level = 0;
    uint64_t tick = 0;
    while (target > wheel->now && next_slot(wheel, &level, &tick) && tick <= target) {
        wheel->now = tick;
        fired += process(wheel, level);
    }
    if (target > wheel->now)
        wheel->now = target;
    return fired;
}

/*
 * The tick to wake at for a slot of a higher level, which begins at tick @begin.  Without this a
 * worker with a single far timer would wake at the begin of each slot that the timer passes through
 * on its way down.  A slot with more than a few timers is not searched, since each is a cache line
 * and this is asked before each wait: all of them share the wake at its begin.
 */
static uint64_t wake_in(const struct ouro__list *slot, uint64_t begin)
{
    enum { LOOK_AT = 3 };
    uint64_t tick[LOOK_AT];
    unsigned count = 0;
    uint64_t earliest = UINT64_MAX;
    for (const struct ouro__list *at = slot->next; at != slot; at = at->next) {
        if (count == LOOK_AT)
            return begin;
        tick[count] = OURO__CONTAINER_OF(at, struct ouro__timer, link)->tick;
        if (tick[count] < earliest)
            earliest = tick[count];
        count++;
    }
    uint64_t wake = earliest;
    for (unsigned i = 0; i < count; i++) {
        if (tick[i] > wake && tick[i] - earliest <= SHARED_TICKS)
            wake = tick[i];
    }
    return wake;
}

/* As wake_in(), for the slot of the lowest level that is tick @tick. */
static uint64_t wake_near(uint64_t occupied, uint64_t tick)
{
    unsigned slot = (unsigned)tick & SLOT_MASK;
    uint64_t near = (occupied >> slot) & ((UINT64_C(2) << SHARED_TICKS) - 1);
    return tick + (63u - (unsigned)__builtin_clzll(near));
}

int64_t ouro__timer_wheel_next_ns(const struct ouro__timer_wheel *wheel)
{
    unsigned level = 0;
    uint64_t tick = 0;
    if (wheel->count == 0 || !next_slot(wheel, &level, &tick))
        return OURO__NEVER;
    unsigned slot = (unsigned)(tick >> (level * LEVEL_BITS)) & SLOT_MASK;
    tick =
        level == 0 ? wake_near(wheel->occupied[0], tick) : wake_in(&wheel->slot[level][slot], tick);
    if (tick > (uint64_t)INT64_MAX >> OURO__TIMER_TICK_SHIFT)
        return OURO__NEVER;
    return (int64_t)(tick << OURO__TIMER_TICK_SHIFT);
}
