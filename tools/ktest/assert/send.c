/* SPDX-License-Identifier: MIT */
/*
 * IORING_OP_SEND on streams: short sends, sends that wait, and sends that fail half-way.
 *
 * The socket's buffer is smaller than what is sent.  Without MSG_WAITALL a send takes what fits;
 * with it the kernel goes on as room appears.  When that ends early, a program can recover only if
 * the count of sent bytes is right.
 */
#define _GNU_SOURCE
#include "fixture/kt.h"
#include "fixture/stream.h"

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>

enum {
    UD_SEND = 1,
    UD_NEXT = 2,
    UD_CANCEL = 3,
    UD_POLL = 4,
    UD_CHAIN = 10,
    BIG = 4 << 20,
    SOCKET_BUFFER = 64 << 10,
    CHAIN = 3,
    CHAIN_BYTES = 512 << 10,
    PARTS = 8
};

static uint8_t big[BIG];

/* out[0] with a small send buffer, and the stream in big[]. */
static void small_pair(struct kt *t, int out[2])
{
    const int size = SOCKET_BUFFER;
    kt_tcp_pair(t, out);
    KT_SYS(t, setsockopt(out[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)));
    KT_SYS(t, setsockopt(out[1], SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)));
    stream_fill(big, 0, BIG);
}

struct drain {
    int fd;
    uint32_t got;
    uint32_t wrong;
};

/* What is there now; waits a little when nothing is. */
static void drain_some(struct drain *drain)
{
    static uint8_t data[SOCKET_BUFFER];
    struct pollfd ready = {.fd = drain->fd, .events = POLLIN};
    (void)poll(&ready, 1, 1);
    const ssize_t more = recv(drain->fd, data, sizeof(data), MSG_DONTWAIT);
    if (more <= 0)
        return;
    drain->wrong += stream_wrong(data, drain->got, (size_t)more);
    drain->got += (uint32_t)more;
}

/* Drains until request @user_data has completed and @bytes have come (0: as many as its result). */
static int drain_until(struct kt *t, struct drain *drain, uint64_t user_data, uint32_t bytes)
{
    struct kt_cqe cqe = {.res = -EINPROGRESS};
    bool done = false;
    const int64_t start_ns = kt_now_ns();
    kt_step(t, "draining until request %llu has completed", (unsigned long long)user_data);
    while (kt_ms_since(start_ns) < kt_slack_ms(t, 6000)) {
        done = done || kt_try_wait_for(t, user_data, 0, &cqe);
        const uint32_t wanted = bytes == 0 && cqe.res > 0 ? (uint32_t)cqe.res : bytes;
        if (done && drain->got >= wanted)
            break;
        drain_some(drain);
    }
    return cqe.res;
}

static void send_waitall(struct kt *t)
{
    int fds[2];
    small_pair(t, fds);
    kt_prep_send(t, fds[0], big, BIG, MSG_WAITALL, UD_SEND)->flags |= IOSQE_IO_LINK;
    kt_sqe(t, IORING_OP_NOP, -1, UD_NEXT);
    kt_submit(t, 2);
    kt_expect_silence(t, 5, "SEND of 4 MiB with MSG_WAITALL and nobody reading");
    struct drain drain = {.fd = fds[1]};
    KT_EXPECT_RES(t, drain_until(t, &drain, UD_SEND, BIG), BIG, "SEND of 4 MiB with MSG_WAITALL");
    KT_EXPECT_EQ(t, drain.got, BIG, "bytes received");
    KT_EXPECT_EQ(t, drain.wrong, 0, "wrong bytes received");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_NEXT).res, 0, "the request linked behind it");
}

