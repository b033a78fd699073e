/* SPDX-License-Identifier: MIT */
/*
 * Multishot RECV at its edges: no buffers left, no room for completions, the end of the stream.
 *
 * A multishot is armed until a completion without F_MORE.  Wherever it ends, the data it has not
 * delivered must still be in the socket, and arming it again must go on with the next byte.
 */
#define _GNU_SOURCE
#include "fixture/kt.h"
#include "fixture/stream.h"

enum {
    UD_RECV = 1,
    UD_CANCEL = 2,
    UD_SECOND = 3,
    BGID = 3,
    OTHER_BGID = 9,
    SIZE = 256,
    GROUP = 4,
    SENT = 2048,
    READ_BETWEEN = 200,
    DATAGRAMS = 40,
    SMALL_CQ = 16
};

/*
 * Receives until the multishot ends: bytes in order from stream offset *at on.  Every completion is
 * counted in *wrong if it is not as it should be.  The result of the last one.
 */
static int receive_until_end(struct kt *t, struct kt_buffers *buffers, uint32_t *at,
                             uint32_t *wrong, bool give_back, uint32_t stop_at)
{
    for (;;) {
        const struct kt_cqe cqe = kt_wait_for(t, UD_RECV);
        if (cqe.res <= 0)
            return KT_HAS(cqe, IORING_CQE_F_MORE) ? -EPROTO : cqe.res;
        *wrong += KT_HAS(cqe, IORING_CQE_F_BUFFER) != 1;
        *wrong += stream_wrong(kt_buffer(buffers, kt_buffer_id(cqe)), *at, (size_t)cqe.res);
        *at += (uint32_t)cqe.res;
        if (give_back)
            kt_buffers_give(buffers, kt_buffer_id(cqe));
        if (*at >= stop_at || !KT_HAS(cqe, IORING_CQE_F_MORE))
            return cqe.res;
    }
}

static void recv_empty_group(struct kt *t)
{
    static uint8_t data[SENT];
    uint8_t between[READ_BETWEEN];
    int fds[2];
    struct kt_buffers buffers;
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_buffers_open(t, &buffers, BGID, GROUP, GROUP, SIZE, 0);
    stream_fill(data, 0, SENT);
    kt_write(t, fds[0], data, SENT);
    uint32_t at = 0;
    uint32_t wrong = 0;
    kt_prep_recv_multishot(t, fds[1], BGID, UD_RECV);
    kt_submit(t, 1);
    int end = receive_until_end(t, &buffers, &at, &wrong, false, SENT);
    KT_EXPECT_RES(t, end, -ENOBUFS, "the end of the multishot, without F_MORE");
    KT_EXPECT_EQ(t, at, GROUP * SIZE, "bytes received with a group of that size");
    KT_EXPECT_EQ(t, wrong, 0, "wrong bytes received");
    KT_EXPECT_EQ(t, kt_read(t, fds[1], between, sizeof(between)), sizeof(between),
                 "bytes that recv(2) then finds in the socket");
    KT_EXPECT_EQ(t, stream_wrong(between, at, sizeof(between)), 0, "wrong bytes among them");
    at += READ_BETWEEN;
    for (uint16_t i = 0; i < GROUP; i++)
        kt_buffers_give(&buffers, i);
    kt_prep_recv_multishot(t, fds[1], BGID, UD_RECV);
    kt_submit(t, 1);
    end = receive_until_end(t, &buffers, &at, &wrong, false, SENT);
    KT_EXPECT_GE(t, end, 1, "the last completion after buffers were given back");
    KT_EXPECT_EQ(t, at, SENT, "bytes received in all");
    KT_EXPECT_EQ(t, wrong, 0, "wrong bytes in all");
}

static void recv_absent_group(struct kt *t)
{
    int fds[2];
    char got[4];
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_write(t, fds[0], "here", 4);
    kt_prep_recv_multishot(t, fds[1], BGID, UD_RECV);
    kt_submit(t, 1);
    const struct kt_cqe cqe = kt_wait_for(t, UD_RECV);
    KT_EXPECT_RES(t, cqe.res, -ENOBUFS, "RECV from a group that does not exist");
    KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_MORE), 0, "F_MORE of it");
    KT_EXPECT_EQ(t, kt_read(t, fds[1], got, sizeof(got)), sizeof(got),
                 "bytes that are still in the socket");
}

