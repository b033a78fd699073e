/* SPDX-License-Identifier: MIT */
/*
 * IORING_OP_ACCEPT, one shot and multishot.
 *
 * A multishot accept stays armed until a completion without F_MORE.  Each completion carries a new
 * descriptor, so a lost completion leaves a connection that no program answers.
 */
#define _GNU_SOURCE
#include "fixture/kt.h"

#include <fcntl.h>
#include <netinet/tcp.h>

enum { UD_ACCEPT = 1, UD_CANCEL = 2, CONNECTIONS = 5 };

static int connect_client(struct kt *t, const struct sockaddr_in *addr)
{
    const int fd = kt_tcp_socket(t, 0);
    KT_SYS(t, connect(fd, (const struct sockaddr *)addr, sizeof(*addr)));
    return fd;
}

/* Until @count connections wait in the listener's queue: handshakes end in softirq. */
static void wait_for_queue(struct kt *t, int listener, uint32_t count)
{
    const int64_t start_ns = kt_now_ns();
    struct tcp_info info = {0};
    do {
        socklen_t len = sizeof(info);
        KT_SYS(t, getsockopt(listener, IPPROTO_TCP, TCP_INFO, &info, &len));
    } while (info.tcpi_unacked < count && kt_ms_since(start_ns) < kt_slack_ms(t, 2000));
    KT_REQUIRE(t, info.tcpi_unacked >= count, "%u connections wait, not %u", info.tcpi_unacked,
               count);
}

static void accept_multishot(struct kt *t)
{
    struct sockaddr_in addr;
    const int listener = kt_tcp_listen(t, CONNECTIONS, &addr);
    kt_prep_accept(t, listener, IORING_ACCEPT_MULTISHOT, UD_ACCEPT);
    kt_submit(t, 1);
    int clients[CONNECTIONS];
    int servers[CONNECTIONS];
    for (int i = 0; i < CONNECTIONS; i++) {
        clients[i] = kt_tcp_socket(t, 0);
        KT_SYS(t, connect(clients[i], (const struct sockaddr *)&addr, sizeof(addr)));
        const struct kt_cqe cqe = kt_wait_for(t, UD_ACCEPT);
        KT_EXPECT_GE(t, cqe.res, 0, "descriptor of connection %d", i);
        KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_MORE), 1, "F_MORE on connection %d", i);
        servers[i] = cqe.res;
        for (int j = 0; j < i; j++)
            KT_EXPECT_NE(t, servers[i], servers[j], "descriptors of connections %d and %d", i, j);
        KT_EXPECT_EQ(t, fcntl(servers[i], F_GETFD), FD_CLOEXEC, "SOCK_CLOEXEC of connection %d", i);
        const char sent = (char)('a' + i);
        char got = 0;
        kt_write(t, clients[i], &sent, 1);
        KT_EXPECT_EQ(t, kt_read(t, servers[i], &got, 1), 1, "bytes on connection %d", i);
        KT_EXPECT_EQ(t, got, sent, "the byte of connection %d", i);
    }
    kt_expect_silence(t, 5, "with no further connection");
}

