/* SPDX-License-Identifier: MIT */
/*
 * Timer wheel: one worker's timers.
 *
 * Hierarchical, as Varghese and Lauck describe ("Hashed and Hierarchical Timing Wheels", 1987): six
 * levels of 64 slots, the lowest of one millisecond each.  Insert and remove are a list operation
 * each, however many timers live; a timer is moved down at most five times before it fires.  A
 * timer never fires early and at most a tick late.
 *
 * Pure: it knows the time it is told.
 */
#ifndef OURO_TASK_TIMER_H
#define OURO_TASK_TIMER_H

#include "base/clock.h"
#include "base/list.h"

#include <stdbool.h>
#include <stdint.h>

#define OURO__TIMER_TICK_NS OURO__NS_PER_MS
enum { OURO__WHEEL_LEVELS = 6, OURO__WHEEL_SLOTS = 64 };

/* One timer, a member of whatever it is for. */
struct ouro__timer {
    struct ouro__list link; /* unlinked: not set */
    uint64_t tick;
    void (*fire)(struct ouro__timer *timer); /* may set it again, or release it */
};

struct ouro__timer_wheel {
    uint64_t now; /* in ticks; all earlier ones have been processed */
    uint64_t count;
    uint64_t occupied[OURO__WHEEL_LEVELS]; /* a bit a slot */
    struct ouro__list slot[OURO__WHEEL_LEVELS][OURO__WHEEL_SLOTS];
};

void ouro__timer_wheel_init(struct ouro__timer_wheel *wheel, int64_t now_ns);

static inline void ouro__timer_init(struct ouro__timer *timer, void (*fire)(struct ouro__timer *))
{
    ouro__list_init(&timer->link);
    timer->fire = fire;
}

static inline bool ouro__timer_is_set(const struct ouro__timer *timer)
{
    return !ouro__list_is_empty(&timer->link);
}

/* Sets a timer that is not set. */
void ouro__timer_set(struct ouro__timer_wheel *wheel, struct ouro__timer *timer, int64_t when_ns);

/* Unsets it; harmless when it is not set. */
void ouro__timer_unset(struct ouro__timer_wheel *wheel, struct ouro__timer *timer);

/* Fires what is due at @now_ns.  Returns how many. */
unsigned ouro__timer_wheel_advance(struct ouro__timer_wheel *wheel, int64_t now_ns);

/* The earliest time at which advance() has something to do; OURO__NEVER without timers. */
int64_t ouro__timer_wheel_next_ns(const struct ouro__timer_wheel *wheel);

#endif
