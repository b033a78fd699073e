/* SPDX-License-Identifier: MIT */
/*
 * Waking a foreign event loop: the ring's descriptor in an epoll set, and a registered eventfd.
 *
 * On a DEFER_TASKRUN ring a completion is only *pending* until the owner enters, yet both ways must
 * tell the loop to do so, every time.  Most current stable kernels get one of the two wrong, and
 * only from the second cycle on, so a single check does not find it.
 */
#include "fixture/kt.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

enum { UD_RECV = 1, UD_NOP = 2, CYCLES = 20, WAKE_MS = 250 };

struct waker {
    int fd;
    int delay_us;
};

/* Writes a byte after the first thread has had time to block. */
static void *write_later(void *arg)
{
    const struct waker *waker = arg;
    const int64_t start_ns = kt_now_ns();
    while (kt_now_ns() - start_ns < (int64_t)waker->delay_us * 1000)
        continue;
    return write(waker->fd, "w", 1) == 1 ? arg : NULL;
}

/* One cycle: arm a receive, block in epoll_wait(), have a byte written; how long until woken. */
static int64_t wake_once_us(struct kt *t, int epoll_fd, int fds[2])
{
    char byte = 0;
    kt_prep_recv(t, fds[1], &byte, 1, 0, UD_RECV);
    kt_submit(t, 1);
    struct waker waker = {.fd = fds[0], .delay_us = 300};
    struct kt_thread thread;
    kt_thread_start(t, &thread, write_later, &waker);
    struct epoll_event event;
    const int64_t start_ns = kt_now_ns();
    const int64_t limit_ns = kt_slack_ms(t, WAKE_MS) * 1000000;
    int woken = 0;
    do { /* a plain ring's task work interrupts the wait: EINTR is no wake-up */
        woken = epoll_wait(epoll_fd, &event, 1, (int)kt_slack_ms(t, WAKE_MS));
    } while (woken < 0 && errno == EINTR && kt_now_ns() - start_ns < limit_ns);
    const int64_t took_us = (kt_now_ns() - start_ns) / 1000;
    KT_REQUIRE(t, kt_thread_join(t, &thread) != NULL, "the byte was not written");
    const struct kt_cqe cqe = kt_wait_for(t, UD_RECV);
    KT_REQUIRE(t, cqe.res == 1, "the receive ended with %d", cqe.res);
    return woken == 1 ? took_us : -1;
}

static void expect_every_wake(struct kt *t, int epoll_fd, int event_fd)
{
    int fds[2];
    int missed = 0;
    int first_missed = -1;
    int64_t worst_us = 0;
    kt_unix_pair(t, SOCK_STREAM, fds);
    for (int i = 0; i < CYCLES; i++) {
        kt_step(t, "waiting in epoll_wait(), cycle %d", i);
        const int64_t took_us = wake_once_us(t, epoll_fd, fds);
        uint64_t count = 0;
        if (event_fd >= 0)
            (void)!read(event_fd, &count, sizeof(count));
        if (took_us < 0 && missed++ == 0)
            first_missed = i + 1;
        worst_us = took_us > worst_us ? took_us : worst_us;
        if (missed == 3)
            break; /* sure enough, and each costs the whole limit */
    }
    kt_metric(t, "worst_wake_us", (double)worst_us);
    KT_EXPECT_EQ(t, missed, 0, "wake-ups missed of %d cycles (the first in cycle %d)", CYCLES,
                 first_missed);
}

static void watch(struct kt *t, int epoll_fd, int fd)
{
    struct epoll_event event = {.events = EPOLLIN};
    KT_SYS(t, epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event));
}

static void ring_fd_wakes(struct kt *t)
{
    const int epoll_fd = (int)KT_SYS(t, epoll_create1(EPOLL_CLOEXEC));
    watch(t, epoll_fd, t->ring.ring.ring_fd);
    expect_every_wake(t, epoll_fd, -1);
}

