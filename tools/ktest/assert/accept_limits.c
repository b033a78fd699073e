/* SPDX-License-Identifier: MIT */
/*
 * Multishot ACCEPT at its limits: the completion queue, the descriptor table, the direct table.
 *
 * At a limit the request ends (a completion without F_MORE) and must be armed again.  The
 * assertions check where the connection is then: still in the listener's queue, in the completion,
 * or lost.
 */
#define _GNU_SOURCE
#include "fixture/kt.h"

#include <fcntl.h>
#include <sys/resource.h>

enum { UD_ACCEPT = 1, UD_RECV = 2, UD_CANCEL = 3, MANY = 20, SMALL_CQ = 8, SLOTS = 2, ROUNDS = 60 };

static int connect_client(struct kt *t, const struct sockaddr_in *addr)
{
    const int fd = kt_tcp_socket(t, 0);
    KT_SYS(t, connect(fd, (const struct sockaddr *)addr, sizeof(*addr)));
    return fd;
}

static uint16_t port_of(struct kt *t, int fd, bool peer)
{
    struct sockaddr_in addr = {0};
    socklen_t len = sizeof(addr);
    KT_SYS(t, peer ? getpeername(fd, (struct sockaddr *)&addr, &len)
                   : getsockname(fd, (struct sockaddr *)&addr, &len));
    return ntohs(addr.sin_port);
}

static void accept_overflow(struct kt *t)
{
    struct sockaddr_in addr;
    const int listener = kt_tcp_listen(t, MANY + 4, &addr);
    kt_ring_close(&t->ring);
    kt_ring_open(t, &t->ring, 4, SMALL_CQ, kt_ring_flags(t->kind));
    kt_prep_accept(t, listener, IORING_ACCEPT_MULTISHOT, UD_ACCEPT);
    kt_submit(t, 1);
    int delivered[MANY] = {0};
    uint16_t ports[MANY];
    for (int i = 0; i < MANY; i++)
        ports[i] = port_of(t, connect_client(t, &addr), false);
    int ends = 0;
    int foreign = 0;
    int errors = 0;
    for (int i = 0; i < MANY; i++) {
        kt_step(t, "waiting for connection %d of %d", i + 1, MANY);
        struct kt_cqe cqe;
        if (!kt_try_wait_for(t, UD_ACCEPT, KT_WAIT_MS * t->slack, &cqe))
            break;
        int at = MANY;
        if (cqe.res < 0)
            errors++;
        else
            for (at = 0; at < MANY && ports[at] != port_of(t, cqe.res, true); at++)
                continue;
        if (at < MANY)
            delivered[at]++;
        else
            foreign++;
        if (KT_HAS(cqe, IORING_CQE_F_MORE))
            continue;
        ends++;
        kt_prep_accept(t, listener, IORING_ACCEPT_MULTISHOT, UD_ACCEPT);
        kt_submit(t, 1);
    }
    int lost = 0;
    int twice = 0;
    for (int i = 0; i < MANY; i++) {
        lost += delivered[i] == 0;
        twice += delivered[i] > 1;
    }
    kt_metric(t, "ended", ends);
    KT_EXPECT_EQ(t, errors, 0, "completions with an error");
    KT_EXPECT_EQ(t, lost, 0, "connections lost of %d, with %d completions to hold", MANY, SMALL_CQ);
    KT_EXPECT_EQ(t, twice, 0, "connections delivered more than once");
    KT_EXPECT_EQ(t, foreign, 0, "descriptors of no connection made here");
    KT_EXPECT_GE(t, ends, 1, "times the multishot ended for want of room");
}

