/* SPDX-License-Identifier: MIT */
/*
 * IORING_OP_MSG_RING: how one ring's thread wakes another, and hands it connections.
 *
 * A runtime with a ring per thread has no other cheap way to tell a thread that it has work.  After
 * a lost message a thread sleeps although its queue is not empty.
 */
#define _GNU_SOURCE
#include "fixture/kt.h"

enum { UD_MSG = 1, UD_RECV = 2, UD_NOP = 3, UD_AT_TARGET = 4711, VALUE = 17, ROUNDS = 200 };

static struct io_uring_sqe *prep_message(struct kt *t, int ring_fd, uint64_t user_data,
                                         uint32_t len)
{
    struct io_uring_sqe *sqe = kt_sqe(t, IORING_OP_MSG_RING, ring_fd, UD_MSG);
    sqe->off = user_data;
    sqe->len = len;
    return sqe;
}

/* A thread that waits on a ring of its own, round after round. */
struct sleeper {
    struct kt *t;
    int ring_fd;
    int ready[2]; /* pipe: "about to wait" */
    int woken;
    int wrong;
    int64_t worst_us;
    int64_t sent_ns;
};

static void *sleep_in_rounds(void *arg)
{
    struct sleeper *sleeper = arg;
    struct kt_ring ring;
    if (kt_ring_try(sleeper->t, &ring, 8, 0, kt_ring_flags(sleeper->t->kind)) < 0)
        return NULL;
    sleeper->ring_fd = ring.ring.ring_fd;
    for (int i = 0; i < ROUNDS; i++) {
        struct kt_cqe cqe;
        if (write(sleeper->ready[1], "r", 1) != 1)
            return NULL;
        if (!kt_try_wait_on(&ring, KT_WAIT_MS * sleeper->t->slack, &cqe))
            break;
        const int64_t took_us =
            (kt_now_ns() - __atomic_load_n(&sleeper->sent_ns, __ATOMIC_ACQUIRE)) / 1000;
        sleeper->worst_us = took_us > sleeper->worst_us ? took_us : sleeper->worst_us;
        sleeper->woken++;
        sleeper->wrong += cqe.user_data != UD_AT_TARGET + (uint64_t)i || cqe.res != VALUE;
    }
    return arg;
}

static void wakes(struct kt *t)
{
    struct sleeper sleeper = {.t = t};
    struct kt_thread thread;
    int refused = 0;
    KT_SYS(t, pipe2(sleeper.ready, 0));
    kt_thread_start(t, &thread, sleep_in_rounds, &sleeper);
    for (int i = 0; i < ROUNDS; i++) {
        char byte = 0;
        struct pollfd ready = {.fd = sleeper.ready[0], .events = POLLIN};
        kt_step(t, "waiting for the other thread, round %d", i);
        if (poll(&ready, 1, (KT_WAIT_MS + 500) * t->slack) != 1)
            break;
        KT_SYS(t, read(sleeper.ready[0], &byte, 1));
        __atomic_store_n(&sleeper.sent_ns, kt_now_ns(), __ATOMIC_RELEASE);
        prep_message(t, sleeper.ring_fd, UD_AT_TARGET + (uint64_t)i, VALUE);
        kt_submit(t, 1);
        refused += kt_wait_for(t, UD_MSG).res != 0;
    }
    KT_REQUIRE(t, kt_thread_join(t, &thread) != NULL, "the other thread has no ring");
    kt_metric(t, "worst_wake_us", (double)sleeper.worst_us);
    KT_EXPECT_EQ(t, refused, 0, "messages not accepted");
    KT_EXPECT_EQ(t, sleeper.woken, ROUNDS, "times the other thread was woken by %d messages",
                 ROUNDS);
    KT_EXPECT_EQ(t, sleeper.wrong, 0, "messages that arrived changed");
}

static void bad_target(struct kt *t)
{
    struct kt_ring disabled;
    int fds[2];
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_ring_open(t, &disabled, 4, 0, kt_ring_flags(t->kind) | IORING_SETUP_R_DISABLED);
    prep_message(t, disabled.ring.ring_fd, UD_AT_TARGET, VALUE);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_MSG).res, -EBADFD, "a message to a disabled ring");
    prep_message(t, fds[0], UD_AT_TARGET, VALUE);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_MSG).res, -EBADFD, "a message to a socket");
}

