/* SPDX-License-Identifier: MIT */
/*
 * Mutex: the part of a lock that is needed when two threads want it at once.
 *
 * A thread that finds the lock held writes WAITED_FOR before it sleeps, and sleeps only while that
 * is there.  Who releases the lock reads the word in the same step as it sets it free, so it knows
 * whether it must wake somebody.  A thread that got the lock here leaves WAITED_FOR in it, because
 * others may still sleep: the release then makes one system call that may be for nobody.
 *
 * Owns:    nothing.
 * Threads: any.
 * Always:  while a thread sleeps, the word is WAITED_FOR, or a wake is on its way.
 * Tests:   tests/base/test_mutex.c
 */
#include "base/mutex.h"

#include "base/futex.h"

void ouro__mutex_lock_slowly(struct ouro__mutex *mutex)
{
    while (ouro__exchange(&mutex->word, OURO__MUTEX_WAITED_FOR, memory_order_acquire) !=
           OURO__MUTEX_FREE)
        ouro__futex_wait(&mutex->word, OURO__MUTEX_WAITED_FOR, OURO__NEVER);
}

void ouro__mutex_wake(struct ouro__mutex *mutex)
{
    ouro__futex_wake_one(&mutex->word);
}
