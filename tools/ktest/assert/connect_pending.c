/* SPDX-License-Identifier: MIT */
/*
 * A CONNECT that takes its time: what ends it, and what state it leaves the socket in.
 *
 * All use the pending-connect fixture (kt_tcp_pending): the SYN is dropped, so the request is
 * certainly in flight.  What ends it ends the request only; the socket goes on trying, which is why
 * the descriptor of a connect that was given up must be closed.
 */
#include "fixture/kt.h"

#include <netinet/tcp.h>

enum {
    UD_CONNECT = 1,
    UD_SECOND = 2,
    UD_TIMEOUT = 3,
    UD_CANCEL = 4,
    TIMEOUT_MS = 100,
    ROUNDS = 50
};

/* A CONNECT in flight on a fresh O_NONBLOCK socket: the socket. */
static int start_pending(struct kt *t, struct sockaddr_in *out_addr)
{
    kt_tcp_pending(t, out_addr);
    const int fd = kt_tcp_socket(t, SOCK_NONBLOCK);
    kt_prep_connect(t, fd, out_addr, sizeof(*out_addr), UD_CONNECT);
    kt_submit(t, 1);
    kt_expect_silence(t, 5, "with a CONNECT that cannot go on");
    return fd;
}

/* The socket must still be trying: connect(2) says so. */
static void expect_still_trying(struct kt *t, int fd, const struct sockaddr_in *addr)
{
    KT_EXPECT_EQ(t, kt_tcp_state(t, fd), TCP_SYN_SENT, "TCP state of the socket afterwards");
    const int rc = connect(fd, (const struct sockaddr *)addr, sizeof(*addr));
    KT_EXPECT_RES(t, rc < 0 ? -errno : rc, -EALREADY, "connect(2) on the socket afterwards");
}

static void connect_already_pending(struct kt *t)
{
    struct sockaddr_in addr;
    const int fd = start_pending(t, &addr);
    kt_prep_connect(t, fd, &addr, sizeof(addr), UD_SECOND);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_SECOND).res, -EALREADY, "the second CONNECT");
    kt_expect_silence(t, 5, "the first CONNECT after the second failed");
    KT_EXPECT_EQ(t, kt_tcp_state(t, fd), TCP_SYN_SENT, "TCP state of the socket");
    kt_prep_cancel(t, UD_CONNECT, 0, UD_CANCEL);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_CONNECT).res, -ECANCELED,
                  "the first CONNECT, cancelled at last");
}

static void connect_link_timeout(struct kt *t)
{
    struct sockaddr_in addr;
    kt_tcp_pending(t, &addr);
    const int fd = kt_tcp_socket(t, SOCK_NONBLOCK);
    const struct __kernel_timespec ts = kt_ts_ms(TIMEOUT_MS);
    kt_prep_connect(t, fd, &addr, sizeof(addr), UD_CONNECT)->flags |= IOSQE_IO_LINK;
    kt_prep_link_timeout(t, &ts, UD_TIMEOUT);
    const int64_t start_ns = kt_now_ns();
    kt_submit(t, 2);
    const struct kt_cqe connected = kt_wait_for(t, UD_CONNECT);
    const struct kt_cqe timeout = kt_wait_for(t, UD_TIMEOUT);
    const int64_t took_ms = kt_ms_since(start_ns);
    kt_metric(t, "took_ms", (double)took_ms);
    KT_EXPECT_RES(t, connected.res, -ECANCELED, "the CONNECT whose time ran out");
    KT_EXPECT_RES(t, timeout.res, -ETIME, "its linked timeout");
    KT_EXPECT_GE(t, took_ms, TIMEOUT_MS - 1, "ms until both had completed");
    KT_EXPECT_LE(t, took_ms, kt_slack_ms(t, 1500), "ms until both had completed");
    expect_still_trying(t, fd, &addr);
}

static void connect_link_timeout_unused(struct kt *t)
{
    struct sockaddr_in addr;
    const int listener = kt_tcp_listen(t, 8, &addr);
    const struct __kernel_timespec ts = kt_ts_ms(60000);
    int wrong_connects = 0;
    int wrong_timeouts = 0;
    for (int i = 0; i < ROUNDS; i++) {
        const int fd = kt_tcp_socket(t, 0);
        kt_prep_connect(t, fd, &addr, sizeof(addr), UD_CONNECT)->flags |= IOSQE_IO_LINK;
        kt_prep_link_timeout(t, &ts, UD_TIMEOUT);
        kt_submit(t, 2);
        wrong_connects += kt_wait_for(t, UD_CONNECT).res != 0;
        wrong_timeouts += kt_wait_for(t, UD_TIMEOUT).res != -ECANCELED;
        const int server = (int)KT_SYS(t, accept4(listener, NULL, NULL, SOCK_CLOEXEC));
        kt_reset(t, fd); /* no TIME_WAIT left behind */
        KT_SYS(t, close(server));
    }
    KT_EXPECT_EQ(t, wrong_connects, 0, "CONNECTs of %d that did not complete with 0", ROUNDS);
    KT_EXPECT_EQ(t, wrong_timeouts, 0, "unused timeouts of %d that were not -ECANCELED", ROUNDS);
}

