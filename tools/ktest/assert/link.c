/* SPDX-License-Identifier: MIT */
/*
 * Chains: IOSQE_IO_LINK, IOSQE_IO_HARDLINK, IOSQE_IO_DRAIN, IOSQE_CQE_SKIP_SUCCESS.
 *
 * A chain lets a program say "write this, then read the answer" in one call.  That is useful only
 * if the order is certain and a failure stops the rest of the chain.
 *
 * Owns:    nothing that outlives the process.
 * Threads: the assertion's.
 * Always:  members are told apart by user_data; the order of completions of unrelated requests is
 *          not checked.
 */
#include "fixture/kt.h"

enum { UD_FIRST = 1, UD_SECOND = 2, UD_THIRD = 3, UD_CANCEL = 9, CHAIN = 26, NO_FD = 1000000 };

static void prep_nop(struct kt *t, uint8_t flags, uint64_t user_data)
{
    kt_sqe(t, IORING_OP_NOP, -1, user_data)->flags = flags;
}

/* A receive on a descriptor that is not open: fails when it is issued. */
static void prep_failing(struct kt *t, uint8_t flags, uint64_t user_data)
{
    static char byte;
    kt_prep_recv(t, NO_FD, &byte, 1, 0, user_data)->flags = flags;
}

static void link_order(struct kt *t)
{
    static const char letters[CHAIN + 1] = "abcdefghijklmnopqrstuvwxyz";
    char got[CHAIN + 1] = {0};
    int fds[2];
    kt_tcp_pair(t, fds);
    for (int i = 0; i < CHAIN; i++)
        kt_prep_send(t, fds[0], &letters[i], 1, 0, (uint64_t)(100 + i))->flags =
            i + 1 < CHAIN ? IOSQE_IO_LINK : 0;
    kt_submit(t, CHAIN);
    for (int i = 0; i < CHAIN; i++) {
        const struct kt_cqe cqe = kt_wait(t);
        KT_EXPECT_EQ(t, cqe.user_data, 100 + i, "the member that completes as number %d", i);
        KT_EXPECT_RES(t, cqe.res, 1, "member %d", i);
    }
    KT_EXPECT_EQ(t, kt_read(t, fds[1], got, CHAIN), CHAIN, "bytes that arrive");
    KT_EXPECT_EQ(t, memcmp(got, letters, CHAIN) != 0, 0, "bytes in another order (%s)", got);
}

static void link_waits(struct kt *t)
{
    int fds[2];
    char byte = 0;
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_prep_recv(t, fds[1], &byte, 1, 0, UD_FIRST)->flags = IOSQE_IO_LINK;
    kt_prep_send(t, fds[1], "r", 1, 0, UD_SECOND);
    kt_submit(t, 2);
    kt_expect_silence(t, 10, "with the chain's head waiting");
    KT_EXPECT_RES(t, recv(fds[0], &byte, 1, MSG_DONTWAIT) < 0 ? -errno : 0, -EAGAIN,
                  "receive of what must not be sent yet");
    kt_write(t, fds[0], "q", 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_FIRST).res, 1, "the head");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_SECOND).res, 1, "the member after it");
    KT_EXPECT_EQ(t, kt_read(t, fds[0], &byte, 1), 1, "bytes of the answer");
}

static void link_breaks(struct kt *t)
{
    prep_failing(t, IOSQE_IO_LINK, UD_FIRST);
    prep_nop(t, IOSQE_IO_LINK, UD_SECOND);
    prep_nop(t, 0, UD_THIRD);
    kt_submit(t, 3);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_FIRST).res, -EBADF, "the member that fails");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_SECOND).res, -ECANCELED, "the one after it");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_THIRD).res, -ECANCELED, "the last");
}

