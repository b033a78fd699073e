/* SPDX-License-Identifier: MIT */
/*
 * IORING_OP_RECV: single shot and multishot, own and provided buffers.
 *
 * The stream's bytes must come out in order, each once, and each buffer must be the receiver's from
 * the completion that names it until it is given back.
 */
#include "fixture/kt.h"
#include "fixture/stream.h"

#include <stdlib.h>
#include <sys/ioctl.h>

enum {
    UD_RECV = 1,
    UD_CANCEL = 2,
    BGID = 3,
    BUFFERS = 8,
    BUFFER_SIZE = 512,
    STREAM_BYTES = 100000,
    CHUNK_MAX = 1800
};

static uint32_t send_chunk(struct kt *t, int fd, uint32_t at, uint32_t *seed)
{
    uint8_t chunk[CHUNK_MAX];
    *seed = *seed * 1664525u + 1013904223u;
    uint32_t len = 1 + (*seed >> 8) % CHUNK_MAX;
    if (len > STREAM_BYTES - at)
        len = STREAM_BYTES - at;
    stream_fill(chunk, at, len);
    kt_write(t, fd, chunk, len);
    return len;
}

static void recv_multishot(struct kt *t)
{
    int fds[2];
    struct kt_buffers buffers;
    kt_tcp_pair(t, fds);
    kt_buffers_open(t, &buffers, BGID, BUFFERS, BUFFERS, BUFFER_SIZE, 0);
    kt_prep_recv_multishot(t, fds[1], BGID, UD_RECV);
    kt_submit(t, 1);
    uint32_t sent = 0;
    uint32_t got = 0;
    uint32_t wrong = 0;
    uint32_t seed = 42;
    while (got < STREAM_BYTES) {
        if (sent == got)
            sent += send_chunk(t, fds[0], sent, &seed);
        const struct kt_cqe cqe = kt_wait_for(t, UD_RECV);
        KT_EXPECT_GE(t, cqe.res, 1, "bytes received at offset %u", got);
        KT_EXPECT_LE(t, cqe.res, BUFFER_SIZE, "bytes in a buffer of %d", BUFFER_SIZE);
        KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_MORE), 1, "F_MORE at offset %u", got);
        KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_BUFFER), 1, "F_BUFFER at offset %u", got);
        KT_EXPECT_LE(t, kt_buffer_id(cqe), BUFFERS - 1, "buffer id at offset %u", got);
        const uint8_t *data = kt_buffer(&buffers, kt_buffer_id(cqe));
        wrong += stream_wrong(data, got, (size_t)cqe.res);
        KT_EXPECT_EQ(t, wrong, 0, "wrong bytes up to offset %u", got + (uint32_t)cqe.res);
        got += (uint32_t)cqe.res;
        kt_buffers_give(&buffers, kt_buffer_id(cqe));
    }
    KT_EXPECT_EQ(t, got, sent, "bytes received");
    kt_expect_silence(t, 5, "with all bytes received");
    KT_SYS(t, shutdown(fds[0], SHUT_WR));
    const struct kt_cqe end = kt_wait_for(t, UD_RECV);
    KT_EXPECT_RES(t, end.res, 0, "end of stream");
    KT_EXPECT_EQ(t, KT_HAS(end, IORING_CQE_F_MORE), 0, "F_MORE at the end of stream");
}

static struct kt_cqe receive(struct kt *t, int fd, void *data, uint32_t len, int msg_flags)
{
    kt_prep_recv(t, fd, data, len, msg_flags, UD_RECV);
    kt_submit(t, 1);
    return kt_wait_for(t, UD_RECV);
}

static void recv_nonblocking(struct kt *t)
{
    int fds[2];
    char byte = 0;
    kt_unix_pair(t, SOCK_STREAM | SOCK_NONBLOCK, fds);
    KT_EXPECT_RES(t, receive(t, fds[1], &byte, 1, MSG_DONTWAIT).res, -EAGAIN,
                  "RECV with MSG_DONTWAIT and nothing sent");
    kt_prep_recv(t, fds[1], &byte, 1, 0, UD_RECV);
    kt_submit(t, 1);
    kt_expect_silence(t, 20, "RECV on an O_NONBLOCK socket with nothing sent");
    kt_write(t, fds[0], "n", 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, 1, "RECV on an O_NONBLOCK socket");
    KT_EXPECT_EQ(t, byte, 'n', "the byte received");
    kt_write(t, fds[0], "d", 1);
    KT_EXPECT_RES(t, receive(t, fds[1], &byte, 1, MSG_DONTWAIT).res, 1,
                  "RECV with MSG_DONTWAIT and a byte sent");
}

