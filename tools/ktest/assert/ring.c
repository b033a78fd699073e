/* SPDX-License-Identifier: MIT */
/*
 * The ring itself: order, overflow, batches, who may use it, and what becomes of it.
 *
 * A ring is rarely full, and its thread rarely ends or forks.  But in these moments, too, a server
 * must not lose a completion, so they are tested here.
 */
#define _GNU_SOURCE
#include "fixture/kt.h"

#include <fcntl.h>
#include <sys/wait.h>

enum { UD_RECV = 1, UD_BAD = 2, UD_LAST = 3, UD_DRAINED = 4, UD_FIRST = 100 };

static void overflow(struct kt *t)
{
    enum { CQ = 8, NOPS = 4 * CQ };
    struct kt_ring ring;
    kt_ring_open(t, &ring, CQ, CQ, kt_ring_flags(t->kind));
    for (uint64_t i = 0; i < NOPS; i++) {
        (void)kt_sqe_on(t, &ring, IORING_OP_NOP, -1, UD_FIRST + i);
        if (i % CQ == CQ - 1)
            KT_REQUIRE(t, kt_try_submit_on(&ring) == CQ, "submitting %d NOPs", CQ);
    }
    const unsigned flag = __atomic_load_n(ring.ring.sq.kflags, __ATOMIC_ACQUIRE);
    KT_EXPECT((t), (flag & IORING_SQ_CQ_OVERFLOW) != 0, "the overflow flag is set");
    int count = 0;
    int wrong = 0;
    struct kt_cqe cqe;
    while (count < NOPS && kt_try_wait_on(&ring, KT_WAIT_MS * t->slack, &cqe))
        wrong += cqe.user_data != UD_FIRST + (uint64_t)count++;
    KT_EXPECT_EQ(t, count, NOPS, "completions of %d NOPs through a queue of %d", NOPS, CQ);
    KT_EXPECT_EQ(t, wrong, 0, "completions out of order");
    KT_EXPECT_EQ(t, *ring.ring.cq.koverflow, 0, "completions counted as dropped");
    const unsigned after = __atomic_load_n(ring.ring.sq.kflags, __ATOMIC_ACQUIRE);
    KT_EXPECT((t), (after & IORING_SQ_CQ_OVERFLOW) == 0, "the overflow flag is clear again");
}

static void order(struct kt *t)
{
    enum { COUNT = 200 };
    for (uint64_t i = 0; i < COUNT; i++)
        (void)kt_sqe(t, IORING_OP_NOP, -1, UD_FIRST + i);
    kt_submit(t, COUNT);
    int wrong = 0;
    for (uint64_t i = 0; i < COUNT; i++)
        wrong += kt_wait(t).user_data != UD_FIRST + i;
    KT_EXPECT_EQ(t, wrong, 0, "of %d NOPs completed out of order", COUNT);
    kt_expect_silence(t, 5, "after all have completed");
}

/* A NOP, one with a flag nobody knows, a NOP: how many one submit takes. */
static int submit_with_bad_one(struct kt *t, struct kt_ring *ring, uint32_t flags)
{
    kt_ring_open(t, ring, 8, 0, kt_ring_flags(t->kind) | flags);
    (void)kt_sqe_on(t, ring, IORING_OP_NOP, -1, UD_FIRST);
    kt_sqe_on(t, ring, 250, -1, UD_BAD);
    (void)kt_sqe_on(t, ring, IORING_OP_NOP, -1, UD_LAST);
    return kt_try_submit_on(ring);
}

static void submit_all(struct kt *t)
{
    struct kt_ring ring;
    struct kt_cqe cqe = {0};
    KT_EXPECT_RES(t, submit_with_bad_one(t, &ring, IORING_SETUP_SUBMIT_ALL), 3,
                  "SQEs taken of 3, the second bad, with SUBMIT_ALL");
    int bad_res = 0;
    int good = 0;
    for (int i = 0; i < 3 && kt_try_wait_on(&ring, KT_WAIT_MS * t->slack, &cqe); i++) {
        if (cqe.user_data == UD_BAD)
            bad_res = cqe.res;
        else
            good += cqe.res == 0;
    }
    KT_EXPECT_RES(t, bad_res, -EINVAL, "the bad one");
    KT_EXPECT_EQ(t, good, 2, "of the other two succeeded");
    kt_ring_close(&ring);

    KT_EXPECT_RES(t, submit_with_bad_one(t, &ring, 0), 2, "SQEs taken without SUBMIT_ALL");
    KT_EXPECT_RES(t, kt_try_submit_on(&ring), 1, "SQEs taken by the next submit");
    kt_ring_close(&ring);
}

