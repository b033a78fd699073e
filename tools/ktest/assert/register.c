/* SPDX-License-Identifier: MIT */
/*
 * io_uring_register(): descriptors known to the ring, restrictions, credentials, busy polling.
 *
 * A registration affects requests that come much later.  So each check performs such a request; a
 * register call that returns 0 alone proves nothing.
 */
#define _GNU_SOURCE
#include "fixture/kt.h"

enum { UD_RECV = 1, UD_OTHER = 2, UD_CLOSE = 3, UD_AGAIN = 4, UD_NOP = 5 };

static void restricted(struct kt *t)
{
    struct kt_ring ring;
    struct kt_cqe cqe = {0};
    int fds[2];
    kt_unix_pair(t, SOCK_STREAM, fds);
    kt_ring_open(t, &ring, 4, 0, kt_ring_flags(t->kind) | IORING_SETUP_R_DISABLED);
    struct io_uring_restriction allow[2] = {
        {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_NOP},
        {.opcode = IORING_RESTRICTION_REGISTER_OP, .register_op = IORING_UNREGISTER_PERSONALITY}};
    KT_EXPECT_RES(t, io_uring_enter((unsigned)ring.ring.ring_fd, 0, 0, 0, NULL), -EBADFD,
                  "entering a disabled ring");
    KT_EXPECT_RES(t, kt_register(&ring, IORING_REGISTER_RESTRICTIONS, allow, 2), 0,
                  "allowing NOP, and one register call");
    KT_EXPECT_RES(t, kt_register(&ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0), 0, "enabling");
    (void)kt_sqe_on(t, &ring, IORING_OP_NOP, -1, UD_NOP);
    (void)kt_try_submit_on(&ring);
    KT_REQUIRE(t, kt_try_wait_on(&ring, KT_WAIT_MS * t->slack, &cqe), "no completion");
    KT_EXPECT_RES(t, cqe.res, 0, "the NOP, which is allowed");
    (void)kt_sqe_on(t, &ring, IORING_OP_SHUTDOWN, fds[0], UD_OTHER);
    (void)kt_try_submit_on(&ring);
    KT_REQUIRE(t, kt_try_wait_on(&ring, KT_WAIT_MS * t->slack, &cqe), "no completion");
    KT_EXPECT_RES(t, cqe.res, -EACCES, "a SHUTDOWN, which is not");
    KT_EXPECT_RES(t, kt_register(&ring, IORING_REGISTER_PERSONALITY, NULL, 0), -EACCES,
                  "registering credentials, which is not either");
    KT_EXPECT_RES(t, kt_register(&ring, IORING_UNREGISTER_PERSONALITY, NULL, 77), -EINVAL,
                  "removing unknown ones, which may be tried");
}

static void restricted_default(struct kt *t)
{
    struct kt_ring ring;
    kt_ring_open(t, &ring, 4, 0, kt_ring_flags(t->kind) | IORING_SETUP_R_DISABLED);
    struct io_uring_restriction allow = {.opcode = IORING_RESTRICTION_SQE_OP,
                                         .sqe_op = IORING_OP_NOP};
    KT_EXPECT_RES(t, kt_register(&ring, IORING_REGISTER_RESTRICTIONS, &allow, 1), 0,
                  "allowing NOP alone");
    KT_EXPECT_RES(t, kt_register(&ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0), 0, "enabling");
    KT_EXPECT_RES(t, kt_register(&ring, IORING_REGISTER_PERSONALITY, NULL, 0), -EACCES,
                  "a register call where only an operation was allowed");
}

