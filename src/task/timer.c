/* SPDX-License-Identifier: MIT */
/*
 * Timer wheel: one worker's timers.
 *
 * A timer lies on the level of the highest 6-bit digit in which its tick differs from now, in the
 * slot that this digit names.  When now reaches a slot above the lowest level, its timers are
 * sorted again by what is left of the difference.
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
/* The longest a wheel can look ahead, about two years; later ones are sorted again when it is over.
 */
#define TICKS_MAX ((UINT64_C(1) << (LEVEL_BITS * OURO__WHEEL_LEVELS)) - 1)

void ouro__timer_wheel_init(struct ouro__timer_wheel *wheel, int64_t now_ns)
{
    wheel->now = (uint64_t)(now_ns / OURO__TIMER_TICK_NS);
    wheel->count = 0;
    for (unsigned level = 0; level < OURO__WHEEL_LEVELS; level++) {
        wheel->occupied[level] = 0;
        for (unsigned slot = 0; slot < OURO__WHEEL_SLOTS; slot++)
            ouro__list_init(&wheel->slot[level][slot]);
    }
}

/* The first tick at which a timer for @when_ns may fire: rounded up, so never early. */
static uint64_t tick_of(int64_t when_ns)
{
    if (when_ns <= 0)
        return 0;
    uint64_t when = (uint64_t)when_ns;
    return when / OURO__TIMER_TICK_NS + (when % OURO__TIMER_TICK_NS != 0);
}

static void place(struct ouro__timer_wheel *wheel, struct ouro__timer *timer)
{
    uint64_t tick = timer->tick;
    if (tick <= wheel->now)
        tick = wheel->now + 1; /* the next advance() finds it */
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

void ouro__timer_unset(struct ouro__timer_wheel *wheel, struct ouro__timer *timer)
{
    if (!ouro__timer_is_set(timer))
        return;
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
 * before higher ones, since these begin only where the lower ones end.
 */
static bool next_slot(const struct ouro__timer_wheel *wheel, unsigned *out_level,
                      uint64_t *out_tick)
{
    for (unsigned level = 0; level < OURO__WHEEL_LEVELS; level++) {
        uint64_t occupied = wheel->occupied[level];
        if (occupied == 0)
            continue;
        unsigned shift = level * LEVEL_BITS;
        unsigned here = (unsigned)(wheel->now >> shift) & SLOT_MASK;
        uint64_t turned = here == 0 ? occupied : (occupied >> here) | (occupied << (64 - here));
        unsigned ahead = (unsigned)__builtin_ctzll(turned);
        uint64_t tick = ((wheel->now >> shift) + ahead) << shift;
        if (ahead == 0 && level > 0) /* the current slot's timers are a whole round away */
            tick += UINT64_C(1) << (shift + LEVEL_BITS);
        *out_level = level;
        *out_tick = tick < wheel->now ? wheel->now : tick;
        return true;
    }
    return false;
}

/* Fires, or sorts again, the timers of one slot. */
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
    uint64_t target = (uint64_t)(now_ns / OURO__TIMER_TICK_NS);
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

int64_t ouro__timer_wheel_next_ns(const struct ouro__timer_wheel *wheel)
{
    unsigned level = 0;
    uint64_t tick = 0;
    if (wheel->count == 0 || !next_slot(wheel, &level, &tick))
        return OURO__NEVER;
    return (int64_t)tick * OURO__TIMER_TICK_NS;
}