static void send_waitall_cancel(struct kt *t)
{
    int fds[2];
    small_pair(t, fds);
    kt_prep_send(t, fds[0], big, BIG, MSG_WAITALL, UD_SEND);
    kt_submit(t, 1);
    kt_expect_silence(t, 5, "SEND of 4 MiB with MSG_WAITALL and nobody reading");
    kt_prep_cancel(t, UD_SEND, 0, UD_CANCEL);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_CANCEL).res, 0, "ASYNC_CANCEL of a SEND with progress");
    const int res = kt_wait_for(t, UD_SEND).res;
    KT_EXPECT_GE(t, res, 1, "bytes of the cancelled SEND");
    KT_EXPECT_LE(t, res, BIG - 1, "bytes of the cancelled SEND");
    struct drain drain = {.fd = fds[1]};
    KT_SYS(t, shutdown(fds[0], SHUT_WR));
    const int64_t start_ns = kt_now_ns();
    while (drain.got < (uint32_t)res && kt_ms_since(start_ns) < kt_slack_ms(t, 3000))
        drain_some(&drain);
    drain_some(&drain); /* what is too much would come now */
    KT_EXPECT_EQ(t, drain.got, res, "bytes received of the %d it completed with", res);
    KT_EXPECT_EQ(t, drain.wrong, 0, "wrong bytes received");
}

static void send_waitall_reset(struct kt *t)
{
    int fds[2];
    small_pair(t, fds);
    kt_prep_send(t, fds[0], big, BIG, MSG_WAITALL, UD_SEND)->flags |= IOSQE_IO_LINK;
    kt_sqe(t, IORING_OP_NOP, -1, UD_NEXT);
    kt_submit(t, 2);
    kt_expect_silence(t, 5, "SEND of 4 MiB with MSG_WAITALL and nobody reading");
    kt_reset(t, fds[1]);
    const int res = kt_wait_for(t, UD_SEND).res;
    KT_EXPECT_GE(t, res, 1, "bytes of the SEND whose peer reset the connection");
    KT_EXPECT_LE(t, res, BIG - 1, "bytes of the SEND whose peer reset the connection");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_NEXT).res, -ECANCELED, "the request linked behind it");
}

static void send_short(struct kt *t)
{
    int fds[2];
    small_pair(t, fds);
    kt_prep_send(t, fds[0], big, BIG, 0, UD_SEND)->flags |= IOSQE_IO_LINK;
    kt_sqe(t, IORING_OP_NOP, -1, UD_NEXT);
    kt_submit(t, 2);
    struct drain drain = {.fd = fds[1]};
    const int res = kt_wait_for(t, UD_SEND).res;
    KT_EXPECT_GE(t, res, 1, "bytes of a SEND of 4 MiB without MSG_WAITALL");
    KT_EXPECT_LE(t, res, BIG, "bytes of a SEND of 4 MiB without MSG_WAITALL");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_NEXT).res, 0, "the request linked behind it");
    const int64_t start_ns = kt_now_ns();
    while (drain.got < (uint32_t)res && kt_ms_since(start_ns) < kt_slack_ms(t, 3000))
        drain_some(&drain);
    KT_EXPECT_EQ(t, drain.got, res, "bytes received");
    KT_EXPECT_EQ(t, drain.wrong, 0, "wrong bytes received");
    kt_metric(t, "bytes", res);
}

static volatile sig_atomic_t broken_pipes;

static void count_broken_pipe(int number)
{
    (void)number;
    broken_pipes++;
}

static void catch_broken_pipe(struct kt *t)
{
    const struct sigaction action = {.sa_handler = count_broken_pipe};
    KT_SYS(t, sigaction(SIGPIPE, &action, NULL));
}

static void send_broken_pipe(struct kt *t)
{
    int fds[2];
    catch_broken_pipe(t);
    kt_tcp_pair(t, fds);
    KT_SYS(t, shutdown(fds[0], SHUT_WR));
    kt_prep_send(t, fds[0], "x", 1, 0, UD_SEND);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_SEND).res, -EPIPE, "SEND after shutdown(2)");
    char byte = 'x';
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    struct io_uring_sqe *sqe = kt_sqe(t, IORING_OP_SENDMSG, fds[0], UD_SEND);
    sqe->addr = (uint64_t)(uintptr_t)&msg;
    sqe->len = 1;
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_SEND).res, -EPIPE, "SENDMSG after shutdown(2)");
    KT_EXPECT_EQ(t, broken_pipes, 0, "SIGPIPEs raised by SEND and SENDMSG");
}

