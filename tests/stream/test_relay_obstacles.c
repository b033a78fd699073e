/* SPDX-License-Identifier: MIT */
/*
 * What stands in the way of splices: sinks that go, which must raise no SIGPIPE, and urgent data.
 */
#include "stream/relayed.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "support/child.h"

/* The same with a pipe, which cannot be reset. */
static void *take_and_close(void *arg)
{
    struct resetter *taker = arg;
    static __thread char bytes[65536];
    for (size_t taken = 0; taken < taker->takes;) {
        ssize_t n = read(taker->fd, bytes, sizeof(bytes));
        ck_assert_int_gt(n, 0);
        taken += (size_t)n;
    }
    (void)close(taker->fd);
    return NULL;
}

/* Into a socket that was reset, and into a pipe without a reader. */
static int relay_to_nobody(void *arg)
{
    const struct ouro_relay_options options = {sizeof(options), OURO_RELAY_F_ONE_WAY, 0};
    (void)arg;
    for (int to_pipe = 0; to_pipe < 2; to_pipe++) {
        struct relayed relayed = relayed_open(OURO_STREAM_TCP, OURO_STREAM_UNIX);
        struct ouro_stream *writer = NULL;
        int fds[2];
        ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
        ck_assert_int_eq(ouro_stream_from_fd(fds[1], &writer), 0);
        struct flow flow = {.fd = relayed.fd[0]};
        flow_begin(&flow, send_in_vain);
        (void)close(fds[0]);
        relayed_close_fd(&relayed, 1);
        struct ouro_stream *to = to_pipe ? writer : relayed.stream[1];
        ck_assert_int_eq(ouro_relay(relayed.stream[0], to, &options, NULL), -EPIPE);
        ck_assert_int_eq(ouro_stream_close(writer), 0);
        ck_assert_int_eq(ouro_stream_close(relayed.stream[0]), 0);
        ck_assert_int_eq(ouro_stream_close(relayed.stream[1]), 0);
        flow_end(&flow);
        relayed_close_fd(&relayed, 0);
    }
    return 0;
}

/* A reader that takes a part and goes, so that a splice meets the end and not the first write. */
static int relay_to_one_who_goes(void *arg)
{
    const struct ouro_relay_options options = {sizeof(options), OURO_RELAY_F_ONE_WAY, 0};
    (void)arg;
    for (int to_pipe = 0; to_pipe < 2; to_pipe++) {
        struct relayed relayed = relayed_open(OURO_STREAM_TCP, OURO_STREAM_TCP);
        struct ouro_stream *writer = NULL;
        int fds[2];
        ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
        ck_assert_int_eq(ouro_stream_from_fd(fds[1], &writer), 0);
        struct flow flow = {.fd = relayed.fd[0]};
        struct resetter resetter = {.fd = relayed.fd[1], .takes = 1000000};
        if (to_pipe)
            resetter = (struct resetter){.fd = fds[0], .takes = 1000000};
        flow_begin(&flow, send_in_vain);
        ck_assert_int_eq(pthread_create(&resetter.thread, NULL,
                                        to_pipe ? take_and_close : take_and_reset, &resetter),
                         0);
        struct ouro_stream *to = to_pipe ? writer : relayed.stream[1];
        int rc = ouro_relay(relayed.stream[0], to, &options, NULL);
        ck_assert_msg(rc == -EPIPE || rc == -ECONNRESET, "relay: %d", rc);
        rc = ouro_relay(relayed.stream[0], to, &options, NULL);
        ck_assert_int_eq(rc, -EPIPE);
        ck_assert_int_eq(pthread_join(resetter.thread, NULL), 0);
        ck_assert_int_eq(ouro_stream_close(writer), 0);
        ck_assert_int_eq(ouro_stream_close(relayed.stream[0]), 0);
        ck_assert_int_eq(ouro_stream_close(relayed.stream[1]), 0);
        flow_end(&flow);
        relayed_close_fd(&relayed, 0);
        if (to_pipe)
            relayed_close_fd(&relayed, 1);
        else
            (void)close(fds[0]);
    }
    return 0;
}

/* A program that ignores the signal gets the same results, by fewer system calls. */
static int with_each_sigpipe(void *arg)
{
    (void)arg;
    for (int ignored = 0; ignored < 2; ignored++) {
        (void)signal(SIGPIPE, ignored ? SIG_IGN : SIG_DFL);
        everywhere(relay_to_nobody, NULL);
        everywhere(relay_to_one_who_goes, NULL);
    }
    return 0;
}

OURO_TEST(no_relay_raises_sigpipe)
{
    ouro_test_child_must_pass(with_each_sigpipe, NULL);
}

/* Urgent bytes stand in the way of splice(2).  They are not relayed; all others are. */
static void *send_with_urgent(void *arg)
{
    struct flow *flow = arg;
    static __thread unsigned char buffer[20000];
    for (int turn = 0; turn < 40; turn++) {
        for (size_t i = 0; i < sizeof(buffer); i++)
            buffer[i] = flow_byte(flow->seed, flow->count + i);
        ouro_test_write_exactly(flow->fd, buffer, sizeof(buffer));
        flow->count += sizeof(buffer);
        ck_assert_int_eq(send(flow->fd, "!", 1, MSG_OOB), 1);
    }
    ck_assert_int_eq(shutdown(flow->fd, SHUT_WR), 0);
    return NULL;
}

static int urgent(void *arg)
{
    const struct ouro_relay_options options = {sizeof(options),
                                               OURO_RELAY_F_ONE_WAY | *(const uint32_t *)arg, 0};
    struct relayed relayed = relayed_open(OURO_STREAM_TCP, OURO_STREAM_TCP);
    struct flow send = {.fd = relayed.fd[0], .seed = 1};
    struct flow receive = {.fd = relayed.fd[1], .seed = 1, .piece_max = 30000};
    flow_begin(&send, send_with_urgent);
    flow_begin(&receive, flow_receive);
    ck_assert_int_eq(ouro_relay(relayed.stream[0], relayed.stream[1], &options, NULL), 0);
    flow_end(&send);
    flow_end(&receive);
    ck_assert_uint_ge(receive.count, send.count); /* one overtaken by the next becomes normal */
    ck_assert_uint_lt(receive.count, send.count + 40);
    relayed_close(&relayed);
    return 0;
}

OURO_TEST(urgent_data_stops_no_relay)
{
    uint32_t ways[] = {0, OURO_RELAY_F_COPY, OURO_RELAY_F_SPLICE};
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
        everywhere(urgent, &ways[i]);
}
