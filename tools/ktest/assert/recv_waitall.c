/* SPDX-License-Identifier: MIT */
/*
 * RECV with MSG_WAITALL: one completion for several arrivals.
 *
 * Between arrivals the request holds bytes that are neither in the socket nor with the program.
 * Whatever ends it then must say how many they are; and a provided buffer that it has begun to fill
 * must not be given to anybody else.
 */
#include "fixture/kt.h"
#include "fixture/stream.h"

enum {
    UD_RECV = 1,
    UD_CANCEL = 2,
    UD_OTHER = 3,
    LEN = 512,
    PART = 200,
    OTHER_PART = 100,
    BGID = 3,
    GROUP = 4
};

/* A RECV of LEN bytes that has taken the stream's first PART bytes and waits for more. */
static void start_partial(struct kt *t, int fds[2], uint8_t *data)
{
    uint8_t part[PART];
    kt_unix_pair(t, SOCK_STREAM, fds);
    stream_fill(part, 0, PART);
    kt_prep_recv(t, fds[1], data, LEN, MSG_WAITALL, UD_RECV);
    kt_submit(t, 1);
    kt_write(t, fds[0], part, PART);
    kt_expect_silence(t, 5, "RECV of 512 bytes with MSG_WAITALL after 200");
}

static void recv_waitall(struct kt *t)
{
    uint8_t data[LEN] = {0};
    uint8_t rest[LEN - PART];
    int fds[2];
    start_partial(t, fds, data);
    stream_fill(rest, PART, sizeof(rest));
    kt_write(t, fds[0], rest, sizeof(rest));
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, LEN, "RECV once all bytes were sent");
    KT_EXPECT_EQ(t, stream_wrong(data, 0, LEN), 0, "wrong bytes");
    memset(data, 0, sizeof(data));
    start_partial(t, fds, data);
    KT_SYS(t, shutdown(fds[0], SHUT_WR));
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, PART, "RECV after part of the bytes and the end");
    KT_EXPECT_EQ(t, stream_wrong(data, 0, PART), 0, "wrong bytes before the end");
}

static void recv_waitall_cancel(struct kt *t)
{
    uint8_t data[LEN] = {0};
    int fds[2];
    start_partial(t, fds, data);
    kt_prep_cancel(t, UD_RECV, 0, UD_CANCEL);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_CANCEL).res, 0, "ASYNC_CANCEL of a RECV with progress");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, PART, "the RECV cancelled after part");
    KT_EXPECT_EQ(t, stream_wrong(data, 0, PART), 0, "wrong bytes");
}

static void recv_cancel_no_loss(struct kt *t)
{
    uint8_t data[LEN] = {0};
    uint8_t part[PART];
    int fds[2];
    kt_unix_pair(t, SOCK_STREAM, fds);
    stream_fill(part, 0, PART);
    kt_prep_recv(t, fds[1], data, LEN, MSG_WAITALL, UD_RECV);
    kt_submit(t, 1);
    kt_prep_cancel(t, UD_RECV, 0, UD_CANCEL);
    kt_write(t, fds[0], part, PART); /* and before anything looks at it: */
    kt_submit(t, 1);
    const int res = kt_wait_for(t, UD_RECV).res;
    uint32_t got = res > 0 ? (uint32_t)res : 0;
    KT_EXPECT(t, res == -ECANCELED || res == PART,
              "the RECV ends with -ECANCELED or what it took (it is %d)", res);
    KT_EXPECT_EQ(t, stream_wrong(data, 0, got), 0, "wrong bytes it took");
    const uint32_t left = (uint32_t)kt_read(t, fds[1], data, PART - got);
    KT_EXPECT_EQ(t, got + left, PART, "bytes in the result (%u) and in the socket (%u)", got, left);
    KT_EXPECT_EQ(t, stream_wrong(data, got, left), 0, "wrong bytes left in the socket");
    kt_note(t, "the cancelled RECV ended with %s", res > 0 ? "its byte count" : "-ECANCELED");
}

