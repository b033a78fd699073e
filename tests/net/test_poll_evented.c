/* SPDX-License-Identifier: MIT */
/*
 * Waiting for descriptors that are not ouro's: eventfds, pipes, sockets; with tasks, with threads,
 * with wakers of the test's own.
 */
#include "everywhere.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fault.h"
#include "ouro/error.h"
#include "ouro/poll_evented.h"
#include "ouro/time.h"
#include "support/child.h"
#include "support/scratch.h"
#include "support/sockets.h"

static int event_fd(void)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ck_assert_int_ge(fd, 0);
    return fd;
}

static void signal_event(int fd)
{
    ck_assert_int_eq(eventfd_write(fd, 1), 0);
}

static struct ouro_poll_evented *registered(int fd, uint32_t interest)
{
    struct ouro_poll_evented *io = NULL;
    ck_assert_int_eq(ouro_poll_evented_new(fd, interest, &io), 0);
    return io;
}

static ssize_t read_event(int fd, void *arg)
{
    ssize_t n = read(fd, arg, sizeof(uint64_t));
    return n < 0 ? -errno : n;
}

static void *signal_in_thread(void *arg)
{
    signal_event(*(int *)arg);
    return NULL;
}

static int wait_and_clear(void *arg)
{
    struct ouro_ready_event event;
    struct ouro_deadline scope;
    pthread_t thread;
    uint64_t value = 0;
    int fd = event_fd();
    struct ouro_poll_evented *io = registered(fd, OURO_READABLE | OURO_WRITABLE);
    (void)arg;

    for (int round = 0; round < 10; round++) {
        ck_assert_int_eq(pthread_create(&thread, NULL, signal_in_thread, &fd), 0);
        ck_assert_int_eq(ouro_poll_evented_ready(io, OURO_READABLE, &event), 0);
        ck_assert_uint_eq(event.ready, OURO_READABLE);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
        /* It stays ready until it is cleared. */
        ck_assert_int_eq(ouro_poll_evented_ready(io, OURO_READABLE, &event), 0);
        ck_assert_int_eq(read_event(fd, &value), 8);
        ouro_poll_evented_clear(io, &event);
    }
    ck_assert_int_eq(ouro_deadline_begin(&scope, 10 * OURO_TEST_MS), 0);
    ck_assert_int_eq(ouro_poll_evented_ready(io, OURO_READABLE, &event), -ETIMEDOUT);
    ouro_deadline_end(&scope);
    /* Clearing one direction left the other alone. */
    ck_assert_int_eq(ouro_poll_evented_ready(io, OURO_WRITABLE, &event), 0);
    ck_assert_uint_eq(event.ready, OURO_WRITABLE);
    ouro_poll_evented_free(io);
    (void)close(fd);
    return 0;
}

OURO_TEST(readiness_is_waited_for_and_cleared)
{
    everywhere(wait_and_clear, NULL);
}

static void *signal_ten_times(void *arg)
{
    for (int i = 0; i < 10; i++)
        signal_event(*(int *)arg);
    return NULL;
}

static int io_until_ten(void *arg)
{
    pthread_t thread;
    uint64_t sum = 0;
    int fd = event_fd();
    struct ouro_poll_evented *io = registered(fd, OURO_READABLE);
    (void)arg;
    ck_assert_int_eq(pthread_create(&thread, NULL, signal_ten_times, &fd), 0);
    while (sum < 10) {
        uint64_t value = 0;
        ck_assert_int_eq(ouro_poll_evented_io(io, OURO_READABLE, read_event, &value), 8);
        sum += value;
    }
    ck_assert_uint_eq(sum, 10);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ouro_poll_evented_free(io);
    (void)close(fd);
    return 0;
}

OURO_TEST(io_calls_until_it_is_done)
{
    everywhere(io_until_ten, NULL);
}

