/* SPDX-License-Identifier: MIT */
/*
 * Accepting by a multishot request: when it is begun and stopped, how it ends, and that no
 * connection is lost or left open.
 */
#include "registry/driver_bench.h"

#include <errno.h>
#include <sys/resource.h>

#include "base/alloc.h"
#include "fiber/stack_tools.h"
#include "registry/accept_queue.h"
#include "uring/ring.h"

enum { PEERS_MAX = 256 };

struct trap {
    struct bench bench;
    struct ouro__registration registration;
    struct ouro__accept_queue *queue;
    int peers[PEERS_MAX];
    int count;
    uint16_t port;
    int listener;
};

static void begin_with(struct trap *trap, uint32_t interest, uint32_t ring_entries)
{
    memset(trap, 0, sizeof(*trap));
    bench_init(&trap->bench);
    trap->bench.config.ring_entries = ring_entries;
    trap->bench.config.features |= OURO__FEATURE_BIT(OURO__FEATURE_ACCEPT_MULTISHOT);
    ck_assert_int_eq(ouro__driver_open(&trap->bench.handle, &trap->bench.config), 0);
    trap->listener = ouro_test_listen(AF_INET, PEERS_MAX, &trap->port);
    ck_assert_int_eq(
        ouro__registration_new(&trap->bench.handle, trap->listener, interest, &trap->registration),
        0);
    trap->queue = ouro__accept_queue_of(trap->registration.sio);
}

static void begin(struct trap *trap)
{
    begin_with(trap, OURO__ACCEPTS, 0);
}

static void end(struct trap *trap)
{
    if (trap->registration.sio != NULL)
        bench_release(&trap->bench, &trap->registration);
    bench_close(&trap->bench);
    while (trap->count > 0)
        (void)close(trap->peers[--trap->count]);
    (void)close(trap->listener);
}

static void connect_some(struct trap *trap, int count)
{
    while (count-- > 0) {
        ck_assert_int_lt(trap->count, PEERS_MAX);
        trap->peers[trap->count++] = ouro_test_connect(AF_INET, trap->port);
    }
}

/* An accept as a task on the driver's thread makes it. */
static int accept_one(struct trap *trap)
{
    struct trial trial;
    struct ouro__driver *driver = trap->bench.handle.driver;
    trial_init(&trial, &trap->bench, &trap->registration, OURO__OP_ACCEPT, OURO__LANE_ACCEPT);
    int fd = ouro__driver_take(driver, &trial.op);
    if (fd == -EAGAIN) {
        trial_submit(&trial);
        fd = trial_wait(&trial);
    }
    ouro__driver_took(driver, trap->registration.sio);
    return fd;
}

/* Accepts the connections of all peers from the @first on, each once and in order. */
static void accept_rest(struct trap *trap, int first)
{
    for (int i = first; i < trap->count; i++) {
        int fd = accept_one(trap);
        ck_assert_int_ge(fd, 0);
        ck_assert_uint_eq(ouro_test_peer_port(fd), ouro_test_local_port(trap->peers[i]));
        (void)close(fd);
    }
}

static bool is_armed(const struct trap *trap)
{
    return trap->queue->many.state == OURO__OP_INFLIGHT;
}

/* Acceptors that come back at once, until there is a multishot, and all peers' connections have
 * been accepted. */
static void arm(struct trap *trap)
{
    struct trial waiting;
    for (int i = 0; i <= OURO__ACCEPT_STREAK; i++) {
        ck_assert(!is_armed(trap));
        connect_some(trap, 1);
        accept_rest(trap, trap->count - 1);
    }
    trial_init(&waiting, &trap->bench, &trap->registration, OURO__OP_ACCEPT, OURO__LANE_ACCEPT);
    ck_assert_int_eq(ouro__driver_take(trap->bench.handle.driver, &waiting.op), -EAGAIN);
    trial_submit(&waiting);
    ck_assert(is_armed(trap));
    bench_turn(&trap->bench, 0);
    connect_some(trap, 1);
    int fd = trial_wait(&waiting);
    ck_assert_int_ge(fd, 0);
    (void)close(fd);
    ck_assert(is_armed(trap));
}