static void connect_shutdown(struct kt *t)
{
    struct sockaddr_in addr;
    const int fd = start_pending(t, &addr);
    const int64_t start_ns = kt_now_ns();
    KT_SYS(t, shutdown(fd, SHUT_RDWR));
    struct kt_cqe cqe = {0};
    kt_step(t, "waiting for the CONNECT to notice shutdown(2)");
    const bool came = kt_try_wait_for(t, UD_CONNECT, (int)kt_slack_ms(t, 1000), &cqe);
    KT_EXPECT_EQ(t, came, 1, "completions within a second of shutdown(2)");
    KT_EXPECT_RES(t, cqe.res, -ECONNRESET, "the CONNECT whose socket was shut down");
    kt_metric(t, "took_ms", (double)kt_ms_since(start_ns));
}

static void connect_cancel(struct kt *t)
{
    struct sockaddr_in addr;
    const int fd = start_pending(t, &addr);
    kt_prep_cancel(t, UD_CONNECT, 0, UD_CANCEL);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_CANCEL).res, 0, "ASYNC_CANCEL of the CONNECT");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_CONNECT).res, -ECANCELED, "the cancelled CONNECT");
    expect_still_trying(t, fd, &addr);
}

static void connect_cancel_fd(struct kt *t)
{
    struct sockaddr_in addr;
    const int fd = start_pending(t, &addr);
    kt_prep_cancel(t, 0, IORING_ASYNC_CANCEL_FD, UD_CANCEL)->fd = fd;
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_CANCEL).res, 0, "ASYNC_CANCEL of the socket's request");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_CONNECT).res, -ECANCELED, "the cancelled CONNECT");
}

static void connect_close_keeps(struct kt *t)
{
    struct sockaddr_in addr;
    const int fd = start_pending(t, &addr);
    KT_SYS(t, close(fd));
    kt_expect_silence(t, 20, "after close(2) of the socket");
    kt_prep_cancel(t, UD_CONNECT, 0, UD_CANCEL);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_CANCEL).res, 0, "ASYNC_CANCEL after close(2)");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_CONNECT).res, -ECANCELED, "the CONNECT after close(2)");
}

static void connect_times_out(struct kt *t)
{
    struct sockaddr_in addr;
    kt_tcp_pending(t, &addr);
    const int fd = kt_tcp_socket(t, 0);
    const int retries = 1;
    KT_SYS(t, setsockopt(fd, IPPROTO_TCP, TCP_SYNCNT, &retries, sizeof(retries)));
    const int64_t start_ns = kt_now_ns();
    kt_prep_connect(t, fd, &addr, sizeof(addr), UD_CONNECT);
    kt_submit(t, 1);
    struct kt_cqe cqe = {0};
    kt_step(t, "waiting for TCP to give up after one retry");
    const bool came = kt_try_wait_for(t, UD_CONNECT, (int)kt_slack_ms(t, 12000), &cqe);
    kt_metric(t, "took_ms", (double)kt_ms_since(start_ns));
    KT_EXPECT_EQ(t, came, 1, "completions of the CONNECT after one retry of the SYN");
    KT_EXPECT_RES(t, cqe.res, -ETIMEDOUT, "the CONNECT nobody answered");
}