static void drain(struct kt *t)
{
    int fds[2];
    char byte = 0;
    struct kt_cqe cqe;
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_prep_recv(t, fds[0], &byte, 1, 0, UD_RECV);
    kt_sqe(t, IORING_OP_NOP, -1, UD_DRAINED)->flags = IOSQE_IO_DRAIN;
    kt_submit(t, 2);
    KT_EXPECT_EQ(t, kt_try_wait_for(t, UD_DRAINED, 20, &cqe), 0,
                 "a drained NOP ran before the receive ahead of it had ended");
    kt_write(t, fds[1], "x", 1);
    KT_EXPECT_RES(t, kt_wait(t).user_data, UD_RECV, "what completes first");
    KT_EXPECT_RES(t, kt_wait(t).user_data, UD_DRAINED, "what completes second");
}

/* What another thread gets from a DEFER ring. */
struct stranger {
    struct kt *t;
    int submit_rc;
    int register_rc;
    int wait_rc;
};

static void *use_from_elsewhere(void *arg)
{
    struct stranger *stranger = arg;
    struct kt_ring *ring = &stranger->t->ring;
    const unsigned fd = (unsigned)ring->ring.ring_fd;
    uint32_t workers[2] = {0, 0};
    stranger->submit_rc = io_uring_enter(fd, 1, 0, 0, NULL);
    stranger->register_rc = kt_register(ring, IORING_REGISTER_IOWQ_MAX_WORKERS, workers, 2);
    stranger->wait_rc = io_uring_enter(fd, 0, 1, IORING_ENTER_GETEVENTS, NULL);
    return arg;
}

static void other_thread(struct kt *t)
{
    int fds[2];
    char byte = 0;
    kt_unix_pair(t, SOCK_STREAM, fds);
    struct stranger stranger = {.t = t};
    struct kt_thread thread;
    kt_prep_recv(t, fds[0], &byte, 1, 0, UD_RECV);
    kt_submit(t, 1);
    kt_write(t, fds[1], "x", 1);
    KT_EXPECT_EQ(t, io_uring_cq_ready(&t->ring.ring), 0,
                 "completions before the owner enters (work is deferred)");
    kt_step(t, "using the ring from another thread");
    kt_thread_start(t, &thread, use_from_elsewhere, &stranger);
    (void)kt_thread_join(t, &thread);
    KT_EXPECT_RES(t, stranger.submit_rc, -EEXIST, "submitting from another thread");
    KT_EXPECT_RES(t, stranger.register_rc, -EEXIST, "registering from another thread");
    KT_EXPECT_RES(t, stranger.wait_rc, -EEXIST, "waiting in another thread");
    const int rc =
        io_uring_enter((unsigned)t->ring.ring.ring_fd, 0, 0, IORING_ENTER_GETEVENTS, NULL);
    KT_EXPECT_RES(t, rc, 0, "the owner enters with GETEVENTS, wanting none");
    KT_EXPECT_EQ(t, io_uring_cq_ready(&t->ring.ring), 1, "completions after it");
}

struct submitter {
    struct kt *t;
    int fd;
    char byte;
};

static void *submit_and_exit(void *arg)
{
    struct submitter *submitter = arg;
    kt_prep_recv(submitter->t, submitter->fd, &submitter->byte, 1, 0, UD_RECV);
    return kt_try_submit(submitter->t) == 1 ? arg : NULL;
}

static void thread_exit(struct kt *t)
{
    int fds[2];
    char byte = 0;
    struct kt_cqe cqe;
    struct kt_thread thread;
    kt_unix_pair(t, SOCK_STREAM, fds);
    struct submitter submitter = {.t = t, .fd = fds[0]};
    kt_thread_start(t, &thread, submit_and_exit, &submitter);
    KT_REQUIRE(t, kt_thread_join(t, &thread) != NULL, "the thread could not submit");
    KT_EXPECT_EQ(t, kt_try_wait_for(t, UD_RECV, 20, &cqe), 0,
                 "the receive of an ended thread completed before anything happened");
    kt_write(t, fds[1], "x", 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, -ECANCELED,
                  "the receive of an ended thread, once data comes");
    KT_EXPECT_EQ(t, kt_read(t, fds[0], &byte, 1), 1, "bytes still in the socket");
}

