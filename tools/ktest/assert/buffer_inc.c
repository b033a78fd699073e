/* SPDX-License-Identifier: MIT */
/*
 * Incremental buffer rings (IOU_PBUF_RING_INC): one large buffer, consumed bit by bit.
 *
 * The kernel moves the start of a ring entry forward by what each receive took, and says with
 * F_BUF_MORE that the same buffer will be named again.  The program keeps the same account.  If the
 * two differ by a byte, the program reads every later receive from the wrong place in the buffer.
 * If the kernel hands out one part twice, a connection reads another one's data.
 *
 * Owns:    nothing that outlives the process.
 * Threads: the assertion's.
 * Always:  the contents of the buffer are checked, not only the completions.
 */
#define _GNU_SOURCE
#include "fixture/kt.h"

enum { UD_FIRST = 1, UD_SECOND = 2, UD_REST = 3, BGID = 4, SIZE = 1024, PART = 50 };

static struct io_uring_sqe *select_recv(struct kt *t, int fd, uint32_t len, int msg_flags,
                                        uint64_t user_data)
{
    struct io_uring_sqe *sqe = kt_prep_recv(t, fd, NULL, len, msg_flags, user_data);
    sqe->flags = IOSQE_BUFFER_SELECT;
    sqe->buf_group = BGID;
    return sqe;
}

static void write_letters(struct kt *t, int fd, char letter, size_t count)
{
    char letters[SIZE];
    memset(letters, letter, sizeof(letters));
    kt_write(t, fd, letters, count);
}

static int count_letters(const void *data, size_t len, char letter)
{
    int count = 0;
    for (size_t i = 0; i < len; i++)
        count += ((const char *)data)[i] == letter;
    return count;
}

/* A waits for twice what it has; B takes the next part meanwhile; then A's rest arrives. */
static void inc_waitall(struct kt *t)
{
    int a[2];
    int b[2];
    char rest[PART] = {0};
    struct kt_buffers buffers;
    struct kt_cqe first = {0};
    kt_unix_pair(t, SOCK_STREAM, a);
    kt_unix_pair(t, SOCK_STREAM, b);
    kt_buffers_open(t, &buffers, BGID, 1, 1, SIZE, OURO__PBUF_RING_INC);
    write_letters(t, a[0], 'a', PART);
    select_recv(t, a[1], 2 * PART, MSG_WAITALL, UD_FIRST);
    kt_submit(t, 1);
    write_letters(t, b[0], 'b', PART);
    select_recv(t, b[1], PART, 0, UD_SECOND);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_SECOND).res, PART, "the neighbour's receive");
    KT_EXPECT_EQ(t, count_letters(buffers.data, SIZE, 'b'), PART,
                 "the neighbour's bytes in the buffer");
    write_letters(t, a[0], 'a', PART);
    first = kt_wait_for(t, UD_FIRST);
    KT_EXPECT_EQ(t, count_letters(buffers.data, SIZE, 'b'), PART,
                 "the neighbour's bytes in the buffer after MSG_WAITALL went on");
    KT_EXPECT_GE(t, first.res, PART, "bytes of the MSG_WAITALL receive");
    KT_EXPECT_EQ(t, count_letters(buffers.data, SIZE, 'a'), first.res,
                 "its bytes in the buffer against its result");
    if (first.res < 2 * PART) { /* allowed: ended short, nothing lost */
        kt_note(t, "ended short, with %d of %d bytes", first.res, 2 * PART);
        KT_EXPECT_EQ(t, kt_read(t, a[1], rest, PART), PART, "the rest, left in the socket");
        KT_EXPECT_EQ(t, count_letters(rest, PART, 'a'), PART, "right bytes of the rest");
    }
}