static void pass_flags(struct kt *t)
{
    enum { FLAG = 1u << 20 };
    struct kt_ring target;
    struct kt_cqe cqe = {0};
    kt_ring_open(t, &target, 4, 0, kt_ring_flags(t->kind));
    struct io_uring_sqe *sqe = prep_message(t, target.ring.ring_fd, UD_AT_TARGET, VALUE);
    sqe->msg_ring_flags = OURO__MSG_RING_FLAGS_PASS;
    sqe->file_index = FLAG;
    kt_submit(t, 1);
    const int res = kt_wait_for(t, UD_MSG).res;
    if (res == -EINVAL)
        KT_ABSENT(t, "IORING_MSG_RING_FLAGS_PASS answers -EINVAL");
    KT_EXPECT_RES(t, res, 0, "a message with flags");
    const bool came = kt_try_wait_on(&target, KT_WAIT_MS * t->slack, &cqe);
    KT_EXPECT(t, came, "it arrives");
    KT_EXPECT_EQ(t, cqe.flags & FLAG, FLAG, "the flag in the completion");
    KT_EXPECT_RES(t, cqe.res, VALUE, "the value in the completion");
}

static void pass_descriptor(struct kt *t)
{
    struct kt_ring target;
    struct kt_cqe cqe = {0};
    int fds[2];
    const int empty[2] = {-1, -1};
    char byte = 0;
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_ring_open(t, &target, 4, 0, kt_ring_flags(t->kind));
    KT_EXPECT_RES(t, kt_register(&t->ring, IORING_REGISTER_FILES, &fds[0], 1), 0,
                  "registering a socket with the source");
    KT_EXPECT_RES(t, kt_register(&target, IORING_REGISTER_FILES, empty, 2), 0,
                  "registering empty slots with the target");
    struct io_uring_sqe *sqe = prep_message(t, target.ring.ring_fd, UD_AT_TARGET, 0);
    sqe->addr = IORING_MSG_SEND_FD;
    sqe->addr3 = 0;      /* slot 0 of the source */
    sqe->file_index = 2; /* slot 1 of the target */
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_MSG).res, 0, "sending slot 0 to slot 1");
    KT_EXPECT(t, kt_try_wait_on(&target, KT_WAIT_MS * t->slack, &cqe), "the target is told");
    KT_EXPECT_EQ(t, cqe.user_data, UD_AT_TARGET, "user_data of that");

    sqe = kt_sqe_on(t, &target, IORING_OP_RECV, 1, UD_RECV);
    sqe->flags = IOSQE_FIXED_FILE;
    sqe->addr = (uint64_t)(uintptr_t)&byte;
    sqe->len = 1;
    KT_REQUIRE(t, kt_try_submit_on(&target) == 1, "submitting a receive");
    kt_write(t, fds[1], "x", 1);
    KT_EXPECT(t, kt_try_wait_on(&target, KT_WAIT_MS * t->slack, &cqe), "the receive completes");
    KT_EXPECT_RES(t, cqe.res, 1, "a receive on the target by the slot");

    sqe = prep_message(t, target.ring.ring_fd, UD_AT_TARGET, 0);
    sqe->addr = IORING_MSG_SEND_FD;
    sqe->addr3 = 7;
    sqe->file_index = 1;
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_MSG).res, -EBADF, "sending a slot that does not exist");
}

static void without_ring(struct kt *t)
{
    struct io_uring_sqe message;
    memset(&message, 0, sizeof(message));
    message.opcode = IORING_OP_MSG_RING;
    message.fd = t->ring.ring.ring_fd;
    message.off = UD_AT_TARGET;
    message.len = VALUE;
    KT_EXPECT_RES(t, io_uring_register((unsigned)-1, OURO__REGISTER_SEND_MSG_RING, &message, 1), 0,
                  "a message sent by a system call");
    const struct kt_cqe cqe = kt_wait_for(t, UD_AT_TARGET);
    KT_EXPECT_RES(t, cqe.res, VALUE, "the value that arrived");
    message.opcode = IORING_OP_NOP;
    KT_EXPECT_RES(t, io_uring_register((unsigned)-1, OURO__REGISTER_SEND_MSG_RING, &message, 1),
                  -EINVAL, "anything but a message sent that way");
}

