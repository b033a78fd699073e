/* SPDX-License-Identifier: MIT */
/*
 * Waiting for descriptors with wakers of the test's own: another event loop's way to join; and what
 * outlives what.
 */
#include "everywhere.h"
#include "foreign.h"

#include <errno.h>
#include <unistd.h>

#include "ouro/error.h"
#include "ouro/poll_evented.h"
#include "ouro/time.h"
#include "support/child.h"

static int poll_with_wakers(void *arg)
{
    struct doer reader = {.fd = event_fd()};
    struct doer newer = {.fd = reader.fd};
    uint64_t value = 0;
    (void)arg;
    reader.io = newer.io = registered(reader.fd, OURO_READABLE | OURO_WRITABLE);
    ck_assert_int_eq(poll_doer(&reader, OURO_READABLE), OURO_POLL_PENDING);
    ck_assert_int_eq(reader.clones, 1);
    ck_assert_int_eq(poll_doer(&newer, OURO_READABLE), OURO_POLL_PENDING);
    ck_assert_int_eq(reader.clones, 0); /* replaced */
    ck_assert_int_eq(newer.clones, 1);
    signal_event(reader.fd);
    await_wakes(&newer, 1);
    ck_assert_int_eq(poll_doer(&newer, OURO_READABLE), OURO_POLL_READY);
    ck_assert_uint_eq(newer.event.ready, OURO_READABLE);
    ck_assert_int_eq(read_event(reader.fd, &value), 8);
    ouro_poll_evented_clear(newer.io, &newer.event);
    ck_assert_int_eq(poll_doer(&newer, OURO_READABLE), OURO_POLL_PENDING);
    ck_assert_int_eq(reader.wakes, 0);
    ouro_poll_evented_free(reader.io); /* wakes and drops what is stored */
    ck_assert_int_eq(newer.wakes, 2);
    ck_assert_int_eq(newer.clones, 0);
    (void)close(reader.fd);
    return 0;
}

OURO_TEST(a_waker_is_woken_once_and_dropped)
{
    everywhere(poll_with_wakers, NULL);
}

/* What a waker may do from within. */
static void act_poll_again(struct doer *doer)
{
    if (atomic_load(&doer->wakes) == 1) {
        doer->event.ready = 0;
        doer->rc = poll_doer(doer, OURO_READABLE);
    }
}

static void act_free(struct doer *doer)
{
    struct ouro_poll_evented *io = doer->io;
    doer->io = NULL;
    ouro_poll_evented_free(io);
}

static void act_cancel(struct doer *doer)
{
    ck_assert_int_eq(ouro_task_cancel(doer->task), 0);
}

static int wait_for_ever(void *arg)
{
    struct ouro_ready_event event;
    struct doer *doer = arg;
    return ouro_poll_evented_ready(doer->io, OURO_PRIORITY, &event);
}

static int act_in_wake(void *arg)
{
    struct doer doer = {.fd = event_fd()};
    int result = 0;
    (void)arg;
    doer.io = registered(doer.fd, OURO_READABLE | OURO_PRIORITY);
    doer.act = act_poll_again;
    ck_assert_int_eq(poll_doer(&doer, OURO_READABLE), OURO_POLL_PENDING);
    signal_event(doer.fd);
    await_wakes(&doer, 1);
    ck_assert_int_eq(doer.rc, OURO_POLL_READY); /* the readiness was there before the wake */
    ck_assert_uint_eq(doer.event.ready, OURO_READABLE);
    ouro_poll_evented_free(doer.io);
    ck_assert_int_eq(doer.clones, 0);
    (void)close(doer.fd);

    doer = (struct doer){.fd = event_fd(), .act = act_poll_again};
    doer.io = registered(doer.fd, OURO_READABLE);
    ck_assert_int_eq(poll_doer(&doer, OURO_READABLE), OURO_POLL_PENDING);
    ouro_poll_evented_free(doer.io); /* polling what is being freed stores nothing */
    ck_assert_int_eq(doer.rc, -ECANCELED);
    ck_assert_int_eq(doer.clones, 0);
    (void)close(doer.fd);

    doer = (struct doer){.fd = event_fd(), .act = act_free};
    doer.io = registered(doer.fd, OURO_READABLE);
    ck_assert_int_eq(poll_doer(&doer, OURO_READABLE), OURO_POLL_PENDING);
    signal_event(doer.fd);
    await_wakes(&doer, 1);
    while (atomic_load(&doer.clones) > 0)
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
    (void)close(doer.fd);

    doer = (struct doer){.fd = event_fd(), .act = act_cancel};
    doer.io = registered(doer.fd, OURO_READABLE | OURO_PRIORITY);
    ck_assert_int_eq(ouro_task_spawn(wait_for_ever, &doer, &doer.task), 0);
    ck_assert_int_eq(poll_doer(&doer, OURO_READABLE), OURO_POLL_PENDING);
    signal_event(doer.fd);
    await_wakes(&doer, 1);
    ck_assert_int_eq(ouro_task_join(doer.task, &result), 0);
    ck_assert_int_eq(result, -ECANCELED);
    ouro_poll_evented_free(doer.io);
    (void)close(doer.fd);
    return 0;
}

OURO_TEST(a_waker_may_wait_cancel_and_free)
{
    everywhere(act_in_wake, NULL);
}

/* Shutting down from within a wake, on the driver's thread, is refused to it; the wake of a thread
 * that does it is how it is done. */
