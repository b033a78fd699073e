/* SPDX-License-Identifier: MIT */
/*
 * IORING_OP_ASYNC_CANCEL and its keys, and the synchronous form.
 *
 * A cancel that hits a request other than the named one ends the receive of a healthy connection.
 * A cancel that hits nothing leaves the kernel writing into memory that the program reuses.  So the
 * cancel's own result proves nothing here: each named request must end, and every other one must go
 * on.
 *
 * Owns:    nothing that outlives the process.
 * Threads: the assertion's.
 * Always:  what must have survived a cancel is proved alive by ending it in another way.
 */
#include "fixture/kt.h"

enum {
    UD_FIRST = 1,
    UD_SECOND = 2,
    UD_THIRD = 3,
    UD_CANCEL = 9,
    UD_ABSENT = 77,
    ASYNC_ROUNDS = 200,
    ASYNC_RECVS = 6,
    ASYNC_BAD_MAX = 3,
    ASYNC_WAIT_MS = 150
};

static char bytes[16];

/* A receive that waits: nobody writes to @fd unless the assertion does. */
static struct io_uring_sqe *waiting_recv(struct kt *t, int fd, uint64_t user_data)
{
    return kt_prep_recv(t, fd, &bytes[user_data], 1, 0, user_data);
}

static int32_t cancel_result(struct kt *t, int fd, uint64_t target, uint32_t flags)
{
    kt_prep_cancel(t, target, flags, UD_CANCEL)->fd = fd;
    kt_submit(t, 1);
    return kt_wait_for(t, UD_CANCEL).res;
}

static void expect_alive(struct kt *t, int peer, uint64_t user_data, const char *what)
{
    struct kt_cqe cqe;
    KT_EXPECT_EQ(t, kt_try_wait_for(t, user_data, 5, &cqe), 0, "%s was ended", what);
    kt_write(t, peer, "x", 1);
    KT_EXPECT_RES(t, kt_wait_for(t, user_data).res, 1, "%s, when a byte comes", what);
}

static void cancel_absent(struct kt *t)
{
    int fds[2];
    kt_unix_pair(t, SOCK_STREAM, fds);
    waiting_recv(t, fds[0], UD_FIRST);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, cancel_result(t, -1, UD_ABSENT, 0), -ENOENT,
                  "cancel of a user_data that is not in flight");
    expect_alive(t, fds[1], UD_FIRST, "a receive that was not named");
    KT_EXPECT_RES(t, cancel_result(t, -1, UD_FIRST, 0), -ENOENT, "cancel of what has completed");
}

static void cancel_user_data(struct kt *t)
{
    int fds[2];
    kt_unix_pair(t, SOCK_STREAM, fds);
    waiting_recv(t, fds[0], UD_FIRST);
    waiting_recv(t, fds[0], UD_SECOND);
    kt_submit(t, 2);
    KT_EXPECT_RES(t, cancel_result(t, -1, UD_SECOND, 0), 0, "cancel of the second receive");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_SECOND).res, -ECANCELED, "the second receive");
    expect_alive(t, fds[1], UD_FIRST, "the first receive");
}

static void cancel_count(struct kt *t)
{
    int fds[2];
    int other[2];
    const uint32_t keys = IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ALL;
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_unix_pair(t, SOCK_STREAM, other);
    KT_EXPECT_RES(t, cancel_result(t, fds[0], 0, keys), 0, "cancel of all on an idle descriptor");
    waiting_recv(t, fds[0], UD_FIRST);
    waiting_recv(t, fds[0], UD_SECOND);
    waiting_recv(t, other[0], UD_THIRD);
    kt_submit(t, 3);
    KT_EXPECT_RES(t, cancel_result(t, fds[0], 0, keys), 2, "cancel of all on a descriptor with 2");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_FIRST).res, -ECANCELED, "the first receive");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_SECOND).res, -ECANCELED, "the second receive");
    expect_alive(t, other[1], UD_THIRD, "a receive on another descriptor");
}

