/* SPDX-License-Identifier: MIT */
/*
 * SEND_ZC: a send in two completions, the result and the notification.
 *
 * Until the notification the buffer belongs to the kernel.  If a notification is missing, the
 * program keeps the buffer for ever.  If there is one too many, the program frees memory in use.
 * F_MORE on the result tells whether a notification follows; that must hold for failures too.
 *
 * Loopback always copies.  That is fine here: the completions are the same.
 *
 * Owns:    nothing that outlives the process.
 * Threads: the assertion's.
 * Always:  after every request no completion comes beyond those that F_MORE announced.
 */
#define _GNU_SOURCE
#include "fixture/kt.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>

enum { UD_ZC = 1, UD_CANCEL = 2, LEN = 1000, MANY = 64 };

static struct io_uring_sqe *prep_zc(struct kt *t, int fd, const void *data, uint32_t len,
                                    uint64_t user_data)
{
    struct io_uring_sqe *sqe = kt_prep_send(t, fd, data, len, 0, user_data);
    sqe->opcode = IORING_OP_SEND_ZC;
    return sqe;
}

/* The result of @user_data, and its notification exactly if the result promises one. */
static int32_t result_and_notification(struct kt *t, uint64_t user_data, const char *what)
{
    const struct kt_cqe result = kt_wait_for(t, user_data);
    KT_EXPECT_EQ(t, KT_HAS(result, IORING_CQE_F_NOTIF), 0, "%s: F_NOTIF on the result", what);
    if (KT_HAS(result, IORING_CQE_F_MORE)) {
        const struct kt_cqe notification = kt_wait_for(t, user_data);
        KT_EXPECT_EQ(t, KT_HAS(notification, IORING_CQE_F_NOTIF), 1, "%s: F_NOTIF on the second",
                     what);
        KT_EXPECT_EQ(t, KT_HAS(notification, IORING_CQE_F_MORE), 0, "%s: F_MORE on the second",
                     what);
    }
    kt_expect_silence(t, 3, what);
    return result.res;
}

static void fill(uint8_t *data, size_t len, uint32_t seed)
{
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(((uint32_t)i + seed) * 2654435761u >> 24);
}

static void expect_arrives(struct kt *t, int fd, const uint8_t *sent, size_t len)
{
    static uint8_t got[MANY * LEN];
    KT_EXPECT_EQ(t, kt_read(t, fd, got, len), len, "bytes that arrive");
    KT_EXPECT_EQ(t, memcmp(got, sent, len) != 0, 0, "wrong data");
}

static void zc_two(struct kt *t)
{
    int fds[2];
    uint8_t data[LEN];
    fill(data, LEN, 1);
    kt_tcp_pair(t, fds);
    prep_zc(t, fds[0], data, LEN, UD_ZC);
    kt_submit(t, 1);
    const struct kt_cqe result = kt_wait_for(t, UD_ZC);
    KT_EXPECT_RES(t, result.res, LEN, "the result");
    KT_EXPECT_EQ(t, KT_HAS(result, IORING_CQE_F_MORE), 1, "F_MORE on the result");
    KT_EXPECT_EQ(t, KT_HAS(result, IORING_CQE_F_NOTIF), 0, "F_NOTIF on the result");
    expect_arrives(t, fds[1], data, LEN);
    const struct kt_cqe notification = kt_wait_for(t, UD_ZC);
    KT_EXPECT_EQ(t, KT_HAS(notification, IORING_CQE_F_NOTIF), 1, "F_NOTIF on the second");
    KT_EXPECT_EQ(t, KT_HAS(notification, IORING_CQE_F_MORE), 0, "F_MORE on the second");
    KT_EXPECT_EQ(t, notification.res, 0, "the notification's result");
    kt_expect_silence(t, 5, "after the notification");
}

/* What came of the linked requests so far. */
struct many {
    int full;          /* results as they should be */
    int notifications; /* and those that came before their result, or twice */
    int early;
    int seen[MANY];
};

static void take_one(struct kt *t, struct many *many)
{
    const struct kt_cqe cqe = kt_wait(t);
    const uint64_t which = cqe.user_data - 100;
    KT_REQUIRE(t, which < MANY, "a completion of nobody's");
    if (KT_HAS(cqe, IORING_CQE_F_NOTIF)) {
        many->notifications++;
        many->early += many->seen[which] != 1;
    } else {
        many->full += cqe.res == LEN && KT_HAS(cqe, IORING_CQE_F_MORE);
    }
    many->seen[which]++;
}

