/* SPDX-License-Identifier: MIT */
/*
 * Do the kernel's statements about itself (probe, query, feature bits) agree with its behaviour?
 *
 * Programs choose what to use by these statements.  Where a statement is wrong, they take the wrong
 * path on that kernel only.
 */
#define _GNU_SOURCE
#include "fixture/kt.h"

#include <netinet/tcp.h>
#include <sys/ioctl.h>

enum { UD_RECV = 1, UD_SEND = 2, UD_ACCEPT = 3, UD_CMD = 4, UD_OP = 1000, OPS = 256 };

static bool listed(const struct kt *t, uint32_t op)
{
    return op < 128 && (t->report->op_supported[op / 64] >> (op % 64) & 1) != 0;
}

static void claims_work(struct kt *t)
{
    const uint64_t broken = t->report->claimed & ~t->report->present;
    int count = 0;
    for (int i = 0; i < OURO__FEATURE_COUNT; i++) {
        if ((broken >> i & 1) == 0)
            continue;
        count++;
        kt_note(t, "%s is listed by the kernel and does not work", ouro__feature_table[i].name);
    }
    KT_EXPECT_EQ(t, count, 0, "features which the kernel lists and which do not work");
}

static void unlisted_refused(struct kt *t)
{
    int sent = 0;
    for (uint32_t op = 0; op < OPS; op++) {
        if (listed(t, op))
            continue;
        (void)kt_sqe(t, (uint8_t)op, -1, UD_OP + op);
        KT_REQUIRE(t, kt_try_submit(t) == 1, "submitting opcode %u", op);
        sent++;
    }
    int wrong = 0;
    for (int i = 0; i < sent; i++) {
        const struct kt_cqe cqe = kt_wait(t);
        if (cqe.res == -EINVAL || cqe.res == -EOPNOTSUPP)
            continue;
        wrong++;
        kt_note(t, "opcode %d, which is not listed, ended with %d", (int)(cqe.user_data - UD_OP),
                cqe.res);
    }
    KT_EXPECT_GE(t, sent, 1, "opcodes the probe does not list");
    KT_EXPECT_EQ(t, wrong, 0, "of them were not refused");
}

static void probe_monotonous(struct kt *t)
{
    /* Operations that every kernel with multishot receive has: a probe without them is wrong. */
    static const uint8_t certain[] = {
        IORING_OP_NOP,     IORING_OP_POLL_ADD,     IORING_OP_SENDMSG, IORING_OP_RECVMSG,
        IORING_OP_TIMEOUT, IORING_OP_ASYNC_CANCEL, IORING_OP_ACCEPT,  IORING_OP_CONNECT,
        IORING_OP_CLOSE,   IORING_OP_SEND,         IORING_OP_RECV,    IORING_OP_LINK_TIMEOUT};
    int missing = 0;
    for (size_t i = 0; i < sizeof(certain); i++)
        missing += !listed(t, certain[i]);
    KT_EXPECT_EQ(t, missing, 0, "of %zu operations as old as sockets are not listed",
                 sizeof(certain));
}

static void query_agrees(struct kt *t)
{
    struct ouro__query_opcodes answer = {0};
    struct ouro__query_hdr header = {.query_op = OURO__QUERY_OPCODES,
                                     .query_data = (uint64_t)(uintptr_t)&answer,
                                     .size = sizeof(answer)};
    const int rc = io_uring_register((unsigned)-1, OURO__REGISTER_QUERY, &header, 0);
    KT_EXPECT_RES(t, rc, 0, "IORING_REGISTER_QUERY");
    KT_EXPECT_RES(t, header.result, 0, "the query for opcodes");
    uint32_t last = 0;
    for (uint32_t op = 0; op < 128; op++)
        last = listed(t, op) ? op + 1 : last;
    KT_EXPECT_EQ(t, answer.nr_request_opcodes, last, "opcodes by query and by probe");
    KT_EXPECT_EQ(t, answer.feature_flags, t->report->ring_features, "features by query and set-up");
    const uint64_t used = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
    KT_EXPECT_EQ(t, answer.setup_flags & used, used, "set-up flags that are known to work");
    struct ouro__query_hdr unknown = {.query_op = 0x7fff};
    (void)io_uring_register((unsigned)-1, OURO__REGISTER_QUERY, &unknown, 0);
    KT_EXPECT_RES(t, unknown.result, -EOPNOTSUPP, "a query nobody knows");
}