static void cancel_fd(struct kt *t)
{
    int fds[2];
    int other[2];
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_unix_pair(t, SOCK_STREAM, other);
    KT_EXPECT_RES(t, cancel_result(t, fds[0], 0, IORING_ASYNC_CANCEL_FD), -ENOENT,
                  "cancel by an idle descriptor");
    waiting_recv(t, other[0], UD_FIRST);
    waiting_recv(t, fds[0], UD_SECOND);
    kt_submit(t, 2);
    KT_EXPECT_RES(t, cancel_result(t, fds[0], 0, IORING_ASYNC_CANCEL_FD), 0,
                  "cancel by descriptor");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_SECOND).res, -ECANCELED, "the receive on that descriptor");
    expect_alive(t, other[1], UD_FIRST, "the receive on another one");
}

static void cancel_any(struct kt *t)
{
    int fds[2];
    const uint32_t keys = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL;
    kt_unix_pair(t, SOCK_STREAM, fds);
    KT_EXPECT_RES(t, cancel_result(t, -1, 0, keys), 0, "cancel of everything, with nothing there");
    for (uint64_t ud = UD_FIRST; ud <= UD_THIRD; ud++)
        waiting_recv(t, fds[0], ud);
    kt_submit(t, 3);
    KT_EXPECT_RES(t, cancel_result(t, -1, 0, keys), 3, "cancel of everything");
    for (uint64_t ud = UD_FIRST; ud <= UD_THIRD; ud++)
        KT_EXPECT_RES(t, kt_wait_for(t, ud).res, -ECANCELED, "receive %d", (int)ud);
    kt_expect_silence(t, 5, "after all were cancelled");
}

static void cancel_op(struct kt *t)
{
    int fds[2];
    kt_unix_pair(t, SOCK_STREAM, fds);
    waiting_recv(t, fds[0], UD_FIRST);
    waiting_recv(t, fds[0], UD_SECOND);
    kt_prep_poll(t, fds[0], POLLIN, false, UD_THIRD);
    kt_submit(t, 3);
    kt_prep_cancel(t, 0, OURO__CANCEL_OP | IORING_ASYNC_CANCEL_ALL, UD_CANCEL)->len =
        IORING_OP_RECV;
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_CANCEL).res, 2, "cancel of all receives");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_FIRST).res, -ECANCELED, "the first receive");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_SECOND).res, -ECANCELED, "the second receive");
    struct kt_cqe cqe;
    KT_EXPECT_EQ(t, kt_try_wait_for(t, UD_THIRD, 5, &cqe), 0, "the poll was ended");
    kt_write(t, fds[1], "x", 1);
    KT_EXPECT_EQ(t, kt_wait_for(t, UD_THIRD).res & POLLIN, POLLIN, "the poll, when a byte comes");
}

/* One round: receives on worker threads, all cancelled at once.  How many the cancel left behind.
 */
static int async_left(struct kt *t)
{
    int fds[2];
    int late = 0;
    int left = 0;
    struct kt_cqe cqe;
    kt_unix_pair(t, SOCK_STREAM, fds);
    for (uint64_t ud = 1; ud <= ASYNC_RECVS; ud++)
        waiting_recv(t, fds[0], ud)->flags |= IOSQE_ASYNC;
    kt_submit(t, ASYNC_RECVS);
    (void)cancel_result(t, fds[0], 0, IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ALL);
    for (uint64_t ud = 1; ud <= ASYNC_RECVS; ud++)
        late += !kt_try_wait_for(t, ud, late > 0 ? 1 : (int)kt_slack_ms(t, ASYNC_WAIT_MS), &cqe);
    /*
     * End of stream ends the remaining receives.  Their result differs from that of a receive that
     * was cancelled but completes late on a busy machine.
     */
    KT_SYS(t, shutdown(fds[1], SHUT_RDWR));
    for (int i = 0; i < late; i++)
        left += kt_wait(t).res == 0;
    KT_SYS(t, close(fds[0]));
    KT_SYS(t, close(fds[1]));
    return left;
}