static void zc_many(struct kt *t)
{
    static uint8_t data[MANY * LEN];
    int fds[2];
    struct many many = {0};
    fill(data, sizeof(data), 3);
    kt_tcp_pair(t, fds);
    for (uint64_t i = 0; i < MANY; i++)
        prep_zc(t, fds[0], data + i * LEN, LEN, 100 + i)->flags |= i + 1 < MANY ? IOSQE_IO_LINK : 0;
    kt_submit(t, MANY);
    int taken = 0;
    for (; taken < 2 * MANY && many.full < MANY; taken++)
        take_one(t, &many);
    KT_EXPECT_EQ(t, many.full, MANY, "full results with F_MORE");
    expect_arrives(t, fds[1], data, sizeof(data));
    for (; taken < 2 * MANY; taken++)
        take_one(t, &many);
    KT_EXPECT_EQ(t, many.notifications, MANY, "notifications");
    KT_EXPECT_EQ(t, many.early, 0, "notifications before their result, or twice");
    kt_expect_silence(t, 5, "after the last notification");
}

static void zc_errors(struct kt *t)
{
    int fds[2];
    uint8_t data[LEN] = {0};
    kt_unix_pair(t, SOCK_STREAM, fds);
    prep_zc(t, fds[0], data, LEN, UD_ZC);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, result_and_notification(t, UD_ZC, "AF_UNIX"), -EOPNOTSUPP, "AF_UNIX");

    const int closed = (int)KT_SYS(t, dup(fds[0]));
    KT_SYS(t, close(closed));
    prep_zc(t, closed, data, LEN, UD_ZC);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, result_and_notification(t, UD_ZC, "closed descriptor"), -EBADF,
                  "closed descriptor");

    kt_tcp_pair(t, fds);
    KT_SYS(t, shutdown(fds[0], SHUT_WR));
    prep_zc(t, fds[0], data, LEN, UD_ZC);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, result_and_notification(t, UD_ZC, "shut down"), -EPIPE, "shut down");

    kt_tcp_pair(t, fds);
    kt_reset(t, fds[1]);
    struct pollfd gone = {.fd = fds[0], .events = POLLIN};
    KT_REQUIRE(t, poll(&gone, 1, (int)kt_slack_ms(t, 2000)) == 1, "the reset does not arrive");
    prep_zc(t, fds[0], data, LEN, UD_ZC);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, result_and_notification(t, UD_ZC, "reset"), -ECONNRESET, "reset by the peer");
}

static void zc_cancel(struct kt *t)
{
    int fds[2];
    static uint8_t data[65536];
    kt_tcp_pair(t, fds);
    while (send(fds[0], data, sizeof(data), MSG_DONTWAIT) > 0)
        continue;
    prep_zc(t, fds[0], data, LEN, UD_ZC);
    kt_submit(t, 1);
    kt_expect_silence(t, 10, "SEND_ZC into a full socket");
    kt_prep_cancel(t, UD_ZC, 0, UD_CANCEL);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_CANCEL).res, 0, "the cancel");
    KT_EXPECT_RES(t, result_and_notification(t, UD_ZC, "cancelled"), -ECANCELED, "cancelled");
}

static void zc_usage(struct kt *t)
{
    int fds[2];
    uint8_t data[LEN] = {0};
    kt_tcp_pair(t, fds);
    prep_zc(t, fds[0], data, LEN, UD_ZC)->ioprio = OURO__SEND_ZC_REPORT_USAGE;
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_ZC).res, LEN, "the result");
    expect_arrives(t, fds[1], data, LEN);
    const struct kt_cqe cqe = kt_wait_for(t, UD_ZC);
    const bool copied = (uint32_t)cqe.res == OURO__NOTIF_USAGE_ZC_COPIED;
    KT_EXPECT_EQ(t, KT_HAS(cqe, IORING_CQE_F_NOTIF), 1, "F_NOTIF");
    KT_EXPECT(t, copied || cqe.res == 0, "the notification says copied or not (0x%x)",
              (uint32_t)cqe.res);
    kt_note(t, "loopback %s", copied ? "copies" : "does not copy");
}