/* Turns until so many connections wait to be taken. */
static void await_kept(struct trap *trap, uint32_t count)
{
    int64_t limit_ns = ouro_test_now_ns() + BENCH_WAIT_NS;
    while (trap->queue->count < count) {
        ck_assert_int_lt(ouro_test_now_ns(), limit_ns);
        bench_turn(&trap->bench, OURO_TEST_MS);
    }
    ck_assert_uint_eq(trap->queue->count, count);
}

static void await_unarmed(struct trap *trap)
{
    int64_t limit_ns = ouro_test_now_ns() + BENCH_WAIT_NS;
    while (is_armed(trap)) {
        ck_assert_int_lt(ouro_test_now_ns(), limit_ns);
        bench_turn(&trap->bench, OURO_TEST_MS);
    }
}

/* Whether the connections of the last @count peers have ended. */
static void expect_ends(struct trap *trap, int count)
{
    for (int i = trap->count - count; i < trap->count; i++) {
        char byte = 0;
        ck_assert(ouro_test_poll(trap->peers[i], POLLIN, 10 * OURO_TEST_SECOND) != 0);
        ck_assert_int_le(recv(trap->peers[i], &byte, 1, MSG_DONTWAIT), 0);
    }
}

OURO_TEST_URING(acceptors_that_come_back_at_once_get_a_multishot)
{
    struct trap trap;
    begin(&trap);
    arm(&trap);
    /* Connections that come while nobody accepts are there for the next, without a request. */
    uint64_t submitted = bench_metrics(&trap.bench).submitted;
    connect_some(&trap, 5);
    await_kept(&trap, 5);
    accept_rest(&trap, trap.count - 5);
    ck_assert_uint_eq(bench_metrics(&trap.bench).submitted, submitted);
    end(&trap);
}

OURO_TEST_URING(acceptors_that_take_their_time_get_single_requests)
{
    struct trap trap;
    begin(&trap);
    for (int i = 0; i < 3 * OURO__ACCEPT_STREAK; i++) {
        connect_some(&trap, 1);
        accept_rest(&trap, trap.count - 1);
        bench_turn(&trap.bench, 0);
        ck_assert(!is_armed(&trap));
    }
    end(&trap);
    begin_with(&trap, OURO__ACCEPTS_SINGLY, 0);
    for (int i = 0; i < 3 * OURO__ACCEPT_STREAK; i++) {
        connect_some(&trap, 1);
        accept_rest(&trap, trap.count - 1);
        ck_assert(!is_armed(&trap));
    }
    end(&trap);
}

OURO_TEST_URING(acceptors_that_wait_in_line_share_a_multishot)
{
    struct trap trap;
    static struct trial trials[2 * OURO__ACCEPT_STREAK];
    begin(&trap);
    for (int i = 0; i < 2 * OURO__ACCEPT_STREAK; i++)
        trial_accept(&trials[i], &trap.bench, &trap.registration);
    for (int i = 0; i < 2 * OURO__ACCEPT_STREAK; i++) {
        connect_some(&trap, 1);
        int fd = trial_wait(&trials[i]);
        ck_assert_uint_eq(ouro_test_peer_port(fd), ouro_test_local_port(trap.peers[i]));
        (void)close(fd);
    }
    ck_assert(is_armed(&trap));
    end(&trap);
}

/* What is not taken is bounded: the rest stays in the backlog until it is asked for. */
OURO_TEST_URING(a_surplus_stops_the_multishot)
{
    struct trap trap;
    begin(&trap);
    arm(&trap);
    int before = trap.count;
    connect_some(&trap, OURO__ACCEPT_SURPLUS + 4);
    await_kept(&trap, OURO__ACCEPT_SURPLUS + 4);
    ck_assert(is_armed(&trap)); /* acceptors had no chance yet */
    connect_some(&trap, 1);
    await_unarmed(&trap);
    uint32_t kept = trap.queue->count;
    ck_assert_uint_eq(kept, OURO__ACCEPT_SURPLUS + 5);
    connect_some(&trap, 8);
    for (int i = 0; i < 4; i++)
        bench_turn(&trap.bench, OURO_TEST_MS);
    ck_assert_uint_eq(trap.queue->count, kept);
    accept_rest(&trap, before);
    end(&trap);
}