static void send_write_signals(struct kt *t)
{
    int fds[2];
    catch_broken_pipe(t);
    kt_tcp_pair(t, fds);
    KT_SYS(t, shutdown(fds[0], SHUT_WR));
    struct io_uring_sqe *sqe = kt_sqe(t, IORING_OP_WRITE, fds[0], UD_SEND);
    sqe->addr = (uint64_t)(uintptr_t)big;
    sqe->len = 1;
    (void)io_uring_submit(&t->ring.ring); /* the signal may interrupt it: not kt_submit() */
    KT_EXPECT_RES(t, kt_wait_for(t, UD_SEND).res, -EPIPE, "WRITE after shutdown(2)");
    KT_EXPECT_EQ(t, broken_pipes, 1, "SIGPIPEs raised by WRITE on a socket");
}

/* Nothing more fits into out[0]. */
static void full_pair(struct kt *t, int out[2])
{
    kt_unix_pair(t, SOCK_STREAM | SOCK_NONBLOCK, out);
    ssize_t rc = 0;
    while (rc >= 0)
        rc = send(out[0], big, 4096, MSG_NOSIGNAL);
    KT_REQUIRE(t, errno == EAGAIN, "filling a socket: %d", errno);
}

static void send_nonblocking(struct kt *t)
{
    int fds[2];
    full_pair(t, fds);
    kt_prep_send(t, fds[0], "x", 1, MSG_DONTWAIT, UD_SEND);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_SEND).res, -EAGAIN, "SEND with MSG_DONTWAIT and no room");
    kt_prep_send(t, fds[0], "x", 1, 0, UD_SEND);
    kt_submit(t, 1);
    kt_expect_silence(t, 10, "SEND on an O_NONBLOCK socket with no room");
    static uint8_t data[1 << 20];
    while (recv(fds[1], data, sizeof(data), MSG_DONTWAIT) > 0)
        continue;
    KT_EXPECT_RES(t, kt_wait_for(t, UD_SEND).res, 1, "SEND once there was room");
}

static void send_cancel(struct kt *t)
{
    int fds[2];
    full_pair(t, fds);
    kt_prep_send(t, fds[0], "x", 1, MSG_WAITALL, UD_SEND);
    kt_submit(t, 1);
    kt_expect_silence(t, 5, "SEND with no room");
    kt_prep_cancel(t, UD_SEND, 0, UD_CANCEL);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_CANCEL).res, 0, "ASYNC_CANCEL of the SEND");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_SEND).res, -ECANCELED, "the SEND that sent nothing");
}

static void send_half_closed(struct kt *t)
{
    int fds[2];
    full_pair(t, fds);
    KT_REQUIRE(t, shutdown(fds[1], SHUT_WR) == 0, "shutdown: %d", errno);
    kt_prep_poll(t, fds[0], POLLOUT, false, UD_POLL);
    kt_submit(t, 1);
    kt_expect_silence(t, 10, "a poll for room, with no room and a half-closed peer");
    kt_prep_send(t, fds[0], "x", 1, 0, UD_SEND);
    kt_submit(t, 1);
    kt_expect_silence(t, 10, "SEND with no room to a half-closed peer");
    static uint8_t data[1 << 20];
    while (recv(fds[1], data, sizeof(data), MSG_DONTWAIT) > 0)
        continue;
    KT_EXPECT_EQ(t, kt_wait_for(t, UD_POLL).res & POLLOUT, POLLOUT, "the poll once there was room");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_SEND).res, 1, "the SEND once there was room");
}

static void send_chain(struct kt *t)
{
    int fds[2];
    small_pair(t, fds);
    for (uint32_t i = 0; i < CHAIN; i++) {
        struct io_uring_sqe *sqe =
            kt_prep_send(t, fds[0], big + i * CHAIN_BYTES, CHAIN_BYTES, MSG_WAITALL, UD_CHAIN + i);
        if (i + 1 < CHAIN)
            sqe->flags |= IOSQE_IO_LINK;
    }
    kt_submit(t, CHAIN);
    struct drain drain = {.fd = fds[1]};
    for (uint32_t i = 0; i < CHAIN; i++)
        KT_EXPECT_RES(t, drain_until(t, &drain, UD_CHAIN + i, (i + 1) * CHAIN_BYTES), CHAIN_BYTES,
                      "link %u of a chain of sends", i);
    KT_EXPECT_EQ(t, drain.got, CHAIN * CHAIN_BYTES, "bytes received");
    KT_EXPECT_EQ(t, drain.wrong, 0, "bytes that were not in their place");
}