static void inc_trunc(struct kt *t)
{
    int fds[2];
    struct kt_buffers buffers;
    kt_unix_pair(t, SOCK_DGRAM, fds);
    kt_buffers_open(t, &buffers, BGID, 1, 1, SIZE, OURO__PBUF_RING_INC);
    const uint64_t start = buffers.ring->bufs[0].addr;
    write_letters(t, fds[0], 'x', 300);
    write_letters(t, fds[0], 'z', PART);
    select_recv(t, fds[1], 100, MSG_TRUNC, UD_FIRST);
    kt_submit(t, 1);
    const struct kt_cqe cqe = kt_wait_for(t, UD_FIRST);
    KT_EXPECT_GE(t, cqe.res, 100, "receive of 100 bytes of a datagram of 300");
    kt_metric(t, "result", cqe.res);
    KT_EXPECT_EQ(t, KT_HAS(cqe, OURO__CQE_F_BUF_MORE), 1, "F_BUF_MORE with room left");
    KT_EXPECT_EQ(t, buffers.ring->bufs[0].addr - start, 100,
                 "bytes the kernel took from the buffer");
    select_recv(t, fds[1], PART, 0, UD_SECOND);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_SECOND).res, PART, "the next datagram");
    KT_EXPECT_EQ(t, count_letters(buffers.data + 100, PART, 'z'), PART,
                 "its bytes right behind the first's");
}

static void inc_more(struct kt *t)
{
    static const int parts[] = {40, 40, 20};
    int fds[2];
    uint32_t at = 0;
    char byte = 0;
    struct kt_buffers buffers;
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_buffers_open(t, &buffers, BGID, 1, 1, 100, OURO__PBUF_RING_INC);
    kt_prep_recv_multishot(t, fds[1], BGID, UD_FIRST);
    kt_submit(t, 1);
    for (int i = 0; i < 3; i++) {
        write_letters(t, fds[0], (char)('a' + i), (size_t)parts[i]);
        const struct kt_cqe cqe = kt_wait_for(t, UD_FIRST);
        KT_EXPECT_RES(t, cqe.res, parts[i], "part %d", i + 1);
        KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_BUFFER), 1, "F_BUFFER on part %d", i + 1);
        KT_EXPECT_EQ(t, kt_buffer_id(cqe), 0, "buffer id of part %d", i + 1);
        KT_EXPECT_EQ(t, KT_HAS(cqe, OURO__CQE_F_BUF_MORE), i < 2, "F_BUF_MORE on part %d, %d left",
                     i + 1, 100 - (int)at - cqe.res);
        KT_EXPECT_EQ(t, count_letters(buffers.data + at, (size_t)cqe.res, (char)('a' + i)),
                     parts[i], "right bytes of part %d", i + 1);
        at += (uint32_t)cqe.res;
    }
    write_letters(t, fds[0], 'd', 1);
    const struct kt_cqe end = kt_wait_for(t, UD_FIRST);
    KT_EXPECT_RES(t, end.res, -ENOBUFS, "data with the only buffer used up");
    KT_EXPECT_EQ(t, KT_HAS(end, IORING_CQE_F_MORE), 0, "F_MORE on -ENOBUFS");
    KT_EXPECT_EQ(t, kt_read(t, fds[1], &byte, 1), 1, "the byte, left in the socket");
    KT_EXPECT_EQ(t, byte, 'd', "that byte");
}