/* What waits for the next request of a connection without a buffer of its own. */
static void recv_peek(struct kt *t)
{
    for (int kind = 0; kind < 2; kind++) {
        const char *what = kind == 0 ? "TCP" : "AF_UNIX";
        char bytes[2] = {0};
        int fds[2];
        if (kind == 0)
            kt_tcp_pair(t, fds);
        else
            kt_unix_pair(t, SOCK_STREAM, fds);
        kt_prep_recv(t, fds[1], bytes, 1, MSG_PEEK, UD_RECV);
        kt_submit(t, 1);
        kt_expect_silence(t, 5, "RECV with MSG_PEEK and nothing sent");
        kt_write(t, fds[0], "pq", 2);
        KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, 1, "RECV with MSG_PEEK, %s", what);
        KT_EXPECT_RES(t, receive(t, fds[1], bytes, 1, MSG_PEEK).res, 1, "a second one, %s", what);
        KT_EXPECT_RES(t, receive(t, fds[1], bytes, 2, 0).res, 2, "RECV afterwards, %s", what);
        KT_EXPECT_EQ(t, bytes[0] == 'p' && bytes[1] == 'q', 1, "both bytes were left, %s", what);
        KT_SYS(t, shutdown(fds[0], SHUT_WR));
        KT_EXPECT_RES(t, receive(t, fds[1], bytes, 1, MSG_PEEK).res, 0, "at the end, %s", what);
    }
}

static void recv_ends(struct kt *t)
{
    static const char *const what[] = {"the peer's reset", "shutdown(2) of the own side",
                                       "a cancel", "the peer's end"};
    static const int results[] = {-ECONNRESET, 0, -ECANCELED, 0};
    char byte;
    for (int i = 0; i < 4; i++) {
        int fds[2];
        kt_tcp_pair(t, fds);
        kt_prep_recv(t, fds[1], &byte, 1, 0, UD_RECV);
        kt_submit(t, 1);
        kt_expect_silence(t, 5, "RECV with nothing sent");
        if (i == 0)
            kt_reset(t, fds[0]);
        else if (i == 1)
            KT_SYS(t, shutdown(fds[1], SHUT_RD));
        else if (i == 3)
            KT_SYS(t, shutdown(fds[0], SHUT_WR));
        if (i == 2) {
            kt_prep_cancel(t, UD_RECV, 0, UD_CANCEL);
            kt_submit(t, 1);
            KT_EXPECT_RES(t, kt_wait_for(t, UD_CANCEL).res, 0, "ASYNC_CANCEL of the RECV");
        }
        KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, results[i], "RECV after %s", what[i]);
        if (i == 3)
            KT_EXPECT_RES(t, receive(t, fds[1], &byte, 1, 0).res, 0, "RECV again after the end");
    }
}

static void recv_poll_first(struct kt *t)
{
    int fds[2];
    char byte = 0;
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_write(t, fds[0], "p", 1);
    kt_prep_recv(t, fds[1], &byte, 1, 0, UD_RECV)->ioprio = IORING_RECVSEND_POLL_FIRST;
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, 1, "POLL_FIRST with a byte waiting");
    kt_prep_recv(t, fds[1], &byte, 1, 0, UD_RECV)->ioprio = IORING_RECVSEND_POLL_FIRST;
    kt_submit(t, 1);
    kt_expect_silence(t, 5, "POLL_FIRST with nothing sent");
    kt_write(t, fds[0], "q", 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, 1, "POLL_FIRST armed before the byte");
    KT_EXPECT_EQ(t, byte, 'q', "the byte received");
}

static void recv_nonempty(struct kt *t)
{
    int fds[2];
    char data[100] = {0};
    kt_tcp_pair(t, fds);
    kt_write(t, fds[0], data, sizeof(data));
    int queued = 0;
    const int64_t start_ns = kt_now_ns();
    do {
        KT_SYS(t, ioctl(fds[1], FIONREAD, &queued));
    } while (queued < (int)sizeof(data) && kt_ms_since(start_ns) < kt_slack_ms(t, 2000));
    struct kt_cqe cqe = receive(t, fds[1], data, 40, 0);
    KT_EXPECT_RES(t, cqe.res, 40, "bytes of the first RECV");
    KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_SOCK_NONEMPTY), 1, "F_SOCK_NONEMPTY with 60 left");
    cqe = receive(t, fds[1], data, 60, 0);
    KT_EXPECT_RES(t, cqe.res, 60, "bytes of the second RECV");
    KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_SOCK_NONEMPTY), 0, "F_SOCK_NONEMPTY with none left");
}

