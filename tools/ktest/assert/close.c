/* SPDX-License-Identifier: MIT */
/*
 * Closing a descriptor that requests are waiting on.
 *
 * A request holds the file, not the number.  So close() ends no request, the peer sees no end, and
 * the number can be given to another connection while a receive on the old one still runs.  A
 * program that closes without cancelling first leaves a connection that it cannot reach any more.
 */
#define _GNU_SOURCE
#include "fixture/kt.h"

#include <fcntl.h>

enum { UD_RECV = 1, UD_CLOSE = 2, UD_CANCEL = 3, QUIET_MS = 10 };

static void keeps_armed(struct kt *t, bool by_request)
{
    int fds[2];
    char byte = 0;
    struct kt_cqe cqe;
    kt_tcp_pair(t, fds);
    kt_prep_recv(t, fds[0], &byte, 1, 0, UD_RECV);
    kt_submit(t, 1);
    if (by_request) {
        (void)kt_sqe(t, IORING_OP_CLOSE, fds[0], UD_CLOSE);
        kt_submit(t, 1);
        KT_EXPECT_RES(t, kt_wait_for(t, UD_CLOSE).res, 0, "CLOSE with a receive armed");
    } else {
        KT_SYS(t, close(fds[0]));
    }
    KT_EXPECT_EQ(t, fcntl(fds[0], F_GETFD), -1, "the number is free");
    KT_EXPECT_EQ(t, kt_try_wait_for(t, UD_RECV, QUIET_MS, &cqe), 0, "the close ended the receive");
    kt_write(t, fds[1], "x", 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, 1, "the receive, after the peer has sent");
    KT_EXPECT_EQ(t, byte, 'x', "the byte it received");
}

static void close_call(struct kt *t)
{
    keeps_armed(t, false);
}

static void close_request(struct kt *t)
{
    keeps_armed(t, true);
}

static void cancel_then_close(struct kt *t)
{
    int fds[2];
    char byte = 0;
    kt_tcp_pair(t, fds);
    kt_prep_recv(t, fds[0], &byte, 1, 0, UD_RECV);
    kt_submit(t, 1);
    struct io_uring_sqe *sqe =
        kt_prep_cancel(t, 0, IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ALL, UD_CANCEL);
    sqe->fd = fds[0];
    sqe->flags = IOSQE_IO_HARDLINK;
    (void)kt_sqe(t, IORING_OP_CLOSE, fds[0], UD_CLOSE);
    kt_submit(t, 2);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_CANCEL).res, 1, "requests cancelled by CANCEL_FD|ALL");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, -ECANCELED, "the receive");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_CLOSE).res, 0, "the CLOSE hard-linked to the cancel");
    struct pollfd peer = {.fd = fds[1], .events = POLLIN};
    KT_EXPECT_EQ(t, poll(&peer, 1, (int)kt_slack_ms(t, KT_WAIT_MS)), 1, "the peer sees the end");
    KT_EXPECT_RES(t, read(fds[1], &byte, 1), 0, "what the peer reads");
}

static void reused_number(struct kt *t)
{
    int before[2];
    int after[2];
    char byte = 0;
    struct kt_cqe cqe;
    kt_tcp_pair(t, before);
    kt_tcp_pair(t, after);
    kt_prep_recv(t, before[0], &byte, 1, 0, UD_RECV);
    kt_submit(t, 1);
    KT_SYS(t, dup3(after[0], before[0], O_CLOEXEC)); /* closes, and takes the number */
    kt_prep_cancel(t, 0, IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ALL, UD_CANCEL)->fd =
        before[0];
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_CANCEL).res, 0, "requests cancelled of the new connection");
    KT_EXPECT_EQ(t, kt_try_wait_for(t, UD_RECV, QUIET_MS, &cqe), 0,
                 "the old connection's receive was ended");
    kt_write(t, before[1], "o", 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, 1, "the old connection's receive");
    KT_EXPECT_EQ(t, byte, 'o', "the byte it received");
}

static void closed_before_submit(struct kt *t)
{
    int fds[2];
    char byte = 0;
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_prep_recv(t, fds[0], &byte, 1, 0, UD_RECV);
    KT_SYS(t, close(fds[0]));
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, -EBADF, "a receive submitted after the close");
}

static const struct kt_assertion assertions[] = {
    {
        .id = "close.keeps-armed",
        .alias = "K059",
        .sentence = "close(2) does not end an armed receive: it still receives what the peer "
                    "sends.",
        .source = "io_uring_prep_cancel(3), NOTES; close(2)",
        .since = "5.6",
        .absence = "Always there.",
        .impact = "A server that counts on this cancels first; one that does not leaks "
                  "connections.",
        .avoid = "Cancel, wait for the completions, then close.",
        .rings = KT_ON_BOTH,
        .run = close_call,
    },
    {
        .id = "close.request-keeps-armed",
        .alias = "K059b",
        .sentence = "IORING_OP_CLOSE does not end an armed receive either.",
        .source = "io_uring_prep_close(3), 5.6",
        .since = "5.6",
        .absence = "Always there.",
        .impact = "As close.keeps-armed.",
        .avoid = "Cancel, wait for the completions, then close.",
        .rings = KT_ON_BOTH,
        .run = close_request,
    },
    {
        .id = "close.cancel-then-close",
        .alias = "K059c",
        .sentence = "CANCEL_FD|ALL hard-linked to a CLOSE ends the receive, closes, and the peer "
                    "sees the end.",
        .source = "io_uring_prep_cancel(3), 5.19",
        .since = "5.19",
        .absence = "-EINVAL to the cancel.",
        .impact = "Connections are neither open nor closed: peers wait for ever.",
        .avoid = "Cancel by user_data, wait for the completion, then close.",
        .guards = "liburing issue 1235",
        .needs = KT_NEEDS(CANCEL_FD),
        .rings = KT_ON_BOTH,
        .run = cancel_then_close,
    },
    {
        .id = "close.reused-number",
        .alias = "K060",
        .sentence = "Cancelling by a number that meanwhile names another connection cancels "
                    "nothing of the old one.",
        .source = "io_uring_prep_cancel(3); requests hold files, not numbers",
        .since = "5.19",
        .absence = "-EINVAL to the cancel.",
        .impact = "A late cancel ends the operations of an innocent connection.",
        .avoid = "Cancel by user_data.",
        .needs = KT_NEEDS(CANCEL_FD),
        .rings = KT_ON_BOTH,
        .run = reused_number,
    },
    {
        .id = "close.before-submit",
        .sentence = "A request whose descriptor was closed before it is submitted is -EBADF.",
        .source = "io_uring_enter(2)",
        .since = "5.6",
        .absence = "Always there.",
        .impact = "A request acts on whatever has the number now.",
        .avoid = "Submit before closing anything.",
        .rings = KT_ON_BOTH,
        .run = closed_before_submit,
    },
};

const struct kt_area kt_area_close = KT_AREA("close", assertions);