/* One ACCEPT with @flags on an O_NONBLOCK listener, armed before anybody connects. */
static void accept_once(struct kt *t, uint32_t flags)
{
    struct sockaddr_in addr;
    const int listener = kt_tcp_listen(t, 4, &addr);
    KT_SYS(t, fcntl(listener, F_SETFL, O_NONBLOCK));
    struct sockaddr_in peer = {0};
    socklen_t peer_len = sizeof(peer);
    struct io_uring_sqe *sqe = kt_prep_accept(t, listener, 0, UD_ACCEPT);
    sqe->accept_flags = flags;
    sqe->addr = (uint64_t)(uintptr_t)&peer;
    sqe->addr2 = (uint64_t)(uintptr_t)&peer_len;
    kt_submit(t, 1);
    kt_expect_silence(t, 10, "ACCEPT on an O_NONBLOCK listener nobody connects to");
    const int client = connect_client(t, &addr);
    const struct kt_cqe cqe = kt_wait_for(t, UD_ACCEPT);
    KT_EXPECT_GE(t, cqe.res, 0, "descriptor of the connection");
    KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_MORE), 0, "F_MORE on a single ACCEPT");
    struct sockaddr_in own;
    socklen_t own_len = sizeof(own);
    KT_SYS(t, getsockname(client, (struct sockaddr *)&own, &own_len));
    KT_EXPECT_EQ(t, peer_len, sizeof(peer), "length of the peer's address");
    KT_EXPECT_EQ(t, peer.sin_family, AF_INET, "family of the peer's address");
    KT_EXPECT_EQ(t, ntohs(peer.sin_port), ntohs(own.sin_port), "port of the peer");
    KT_EXPECT_EQ(t, fcntl(cqe.res, F_GETFD), flags & SOCK_CLOEXEC ? FD_CLOEXEC : 0,
                 "FD_CLOEXEC of the connection");
    KT_EXPECT_EQ(t, fcntl(cqe.res, F_GETFL) & O_NONBLOCK, flags & SOCK_NONBLOCK ? O_NONBLOCK : 0,
                 "O_NONBLOCK of the connection");
}

static void accept_single(struct kt *t)
{
    accept_once(t, SOCK_NONBLOCK | SOCK_CLOEXEC);
    accept_once(t, 0);
}

static void accept_dontwait(struct kt *t)
{
    struct sockaddr_in addr;
    const int listener = kt_tcp_listen(t, 4, &addr);
    kt_prep_accept(t, listener, OURO__ACCEPT_DONTWAIT, UD_ACCEPT);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_ACCEPT).res, -EAGAIN, "DONTWAIT with nobody waiting");
    (void)connect_client(t, &addr);
    wait_for_queue(t, listener, 1);
    kt_prep_accept(t, listener, OURO__ACCEPT_DONTWAIT, UD_ACCEPT);
    kt_submit(t, 1);
    KT_EXPECT_GE(t, kt_wait_for(t, UD_ACCEPT).res, 0, "DONTWAIT with a connection waiting");
}

static void accept_poll_first(struct kt *t)
{
    struct sockaddr_in addr;
    const int listener = kt_tcp_listen(t, 4, &addr);
    (void)connect_client(t, &addr);
    wait_for_queue(t, listener, 1);
    kt_prep_accept(t, listener, OURO__ACCEPT_POLL_FIRST, UD_ACCEPT);
    kt_submit(t, 1);
    KT_EXPECT_GE(t, kt_wait_for(t, UD_ACCEPT).res, 0, "POLL_FIRST with a connection waiting");
    kt_prep_accept(t, listener, OURO__ACCEPT_POLL_FIRST, UD_ACCEPT);
    kt_submit(t, 1);
    kt_expect_silence(t, 5, "POLL_FIRST with nobody waiting");
    (void)connect_client(t, &addr);
    KT_EXPECT_GE(t, kt_wait_for(t, UD_ACCEPT).res, 0, "POLL_FIRST armed before the connection");
}

static void accept_nonempty(struct kt *t)
{
    struct sockaddr_in addr;
    const int listener = kt_tcp_listen(t, 4, &addr);
    (void)connect_client(t, &addr);
    (void)connect_client(t, &addr);
    wait_for_queue(t, listener, 2);
    for (int left = 1; left >= 0; left--) {
        kt_prep_accept(t, listener, 0, UD_ACCEPT);
        kt_submit(t, 1);
        const struct kt_cqe cqe = kt_wait_for(t, UD_ACCEPT);
        KT_EXPECT_GE(t, cqe.res, 0, "the connection taken with %d left", left);
        KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_SOCK_NONEMPTY), left,
                     "F_SOCK_NONEMPTY with %d left", left);
    }
}

