/* SPDX-License-Identifier: MIT */
/*
 * Descriptors that are not ouro's, and wakers that are not either.
 */
#ifndef OURO_TEST_FOREIGN_H
#define OURO_TEST_FOREIGN_H

#include <errno.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ouro/poll_evented.h"
#include "ouro/task.h"
#include "ouro/time.h"
#include "support/ouro_test.h"

static inline int event_fd(void)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ck_assert_int_ge(fd, 0);
    return fd;
}

static inline void signal_event(int fd)
{
    ck_assert_int_eq(eventfd_write(fd, 1), 0);
}

static inline struct ouro_poll_evented *registered(int fd, uint32_t interest)
{
    struct ouro_poll_evented *io = NULL;
    ck_assert_int_eq(ouro_poll_evented_new(fd, interest, &io), 0);
    return io;
}

static inline ssize_t read_event(int fd, void *arg)
{
    ssize_t n = read(fd, arg, sizeof(uint64_t));
    return n < 0 ? -errno : n;
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

static inline void *doer_clone(void *data)
{
    atomic_fetch_add(&((struct doer *)data)->clones, 1);
    return data;
}

static inline void doer_wake(void *data)
{
    struct doer *doer = data;
    atomic_fetch_add(&doer->wakes, 1);
    if (doer->act != NULL)
        doer->act(doer);
    atomic_fetch_add(&doer->acted, 1);
}

static inline void doer_drop(void *data)
{
    atomic_fetch_sub(&((struct doer *)data)->clones, 1);
}

static const struct ouro_waker_vtable doer_vtable = {doer_clone, doer_wake, doer_drop};

static inline struct ouro_waker waker_of(struct doer *doer)
{
    return (struct ouro_waker){.vtable = &doer_vtable, .data = doer};
}

static inline int poll_doer(struct doer *doer, uint32_t interest)
{
    struct ouro_waker waker = waker_of(doer);
    return ouro_poll_evented_poll_ready(doer->io, interest, &waker, &doer->event);
}

static inline void await_wakes(struct doer *doer, int wakes)
{
    while (atomic_load(&doer->acted) < wakes)
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
}

#endif
