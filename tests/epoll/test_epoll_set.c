/* SPDX-License-Identifier: MIT */
/*
 * Who added which descriptor number: reuse, early close, duplicates, and running out of memory.
 */
#include "epoll/rig.h"

#include <errno.h>
#include <limits.h>
#include <ouro/error.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "base/alloc.h"

static const struct ouro_waker_vtable counting = {rig_waker_clone, rig_waker_wake, rig_waker_drop};

static int new_event(void)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ck_assert_int_ge(fd, 0);
    return fd;
}

/* With the first free number from @least on. */
static int new_event_from(int least)
{
    int any = new_event();
    int fd = fcntl(any, F_DUPFD_CLOEXEC, least);
    ck_assert_int_ge(fd, least);
    close(any);
    return fd;
}

static void signal_event(int fd)
{
    uint64_t one = 1;
    ck_assert_int_eq(write(fd, &one, sizeof(one)), sizeof(one));
}

/* Whether a write to @fd wakes who waits for @registration. */
static bool wakes(struct rig *rig, struct ouro__registration *registration, int fd)
{
    struct rig_waker waker = {.woken = 0};
    struct ouro_waker handle = {&counting, &waker};
    uint64_t word = 0;
    rig_settle(rig);
    ck_assert_int_eq(ouro__registration_poll(registration, OURO_READABLE, &handle, &word), 0);
    signal_event(fd);
    for (int i = 0; i < 3 && waker.woken == 0; i++)
        ouro__driver_turn(&rig->handle, 100 * OURO_TEST_MS);
    bool woken = waker.woken > 0;
    ouro__sio_wake_all(registration->sio);
    ck_assert_uint_eq(waker.held, 0);
    return woken;
}

OURO_TEST_EPOLL(descriptor_closed_early_and_reused_keeps_its_new_registration)
{
    struct rig rig;
    rig_open(&rig);
    int first = new_event();
    struct ouro__registration old = rig_register(&rig, first, OURO_READABLE);
    close(first);
    int second = new_event();
    ck_assert_int_eq(second, first); /* the lowest free number, always */
    struct ouro__registration new = rig_register(&rig, second, OURO_READABLE);
    ouro__registration_drop(&old);
    ck_assert(wakes(&rig, &new, second));
    ouro__registration_drop(&new);
    rig_close(&rig);
    close(second);
}

OURO_TEST_EPOLL(early_close_is_harmless)
{
    struct rig rig;
    rig_open(&rig);
    int fd = new_event();
    struct ouro__registration registration = rig_register(&rig, fd, OURO_READABLE);
    close(fd);
    ouro__registration_drop(&registration);
    rig_settle(&rig);
    int again = new_event();
    ck_assert_int_eq(again, fd);
    registration = rig_register(&rig, again, OURO_READABLE);
    ck_assert(wakes(&rig, &registration, again));
    ouro__registration_drop(&registration);
    rig_close(&rig);
    close(again);
}

OURO_TEST_EPOLL(second_live_registration_is_refused)
{
    struct rig rig;
    rig_open(&rig);
    int fd = new_event();
    struct ouro__registration first = rig_register(&rig, fd, OURO_READABLE);
    struct ouro__registration second = {.sio = NULL};
    ck_assert_int_eq(ouro__registration_new(&rig.handle, fd, OURO_READABLE, &second), -EEXIST);
    ck_assert_ptr_null(second.sio);
    rig_settle(&rig);
    ck_assert(wakes(&rig, &first, fd)); /* the refused one has taken nothing with it */
    ouro__registration_drop(&first);
    second = rig_register(&rig, fd, OURO_READABLE);
    ouro__registration_drop(&second);
    rig_close(&rig);
    close(fd);
}