static void cancel_async(struct kt *t)
{
    int bad = 0;
    int round = 0;
    int first_bad = 0;
    for (; round < ASYNC_ROUNDS && bad < ASYNC_BAD_MAX; round++) {
        kt_step(t, "cancelling receives on worker threads, round %d", round + 1);
        if (async_left(t) > 0 && bad++ == 0)
            first_bad = round + 1;
    }
    kt_metric(t, "rounds", round);
    kt_metric(t, "bad_rounds", bad);
    KT_EXPECT_EQ(t, bad, 0, "of %d rounds, those in which a receive was left (the first in %d)",
                 round, first_bad);
}

static int sync_cancel(struct kt *t, uint64_t target, int fd, uint32_t flags)
{
    const struct ouro__sync_cancel_reg reg = {
        .addr = target, .fd = fd, .flags = flags, .timeout = {.tv_sec = -1, .tv_nsec = -1}};
    return kt_register(&t->ring, IORING_REGISTER_SYNC_CANCEL, &reg, 1);
}

static void cancel_sync(struct kt *t)
{
    int fds[2];
    int other[2];
    struct kt_cqe cqe = {0};
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_unix_pair(t, SOCK_STREAM, other);
    waiting_recv(t, fds[0], UD_FIRST);
    waiting_recv(t, fds[0], UD_SECOND);
    waiting_recv(t, other[0], UD_THIRD);
    kt_submit(t, 3);
    KT_EXPECT_RES(t, sync_cancel(t, UD_ABSENT, -1, 0), -ENOENT, "an absent user_data");
    KT_EXPECT_RES(t, sync_cancel(t, UD_SECOND, -1, 0), 0, "the second receive");
    KT_EXPECT_EQ(t, kt_try_wait_for(t, UD_SECOND, 0, &cqe), 1,
                 "completions of it that are there when the call returns");
    KT_EXPECT_RES(t, cqe.res, -ECANCELED, "the second receive's result");
    expect_alive(t, fds[1], UD_FIRST, "the first receive");
    const uint32_t keys = IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ALL;
    KT_EXPECT_RES(t, sync_cancel(t, 0, other[0], keys), 1, "all of the other descriptor");
    KT_EXPECT_EQ(t, kt_try_wait_for(t, UD_THIRD, 0, &cqe), 1,
                 "completions of the third that are there when the call returns");
    KT_EXPECT_RES(t, cqe.res, -ECANCELED, "the third receive's result");
}

static void cancel_poll(struct kt *t)
{
    int fds[2];
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_prep_poll(t, fds[0], POLLIN, true, UD_FIRST);
    kt_submit(t, 1);
    kt_write(t, fds[1], "x", 1);
    KT_EXPECT_EQ(t, KT_HAS(kt_wait_for(t, UD_FIRST), IORING_CQE_F_MORE), 1, "F_MORE on an event");
    KT_EXPECT_RES(t, cancel_result(t, -1, UD_FIRST, 0), 0, "cancel of a multishot poll");
    const struct kt_cqe cqe = kt_wait_for(t, UD_FIRST);
    KT_EXPECT_RES(t, cqe.res, -ECANCELED, "the poll");
    KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_MORE), 0, "F_MORE on its last completion");
    kt_write(t, fds[1], "y", 1);
    kt_expect_silence(t, 5, "events after the cancel");
}

static void cancel_timeout(struct kt *t)
{
    const struct __kernel_timespec far = kt_ts_ms(60000);
    kt_prep_timeout(t, &far, 0, 0, UD_FIRST);
    kt_prep_timeout(t, &far, 0, 0, UD_SECOND);
    kt_submit(t, 2);
    KT_EXPECT_RES(t, cancel_result(t, -1, UD_SECOND, 0), 0, "ASYNC_CANCEL of a timeout");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_SECOND).res, -ECANCELED, "that timeout");
    kt_expect_silence(t, 5, "the other timeout");
    KT_EXPECT_RES(t, cancel_result(t, -1, UD_FIRST, 0), 0, "ASYNC_CANCEL of the other");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_FIRST).res, -ECANCELED, "the other timeout");
}

