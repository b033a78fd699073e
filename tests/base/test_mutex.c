/* SPDX-License-Identifier: MIT */
/*
 * The lock: one thread at a time has it, and one that waits for it is woken.
 */
#include "support/ouro_test.h"

#include <pthread.h>

#include "base/mutex.h"

enum { THREADS = 4, ROUNDS = 20000 };

struct shared {
    struct ouro__mutex lock;
    uint64_t count; /* under the lock */
};

static void *count_up(void *arg)
{
    struct shared *shared = arg;
    for (int i = 0; i < ROUNDS; i++) {
        ouro__mutex_lock(&shared->lock);
        shared->count++;
        ouro__mutex_unlock(&shared->lock);
    }
    return NULL;
}

OURO_TEST_UNIT(one_thread_at_a_time_has_it)
{
    struct shared shared = {.count = 0};
    pthread_t thread[THREADS];
    ouro__mutex_init(&shared.lock);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&thread[i], NULL, count_up, &shared), 0);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(thread[i], NULL), 0);
    ck_assert_uint_eq(shared.count, (uint64_t)THREADS * ROUNDS);
    ouro__mutex_fini(&shared.lock);
}

static void *take_once(void *arg)
{
    struct shared *shared = arg;
    ouro__mutex_lock(&shared->lock);
    shared->count++;
    ouro__mutex_unlock(&shared->lock);
    return NULL;
}

static bool is_waited_for(void *arg)
{
    struct shared *shared = arg;
    return ouro__load(&shared->lock.word, memory_order_relaxed) == OURO__MUTEX_WAITED_FOR;
}

/* The caller has @shared's lock.  Each release wakes one more of those that sleep. */
static void release_to_many(struct shared *shared)
{
    pthread_t thread[THREADS];
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&thread[i], NULL, take_once, shared), 0);
    ck_assert(ouro_test_until(is_waited_for, shared, 10 * OURO_TEST_SECOND));
    ouro__mutex_unlock(&shared->lock);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(thread[i], NULL), 0);
    ck_assert_uint_eq(shared->count, THREADS);
    ouro__mutex_fini(&shared->lock);
}

OURO_TEST_UNIT(all_who_wait_get_it_in_the_end)
{
    struct shared shared = {.count = 0};
    ouro__mutex_init(&shared.lock);
    ouro__mutex_lock(&shared.lock);
    release_to_many(&shared);
}

/* What a lock does while the process has one thread, which is so before main(). */
static struct {
    bool is_single;
    uint32_t held;
    uint32_t released;
    struct shared kept;
} before_main;

__attribute__((constructor)) static void lock_with_one_thread(void)
{
    struct ouro__mutex lock;
    before_main.is_single = OURO__SINGLE_THREADED;
    ouro__mutex_init(&lock);
    ouro__mutex_lock(&lock);
    before_main.held = ouro__load(&lock.word, memory_order_relaxed);
    ouro__mutex_unlock(&lock);
    before_main.released = ouro__load(&lock.word, memory_order_relaxed);
    ouro__mutex_init(&before_main.kept.lock);
    ouro__mutex_lock(&before_main.kept.lock);
}

OURO_TEST_UNIT(a_process_with_one_thread_locks_too)
{
    if (!before_main.is_single)
        ouro_test_skip(
            "the process had other threads before main(), or the C library does not say");
    ck_assert_uint_eq(before_main.held, OURO__MUTEX_HELD);
    ck_assert_uint_eq(before_main.released, OURO__MUTEX_FREE);
    release_to_many(&before_main.kept); /* threads that began later find it held */
}