/* Single shot with a provided buffer. */
static struct kt_cqe receive_selected(struct kt *t, int fd, uint32_t len)
{
    struct io_uring_sqe *sqe = kt_prep_recv(t, fd, NULL, len, 0, UD_RECV);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = BGID;
    kt_submit(t, 1);
    return kt_wait_for(t, UD_RECV);
}

static void recv_selected(struct kt *t)
{
    int fds[2];
    char left[4];
    struct kt_buffers buffers;
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_buffers_open(t, &buffers, BGID, 2, 1, BUFFER_SIZE, 0);
    kt_write(t, fds[0], "abcdefgh", 8);
    struct kt_cqe cqe = receive_selected(t, fds[1], 4);
    KT_EXPECT_RES(t, cqe.res, 4, "RECV of 4 bytes with a provided buffer");
    KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_BUFFER), 1, "F_BUFFER of it");
    KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_MORE), 0, "F_MORE of it");
    KT_EXPECT_EQ(t, kt_buffer_id(cqe), 0, "its buffer id");
    KT_EXPECT_EQ(t, memcmp(kt_buffer(&buffers, 0), "abcd", 4), 0, "difference of the bytes");
    cqe = receive_selected(t, fds[1], 4);
    KT_EXPECT_RES(t, cqe.res, -ENOBUFS, "RECV with no buffer left");
    KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_BUFFER), 0, "F_BUFFER of it");
    KT_EXPECT_EQ(t, kt_read(t, fds[1], left, 4), 4, "bytes still in the socket");
    KT_EXPECT_EQ(t, memcmp(left, "efgh", 4), 0, "difference of those bytes");
    kt_buffers_give(&buffers, 0);
    kt_write(t, fds[0], "ijkl", 4);
    cqe = receive_selected(t, fds[1], 0);
    KT_EXPECT_RES(t, cqe.res, 4, "RECV of any length after the buffer was given back");
}

/* Each send and each receive of another size, so that receives take parts of what was sent. */
static void recv_unread(struct kt *t)
{
    enum { ROUNDS = 24, SEND = 67, SENDS = 3, TAKE = 41 };
    int fds[2];
    char data[SEND] = {0};
    int there = 0;
    int told = 0;
    int worst = 0;
    kt_unix_pair(t, SOCK_STREAM, fds);
    for (int round = 0; round < ROUNDS; round++) {
        if (round % 8 < SENDS) {
            kt_write(t, fds[0], data, SEND);
            there += SEND;
        }
        const int take = there < TAKE ? there : TAKE;
        if (take > 0) {
            kt_prep_recv(t, fds[1], data, (uint32_t)take, 0, UD_RECV);
            kt_submit(t, 1);
            KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, take, "RECV of %d bytes", take);
            there -= take;
        }
        KT_SYS(t, ioctl(fds[1], FIONREAD, &told));
        worst = abs(told - there) > worst ? abs(told - there) : worst;
    }
    kt_metric(t, "bytes_off", worst);
    KT_EXPECT_EQ(t, worst, 0, "bytes by which FIONREAD is off after partial receives");
    KT_EXPECT_EQ(t, there, 0, "bytes left at the end");
}