static void napi(struct kt *t)
{
    enum { FIRST_US = 7, SECOND_US = 9 };
    struct ouro__napi napi = {.busy_poll_to_us = FIRST_US, .prefer_busy_poll = 1};
    KT_EXPECT_RES(t, kt_register(&t->ring, OURO__REGISTER_NAPI, &napi, 1), 0, "registering");
    napi = (struct ouro__napi){.busy_poll_to_us = SECOND_US};
    KT_EXPECT_RES(t, kt_register(&t->ring, OURO__REGISTER_NAPI, &napi, 1), 0, "changing it");
    KT_EXPECT_EQ(t, napi.busy_poll_to_us, FIRST_US, "microseconds read back");
    KT_EXPECT_EQ(t, napi.prefer_busy_poll, 1, "preference read back");

    int fds[2];
    char byte = 0;
    struct kt_cqe cqe;
    kt_tcp_pair(t, fds);
    kt_prep_recv(t, fds[0], &byte, 1, 0, UD_RECV);
    kt_submit(t, 1);
    const int64_t start_ns = kt_now_ns();
    const bool none = !kt_try_wait(t, 20, &cqe);
    KT_EXPECT(t, none && kt_now_ns() - start_ns >= 20000000, "a wait for nothing takes its time");
    kt_write(t, fds[1], "x", 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, 1, "a receive with busy polling on");

    napi = (struct ouro__napi){0};
    KT_EXPECT_RES(t, kt_register(&t->ring, OURO__UNREGISTER_NAPI, &napi, 1), 0, "removing it");
    KT_EXPECT_EQ(t, napi.busy_poll_to_us, SECOND_US, "microseconds read back");
}

/* Registers fds[0] as file 0 and closes the number. */
static void register_and_close(struct kt *t, int fds[2])
{
    kt_unix_pair(t, SOCK_STREAM, fds);
    KT_EXPECT_RES(t, kt_register(&t->ring, IORING_REGISTER_FILES, fds, 1), 0,
                  "registering a socket");
    KT_SYS(t, close(fds[0]));
}

static void files(struct kt *t)
{
    int fds[2];
    char byte = 0;
    register_and_close(t, fds);
    kt_prep_recv(t, 0, &byte, 1, 0, UD_RECV)->flags = IOSQE_FIXED_FILE;
    kt_submit(t, 1);
    kt_write(t, fds[1], "x", 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_RECV).res, 1, "a receive by index, the number closed");
    kt_prep_recv(t, 1, &byte, 1, 0, UD_OTHER)->flags = IOSQE_FIXED_FILE;
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_OTHER).res, -EBADF,
                  "a receive by an index beyond the table");

    int none = -1;
    struct io_uring_files_update update = {.offset = 0, .fds = (uint64_t)(uintptr_t)&none};
    KT_EXPECT_RES(t, kt_register(&t->ring, IORING_REGISTER_FILES_UPDATE, &update, 1), 1,
                  "emptying the slot");
    kt_prep_recv(t, 0, &byte, 1, 0, UD_AGAIN)->flags = IOSQE_FIXED_FILE;
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_AGAIN).res, -EBADF, "a receive by the emptied index");
    struct pollfd peer = {.fd = fds[1], .events = POLLIN};
    KT_EXPECT_EQ(t, poll(&peer, 1, (int)kt_slack_ms(t, KT_WAIT_MS)), 1,
                 "the peer sees the end of the emptied slot's socket");
}

static void close_direct(struct kt *t)
{
    int fds[2];
    char byte = 0;
    register_and_close(t, fds);
    kt_sqe(t, IORING_OP_CLOSE, 0, UD_CLOSE)->file_index = 1; /* slot 0 */
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_CLOSE).res, 0, "CLOSE of slot 0");
    struct pollfd peer = {.fd = fds[1], .events = POLLIN};
    KT_EXPECT_EQ(t, poll(&peer, 1, (int)kt_slack_ms(t, KT_WAIT_MS)), 1, "the peer sees the end");
    KT_EXPECT_RES(t, read(fds[1], &byte, 1), 0, "what the peer reads");
    kt_sqe(t, IORING_OP_CLOSE, 0, UD_AGAIN)->file_index = 1;
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_AGAIN).res, -EBADF, "CLOSE of the empty slot");
}

struct borrower {
    unsigned index;
    int rc;
};

static void *enter_by_index(void *arg)
{
    struct borrower *borrower = arg;
    borrower->rc = io_uring_enter(borrower->index, 0, 0,
                                  IORING_ENTER_GETEVENTS | IORING_ENTER_REGISTERED_RING, NULL);
    return arg;
}

