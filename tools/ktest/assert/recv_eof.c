/* SPDX-License-Identifier: MIT */
/*
 * The end of a stream that comes right behind its last data.
 *
 * Data and end wake the same multishot RECV twice within a microsecond.  The second wake-up meets a
 * request that is being served on another processor, and a kernel that drops it there never says
 * that the stream has ended.  On a DEFER_TASKRUN ring both wake-ups can even wait for the same
 * enter.  Where the socket says "nothing left after this" (TCP, and AF_UNIX since 6.17) the receive
 * believes it and does not look again, so the lost wake-up is final.
 */
#include "fixture/kt.h"

enum { UD_RECV = 1, BGID = 3, PAIRS = 64, BUFFERS = 128, UNIX_BATCHES = 40, TCP_BATCHES = 8 };

struct batch {
    int fds[PAIRS][2];
    int received[PAIRS];
    int ended[PAIRS];
};

static void *send_and_end(void *arg)
{
    const struct batch *batch = arg;
    for (int i = 0; i < PAIRS; i++) {
        if (send(batch->fds[i][0], "x", 1, MSG_NOSIGNAL) != 1 ||
            shutdown(batch->fds[i][0], SHUT_WR) != 0)
            return NULL;
    }
    return arg;
}

/* One completion into @batch; the number of streams that ended with it. */
static int account(struct kt *t, struct batch *batch, struct kt_buffers *buffers, struct kt_cqe cqe)
{
    const uint64_t at = cqe.user_data - 1;
    KT_REQUIRE(t, at < PAIRS, "a completion of nobody's");
    if (KT_HAS(cqe, IORING_CQE_F_BUFFER))
        kt_buffers_give(buffers, kt_buffer_id(cqe));
    if (cqe.res > 0)
        batch->received[at] += cqe.res;
    if (KT_HAS(cqe, IORING_CQE_F_MORE))
        return 0;
    if (cqe.res == 0) {
        batch->ended[at]++;
        return 1;
    }
    KT_REQUIRE(t, cqe.res > 0 || cqe.res == -ENOBUFS, "RECV ended with %d", cqe.res);
    kt_prep_recv_multishot(t, batch->fds[at][1], BGID, cqe.user_data);
    kt_submit(t, 1);
    return 0;
}

static void run_batch(struct kt *t, struct kt_buffers *buffers, bool tcp, int *missed, int *odd)
{
    static struct batch batch;
    memset(&batch, 0, sizeof(batch));
    for (int i = 0; i < PAIRS; i++) {
        if (tcp)
            kt_tcp_pair(t, batch.fds[i]);
        else
            kt_unix_pair(t, SOCK_STREAM, batch.fds[i]);
        kt_prep_recv_multishot(t, batch.fds[i][1], BGID, (uint64_t)i + 1);
    }
    kt_submit(t, PAIRS);
    struct kt_thread thread;
    kt_thread_start(t, &thread, send_and_end, &batch);
    int ends = 0;
    struct kt_cqe cqe;
    while (ends < PAIRS && kt_try_wait(t, (int)kt_slack_ms(t, 1500), &cqe))
        ends += account(t, &batch, buffers, cqe);
    KT_REQUIRE(t, kt_thread_join(t, &thread) != NULL, "sending failed");
    for (int i = 0; i < PAIRS; i++) {
        *missed += batch.ended[i] == 0;
        *odd += batch.received[i] != 1 || batch.ended[i] > 1;
        if (tcp)
            kt_reset(t, batch.fds[i][0]); /* no TIME_WAIT left behind */
        else
            KT_SYS(t, close(batch.fds[i][0]));
        KT_SYS(t, close(batch.fds[i][1]));
    }
}