static void sendmsg_waitall(struct kt *t)
{
    int fds[2];
    small_pair(t, fds);
    struct iovec iov[PARTS];
    for (size_t i = 0; i < PARTS; i++)
        iov[i] = (struct iovec){.iov_base = big + i * (BIG / PARTS), .iov_len = BIG / PARTS};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = PARTS};
    struct io_uring_sqe *sqe = kt_sqe(t, IORING_OP_SENDMSG, fds[0], UD_SEND);
    sqe->addr = (uint64_t)(uintptr_t)&msg;
    sqe->len = 1;
    sqe->msg_flags = MSG_WAITALL;
    kt_submit(t, 1);
    memset(iov, 0xff, sizeof(iov)); /* FEAT_SUBMIT_STABLE */
    memset(&msg, 0xff, sizeof(msg));
    struct drain drain = {.fd = fds[1]};
    KT_EXPECT_RES(t, drain_until(t, &drain, UD_SEND, BIG), BIG, "SENDMSG of 4 MiB in 8 parts");
    KT_EXPECT_EQ(t, drain.got, BIG, "bytes received");
    KT_EXPECT_EQ(t, drain.wrong, 0, "wrong bytes received");
}

static const struct kt_assertion assertions[] = {
    {
        .id = "send.waitall",
        .alias = "K026",
        .sentence = "SEND of 4 MiB with MSG_WAITALL through a small buffer completes with the "
                    "full count once drained, and does not break its chain.",
        .source = "io_uring_prep_send(3)",
        .since = "5.19",
        .absence = "The opcode is in the probe since 5.6; before 5.19 it could end short.",
        .impact = "Part of a response is never sent.",
        .avoid = "Check the count of every SEND and send the rest.",
        .needs = KT_NEEDS(ACCEPT_MULTISHOT),
        .rings = KT_ON_BOTH,
        .run = send_waitall,
    },
    {
        .id = "send.waitall-cancel",
        .sentence = "A SEND with MSG_WAITALL that is cancelled after part of its bytes completes "
                    "with exactly the count that left.",
        .source = "io_uring_prep_send(3); kept since 6.0.3",
        .since = "6.0",
        .broken = "before 6.0.3",
        .absence = "The opcode is in the probe since 5.6; another count is breakage.",
        .impact = "A stream cannot be resumed, or goes on with the wrong byte.",
        .avoid = "Close a connection whose send was cancelled.",
        .needs = KT_NEEDS(RECV_MULTISHOT),
        .rings = KT_ON_BOTH,
        .run = send_waitall_cancel,
    },
    {
        .id = "send.waitall-reset",
        .sentence = "A SEND with MSG_WAITALL whose peer resets the connection after part of its "
                    "bytes completes with a short count and breaks its chain.",
        .source = "io_uring_prep_send(3), io_uring_enter(2), IOSQE_IO_LINK",
        .since = "6.0",
        .absence = "The opcode is in the probe since 5.6; another outcome is breakage.",
        .impact = "The next message of a chain is sent as if this one had arrived.",
        .avoid = "Do not link requests behind SEND; compare its count first.",
        .needs = KT_NEEDS(RECV_MULTISHOT),
        .rings = KT_ON_BOTH,
        .run = send_waitall_reset,
    },
    {
        .id = "send.short",
        .alias = "K027",
        .sentence = "SEND without MSG_WAITALL may take only part; that is success and does not "
                    "break the chain.",
        .source = "send(2), io_uring_enter(2), IOSQE_IO_LINK",
        .since = "5.7",
        .absence = "The opcode is in the probe since 5.6; another outcome is breakage.",
        .impact = "A server that counts on the chain sends a damaged stream.",
        .avoid = "Use MSG_WAITALL with SEND on streams.",
        .rings = KT_ON_BOTH,
        .run = send_short,
    },
    {
        .id = "send.broken-pipe",
        .alias = "K028",
        .sentence = "SEND and SENDMSG on a socket that was shut down give -EPIPE and raise no "
                    "SIGPIPE.",
        .source = "io_uring_prep_send(3)",
        .since = "5.7",
        .absence = "The opcode is in the probe since 5.6; another outcome is breakage.",
        .impact = "A client that goes away kills the server.",
        .avoid = "Ignore SIGPIPE in the whole process.",
        .rings = KT_ON_BOTH,
        .run = send_broken_pipe,
    },
    {
        .id = "send.write-signals",
        .sentence = "WRITE on a socket that was shut down gives -EPIPE and, unlike SEND, raises "
                    "SIGPIPE.",
        .source = "write(2), signal(7)",
        .since = "5.7",
        .absence = "The opcode is in the probe since 5.6; another outcome is breakage.",
        .impact = "A server that writes with WRITE dies when a client goes away.",
        .avoid = "Use SEND on sockets, or ignore SIGPIPE.",
        .rings = KT_ON_BOTH,
        .run = send_write_signals,
    },
    {
        .id = "send.nonblocking",
        .sentence = "SEND waits for room on an O_NONBLOCK socket too, and MSG_DONTWAIT makes it "
                    "give -EAGAIN.",
        .source = "io_uring_prep_send(3), send(2)",
        .since = "5.7",
        .absence = "The opcode is in the probe since 5.6; another result is breakage.",
        .impact = "A server spins on -EAGAIN, or hangs where it meant to try.",
        .avoid = "Use sockets without O_NONBLOCK.",
        .rings = KT_ON_BOTH,
        .run = send_nonblocking,
    },
    {
        .id = "send.half-closed-peer",
        .alias = "K071",
        .sentence = "A poll for room, and a SEND, wait on a full socket whose peer has ended its "
                    "half.",
        .source = "io_uring_prep_poll_add(3), poll(2)",
        .since = "5.7",
        .broken = "5.10 to 6.12.117, 6.16 to 7.3.4",
        .absence = "Both opcodes are older.",
        .impact = "A stalled SEND to such a peer takes a worker thread for itself.",
        .avoid = "Send with MSG_DONTWAIT and wait by a multishot poll.",
        .rings = KT_ON_BOTH,
        .run = send_half_closed,
    },
    {
        .id = "send.cancel",
        .sentence = "A SEND that waits for room and has sent nothing ends with -ECANCELED when "
                    "cancelled.",
        .source = "io_uring_prep_cancel(3)",
        .since = "5.7",
        .absence = "The opcode is in the probe since 5.6; another result is breakage.",
        .impact = "A slow client holds its connection for ever.",
        .avoid = "Shut a connection down to end its SEND.",
        .rings = KT_ON_BOTH,
        .run = send_cancel,
    },
    {
        .id = "send.chain",
        .sentence = "Linked SENDs with MSG_WAITALL arrive in the order of the chain though each "
                    "has to wait.",
        .source = "io_uring_enter(2), IOSQE_IO_LINK",
        .since = "5.19",
        .absence = "Links are there since 5.3; another order is breakage.",
        .impact = "Parts of a response are mixed up.",
        .avoid = "Have one SEND in flight on a stream.",
        .needs = KT_NEEDS(ACCEPT_MULTISHOT),
        .rings = KT_ON_BOTH,
        .run = send_chain,
    },
    {
        .id = "sendmsg.waitall",
        .sentence = "SENDMSG of several parts with MSG_WAITALL goes on at the right byte each "
                    "time it had to wait, though header and iovec were overwritten after submit.",
        .source = "sendmsg(2), IORING_FEAT_SUBMIT_STABLE",
        .since = "5.19",
        .broken = "before 6.1.37 (control and iovec used again from their start)",
        .absence = "The opcode is in the probe since 5.3; another outcome is breakage.",
        .impact = "A response is sent with parts repeated or missing.",
        .avoid = "Use SEND from one buffer.",
        .needs = KT_NEEDS(ACCEPT_MULTISHOT) | KT_NEEDS(SUBMIT_STABLE),
        .rings = KT_ON_BOTH,
        .run = sendmsg_waitall,
    },
};

const struct kt_area kt_area_send = KT_AREA("send", assertions);
