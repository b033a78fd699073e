/* SPDX-License-Identifier: MIT */
/*
 * IORING_OP_FUTEX_WAIT, _WAKE and _WAITV: a ring that waits for threads.
 *
 * With these a runtime sleeps in one place for sockets and for its own locks.  They must agree with
 * futex(2) on who is woken, and end like any other request when cancelled or timed out.
 *
 * Owns:    nothing that outlives the process.
 * Threads: the assertion's; wakes come from the same thread, which is enough.
 * Always:  the words are private to the process.
 */
#define _GNU_SOURCE
#include "fixture/kt.h"

#include <linux/futex.h>
#include <sys/syscall.h>

enum {
    UD_FIRST = 1,
    UD_SECOND = 2,
    UD_WAKE = 3,
    UD_TIMEOUT = 4,
    UD_CANCEL = 5,
    FUTEX2_U32_PRIVATE = 2 | 128,
    SHORT_MS = 10
};

/* An element of FUTEX_WAITV. */
struct waitv {
    uint64_t val;
    uint64_t uaddr;
    uint32_t flags;
    uint32_t reserved;
};

static struct io_uring_sqe *prep_futex(struct kt *t, uint8_t opcode, const uint32_t *word,
                                       uint64_t value, uint64_t user_data)
{
    struct io_uring_sqe *sqe = kt_sqe(t, opcode, FUTEX2_U32_PRIVATE, user_data);
    sqe->addr = (uint64_t)(uintptr_t)word;
    sqe->off = value; /* what it is expected to hold, or how many to wake */
    sqe->addr3 = UINT32_MAX;
    return sqe;
}

static int wake(struct kt *t, const uint32_t *word, int count)
{
    return (int)KT_SYS(t, syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0));
}

static void futex_wait(struct kt *t)
{
    static uint32_t word = 7;
    prep_futex(t, OURO__OP_FUTEX_WAIT, &word, 8, UD_FIRST);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_FIRST).res, -EAGAIN, "wait for a value it does not hold");
    prep_futex(t, OURO__OP_FUTEX_WAIT, &word, 7, UD_FIRST);
    prep_futex(t, OURO__OP_FUTEX_WAIT, &word, 7, UD_SECOND);
    kt_submit(t, 2);
    kt_expect_silence(t, 5, "two waits that nobody wakes");
    KT_EXPECT_EQ(t, wake(t, &word, 1), 1, "waiters woken by futex(2)");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_FIRST).res, 0, "the wait that came first");
    kt_expect_silence(t, 5, "the other wait");
    KT_EXPECT_EQ(t, wake(t, &word, 10), 1, "waiters woken by futex(2) that were left");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_SECOND).res, 0, "the other wait");
}

static void futex_wake(struct kt *t)
{
    static uint32_t word = 7;
    prep_futex(t, OURO__OP_FUTEX_WAKE, &word, 1, UD_WAKE);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_WAKE).res, 0, "FUTEX_WAKE with nobody waiting");
    prep_futex(t, OURO__OP_FUTEX_WAIT, &word, 7, UD_FIRST);
    prep_futex(t, OURO__OP_FUTEX_WAIT, &word, 7, UD_SECOND);
    kt_submit(t, 2);
    prep_futex(t, OURO__OP_FUTEX_WAKE, &word, 10, UD_WAKE);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_WAKE).res, 2, "FUTEX_WAKE of up to 10");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_FIRST).res, 0, "the first wait");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_SECOND).res, 0, "the second wait");
}

static void futex_waitv(struct kt *t)
{
    static uint32_t words[3] = {1, 2, 3};
    struct waitv list[3];
    for (int i = 0; i < 3; i++)
        list[i] = (struct waitv){
            .val = words[i], .uaddr = (uint64_t)(uintptr_t)&words[i], .flags = FUTEX2_U32_PRIVATE};
    struct io_uring_sqe *sqe = kt_sqe(t, OURO__OP_FUTEX_WAITV, 0, UD_FIRST);
    sqe->addr = (uint64_t)(uintptr_t)list;
    sqe->len = 3;
    kt_submit(t, 1);
    kt_expect_silence(t, 5, "a wait for three words");
    KT_EXPECT_EQ(t, wake(t, &words[1], 1), 1, "waiters of the second word");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_FIRST).res, 1, "index of the word that was woken");
    KT_EXPECT_EQ(t, wake(t, &words[0], 1), 0, "waiters left behind on the first word");
}

