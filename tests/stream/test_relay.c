/* SPDX-License-Identifier: MIT */
/*
 * Relays: every byte once and in order in both directions, over every kind, in small and in large
 * pieces, with and without splice(2); the counts; how much a stalled relay holds.
 */
#include "stream/relayed.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "ouro/error.h"
#include "ouro/group.h"
#include "ouro/time.h"
#include "stream/relay_way.h"
#include "support/child.h"
#include "support/forbid.h"
#include "support/leaks.h"

enum { TOTAL = 1500000 };

struct shape {
    enum ouro_stream_kind first, second;
    size_t piece_max;
    uint64_t total;
    uint32_t flags;
};

static int both_ways(void *arg)
{
    const struct shape *shape = arg;
    const struct ouro_relay_options options = {sizeof(options), shape->flags, 0};
    struct relayed relayed = relayed_open(shape->first, shape->second);
    struct ouro_relay_counts counts;
    struct flow flow[4] = {
        {.fd = relayed.fd[0], .seed = 1, .total = shape->total, .piece_max = shape->piece_max},
        {.fd = relayed.fd[1], .seed = 2, .total = shape->total / 2, .piece_max = shape->piece_max},
        {.fd = relayed.fd[1], .seed = 1, .piece_max = 100000},
        {.fd = relayed.fd[0], .seed = 2, .piece_max = 3000},
    };
    for (int i = 0; i < 4; i++)
        flow_begin(&flow[i], i < 2 ? flow_send : flow_receive);
    ck_assert_int_eq(ouro_relay(relayed.stream[0], relayed.stream[1], &options, &counts), 0);
    for (int i = 0; i < 4; i++)
        flow_end(&flow[i]);
    for (int i = 0; i < 2; i++) {
        ck_assert_uint_eq(flow[2 + i].count, flow[i].total);
        ck_assert_uint_eq(flow[2 + i].wrong, 0);
    }
    ck_assert_uint_eq(counts.first_to_second, flow[0].total);
    ck_assert_uint_eq(counts.second_to_first, flow[1].total);
    relayed_close(&relayed);
    return 0;
}

OURO_TEST(both_directions_carry_every_byte)
{
    struct shape shape = {OURO_STREAM_TCP, OURO_STREAM_TCP, 200000, TOTAL, 0};
    everywhere(both_ways, &shape);
}

OURO_TEST(from_tcp_to_a_unix_socket_and_back)
{
    struct shape shape = {OURO_STREAM_TCP, OURO_STREAM_UNIX, 60000, TOTAL, 0};
    everywhere(both_ways, &shape);
}

OURO_TEST(small_pieces_arrive)
{
    struct shape shape = {OURO_STREAM_UNIX, OURO_STREAM_TCP, 500, 100000, 0};
    everywhere(both_ways, &shape);
}

/* A worker keeps the pipe that it has spliced through, so the descriptors tell what was done. */
static int forced_ways(void *arg)
{
    struct shape copied = {OURO_STREAM_TCP, OURO_STREAM_TCP, 200000, TOTAL, OURO_RELAY_F_COPY};
    struct shape spliced = {OURO_STREAM_TCP, OURO_STREAM_UNIX, 500, 100000, OURO_RELAY_F_SPLICE};
    (void)arg;
    ck_assert_int_eq(both_ways(&copied), 0);
    const unsigned before = ouro_test_open_descriptors();
    ck_assert_int_eq(both_ways(&copied), 0);
    ck_assert_uint_eq(ouro_test_open_descriptors(), before);
    ck_assert_int_eq(both_ways(&spliced), 0);
    ck_assert_uint_gt(ouro_test_open_descriptors(), before);
    return 0;
}

OURO_TEST(the_way_can_be_forced)
{
    everywhere(forced_ways, NULL);
}