static void link_hard(struct kt *t)
{
    int fds[2];
    char byte = 0;
    kt_unix_pair(t, SOCK_STREAM, fds);
    /* Fails when it runs: a bad descriptor fails earlier, and breaks hard links on 5.10. */
    kt_prep_recv(t, fds[0], &byte, 1, MSG_DONTWAIT, UD_FIRST)->flags = IOSQE_IO_HARDLINK;
    prep_nop(t, IOSQE_IO_HARDLINK, UD_SECOND);
    prep_nop(t, 0, UD_THIRD);
    kt_submit(t, 3);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_FIRST).res, -EAGAIN, "the member that fails");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_SECOND).res, 0, "the one after it");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_THIRD).res, 0, "the last");
}

static void link_ends(struct kt *t)
{
    /* The chain ends where the flag is missing ... */
    prep_failing(t, IOSQE_IO_LINK, UD_FIRST);
    prep_nop(t, 0, UD_SECOND);
    prep_nop(t, 0, UD_THIRD);
    kt_submit(t, 3);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_SECOND).res, -ECANCELED, "the last member");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_THIRD).res, 0, "the request after the chain");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_FIRST).res, -EBADF, "the head");
    /* ... and at the end of what is submitted. */
    prep_failing(t, IOSQE_IO_LINK, UD_FIRST);
    kt_submit(t, 1);
    prep_nop(t, 0, UD_SECOND);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_FIRST).res, -EBADF, "a head submitted alone");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_SECOND).res, 0, "the request submitted next");
}

static void link_cancel_head(struct kt *t)
{
    int fds[2];
    char byte = 0;
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_prep_recv(t, fds[1], &byte, 1, 0, UD_FIRST)->flags = IOSQE_IO_LINK;
    prep_nop(t, IOSQE_IO_LINK, UD_SECOND);
    prep_nop(t, 0, UD_THIRD);
    kt_submit(t, 3);
    kt_prep_cancel(t, UD_FIRST, 0, UD_CANCEL);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_CANCEL).res, 0, "cancel of the head");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_FIRST).res, -ECANCELED, "the head");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_SECOND).res, -ECANCELED, "the second member");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_THIRD).res, -ECANCELED, "the third member");
    kt_expect_silence(t, 5, "after the chain has ended");
}

static void link_drain(struct kt *t)
{
    int fds[2];
    char byte = 0;
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_prep_recv(t, fds[1], &byte, 1, 0, UD_FIRST);
    prep_nop(t, IOSQE_IO_DRAIN, UD_SECOND);
    kt_submit(t, 2);
    kt_expect_silence(t, 10, "a NOP that drains, behind a receive that waits");
    kt_write(t, fds[0], "x", 1);
    KT_EXPECT_EQ(t, kt_wait(t).user_data, UD_FIRST, "the first to complete");
    KT_EXPECT_EQ(t, kt_wait(t).user_data, UD_SECOND, "the next, which drains");
}

static void link_drain_after(struct kt *t)
{
    int fds[2];
    char byte = 0;
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_prep_recv(t, fds[1], &byte, 1, 0, UD_FIRST);
    prep_nop(t, IOSQE_IO_DRAIN, UD_SECOND);
    prep_nop(t, 0, UD_THIRD);
    kt_submit(t, 3);
    kt_expect_silence(t, 10, "NOPs behind a receive that waits");
    kt_write(t, fds[0], "x", 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_FIRST).res, 1, "the receive");
    KT_EXPECT_EQ(t, kt_wait(t).user_data, UD_SECOND, "the next to complete, which drains");
    KT_EXPECT_EQ(t, kt_wait(t).user_data, UD_THIRD, "the last, submitted after it");
}

static void link_skip(struct kt *t)
{
    prep_nop(t, IOSQE_CQE_SKIP_SUCCESS | IOSQE_IO_LINK, UD_FIRST);
    prep_nop(t, 0, UD_SECOND);
    kt_submit(t, 2);
    const struct kt_cqe cqe = kt_wait(t);
    KT_EXPECT_EQ(t, cqe.user_data, UD_SECOND, "the only member that is to complete visibly");
    KT_EXPECT_RES(t, cqe.res, 0, "its result");
    prep_failing(t, IOSQE_CQE_SKIP_SUCCESS, UD_THIRD);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_THIRD).res, -EBADF, "a failure, which is not skipped");
    kt_expect_silence(t, 5, "for what succeeded silently");
}