static void eventfd_every_time(struct kt *t)
{
    const int epoll_fd = (int)KT_SYS(t, epoll_create1(EPOLL_CLOEXEC));
    int event_fd = (int)KT_SYS(t, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    const int rc = kt_register(&t->ring, IORING_REGISTER_EVENTFD, &event_fd, 1);
    KT_EXPECT_RES(t, rc, 0, "registering an eventfd");
    watch(t, epoll_fd, event_fd);
    expect_every_wake(t, epoll_fd, event_fd);
}

/* The count of @event_fd, 0 when it was not signalled. */
static uint64_t take_count(int event_fd)
{
    uint64_t count = 0;
    return read(event_fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

static int register_eventfd(struct kt *t, uint32_t opcode)
{
    const int event_fd = (int)KT_SYS(t, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    KT_EXPECT_RES(t, kt_register(&t->ring, opcode, &event_fd, 1), 0, "registering an eventfd");
    return event_fd;
}

static void nop(struct kt *t, uint8_t flags)
{
    kt_sqe(t, IORING_OP_NOP, -1, UD_NOP)->flags = flags;
    kt_submit(t, 1);
    KT_REQUIRE(t, kt_wait_for(t, UD_NOP).res == 0, "a NOP failed");
}

static void eventfd_async(struct kt *t)
{
    const int event_fd = register_eventfd(t, IORING_REGISTER_EVENTFD_ASYNC);
    nop(t, 0);
    KT_EXPECT_EQ(t, take_count(event_fd), 0, "signals for a NOP that completed in the submit");
    nop(t, IOSQE_ASYNC);
    struct pollfd ready = {.fd = event_fd, .events = POLLIN};
    KT_EXPECT_EQ(t, poll(&ready, 1, (int)kt_slack_ms(t, KT_WAIT_MS)), 1,
                 "a signal comes for a NOP that a worker completed");
}

static void eventfd_disabled(struct kt *t)
{
    const int event_fd = register_eventfd(t, IORING_REGISTER_EVENTFD);
    KT_EXPECT_RES(t, kt_register(&t->ring, IORING_REGISTER_EVENTFD, &event_fd, 1), -EBUSY,
                  "registering a second one");
    KT_REQUIRE(t, io_uring_cq_eventfd_toggle(&t->ring.ring, false) == 0, "the ring has no flags");
    nop(t, 0);
    KT_EXPECT_EQ(t, take_count(event_fd), 0, "signals while switched off");
    KT_REQUIRE(t, io_uring_cq_eventfd_toggle(&t->ring.ring, true) == 0, "the ring has no flags");
    nop(t, 0);
    KT_EXPECT_NE(t, take_count(event_fd), 0, "signals after it is switched on again");
    KT_EXPECT_RES(t, kt_register(&t->ring, IORING_UNREGISTER_EVENTFD, NULL, 0), 0, "removing it");
    nop(t, 0);
    KT_EXPECT_EQ(t, take_count(event_fd), 0, "signals after it is removed");
    KT_EXPECT_RES(t, kt_register(&t->ring, IORING_UNREGISTER_EVENTFD, NULL, 0), -ENXIO,
                  "removing it again");
}

static const struct kt_assertion assertions[] = {
    {
        .id = "defer.ring-fd-wakes",
        .alias = "K056",
        .sentence = "A loop blocked in epoll_wait() on the ring's descriptor is woken by every "
                    "completion.",
        .source = "io_uring(7), io_uring_setup(2): the descriptor is pollable",
        .since = "5.1",
        .broken = "6.12.100 to 6.12.113, 6.16 to 7.2.13 (DEFER_TASKRUN rings)",
        .absence = "Always there; a wake-up that does not come is breakage.",
        .impact = "A program that embeds the ring in another event loop stalls for ever.",
        .avoid = "Do not put a DEFER_TASKRUN ring's descriptor in an epoll set: wait in "
                 "io_uring_enter(), or create that ring without DEFER_TASKRUN.",
        .guards = "lost wake-ups of deferred task work",
        .rings = KT_ON_BOTH,
        .run = ring_fd_wakes,
    },
    {
        .id = "defer.eventfd-every-time",
        .alias = "K057",
        .sentence = "A registered eventfd becomes readable for every completion, not only for the "
                    "first.",
        .source = "io_uring_register_eventfd(3)",
        .since = "5.2",
        .broken = "6.12.115 to 6.12.117 (DEFER_TASKRUN rings: signalled once)",
        .absence = "Always there; a signal that does not come is breakage.",
        .impact = "An event loop woken by the eventfd serves one event and then sleeps for ever.",
        .avoid = "Do not rely on a registered eventfd of a DEFER_TASKRUN ring: wait in "
                 "io_uring_enter(), or create that ring without DEFER_TASKRUN.",
        .guards = "\"defer eventfd signaling when queued from a wakeup handler\"",
        .rings = KT_ON_BOTH,
        .run = eventfd_every_time,
    },
    {
        .id = "wake.eventfd-async",
        .sentence = "An eventfd registered with EVENTFD_ASYNC is signalled for what a worker "
                    "completes, not for what completes inside the submit.",
        .source = "io_uring_register_eventfd_async(3), 5.6",
        .since = "5.6",
        .absence = "-EINVAL to the register call.",
        .impact = "A loop wakes once for nothing after every submit, or not at all.",
        .avoid = "Register an ordinary eventfd.",
        .rings = KT_ON_BOTH,
        .run = eventfd_async,
    },
    {
        .id = "wake.eventfd-disabled",
        .sentence = "IORING_CQ_EVENTFD_DISABLED silences a registered eventfd while it is set; a "
                    "second eventfd is -EBUSY, removing none -ENXIO.",
        .source = "io_uring_register_eventfd(3), 5.8",
        .since = "5.8",
        .absence = "The ring has no flags for the application.",
        .impact = "A busy loop pays for signals it does not need, or misses those it does.",
        .avoid = "Leave the eventfd switched on.",
        .rings = KT_ON_BOTH,
        .run = eventfd_disabled,
    },
};

const struct kt_area kt_area_wake = KT_AREA("wake", assertions);