/* An open file that outlived its number, and came back under it. */
OURO_TEST_EPOLL(stale_entry_is_taken_over)
{
    struct rig rig;
    rig_open(&rig);
    int number = new_event();
    int keep = dup(number);
    struct ouro__registration first = rig_register(&rig, number, OURO_READABLE);
    close(number);
    ck_assert_int_eq(new_event(), number);
    struct ouro__registration second = rig_register(&rig, number, OURO_READABLE);
    ouro__registration_drop(&first); /* does not delete the second's */
    ck_assert(wakes(&rig, &second, number));
    ouro__registration_drop(&second);
    rig_settle(&rig); /* both are released now, the first file is still in the epoll */

    uint64_t stale = ouro__counter_read(&rig.handle.counters.stale);
    signal_event(keep);
    rig_settle(&rig);
    ck_assert_uint_gt(ouro__counter_read(&rig.handle.counters.stale), stale);

    uint64_t count = 0;
    ck_assert_int_eq(read(keep, &count, sizeof(count)), sizeof(count));
    ck_assert_int_eq(dup2(keep, number), number);
    struct ouro__registration third = rig_register(&rig, number, OURO_READABLE);
    ck_assert(wakes(&rig, &third, number));
    ouro__registration_drop(&third);
    rig_close(&rig);
    close(number);
    close(keep);
}

/* With the registration its operations end, and touch the number no more. */
OURO_TEST_EPOLL(operation_of_a_dropped_registration_leaves_the_number_alone)
{
    struct rig rig;
    rig_open(&rig);
    int pair[2];
    int other[2];
    char byte = 0;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, other), 0);
    struct ouro__registration registration = rig_register(&rig, pair[0], 0);
    struct rig_op op = rig_recv(registration, &byte, 1, 0);
    rig_submit(&rig, &op);
    /* Another thread is in the middle of dropping it: detached, but not yet on the list. */
    ouro__epoll_ops.detach(&rig.handle, registration.sio);
    ck_assert_int_eq(dup2(other[0], pair[0]), pair[0]);
    ck_assert_int_eq(write(other[1], "x", 1), 1);
    ck_assert_int_eq(rig_wait(&rig, &op), -ECANCELED);
    ck_assert_int_eq(recv(pair[0], &byte, 1, MSG_DONTWAIT), 1);
    ck_assert_int_eq(byte, 'x');
    ouro__registration_drop(&registration);
    rig_close(&rig);
    for (int i = 0; i < 2; i++) {
        close(pair[i]);
        close(other[i]);
    }
}

OURO_TEST_EPOLL(regular_file_is_refused)
{
    struct rig rig;
    rig_open(&rig);
    char path[] = "/tmp/ouro-test-XXXXXX";
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(unlink(path), 0);
    struct ouro__registration registration = {.sio = NULL};
    ck_assert_int_eq(ouro__registration_new(&rig.handle, fd, OURO_READABLE, &registration), -EPERM);

    /* The backend by itself, should a check above it be wrong one day. */
    struct ouro__scheduled_io *sio = NULL;
    ck_assert_int_eq(ouro__registration_set_allocate(&rig.handle.set, &rig.handle, fd,
                                                     OURO__SIO_READINESS, &sio),
                     0);
    sio->interest = OURO_READABLE;
    ck_assert_int_eq(ouro__epoll_ops.attach(&rig.handle, sio), -EPERM);
    ouro__registration_set_deregister(&rig.handle.set, sio);
    rig_close(&rig);
    close(fd);
}

OURO_TEST_EPOLL(no_memory_for_the_table_is_an_error)
{
    struct rig rig;
    rig_open(&rig);
    int pair[2];
    char byte = 0;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    struct ouro__registration registration = rig_register(&rig, pair[0], 0);
    struct rig_op op = rig_recv(registration, &byte, 1, 0);
    ouro__alloc_fail_at(1);
    ck_assert_int_eq(rig_do(&rig, &op), -ENOMEM);
    ouro__alloc_fail_at(0);

    ck_assert_int_eq(write(pair[1], "x", 1), 1);
    op = rig_recv(registration, &byte, 1, 0);
    ck_assert_int_eq(rig_do(&rig, &op), 1);
    ouro__registration_drop(&registration);

    int fd = new_event();
    ouro__alloc_fail_at(1);
    ck_assert_int_eq(ouro__registration_new(&rig.handle, fd, OURO_READABLE, &registration),
                     -ENOMEM);
    ouro__alloc_fail_at(0);
    registration = rig_register(&rig, fd, OURO_READABLE);
    ck_assert(wakes(&rig, &registration, fd));
    ouro__registration_drop(&registration);
    rig_close(&rig);
    close(fd);
    close(pair[0]);
    close(pair[1]);
}