static void recv_two_groups(struct kt *t)
{
    static const uint16_t groups[] = {BGID, OTHER_BGID};
    static const uint64_t names[] = {UD_RECV, UD_SECOND};
    int fds[2][2];
    struct kt_buffers buffers[2];
    uint32_t wrong = 0;
    uint32_t odd = 0;
    uint32_t sent = 0;
    for (int i = 0; i < 2; i++) {
        kt_unix_pair(t, SOCK_STREAM, fds[i]);
        kt_buffers_open(t, &buffers[i], groups[i], GROUP, GROUP, SIZE, 0);
        kt_prep_recv_multishot(t, fds[i][1], groups[i], names[i]);
    }
    kt_submit(t, 2);
    for (int round = 0; round < 16; round++) {
        for (int i = 0; i < 2; i++) {
            uint8_t data[SIZE];
            stream_fill(data, sent, SIZE);
            kt_write(t, fds[i][0], data, SIZE);
            const struct kt_cqe cqe = kt_wait_for(t, names[i]);
            odd += cqe.res != SIZE || !KT_HAS(cqe, IORING_CQE_F_MORE);
            wrong += stream_wrong(kt_buffer(&buffers[i], kt_buffer_id(cqe) % GROUP), sent, SIZE);
            kt_buffers_give(&buffers[i], kt_buffer_id(cqe) % GROUP);
            sent += SIZE;
        }
    }
    KT_EXPECT_EQ(t, odd, 0, "completions of 32 that were not a full buffer with F_MORE");
    KT_EXPECT_EQ(t, wrong, 0, "bytes not found in the group named, of %u", sent);
}

static void recv_udp_overflow(struct kt *t)
{
    int fds[2];
    struct kt_buffers buffers;
    kt_pin(t); /* loopback keeps the order on one processor only */
    kt_ring_close(&t->ring);
    kt_ring_open(t, &t->ring, 4, SMALL_CQ, kt_ring_flags(t->kind));
    kt_udp_pair(t, fds);
    kt_buffers_open(t, &buffers, BGID, 64, 64, 16, 0);
    kt_prep_recv_multishot(t, fds[1], BGID, UD_RECV);
    kt_submit(t, 1);
    for (uint32_t i = 0; i < DATAGRAMS; i++)
        kt_write(t, fds[0], &i, sizeof(i));
    uint32_t got = 0;
    uint32_t misplaced = 0;
    uint32_t odd = 0;
    int ends = 0;
    while (got < DATAGRAMS) {
        struct kt_cqe cqe;
        kt_step(t, "waiting for datagram %u", got);
        if (!kt_try_wait_for(t, UD_RECV, KT_WAIT_MS * t->slack, &cqe))
            break;
        odd += cqe.res != (int)sizeof(uint32_t);
        if (cqe.res == (int)sizeof(uint32_t)) {
            uint32_t number;
            memcpy(&number, kt_buffer(&buffers, kt_buffer_id(cqe)), sizeof(number));
            misplaced += number != got;
            got++;
        }
        if (KT_HAS(cqe, IORING_CQE_F_MORE))
            continue;
        ends++;
        kt_prep_recv_multishot(t, fds[1], BGID, UD_RECV);
        kt_submit(t, 1);
    }
    kt_metric(t, "ended", ends);
    KT_EXPECT_EQ(t, got, DATAGRAMS, "datagrams delivered, with %d completions to hold", SMALL_CQ);
    KT_EXPECT_EQ(t, misplaced, 0, "datagrams out of order");
    KT_EXPECT_EQ(t, odd, 0, "completions without a whole datagram");
    KT_EXPECT_GE(t, ends, 1, "times the multishot ended for want of room");
}

static void recv_multishot_ends(struct kt *t)
{
    struct kt_buffers buffers;
    kt_buffers_open(t, &buffers, BGID, GROUP, GROUP, SIZE, 0);
    static const char *const what[] = {"the peer's reset", "shutdown(2) of the own side",
                                       "a cancel"};
    static const int results[] = {-ECONNRESET, 0, -ECANCELED};
    for (int i = 0; i < 3; i++) {
        int fds[2];
        kt_tcp_pair(t, fds);
        kt_prep_recv_multishot(t, fds[1], BGID, UD_RECV);
        kt_submit(t, 1);
        kt_expect_silence(t, 5, "a multishot RECV with nothing sent");
        if (i == 0)
            kt_reset(t, fds[0]);
        else if (i == 1)
            KT_SYS(t, shutdown(fds[1], SHUT_RD));
        else
            kt_prep_cancel(t, UD_RECV, 0, UD_CANCEL);
        if (i == 2)
            kt_submit(t, 1);
        const struct kt_cqe cqe = kt_wait_for(t, UD_RECV);
        KT_EXPECT_RES(t, cqe.res, results[i], "the multishot RECV after %s", what[i]);
        KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_MORE), 0, "F_MORE after %s", what[i]);
        KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_BUFFER), 0, "F_BUFFER after %s", what[i]);
    }
}

