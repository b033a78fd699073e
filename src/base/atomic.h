/* SPDX-License-Identifier: MIT */
/*
 * Atomics with a seam: the lock-free parts (readiness word, unpark, inbox) use these names, and the
 * interleaving tests compile those parts with OURO_MODEL, where before each access the schedule
 * explorer chooses the thread that runs next.  Otherwise they are plain <stdatomic.h>.
 */
#ifndef OURO_BASE_ATOMIC_H
#define OURO_BASE_ATOMIC_H

#include <stdatomic.h>
#include <stdint.h>

#ifdef OURO_MODEL
void ouro__model_point(void); /* the explorer's: may run another thread of the model */
#define OURO__SCHEDULE_POINT() ouro__model_point()
#else
#define OURO__SCHEDULE_POINT() ((void)0)
#endif

/* Before the object is shared. */
#define ouro__atomic_init(object, value) atomic_init(object, value)

#define ouro__load(object, order) (OURO__SCHEDULE_POINT(), atomic_load_explicit(object, order))
#define ouro__store(object, value, order)                                                          \
    (OURO__SCHEDULE_POINT(), atomic_store_explicit(object, value, order))
#define ouro__exchange(object, value, order)                                                       \
    (OURO__SCHEDULE_POINT(), atomic_exchange_explicit(object, value, order))
#define ouro__fetch_or(object, bits, order)                                                        \
    (OURO__SCHEDULE_POINT(), atomic_fetch_or_explicit(object, bits, order))
#define ouro__fetch_add(object, value, order)                                                      \
    (OURO__SCHEDULE_POINT(), atomic_fetch_add_explicit(object, value, order))
#define ouro__fetch_and(object, bits, order)                                                       \
    (OURO__SCHEDULE_POINT(), atomic_fetch_and_explicit(object, bits, order))
#define ouro__fetch_sub(object, value, order)                                                      \
    (OURO__SCHEDULE_POINT(), atomic_fetch_sub_explicit(object, value, order))
/* Strong: fails only when *object was not *expected; then *expected is what it was. */
#define ouro__compare_exchange(object, expected, desired, order)                                   \
    (OURO__SCHEDULE_POINT(), atomic_compare_exchange_strong_explicit(object, expected, desired,    \
                                                                     order, memory_order_acquire))

/*
 * A counter that one thread writes and others may read: no read-modify-write, so it costs what a
 * plain increment costs.
 */
struct ouro__counter {
    _Atomic uint64_t value;
};

static inline void ouro__counter_add(struct ouro__counter *counter, uint64_t n)
{
    uint64_t now = atomic_load_explicit(&counter->value, memory_order_relaxed);
    atomic_store_explicit(&counter->value, now + n, memory_order_relaxed);
}

static inline uint64_t ouro__counter_read(const struct ouro__counter *counter)
{
    return atomic_load_explicit(&counter->value, memory_order_relaxed);
}

#endif