static void ring_fd(struct kt *t)
{
    struct io_uring_rsrc_update update = {.offset = UINT32_MAX,
                                          .data = (uint32_t)t->ring.ring.ring_fd};
    KT_EXPECT_RES(t, kt_register(&t->ring, IORING_REGISTER_RING_FDS, &update, 1), 1,
                  "registering the ring's descriptor");
    (void)kt_sqe(t, IORING_OP_NOP, -1, UD_NOP);
    kt_submit(t, 1);
    const unsigned index = update.offset;
    const uint32_t flags = IORING_ENTER_GETEVENTS | IORING_ENTER_REGISTERED_RING;
    KT_EXPECT_RES(t, io_uring_enter(index, 0, 1, flags, NULL), 0, "waiting by its index");
    KT_EXPECT_RES(t, kt_wait_for(t, UD_NOP).res, 0, "what was waited for");

    struct borrower borrower = {.index = index};
    struct kt_thread thread;
    kt_thread_start(t, &thread, enter_by_index, &borrower);
    (void)kt_thread_join(t, &thread);
    KT_EXPECT(t, borrower.rc == -EINVAL || borrower.rc == -EBADF,
              "another thread's use of the index is refused (%d)", borrower.rc);
    update.data = 0;
    KT_EXPECT_RES(t, kt_register(&t->ring, IORING_UNREGISTER_RING_FDS, &update, 1), 1,
                  "removing it");
    KT_EXPECT_RES(t, io_uring_enter(index, 0, 0, flags, NULL), -EBADF, "entering by it afterwards");
}

static void personality(struct kt *t)
{
    const int id = kt_register(&t->ring, IORING_REGISTER_PERSONALITY, NULL, 0);
    KT_EXPECT_GE(t, id, 1, "the id of the registered credentials");
    kt_sqe(t, IORING_OP_NOP, -1, UD_NOP)->personality = (uint16_t)id;
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_NOP).res, 0, "a request with them");
    kt_sqe(t, IORING_OP_NOP, -1, UD_OTHER)->personality = (uint16_t)(id + 1);
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_OTHER).res, -EINVAL, "a request with an id nobody gave out");
    KT_EXPECT_RES(t, kt_register(&t->ring, IORING_UNREGISTER_PERSONALITY, NULL, (uint32_t)id), 0,
                  "removing them");
    kt_sqe(t, IORING_OP_NOP, -1, UD_AGAIN)->personality = (uint16_t)id;
    kt_submit(t, 1);
    KT_EXPECT_RES(t, kt_wait_for(t, UD_AGAIN).res, -EINVAL, "a request with them afterwards");
}

static void max_workers(struct kt *t)
{
    enum { BOUND = 1, REQUESTS = 8 };
    uint32_t workers[2] = {BOUND, BOUND};
    KT_EXPECT_RES(t, kt_register(&t->ring, IORING_REGISTER_IOWQ_MAX_WORKERS, workers, 2), 0,
                  "bounding the workers");
    workers[0] = workers[1] = 0;
    KT_EXPECT_RES(t, kt_register(&t->ring, IORING_REGISTER_IOWQ_MAX_WORKERS, workers, 2), 0,
                  "reading the bound");
    KT_EXPECT_EQ(t, workers[0], BOUND, "bounded workers read back");
    KT_EXPECT_EQ(t, workers[1], BOUND, "unbounded workers read back");
    int fds[2];
    char bytes[REQUESTS];
    kt_unix_pair(t, SOCK_STREAM, fds);
    for (uint64_t i = 0; i < REQUESTS; i++)
        kt_prep_recv(t, fds[0], &bytes[i], 1, 0, UD_RECV + i)->flags = IOSQE_ASYNC;
    kt_submit(t, REQUESTS);
    KT_EXPECT_LE(t, kt_worker_count(t), 2 * BOUND, "worker threads of %d requests", REQUESTS);
    kt_write(t, fds[1], "12345678", REQUESTS);
    int done = 0;
    struct kt_cqe cqe;
    while (done < REQUESTS && kt_try_wait(t, KT_WAIT_MS * t->slack, &cqe))
        done += cqe.res == 1;
    KT_EXPECT_EQ(t, done, REQUESTS, "of them completed");
    KT_EXPECT_LE(t, kt_worker_count(t), 2 * BOUND, "worker threads when they have completed");
}