static void cancel_fixed(struct kt *t)
{
    int fds[2];
    int other[2];
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_unix_pair(t, SOCK_STREAM, other);
    const int table[2] = {other[0], fds[0]};
    KT_REQUIRE(t, kt_register(&t->ring, IORING_REGISTER_FILES, table, 2) == 0,
               "registering two files");
    waiting_recv(t, 0, UD_FIRST)->flags |= IOSQE_FIXED_FILE;
    waiting_recv(t, 1, UD_SECOND)->flags |= IOSQE_FIXED_FILE;
    kt_submit(t, 2);
    const uint32_t keys = IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_FD_FIXED;
    KT_EXPECT_RES(t, cancel_result(t, 1, 0, keys), 0, "cancel by slot 1");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_SECOND).res, -ECANCELED, "the receive on slot 1");
    expect_alive(t, other[1], UD_FIRST, "the receive on slot 0");
}

static void cancel_unknown_key(struct kt *t)
{
    int fds[2];
    kt_unix_pair(t, SOCK_STREAM, fds);
    waiting_recv(t, fds[0], UD_FIRST);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, cancel_result(t, fds[0], UD_FIRST, 1u << 30), -EINVAL,
                  "cancel with a key no kernel knows");
    expect_alive(t, fds[1], UD_FIRST, "the receive");
}

static void cancel_fd_userdata(struct kt *t)
{
    int fds[2];
    struct kt_cqe cqe;
    kt_unix_pair(t, SOCK_STREAM, fds);
    waiting_recv(t, fds[0], UD_FIRST);
    waiting_recv(t, fds[0], UD_SECOND);
    kt_submit(t, 2);

    const uint32_t keys = IORING_ASYNC_CANCEL_FD | OURO__CANCEL_USERDATA;
    kt_prep_cancel(t, UD_ABSENT, keys, UD_CANCEL)->fd = fds[0];
    kt_submit(t, 1);
    cqe = kt_wait_for(t, UD_CANCEL);
    KT_EXPECT_RES(t, cqe.res, -ENOENT, "cancel of a user_data that is not in flight");
    KT_EXPECT_EQ(t, kt_try_wait_for(t, UD_FIRST, 5, &cqe), 0, "the first receive was ended");
    KT_EXPECT_EQ(t, kt_try_wait_for(t, UD_SECOND, 5, &cqe), 0, "the second receive was ended");

    kt_prep_cancel(t, UD_SECOND, keys, UD_CANCEL)->fd = fds[0];
    kt_submit(t, 1);
    cqe = kt_wait_for(t, UD_CANCEL);
    KT_EXPECT_RES(t, cqe.res, 0, "cancel of the second receive");
    cqe = kt_wait_for(t, UD_SECOND);
    KT_EXPECT_RES(t, cqe.res, -ECANCELED, "the second receive, which was named");
    KT_EXPECT_EQ(t, kt_try_wait_for(t, UD_FIRST, 5, &cqe), 0,
                 "the first receive, which was not named, was ended");
}