/* What is not registered counts against RLIMIT_MEMLOCK, unless one may lock without limit. */
static void zc_memlock(struct kt *t)
{
    enum { BIG = 4 << 20, LIMIT = 1 << 20 };
    struct kt_ring ring;
    struct kt_cqe cqe = {0};
    int fds[2];
    const struct rlimit limit = {LIMIT, LIMIT};
    uint8_t *data =
        mmap(NULL, BIG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    KT_REQUIRE(t, data != MAP_FAILED, "mmap");
    KT_SYS(t, setrlimit(RLIMIT_MEMLOCK, &limit));
    if (geteuid() == 0)
        KT_SKIP_IF(t, setresuid(65534, 65534, 65534) != 0, "cannot become another user");
    kt_ring_open(t, &ring, 8, 0, kt_ring_flags(KT_RING_PLAIN));
    kt_tcp_pair(t, fds);
    struct io_uring_sqe *sqe = kt_sqe_on(t, &ring, IORING_OP_SEND_ZC, fds[0], UD_ZC);
    sqe->addr = (uint64_t)(uintptr_t)data;
    sqe->len = BIG;
    KT_REQUIRE(t, kt_try_submit_on(&ring) == 1, "submit");
    const bool came = kt_try_wait_on(&ring, KT_WAIT_MS, &cqe);
    KT_EXPECT_EQ(t, came, 1, "completions of 4 MiB under a limit of 1 MiB");
    KT_EXPECT_RES(t, cqe.res, -ENOMEM, "its result");
    const bool promised = KT_HAS(cqe, IORING_CQE_F_MORE);
    KT_EXPECT_EQ(t, kt_try_wait_on(&ring, promised ? KT_WAIT_MS : 5, &cqe), promised,
                 "notification as F_MORE promises");
    sqe = kt_sqe_on(t, &ring, IORING_OP_SEND_ZC, fds[0], UD_ZC);
    sqe->addr = (uint64_t)(uintptr_t)data;
    sqe->len = LEN;
    KT_REQUIRE(t, kt_try_submit_on(&ring) == 1, "submit");
    KT_EXPECT_EQ(t, kt_try_wait_on(&ring, KT_WAIT_MS, &cqe), 1, "completions of a small one");
    KT_EXPECT_RES(t, cqe.res, LEN, "the small one after it");
}

static void zc_skip(struct kt *t)
{
    int fds[2];
    uint8_t data[LEN] = {0};
    kt_tcp_pair(t, fds);
    prep_zc(t, fds[0], data, LEN, UD_ZC)->flags |= IOSQE_CQE_SKIP_SUCCESS;
    kt_submit(t, 1);
    KT_EXPECT_RES(t, result_and_notification(t, UD_ZC, "with CQE_SKIP"), -EINVAL,
                  "SEND_ZC with CQE_SKIP_SUCCESS");
    KT_EXPECT_RES(t, recv(fds[1], data, LEN, MSG_DONTWAIT) < 0 ? -errno : 0, -EAGAIN,
                  "receive at the other end: nothing was sent");
}

static void zc_sendmsg(struct kt *t)
{
    int fds[2];
    uint8_t data[LEN];
    fill(data, LEN, 5);
    kt_tcp_pair(t, fds);
    struct iovec parts[2] = {{data, 300}, {data + 300, LEN - 300}};
    struct msghdr msg = {.msg_iov = parts, .msg_iovlen = 2};
    struct io_uring_sqe *sqe = kt_sqe(t, IORING_OP_SENDMSG_ZC, fds[0], UD_ZC);
    sqe->addr = (uint64_t)(uintptr_t)&msg;
    sqe->len = 1;
    kt_submit(t, 1);
    memset(&msg, 0, sizeof(msg)); /* both are copied at submit */
    memset(parts, 0, sizeof(parts));
    expect_arrives(t, fds[1], data, LEN);
    KT_EXPECT_RES(t, result_and_notification(t, UD_ZC, "SENDMSG_ZC"), LEN, "SENDMSG_ZC");
}

static void zc_fixed(struct kt *t)
{
    int fds[2];
    uint8_t *data = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    KT_REQUIRE(t, data != MAP_FAILED, "mmap");
    fill(data, 4096, 9);
    kt_tcp_pair(t, fds);
    struct iovec buffer = {data, 4096};
    KT_EXPECT_RES(t, kt_register(&t->ring, IORING_REGISTER_BUFFERS, &buffer, 1), 0,
                  "registering a buffer");
    struct io_uring_sqe *sqe = prep_zc(t, fds[0], data + 100, LEN, UD_ZC);
    sqe->ioprio = IORING_RECVSEND_FIXED_BUF;
    kt_submit(t, 1);
    expect_arrives(t, fds[1], data + 100, LEN);
    KT_EXPECT_RES(t, result_and_notification(t, UD_ZC, "registered buffer"), LEN,
                  "from a registered buffer");
    sqe = prep_zc(t, fds[0], data + 4096 - 10, LEN, UD_ZC);
    sqe->ioprio = IORING_RECVSEND_FIXED_BUF;
    kt_submit(t, 1);
    KT_EXPECT_RES(t, result_and_notification(t, UD_ZC, "past its end"), -EFAULT,
                  "from past the end of a registered buffer");
}

#define ZC_ENTRY                                                                                   \
    .source = "io_uring_prep_send_zc(3)", .since = "6.0",                                          \
    .absence = "Not in the probe before 6.0; once listed the two completions must be right.",      \
    .avoid = "Do not use SEND_ZC: copying sends are faster below some kilobytes anyway.",          \
    .needs = KT_NEEDS(SEND_ZC), .rings = KT_ON_BOTH

static const struct kt_assertion assertions[] = {
    {
        .id = "zerocopy.two-completions",
        .alias = "K040",
        .sentence = "SEND_ZC completes with its result and F_MORE, then once with F_NOTIF, and the "
                    "data arrives as it was.",
        ZC_ENTRY,
        .broken = "6.0 to 6.0.2, 6.12 before 6.12.21 (notified twice)",
        .impact = "Buffers are reused while they are sent, or never again.",
        .run = zc_two,
    },
    {
        .id = "zerocopy.many",
        .sentence = "Each of 64 linked SEND_ZC has one result and, after it, one notification.",
        ZC_ENTRY,
        .broken = "6.12 before 6.12.63 (linked notifications)",
        .impact = "Buffers leak, or are reused while they are sent.",
        .run = zc_many,
    },
    {
        .id = "zerocopy.errors",
        .sentence = "A SEND_ZC that fails says why, and a notification follows exactly if its "
                    "result has F_MORE.",
        ZC_ENTRY,
        .impact = "Buffers of failed connections leak.",
        .guards = "liburing #1462",
        .run = zc_errors,
    },
    {
        .id = "zerocopy.cancel",
        .sentence = "A cancelled SEND_ZC completes with -ECANCELED, and a notification follows "
                    "exactly if that has F_MORE.",
        ZC_ENTRY,
        .impact = "Buffers of connections given up leak.",
        .run = zc_cancel,
    },
    {
        .id = "zerocopy.report-usage",
        .alias = "K041",
        .sentence = "With REPORT_USAGE the notification tells whether the data was copied.",
        .source = "io_uring_prep_send_zc(3), IORING_SEND_ZC_REPORT_USAGE",
        .since = "6.2",
        .absence = "-EINVAL before 6.2; once accepted the notification's result is 0 or copied.",
        .impact = "A program pays for zero copy and cannot see that it gets none.",
        .avoid = "Do not judge SEND_ZC by its report.",
        .needs = KT_NEEDS(ZC_REPORT_USAGE),
        .rings = KT_ON_BOTH,
        .flags = KT_F_INFO,
        .run = zc_usage,
    },
    {
        .id = "zerocopy.memlock",
        .sentence = "SEND_ZC of more than RLIMIT_MEMLOCK gives -ENOMEM at once, and a smaller one "
                    "still works.",
        .source = "io_uring_prep_send_zc(3), getrlimit(2)",
        .since = "6.0",
        .absence = "Not in the probe before 6.0; anything but -ENOMEM is breakage.",
        .impact = "Large sends of unprivileged servers hang, or pin memory without limit.",
        .avoid = "Register the buffers, or send by copy when SEND_ZC gives -ENOMEM.",
        .needs = KT_NEEDS(SEND_ZC),
        .rings = KT_ON_NONE,
        .run = zc_memlock,
    },
    {
        .id = "zerocopy.skip",
        .alias = "K042",
        .sentence = "SEND_ZC with CQE_SKIP_SUCCESS is refused with -EINVAL and sends nothing.",
        ZC_ENTRY,
        .impact = "Nobody learns when the buffer is free.",
        .run = zc_skip,
    },
    {
        .id = "zerocopy.sendmsg",
        .sentence = "SENDMSG_ZC sends all parts in order and notifies once.",
        .source = "io_uring_prep_sendmsg_zc(3)",
        .since = "6.1",
        .absence = "Not in the probe before 6.1; once listed it must be right.",
        .impact = "Buffers are reused while they are sent, or never again.",
        .avoid = "Do not use SENDMSG_ZC.",
        .needs = KT_NEEDS(SENDMSG_ZC),
        .rings = KT_ON_BOTH,
        .run = zc_sendmsg,
    },
    {
        .id = "zerocopy.registered",
        .sentence = "SEND_ZC sends from a registered buffer, and refuses with -EFAULT what is "
                    "outside of it.",
        ZC_ENTRY,
        .impact = "Memory that is no buffer is sent to a peer.",
        .run = zc_fixed,
    },
};

const struct kt_area kt_area_zerocopy = KT_AREA("zero copy", assertions);