OURO_TEST_URING(without_memory_a_connection_is_closed_and_accepting_goes_on)
{
    struct trap trap;
    begin(&trap);
    arm(&trap);
    ouro__alloc_fail_at(1);
    connect_some(&trap, 1);
    await_unarmed(&trap);
    ouro__alloc_fail_at(0);
    expect_ends(&trap, 1);
    connect_some(&trap, 3);
    accept_rest(&trap, trap.count - 3);
    end(&trap);
}

/* Somebody else cancels it: the acceptor that waits does not notice. */
OURO_TEST_URING(a_multishot_that_ends_is_begun_again)
{
    struct trap trap;
    struct trial waiting;
    begin(&trap);
    arm(&trap);
    trial_accept(&waiting, &trap.bench, &trap.registration);
    bench_turn(&trap.bench, 0);
    uint64_t completed = bench_metrics(&trap.bench).completed;
    struct io_uring_sqe *sqe = ouro__uring_sqe(ouro__uring_of(trap.bench.handle.driver));
    io_uring_prep_cancel64(sqe, ouro__sio_token(trap.registration.sio, OURO__LANE_ACCEPT), 0);
    sqe->user_data = OURO__URING_IGNORE;
    int64_t limit_ns = ouro_test_now_ns() + BENCH_WAIT_NS;
    while (bench_metrics(&trap.bench).completed == completed) {
        ck_assert_int_lt(ouro_test_now_ns(), limit_ns);
        bench_turn(&trap.bench, OURO_TEST_MS);
    }
    ck_assert_uint_eq(waiting.done, 0);
    ck_assert(is_armed(&trap));
    connect_some(&trap, 1);
    int fd = trial_wait(&waiting);
    ck_assert_uint_eq(ouro_test_peer_port(fd), ouro_test_local_port(trap.peers[trap.count - 1]));
    (void)close(fd);
    end(&trap);
}