static void close_on_exec(struct kt *t)
{
    const int flags = (int)KT_SYS(t, fcntl(t->ring.ring.ring_fd, F_GETFD));
    KT_EXPECT_EQ(t, flags & FD_CLOEXEC, FD_CLOEXEC, "FD_CLOEXEC on a ring's descriptor");
}

/* Runs @child in a forked process; its exit status. */
static int in_child(struct kt *t, int (*child)(struct kt *t))
{
    const pid_t pid = (pid_t)KT_SYS(t, fork());
    if (pid == 0)
        _exit(child(t));
    int status = 0;
    kt_step(t, "waiting for a forked process");
    KT_SYS(t, waitpid(pid, &status, 0));
    KT_REQUIRE(t, WIFEXITED(status), "the forked process ended with status 0x%x", status);
    return WEXITSTATUS(status);
}

static int just_exit(struct kt *t)
{
    (void)close(t->ring.ring.ring_fd);
    return 0;
}

static void fork_harmless(struct kt *t)
{
    int fds[2];
    char byte = 0;
    struct kt_cqe cqe;
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_prep_recv(t, fds[0], &byte, 1, 0, UD_RECV);
    kt_submit(t, 1);
    KT_EXPECT_EQ(t, in_child(t, just_exit), 0, "status of a process that closes its copy");
    KT_EXPECT_EQ(t, kt_try_wait_for(t, UD_RECV, 10, &cqe), 0,
                 "the parent's receive was ended by the child");
    kt_write(t, fds[1], "x", 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, 1, "the parent's receive after a fork");
}

static int enter_in_child(struct kt *t)
{
    const int rc = io_uring_enter((unsigned)t->ring.ring.ring_fd, 1, 0, 0, NULL);
    return rc < 0 ? -rc : 0;
}

static void fork_refused(struct kt *t)
{
    (void)kt_sqe(t, IORING_OP_NOP, -1, UD_FIRST);
    KT_EXPECT_EQ(t, in_child(t, enter_in_child), EEXIST,
                 "errno of a submit by the child of the ring's owner");
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_FIRST).res, 0, "the parent's own submit after it");
}

static void exit_releases(struct kt *t)
{
    int fds[2];
    char byte = 0;
    struct kt_ring ring;
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_ring_open(t, &ring, 4, 0, kt_ring_flags(t->kind));
    struct io_uring_sqe *sqe = kt_sqe_on(t, &ring, IORING_OP_RECV, fds[0], UD_RECV);
    sqe->addr = (uint64_t)(uintptr_t)&byte;
    sqe->len = 1;
    KT_REQUIRE(t, kt_try_submit_on(&ring) == 1, "submitting a receive");
    KT_SYS(t, close(fds[0]));
    struct pollfd peer = {.fd = fds[1], .events = POLLIN};
    KT_EXPECT_EQ(t, poll(&peer, 1, 5), 0, "the peer sees an end although the request is armed");
    kt_ring_close(&ring);
    KT_EXPECT_EQ(t, poll(&peer, 1, (int)kt_slack_ms(t, 3000)), 1,
                 "the peer sees the end once the ring is closed");
    KT_EXPECT_RES(t, read(fds[1], &byte, 1), 0, "what the peer reads");
}