OURO_TEST_EPOLL(table_grows_with_the_numbers)
{
    struct rig rig;
    rig_open(&rig);
    int low = new_event_from(0);
    int high = new_event_from(700);
    int other = new_event_from(90);
    struct ouro__registration first = rig_register(&rig, low, OURO_READABLE);
    struct ouro__registration second = rig_register(&rig, other, OURO_READABLE);
    struct ouro__registration third = rig_register(&rig, high, OURO_READABLE);
    ck_assert(wakes(&rig, &second, other));
    ck_assert(wakes(&rig, &third, high));
    /* The table still knows whose the low number is. */
    struct ouro__registration again = {NULL};
    ck_assert_int_eq(ouro__registration_new(&rig.handle, low, OURO_READABLE, &again), -EEXIST);
    ouro__registration_drop(&third);
    ck_assert(wakes(&rig, &first, low));
    ouro__registration_drop(&first);
    ouro__registration_drop(&second);
    rig_close(&rig);
    close(low);
    close(high);
    close(other);
}

enum { ROUNDS = 2000 };

/* Registers, waits for a wake that it causes itself, and drops, while the driver runs elsewhere. */
static void *churn(void *arg)
{
    struct rig *rig = arg;
    for (int i = 0; i < ROUNDS; i++) {
        int fd = new_event();
        struct rig_waker waker = {.woken = 0};
        struct ouro_waker handle = {&counting, &waker};
        uint64_t word = 0;
        struct ouro__registration registration = rig_register(rig, fd, OURO_READABLE);
        if (ouro__registration_poll(&registration, OURO_READABLE, &handle, &word) == 0)
            signal_event(fd);
        if (i % 2 == 0) {
            while (waker.woken == 0)
                ouro__cpu_relax();
        }
        if (i % 3 == 0)
            close(fd);
        ouro__registration_drop(&registration);
        if (i % 3 != 0)
            close(fd);
        while (waker.held > 0)
            ouro__cpu_relax();
    }
    return NULL;
}

OURO_TEST_EPOLL(other_threads_register_while_the_driver_runs)
{
    enum { THREADS = 3 };
    struct rig rig;
    rig_open(&rig);
    pthread_t thread[THREADS];
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&thread[i], NULL, churn, &rig), 0);
    for (int i = 0; i < THREADS; i++) {
        while (pthread_tryjoin_np(thread[i], NULL) == EBUSY)
            ouro__driver_turn(&rig.handle, OURO_TEST_MS);
    }
    rig_settle(&rig);
    struct ouro_io_driver_metrics metrics;
    ouro__driver_metrics(&rig.handle, &metrics);
    ck_assert_uint_eq(metrics.registered, (uint64_t)THREADS * ROUNDS);
    ck_assert_uint_eq(metrics.released, metrics.registered);
    rig_close(&rig);
}

OURO_TEST_EPOLL(adding_to_a_closed_driver_is_refused_as_a_shutdown)
{
    struct rig rig;
    rig_open(&rig);
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct ouro__registration registration = rig_register(&rig, fd, 0);
    ouro__driver_close(&rig.handle);
    ck_assert_int_eq(ouro__epoll_set_add(rig.handle.shared, registration.sio, EPOLLIN),
                     -OURO_ESHUTDOWN);
    ouro__registration_drop(&registration);
    ouro__driver_handle_fini(&rig.handle);
    close(fd);
}

OURO_TEST_EPOLL(a_number_that_is_not_open_gets_no_room)
{
    struct rig rig;
    struct ouro__registration registration = {.sio = NULL};
    rig_open(&rig);
    const struct ouro__epoll_set *set = rig.handle.shared;
    ck_assert_int_eq(ouro__registration_new(&rig.handle, INT_MAX, OURO_READABLE, &registration),
                     -EBADF);
    ck_assert_ptr_null(registration.sio);
    ck_assert_uint_lt(set->size, 1 << 20);
    rig_close(&rig);
}
