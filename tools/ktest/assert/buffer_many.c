/* SPDX-License-Identifier: MIT */
/*
 * One request, many buffers or many messages: bundles, recvmsg multishot, receive caps.
 *
 * A bundle's completion names the first buffer and a byte count; the rest follows from the order in
 * which buffers were given.  So the order of bytes in a stream depends on kernel and program
 * counting alike, and a single miscount swaps data without any error.
 *
 * Owns:    nothing that outlives the process.
 * Threads: the assertion's.
 * Always:  every byte of a stream is compared with the pattern at its place.
 */
#include "fixture/kt.h"
#include "fixture/stream.h"

#include <sys/uio.h>

enum {
    UD_RECV = 1,
    UD_SEND = 2,
    BGID = 6,
    COUNT = 16,
    SIZE = 512,
    STREAM_BYTES = 100000,
    CHUNK_MAX = 5000
};

static uint32_t send_chunk(struct kt *t, int fd, uint32_t at, uint32_t *seed)
{
    static uint8_t chunk[CHUNK_MAX];
    *seed = *seed * 1664525u + 1013904223u;
    uint32_t len = 1 + (*seed >> 8) % CHUNK_MAX;
    if (len > STREAM_BYTES - at)
        len = STREAM_BYTES - at;
    stream_fill(chunk, at, len);
    kt_write(t, fd, chunk, len);
    return len;
}

static void arm_bundle(struct kt *t, int fd)
{
    kt_prep_recv_multishot(t, fd, BGID, UD_RECV)->ioprio |= OURO__RECVSEND_BUNDLE;
    kt_submit(t, 1);
}

static void recv_bundle(struct kt *t)
{
    int fds[2];
    struct kt_buffers buffers;
    uint32_t sent = 0;
    uint32_t got = 0;
    uint32_t seed = 7;
    uint32_t next = 0; /* buffers are given back in ring order, so ids count up for ever */
    uint32_t largest = 0;
    kt_tcp_pair(t, fds);
    kt_buffers_open(t, &buffers, BGID, COUNT, COUNT, SIZE, 0);
    arm_bundle(t, fds[1]);
    while (got < STREAM_BYTES) {
        if (sent == got)
            sent += send_chunk(t, fds[0], sent, &seed);
        const struct kt_cqe cqe = kt_wait_for(t, UD_RECV);
        KT_EXPECT_GE(t, cqe.res, 1, "bytes of the bundle at offset %u", got);
        KT_EXPECT_LE(t, cqe.res, COUNT * SIZE, "bytes of the bundle at offset %u", got);
        KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_BUFFER), 1, "F_BUFFER at offset %u", got);
        KT_EXPECT_EQ(t, kt_buffer_id(cqe), next % COUNT, "first buffer at offset %u", got);
        uint32_t wrong = 0;
        const uint32_t len = (uint32_t)cqe.res;
        for (uint32_t i = 0; i < len; i++)
            wrong += kt_buffer(&buffers, (uint16_t)((next + i / SIZE) % COUNT))[i % SIZE] !=
                     stream_byte(got + i);
        KT_EXPECT_EQ(t, wrong, 0, "wrong bytes of %u at offset %u", len, got);
        largest = (len + SIZE - 1) / SIZE > largest ? (len + SIZE - 1) / SIZE : largest;
        for (uint32_t i = 0; i < len; i += SIZE)
            kt_buffers_give(&buffers, (uint16_t)(next++ % COUNT));
        got += len;
        if (!KT_HAS(cqe, IORING_CQE_F_MORE))
            arm_bundle(t, fds[1]);
    }
    KT_EXPECT_EQ(t, got, sent, "bytes received");
    KT_EXPECT_GE(t, largest, 2, "buffers of the largest bundle");
    kt_metric(t, "largest_bundle", largest);
}

/* @count buffers of the stream from @at, given for sending, the first @bid. */
static void give_for_send(struct kt_buffers *buffers, uint32_t bid, uint32_t count, uint32_t at)
{
    for (uint32_t i = 0; i < count; i++) {
        const uint16_t id = (uint16_t)((bid + i) % COUNT);
        stream_fill(kt_buffer(buffers, id), at + i * SIZE, SIZE);
        kt_buffers_give(buffers, id);
    }
}

static void send_from_group(struct kt *t, int fd, uint16_t ioprio)
{
    struct io_uring_sqe *sqe = kt_prep_send(t, fd, NULL, 0, MSG_WAITALL, UD_SEND);
    sqe->flags = IOSQE_BUFFER_SELECT;
    sqe->ioprio = ioprio;
    sqe->buf_group = BGID;
    kt_submit(t, 1);
}

