/* SPDX-License-Identifier: MIT */
/*
 * poll_fn and wakers: wakes from any thread, repeated wakes, and wakes that come too late.
 *
 * Owns:    nothing.
 * Threads: the runtime's, and some that wake.
 * Always:  a wake is not lost; a clone is dropped once.
 */
#include "support/ouro_test.h"
#include "support/runtime.h"

#include <errno.h>
#include <ouro.h>
#include <pthread.h>
#include <stdatomic.h>

struct bell {
    pthread_mutex_t lock;
    struct ouro_waker waker;
    bool has_rung;
    int polls;
};

static enum ouro_poll hear(void *arg, const struct ouro_waker *waker)
{
    struct bell *bell = arg;
    enum ouro_poll poll = OURO_POLL_READY;
    (void)pthread_mutex_lock(&bell->lock);
    bell->polls++;
    if (!bell->has_rung) {
        ouro_waker_drop(&bell->waker);
        bell->waker = ouro_waker_clone(waker);
        poll = OURO_POLL_PENDING;
    }
    (void)pthread_mutex_unlock(&bell->lock);
    return poll;
}

static void *ring(void *arg)
{
    struct bell *bell = arg;
    (void)pthread_mutex_lock(&bell->lock);
    bell->has_rung = true;
    struct ouro_waker waker = bell->waker;
    bell->waker = (struct ouro_waker){.vtable = NULL};
    (void)pthread_mutex_unlock(&bell->lock);
    ouro_waker_wake(&waker);
    ouro_waker_wake(&waker);
    ouro_waker_drop(&waker);
    ouro_waker_drop(&waker);
    return NULL;
}

static int hears_another_thread(void *arg)
{
    (void)arg;
    for (int i = 0; i < 200; i++) {
        struct bell bell = {.lock = PTHREAD_MUTEX_INITIALIZER};
        pthread_t thread;
        ck_assert_int_eq(pthread_create(&thread, NULL, ring, &bell), 0);
        ck_assert_int_eq(ouro_poll_fn(hear, &bell), 0);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
        ouro_waker_drop(&bell.waker);
    }
    return 0;
}

OURO_TEST(a_wake_from_another_thread_is_not_lost)
{
    ouro_test_everywhere(hears_another_thread, NULL);
}

static int rings_from_task(void *arg)
{
    (void)ring(arg);
    return 0;
}

static int hears_another_task(void *arg)
{
    (void)arg;
    for (int i = 0; i < 200; i++) {
        struct bell bell = {.lock = PTHREAD_MUTEX_INITIALIZER};
        struct ouro_task *task = NULL;
        ck_assert_int_eq(ouro_task_spawn(rings_from_task, &bell, &task), 0);
        ck_assert_int_eq(ouro_poll_fn(hear, &bell), 0);
        ck_assert_int_eq(ouro_task_join(task, NULL), 0);
        ck_assert_int_le(bell.polls, 3); /* the bell wakes twice */
        ouro_waker_drop(&bell.waker);
    }
    return 0;
}

OURO_TEST(a_wake_from_another_task_is_not_lost)
{
    ouro_test_everywhere(hears_another_task, NULL);
}

static enum ouro_poll wakes_itself(void *arg, const struct ouro_waker *waker)
{
    int *left = arg;
    if ((*left)-- == 0)
        return OURO_POLL_READY;
    ouro_waker_wake(waker);
    return OURO_POLL_PENDING;
}

static int wakes_during_poll(void *arg)
{
    int left = 1000;
    (void)arg;
    return ouro_poll_fn(wakes_itself, &left);
}

OURO_TEST(a_wake_during_the_poll_is_not_lost)
{
    ouro_test_everywhere(wakes_during_poll, NULL);
}

static struct bell late_bell = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int times_out(void *arg)
{
    struct ouro_deadline scope;
    ck_assert_int_eq(ouro_deadline_begin(&scope, 5 * OURO_MILLISECOND), 0);
    ck_assert_int_eq(ouro_poll_fn(hear, arg), -ETIMEDOUT);
    ouro_deadline_end(&scope);
    return 0;
}

OURO_TEST(a_waker_may_outlive_its_waiter_and_its_runtime)
{
    ck_assert_int_eq(ouro_test_in_task(times_out, &late_bell), 0);
    (void)ring(&late_bell);
    late_bell.has_rung = false;
    ck_assert_int_eq(ouro_test_in_task_of_many(times_out, &late_bell), 0);
    (void)ring(&late_bell);
    late_bell.has_rung = false;
    ck_assert_int_eq(ouro_test_in_thread(times_out, &late_bell), 0);
    (void)ring(&late_bell);
}

static int is_cancelled(void *arg)
{
    return ouro_poll_fn(hear, arg);
}

static int cancel_a_poll(void *arg)
{
    (void)arg;
    struct bell bell = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct ouro_task *task = NULL;
    int result = 0;
    ck_assert_int_eq(ouro_task_spawn(is_cancelled, &bell, &task), 0);
    ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
    ck_assert_int_eq(ouro_task_cancel(task), 0);
    ck_assert_int_eq(ouro_task_join(task, &result), 0);
    ck_assert_int_eq(result, -ECANCELED);
    (void)ring(&bell);
    return 0;
}

OURO_TEST(a_poll_can_be_cancelled)
{
    ouro_test_everywhere(cancel_a_poll, NULL);
}

static int busy_poller(void *arg)
{
    for (int i = 0; i < 100000 && atomic_load((_Atomic int *)arg) == 0; i++) {
        int none = 0;
        ck_assert_int_eq(ouro_poll_fn(wakes_itself, &none), 0);
    }
    ck_assert_int_eq(atomic_load((_Atomic int *)arg), 1);
    return 0;
}

static int sets_it(void *arg)
{
    atomic_store((_Atomic int *)arg, 1);
    return 0;
}

static int budget(void *arg)
{
    (void)arg;
    _Atomic int flag = 0;
    struct ouro_task *busy = NULL;
    struct ouro_task *other = NULL;
    ck_assert_int_eq(ouro_task_spawn(busy_poller, &flag, &busy), 0);
    ck_assert_int_eq(ouro_task_spawn(sets_it, &flag, &other), 0);
    ck_assert_int_eq(ouro_task_join(busy, NULL), 0);
    return ouro_task_join(other, NULL);
}

OURO_TEST(a_task_that_never_waits_yields_all_the_same)
{
    ck_assert_int_eq(ouro_test_in_task(budget, NULL), 0);
    ck_assert_int_eq(ouro_test_in_task(wakes_during_poll, NULL), 0);
}