static const struct kt_assertion assertions[] = {
    {
        .id = "recv.multishot",
        .alias = "K020",
        .sentence = "One multishot RECV delivers a stream's bytes in order, each once, in buffers "
                    "that are given back, and ends with 0 and no F_MORE.",
        .source = "io_uring_prep_recv_multishot(3)",
        .since = "6.0",
        .broken = "6.1.7, 6.1.139 to 6.1.146",
        .absence = "Before 6.0 -EINVAL, before 5.19 the flag is ignored: F_MORE must be seen.",
        .impact = "Corrupted or lost data on a connection.",
        .avoid = "Use single-shot receives into own buffers.",
        .guards = "liburing #778",
        .needs = KT_NEEDS(RECV_MULTISHOT),
        .rings = KT_ON_BOTH,
        .run = recv_multishot,
    },
    {
        .id = "recv.nonblocking",
        .alias = "K029",
        .sentence = "RECV waits on an O_NONBLOCK socket too, and MSG_DONTWAIT makes it give "
                    "-EAGAIN.",
        .source = "io_uring_prep_recv(3), recv(2)",
        .since = "5.7",
        .absence = "The opcode is in the probe since 5.6; another result is breakage.",
        .impact = "A server spins on -EAGAIN, or hangs where it meant to look.",
        .avoid = "Use sockets without O_NONBLOCK, and poll before a receive that must not wait.",
        .rings = KT_ON_BOTH,
        .run = recv_nonblocking,
    },
    {
        .id = "recv.ends",
        .alias = "K024",
        .sentence =
            "RECV completes with -ECONNRESET at a reset, 0 at shutdown(2) and at the end of "
            "the stream, again and again, and -ECANCELED when cancelled.",
        .source = "recv(2), io_uring_prep_cancel(3)",
        .since = "5.7",
        .absence = "The opcode is in the probe since 5.6; another result is breakage.",
        .impact = "Connections that have ended are kept for ever, or failures pass for an end.",
        .avoid = "Keep an idle timeout on every connection.",
        .rings = KT_ON_BOTH,
        .run = recv_ends,
    },
    {
        .id = "recv.peek",
        .sentence = "RECV with MSG_PEEK waits for a byte of a stream and leaves it there, again "
                    "and again, and gives 0 at the end.",
        .source = "io_uring_prep_recv(3), recv(2)",
        .since = "5.7",
        .absence = "The opcode is in the probe since 5.6; another result is breakage.",
        .impact = "A server that waits for a request without a buffer loses its first byte, or "
                  "does not see it.",
        .avoid = "Wait by POLL_ADD.",
        .rings = KT_ON_BOTH,
        .run = recv_peek,
    },
    {
        .id = "recv.poll-first",
        .sentence = "RECV with POLL_FIRST completes for data that waits already and for data that "
                    "comes later.",
        .source = "io_uring_prep_recv(3), IORING_RECVSEND_POLL_FIRST",
        .since = "5.19",
        .absence = "It came with multishot ACCEPT; RECV ignored or refused the flag before.",
        .impact = "Data that was there before the RECV is never delivered.",
        .avoid = "Receive without POLL_FIRST.",
        .needs = KT_NEEDS(ACCEPT_MULTISHOT),
        .rings = KT_ON_BOTH,
        .run = recv_poll_first,
    },
    {
        .id = "recv.nonempty",
        .sentence = "F_SOCK_NONEMPTY on a RECV from TCP says whether more data waits.",
        .source = "io_uring_prep_recv(3), IORING_CQE_F_SOCK_NONEMPTY",
        .since = "5.19",
        .absence = "It came with multishot ACCEPT.",
        .impact = "A server that goes by the flag leaves data waiting.",
        .avoid = "Receive until a RECV has to wait.",
        .needs = KT_NEEDS(ACCEPT_MULTISHOT),
        .rings = KT_ON_BOTH,
        .run = recv_nonempty,
    },
    {
        .id = "recv.unread-unix",
        .sentence = "After receives that took a part of what was sent, FIONREAD of an AF_UNIX "
                    "stream says how much is left.",
        .source = "unix(7), SIOCINQ",
        .since = "5.6",
        .broken = "6.17 to 6.18.15, 6.19 (counts what was taken already); right on 6.18.44 and 7.0",
        .absence = "The opcode is in the probe since 5.6; another result is breakage.",
        .impact =
            "F_SOCK_NONEMPTY and multishot receives go by the same number: see recv.eof-race.",
        .avoid = "On AF_UNIX receive until a RECV has to wait; ask neither FIONREAD nor the flag.",
        .guards = "the cached queue length of AF_UNIX streams, 6.17",
        .rings = KT_ON_BOTH,
        .run = recv_unread,
    },
    {
        .id = "recv.selected",
        .sentence =
            "A single RECV with buffer selection takes one buffer and names it, honours its "
            "length, and without buffers gives -ENOBUFS and consumes nothing.",
        .source = "io_uring_enter(2), IOSQE_BUFFER_SELECT; buffer rings, 5.19",
        .since = "5.19",
        .absence = "Registering a buffer ring works or it does not.",
        .impact = "Data is lost or overwritten when buffers are short.",
        .avoid = "Receive into own buffers.",
        .needs = KT_NEEDS(PBUF_RING),
        .rings = KT_ON_BOTH,
        .run = recv_selected,
    },
};

const struct kt_area kt_area_recv = KT_AREA("recv", assertions);