/* Data and end of stream, the latter @early: before the receive is armed. */
static void eof_case(struct kt *t, uint16_t bgid, uint16_t ioprio, bool early)
{
    int fds[2];
    struct kt_buffers buffers;
    kt_tcp_pair(t, fds);
    kt_buffers_open(t, &buffers, bgid, 1, 1, SIZE, OURO__PBUF_RING_INC);
    write_letters(t, fds[0], 'a', PART);
    if (early) {
        struct pollfd end = {.fd = fds[1], .events = POLLRDHUP};
        KT_SYS(t, shutdown(fds[0], SHUT_WR));
        KT_REQUIRE(t, poll(&end, 1, (int)kt_slack_ms(t, 2000)) == 1, "no end of stream");
    }
    kt_prep_recv_multishot(t, fds[1], bgid, UD_FIRST)->ioprio |= ioprio;
    kt_submit(t, 1);
    struct kt_cqe cqe = kt_wait_for(t, UD_FIRST);
    KT_EXPECT_RES(t, cqe.res, PART, "the data");
    KT_EXPECT_EQ(t, KT_HAS(cqe, OURO__CQE_F_BUF_MORE), 1, "F_BUF_MORE on the data");
    if (!early)
        KT_SYS(t, shutdown(fds[0], SHUT_WR));
    if (!KT_HAS(cqe, IORING_CQE_F_MORE)) { /* a bundle may end */
        kt_prep_recv_multishot(t, fds[1], bgid, UD_FIRST)->ioprio |= ioprio;
        kt_submit(t, 1);
    }
    cqe = kt_wait_for(t, UD_FIRST);
    KT_EXPECT_RES(t, cqe.res, 0, "end of stream");
    KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_MORE), 0, "F_MORE at end of stream");
    const int given_up =
        KT_HAS(cqe, IORING_CQE_F_BUFFER) == 1 && KT_HAS(cqe, OURO__CQE_F_BUF_MORE) == 0;
    KT_EXPECT_EQ(t, given_up, 0, "the buffer named without F_BUF_MORE, though it has room%s%s",
                 ioprio != 0 ? ", bundle" : "", early ? ", all there at once" : "");
    KT_EXPECT_EQ(t, buffers.ring->bufs[0].len, SIZE - PART, "bytes left in the buffer");
}

static void inc_eof(struct kt *t)
{
    eof_case(t, BGID, 0, false);
    eof_case(t, BGID + 1, 0, true);
    if ((t->report->present & KT_NEEDS(BUNDLE)) == 0)
        return;
    eof_case(t, BGID + 2, OURO__RECVSEND_BUNDLE, false);
    eof_case(t, BGID + 3, OURO__RECVSEND_BUNDLE, true);
}

static void inc_min_left(struct kt *t)
{
    int fds[2];
    struct kt_buffers buffers;
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_buffers_open(t, &buffers, BGID, 2, 2, 100, OURO__PBUF_RING_INC);
    /* The same memory again, now with a limit. */
    const struct ouro__buf_reg old = {.bgid = BGID};
    const struct ouro__buf_reg reg = {.ring_addr = (uint64_t)(uintptr_t)buffers.ring,
                                      .ring_entries = 2,
                                      .bgid = BGID,
                                      .flags = OURO__PBUF_RING_INC,
                                      .min_left = 30};
    KT_REQUIRE(t, kt_register(&t->ring, IORING_UNREGISTER_PBUF_RING, &old, 1) == 0,
               "unregistering the buffer ring");
    const int rc = kt_register(&t->ring, IORING_REGISTER_PBUF_RING, &reg, 1);
    if (rc == -EINVAL)
        KT_ABSENT(t, "min_left of an incremental ring is refused");
    KT_EXPECT_RES(t, rc, 0, "registering with min_left 30");
    kt_prep_recv_multishot(t, fds[1], BGID, UD_FIRST);
    kt_submit(t, 1);
    write_letters(t, fds[0], 'a', 60);
    struct kt_cqe cqe = kt_wait_for(t, UD_FIRST);
    KT_EXPECT_RES(t, cqe.res, 60, "the first part");
    KT_EXPECT_EQ(t, KT_HAS(cqe, OURO__CQE_F_BUF_MORE), 1, "F_BUF_MORE with 40 bytes left");
    write_letters(t, fds[0], 'b', 20);
    cqe = kt_wait_for(t, UD_FIRST);
    KT_EXPECT_RES(t, cqe.res, 20, "the second part");
    KT_EXPECT_EQ(t, KT_HAS(cqe, OURO__CQE_F_BUF_MORE), 0, "F_BUF_MORE with 20 bytes left");
    write_letters(t, fds[0], 'c', 10);
    cqe = kt_wait_for(t, UD_FIRST);
    KT_EXPECT_RES(t, cqe.res, 10, "the third part");
    KT_EXPECT_EQ(t, kt_buffer_id(cqe), 1, "buffer of the third part");
}