static uint32_t wrong_bytes(struct kt *t, int fd, uint32_t at, uint32_t len)
{
    static uint8_t data[COUNT * SIZE];
    KT_EXPECT_EQ(t, kt_read(t, fd, data, len), len, "bytes that arrive at offset %u", at);
    return stream_wrong(data, at, len);
}

static void send_bundle(struct kt *t)
{
    enum { ROUNDS = 20, EACH = 5 };
    int fds[2];
    struct kt_buffers buffers;
    uint32_t bid = 0;
    uint32_t at = 0;
    kt_tcp_pair(t, fds);
    kt_buffers_open(t, &buffers, BGID, COUNT, 0, SIZE, 0);
    for (int round = 0; round < ROUNDS; round++) {
        give_for_send(&buffers, bid, EACH, at);
        uint32_t sent = 0;
        bool armed = false;
        while (sent < EACH * SIZE) {
            if (!armed)
                send_from_group(t, fds[0], OURO__RECVSEND_BUNDLE);
            const struct kt_cqe cqe = kt_wait_for(t, UD_SEND);
            KT_EXPECT_GE(t, cqe.res, 1, "bytes of the bundle at offset %u", at + sent);
            KT_EXPECT_EQ(t, cqe.res % SIZE, 0, "bytes of the bundle beyond whole buffers");
            KT_EXPECT_EQ(t, kt_buffer_id(cqe), (bid + sent / SIZE) % COUNT,
                         "first buffer at offset %u", at + sent);
            sent += (uint32_t)cqe.res;
            armed = KT_HAS(cqe, IORING_CQE_F_MORE) == 1;
        }
        KT_EXPECT_EQ(t, sent, EACH * SIZE, "bytes sent in round %d", round);
        KT_EXPECT_EQ(t, wrong_bytes(t, fds[1], at, sent), 0, "wrong bytes in round %d", round);
        struct kt_cqe end;
        if (armed && kt_try_wait_for(t, UD_SEND, 1000, &end))
            KT_EXPECT_RES(t, end.res, -ENOBUFS, "the bundle's end with no buffer left");
        bid += EACH;
        at += EACH * SIZE;
    }
}

static void send_provided(struct kt *t)
{
    int fds[2];
    struct kt_buffers buffers;
    kt_tcp_pair(t, fds);
    kt_buffers_open(t, &buffers, BGID, COUNT, 0, SIZE, 0);
    give_for_send(&buffers, 3, 2, 0);
    for (uint32_t i = 0; i < 2; i++) {
        send_from_group(t, fds[0], 0);
        const struct kt_cqe cqe = kt_wait_for(t, UD_SEND);
        KT_EXPECT_RES(t, cqe.res, SIZE, "send %u of one selected buffer", i);
        KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_BUFFER), 1, "F_BUFFER of send %u", i);
        KT_EXPECT_EQ(t, kt_buffer_id(cqe), 3 + i, "buffer id of send %u", i);
        KT_EXPECT_EQ(t, wrong_bytes(t, fds[1], i * SIZE, SIZE), 0, "wrong bytes of send %u", i);
    }
    send_from_group(t, fds[0], 0);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_SEND).res, -ENOBUFS, "send with no buffer left");
}

static void recv_zero_datagram(struct kt *t)
{
    int fds[2];
    struct kt_buffers buffers;
    kt_udp_pair(t, fds);
    kt_buffers_open(t, &buffers, BGID, COUNT, COUNT, SIZE, 0);
    kt_prep_recv_multishot(t, fds[1], BGID, UD_RECV);
    kt_submit(t, 1);
    kt_write(t, fds[0], "one", 3);
    struct kt_cqe cqe = kt_wait_for(t, UD_RECV);
    KT_EXPECT_RES(t, cqe.res, 3, "a datagram of 3 bytes");
    KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_MORE), 1, "F_MORE on it");
    KT_SYS(t, send(fds[0], "", 0, 0));
    cqe = kt_wait_for(t, UD_RECV);
    KT_EXPECT_RES(t, cqe.res, 0, "an empty datagram");
    const bool armed = KT_HAS(cqe, IORING_CQE_F_MORE) == 1;
    kt_note(t, "an empty datagram %s a multishot receive", armed ? "does not end" : "ends");
    if (!armed) {
        kt_prep_recv_multishot(t, fds[1], BGID, UD_RECV);
        kt_submit(t, 1);
    }
    kt_write(t, fds[0], "three", 5);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, 5, "the datagram after it");
}