/* The completion queue is full when connections come: the kernel ends the multishot. */
OURO_TEST_URING(an_overflow_loses_no_connection)
{
    enum { DESCRIPTORS = 1200, CONNECTIONS = 12 };
    static struct trial trials[DESCRIPTORS];
    static struct ouro__registration registrations[DESCRIPTORS];
    static char bytes[DESCRIPTORS];
    struct trap trap;
    int ends[2];
    begin_with(&trap, OURO__ACCEPTS, 16);
    arm(&trap);
    struct ouro__uring *uring = ouro__uring_of(trap.bench.handle.driver);
    ck_assert_uint_gt(DESCRIPTORS, uring->ring.cq.ring_entries);
    bench_pair(ends);
    ouro_test_write_exactly(ends[1], "x", 1);
    for (int i = 0; i < DESCRIPTORS; i++)
        registrations[i] = bench_register(&trap.bench, ends[0]);
    connect_some(&trap, CONNECTIONS);
    for (int i = 0; i < DESCRIPTORS; i++) {
        trial_init(&trials[i], &trap.bench, &registrations[i], OURO__OP_RECV, OURO__LANE_READ);
        trials[i].op.arg.io.buffer = &bytes[i];
        trials[i].op.arg.io.size = 1;
        trials[i].op.arg.io.flags = MSG_PEEK;
        trial_submit(&trials[i]);
    }
    uint64_t overflowed = bench_metrics(&trap.bench).overflowed;
    bench_turn(&trap.bench, OURO_TEST_SECOND);
    ck_assert_uint_gt(bench_metrics(&trap.bench).overflowed, overflowed);
    ck_assert(!is_armed(&trap));
    accept_rest(&trap, trap.count - CONNECTIONS);
    for (int i = 0; i < DESCRIPTORS; i++) {
        ck_assert_uint_eq(trials[i].done, 1);
        ouro__registration_drop(&registrations[i]);
    }
    bench_turn(&trap.bench, 0);
    end(&trap);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

/* What has been accepted and not taken when the end comes, in each of its ways. */
static void end_with_untaken(void (*ends)(struct trap *trap))
{
    struct trap trap;
    begin(&trap);
    arm(&trap);
    connect_some(&trap, 3);
    await_kept(&trap, 3);
    ends(&trap);
    expect_ends(&trap, 3);
    end(&trap);
}

static void by_quiesce(struct trap *trap)
{
    struct trial quiesce;
    trial_quiesce(&quiesce, &trap->bench, &trap->registration);
    ck_assert_int_eq(trial_wait(&quiesce), 0);
    ck_assert(!is_armed(trap));
}

static void by_drop(struct trap *trap)
{
    bench_release(&trap->bench, &trap->registration);
}

static void by_shutdown(struct trap *trap)
{
    ouro__driver_shut_down(&trap->bench.handle);
    await_unarmed(trap);
}

OURO_TEST_URING(what_nobody_has_taken_is_closed_at_the_end)
{
    end_with_untaken(by_quiesce);
    end_with_untaken(by_drop);
    end_with_untaken(by_shutdown);
}

/* A connection that comes while the multishot is being cancelled. */
OURO_TEST_URING(what_comes_during_the_end_is_closed)
{
    struct trap trap;
    struct trial quiesce;
    begin(&trap);
    arm(&trap);
    connect_some(&trap, 3); /* not collected yet */
    trial_quiesce(&quiesce, &trap.bench, &trap.registration);
    ck_assert_int_eq(trial_wait(&quiesce), 0);
    bench_release(&trap.bench, &trap.registration);
    (void)close(trap.listener); /* and so end those that stayed in the backlog */
    trap.listener = -1;
    expect_ends(&trap, 3);
    end(&trap);
}

/* shutdown(2) on the listener ends the multishot with -EINVAL, and each acceptor with the same. */
OURO_TEST_URING(a_listener_that_was_shut_down_is_an_error)
{
    struct trap trap;
    struct trial waiting[2];
    begin(&trap);
    arm(&trap);
    for (int i = 0; i < 2; i++)
        trial_accept(&waiting[i], &trap.bench, &trap.registration);
    bench_turn(&trap.bench, 0);
    ck_assert_int_eq(shutdown(trap.listener, SHUT_RDWR), 0);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(trial_wait(&waiting[i]), -EINVAL);
    ck_assert(!is_armed(&trap));
    end(&trap);
}

/* Out of descriptors: an acceptor is told, and the connection waits.  A request keeps the limit of
 * the time at which it was made, so the limit is lowered before. */
OURO_TEST_URING(without_descriptors_one_acceptor_gets_the_error)
{
    enum { ROOM = 64 };
    int fillers[ROOM];
    int filled = 0;
    struct trap trap;
    struct trial waiting;
    struct rlimit before;
    if (ouro__stack_on_valgrind())
        ouro_test_skip("Valgrind does not tell the kernel of a lower RLIMIT_NOFILE");
    begin(&trap);
    int next = dup(trap.listener);
    (void)close(next);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit tight = {.rlim_cur = (rlim_t)next + ROOM, .rlim_max = before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &tight), 0);
    arm(&trap);
    trial_accept(&waiting, &trap.bench, &trap.registration);
    bench_turn(&trap.bench, 0);
    connect_some(&trap, 1);
    while (filled < ROOM && (fillers[filled] = dup(trap.listener)) >= 0)
        filled++;
    int rc = trial_wait(&waiting);
    while (filled > 0)
        (void)close(fillers[--filled]);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert_int_eq(rc, -EMFILE);
    accept_rest(&trap, trap.count - 1);
    end(&trap);
}