static void scm_rights_refused(struct kt *t)
{
    int fds[2];
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    char byte = 'x';
    kt_unix_pair(t, SOCK_STREAM, fds);
    memset(&control, 0, sizeof(control));
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(cmsg), &t->ring.ring.ring_fd, sizeof(int));
    const ssize_t sent = sendmsg(fds[0], &message, MSG_NOSIGNAL);
    if (sent > 0)
        KT_ABSENT(t, "sendmsg(2) sends a ring's descriptor");
    KT_EXPECT_RES(t, sent < 0 ? -errno : 0, -EINVAL, "sendmsg(2) of a ring's descriptor");

    struct io_uring_sqe *sqe = kt_sqe(t, IORING_OP_SENDMSG, fds[0], UD_MSG);
    sqe->addr = (uint64_t)(uintptr_t)&message;
    sqe->len = 1;
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_MSG).res, -EINVAL, "SENDMSG of a ring's descriptor");
    memcpy(CMSG_DATA(cmsg), &fds[1], sizeof(int));
    KT_EXPECT_RES(t, sendmsg(fds[0], &message, MSG_NOSIGNAL), 1, "sendmsg(2) of a socket");
}

static const struct kt_assertion assertions[] = {
    {
        .id = "msgring.wakes",
        .alias = "K064",
        .sentence = "Every message wakes the thread that waits on the target ring, and arrives "
                    "unchanged.",
        .source = "io_uring_prep_msg_ring(3), 5.18",
        .since = "5.18",
        .absence = "The probe does not list the opcode.",
        .impact = "A worker thread sleeps on work that was given to it.",
        .avoid = "Wake other threads through an eventfd that their ring reads.",
        .guards = "CVE-2023-2430",
        .needs = KT_NEEDS(MSG_RING),
        .rings = KT_ON_BOTH,
        .run = wakes,
    },
    {
        .id = "msgring.bad-target",
        .alias = "K064b",
        .sentence = "A message to a disabled ring, or to what is no ring, is -EBADFD.",
        .source = "io_uring_prep_msg_ring(3)",
        .since = "5.18",
        .absence = "The probe does not list the opcode.",
        .impact = "Messages go to a ring that is not ready for them and are lost.",
        .avoid = "Send only after the target has said that it runs.",
        .needs = KT_NEEDS(MSG_RING),
        .rings = KT_ON_BOTH,
        .run = bad_target,
    },
    {
        .id = "msgring.flags-pass",
        .sentence = "IORING_MSG_RING_FLAGS_PASS puts the sender's flags into the completion.",
        .source = "io_uring_prep_msg_ring_cqe_flags(3), 6.3",
        .since = "6.3",
        .absence = "-EINVAL to the flag.",
        .impact = "The receiver mistakes what kind of message it got.",
        .avoid = "Put everything into user_data and the value.",
        .needs = KT_NEEDS(MSG_RING),
        .rings = KT_ON_BOTH,
        .run = pass_flags,
    },
    {
        .id = "msgring.pass-descriptor",
        .sentence = "A registered file sent to another ring works there by the slot it was put "
                    "into, and a slot that does not exist is -EBADF.",
        .source = "io_uring_prep_msg_ring_fd(3), 6.0",
        .since = "6.0",
        .absence = "-EINVAL to IORING_MSG_SEND_FD.",
        .impact = "Connections handed to another thread are lost or mixed up.",
        .avoid = "Hand over ordinary descriptors by number.",
        .needs = KT_NEEDS(MSG_RING) | KT_NEEDS(DIRECT_FD),
        .rings = KT_ON_BOTH,
        .run = pass_descriptor,
    },
    {
        .id = "msgring.without-ring",
        .sentence = "IORING_REGISTER_SEND_MSG_RING sends a message without a ring of the sender's, "
                    "and nothing but a message.",
        .source = "io_uring_register_sync_msg(3), 6.13",
        .since = "6.13",
        .absence = "-EINVAL to the register call.",
        .impact = "Threads without a ring cannot wake one that has.",
        .avoid = "Wake the ring's thread through an eventfd that it reads.",
        .needs = KT_NEEDS(SEND_MSG_RING),
        .rings = KT_ON_BOTH,
        .run = without_ring,
    },
    {
        .id = "msgring.scm-rights-refused",
        .sentence = "A ring's descriptor cannot be sent over a UNIX socket (-EINVAL); a socket's "
                    "can.",
        .source = "commit 705318a99a13, 6.7, back-ported to 6.1.69",
        .since = "6.7",
        .absence = "Accepted by older kernels.",
        .impact = "A cycle of rings and sockets leaks, or frees memory in use.",
        .avoid = "Refuse to pass ring descriptors in your own code.",
        .guards = "CVE-2023-6531",
        .rings = KT_ON_BOTH,
        .run = scm_rights_refused,
    },
};

const struct kt_area kt_area_msgring = KT_AREA("messages between rings", assertions);
