/* SPDX-License-Identifier: MIT */
/*
 * Waiting for descriptors that are not ouro's with tasks and threads: one, a crowd, one that is
 * freed meanwhile.
 */
#include "everywhere.h"
#include "foreign.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fault.h"
#include "ouro/error.h"
#include "ouro/poll_evented.h"
#include "ouro/time.h"
#include "support/scratch.h"

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

static void *close_in_thread(void *arg)
{
    (void)close(*(int *)arg);
    return NULL;
}

/* A full pipe whose reader goes: the kernel reports the hang-up and no room. */
static int wait_for_room_that_never_comes(void *arg)
{
    static const char zeros[4096];
    struct ouro_ready_event event;
    pthread_t thread;
    int ends[2];
    (void)arg;
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    while (write(ends[1], zeros, sizeof(zeros)) > 0) {
    }
    struct ouro_poll_evented *io = registered(ends[1], OURO_WRITABLE);
    ck_assert_int_eq(pthread_create(&thread, NULL, close_in_thread, &ends[0]), 0);
    struct ouro_deadline scope;
    ck_assert_int_eq(ouro_deadline_begin(&scope, 5 * OURO_TEST_SECOND), 0);
    ck_assert_int_eq(ouro_poll_evented_ready(io, OURO_WRITABLE, &event), 0);
    ouro_deadline_end(&scope);
    ck_assert_uint_ne(event.ready & OURO_WRITE_CLOSED, 0);
    ck_assert_uint_eq(event.ready & OURO_WRITABLE, 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ouro_poll_evented_free(io);
    (void)close(ends[1]);
    return 0;
}

OURO_TEST(a_hang_up_alone_wakes_a_writer)
{
    everywhere(wait_for_room_that_never_comes, NULL);
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
    /* Readiness that is left over is found to be stale, and then waited with. */
    struct ouro_deadline scope;
    ck_assert_int_eq(ouro_deadline_begin(&scope, 10 * OURO_TEST_MS), 0);
    ck_assert_int_eq(ouro_poll_evented_io(io, OURO_READABLE, read_event, &sum), -ETIMEDOUT);
    ouro_deadline_end(&scope);
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
        crowd->waiter[i] =
            (struct waiter){.io = io, .interest = interest, .linked = &crowd->linked, .rc = 1};
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
