/* SPDX-License-Identifier: MIT */
/*
 * Exact counts: worker threads, system calls, sleeps, completions.
 *
 * Times vary with the load of the machine; counts do not.  A worker thread where there should be
 * none, or a sleep where the result was ready, is the same on every machine and explains the time.
 */
#define _GNU_SOURCE
#include "fixture/kt.h"

#include <sys/resource.h>

enum { UD_A = 1, UD_B = 2, UD_NOP = 100, BATCH = 64, ROUNDS = 200, PASSES = 5 };

static void connect_and_accept(struct kt *t, int out[2])
{
    struct sockaddr_in addr;
    const int listener = kt_tcp_listen(t, 4, &addr);
    out[0] = kt_tcp_socket(t, 0);
    kt_prep_accept(t, listener, 0, UD_A); /* waits first */
    kt_submit(t, 1);
    kt_prep_connect(t, out[0], &addr, sizeof(addr), UD_B);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_B).res, 0, "CONNECT");
    out[1] = kt_wait_for(t, UD_A).res;
    KT_EXPECT_GE(t, out[1], 0, "ACCEPT");
}

static void none_for_sockets(struct kt *t)
{
    int fds[2];
    char byte = 0;
    connect_and_accept(t, fds);
    KT_EXPECT_SLOW_LE(t, kt_worker_count(t), 0, "worker threads after CONNECT and ACCEPT");
    kt_prep_recv(t, fds[0], &byte, 1, 0, UD_A);
    kt_submit(t, 1);
    kt_prep_send(t, fds[1], "x", 1, 0, UD_B);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_B).res, 1, "SEND");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_A).res, 1, "RECV");
    kt_prep_recv(t, fds[0], &byte, 1, 0, UD_A); /* stays pending */
    kt_prep_poll(t, fds[1], POLLIN, false, UD_B);
    kt_submit(t, 2);
    KT_EXPECT_SLOW_LE(t, kt_worker_count(t), 0, "worker threads after RECV, SEND and POLL_ADD");
    struct sockaddr_in addr;
    kt_tcp_pending(t, &addr);
    kt_prep_connect(t, kt_tcp_socket(t, 0), &addr, sizeof(addr), UD_NOP);
    kt_submit(t, 1);
    kt_expect_silence(t, 10, "CONNECT, RECV and POLL_ADD pending");
    KT_EXPECT_SLOW_LE(t, kt_worker_count(t), 0, "worker threads with a CONNECT pending");
}

static void none_for_descriptors(struct kt *t)
{
    struct io_uring_sqe *sqe = kt_sqe(t, IORING_OP_SOCKET, AF_INET, UD_A);
    sqe->off = SOCK_STREAM | SOCK_CLOEXEC;
    kt_submit(t, 1);
    const int fd = kt_wait_for(t, UD_A).res;
    KT_EXPECT_GE(t, fd, 0, "SOCKET");
    (void)kt_sqe(t, IORING_OP_CLOSE, fd, UD_B);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_B).res, 0, "CLOSE");
    KT_EXPECT_SLOW_LE(t, kt_worker_count(t), 0, "worker threads after SOCKET and CLOSE");
}

static void none_for_bind(struct kt *t)
{
    const int fd = kt_tcp_socket(t, 0);
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct io_uring_sqe *sqe = kt_sqe(t, OURO__OP_BIND, fd, UD_A);
    sqe->addr = (uint64_t)(uintptr_t)&addr;
    sqe->off = sizeof(addr);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_A).res, 0, "BIND of a TCP port");
    kt_sqe(t, OURO__OP_LISTEN, fd, UD_B)->len = 4;
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_B).res, 0, "LISTEN");
    KT_EXPECT_SLOW_LE(t, kt_worker_count(t), 0, "worker threads after BIND and LISTEN");
}