static const struct kt_assertion assertions[] = {
    {
        .id = "connect.already-pending",
        .alias = "K005",
        .sentence = "CONNECT while another one is in flight on the socket completes with -EALREADY "
                    "and leaves the first alone.",
        .source = "connect(2)",
        .since = "5.7",
        .absence = "The opcode is in the probe since 5.5; another result is breakage.",
        .impact = "A client counts one connection twice or ends the attempt under way.",
        .avoid = "Have at most one CONNECT in flight on a socket.",
        .rings = KT_ON_BOTH,
        .run = connect_already_pending,
    },
    {
        .id = "connect.link-timeout",
        .alias = "K006",
        .sentence =
            "A pending CONNECT with a linked timeout of 100 ms gives -ECANCELED and -ETIME, "
            "not early, and its socket stays in SYN_SENT.",
        .source = "io_uring_prep_link_timeout(3)",
        .since = "5.7",
        .broken = "before 6.1.139 and 6.12.29 the timer could be armed late",
        .absence = "LINK_TIMEOUT is in the probe since 5.5; any other outcome is breakage.",
        .impact = "Connection attempts last minutes, or end before their time.",
        .avoid = "Run your own timer and cancel the CONNECT by user_data.",
        .needs = KT_NEEDS(LINK_TIMEOUT),
        .rings = KT_ON_BOTH,
        .run = connect_link_timeout,
    },
    {
        .id = "connect.link-timeout-unused",
        .sentence = "When the CONNECT completes first, its linked timeout completes with "
                    "-ECANCELED.",
        .source = "io_uring_prep_link_timeout(3)",
        .since = "5.7",
        .absence = "LINK_TIMEOUT is in the probe since 5.5; any other outcome is breakage.",
        .impact = "A timer is leaked, or a connection made is taken for one timed out.",
        .avoid = "Run your own timer and cancel the CONNECT by user_data.",
        .needs = KT_NEEDS(LINK_TIMEOUT),
        .rings = KT_ON_BOTH,
        .run = connect_link_timeout_unused,
    },
    {
        .id = "connect.shutdown",
        .alias = "K007",
        .sentence = "shutdown(2) of the socket completes a pending CONNECT with -ECONNRESET at "
                    "once.",
        .source = "shutdown(2); fixed in 6.1.129, 6.12.15",
        .since = "5.7",
        .broken = "all of 5.10, before 6.1.129 and 6.12.15 (-ETIMEDOUT after minutes)",
        .absence = "The opcode is in the probe since 5.5; a late completion is breakage.",
        .impact = "A connection given up holds its memory and descriptor for minutes.",
        .avoid = "Cancel a CONNECT before its socket is shut down.",
        .guards = "liburing discussion #1335",
        .rings = KT_ON_BOTH,
        .run = connect_shutdown,
    },
    {
        .id = "connect.cancel",
        .alias = "K008",
        .sentence = "ASYNC_CANCEL of a pending CONNECT returns 0, the CONNECT -ECANCELED, and the "
                    "socket stays in SYN_SENT.",
        .source = "io_uring_prep_cancel(3)",
        .since = "5.7",
        .absence = "The opcode is in the probe since 5.5; another result is breakage.",
        .impact = "A connection attempt cannot be given up.",
        .avoid = "Shut the socket down to end a CONNECT.",
        .rings = KT_ON_BOTH,
        .run = connect_cancel,
    },
    {
        .id = "connect.cancel-fd",
        .sentence = "ASYNC_CANCEL by descriptor finds a pending CONNECT.",
        .source = "io_uring_prep_cancel_fd(3)",
        .since = "5.19",
        .absence = "Before 5.19 the key gives -EINVAL; once accepted it must be honoured.",
        .impact = "A connection attempt cannot be given up.",
        .avoid = "Cancel by user_data.",
        .needs = KT_NEEDS(CANCEL_FD),
        .rings = KT_ON_BOTH,
        .run = connect_cancel_fd,
    },
    {
        .id = "connect.close-keeps",
        .sentence =
            "close(2) of the descriptor does not end a pending CONNECT, and it can still be "
            "cancelled.",
        .source = "io_uring(7): a request holds its file",
        .since = "5.7",
        .absence = "The opcode is in the probe since 5.5; another result is breakage.",
        .impact = "A request ends behind the program's back, or can no longer be ended at all.",
        .avoid = "Cancel a CONNECT and wait for its completion before close(2).",
        .rings = KT_ON_BOTH,
        .run = connect_close_keeps,
    },
    {
        .id = "connect.times-out",
        .alias = "K010",
        .sentence = "A CONNECT nobody answers completes with -ETIMEDOUT after TCP_SYNCNT retries.",
        .source = "tcp(7), connect(2)",
        .since = "5.7",
        .absence = "The opcode is in the probe since 5.5; another result is breakage.",
        .impact = "Connection attempts to dead hosts never end.",
        .avoid = "Run your own timer for every CONNECT.",
        .rings = KT_ON_BOTH,
        .flags = KT_F_SLOW,
        .timeout_ms = 20000,
        .run = connect_times_out,
    },
};

const struct kt_area kt_area_connect_pending = KT_AREA("connect in flight", assertions);