static void futex_cancel(struct kt *t)
{
    static uint32_t word = 7;
    prep_futex(t, OURO__OP_FUTEX_WAIT, &word, 7, UD_FIRST);
    kt_submit(t, 1);
    kt_prep_cancel(t, UD_FIRST, 0, UD_CANCEL);
    kt_submit(t, 1);
    const int32_t found = kt_wait_for(t, UD_CANCEL).res;
    KT_EXPECT_GE(t, found, 0, "the cancel");
    KT_EXPECT_LE(t, found, 1, "the cancel");
    kt_note(t, "cancelling a futex wait gives %d, where other requests give 0", found);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_FIRST).res, -ECANCELED, "the wait");
    KT_EXPECT_EQ(t, wake(t, &word, 1), 0, "waiters left behind");
}

static void futex_deadline(struct kt *t)
{
    static uint32_t word = 7;
    const struct __kernel_timespec ts = kt_ts_ms(SHORT_MS);
    prep_futex(t, OURO__OP_FUTEX_WAIT, &word, 7, UD_FIRST)->flags = IOSQE_IO_LINK;
    kt_prep_link_timeout(t, &ts, UD_TIMEOUT);
    kt_submit(t, 2);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_FIRST).res, -ECANCELED, "the wait");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_TIMEOUT).res, -ETIME, "its timeout");
    KT_EXPECT_EQ(t, wake(t, &word, 1), 0, "waiters left behind");
}

#define FUTEX_ENTRY                                                                                \
    .source = "io_uring_prep_futex_wait(3)", .since = "6.7",                                       \
    .absence = "Not in the probe before 6.7; once listed it must agree with futex(2).",            \
    .needs = KT_NEEDS(FUTEX), .rings = KT_ON_BOTH

static const struct kt_assertion assertions[] = {
    {
        .id = "futex.wait",
        .sentence = "FUTEX_WAIT gives -EAGAIN when the value differs, else waits until futex(2) "
                    "wakes it, first come first served.",
        FUTEX_ENTRY,
        .impact = "Threads wait for a lock that is free.",
        .avoid = "Wake a ring through an eventfd or MSG_RING.",
        .run = futex_wait,
    },
    {
        .id = "futex.wake",
        .sentence = "FUTEX_WAKE wakes as many as asked for and says how many.",
        FUTEX_ENTRY,
        .impact = "Threads wait for a lock that is free.",
        .avoid = "Wake with futex(2).",
        .run = futex_wake,
    },
    {
        .id = "futex.waitv",
        .sentence = "FUTEX_WAITV completes with the index of the word that was woken and leaves no "
                    "waiter on the others.",
        FUTEX_ENTRY,
        .impact = "Wake-ups are lost in a request that is gone.",
        .avoid = "Wait for one word at a time.",
        .run = futex_waitv,
    },
    {
        .id = "futex.cancel",
        .sentence =
            "A cancelled FUTEX_WAIT gives -ECANCELED and leaves no waiter behind; the cancel "
            "itself gives 0 or, on all kernels up to 7.3, 1.",
        FUTEX_ENTRY,
        .impact = "Wake-ups are lost in a request that is gone, or its cancel is taken for failed.",
        .avoid = "Take any result of a cancel from 0 on for success.",
        .flags = KT_F_INFO,
        .run = futex_cancel,
    },
    {
        .id = "futex.link-timeout",
        .sentence =
            "A linked timeout over a FUTEX_WAIT completes with -ETIME, never with a positive "
            "number.",
        FUTEX_ENTRY,
        .broken = "6.12 to 6.12.113, 6.16 to 7.2.13",
        .impact = "A deadline that fired is taken for one that did not.",
        .avoid = "Take any completion of such a timeout but -ECANCELED for its expiry.",
        .guards = "LINK_TIMEOUT over FUTEX_WAIT completes with 1",
        .run = futex_deadline,
    },
};

const struct kt_area kt_area_futex = KT_AREA("futexes", assertions);