static int wait_through_a_shutdown(void *arg)
{
    struct doer *doer = arg;
    struct ouro_ready_event event;
    doer->io = registered(doer->fd, OURO_READABLE);
    ck_assert_int_eq(poll_doer(doer, OURO_READABLE), OURO_POLL_PENDING);
    atomic_store(&doer->clones, 10);
    ck_assert_int_eq(ouro_poll_evented_ready(doer->io, OURO_READABLE, &event), -OURO_ESHUTDOWN);
    ck_assert_int_eq(ouro_poll_evented_ready(doer->io, OURO_READABLE, &event), -OURO_ESHUTDOWN);
    ck_assert_int_eq(poll_doer(doer, OURO_READABLE), -OURO_ESHUTDOWN);
    ouro_poll_evented_free(doer->io);
    return 0;
}

static bool is_waiting(void *arg)
{
    return atomic_load(&((struct doer *)arg)->clones) == 10;
}

OURO_TEST(a_shutdown_ends_the_waits)
{
    struct doer doer = {.fd = event_fd()};
    struct ouro_runtime *runtime = open_place(IN_WORKER_TASK, 0);
    struct ouro_handle *handle = ouro_runtime_handle(runtime);
    ck_assert_int_eq(ouro_task_spawn_with(handle, NULL, wait_through_a_shutdown, &doer, NULL), 0);
    ck_assert(ouro_test_until(is_waiting, &doer, 10 * OURO_TEST_SECOND));
    ck_assert_int_eq(ouro_runtime_shutdown(runtime, 5 * OURO_TEST_SECOND), 0);
    ck_assert_int_eq(doer.wakes, 1);
    ck_assert_int_eq(doer.clones, 9); /* the one that was stored has been dropped */
    ouro_handle_unref(handle);
    ouro_runtime_free(runtime);
    (void)close(doer.fd);
}

/* Closed before it was freed: no event reaches the next owner of the number. */
static int close_early(void *arg)
{
    (void)arg;
    for (int round = 0; round < 20; round++) {
        struct doer old = {.fd = event_fd()};
        struct doer new = {.fd = -1};
        old.io = registered(old.fd, OURO_READABLE);
        ck_assert_int_eq(poll_doer(&old, OURO_READABLE), OURO_POLL_PENDING);
        (void)close(old.fd);
        new.fd = event_fd();
        ck_assert_int_eq(new.fd, old.fd);
        ouro_poll_evented_free(old.io);
        new.io = registered(new.fd, OURO_READABLE);
        ck_assert_int_eq(poll_doer(&new, OURO_READABLE), OURO_POLL_PENDING);
        ck_assert_int_eq(new.wakes, 0);
        signal_event(new.fd);
        await_wakes(&new, 1);
        ck_assert_int_eq(old.wakes, 1); /* by free alone */
        ouro_poll_evented_free(new.io);
        (void)close(new.fd);
    }
    return 0;
}

OURO_TEST(a_number_closed_early_is_the_next_owners)
{
    everywhere(close_early, NULL);
}

static int hand_out(void *arg)
{
    struct doer *doer = arg;
    doer->io = registered(doer->fd, OURO_READABLE);
    ck_assert_int_eq(poll_doer(doer, OURO_READABLE), OURO_POLL_PENDING);
    return 0;
}

OURO_TEST(it_may_outlive_its_runtime)
{
    for (int place = 0; place < PLACES; place++) {
        struct doer doer = {.fd = event_fd()};
        struct ouro_ready_event event;
        struct ouro_runtime *runtime = open_place((enum place)place, 0);
        run_in_place((enum place)place, runtime, hand_out, &doer);
        ouro_runtime_free(runtime);
        ck_assert_int_eq(doer.wakes, 1);
        ck_assert_int_eq(doer.clones, 0);
        ck_assert_int_eq(poll_doer(&doer, OURO_READABLE), -OURO_ESHUTDOWN);
        ck_assert_int_eq(ouro_poll_evented_ready(doer.io, OURO_READABLE, &event), -OURO_ENORUNTIME);
        ouro_poll_evented_free(doer.io);
        (void)close(doer.fd);
    }
}

static int use_in_child(void *arg)
{
    struct doer *doer = arg;
    struct ouro_poll_evented *io = NULL;
    struct ouro_ready_event event;
    ck_assert_int_eq(ouro_poll_evented_new(doer->fd, OURO_READABLE, &io), -OURO_EFORKED);
    ck_assert_int_eq(ouro_poll_evented_ready(doer->io, OURO_READABLE, &event), -OURO_EFORKED);
    ck_assert_int_eq(poll_doer(doer, OURO_READABLE), -OURO_EFORKED);
    ouro_poll_evented_free(doer->io);
    return 0;
}

static int fork_with_one(void *arg)
{
    struct doer doer = {.fd = event_fd()};
    struct ouro_ready_event event;
    (void)arg;
    doer.io = registered(doer.fd, OURO_READABLE);
    ouro_test_child_must_pass(use_in_child, &doer);
    signal_event(doer.fd);
    ck_assert_int_eq(ouro_poll_evented_ready(doer.io, OURO_READABLE, &event), 0);
    ouro_poll_evented_free(doer.io);
    (void)close(doer.fd);
    return 0;
}

OURO_TEST(in_a_forked_child_it_says_so)
{
    in_place(IN_TASK, fork_with_one, NULL);
    in_place(IN_THREAD, fork_with_one, NULL);
}