/* The header of completion @cqe, with all that must hold of any. */
static struct io_uring_recvmsg_out recvmsg_header(struct kt *t, const struct kt_buffers *buffers,
                                                  struct kt_cqe cqe, uint16_t port)
{
    struct io_uring_recvmsg_out out;
    struct sockaddr_in from;
    KT_EXPECT_GE(t, cqe.res, sizeof(out) + sizeof(from), "bytes of header and name");
    KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_BUFFER), 1, "F_BUFFER");
    KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_MORE), 1, "F_MORE");
    const uint8_t *data = kt_buffer(buffers, kt_buffer_id(cqe));
    memcpy(&out, data, sizeof(out));
    memcpy(&from, data + sizeof(out), sizeof(from));
    KT_EXPECT_EQ(t, out.namelen, sizeof(from), "length of the sender's name");
    KT_EXPECT_EQ(t, from.sin_port, port, "port of the sender");
    KT_EXPECT_EQ(t, out.controllen, 0, "length of control data");
    return out;
}

static void recvmsg_multishot(struct kt *t)
{
    enum { HEAD = sizeof(struct io_uring_recvmsg_out) + sizeof(struct sockaddr_in) };
    int fds[2];
    char data[1000];
    struct kt_buffers buffers;
    struct sockaddr_in own = {0};
    socklen_t own_len = sizeof(own);
    memset(data, 'm', sizeof(data));
    kt_udp_pair(t, fds);
    KT_SYS(t, getsockname(fds[0], (struct sockaddr *)&own, &own_len));
    kt_buffers_open(t, &buffers, BGID, COUNT, COUNT, SIZE, 0);
    struct msghdr msg = {.msg_namelen = sizeof(struct sockaddr_in)};
    struct io_uring_sqe *sqe = kt_sqe(t, IORING_OP_RECVMSG, fds[1], UD_RECV);
    sqe->addr = (uint64_t)(uintptr_t)&msg;
    sqe->len = 1;
    sqe->ioprio = IORING_RECV_MULTISHOT;
    sqe->flags = IOSQE_BUFFER_SELECT;
    sqe->buf_group = BGID;
    kt_submit(t, 1);
    memset(&msg, 0xff, sizeof(msg)); /* it is copied at submit */

    kt_write(t, fds[0], data, 100);
    struct kt_cqe cqe = kt_wait_for(t, UD_RECV);
    struct io_uring_recvmsg_out out = recvmsg_header(t, &buffers, cqe, own.sin_port);
    KT_EXPECT_EQ(t, cqe.res, HEAD + 100, "bytes used by a datagram of 100");
    KT_EXPECT_EQ(t, out.payloadlen, 100, "payloadlen of a datagram of 100");
    KT_EXPECT_EQ(t, out.flags & MSG_TRUNC, 0, "MSG_TRUNC of a datagram that fits");
    KT_EXPECT_EQ(t, memcmp(kt_buffer(&buffers, kt_buffer_id(cqe)) + HEAD, data, 100) != 0, 0,
                 "wrong payload");

    kt_write(t, fds[0], data, sizeof(data));
    cqe = kt_wait_for(t, UD_RECV);
    out = recvmsg_header(t, &buffers, cqe, own.sin_port);
    KT_EXPECT_EQ(t, cqe.res, SIZE, "bytes used by a datagram that does not fit");
    KT_EXPECT_GE(t, out.payloadlen, SIZE - HEAD, "its payloadlen");
    KT_EXPECT_EQ(t, out.flags & MSG_TRUNC, MSG_TRUNC, "its MSG_TRUNC");
}

static void recv_caps(struct kt *t)
{
    int fds[2];
    int got = 0;
    bool more = true;
    char data[400] = {0};
    struct kt_buffers buffers;
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_buffers_open(t, &buffers, BGID, COUNT, COUNT, SIZE, 0);
    kt_write(t, fds[0], data, sizeof(data));
    struct io_uring_sqe *sqe = kt_prep_recv_multishot(t, fds[1], BGID, UD_RECV);
    sqe->len = 100;
    ouro__sqe_set_optlen(sqe, 250);
    kt_submit(t, 1);
    for (int i = 1; i <= 4 && more; i++) {
        const struct kt_cqe cqe = kt_wait_for(t, UD_RECV);
        KT_EXPECT_GE(t, cqe.res, 1, "receive %d of at most 100", i);
        KT_EXPECT_LE(t, cqe.res, 100, "receive %d of at most 100", i);
        got += cqe.res;
        more = KT_HAS(cqe, IORING_CQE_F_MORE) == 1;
        KT_EXPECT_EQ(t, more, got < 250, "F_MORE after %d bytes of 250", got);
    }
    kt_note(t, "ended after %d bytes", got);
    kt_expect_silence(t, 5, "with the limit reached");
    KT_EXPECT_EQ(t, kt_read(t, fds[1], data, sizeof(data) - (size_t)got), 400 - got,
                 "bytes left in the socket");
}

