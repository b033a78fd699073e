/* SPDX-License-Identifier: MIT */
/*
 * The quirk table, and the order of the self-tests.
 *
 * Each test gets a DEFER_TASKRUN ring as the runtime uses it.  They share one; a test cancels what
 * it may leave in flight on a broken kernel.  After a test that found its quirk, or met an
 * obstacle, the ring is replaced, because then its requests may not have ended.
 *
 * Owns:    the rings, until it returns.
 * Threads: the caller's, no other.
 * Always:  a quirk bit is set by an observation; what was not observed is in quirks_untested.
 * Tests:   tests/probe/test_feature.c, tests/runtime/test_masks.c
 */
#include "probe/quirk.h"

#include "base/fault.h"
#include "probe/quirk_test.h"

#include <errno.h>
#include <string.h>

#define QUIRK(key, name_, assertion_, tested_, wrong_, instead_, known_)                           \
    [OURO__QUIRK_##key] = {.name = name_,                                                          \
                           .assertion = assertion_,                                                \
                           .wrong = wrong_,                                                        \
                           .instead = instead_,                                                    \
                           .known = known_,                                                        \
                           .tested = tested_}

const struct ouro__quirk_info ouro__quirk_table[OURO__QUIRK_COUNT] = {
    QUIRK(DEFER_RING_FD, "defer-ring-fd", "defer.ring-fd-wakes", true,
          "the descriptor of a DEFER_TASKRUN ring does not wake an epoll set it is in",
          "waits in io_uring_enter(); a ring for a foreign loop is made without DEFER_TASKRUN",
          "6.12.100 to 6.12.113, 6.16 to 7.2.13"),
    QUIRK(DEFER_EVENTFD, "defer-eventfd", "defer.eventfd-every-time", true,
          "an eventfd registered on a DEFER_TASKRUN ring is signalled once and never again",
          "registers no eventfd; a ring for a foreign loop is made without DEFER_TASKRUN",
          "6.12.115 to 6.12.117"),
    QUIRK(CANCEL_FD_USERDATA, "cancel-fd-userdata", "cancel.userdata-only", true,
          "cancel by descriptor and user_data cancels another request of that descriptor",
          "cancels by user_data alone", "6.1.170 to 6.1.192, 6.16.12, 6.17.13"),
    QUIRK(CANCEL_OP, "cancel-op", "cancel.op", true, "cancel by opcode cancels nothing",
          "cancels by user_data alone", "6.1.170 to 6.1.192"),
    QUIRK(INC_WAITALL, "inc-waitall", "recv.inc-waitall", true,
          "MSG_WAITALL with incremental buffers overwrites another connection's data",
          "uses no incremental buffers, and never MSG_WAITALL with provided ones",
          "6.12 to 6.12.113, 6.16 to 7.2.13"),
    QUIRK(INC_TRUNC, "inc-trunc", "recv.inc-trunc", true,
          "MSG_TRUNC takes more of an incremental buffer than it wrote",
          "uses no incremental buffers", "6.12 to 6.12.111, 6.16 to 7.1.13"),
    QUIRK(INC_EOF, "inc-eof", "recv.inc-eof", true,
          "end of stream gives back an incremental buffer that still has room",
          "uses no incremental buffers", "6.12 to 6.12.84"),
    QUIRK(UNIX_CONNECT_SLOW, "unix-connect-slow", "connect.unix-backlog", true,
          "connecting an AF_UNIX socket to a full backlog costs a hundred times connect(2)",
          "connects AF_UNIX sockets with connect(2)", "up to 6.12.115, 6.16 to 7.2.13"),
    QUIRK(TIMEOUT_UPDATE_COUNT, "timeout-update-count", "timeout.update-multishot", true,
          "updating a repeating timeout loses how often it shall fire",
          "updates no repeating timeout", "6.12 to 6.12.113, 6.16 to 7.2.13"),
    QUIRK(TIMEOUT_UPDATE_ABS, "timeout-update-abs", "timeout.update-abs", true,
          "a repeating timeout can be updated to an absolute time, which it then repeats",
          "updates no repeating timeout", "6.12 to 6.12.113, 6.16 to 7.2.13"),
    QUIRK(FUTEX_LINK_TIMEOUT, "futex-link-timeout", "futex.link-timeout", true,
          "a linked timeout over a futex wait completes with 1 instead of -ETIME",
          "takes any completion of such a timeout for its expiry",
          "6.12 to 6.12.113, 6.16 to 7.2.13"),
    QUIRK(CONNECT_EINPROGRESS, "connect-einprogress", "connect.succeeds", true,
          "CONNECT completes with -EINPROGRESS while the connection is still being made",
          "polls for writability, then reads SO_ERROR", "5.4, 6.0 to 6.0.2"),
    QUIRK(MIN_WAIT_EARLY, "min-wait-early", "wait.min-wait", false,
          "a minimum wait may return -ETIME early when some completions are there (a race)",
          "treats an early -ETIME as an ordinary empty turn", "6.12 to 6.12.113, 6.18.44"),
    QUIRK(CANCEL_ASYNC, "cancel-async", "cancel.async", false,
          "cancelling what runs on a worker thread may leave it behind (a race)",
          "never sets IOSQE_ASYNC, and waits for every target's own completion",
          "6.1, 6.12 to 6.12.113, 6.16 to 7.2.13"),
    QUIRK(SEND_READ_SIDE, "send-read-side", "send.half-closed-peer", true,
          "a SEND that waits for room is woken by what concerns reading, a half-closed peer or "
          "urgent data, over and over, and ends up blocking a worker thread",
          "sends without waiting, and waits for room by a poll of its own",
          "6.1 to 6.12.117, 6.16 to 7.3.4"),
};