static void accept_emfile(struct kt *t)
{
    struct sockaddr_in addr;
    const int listener = kt_tcp_listen(t, 4, &addr);
    const int client = kt_tcp_socket(t, 0);
    const int lowest_free = (int)KT_SYS(t, dup(client));
    KT_SYS(t, close(lowest_free));
    struct rlimit limit;
    KT_SYS(t, getrlimit(RLIMIT_NOFILE, &limit));
    /* One descriptor is left: ACCEPT takes it while it tries, and the limit is read when armed. */
    const struct rlimit tight = {.rlim_cur = (rlim_t)lowest_free + 1, .rlim_max = limit.rlim_max};
    KT_SYS(t, setrlimit(RLIMIT_NOFILE, &tight));
    kt_prep_accept(t, listener, IORING_ACCEPT_MULTISHOT, UD_ACCEPT);
    kt_submit(t, 1);
    kt_expect_silence(t, 5, "ACCEPT with nobody connecting");
    KT_REQUIRE(t, dup(client) == lowest_free && dup(client) < 0, "descriptors are left");
    KT_SYS(t, connect(client, (const struct sockaddr *)&addr, sizeof(addr)));
    const struct kt_cqe cqe = kt_wait_for(t, UD_ACCEPT);
    KT_EXPECT_RES(t, cqe.res, -EMFILE, "ACCEPT with no descriptor left");
    KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_MORE), 0, "F_MORE with no descriptor left");
    KT_SYS(t, setrlimit(RLIMIT_NOFILE, &limit));
    KT_SYS(t, fcntl(listener, F_SETFL, O_NONBLOCK));
    const int server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    KT_EXPECT_RES(t, server < 0 ? -errno : 0, 0, "accept(2) of that connection afterwards");
    KT_EXPECT_EQ(t, port_of(t, server, true), port_of(t, client, false), "its peer's port");
}

/* Does the connection in slot @slot carry bytes from @client? */
static void expect_slot_works(struct kt *t, int slot, int client)
{
    const char sent = (char)('a' + slot);
    char got = 0;
    kt_write(t, client, &sent, 1);
    kt_prep_recv(t, slot, &got, 1, 0, UD_RECV)->flags |= IOSQE_FIXED_FILE;
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, 1, "RECV from slot %d", slot);
    KT_EXPECT_EQ(t, got, sent, "the byte from slot %d", slot);
}

static void accept_direct_full(struct kt *t)
{
    struct sockaddr_in addr;
    const int listener = kt_tcp_listen(t, 4, &addr);
    KT_SYS(t, io_uring_register_files_sparse(&t->ring.ring, SLOTS));
    struct io_uring_sqe *sqe = kt_prep_accept(t, listener, IORING_ACCEPT_MULTISHOT, UD_ACCEPT);
    sqe->accept_flags = 0;
    sqe->file_index = IORING_FILE_INDEX_ALLOC;
    kt_submit(t, 1);
    for (int i = 0; i < SLOTS; i++) {
        const int client = connect_client(t, &addr);
        const struct kt_cqe cqe = kt_wait_for(t, UD_ACCEPT);
        KT_EXPECT_RES(t, cqe.res, i, "slot of connection %d", i);
        KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_MORE), 1, "F_MORE on connection %d", i);
        expect_slot_works(t, i, client);
    }
    const int surplus = connect_client(t, &addr);
    const struct kt_cqe cqe = kt_wait_for(t, UD_ACCEPT);
    KT_EXPECT_RES(t, cqe.res, -ENFILE, "ACCEPT with all slots taken");
    KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_MORE), 0, "F_MORE with all slots taken");
    struct pollfd peer = {.fd = surplus, .events = POLLIN};
    const int closed = poll(&peer, 1, 50);
    kt_metric(t, "surplus_connection_closed", closed);
    kt_note(t, "the connection without a slot %s",
            closed == 1 ? "was taken and closed: its peer sees the end" : "is still waiting");
}

/* How often a client with @port was accepted: by the ring, and afterwards by accept(2). */
struct arrivals {
    uint16_t ports[MANY];
    int seen[MANY];
    int out_of_order;
    int last;
};

static void arrive(struct kt *t, struct arrivals *arrivals, int fd)
{
    const uint16_t port = port_of(t, fd, true);
    for (int i = 0; i < MANY; i++) {
        if (arrivals->ports[i] != port)
            continue;
        arrivals->seen[i]++;
        arrivals->out_of_order += i < arrivals->last;
        arrivals->last = i;
    }
    KT_SYS(t, close(fd));
}

/* Takes completions until the request has ended, then what is left in the queue. */
static void take_all(struct kt *t, int listener, struct arrivals *arrivals)
{
    struct kt_cqe cqe;
    do {
        cqe = kt_wait_for(t, UD_ACCEPT);
        if (cqe.res >= 0)
            arrive(t, arrivals, cqe.res);
    } while (KT_HAS(cqe, IORING_CQE_F_MORE));
    (void)kt_wait_for(t, UD_CANCEL);
    int fd = -1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
        arrive(t, arrivals, fd);
}