static void prep_selected(struct kt *t, int fd, uint32_t len, int msg_flags, uint64_t user_data)
{
    struct io_uring_sqe *sqe = kt_prep_recv(t, fd, NULL, len, msg_flags, user_data);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = BGID;
}

static void recv_waitall_buffers(struct kt *t)
{
    int fds[2];
    int other[2];
    uint8_t part[LEN];
    uint8_t data[LEN];
    struct kt_buffers buffers;
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_unix_pair(t, SOCK_STREAM, other);
    kt_buffers_open(t, &buffers, BGID, GROUP, GROUP, LEN, 0);
    stream_fill(part, 0, LEN);
    prep_selected(t, fds[1], LEN, MSG_WAITALL, UD_RECV);
    kt_submit(t, 1);
    kt_write(t, fds[0], part, PART);
    /* On kernels that end it here it is short, which is allowed; losing or sharing is not. */
    struct kt_cqe first = {0};
    bool done = kt_try_wait_for(t, UD_RECV, 5, &first);
    uint8_t neighbour[OTHER_PART];
    memset(neighbour, 'N', sizeof(neighbour));
    prep_selected(t, other[1], LEN, 0, UD_OTHER);
    kt_submit(t, 1);
    kt_write(t, other[0], neighbour, sizeof(neighbour));
    const struct kt_cqe second = kt_wait_for(t, UD_OTHER);
    KT_EXPECT_RES(t, second.res, OTHER_PART, "the neighbour's RECV");
    kt_write(t, fds[0], part + PART, LEN - PART);
    if (!done)
        first = kt_wait_for(t, UD_RECV);
    KT_EXPECT_GE(t, first.res, PART, "bytes of the RECV with MSG_WAITALL");
    KT_EXPECT_LE(t, first.res, LEN, "bytes of the RECV with MSG_WAITALL");
    KT_EXPECT_NE(t, kt_buffer_id(first), kt_buffer_id(second), "buffers of the two receives");
    memcpy(data, kt_buffer(&buffers, kt_buffer_id(first) % GROUP), (size_t)first.res);
    const uint32_t left = LEN - (uint32_t)first.res;
    const size_t later = kt_read(t, fds[1], data + first.res, left);
    KT_EXPECT_EQ(t, (uint32_t)first.res + later, LEN, "bytes of the stream found again");
    KT_EXPECT_EQ(t, stream_wrong(data, 0, LEN), 0, "wrong bytes of the stream");
    KT_EXPECT_EQ(t,
                 memcmp(kt_buffer(&buffers, kt_buffer_id(second) % GROUP), neighbour, OTHER_PART),
                 0, "difference of the neighbour's bytes");
    kt_metric(t, "first_bytes", first.res);
}

static void recvmsg_waitall(struct kt *t)
{
    uint8_t data[3][PART] = {{0}};
    uint8_t sent[3 * PART];
    int fds[2];
    kt_unix_pair(t, SOCK_STREAM, fds);
    stream_fill(sent, 0, sizeof(sent));
    struct iovec iov[3];
    for (int i = 0; i < 3; i++)
        iov[i] = (struct iovec){.iov_base = data[i], .iov_len = PART};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 3};
    struct io_uring_sqe *sqe = kt_sqe(t, IORING_OP_RECVMSG, fds[1], UD_RECV);
    sqe->addr = (uint64_t)(uintptr_t)&msg;
    sqe->len = 1;
    sqe->msg_flags = MSG_WAITALL;
    kt_submit(t, 1);
    memset(iov, 0xff, sizeof(iov)); /* FEAT_SUBMIT_STABLE */
    uint32_t at = 0;
    for (int piece = 0; piece < 4; piece++) {
        kt_write(t, fds[0], sent + at, sizeof(sent) / 4);
        at += sizeof(sent) / 4;
        if (piece < 3)
            kt_expect_silence(t, 2, "RECVMSG with MSG_WAITALL before all bytes are sent");
    }
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, 3 * PART, "RECVMSG of three parts");
    KT_EXPECT_EQ(t, stream_wrong(data[0], 0, sizeof(data)), 0, "wrong bytes in the three parts");
}

