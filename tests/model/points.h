/* SPDX-License-Identifier: MIT */
/*
 * Included before everything else in sources that use <stdatomic.h> by its own names: makes each of
 * those accesses a point of the explorer, too.  Counters (ouro__counter_add) stay what they are.
 */
#ifndef OURO_MODEL_POINTS_H
#define OURO_MODEL_POINTS_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/atomic.h"

#undef OURO__SCHEDULE_POINT
#define OURO__SCHEDULE_POINT() ((void)0) /* the macros below are points themselves */

#undef atomic_load_explicit
#undef atomic_store_explicit
#undef atomic_exchange_explicit
#undef atomic_fetch_or_explicit
#undef atomic_fetch_and_explicit
#undef atomic_fetch_add_explicit
#undef atomic_fetch_sub_explicit
#undef atomic_compare_exchange_strong_explicit

/* One operating system thread runs all of it, so what is atomic to the models need not be more. */
#define MODEL_CHANGE(object, after)                                                                \
    __extension__({                                                                                \
        ouro__model_point();                                                                       \
        __auto_type object_ = (object);                                                            \
        __typeof__((void)0, *object_) before_ = *object_;                                          \
        *object_ = (after);                                                                        \
        before_;                                                                                   \
    })

#define atomic_load_explicit(object, order) (ouro__model_point(), *(object))
#define atomic_store_explicit(object, value, order)                                                \
    (ouro__model_point(), (void)(*(object) = (value)))
#define atomic_exchange_explicit(object, value, order) MODEL_CHANGE(object, value)
#define atomic_fetch_or_explicit(object, bits, order) MODEL_CHANGE(object, before_ | (bits))
#define atomic_fetch_and_explicit(object, bits, order) MODEL_CHANGE(object, before_ &(bits))
#define atomic_fetch_add_explicit(object, value, order) MODEL_CHANGE(object, before_ + (value))
#define atomic_fetch_sub_explicit(object, value, order) MODEL_CHANGE(object, before_ - (value))
#define atomic_compare_exchange_strong_explicit(object, expected, desired, order, failed)          \
    __extension__({                                                                                \
        ouro__model_point();                                                                       \
        __auto_type object_ = (object);                                                            \
        __auto_type expected_ = (expected);                                                        \
        bool equal_ = *object_ == *expected_;                                                      \
        if (equal_)                                                                                \
            *object_ = (desired);                                                                  \
        else                                                                                       \
            *expected_ = *object_;                                                                 \
        equal_;                                                                                    \
    })

#endif