static int register_wrongly(void *arg)
{
    struct ouro_test_scratch *scratch = arg;
    struct ouro_poll_evented *io = NULL;
    struct ouro_ready_event event;
    int file = open(ouro_test_scratch_path(scratch, "file"), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    int fd = event_fd();
    ck_assert_int_ge(file, 0);
    ck_assert_int_eq(ouro_poll_evented_new(-1, OURO_READABLE, &io), -EBADF);
    ck_assert_int_eq(ouro_poll_evented_new(file, OURO_READABLE, &io), -EPERM);
    ck_assert_int_eq(ouro_poll_evented_new(fd, 0, &io), -EINVAL);
    ck_assert_int_eq(ouro_poll_evented_new(fd, OURO_READ_CLOSED, &io), -EINVAL);
    ck_assert_int_eq(ouro_poll_evented_new(fd, OURO_READABLE, NULL), -EINVAL);
    ouro__fault_arm(OURO__FAULT_ATTACH, 1, 1, -ENOSPC);
    ck_assert_int_eq(ouro_poll_evented_new(fd, OURO_READABLE, &io), -ENOSPC);
    ouro__fault_disarm_all();
    ck_assert_ptr_null(io);
    io = registered(fd, OURO_READABLE);
    ck_assert_int_eq(ouro_poll_evented_ready(io, 0, &event), -EINVAL);
    ck_assert_int_eq(ouro_poll_evented_ready(io, OURO_READABLE, NULL), -EINVAL);
    ck_assert_int_eq(ouro_poll_evented_ready(NULL, OURO_READABLE, &event), -EINVAL);
    ck_assert_int_eq(ouro_poll_evented_io(io, OURO_READABLE, NULL, NULL), -EINVAL);
    ck_assert_int_eq(ouro_poll_evented_poll_ready(io, OURO_READABLE, NULL, &event), -EINVAL);
    ouro_poll_evented_clear(NULL, &event);
    ouro_poll_evented_clear(io, NULL);
    ouro_poll_evented_free(io);
    ouro_poll_evented_free(NULL);
    (void)close(fd);
    (void)close(file);
    return 0;
}

OURO_TEST(what_cannot_be_waited_for_is_an_error)
{
    struct ouro_test_scratch scratch;
    ouro_test_scratch_open(&scratch);
    everywhere(register_wrongly, &scratch);
    ouro_test_scratch_close(&scratch);
}

static int register_twice(void *arg)
{
    int fd = event_fd();
    struct ouro_poll_evented *io = registered(fd, OURO_READABLE);
    struct ouro_poll_evented *other = NULL;
    (void)arg;
    if (ouro_test_driver() == OURO_DRIVER_EPOLL) {
        ck_assert_int_eq(ouro_poll_evented_new(fd, OURO_READABLE, &other), -EEXIST);
    } else {
        ck_assert_int_eq(ouro_poll_evented_new(fd, OURO_READABLE, &other), 0);
        ouro_poll_evented_free(other);
    }
    ouro_poll_evented_free(io);
    /* At once again: nothing of the first is left in the way. */
    for (int i = 0; i < 100; i++) {
        struct ouro_ready_event event;
        io = registered(fd, OURO_WRITABLE);
        ck_assert_int_eq(ouro_poll_evented_ready(io, OURO_WRITABLE, &event), 0);
        ouro_poll_evented_free(io);
    }
    (void)close(fd);
    return 0;
}

OURO_TEST(a_descriptor_is_registered_once_at_a_time)
{
    in_place(IN_TASK, register_twice, NULL);
    in_place(IN_OWN_THREAD, register_twice, NULL);
}

/* Any number of waiters. */
enum { WAITERS = 100 };

struct waiter {
    struct ouro_poll_evented *io;
    uint32_t interest;
    _Atomic int *linked;
    int rc;
    struct ouro_ready_event event;
};

static int wait_as_task(void *arg)
{
    struct waiter *waiter = arg;
    atomic_fetch_add(waiter->linked, 1);
    waiter->rc = ouro_poll_evented_ready(waiter->io, waiter->interest, &waiter->event);
    return 0;
}

struct crowd {
    struct waiter waiter[WAITERS];
    struct ouro_task *task[WAITERS];
    _Atomic int linked;
};

static void gather(struct crowd *crowd, struct ouro_poll_evented *io, uint32_t interest)
{
    atomic_store(&crowd->linked, 0);
    for (int i = 0; i < WAITERS; i++) {
        crowd->waiter[i] = (struct waiter){
            .io = io, .interest = interest, .linked = &crowd->linked, .rc = 1};
        ck_assert_int_eq(ouro_task_spawn(wait_as_task, &crowd->waiter[i], &crowd->task[i]), 0);
    }
    while (atomic_load(&crowd->linked) < WAITERS)
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
}

static void disperse(struct crowd *crowd, int rc)
{
    for (int i = 0; i < WAITERS; i++) {
        ck_assert_int_eq(ouro_task_join(crowd->task[i], NULL), 0);
        ck_assert_int_eq(crowd->waiter[i].rc, rc);
    }
}

static int wake_a_crowd(void *arg)
{
    static struct crowd crowd;
    int fd = event_fd();
    struct ouro_poll_evented *io = registered(fd, OURO_READABLE | OURO_PRIORITY);
    (void)arg;
    gather(&crowd, io, OURO_READABLE);
    signal_event(fd);
    disperse(&crowd, 0);
    for (int i = 0; i < WAITERS; i++)
        ck_assert_uint_eq(crowd.waiter[i].event.ready, OURO_READABLE);
    ouro_poll_evented_free(io);
    (void)close(fd);
    return 0;
}

OURO_TEST(all_waiters_are_woken)
{
    everywhere(wake_a_crowd, NULL);
}

static int free_under_a_crowd(void *arg)
{
    static struct crowd crowd;
    int fd = event_fd();
    struct ouro_poll_evented *io = registered(fd, OURO_READABLE);
    (void)arg;
    gather(&crowd, io, OURO_READABLE);
    ouro_poll_evented_free(io);
    (void)close(fd); /* the number may be another's before the last waiter has left */
    int next = event_fd();
    struct ouro_poll_evented *other = registered(next, OURO_READABLE);
    disperse(&crowd, -ECANCELED);
    struct ouro_ready_event event;
    signal_event(next);
    ck_assert_int_eq(ouro_poll_evented_ready(other, OURO_READABLE, &event), 0);
    ouro_poll_evented_free(other);
    (void)close(next);
    return 0;
}

OURO_TEST(free_ends_the_waits_of_others)
{
    for (int round = 0; round < 5; round++)
        everywhere(free_under_a_crowd, NULL);
}

/* A waker that counts its calls and does something in wake. */
struct doer {
    _Atomic int clones;
    _Atomic int wakes;
    _Atomic int acted; /* how often act has returned */
    void (*act)(struct doer *doer);
    struct ouro_poll_evented *io;
    struct ouro_task *task;
    struct ouro_ready_event event;
    int fd;
    _Atomic int rc;
};

static void *doer_clone(void *data)
{
    atomic_fetch_add(&((struct doer *)data)->clones, 1);
    return data;
}

static void doer_wake(void *data)
{
    struct doer *doer = data;
    atomic_fetch_add(&doer->wakes, 1);
    if (doer->act != NULL)
        doer->act(doer);
    atomic_fetch_add(&doer->acted, 1);
}

static void doer_drop(void *data)
{
    atomic_fetch_sub(&((struct doer *)data)->clones, 1);
}

static const struct ouro_waker_vtable doer_vtable = {doer_clone, doer_wake, doer_drop};

static struct ouro_waker waker_of(struct doer *doer)
{
    return (struct ouro_waker){.vtable = &doer_vtable, .data = doer};
}

static int poll_doer(struct doer *doer, uint32_t interest)
{
    struct ouro_waker waker = waker_of(doer);
    return ouro_poll_evented_poll_ready(doer->io, interest, &waker, &doer->event);
}

static void await_wakes(struct doer *doer, int wakes)
{
    while (atomic_load(&doer->acted) < wakes)
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
}

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

static int hang_up(void *arg)
{
    int fds[2];
    struct ouro_ready_event event;
    (void)arg;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    struct ouro_poll_evented *io = registered(fds[0], OURO_READABLE | OURO_WRITABLE);
    (void)close(fds[1]);
    do {
        ck_assert_int_eq(ouro_poll_evented_ready(io, OURO_READABLE, &event), 0);
        ouro_poll_evented_clear(io, &event);
    } while ((event.ready & OURO_READ_CLOSED) == 0);
    /* It is final: clearing has no effect. */
    ouro_poll_evented_clear(io, &event);
    ck_assert_int_eq(ouro_poll_evented_ready(io, OURO_READABLE, &event), 0);
    ck_assert_uint_ne(event.ready & OURO_READ_CLOSED, 0);
    ouro_poll_evented_free(io);
    (void)close(fds[0]);
    return 0;
}

OURO_TEST(a_hang_up_is_final)
{
    everywhere(hang_up, NULL);
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
        ck_assert_int_eq(ouro_poll_evented_ready(doer.io, OURO_READABLE, &event),
                         -OURO_ENORUNTIME);
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

static int without_io(void *arg)
{
    struct ouro_poll_evented *io = NULL;
    int fd = event_fd();
    (void)arg;
    ck_assert_int_eq(ouro_poll_evented_new(fd, OURO_READABLE, &io), -OURO_EIODISABLED);
    (void)close(fd);
    return 0;
}

OURO_TEST(without_io_there_is_none)
{
    struct ouro_poll_evented *io = NULL;
    int fd = event_fd();
    struct ouro_runtime *runtime = open_place(IN_TASK, OURO_RUNTIME_F_NO_IO);
    run_in_place(IN_TASK, runtime, without_io, NULL);
    ouro_runtime_free(runtime);
    ck_assert_int_eq(ouro_poll_evented_new(fd, OURO_READABLE, &io), -OURO_ENORUNTIME);
    (void)close(fd);
}