static const struct kt_assertion assertions[] = {
    {
        .id = "ring.overflow",
        .alias = "K054",
        .sentence = "Four times as many completions as the queue holds all arrive, in order; the "
                    "overflow flag is set meanwhile, and the drop counter stays 0.",
        .source = "io_uring_setup(2), IORING_FEAT_NODROP",
        .since = "5.5",
        .broken = "6.12 to 6.12.31 (reordered)",
        .absence = "params.features lacks IORING_FEAT_NODROP.",
        .impact = "A burst loses completions: connections hang and memory leaks.",
        .avoid = "Make the completion queue larger than the number of requests in flight.",
        .needs = KT_NEEDS(NODROP),
        .rings = KT_ON_BOTH,
        .run = overflow,
    },
    {
        .id = "ring.order",
        .sentence = "Requests that complete at once complete in the order in which they were "
                    "submitted, each once.",
        .source = "io_uring(7)",
        .since = "5.1",
        .broken = "6.0 to 6.0.11 (batched completions)",
        .absence = "Always there.",
        .impact = "A stream served by several requests in a row gets its bytes mixed up.",
        .avoid = "Keep one request in flight for each stream.",
        .rings = KT_ON_BOTH,
        .run = order,
    },
    {
        .id = "ring.submit-all",
        .sentence = "With IORING_SETUP_SUBMIT_ALL a bad SQE fails alone; without it, it stops the "
                    "batch behind itself, and the rest goes with the next submit.",
        .source = "io_uring_setup(2), 5.18",
        .since = "5.18",
        .absence = "-EINVAL to the flag.",
        .impact = "One bad request delays those behind it until something else is submitted.",
        .avoid = "Look at what io_uring_submit() returns and submit again.",
        .needs = KT_NEEDS(SUBMIT_ALL),
        .rings = KT_ON_BOTH,
        .run = submit_all,
    },
    {
        .id = "ring.drain",
        .sentence = "IOSQE_IO_DRAIN holds a request back until all before it have completed.",
        .source = "io_uring_enter(2)",
        .since = "5.2",
        .broken = "6.1 to 6.1.54 (stalls behind a multishot request)",
        .absence = "Always there.",
        .impact = "A barrier does not hold, or never opens.",
        .avoid = "Wait for the completions before submitting what depends on them.",
        .rings = KT_ON_BOTH,
        .run = drain,
    },
    {
        .id = "ring.other-thread",
        .alias = "K055",
        .sentence = "A DEFER_TASKRUN ring refuses submit, register and wait of other threads with "
                    "-EEXIST, and its owner runs pending work with GETEVENTS alone.",
        .source = "io_uring_setup(2), IORING_SETUP_SINGLE_ISSUER, 6.1",
        .since = "6.1",
        .absence = "-EINVAL to the flags.",
        .impact = "Two threads corrupt a queue that has no locks, or completions never run.",
        .avoid = "Check the calling thread yourself.",
        .rings = KT_ON_DEFER,
        .run = other_thread,
    },
    {
        .id = "ring.thread-exit",
        .alias = "K068",
        .sentence = "A receive whose submitting thread has ended stays until data comes, ends with "
                    "-ECANCELED then, and leaves the data in the socket.",
        .source = "observed on 6.1 to 6.18; io_uring/poll.c",
        .since = "5.12",
        .absence = "Always there.",
        .impact = "Data is swallowed, or the request never ends, when a pool shrinks.",
        .avoid = "Cancel a thread's requests before it ends.",
        .rings = KT_ON_PLAIN,
        .run = thread_exit,
    },
    {
        .id = "ring.close-on-exec",
        .sentence = "A ring's descriptor is close-on-exec without being asked.",
        .source = "io_uring_setup(2)",
        .since = "5.1",
        .absence = "Always there.",
        .impact = "Programs that a server starts inherit its ring, and with it every connection.",
        .avoid = "Set FD_CLOEXEC yourself.",
        .rings = KT_ON_BOTH,
        .run = close_on_exec,
    },
    {
        .id = "ring.fork-harmless",
        .sentence = "A forked process that closes its copy of the ring and ends cancels nothing of "
                    "its parent's.",
        .source = "io_uring(7), fork(2)",
        .since = "5.1",
        .absence = "Always there.",
        .impact = "Starting a program ends receives of unrelated connections.",
        .avoid = "Start programs before the ring is made, or by posix_spawn().",
        .rings = KT_ON_BOTH,
        .run = fork_harmless,
    },
    {
        .id = "ring.fork-refused",
        .sentence = "The child of a DEFER_TASKRUN ring's owner may not submit to it: -EEXIST.",
        .source = "io_uring_setup(2), IORING_SETUP_SINGLE_ISSUER, 6.0",
        .since = "6.1",
        .absence = "-EINVAL to the flags.",
        .impact = "Parent and child feed the same queue, and neither knows.",
        .avoid = "Close the ring first thing in a child.",
        .rings = KT_ON_DEFER,
        .run = fork_refused,
    },
    {
        .id = "ring.exit-releases",
        .sentence = "Closing a ring with a receive in flight lets go of the socket: its peer sees "
                    "the end.",
        .source = "io_uring(7); io_uring_queue_exit(3)",
        .since = "5.6",
        .absence = "Always there.",
        .impact = "Connections stay open after the server has shut down.",
        .avoid = "Cancel everything and wait for it before closing a ring.",
        .rings = KT_ON_BOTH,
        .run = exit_releases,
    },
};

const struct kt_area kt_area_ring = KT_AREA("ring", assertions);
