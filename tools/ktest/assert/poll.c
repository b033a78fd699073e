/* SPDX-License-Identifier: MIT */
/*
 * IORING_OP_POLL_ADD: one shot, multishot, updates, and another epoll set inside the ring.
 *
 * After the first completion multishot polls report edges, not levels.  So a loop that reads once
 * per completion and leaves bytes behind waits for bytes that are already there.
 */
#define _GNU_SOURCE
#include "fixture/kt.h"

#include <sys/epoll.h>

enum { UD_POLL = 1, UD_OTHER = 2, UD_UPDATE = 3, UD_RENAMED = 4, QUIET_MS = 20 };

static void oneshot(struct kt *t)
{
    int fds[2];
    struct kt_cqe cqe;
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_prep_poll(t, fds[0], POLLIN, false, UD_POLL);
    kt_submit(t, 1);
    KT_EXPECT_EQ(t, kt_try_wait(t, QUIET_MS, &cqe), 0, "a poll completed before any data");
    kt_write(t, fds[1], "x", 1);
    cqe = kt_wait_for(t, UD_POLL);
    KT_EXPECT_EQ(t, cqe.res & POLLIN, POLLIN, "POLLIN in the poll's result");
    KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_MORE), 0, "F_MORE on a one-shot poll");
    kt_write(t, fds[1], "x", 1);
    kt_expect_silence(t, QUIET_MS, "after a one-shot poll");
    kt_prep_poll(t, fds[0], POLLIN, false, UD_OTHER);
    kt_submit(t, 1);
    cqe = kt_wait_for(t, UD_OTHER);
    KT_EXPECT_EQ(t, cqe.res & POLLIN, POLLIN, "POLLIN at once where data is there already");
}

static void multishot(struct kt *t)
{
    int fds[2];
    char bytes[4];
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_write(t, fds[1], "ab", 2);
    kt_prep_poll(t, fds[0], POLLIN | POLLRDHUP, true, UD_POLL);
    kt_submit(t, 1);
    struct kt_cqe cqe = kt_wait_for(t, UD_POLL);
    KT_EXPECT_EQ(t, cqe.res & POLLIN, POLLIN, "POLLIN for data there when armed");
    KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_MORE), 1, "F_MORE on it");
    KT_EXPECT_EQ(t, kt_read(t, fds[0], bytes, 1), 1, "bytes read, one stays");
    kt_expect_silence(t, QUIET_MS, "after a partial read, nothing new");
    kt_write(t, fds[1], "c", 1);
    cqe = kt_wait_for(t, UD_POLL);
    KT_EXPECT_EQ(t, cqe.res & POLLIN, POLLIN, "POLLIN for new data though old is unread");
    KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_MORE), 1, "F_MORE on it");
    KT_SYS(t, close(fds[1]));
    cqe = kt_wait_for(t, UD_POLL);
    KT_EXPECT_EQ(t, cqe.res & POLLHUP, POLLHUP, "POLLHUP when the peer closes");
    KT_EXPECT_EQ(t, cqe.res & POLLRDHUP, POLLRDHUP, "POLLRDHUP when the peer closes");
}

static void level_refused(struct kt *t)
{
    int fds[2];
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_prep_poll(t, fds[0], POLLIN, true, UD_POLL)->len |= IORING_POLL_ADD_LEVEL;
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_POLL).res, -EINVAL, "POLL_ADD with IORING_POLL_ADD_LEVEL");
}

static void poll_remove(struct kt *t)
{
    int fds[2];
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_prep_poll(t, fds[0], POLLIN, true, UD_POLL);
    kt_submit(t, 1);
    kt_sqe(t, IORING_OP_POLL_REMOVE, -1, UD_OTHER)->addr = UD_POLL;
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_OTHER).res, 0, "removing a poll");
    const struct kt_cqe cqe = kt_wait_for(t, UD_POLL);
    KT_EXPECT_RES(t, cqe.res, -ECANCELED, "the removed poll");
    KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_MORE), 0, "F_MORE on it");
    kt_sqe(t, IORING_OP_POLL_REMOVE, -1, UD_OTHER)->addr = UD_POLL;
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_OTHER).res, -ENOENT, "removing it again");
}

/* POLL_REMOVE in its other role: change a poll that is armed. */
static struct io_uring_sqe *prep_update(struct kt *t, uint64_t target, uint32_t flags)
{
    struct io_uring_sqe *sqe = kt_sqe(t, IORING_OP_POLL_REMOVE, -1, UD_UPDATE);
    sqe->addr = target;
    sqe->len = flags;
    return sqe;
}