static const struct kt_assertion assertions[] = {
    {
        .id = "recv.waitall",
        .alias = "K030",
        .sentence =
            "RECV with MSG_WAITALL completes with all bytes, or with those that came before "
            "the end of the stream.",
        .source = "recv(2), MSG_WAITALL",
        .since = "5.19",
        .absence = "The opcode is in the probe since 5.6; before 5.19 it could end short.",
        .impact = "Bytes of a message are lost or repeated.",
        .avoid = "Receive without MSG_WAITALL and count bytes yourself.",
        .needs = KT_NEEDS(ACCEPT_MULTISHOT),
        .rings = KT_ON_BOTH,
        .run = recv_waitall,
    },
    {
        .id = "recv.waitall-cancel",
        .sentence = "A RECV with MSG_WAITALL that is cancelled after part of its bytes completes "
                    "with their count, not with -ECANCELED.",
        .source = "recv(2), MSG_WAITALL; partial results kept since 6.0.3",
        .since = "6.0",
        .broken = "before 6.0.3",
        .absence = "The opcode is in the probe since 5.6; another result is breakage.",
        .impact = "Bytes the kernel has taken from the socket are lost.",
        .avoid = "Receive without MSG_WAITALL.",
        .needs = KT_NEEDS(RECV_MULTISHOT),
        .rings = KT_ON_BOTH,
        .run = recv_waitall_cancel,
    },
    {
        .id = "recv.cancel-no-loss",
        .sentence = "When data and a cancel of the RECV come together, every byte is in the result "
                    "or still in the socket.",
        .source = "io_uring_prep_cancel(3)",
        .since = "6.0",
        .absence = "The opcode is in the probe since 5.6; a lost byte is breakage.",
        .impact = "A receive with a time limit loses data.",
        .avoid = "Never go on reading from a socket whose receive was cancelled.",
        .needs = KT_NEEDS(RECV_MULTISHOT),
        .rings = KT_ON_BOTH,
        .run = recv_cancel_no_loss,
    },
    {
        .id = "recv.waitall-buffers",
        .alias = "K031",
        .sentence =
            "A RECV with MSG_WAITALL and a provided buffer shares it with no other receive, "
            "and loses no byte.",
        .source = "io_uring_prep_recv(3); fixed in 6.12.48, 6.1.82",
        .since = "5.19",
        .broken = "before 6.12.48 (two sockets share memory), before 6.1.82 (wrong length)",
        .absence = "Buffer rings work in the simple case, so another outcome is breakage.",
        .impact = "One client receives another client's data.",
        .avoid = "Never combine MSG_WAITALL with provided buffers.",
        .needs = KT_NEEDS(PBUF_RING) | KT_NEEDS(RECV_MULTISHOT),
        .rings = KT_ON_BOTH,
        .run = recv_waitall_buffers,
    },
    {
        .id = "recvmsg.waitall",
        .sentence = "RECVMSG with MSG_WAITALL fills several parts across several arrivals, though "
                    "the iovec was overwritten after submit.",
        .source = "recvmsg(2), IORING_FEAT_SUBMIT_STABLE",
        .since = "5.19",
        .broken = "before 6.1.37 (iovec used again from its start)",
        .absence = "The opcode is in the probe since 5.3; another result is breakage.",
        .impact = "Data lands in the wrong place of a message.",
        .avoid = "Use RECV into one buffer.",
        .needs = KT_NEEDS(ACCEPT_MULTISHOT) | KT_NEEDS(SUBMIT_STABLE),
        .rings = KT_ON_BOTH,
        .run = recvmsg_waitall,
    },
};

const struct kt_area kt_area_recv_waitall = KT_AREA("recv of all bytes", assertions);