static const struct kt_assertion assertions[] = {
    {
        .id = "recv.inc-waitall",
        .alias = "K032",
        .sentence =
            "MSG_WAITALL with an incremental ring may end short, but a neighbour's bytes in "
            "the same buffer stay as they are.",
        .source = "io_uring_setup_buf_ring(3), IOU_PBUF_RING_INC",
        .since = "6.12",
        .broken = "6.12 to 6.12.113, 6.16 to 7.2.13",
        .absence = "The flag gives -EINVAL; once registered, corruption is breakage.",
        .impact = "One connection's data is overwritten with another one's.",
        .avoid = "Never combine MSG_WAITALL with provided buffers.",
        .guards = "silent data corruption between connections",
        .needs = KT_NEEDS(PBUF_INC),
        .rings = KT_ON_BOTH,
        .run = inc_waitall,
    },
    {
        .id = "recv.inc-trunc",
        .alias = "K033",
        .sentence = "A receive with MSG_TRUNC takes from an incremental buffer exactly what it "
                    "wrote there, not the datagram's length.",
        .source = "io_uring_setup_buf_ring(3), recv(2)",
        .since = "6.12",
        .broken = "6.12 to 6.12.111, 6.16 to 7.1.13",
        .absence = "The flag gives -EINVAL; once registered, a wrong account is breakage.",
        .impact = "Every later datagram from that buffer is read from the wrong place.",
        .avoid = "Do not receive with MSG_TRUNC from an incremental buffer ring.",
        .needs = KT_NEEDS(PBUF_INC),
        .rings = KT_ON_BOTH,
        .run = inc_trunc,
    },
    {
        .id = "recv.inc-more",
        .alias = "K034",
        .sentence = "F_BUF_MORE is set while an incremental buffer has room and clear on the "
                    "completion that uses it up.",
        .source = "io_uring_setup_buf_ring(3), IORING_CQE_F_BUF_MORE",
        .since = "6.12",
        .absence = "The flag gives -EINVAL; once registered, F_BUF_MORE must be right.",
        .impact = "Buffers leak, or are reused while the kernel writes into them.",
        .avoid = "Use buffer rings without IOU_PBUF_RING_INC.",
        .needs = KT_NEEDS(PBUF_INC) | KT_NEEDS(RECV_MULTISHOT),
        .rings = KT_ON_BOTH,
        .run = inc_more,
    },
    {
        .id = "recv.inc-eof",
        .sentence = "End of stream gives no incremental buffer back that still has room.",
        .source = "io_uring_setup_buf_ring(3), IORING_CQE_F_BUF_MORE",
        .since = "6.12",
        .broken = "6.12 to 6.12.84",
        .absence = "The flag gives -EINVAL; once registered, a buffer given up is breakage.",
        .impact = "The program reuses a buffer that the kernel goes on writing into.",
        .avoid = "Use buffer rings without IOU_PBUF_RING_INC.",
        .guards = "liburing #1553",
        .needs = KT_NEEDS(PBUF_INC) | KT_NEEDS(RECV_MULTISHOT),
        .rings = KT_ON_BOTH,
        .run = inc_eof,
    },
    {
        .id = "recv.inc-min-left",
        .sentence = "With min_left, an incremental buffer with less room than that is given back "
                    "and the next one is used.",
        .source = "io_uring_register_buf_ring(3), struct io_uring_buf_reg",
        .since = "7.1",
        .absence = "-EINVAL where the field is unknown (back-ported to 6.12.90 and 6.18.44).",
        .impact = "Data arrives in many tiny pieces at the end of each buffer.",
        .avoid = "Use buffer rings without IOU_PBUF_RING_INC.",
        .needs = KT_NEEDS(PBUF_INC) | KT_NEEDS(RECV_MULTISHOT),
        .rings = KT_ON_BOTH,
        .run = inc_min_left,
    },
};

const struct kt_area kt_area_buffer_inc = KT_AREA("incremental buffers", assertions);