static void recv_eof_race(struct kt *t)
{
    struct kt_buffers buffers;
    kt_buffers_open(t, &buffers, BGID, BUFFERS, BUFFERS, 16, 0);
    int missed[2] = {0};
    int odd = 0;
    for (int tcp = 1; tcp >= 0; tcp--) {
        for (int i = 0; i < (tcp ? TCP_BATCHES : UNIX_BATCHES) && missed[tcp] == 0; i++) {
            kt_step(t, "waiting for the ends of batch %d of %s", i, tcp ? "TCP" : "AF_UNIX");
            run_batch(t, &buffers, tcp != 0, &missed[tcp], &odd);
        }
    }
    KT_EXPECT_EQ(t, missed[1], 0, "TCP streams of %d whose end was never reported",
                 TCP_BATCHES * PAIRS);
    KT_EXPECT_EQ(t, missed[0], 0, "AF_UNIX streams of %d whose end was never reported",
                 UNIX_BATCHES * PAIRS);
    KT_EXPECT_EQ(t, odd, 0, "streams with other than one byte and one end");
}

static void recv_eof_with_data(struct kt *t)
{
    static const char *const kinds[] = {"TCP", "AF_UNIX"};
    struct kt_buffers buffers;
    kt_buffers_open(t, &buffers, BGID, BUFFERS, BUFFERS, 16, 0);
    for (int kind = 0; kind < 2; kind++) {
        int fds[2];
        if (kind == 0)
            kt_tcp_pair(t, fds);
        else
            kt_unix_pair(t, SOCK_STREAM, fds);
        kt_prep_recv_multishot(t, fds[1], BGID, UD_RECV);
        kt_submit(t, 1);
        kt_expect_silence(t, 5, "a multishot RECV with nothing sent");
        kt_write(t, fds[0], "x", 1);
        KT_SYS(t, shutdown(fds[0], SHUT_WR));
        const struct kt_cqe data = kt_wait_for(t, UD_RECV);
        KT_EXPECT_RES(t, data.res, 1, "the data, on %s", kinds[kind]);
        kt_step(t, "waiting for the end of the stream");
        struct kt_cqe end = {0};
        const bool came = kt_try_wait_for(t, UD_RECV, (int)kt_slack_ms(t, 1000), &end);
        KT_EXPECT_EQ(t, came, 1, "ends reported after the data, on %s", kinds[kind]);
        KT_EXPECT_RES(t, end.res, 0, "the end, on %s", kinds[kind]);
        KT_EXPECT_EQ(t, KT_HAS(end, IORING_CQE_F_MORE), 0, "F_MORE at the end, on %s", kinds[kind]);
    }
}

static const struct kt_assertion assertions[] = {
    {
        .id = "recv.eof-with-data",
        .sentence = "When data and the end of the stream both came before the program entered the "
                    "kernel, multishot RECV reports the one and then the other.",
        .source = "io_uring_prep_recv_multishot(3); fixed in 6.12.86, 6.1.176",
        .since = "6.0",
        .broken = "6.17 to 6.18.15 or later (AF_UNIX, DEFER_TASKRUN rings)",
        .absence = "Multishot RECV works in the simple case, so a missing end is breakage.",
        .impact = "A server never notices that a client has gone, and keeps its connection.",
        .avoid = "Use single-shot receives on AF_UNIX, or an idle timeout on every connection.",
        .guards = "liburing #1549",
        .needs = KT_NEEDS(RECV_MULTISHOT) | KT_NEEDS(PBUF_RING),
        .rings = KT_ON_BOTH,
        .run = recv_eof_with_data,
    },
    {
        .id = "recv.eof-race",
        .alias = "K023",
        .sentence = "When data and the end of the stream come together, multishot RECV reports "
                    "both, on AF_UNIX and TCP, 3072 times of 3072.",
        .source = "io_uring_prep_recv_multishot(3); fixed in 6.12.86, 6.1.176",
        .since = "6.0",
        .broken = "6.17 to 6.18.15 or later (AF_UNIX: seen every time); before 6.1.176, 6.12.86 (a "
                  "rare race)",
        .absence = "Multishot RECV works in the simple case, so a missing end is breakage.",
        .impact = "A server never notices that a client has gone, and keeps its connection.",
        .avoid = "Use single-shot receives on AF_UNIX, or an idle timeout on every connection.",
        .guards = "liburing #1549",
        .needs = KT_NEEDS(RECV_MULTISHOT) | KT_NEEDS(PBUF_RING),
        .rings = KT_ON_BOTH,
        .timeout_ms = 20000,
        .run = recv_eof_race,
    },
};

const struct kt_area kt_area_recv_eof = KT_AREA("end of stream", assertions);