static void accept_shutdown(struct kt *t)
{
    struct sockaddr_in addr;
    const int listener = kt_tcp_listen(t, 4, &addr);
    kt_prep_accept(t, listener, 0, UD_ACCEPT);
    kt_submit(t, 1);
    kt_expect_silence(t, 5, "ACCEPT with nobody connecting");
    KT_SYS(t, shutdown(listener, SHUT_RDWR));
    KT_EXPECT_RES(t, kt_wait_for(t, UD_ACCEPT).res, -EINVAL, "ACCEPT after shutdown(2)");
    if ((t->report->present & KT_NEEDS(ACCEPT_MULTISHOT)) == 0)
        return;
    const int second = kt_tcp_listen(t, 4, &addr);
    kt_prep_accept(t, second, IORING_ACCEPT_MULTISHOT, UD_ACCEPT);
    kt_submit(t, 1);
    kt_expect_silence(t, 5, "multishot ACCEPT with nobody connecting");
    KT_SYS(t, shutdown(second, SHUT_RDWR));
    const struct kt_cqe cqe = kt_wait_for(t, UD_ACCEPT);
    KT_EXPECT_RES(t, cqe.res, -EINVAL, "multishot ACCEPT after shutdown(2)");
    KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_MORE), 0, "F_MORE after shutdown(2)");
}

static void accept_close_keeps(struct kt *t)
{
    struct sockaddr_in addr;
    const int listener = kt_tcp_listen(t, 4, &addr);
    kt_prep_accept(t, listener, 0, UD_ACCEPT);
    kt_submit(t, 1);
    KT_SYS(t, close(listener));
    kt_expect_silence(t, 20, "ACCEPT after close(2) of its listener");
    const int client = kt_tcp_socket(t, 0);
    KT_EXPECT_RES(t, connect(client, (const struct sockaddr *)&addr, sizeof(addr)), 0,
                  "connect(2) to a closed listener with an ACCEPT armed");
    KT_EXPECT_GE(t, kt_wait_for(t, UD_ACCEPT).res, 0, "ACCEPT of that connection");
}

static void accept_cancel(struct kt *t)
{
    struct sockaddr_in addr;
    const int listener = kt_tcp_listen(t, 4, &addr);
    const bool multishot = (t->report->present & KT_NEEDS(ACCEPT_MULTISHOT)) != 0;
    for (int i = 0; i < (multishot ? 2 : 1); i++) {
        const char *what = i == 0 ? "single" : "multishot";
        kt_prep_accept(t, listener, (uint16_t)(i == 0 ? 0 : IORING_ACCEPT_MULTISHOT), UD_ACCEPT);
        kt_submit(t, 1);
        kt_prep_cancel(t, UD_ACCEPT, 0, UD_CANCEL);
        kt_submit(t, 1);
        KT_EXPECT_RES(t, kt_wait_for(t, UD_CANCEL).res, 0, "ASYNC_CANCEL of a %s ACCEPT", what);
        const struct kt_cqe cqe = kt_wait_for(t, UD_ACCEPT);
        KT_EXPECT_RES(t, cqe.res, -ECANCELED, "the %s ACCEPT", what);
        KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_MORE), 0, "F_MORE on the %s ACCEPT", what);
        (void)connect_client(t, &addr);
        kt_expect_silence(t, 5, "a connection after the cancel");
        KT_EXPECT_GE(t, accept4(listener, NULL, NULL, SOCK_CLOEXEC), 0,
                     "accept(2) of a connection made after the cancel");
    }
}