/* From a pipe through a socket's stream and on into a pipe, each a one-way relay. */
static int pipes(void *arg)
{
    const struct ouro_relay_options options = {sizeof(options), OURO_RELAY_F_ONE_WAY, 0};
    struct relayed relayed = relayed_open(OURO_STREAM_TCP, OURO_STREAM_TCP);
    struct ouro_stream *reader = NULL;
    struct ouro_stream *writer = NULL;
    struct ouro_relay_counts counts;
    int in[2], out[2];
    (void)arg;
    ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
    ck_assert_int_eq(ouro_stream_from_fd(in[0], &reader), 0);
    ck_assert_int_eq(ouro_stream_from_fd(out[1], &writer), 0);

    struct flow send = {
        .fd = in[1], .seed = 3, .total = TOTAL, .piece_max = 90000, .is_pipe = true};
    struct flow receive = {.fd = relayed.fd[0], .seed = 3, .piece_max = 50000};
    flow_begin(&send, flow_send);
    flow_begin(&receive, flow_receive);
    ck_assert_int_eq(ouro_relay(reader, relayed.stream[0], &options, &counts), 0);
    flow_end(&send);
    flow_end(&receive);
    ck_assert_uint_eq(counts.first_to_second, TOTAL);
    ck_assert_uint_eq(counts.second_to_first, 0);
    ck_assert_uint_eq(receive.count, TOTAL);
    ck_assert_uint_eq(receive.wrong, 0);

    send = (struct flow){.fd = relayed.fd[1], .seed = 4, .total = TOTAL, .piece_max = 90000};
    receive = (struct flow){.fd = out[0], .seed = 4, .piece_max = 50000};
    flow_begin(&send, flow_send);
    flow_begin(&receive, flow_receive);
    ck_assert_int_eq(ouro_relay(relayed.stream[1], writer, &options, &counts), 0);
    ck_assert_int_eq(ouro_stream_close(writer), 0); /* a pipe's end is its close */
    flow_end(&send);
    flow_end(&receive);
    ck_assert_uint_eq(counts.first_to_second, TOTAL);
    ck_assert_uint_eq(receive.count, TOTAL);
    ck_assert_uint_eq(receive.wrong, 0);
    ck_assert_int_eq(ouro_stream_close(reader), 0);
    (void)close(out[0]);
    relayed_close(&relayed);
    return 0;
}

OURO_TEST(pipes_are_relayed_one_way)
{
    everywhere(pipes, NULL);
}

/* One stream in both places sends everything back. */
static int echo(void *arg)
{
    const struct ouro_relay_options options = {sizeof(options), OURO_RELAY_F_ONE_WAY, 0};
    struct pair pair = connected();
    struct flow send = {.fd = pair.peer, .seed = 5, .total = TOTAL, .piece_max = 70000};
    struct flow receive = {.fd = pair.peer, .seed = 5, .piece_max = 70000};
    (void)arg;
    flow_begin(&send, flow_send);
    flow_begin(&receive, flow_receive);
    ck_assert_int_eq(ouro_relay(pair.stream, pair.stream, &options, NULL), 0);
    flow_end(&send);
    flow_end(&receive);
    ck_assert_uint_eq(receive.count, TOTAL);
    ck_assert_uint_eq(receive.wrong, 0);
    disconnect(&pair);
    return 0;
}

OURO_TEST(a_one_way_relay_to_itself_is_an_echo)
{
    everywhere(echo, NULL);
}

static int forbid_and_relay(void *arg)
{
    struct shape shape = {OURO_STREAM_TCP, OURO_STREAM_UNIX, 100000, TOTAL, 0};
    ouro_test_forbid_call(SYS_splice, *(int *)arg);
    everywhere(both_ways, &shape);
    return 0;
}

OURO_TEST(without_splice_all_is_copied)
{
    int errors[] = {ENOSYS, EPERM, EINVAL};
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
        ouro_test_child_must_pass(forbid_and_relay, &errors[i]);
}