static const struct kt_assertion assertions[] = {
    {
        .id = "recv.bundle",
        .alias = "K035",
        .sentence = "Bundled receives deliver a stream's bytes in order over consecutive buffers, "
                    "across the ring's wrap.",
        .source = "io_uring_prep_recv(3), IORING_RECVSEND_BUNDLE",
        .since = "6.10",
        .broken = "6.12 to 6.12.34",
        .absence = "FEAT_RECVSEND_BUNDLE is not set; once set, a wrong order is breakage.",
        .impact = "Data of a connection arrives in another order than it was sent.",
        .avoid = "Receive without IORING_RECVSEND_BUNDLE.",
        .guards = "liburing #1409, #1423",
        .needs = KT_NEEDS(BUNDLE) | KT_NEEDS(RECV_MULTISHOT),
        .rings = KT_ON_BOTH,
        .run = recv_bundle,
    },
    {
        .id = "send.bundle",
        .sentence = "Bundled sends send whole buffers in the order in which they were given, and "
                    "count every byte.",
        .source = "io_uring_prep_send_bundle(3)",
        .since = "6.10",
        .broken = "6.12 to 6.12.24",
        .absence = "FEAT_RECVSEND_BUNDLE is not set; once set, a wrong order is breakage.",
        .impact = "Data of a connection is sent twice, not at all, or in another order.",
        .avoid = "Send without IORING_RECVSEND_BUNDLE.",
        .needs = KT_NEEDS(BUNDLE),
        .rings = KT_ON_BOTH,
        .run = send_bundle,
    },
    {
        .id = "send.provided",
        .sentence = "A send with IOSQE_BUFFER_SELECT sends one buffer of the group, names it, and "
                    "gives -ENOBUFS when there is none.",
        .source = "io_uring_prep_send(3)",
        .since = "6.10",
        .absence = "FEAT_RECVSEND_BUNDLE is not set; once set it must work.",
        .impact = "Data is sent twice or not at all.",
        .avoid = "Send from own memory.",
        .needs = KT_NEEDS(BUNDLE),
        .rings = KT_ON_BOTH,
        .run = send_provided,
    },
    {
        .id = "recv.zero-datagram",
        .alias = "K036",
        .sentence = "An empty datagram completes a multishot receive with 0, which may end it; the "
                    "next datagram is received all the same.",
        .source = "io_uring_prep_recv_multishot(3)",
        .since = "6.0",
        .absence = "Before 6.0 multishot is refused; losing a datagram is breakage.",
        .impact = "Anybody can stop a UDP server with an empty datagram.",
        .avoid = "Arm a multishot receive again whenever F_MORE is not set, whatever the result.",
        .needs = KT_NEEDS(RECV_MULTISHOT),
        .rings = KT_ON_BOTH,
        .flags = KT_F_INFO,
        .run = recv_zero_datagram,
    },
    {
        .id = "recvmsg.multishot",
        .alias = "K037",
        .sentence =
            "Multishot RECVMSG reports each datagram's sender and length, and MSG_TRUNC when "
            "it did not fit.",
        .source = "io_uring_prep_recvmsg_multishot(3)",
        .since = "6.0",
        .broken = "6.0 to 6.0.2",
        .absence = "-EINVAL before 6.0; once F_MORE was seen, a wrong header is breakage.",
        .impact = "A UDP server answers the wrong peer, or trusts a datagram cut short.",
        .avoid = "Use single RECVMSGs.",
        .needs = KT_NEEDS(RECVMSG_MULTISHOT),
        .rings = KT_ON_BOTH,
        .run = recvmsg_multishot,
    },
    {
        .id = "recv.caps",
        .alias = "K038",
        .sentence = "A multishot receive takes at most its limit per completion, and ends with the "
                    "one that reaches the total.",
        .source = "io_uring_prep_recv_multishot(3), sqe->len and sqe->optlen",
        .since = "6.17",
        .absence = "-EINVAL before 6.17; once accepted the limits must hold.",
        .impact = "One busy connection starves the others.",
        .avoid = "Limit what is served per turn in the program.",
        .needs = KT_NEEDS(RECV_CAPS),
        .rings = KT_ON_BOTH,
        .run = recv_caps,
    },
};

const struct kt_area kt_area_buffer_many = KT_AREA("bundles and messages", assertions);