static void update(struct kt *t)
{
    int fds[2];
    struct kt_cqe cqe;
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_prep_poll(t, fds[0], POLLRDHUP, true, UD_POLL);
    kt_submit(t, 1);
    kt_write(t, fds[1], "x", 1);
    KT_EXPECT_EQ(t, kt_try_wait(t, QUIET_MS, &cqe), 0, "a poll for POLLRDHUP saw ordinary data");
    uint32_t events = POLLIN;
#if __BYTE_ORDER == __BIG_ENDIAN
    events = (events >> 16) | (events << 16);
#endif
    prep_update(t, UD_POLL, IORING_POLL_UPDATE_EVENTS | IORING_POLL_ADD_MULTI)->poll32_events =
        events;
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_UPDATE).res, 0, "updating the events to POLLIN");
    cqe = kt_wait_for(t, UD_POLL);
    KT_EXPECT_EQ(t, cqe.res & POLLIN, POLLIN, "POLLIN after the update, data being there");
    KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_MORE), 1, "F_MORE on it");

    prep_update(t, UD_POLL, IORING_POLL_UPDATE_USER_DATA)->off = UD_RENAMED;
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_UPDATE).res, 0, "updating the user_data");
    kt_write(t, fds[1], "x", 1);
    cqe = kt_wait_for(t, UD_RENAMED);
    KT_EXPECT_EQ(t, cqe.res & POLLIN, POLLIN, "POLLIN under the new user_data");
    prep_update(t, UD_POLL, IORING_POLL_UPDATE_USER_DATA)->off = UD_OTHER;
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_UPDATE).res, -ENOENT, "updating under the old user_data");
}

static void epoll_set(struct kt *t)
{
    int fds[2];
    struct kt_cqe cqe;
    struct epoll_event event = {.events = EPOLLIN};
    kt_unix_pair(t, SOCK_STREAM, fds);
    const int epoll_fd = (int)KT_SYS(t, epoll_create1(EPOLL_CLOEXEC));
    KT_SYS(t, epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fds[0], &event));
    kt_prep_poll(t, epoll_fd, POLLIN, false, UD_POLL);
    kt_submit(t, 1);
    KT_EXPECT_EQ(t, kt_try_wait(t, QUIET_MS, &cqe), 0, "a poll of an idle epoll set completed");
    kt_write(t, fds[1], "x", 1);
    cqe = kt_wait_for(t, UD_POLL);
    KT_EXPECT_EQ(t, cqe.res & POLLIN, POLLIN, "POLLIN of an epoll set with something ready");
    KT_EXPECT_EQ(t, epoll_wait(epoll_fd, &event, 1, 0), 1, "events epoll_wait() then gives");
}

static const struct kt_assertion assertions[] = {
    {
        .id = "poll.oneshot",
        .sentence = "A one-shot poll completes once: at once if ready, else on the first event.",
        .source = "io_uring_prep_poll_add(3), 5.1",
        .since = "5.1",
        .absence = "Always there.",
        .impact = "A readiness loop misses events or sees them twice.",
        .avoid = "Use RECV and SEND, which need no readiness.",
        .rings = KT_ON_BOTH,
        .run = oneshot,
    },
    {
        .id = "poll.multishot",
        .alias = "K058",
        .sentence = "A multishot poll reports readiness when armed, then every new event though "
                    "old data is unread, nothing after a partial read, and the peer's close.",
        .source = "io_uring_prep_poll_multishot(3), 5.13",
        .since = "5.13",
        .broken = "6.0 to 6.0.11 (lost events)",
        .absence = "-EINVAL to IORING_POLL_ADD_MULTI.",
        .impact = "A readiness loop on a ring stalls, or never learns that a peer has gone.",
        .avoid = "Arm a one-shot poll each time.",
        .needs = KT_NEEDS(POLL_MULTISHOT),
        .rings = KT_ON_BOTH,
        .run = multishot,
    },
    {
        .id = "poll.level-refused",
        .sentence = "IORING_POLL_ADD_LEVEL is in the header, and POLL_ADD refuses it with -EINVAL.",
        .source = "observed on 6.1 to 7.3; the header has the flag since 6.0",
        .since = "6.0",
        .absence = "-EINVAL is the documented answer here.",
        .impact = "A loop that expects levels waits for data that is already there.",
        .avoid = "Read until -EAGAIN after every completion of a multishot poll.",
        .needs = KT_NEEDS(POLL_MULTISHOT),
        .rings = KT_ON_BOTH,
        .flags = KT_F_INFO,
        .run = level_refused,
    },
    {
        .id = "poll.remove",
        .sentence = "POLL_REMOVE ends an armed poll with -ECANCELED, and is -ENOENT when there is "
                    "none.",
        .source = "io_uring_prep_poll_remove(3), 5.1",
        .since = "5.1",
        .absence = "Always there.",
        .impact = "Events come for a connection that has been forgotten.",
        .avoid = "Use ASYNC_CANCEL.",
        .rings = KT_ON_BOTH,
        .run = poll_remove,
    },
    {
        .id = "poll.update",
        .sentence = "An armed multishot poll takes new events and a new user_data, and looks at "
                    "readiness again.",
        .source = "io_uring_prep_poll_update(3), 5.13",
        .since = "5.13",
        .absence = "-EINVAL to the update flags.",
        .impact = "Interest in POLLOUT cannot be switched on: a writer stalls.",
        .avoid = "Remove the poll and add another.",
        .needs = KT_NEEDS(POLL_MULTISHOT),
        .rings = KT_ON_BOTH,
        .run = update,
    },
    {
        .id = "poll.epoll-set",
        .sentence = "A poll of an epoll set completes when something in the set becomes ready.",
        .source = "epoll(7), io_uring_prep_poll_add(3)",
        .since = "5.1",
        .absence = "Always there.",
        .impact = "A library with an epoll loop of its own cannot be embedded in a ring.",
        .avoid = "Give the embedded loop a thread of its own.",
        .rings = KT_ON_BOTH,
        .run = epoll_set,
    },
};

const struct kt_area kt_area_poll = KT_AREA("poll", assertions);
