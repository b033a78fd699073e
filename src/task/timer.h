/* SPDX-License-Identifier: MIT */
/*
 * Timer wheel: one worker's timers.
 *
 * Hierarchical, as Varghese and Lauck describe ("Hashed and Hierarchical Timing Wheels", 1987):
 * seven levels of 64 slots; a slot of the lowest level is one tick of 16 microseconds.  Insert and
 * remove are a list operation each, however many timers are set.  A timer is moved to a lower level
 * at most six times before it fires.
 *
 * A timer never fires early.  It fires at most one tick late when it is alone, and at most six
 * when others follow so closely that one wake of the worker can fire them all.
 *
 * The wheel reads no clock: its callers pass the time.
 */
#ifndef OURO_TASK_TIMER_H
#define OURO_TASK_TIMER_H

#include "base/clock.h"
#include "base/list.h"

#include <stdbool.h>
#include <stdint.h>

/* A tick is a power of two of nanoseconds, so that a time becomes a tick by a shift.  Six ticks are
 * the 100 microseconds that ouro/time.h promises. */
enum {
    OURO__TIMER_TICK_SHIFT = 14,
    OURO__TIMER_SHARED_TICKS = 5,
    OURO__WHEEL_LEVELS = 7,
    OURO__WHEEL_SLOTS = 64,
};
#define OURO__TIMER_TICK_NS (INT64_C(1) << OURO__TIMER_TICK_SHIFT)

/* One timer, a member of whatever it is for. */
struct ouro__timer {
    struct ouro__list link;                  /* unlinked: not set */
    uint64_t tick;                           /* when it fires */
    void (*fire)(struct ouro__timer *timer); /* may set it again, or release it */
};

struct ouro__timer_wheel {
    uint64_t now;                          /* in ticks; up to here all are processed */
    uint64_t count;                        /* timers that are set */
    uint64_t occupied[OURO__WHEEL_LEVELS]; /* a bit for each slot */
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

/* Unsets a timer that is set. */
void ouro__timer_remove(struct ouro__timer_wheel *wheel, struct ouro__timer *timer);

/* Unsets it; does nothing when it is not set. */
static inline void ouro__timer_unset(struct ouro__timer_wheel *wheel, struct ouro__timer *timer)
{
    if (ouro__timer_is_set(timer))
        ouro__timer_remove(wheel, timer);
}

/* Fires what is due at @now_ns.  Returns how many. */
unsigned ouro__timer_wheel_advance(struct ouro__timer_wheel *wheel, int64_t now_ns);

/*
 * When the worker must call advance() next; OURO__NEVER without timers.  It is the time of the
 * earliest timer, or at most OURO__TIMER_SHARED_TICKS later if other timers fire until then, or
 * earlier if many far timers are to be moved to lower levels.
 */
int64_t ouro__timer_wheel_next_ns(const struct ouro__timer_wheel *wheel);

#endif
