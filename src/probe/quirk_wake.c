/* SPDX-License-Identifier: MIT */
/*
 * Self-tests: is another event loop woken by each completion of a DEFER_TASKRUN ring?
 *
 * The loop must already be blocked in epoll_wait() when the completion comes, because a broken
 * kernel finds a completion that is there before the call.  A timer descriptor causes the
 * completion from interrupt context, so no second thread is needed.  There are several cycles,
 * because each of the bugs affects only the second completion and later ones.
 *
 * An eventfd keeps a count, which can be read later.  So there the completion is caused first, by a
 * write to a socket pair.
 *
 * Owns:    its descriptors, until it returns.
 * Threads: the caller's.
 * Always:  the receive it armed has completed.
 * Tests:   tests/probe/test_feature.c, tests/ktest/cases_catalogue.py
 */
#define _GNU_SOURCE
#include "probe/quirk_test.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { UD_RECV = 1, UD_TIMER = 2, EVENTFD_CYCLES = 2, RING_CYCLES = 3, WAKE_NS = 60000 };

/* Arms a receive and makes it complete: from now on the loop must be woken. */
static int cause_completion(struct ouro__kit_ring *kit, const int fds[2], char byte[1])
{
    struct io_uring_sqe *sqe = ouro__kit_sqe(kit, IORING_OP_RECV, fds[1], UD_RECV);
    sqe->addr = (uint64_t)(uintptr_t)byte;
    sqe->len = 1;
    int rc = ouro__kit_submit(kit);
    if (rc < 0)
        return rc;
    return write(fds[0], "w", 1) == 1 ? 0 : -errno;
}

static int reap(struct ouro__kit_ring *kit)
{
    struct ouro__kit_cqe cqe = {0};
    int rc = ouro__kit_wait(kit, OURO__KIT_ANSWER_NS, &cqe);
    return rc == 0 && cqe.res != 1 ? -EIO : rc;
}

/* A read of the timer completes @WAKE_NS from now. */
static int arm_timer(struct ouro__kit_ring *kit, int timer_fd, uint64_t *expirations)
{
    const struct itimerspec soon = {.it_value.tv_nsec = WAKE_NS};
    struct io_uring_sqe *sqe = ouro__kit_sqe(kit, IORING_OP_READ, timer_fd, UD_TIMER);
    sqe->addr = (uint64_t)(uintptr_t)expirations;
    sqe->len = sizeof(*expirations);
    int rc = ouro__kit_submit(kit);
    if (rc >= 0 && timerfd_settime(timer_fd, 0, &soon, NULL) < 0)
        rc = -errno;
    return rc < 0 ? rc : 0;
}

/* 1 when @epoll_fd reports in time, 0 when it does not, -errno when that cannot be said.  EINTR is
 * no report: task work interrupts too. */
static int reports(int epoll_fd)
{
    struct epoll_event event;
    const int64_t deadline_ns = ouro__kit_now_ns() + OURO__QUIRK_PATIENCE_MS * OURO__KIT_NS_PER_MS;
    int got = 0;
    do {
        got = epoll_wait(epoll_fd, &event, 1, OURO__QUIRK_PATIENCE_MS);
    } while (got < 0 && errno == EINTR && ouro__kit_now_ns() < deadline_ns);
    if (got < 0 && errno == EINTR)
        return 0;
    return got < 0 ? -errno : got;
}

/* The same of an eventfd. */
static int is_signalled(int event_fd)
{
    struct pollfd waiting = {.fd = event_fd, .events = POLLIN};
    int got = poll(&waiting, 1, OURO__QUIRK_PATIENCE_MS);
    return got < 0 ? -errno : got;
}

/* What a test returns: 0 in order, 1 the quirk is there, -errno not known. */
static int answer(int rc, int woken)
{
    if (rc < 0)
        return rc;
    return woken < 0 ? woken : !woken;
}

int ouro__quirk_test_ring_fd(struct ouro__kit_ring *kit)
{
    static uint64_t expirations; /* written by the kernel, never read */
    int timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    int rc = 0;
    if (timer_fd < 0 || epoll_fd < 0 ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, kit->ring.ring_fd, &event) < 0)
        rc = -errno;
    int woken = 1;
    for (int i = 0; rc == 0 && woken == 1 && i < RING_CYCLES; i++) {
        struct ouro__kit_cqe cqe;
        rc = arm_timer(kit, timer_fd, &expirations);
        if (rc == 0)
            woken = reports(epoll_fd);
        if (rc == 0)
            rc = ouro__kit_wait(kit, OURO__KIT_ANSWER_NS, &cqe);
    }
    ouro__kit_shut(&epoll_fd);
    ouro__kit_shut(&timer_fd);
    return answer(rc, woken);
}

int ouro__quirk_test_eventfd(struct ouro__kit_ring *kit)
{
    int fds[2];
    int rc = ouro__kit_pair(SOCK_STREAM, fds);
    if (rc < 0)
        return rc;
    int event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    rc = event_fd < 0 ? -errno : io_uring_register_eventfd(&kit->ring, event_fd);
    int signalled = 1;
    for (int i = 0; rc == 0 && signalled == 1 && i < EVENTFD_CYCLES; i++) {
        char byte[1];
        uint64_t count = 0;
        rc = cause_completion(kit, fds, byte);
        if (rc == 0)
            signalled = is_signalled(event_fd);
        if (rc == 0)
            rc = reap(kit);
        (void)!read(event_fd, &count, sizeof(count));
    }
    (void)io_uring_unregister_eventfd(&kit->ring);
    ouro__kit_shut(&event_fd);
    ouro__kit_shut(&fds[0]);
    ouro__kit_shut(&fds[1]);
    return answer(rc, signalled);
}
