/* SPDX-License-Identifier: MIT */
/*
 * A lock, for the few places that are not lock-free.  All of ouro's locks are leaves: while one is
 * held, no other lock is taken and no function of the program is called.
 *
 * It is one word, so that an object of which there are tens of thousands can have one of its own;
 * a pthread_mutex_t takes 40 bytes.  Taking a lock that is free, and releasing one for which nobody
 * waits, is one atomic access; otherwise the threads sleep on a futex.  In a process with one
 * thread it is a load and a store, as with the C library's own locks.
 */
#ifndef OURO_BASE_MUTEX_H
#define OURO_BASE_MUTEX_H

#include "base/assert.h"

#ifdef OURO_MODEL
struct ouro__mutex {
    int held;
};
void ouro__mutex_init(struct ouro__mutex *mutex);
void ouro__mutex_fini(struct ouro__mutex *mutex);
void ouro__mutex_lock(struct ouro__mutex *mutex);
void ouro__mutex_unlock(struct ouro__mutex *mutex);
#else
#include "base/atomic.h"
#include "base/compiler.h"

#include <stdbool.h>

#if defined(__has_include)
#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h> /* glibc 2.32 */
#define OURO__SINGLE_THREADED ((bool)__libc_single_threaded)
#endif
#endif
#ifndef OURO__SINGLE_THREADED
#define OURO__SINGLE_THREADED false
#endif

enum { OURO__MUTEX_FREE = 0, OURO__MUTEX_HELD = 1, OURO__MUTEX_WAITED_FOR = 2 };

struct ouro__mutex {
    _Atomic uint32_t word; /* OURO__MUTEX_...; WAITED_FOR: held, and threads may wait */
};

/* Another thread has it: waits. */
OURO__COLD void ouro__mutex_lock_slowly(struct ouro__mutex *mutex);
/* It was released: wakes one that waits.  The mutex may be gone; its address is only a name. */
OURO__COLD void ouro__mutex_wake(struct ouro__mutex *mutex);

static inline void ouro__mutex_init(struct ouro__mutex *mutex)
{
    ouro__atomic_init(&mutex->word, OURO__MUTEX_FREE);
}

static inline void ouro__mutex_fini(struct ouro__mutex *mutex)
{
    OURO__ASSERT(ouro__load(&mutex->word, memory_order_relaxed) == OURO__MUTEX_FREE);
}

static inline void ouro__mutex_lock(struct ouro__mutex *mutex)
{
    uint32_t word = OURO__MUTEX_FREE;
    /* Acquire, although no other thread is there: one that has ended may have released it. */
    if (OURO__SINGLE_THREADED && ouro__load(&mutex->word, memory_order_acquire) == word)
        ouro__store(&mutex->word, OURO__MUTEX_HELD, memory_order_relaxed);
    else if (OURO__UNLIKELY(!ouro__compare_exchange(&mutex->word, &word, OURO__MUTEX_HELD,
                                                    memory_order_acquire)))
        ouro__mutex_lock_slowly(mutex);
}

static inline void ouro__mutex_unlock(struct ouro__mutex *mutex)
{
    uint32_t word = 0;
    if (OURO__SINGLE_THREADED) {
        word = ouro__load(&mutex->word, memory_order_relaxed);
        ouro__store(&mutex->word, OURO__MUTEX_FREE, memory_order_release);
    } else {
        word = ouro__exchange(&mutex->word, OURO__MUTEX_FREE, memory_order_release);
    }
    OURO__ASSERT(word != OURO__MUTEX_FREE);
    if (OURO__UNLIKELY(word == OURO__MUTEX_WAITED_FOR))
        ouro__mutex_wake(mutex);
}
#endif

#endif