static void unknown_ioprio(struct kt *t)
{
    enum { BIT = 1u << 14 };
    int fds[2];
    char byte = 0;
    struct sockaddr_in addr;
    kt_unix_pair(t, SOCK_STREAM, fds);
    const int listener = kt_tcp_listen(t, 1, &addr);
    kt_write(t, fds[1], "x", 1);
    kt_prep_recv(t, fds[0], &byte, 1, 0, UD_RECV)->ioprio = BIT;
    kt_prep_send(t, fds[0], "y", 1, 0, UD_SEND)->ioprio = BIT;
    kt_prep_accept(t, listener, BIT, UD_ACCEPT);
    for (int taken = 0; taken < 3;) { /* each bad one stops the batch */
        const int rc = kt_try_submit(t);
        KT_REQUIRE(t, rc > 0, "submitting: %d", rc);
        taken += rc;
    }
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, -EINVAL, "RECV with an unknown modifier");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_SEND).res, -EINVAL, "SEND with an unknown modifier");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_ACCEPT).res, -EINVAL, "ACCEPT with an unknown modifier");
    KT_EXPECT_EQ(t, kt_read(t, fds[0], &byte, 1), 1, "bytes the refused receive left");
}

static int socket_command(struct kt *t, int fd, uint32_t command, uint32_t level, uint32_t name,
                          void *value, uint32_t len)
{
    struct io_uring_sqe *sqe = kt_sqe(t, IORING_OP_URING_CMD, fd, UD_CMD);
    sqe->cmd_op = command;
    if (command >= OURO__SOCKET_CMD_GETSOCKOPT)
        ouro__sqe_set_sockopt(sqe, level, name, value, len);
    kt_submit(t, 1);
    return kt_wait_for(t, UD_CMD).res;
}

static void socket_queues(struct kt *t)
{
    int fds[2];
    int queued = 0;
    kt_tcp_pair(t, fds);
    /* By the operation: the feature table asks for the options, which came one release later. */
    const int res = socket_command(t, fds[0], OURO__SOCKET_CMD_SIOCINQ, 0, 0, NULL, 0);
    if (res == -EOPNOTSUPP || res == -EINVAL)
        KT_ABSENT(t, "SIOCINQ on a TCP socket ends with %d", res);
    kt_write(t, fds[1], "12345", 5);
    struct pollfd ready = {.fd = fds[0], .events = POLLIN};
    KT_REQUIRE(t, poll(&ready, 1, (int)kt_slack_ms(t, KT_WAIT_MS)) == 1, "no data came");
    KT_SYS(t, ioctl(fds[0], FIONREAD, &queued));
    KT_EXPECT_RES(t, socket_command(t, fds[0], OURO__SOCKET_CMD_SIOCINQ, 0, 0, NULL, 0), queued,
                  "SIOCINQ, against FIONREAD");
    KT_EXPECT_EQ(t, queued, 5, "bytes FIONREAD says");
    KT_SYS(t, ioctl(fds[0], TIOCOUTQ, &queued));
    KT_EXPECT_RES(t, socket_command(t, fds[0], OURO__SOCKET_CMD_SIOCOUTQ, 0, 0, NULL, 0), queued,
                  "SIOCOUTQ, against TIOCOUTQ");
}

static void socket_options(struct kt *t)
{
    const int fd = kt_tcp_socket(t, 0);
    int by_call = 0;
    int by_ring = 0;
    socklen_t len = sizeof(by_call);
    KT_SYS(t, getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &by_call, &len));
    KT_EXPECT_RES(t,
                  socket_command(t, fd, OURO__SOCKET_CMD_GETSOCKOPT, SOL_SOCKET, SO_RCVBUF,
                                 &by_ring, sizeof(by_ring)),
                  sizeof(by_ring), "GETSOCKOPT of SO_RCVBUF: its length");
    KT_EXPECT_EQ(t, by_ring, by_call, "SO_RCVBUF by ring and by system call");
    int on = 1;
    KT_EXPECT_RES(t,
                  socket_command(t, fd, OURO__SOCKET_CMD_SETSOCKOPT, IPPROTO_TCP, TCP_NODELAY, &on,
                                 sizeof(on)),
                  0, "SETSOCKOPT of TCP_NODELAY");
    KT_SYS(t, getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &by_call, &len));
    KT_EXPECT_NE(t, by_call, 0, "TCP_NODELAY afterwards");
}

static void socket_options_unix(struct kt *t)
{
    int fds[2];
    int on = 1;
    socklen_t len = sizeof(on);
    kt_unix_pair(t, SOCK_STREAM, fds);
    KT_EXPECT_RES(t,
                  socket_command(t, fds[0], OURO__SOCKET_CMD_SETSOCKOPT, SOL_SOCKET, SO_PASSCRED,
                                 &on, sizeof(on)),
                  0, "SETSOCKOPT of SO_PASSCRED on AF_UNIX");
    on = 0;
    KT_SYS(t, getsockopt(fds[0], SOL_SOCKET, SO_PASSCRED, &on, &len));
    KT_EXPECT_EQ(t, on, 1, "SO_PASSCRED afterwards");
    KT_EXPECT_RES(t,
                  socket_command(t, fds[0], OURO__SOCKET_CMD_GETSOCKOPT, SOL_SOCKET, SO_PASSCRED,
                                 &on, sizeof(on)),
                  sizeof(on), "GETSOCKOPT on AF_UNIX: its length");
}