static int relay_without_descriptors(void *arg)
{
    struct rlimit none = {.rlim_cur = 3}; /* those that are open */
    struct rlimit before;
    struct relayed relayed = relayed_open(OURO_STREAM_TCP, OURO_STREAM_TCP);
    const struct ouro_relay_options options = {sizeof(options), OURO_RELAY_F_ONE_WAY, 0};
    struct flow send = {.fd = relayed.fd[0], .seed = 1, .total = TOTAL, .piece_max = 100000};
    struct flow receive = {.fd = relayed.fd[1], .seed = 1, .piece_max = 100000};
    (void)arg;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none.rlim_max = before.rlim_max;
    flow_begin(&send, flow_send);
    flow_begin(&receive, flow_receive);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    ck_assert_int_eq(ouro_relay(relayed.stream[0], relayed.stream[1], &options, NULL), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    flow_end(&send);
    flow_end(&receive);
    ck_assert_uint_eq(receive.count, TOTAL);
    ck_assert_uint_eq(receive.wrong, 0);
    relayed_close(&relayed);
    return 0;
}

OURO_TEST(without_descriptors_all_is_copied)
{
    in_place(IN_TASK, relay_without_descriptors, NULL);
    in_place(IN_WORKER_TASK, relay_without_descriptors, NULL);
}

static size_t unread(int fd)
{
    int count = 0;
    ck_assert_int_eq(ioctl(fd, FIONREAD, &count), 0);
    return (size_t)count;
}

struct stalled {
    struct relayed relayed;
    struct ouro_relay_counts counts;
    int rc;
};

static int relay_stalled(void *arg)
{
    struct stalled *stalled = arg;
    stalled->rc =
        ouro_relay(stalled->relayed.stream[0], stalled->relayed.stream[1], NULL, &stalled->counts);
    return 0;
}

/* Writes to a relay whose reader does not read until nothing more is taken; how much that was. */
static size_t fill_up(int fd)
{
    static char bytes[65536];
    size_t sum = 0;
    int quiet = 0;
    while (quiet < 20) {
        ssize_t n = send(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        quiet = n > 0 ? 0 : quiet + 1;
        sum += n > 0 ? (size_t)n : 0;
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
    }
    return sum;
}

/* What is neither in the sender's socket nor in the receiver's is held by the relay. */
static int stall(void *arg)
{
    struct stalled stalled = {.rc = 1};
    struct ouro_task *task = NULL;
    static char bytes[65536];
    (void)arg;
    stalled.relayed = relayed_open(OURO_STREAM_UNIX, OURO_STREAM_UNIX);
    ck_assert_int_eq(ouro_task_spawn_here(relay_stalled, &stalled, &task), 0);
    size_t sent = fill_up(stalled.relayed.fd[0]);
    size_t left_behind = unread(ouro_stream_fd(stalled.relayed.stream[0]));
    size_t arrived = unread(stalled.relayed.fd[1]);
    ck_assert_uint_eq(arrived, stalled.counts.first_to_second);
    ck_assert_uint_gt(sent, left_behind + arrived);
    ck_assert_uint_le(sent - left_behind - arrived, OURO__RELAY_PIPE_BYTES);

    /* It goes on when the reader reads. */
    ck_assert_int_eq(shutdown(stalled.relayed.fd[0], SHUT_WR), 0);
    size_t got = 0;
    while (got < sent) {
        ssize_t n = recv(stalled.relayed.fd[1], bytes, sizeof(bytes), MSG_DONTWAIT);
        got += n > 0 ? (size_t)n : 0;
        if (n <= 0)
            ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
    }
    relayed_close_fd(&stalled.relayed, 1);
    ck_assert_int_eq(ouro_task_join(task, NULL), 0);
    ck_assert_int_eq(stalled.rc, 0);
    ck_assert_uint_eq(stalled.counts.first_to_second, sent);
    relayed_close(&stalled.relayed);
    return 0;
}

OURO_TEST(a_stalled_reader_holds_a_bounded_amount)
{
    in_place(IN_TASK, stall, NULL);
    in_place(IN_WORKER_TASK, stall, NULL);
}

static unsigned count_descriptors(void)
{
    unsigned count = 0;
    for (int fd = 0; fd < 200; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* Many relays have moved much and are idle again: they keep no pipes but the worker's few. */
static int idle(void *arg)
{
    enum { RELAYS = 12, MUCH = 300000 };
    static char bytes[MUCH];
    struct stalled stalled[RELAYS];
    struct ouro_task *task[RELAYS];
    (void)arg;
    for (int i = 0; i < RELAYS; i++) {
        stalled[i] = (struct stalled){.rc = 1};
        stalled[i].relayed = relayed_open(OURO_STREAM_UNIX, OURO_STREAM_UNIX);
    }
    unsigned before = count_descriptors();
    for (int i = 0; i < RELAYS; i++)
        ck_assert_int_eq(ouro_task_spawn_here(relay_stalled, &stalled[i], &task[i]), 0);
    for (int i = 0; i < RELAYS; i++) {
        struct relayed *relayed = &stalled[i].relayed;
        for (size_t sent = 0, got = 0; got < MUCH;) {
            ssize_t n = send(relayed->fd[0], bytes, MUCH - sent, MSG_DONTWAIT);
            sent += n > 0 ? (size_t)n : 0;
            ck_assert_int_eq(ouro_yield(), 0);
            n = recv(relayed->fd[1], bytes, MUCH, MSG_DONTWAIT);
            got += n > 0 ? (size_t)n : 0;
        }
    }
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(ouro_yield(), 0);
    ck_assert_uint_gt(count_descriptors(), before); /* it was spliced */
    ck_assert_uint_le(count_descriptors(), before + 2 * OURO__PIPE_POOL_SIZE);
    for (int i = 0; i < RELAYS; i++) {
        for (int side = 0; side < 2; side++)
            relayed_close_fd(&stalled[i].relayed, side);
        ck_assert_int_eq(ouro_task_join(task[i], NULL), 0);
        ck_assert_int_eq(stalled[i].rc, 0);
        relayed_close(&stalled[i].relayed);
    }
    return 0;
}

OURO_TEST(an_idle_relay_holds_no_pipe)
{
    in_place(IN_TASK, idle, NULL);
}