static void recv_multishot_invalid(struct kt *t)
{
    int fds[2];
    char byte;
    struct kt_buffers buffers;
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_buffers_open(t, &buffers, BGID, GROUP, GROUP, SIZE, 0);
    kt_prep_recv(t, fds[1], &byte, 1, 0, UD_RECV)->ioprio = IORING_RECV_MULTISHOT;
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, -EINVAL, "multishot RECV into an own buffer");
    kt_prep_recv_multishot(t, fds[1], BGID, UD_RECV)->msg_flags = MSG_WAITALL;
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, -EINVAL, "multishot RECV with MSG_WAITALL");
}

static const struct kt_assertion assertions[] = {
    {
        .id = "recv.empty-group",
        .alias = "K021",
        .sentence =
            "A multishot RECV whose group runs empty ends with -ENOBUFS, leaves the rest in "
            "the socket, and goes on with the next byte when armed again.",
        .source = "io_uring_prep_recv_multishot(3)",
        .since = "6.0",
        .absence = "Multishot RECV works in the simple case, so another outcome is breakage.",
        .impact = "A server short of buffers loses data or stops receiving.",
        .avoid = "Use single-shot receives into own buffers.",
        .needs = KT_NEEDS(RECV_MULTISHOT) | KT_NEEDS(PBUF_RING),
        .rings = KT_ON_BOTH,
        .run = recv_empty_group,
    },
    {
        .id = "recv.absent-group",
        .sentence = "RECV from a buffer group that does not exist completes with -ENOBUFS and "
                    "leaves the data in the socket.",
        .source = "io_uring_prep_recv_multishot(3)",
        .since = "6.0",
        .absence = "Multishot RECV works in the simple case, so another outcome is breakage.",
        .impact = "A program's slip loses data.",
        .avoid = "Use single-shot receives into own buffers.",
        .needs = KT_NEEDS(RECV_MULTISHOT),
        .rings = KT_ON_BOTH,
        .run = recv_absent_group,
    },
    {
        .id = "recv.two-groups",
        .sentence =
            "Two multishot RECVs with a group each keep to it, completion after completion.",
        .source = "io_uring_prep_recv_multishot(3); fixed in 6.1.11",
        .since = "6.0",
        .broken = "before 6.1.11 (another group after the first completion)",
        .absence = "Multishot RECV works in the simple case, so another outcome is breakage.",
        .impact = "Data lands in memory that belongs to somebody else.",
        .avoid = "Use one buffer group only.",
        .needs = KT_NEEDS(RECV_MULTISHOT) | KT_NEEDS(PBUF_RING),
        .rings = KT_ON_BOTH,
        .run = recv_two_groups,
    },
    {
        .id = "recv.udp-overflow",
        .alias = "K022",
        .sentence =
            "A multishot RECV of datagrams that runs out of completion queue ends, and with "
            "re-arming no datagram is lost or out of order.",
        .source = "io_uring_prep_recv_multishot(3); bounded since 6.1.55",
        .since = "6.0",
        .broken = "before 6.1.55 (unbounded)",
        .absence = "Multishot RECV works in the simple case, so another outcome is breakage.",
        .impact = "Under load datagrams vanish between socket and program.",
        .avoid = "Keep the completion queue larger than the number of buffers.",
        .needs = KT_NEEDS(RECV_MULTISHOT) | KT_NEEDS(PBUF_RING),
        .rings = KT_ON_BOTH,
        .run = recv_udp_overflow,
    },
    {
        .id = "recv.multishot-ends",
        .sentence =
            "A multishot RECV ends with -ECONNRESET, 0 or -ECANCELED at a reset, a shutdown "
            "and a cancel, without F_MORE and without a buffer.",
        .source = "io_uring_prep_recv_multishot(3)",
        .since = "6.0",
        .absence = "Multishot RECV works in the simple case, so another outcome is breakage.",
        .impact = "Connections that have ended are kept for ever, or buffers leak.",
        .avoid = "Use single-shot receives.",
        .needs = KT_NEEDS(RECV_MULTISHOT) | KT_NEEDS(PBUF_RING),
        .rings = KT_ON_BOTH,
        .run = recv_multishot_ends,
    },
    {
        .id = "recv.multishot-invalid",
        .alias = "K025",
        .sentence = "A multishot RECV without buffer selection or with MSG_WAITALL is refused with "
                    "-EINVAL.",
        .source = "io_uring_prep_recv_multishot(3)",
        .since = "6.0",
        .absence = "Multishot RECV works in the simple case, so acceptance is breakage.",
        .impact = "A program's mistake overwrites memory instead of being reported.",
        .avoid = "Check the arguments of multishot receives yourself.",
        .needs = KT_NEEDS(RECV_MULTISHOT) | KT_NEEDS(PBUF_RING),
        .rings = KT_ON_BOTH,
        .run = recv_multishot_invalid,
    },
};

const struct kt_area kt_area_recv_multishot = KT_AREA("multishot recv", assertions);