/* The other way round: the count sees a worker where there must be one. */
static void async_has_one(struct kt *t)
{
    int fds[2];
    char byte = 0;
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_prep_recv(t, fds[0], &byte, 1, 0, UD_A)->flags = IOSQE_ASYNC;
    kt_submit(t, 1);
    const int64_t start_ns = kt_now_ns();
    int workers = 0;
    do { /* a worker names itself when it first runs */
        workers = kt_worker_count(t);
    } while (workers == 0 && kt_ms_since(start_ns) < kt_slack_ms(t, KT_WAIT_MS));
    KT_EXPECT_GE(t, workers, 1, "worker threads with an IOSQE_ASYNC receive");
    kt_write(t, fds[1], "x", 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_A).res, 1, "the receive");
}

static void one_enter_per_batch(struct kt *t)
{
    int taken_short = 0;
    int ready_short = 0;
    for (int round = 0; round < ROUNDS; round++) {
        for (uint64_t i = 0; i < BATCH; i++)
            (void)kt_sqe(t, IORING_OP_NOP, -1, UD_NOP + i);
        taken_short += io_uring_submit(&t->ring.ring) != BATCH;
        ready_short += io_uring_cq_ready(&t->ring.ring) != BATCH;
        io_uring_cq_advance(&t->ring.ring, io_uring_cq_ready(&t->ring.ring));
    }
    KT_EXPECT_EQ(t, taken_short, 0, "of %d batches were not taken by one system call", ROUNDS);
    KT_EXPECT_EQ(t, ready_short, 0, "of %d batches were not complete when it returned", ROUNDS);
}

static int64_t sleeps(struct kt *t)
{
    struct rusage usage;
    KT_SYS(t, getrusage(RUSAGE_THREAD, &usage));
    return usage.ru_nvcsw;
}

/* A byte there and back, ROUNDS times; returns how many did not move. */
static int wait_for_what_is_ready(struct kt *t, const int fds[2])
{
    char byte = 0;
    int wrong = 0;
    for (int i = 0; i < ROUNDS; i++) {
        struct kt_cqe cqe;
        kt_prep_send(t, fds[1], "x", 1, 0, UD_B);
        kt_prep_recv(t, fds[0], &byte, 1, 0, UD_A);
        wrong += io_uring_submit_and_wait(&t->ring.ring, 2) != 2;
        for (int n = 0; n < 2; n++)
            wrong += !kt_try_wait(t, 0, &cqe) || cqe.res != 1;
    }
    return wrong;
}

/* On a busy machine a thread may sleep for other reasons, but not in each of the passes. */
static void no_sleep_when_ready(struct kt *t)
{
    int fds[2];
    int wrong = 0;
    int64_t fewest = INT64_MAX;
    kt_unix_pair(t, SOCK_STREAM, fds);
    for (int pass = 0; pass < PASSES && fewest > 0; pass++) {
        const int64_t before = sleeps(t);
        wrong += wait_for_what_is_ready(t, fds);
        const int64_t slept = sleeps(t) - before;
        fewest = slept < fewest ? slept : fewest;
    }
    KT_EXPECT_EQ(t, wrong, 0, "sends and receives that did not move a byte");
    KT_EXPECT_SLOW_LE(t, fewest, 0, "times the thread slept in %d waits for what was ready",
                      ROUNDS);
}

static void skip_posts_nothing(struct kt *t)
{
    for (int i = 0; i < BATCH; i++)
        kt_sqe(t, IORING_OP_NOP, -1, UD_NOP)->flags = IOSQE_CQE_SKIP_SUCCESS;
    (void)kt_sqe(t, IORING_OP_NOP, -1, UD_A);
    kt_submit(t, BATCH + 1);
    KT_EXPECT_EQ(t, io_uring_cq_ready(&t->ring.ring), 1,
                 "completions of %d NOPs with CQE_SKIP_SUCCESS and one without", BATCH);
    KT_EXPECT_EQ(t, kt_wait(t).user_data, UD_A, "whose it is");
    char byte = 0;
    kt_prep_recv(t, -1, &byte, 1, 0, UD_B)->flags = IOSQE_CQE_SKIP_SUCCESS;
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_B).res, -EBADF, "a request with the flag that fails");
}