static const struct kt_assertion assertions[] = {
    {
        .id = "probe.claims-work",
        .alias = "K070",
        .sentence = "Every feature the kernel lists works when it is used.",
        .source = "io_uring_register(2), IORING_REGISTER_PROBE; the features of set-up",
        .since = "5.6",
        .absence = "Listed and not working is breakage.",
        .impact = "Programs choose a path that does not work on this kernel.",
        .avoid = "Perform an operation once before relying on it.",
        .rings = KT_ON_NONE,
        .run = claims_work,
    },
    {
        .id = "probe.unlisted-refused",
        .alias = "K070b",
        .sentence = "Opcodes which the probe does not list are refused with -EINVAL.",
        .source = "io_uring_register(2), IORING_REGISTER_PROBE, 5.6",
        .since = "5.6",
        .absence = "Always there.",
        .impact = "A program probes by trying and takes an answer for a success.",
        .avoid = "Ask the probe before using an operation.",
        .rings = KT_ON_BOTH,
        .run = unlisted_refused,
    },
    {
        .id = "probe.lists-sockets",
        .sentence = "The probe lists the socket operations that every kernel since 5.6 has.",
        .source = "io_uring_register(2), IORING_REGISTER_PROBE, 5.6",
        .since = "5.6",
        .absence = "Not listed is breakage, or a kernel built without sockets.",
        .impact = "Every program falls back to its slow path.",
        .avoid = "Use epoll.",
        .rings = KT_ON_NONE,
        .run = probe_monotonous,
    },
    {
        .id = "probe.query-agrees",
        .alias = "K070c",
        .sentence = "IORING_REGISTER_QUERY, the probe and set-up say the same, and an unknown "
                    "query is -EOPNOTSUPP.",
        .source = "io_uring_query(7), 6.18",
        .since = "6.18",
        .absence = "-EINVAL to the register call.",
        .impact = "Programs that ask the new way take another path than those that ask the old.",
        .avoid = "Ask the probe.",
        .needs = KT_NEEDS(QUERY),
        .rings = KT_ON_NONE,
        .run = query_agrees,
    },
    {
        .id = "probe.unknown-modifier",
        .alias = "K062",
        .sentence = "An ioprio bit that RECV, SEND or ACCEPT does not know is -EINVAL, and no data "
                    "is taken.",
        .source = "io_uring_enter(2); 5.18.14",
        .since = "5.19",
        .broken = "before 5.18.14 (ignored)",
        .absence = "Always there.",
        .impact = "A program that tries a new modifier believes to have it, and does not.",
        .avoid = "Look for the effect of a modifier, not at the result alone.",
        .rings = KT_ON_BOTH,
        .run = unknown_ioprio,
    },
    {
        .id = "socket-cmd.queues",
        .alias = "K063",
        .sentence = "SIOCINQ and SIOCOUTQ through the ring give what the ioctl gives.",
        .source = "io_uring_prep_cmd_sock(3), 6.6",
        .since = "6.6",
        .absence = "-EOPNOTSUPP; the probe lists the opcode since 5.19 for other files.",
        .impact = "Flow control works with wrong fill levels.",
        .avoid = "Use ioctl(2).",
        .rings = KT_ON_BOTH,
        .run = socket_queues,
    },
    {
        .id = "socket-cmd.options",
        .alias = "K063b",
        .sentence = "GETSOCKOPT and SETSOCKOPT through the ring agree with the system calls.",
        .source = "io_uring_prep_cmd_sock(3), 6.7",
        .since = "6.7",
        .broken = "before 6.11 (the completion can be lost when a worker runs it)",
        .absence = "-EOPNOTSUPP; the probe lists the opcode since 5.19 for other files.",
        .impact = "Options are believed to be set and are not.",
        .avoid = "Use setsockopt(2).",
        .guards = "liburing issue 1181",
        .needs = KT_NEEDS(SOCKET_CMD),
        .rings = KT_ON_BOTH,
        .run = socket_options,
    },
    {
        .id = "socket-cmd.options-unix",
        .sentence = "GETSOCKOPT and SETSOCKOPT through the ring work on AF_UNIX as on TCP.",
        .source = "io_uring_prep_cmd_sock(3), 6.7",
        .since = "6.7",
        .broken = "6.16.12 to 6.18.15 (-EOPNOTSUPP); right on 6.12.100 and later, and on 6.18.44",
        .absence = "-EOPNOTSUPP on TCP too.",
        .impact = "Credentials of local peers are not passed though they were asked for.",
        .avoid = "Use setsockopt(2) on AF_UNIX sockets.",
        .needs = KT_NEEDS(SOCKET_CMD),
        .rings = KT_ON_BOTH,
        .run = socket_options_unix,
    },
};

const struct kt_area kt_area_probe = KT_AREA("what the kernel says of itself", assertions);