static const struct kt_assertion assertions[] = {
    {
        .id = "cancel.absent",
        .alias = "K043",
        .sentence = "Cancelling a user_data that is not in flight gives -ENOENT and ends nothing.",
        .source = "io_uring_prep_cancel(3)",
        .since = "5.5",
        .absence = "The opcode is in the probe since 5.5; another result is breakage.",
        .impact = "Cancelling one operation ends another one.",
        .avoid = "Do not cancel: end receives with shutdown(2).",
        .needs = KT_NEEDS(CANCEL),
        .rings = KT_ON_BOTH,
        .run = cancel_absent,
    },
    {
        .id = "cancel.user-data",
        .sentence = "Cancelling by user_data ends exactly that request, with -ECANCELED.",
        .source = "io_uring_prep_cancel(3)",
        .since = "5.5",
        .absence = "The opcode is in the probe since 5.5; another result is breakage.",
        .impact = "Cancelling one operation ends another one of the same connection.",
        .avoid = "Do not cancel: end receives with shutdown(2).",
        .needs = KT_NEEDS(CANCEL),
        .rings = KT_ON_BOTH,
        .run = cancel_user_data,
    },
    {
        .id = "cancel.all-counts",
        .sentence = "With CANCEL_ALL the result is the number of requests cancelled, and 0 when "
                    "there are none.",
        .source = "io_uring_prep_cancel(3), IORING_ASYNC_CANCEL_ALL",
        .since = "5.19",
        .absence = "Before 5.19 the key gives -EINVAL; once accepted it must be honoured.",
        .impact = "A server waits for completions that never come, or not for those that do.",
        .avoid = "Cancel by user_data alone, and wait for the target's own completion.",
        .needs = KT_NEEDS(CANCEL_FD),
        .rings = KT_ON_BOTH,
        .run = cancel_count,
    },
    {
        .id = "cancel.fd",
        .sentence = "Cancelling by descriptor ends a request of that descriptor and none of "
                    "another.",
        .source = "io_uring_prep_cancel_fd(3)",
        .since = "5.19",
        .absence = "Before 5.19 the key gives -EINVAL; once accepted it must be honoured.",
        .impact = "Closing one connection ends another one.",
        .avoid = "Cancel by user_data alone, and wait for the target's own completion.",
        .needs = KT_NEEDS(CANCEL_FD),
        .rings = KT_ON_BOTH,
        .run = cancel_fd,
    },
    {
        .id = "cancel.any",
        .alias = "K044",
        .sentence = "CANCEL_ANY|CANCEL_ALL ends every request once and counts them.",
        .source = "io_uring_prep_cancel(3), IORING_ASYNC_CANCEL_ANY",
        .since = "5.19",
        .absence = "Before 5.19 the key gives -EINVAL; once accepted it must be honoured.",
        .impact = "A server that shuts down waits for ever.",
        .avoid = "Cancel by user_data alone, and wait for the target's own completion.",
        .needs = KT_NEEDS(CANCEL_FD),
        .rings = KT_ON_BOTH,
        .run = cancel_any,
    },
    {
        .id = "cancel.userdata-only",
        .alias = "K045",
        .sentence = "CANCEL_FD|CANCEL_USERDATA cancels exactly the request of that descriptor that "
                    "carries the user_data, and -ENOENT cancels nothing.",
        .source = "io_uring_prep_cancel(3)",
        .since = "6.6",
        .broken = "6.1.170 to 6.1.192 (user_data is ignored), 6.16.12, 6.17.13 (-ENOENT)",
        .absence = "-EINVAL where the key is unknown; once it is accepted it must be honoured.",
        .impact = "Cancelling one operation ends another one of the same connection.",
        .avoid = "Cancel by user_data alone, and wait for the target's own completion.",
        .guards = "liburing test cancel-fd-userdata",
        .needs = KT_NEEDS(CANCEL_USERDATA),
        .rings = KT_ON_BOTH,
        .run = cancel_fd_userdata,
    },
    {
        .id = "cancel.op",
        .alias = "K046",
        .sentence = "CANCEL_OP ends all requests of that opcode and no others.",
        .source = "io_uring_prep_cancel(3), IORING_ASYNC_CANCEL_OP",
        .since = "6.6",
        .broken = "6.1.170 to 6.1.192 (cancels nothing)",
        .absence = "-EINVAL where the key is unknown; once it is accepted it must be honoured.",
        .impact = "What was to be cancelled goes on, and writes into memory given back.",
        .avoid = "Cancel by user_data alone, and wait for the target's own completion.",
        .needs = KT_NEEDS(CANCEL_OP),
        .rings = KT_ON_BOTH,
        .run = cancel_op,
    },
    {
        .id = "cancel.async",
        .alias = "K047",
        .sentence = "CANCEL_FD|CANCEL_ALL right after submitting leaves no IOSQE_ASYNC receive "
                    "behind, in 200 rounds of 6.",
        .source = "io_uring_prep_cancel_fd(3)",
        .since = "5.19",
        .broken = "6.1 to 6.1.192, 6.12 to 6.12.113, 6.16 to 7.2.13 (a race)",
        .absence = "Before 5.19 the key gives -EINVAL; once accepted it must be honoured.",
        .impact = "A request goes on after its connection is given up, and holds it.",
        .avoid = "Never set IOSQE_ASYNC on sockets, and cancel until each target has completed.",
        .guards = "CVE-2026-99228, CVE-2026-99254, CVE-2026-99255",
        .needs = KT_NEEDS(CANCEL_FD),
        .rings = KT_ON_BOTH,
        .timeout_ms = 20000,
        .run = cancel_async,
    },
    {
        .id = "cancel.sync",
        .alias = "K048",
        .sentence = "SYNC_CANCEL returns 0, a count or -ENOENT, and the completion is there when "
                    "it returns.",
        .source = "io_uring_register_sync_cancel(3)",
        .since = "6.0",
        .absence = "-EINVAL before 6.0; once accepted it must be right.",
        .impact = "Memory is freed while a request still uses it.",
        .avoid = "Cancel by user_data alone, and wait for the target's own completion.",
        .needs = KT_NEEDS(SYNC_CANCEL),
        .rings = KT_ON_BOTH,
        .run = cancel_sync,
    },
    {
        .id = "cancel.poll",
        .sentence = "A cancelled multishot poll completes once more, with -ECANCELED and no "
                    "F_MORE.",
        .source = "io_uring_prep_cancel(3), io_uring_prep_poll_multishot(3)",
        .since = "5.13",
        .absence = "-EINVAL where multishot poll is unknown; afterwards any other end is breakage.",
        .impact = "Events arrive for a connection that is gone.",
        .avoid = "Use single polls.",
        .needs = KT_NEEDS(POLL_MULTISHOT),
        .rings = KT_ON_BOTH,
        .run = cancel_poll,
    },
    {
        .id = "cancel.timeout",
        .sentence = "ASYNC_CANCEL ends a timeout by user_data, and only that one.",
        .source = "io_uring_prep_cancel(3)",
        .since = "5.5",
        .absence = "The opcode is in the probe since 5.5; another result is breakage.",
        .impact = "Timers of finished operations fire later, on whoever reuses their memory.",
        .avoid = "Remove timeouts with TIMEOUT_REMOVE.",
        .needs = KT_NEEDS(CANCEL),
        .rings = KT_ON_BOTH,
        .run = cancel_timeout,
    },
    {
        .id = "cancel.fixed",
        .sentence = "With CANCEL_FD_FIXED the descriptor is a slot of the ring's file table.",
        .source = "io_uring_prep_cancel(3), IORING_ASYNC_CANCEL_FD_FIXED",
        .since = "6.0",
        .absence = "Before 6.0 the key gives -EINVAL; once accepted it must be honoured.",
        .impact = "Closing one connection ends another one.",
        .avoid = "Cancel by user_data alone, and wait for the target's own completion.",
        .needs = KT_NEEDS(CANCEL_FD),
        .rings = KT_ON_BOTH,
        .run = cancel_fixed,
    },
    {
        .id = "cancel.unknown-key",
        .sentence = "A cancel with an unknown key gives -EINVAL and ends nothing.",
        .source = "io_uring_prep_cancel(3)",
        .since = "5.5",
        .absence = "The opcode is in the probe since 5.5; another result is breakage.",
        .impact = "Programs cannot find out which keys work.",
        .avoid = "Cancel by user_data alone, and wait for the target's own completion.",
        .needs = KT_NEEDS(CANCEL),
        .rings = KT_ON_BOTH,
        .run = cancel_unknown_key,
    },
};

const struct kt_area kt_area_cancel = KT_AREA("cancel", assertions);