static const struct kt_assertion assertions[] = {
    {
        .id = "accept.multishot",
        .alias = "K013",
        .sentence = "One multishot ACCEPT delivers every connection as a descriptor of its own, "
                    "with F_MORE, and honours the accept flags.",
        .source = "io_uring_prep_multishot_accept(3)",
        .since = "5.19",
        .absence = "Before 5.19 the flag gives -EINVAL; F_MORE must be seen where it is taken.",
        .impact = "A server loses connections or stops accepting.",
        .avoid = "Use single-shot ACCEPT and re-arm it.",
        .guards = "liburing #1062",
        .needs = KT_NEEDS(ACCEPT_MULTISHOT),
        .rings = KT_ON_BOTH,
        .run = accept_multishot,
    },
    {
        .id = "accept.single",
        .alias = "K012",
        .sentence = "ACCEPT waits also on an O_NONBLOCK listener, and gives a descriptor, the "
                    "peer's address and the flags asked for.",
        .source = "io_uring_prep_accept(3), accept4(2)",
        .since = "5.7",
        .absence = "The opcode is in the probe since 5.5; another result is breakage.",
        .impact = "A server cannot accept, or leaks descriptors to programs it starts.",
        .avoid = "Accept with accept4(2) when POLL_ADD says so.",
        .rings = KT_ON_BOTH,
        .run = accept_single,
    },
    {
        .id = "accept.dontwait",
        .alias = "K014",
        .sentence = "ACCEPT with DONTWAIT gives -EAGAIN when nobody waits, else the connection.",
        .source = "io_uring_prep_accept(3), IORING_ACCEPT_DONTWAIT",
        .since = "6.10",
        .absence = "Before 6.10 the flag gives -EINVAL.",
        .impact = "A loop that drains the queue hangs in its last ACCEPT.",
        .avoid = "Drain the queue with accept4(2).",
        .needs = KT_NEEDS(ACCEPT_DONTWAIT),
        .rings = KT_ON_BOTH,
        .run = accept_dontwait,
    },
    {
        .id = "accept.poll-first",
        .sentence = "ACCEPT with POLL_FIRST completes for a connection that waits already and for "
                    "one that comes later.",
        .source = "io_uring_prep_accept(3), IORING_ACCEPT_POLL_FIRST",
        .since = "6.10",
        .absence = "Before 6.10 the flag gives -EINVAL.",
        .impact = "A connection that was there before the ACCEPT is never served.",
        .avoid = "Accept without POLL_FIRST.",
        .needs = KT_NEEDS(ACCEPT_DONTWAIT),
        .rings = KT_ON_BOTH,
        .run = accept_poll_first,
    },
    {
        .id = "accept.nonempty",
        .sentence = "F_SOCK_NONEMPTY on an ACCEPT says whether more connections wait.",
        .source = "io_uring_prep_accept(3), IORING_CQE_F_SOCK_NONEMPTY",
        .since = "6.10",
        .absence = "It came with the DONTWAIT flag, which can be tried.",
        .impact = "A server that goes by the flag leaves connections waiting.",
        .avoid = "Use multishot ACCEPT, which needs no hint.",
        .needs = KT_NEEDS(ACCEPT_DONTWAIT),
        .rings = KT_ON_BOTH,
        .run = accept_nonempty,
    },
    {
        .id = "accept.shutdown",
        .alias = "K018",
        .sentence = "shutdown(2) of the listener completes ACCEPT with -EINVAL and without F_MORE.",
        .source = "accept(2)",
        .since = "5.7",
        .absence = "The opcode is in the probe since 5.5; another result is breakage.",
        .impact = "A server's stop does not end.",
        .avoid = "Cancel ACCEPT before the listener is shut down.",
        .rings = KT_ON_BOTH,
        .run = accept_shutdown,
    },
    {
        .id = "accept.close-keeps",
        .sentence = "close(2) of the listener does not end an ACCEPT, which still takes a "
                    "connection.",
        .source = "io_uring(7): a request holds its file",
        .since = "5.7",
        .absence = "The opcode is in the probe since 5.5; another result is breakage.",
        .impact = "What a server believes closed goes on accepting, or ends unforeseen.",
        .avoid = "Cancel ACCEPT and wait for its completion before close(2).",
        .rings = KT_ON_BOTH,
        .run = accept_close_keeps,
    },
    {
        .id = "accept.cancel",
        .sentence = "A cancelled ACCEPT completes with -ECANCELED, and connections that come "
                    "afterwards stay in the queue.",
        .source = "io_uring_prep_cancel(3)",
        .since = "5.7",
        .absence = "The opcode is in the probe since 5.5; another result is breakage.",
        .impact = "A connection is taken by a request that nobody waits for any more.",
        .avoid = "Shut the listener down to end ACCEPT.",
        .rings = KT_ON_BOTH,
        .run = accept_cancel,
    },
};

const struct kt_area kt_area_accept = KT_AREA("accept", assertions);