#define LINK_ENTRY(since_)                                                                         \
    .source = "io_uring_enter(2), IOSQE_IO_LINK", .since = (since_),                               \
    .absence = "Known since that version; another order or result is breakage.",                   \
    .rings = KT_ON_BOTH

static const struct kt_assertion assertions[] = {
    {
        .id = "link.order",
        .sentence = "A chain of sends sends and completes in order, each once.",
        LINK_ENTRY("5.3"),
        .impact = "Data of a connection is sent in another order.",
        .avoid = "Have one send in flight per connection.",
        .run = link_order,
    },
    {
        .id = "link.waits",
        .sentence = "A member of a chain does nothing until the one before it has completed.",
        LINK_ENTRY("5.3"),
        .impact = "An answer is sent before its question was read.",
        .avoid = "Submit the next operation when the one before has completed.",
        .run = link_waits,
    },
    {
        .id = "link.breaks",
        .sentence = "When a member fails, all after it complete with -ECANCELED.",
        LINK_ENTRY("5.3"),
        .impact = "Operations run on a connection that is not there.",
        .avoid = "Submit the next operation when the one before has completed.",
        .run = link_breaks,
    },
    {
        .id = "link.hard",
        .sentence = "A chain of IOSQE_IO_HARDLINK goes on after a failure.",
        LINK_ENTRY("5.5"),
        .impact = "A descriptor is not closed when the operation before failed.",
        .avoid = "Submit the next operation when the one before has completed.",
        .run = link_hard,
    },
    {
        .id = "link.ends",
        .sentence = "A chain ends at the first member without the flag, and at the end of a "
                    "submission.",
        LINK_ENTRY("5.3"),
        .impact = "A failure of one connection cancels operations of another.",
        .avoid = "Submit the next operation when the one before has completed.",
        .run = link_ends,
    },
    {
        .id = "link.cancel-head",
        .sentence = "Cancelling the head of a chain ends every member with -ECANCELED.",
        LINK_ENTRY("5.5"),
        .impact = "Operations run on a connection that was given up.",
        .avoid = "Submit the next operation when the one before has completed.",
        .run = link_cancel_head,
    },
    {
        .id = "link.drain",
        .sentence = "A request with IOSQE_IO_DRAIN starts when all before it have completed.",
        LINK_ENTRY("5.2"),
        .impact = "The order that was asked for is not kept, or the ring stalls.",
        .avoid = "Do not use IOSQE_IO_DRAIN.",
        .guards = "drained requests that stall, fixed in 6.1.55",
        .run = link_drain,
    },
    {
        .id = "link.drain-after",
        .sentence =
            "Requests submitted after one with IOSQE_IO_DRAIN start when that has completed.",
        LINK_ENTRY("5.2"),
        .broken = "6.1 to 6.1.192 (they may complete before it)",
        .impact = "The order that was asked for is not kept.",
        .avoid = "Do not use IOSQE_IO_DRAIN.",
        .run = link_drain_after,
    },
    {
        .id = "link.skip-success",
        .sentence = "With CQE_SKIP_SUCCESS a success posts no completion and a failure does.",
        .source = "io_uring_enter(2), IOSQE_CQE_SKIP_SUCCESS",
        .since = "5.17",
        .absence = "FEAT_CQE_SKIP is not set; once set it must be honoured.",
        .impact = "The program counts completions that are not there, or misses failures.",
        .avoid = "Do not use IOSQE_CQE_SKIP_SUCCESS.",
        .needs = KT_NEEDS(CQE_SKIP),
        .rings = KT_ON_BOTH,
        .run = link_skip,
    },
};

const struct kt_area kt_area_link = KT_AREA("chains", assertions);
