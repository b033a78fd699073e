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

/* Each release wakes one more of those that sleep. */
OURO_TEST_UNIT(all_who_wait_get_it_in_the_end)
{
    struct shared shared = {.count = 0};
    pthread_t thread[THREADS];
    ouro__mutex_init(&shared.lock);
    ouro__mutex_lock(&shared.lock);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&thread[i], NULL, take_once, &shared), 0);
    ck_assert(ouro_test_until(is_waited_for, &shared, 10 * OURO_TEST_SECOND));
    ouro__mutex_unlock(&shared.lock);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(thread[i], NULL), 0);
    ck_assert_uint_eq(shared.count, THREADS);
    ouro__mutex_fini(&shared.lock);
}