static const struct {
    ouro__quirk_test_fn *run;
    uint64_t needs; /* features without which the quirk cannot matter */
} tests[OURO__QUIRK_COUNT] = {
    [OURO__QUIRK_DEFER_RING_FD] = {ouro__quirk_test_ring_fd, 0},
    [OURO__QUIRK_DEFER_EVENTFD] = {ouro__quirk_test_eventfd, 0},
    [OURO__QUIRK_CANCEL_FD_USERDATA] = {ouro__quirk_test_cancel_fd_userdata,
                                        OURO__FEATURE_BIT(OURO__FEATURE_CANCEL_USERDATA)},
    [OURO__QUIRK_CANCEL_OP] = {ouro__quirk_test_cancel_op,
                               OURO__FEATURE_BIT(OURO__FEATURE_CANCEL_OP)},
    [OURO__QUIRK_INC_WAITALL] = {ouro__quirk_test_inc_waitall,
                                 OURO__FEATURE_BIT(OURO__FEATURE_PBUF_INC)},
    [OURO__QUIRK_INC_TRUNC] = {ouro__quirk_test_inc_trunc,
                               OURO__FEATURE_BIT(OURO__FEATURE_PBUF_INC)},
    [OURO__QUIRK_INC_EOF] = {ouro__quirk_test_inc_eof, OURO__FEATURE_BIT(OURO__FEATURE_PBUF_INC)},
    [OURO__QUIRK_UNIX_CONNECT_SLOW] = {ouro__quirk_test_unix_connect_slow, 0},
    [OURO__QUIRK_TIMEOUT_UPDATE_COUNT] = {ouro__quirk_test_timeout_update_count,
                                          OURO__FEATURE_BIT(OURO__FEATURE_TIMEOUT_MULTISHOT)},
    [OURO__QUIRK_TIMEOUT_UPDATE_ABS] = {ouro__quirk_test_timeout_update_abs,
                                        OURO__FEATURE_BIT(OURO__FEATURE_TIMEOUT_MULTISHOT)},
    [OURO__QUIRK_FUTEX_LINK_TIMEOUT] = {ouro__quirk_test_futex_link_timeout,
                                        OURO__FEATURE_BIT(OURO__FEATURE_FUTEX)},
    [OURO__QUIRK_CONNECT_EINPROGRESS] = {ouro__quirk_test_connect_einprogress, 0},
    [OURO__QUIRK_SEND_READ_SIDE] = {ouro__quirk_test_send_read_side, 0},
};

/* 1: the quirk is there; 0: it is not; -errno: the test gave no answer. */
static int run_test(int quirk, struct ouro__kit_ring *kit)
{
    int injected = ouro__fault(OURO__FAULT_QUIRK_TEST);
    if (injected != 0)
        return injected == -ENOENT ? 0 : injected;
    return tests[quirk].run(kit);
}

int ouro__quirk_selftest(struct ouro__feature_report *report, uint64_t wanted)
{
    const int64_t start_ns = ouro__kit_now_ns();
    struct ouro__kit_ring kit;
    int rc = ouro__kit_open(&kit, 16, OURO__KIT_DEFER);
    if (rc < 0 && report->obstacle == 0)
        report->obstacle = rc;
    for (int i = 0; rc == 0 && i < OURO__QUIRK_COUNT; i++) {
        if ((wanted >> i & 1) == 0 || tests[i].run == NULL ||
            (tests[i].needs & ~report->present) != 0)
            continue;
        kit.obstacle = 0;
        const int found = run_test(i, &kit);
        if (found < 0 || kit.obstacle != 0) {
            (void)ouro__kit_note(&kit, found);
            if (report->obstacle == 0)
                report->obstacle = kit.obstacle;
            if (kit.obstacle != 0)
                rc = ouro__kit_reopen(&kit);
            continue;
        }
        report->quirks_untested &= ~OURO__QUIRK_BIT(i);
        if (found > 0) {
            report->quirks |= OURO__QUIRK_BIT(i);
            rc = ouro__kit_reopen(&kit);
        }
    }
    if (rc == 0)
        ouro__kit_close(&kit);
    report->selftest_ns = ouro__kit_now_ns() - start_ns;
    return rc;
}
