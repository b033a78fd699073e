/* SPDX-License-Identifier: MIT */
/*
 * Events: waiting for them, and what they mean.
 *
 * An event has two effects.  The driver turns it into readiness, and wakes the waiters when the
 * turn has collected everything.  And the operations of the event's direction are put on the list
 * of tries; an error or a hang-up concerns both directions.
 *
 * A token that names no live registration is that of a late event: of a registration that ended, or
 * of an open file that outlived its descriptor (epoll_set.c): it is counted and dropped.
 *
 * epoll_pwait2(2) waits in nanoseconds.  Where it is missing (before Linux 5.11, some sandboxes)
 * ppoll(2) waits for the epoll itself, in nanoseconds too, and the events are fetched afterwards.
 * Without either, the time is rounded up to milliseconds, since rounding down would spin through
 * the last one.  Each of the calls blocks the signals of handle->wait_mask for the time of the wait
 * (base/signals.h).
 *
 * Owns:    the batch of events, in struct ouro__epoll.
 * Threads: the driver's.
 * Always:  an event of an earlier registration changes nothing.
 * Tests:   tests/epoll/test_events.c
 */
#include "epoll/epoll.h"

#include "base/fault.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#if OURO__TSAN
#include <sanitizer/tsan_interface.h>
#endif

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441 /* on every architecture but alpha */
#endif

/* The driver is given poll(2)'s events. */
_Static_assert(EPOLLIN == POLLIN && EPOLLPRI == POLLPRI && EPOLLOUT == POLLOUT &&
                   EPOLLRDHUP == POLLRDHUP && EPOLLHUP == POLLHUP && EPOLLERR == POLLERR,
               "epoll and poll number events alike");

#define READ_EVENTS ((uint32_t)(EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
#define WRITE_EVENTS ((uint32_t)(EPOLLOUT | EPOLLHUP | EPOLLERR))

static void wake_lane(struct ouro__epoll *epoll, struct ouro__op *op)
{
    if (op == NULL)
        return;
    op->backend |= OURO__EPOLL_OP_EVENT;
    ouro__epoll_queue(epoll, op);
}

static void take(struct ouro__epoll *epoll, const struct epoll_event *event)
{
    struct ouro__driver_handle *handle = epoll->driver.handle;
    uint64_t token = event->data.u64;
    uint32_t events = event->events;
    if (token == ouro__token(0, 0, OURO__LANE_WAKE))
        return;
    struct ouro__scheduled_io *sio = ouro__registration_set_find(&handle->set, token);
    if (sio == NULL) {
        ouro__counter_add(&handle->counters.stale, 1);
        return;
    }
#if OURO__TSAN
    __tsan_acquire(sio); /* from the thread that added it */
#endif
    OURO__TRACE(handle, .kind = OURO_TRACE_EVENT, .fd = sio->fd, .token = token, .a = events);
    if ((events & EPOLLPRI) != 0)
        ouro__epoll_sio_mark(sio, OURO__EPOLL_SIO_URGENT);
    ouro__driver_event(&epoll->driver, sio, events);
    if ((events & READ_EVENTS) != 0) {
        wake_lane(epoll, sio->lane[OURO__LANE_READ]);
        wake_lane(epoll, sio->lane[OURO__LANE_ACCEPT]);
        wake_lane(epoll, sio->lane[OURO__LANE_ERROR]);
    }
    if ((events & WRITE_EVENTS) != 0)
        wake_lane(epoll, sio->lane[OURO__LANE_WRITE]);
}

static int fetch(struct ouro__epoll *epoll, int timeout_ms, const sigset_t *mask)
{
    int n = epoll_pwait(epoll->epoll_fd, epoll->event, OURO__EPOLL_BATCH, timeout_ms, mask);
    return n < 0 ? -errno : n;
}

/* The number of events, or -errno. */
static int wait_for_events(struct ouro__epoll *epoll, int64_t timeout_ns)
{
    int epoll_fd = epoll->epoll_fd;
    const sigset_t *mask = timeout_ns == 0 ? NULL : epoll->driver.handle->wait_mask;
    if (timeout_ns > 0 && !epoll->lacks_pwait2) {
        struct timespec timeout = ouro__clock_to_timespec(timeout_ns);
        long n = syscall(SYS_epoll_pwait2, epoll_fd, epoll->event, OURO__EPOLL_BATCH, &timeout,
                         mask, (size_t)(_NSIG / 8));
        if (n >= 0)
            return (int)n;
        if (errno != ENOSYS && errno != EPERM)
            return -errno;
        epoll->lacks_pwait2 = true;
    }
    if (timeout_ns > 0 && !epoll->lacks_ppoll) {
        struct timespec timeout = ouro__clock_to_timespec(timeout_ns);
        struct pollfd self = {.fd = epoll_fd, .events = POLLIN};
        int n = ppoll(&self, 1, &timeout, mask);
        if (n == 0)
            return 0;
        if (n > 0)
            return fetch(epoll, 0, NULL);
        if (errno != ENOSYS && errno != EPERM)
            return -errno;
        epoll->lacks_ppoll = true;
    }
    int timeout_ms = (int)(timeout_ns < 0 ? -1 : 0);
    if (timeout_ns > 0) {
        int64_t ms = timeout_ns / OURO__NS_PER_MS + (timeout_ns % OURO__NS_PER_MS != 0);
        timeout_ms = ms > INT_MAX ? INT_MAX : (int)ms;
    }
    return fetch(epoll, timeout_ms, mask);
}

/* A look; an error is seen, too. */
static bool has_events(void *arg)
{
    struct ouro__epoll *epoll = arg;
    epoll->seen = fetch(epoll, 0, NULL);
    return epoll->seen != 0;
}

/* As wait_for_events(), after a look where one is wanted. */
static int look_and_wait(struct ouro__epoll *epoll, int64_t timeout_ns)
{
    struct ouro__driver_handle *handle = epoll->driver.handle;
    epoll->seen = 0;
    if (ouro__driver_is_look_wanted(handle) &&
        ouro__busy_poll(&handle->busy_poll, &handle->unpark, has_events, epoll, &timeout_ns))
        return epoll->seen;
    return timeout_ns == 0 ? 0 : wait_for_events(epoll, timeout_ns);
}

int ouro__epoll_collect(struct ouro__epoll *epoll, int64_t timeout_ns)
{
    int n = ouro__fault(OURO__FAULT_EPOLL_WAIT);
    if (n == 0)
        n = timeout_ns == 0 ? wait_for_events(epoll, 0) : look_and_wait(epoll, timeout_ns);
    if (n == -EINTR)
        return 0;
    for (int i = 0; i < n; i++)
        take(epoll, &epoll->event[i]);
    return n < 0 ? n : 0;
}