/* The cancel comes after some of the connections, and before the program has seen any. */
static void accept_cancel_no_loss(struct kt *t)
{
    struct sockaddr_in addr;
    const int listener = kt_tcp_listen(t, MANY + 4, &addr);
    int lost = 0;
    int twice = 0;
    int out_of_order = 0;
    KT_SYS(t, fcntl(listener, F_SETFL, O_NONBLOCK));
    for (int round = 0; round < ROUNDS; round++) {
        struct arrivals arrivals = {.last = 0};
        int clients[MANY];
        kt_step(t, "round %d", round);
        kt_prep_accept(t, listener, IORING_ACCEPT_MULTISHOT, UD_ACCEPT);
        kt_submit(t, 1);
        for (int i = 0; i < MANY; i++) {
            if (i == round % MANY) {
                kt_prep_cancel(t, UD_ACCEPT, 0, UD_CANCEL);
                kt_submit(t, 1);
            }
            clients[i] = connect_client(t, &addr);
            arrivals.ports[i] = port_of(t, clients[i], false);
        }
        take_all(t, listener, &arrivals);
        for (int i = 0; i < MANY; i++) {
            lost += arrivals.seen[i] == 0;
            twice += arrivals.seen[i] > 1;
            kt_reset(t, clients[i]);
        }
        out_of_order += arrivals.out_of_order;
    }
    KT_EXPECT_EQ(t, lost, 0, "connections lost of %d", ROUNDS * MANY);
    KT_EXPECT_EQ(t, twice, 0, "connections accepted more than once");
    KT_EXPECT_EQ(t, out_of_order, 0, "connections accepted before an older one");
}

static const struct kt_assertion assertions[] = {
    {
        .id = "accept.overflow",
        .alias = "K015",
        .sentence = "A multishot ACCEPT that runs out of completion queue ends, and with re-arming "
                    "every connection is delivered exactly once.",
        .source = "io_uring_prep_multishot_accept(3); bounded since 6.1.55, fixed in 6.8",
        .since = "5.19",
        .broken = "before 6.1.55 (unbounded), 6.1.55 to 6.1.81 (lost), inline before 6.1.135 and "
                  "6.12.25 (lost)",
        .absence = "Multishot ACCEPT works in the simple case, so a lost connection is breakage.",
        .impact = "Under load a server loses connections it has accepted; clients hang.",
        .avoid = "Keep the completion queue larger than the listener's backlog.",
        .guards = "liburing #1062",
        .needs = KT_NEEDS(ACCEPT_MULTISHOT),
        .rings = KT_ON_BOTH,
        .run = accept_overflow,
    },
    {
        .id = "accept.emfile",
        .alias = "K016",
        .sentence = "Without a free descriptor a multishot ACCEPT ends with -EMFILE and the "
                    "connection stays in the queue.",
        .source = "accept(2), io_uring_prep_multishot_accept(3)",
        .since = "5.19",
        .absence = "Multishot ACCEPT works in the simple case, so another result is breakage.",
        .impact = "A server out of descriptors drops connections or spins.",
        .avoid = "Keep the number of connections below RLIMIT_NOFILE.",
        .needs = KT_NEEDS(ACCEPT_MULTISHOT),
        .rings = KT_ON_BOTH,
        .run = accept_emfile,
    },
    {
        .id = "accept.direct-full",
        .alias = "K017",
        .sentence = "A multishot ACCEPT into direct descriptors fills the free slots and then ends "
                    "with -ENFILE; the surplus connection is lost.",
        .source = "io_uring_prep_multishot_accept_direct(3)",
        .since = "5.19",
        .absence = "Direct descriptors of earlier kernels give a normal descriptor instead.",
        .impact = "A server with a full table drops connections or overwrites one in use.",
        .avoid = "Cancel ACCEPT before the table is full.",
        .needs = KT_NEEDS(ACCEPT_MULTISHOT) | KT_NEEDS(DIRECT_FD),
        .rings = KT_ON_BOTH,
        .run = accept_direct_full,
    },
    {
        .id = "accept.cancel-no-loss",
        .sentence = "When connections and a cancel of a multishot ACCEPT come together, each "
                    "connection is delivered or left in the queue, once and in order.",
        .source = "io_uring_prep_multishot_accept(3), io_uring_prep_cancel(3)",
        .since = "5.19",
        .absence = "Multishot ACCEPT works in the simple case, so a lost connection is breakage.",
        .impact = "A server that stops accepting ahead loses connections; clients hang.",
        .avoid = "Accept by single requests.",
        .needs = KT_NEEDS(ACCEPT_MULTISHOT),
        .rings = KT_ON_BOTH,
        .run = accept_cancel_no_loss,
    },
};

const struct kt_area kt_area_accept_limits = KT_AREA("accept at its limits", assertions);