static const struct kt_assertion assertions[] = {
    {
        .id = "workers.none-for-sockets",
        .alias = "K061",
        .sentence = "CONNECT, ACCEPT, RECV, SEND and POLL_ADD use no worker thread, ready or "
                    "pending.",
        .source = "io_uring_setup(2), IORING_FEAT_FAST_POLL, 5.7",
        .since = "5.7",
        .absence = "params.features lacks IORING_FEAT_FAST_POLL.",
        .impact = "Every idle connection holds a thread.",
        .avoid = "Use epoll on this kernel.",
        .needs = KT_NEEDS(FAST_POLL),
        .rings = KT_ON_BOTH,
        .run = none_for_sockets,
    },
    {
        .id = "workers.none-for-descriptors",
        .alias = "K061b",
        .sentence = "SOCKET and CLOSE use no worker thread.",
        .source = "measured on 6.1 to 6.18",
        .since = "5.19",
        .absence = "The probe does not list SOCKET.",
        .impact = "Opening and closing connections costs a thread switch each.",
        .avoid = "Use socket(2) and close(2).",
        .needs = KT_NEEDS(SOCKET),
        .rings = KT_ON_BOTH,
        .run = none_for_descriptors,
    },
    {
        .id = "workers.none-for-bind",
        .alias = "K061c",
        .sentence = "BIND of a TCP port and LISTEN use no worker thread.",
        .source = "measured on 6.12 to 6.18",
        .since = "6.11",
        .absence = "The probe does not list LISTEN.",
        .impact = "Opening a listener costs a thread switch.",
        .avoid = "Use bind(2) and listen(2).",
        .needs = KT_NEEDS(BIND_LISTEN),
        .rings = KT_ON_BOTH,
        .run = none_for_bind,
    },
    {
        .id = "workers.async-has-one",
        .sentence = "IOSQE_ASYNC hands the request to a worker thread.",
        .source = "io_uring_enter(2), IOSQE_ASYNC, 5.6",
        .since = "5.12",
        .absence = "Always there.",
        .impact = "What is meant to run elsewhere blocks the loop.",
        .avoid = "Use a thread pool of your own for blocking calls.",
        .rings = KT_ON_BOTH,
        .run = async_has_one,
    },
    {
        .id = "count.one-enter-per-batch",
        .alias = "P011",
        .sentence = "One system call takes a batch of 64 NOPs, and all are complete when it "
                    "returns.",
        .source = "io_uring_enter(2)",
        .since = "5.18",
        .absence = "Always there.",
        .impact = "Batching does not save system calls.",
        .avoid = "Look at what io_uring_submit() returns.",
        .rings = KT_ON_BOTH,
        .run = one_enter_per_batch,
    },
    {
        .id = "count.no-sleep-when-ready",
        .alias = "P012",
        .sentence = "A wait for what is ready when it is submitted does not put the thread to "
                    "sleep, not once in 200.",
        .source = "io_uring_enter(2)",
        .since = "5.7",
        .absence = "Always there.",
        .impact = "Every operation costs a sleep and a wake-up.",
        .avoid = "Look at the completion queue before waiting.",
        .needs = KT_NEEDS(FAST_POLL),
        .rings = KT_ON_BOTH,
        .run = no_sleep_when_ready,
    },
    {
        .id = "count.skip-posts-nothing",
        .alias = "P013",
        .sentence = "IOSQE_CQE_SKIP_SUCCESS posts no completion for what succeeds, and one for "
                    "what fails.",
        .source = "io_uring_enter(2), 5.17",
        .since = "5.17",
        .absence = "params.features lacks IORING_FEAT_CQE_SKIP.",
        .impact = "Completions come for which nobody has a place, or errors are lost.",
        .avoid = "Let every request post its completion.",
        .needs = KT_NEEDS(CQE_SKIP),
        .rings = KT_ON_BOTH,
        .run = skip_posts_nothing,
    },
};

const struct kt_area kt_area_workers = KT_AREA("counts", assertions);