static const struct kt_assertion assertions[] = {
    {
        .id = "register.restrictions",
        .alias = "K069",
        .sentence = "A restricted ring refuses every operation that was not allowed with -EACCES, "
                    "and a disabled one cannot be entered (-EBADFD).",
        .source = "io_uring_register(2), IORING_REGISTER_RESTRICTIONS, 5.10",
        .since = "5.10",
        .absence = "-EINVAL to IORING_SETUP_R_DISABLED.",
        .impact = "A ring handed to untrusted code does what it was meant not to.",
        .avoid = "Give no ring to code you do not trust.",
        .rings = KT_ON_BOTH,
        .run = restricted,
    },
    {
        .id = "register.restrictions-default",
        .sentence = "A ring on which only operations were allowed refuses every register call.",
        .source = "io_uring_register(2), IORING_REGISTER_RESTRICTIONS: what 5.10 to 6.18 do",
        .since = "5.10",
        .broken = "7.0 and later (all register calls are allowed then)",
        .absence = "-EINVAL to IORING_SETUP_R_DISABLED.",
        .impact = "Code that may only do a few operations can still register buffers, files and "
                  "credentials.",
        .avoid = "Allow one register call by name as well: then all others are refused.",
        .rings = KT_ON_BOTH,
        .run = restricted_default,
    },
    {
        .id = "register.napi",
        .alias = "K067",
        .sentence = "Busy-poll settings can be set, read back and removed, and waits are right "
                    "while they are set.",
        .source = "io_uring_register_napi(3), 6.9",
        .since = "6.9",
        .absence = "-EINVAL to the register call.",
        .impact = "A low-latency server polls with other settings than it believes.",
        .avoid = "Do not register NAPI busy polling.",
        .guards = "CVE-2026-53321",
        .needs = KT_NEEDS(NAPI),
        .rings = KT_ON_BOTH,
        .run = napi,
    },
    {
        .id = "register.files",
        .sentence = "A registered file works by its index after its number is closed, and -EBADF "
                    "answers once the slot is emptied, which closes it.",
        .source = "io_uring_register(2), IORING_REGISTER_FILES, 5.1; FILES_UPDATE, 5.5",
        .since = "5.6",
        .absence = "Always there.",
        .impact = "An index names another connection than meant, or connections stay open.",
        .avoid = "Use ordinary descriptors.",
        .rings = KT_ON_BOTH,
        .run = files,
    },
    {
        .id = "register.close-direct",
        .sentence = "CLOSE with file_index empties the slot and ends the connection; closing an "
                    "empty slot is -EBADF.",
        .source = "io_uring_prep_close_direct(3), 5.15",
        .since = "5.15",
        .absence = "-EINVAL; before 5.15 file_index is ignored.",
        .impact = "Direct descriptors leak until the table is full.",
        .avoid = "Use ordinary descriptors.",
        .needs = KT_NEEDS(DIRECT_FD),
        .rings = KT_ON_BOTH,
        .run = close_direct,
    },
    {
        .id = "register.ring-fd",
        .sentence = "A ring's registered index enters it, for the thread that registered it only, "
                    "until it is removed.",
        .source = "io_uring_register_ring_fd(3), 5.18",
        .since = "5.18",
        .absence = "-EINVAL to the register call.",
        .impact = "A thread enters another thread's ring.",
        .avoid = "Enter by the ring's descriptor.",
        .needs = KT_NEEDS(RING_FD),
        .rings = KT_ON_BOTH,
        .run = ring_fd,
    },
    {
        .id = "register.personality",
        .sentence = "Registered credentials can be named by a request until they are removed; an "
                    "id that was not given out is -EINVAL.",
        .source = "io_uring_register_personality(3), 5.6",
        .since = "5.6",
        .absence = "params.features lacks IORING_FEAT_CUR_PERSONALITY.",
        .impact = "A request runs with other rights than meant.",
        .avoid = "Use one ring for each user.",
        .rings = KT_ON_BOTH,
        .run = personality,
    },
    {
        .id = "register.max-workers",
        .sentence = "A bound on worker threads is read back and kept: eight IOSQE_ASYNC receives "
                    "get no more workers than allowed, and all complete.",
        .source = "io_uring_register_iowq_max_workers(3), 5.15",
        .since = "5.15",
        .absence = "-EINVAL to the register call.",
        .impact = "A burst of blocking operations starts hundreds of threads.",
        .avoid = "Do not use IOSQE_ASYNC; keep blocking operations few.",
        .needs = KT_NEEDS(IOWQ_MAX_WORKERS),
        .rings = KT_ON_BOTH,
        .run = max_workers,
    },
};

const struct kt_area kt_area_register = KT_AREA("register", assertions);
