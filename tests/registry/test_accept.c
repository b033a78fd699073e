/* SPDX-License-Identifier: MIT */
/*
 * Acceptors on one listening descriptor wait in line, on both drivers.
 */
#include "driver_bench.h"

#include <errno.h>
#include <fcntl.h>

#include "registry/accept_queue.h"

enum { ACCEPTORS = 4 };

struct line {
    struct bench bench;
    struct ouro__registration registration;
    struct trial trials[ACCEPTORS];
    uint16_t port;
    int listener;
};

static void line_begin(struct line *line)
{
    memset(line, 0, sizeof(*line));
    bench_open(&line->bench);
    line->listener = ouro_test_listen(AF_INET, 16, &line->port);
    ck_assert_int_eq(fcntl(line->listener, F_SETFL, O_NONBLOCK), 0);
    ck_assert_int_eq(ouro__registration_new(&line->bench.handle, line->listener,
                                            OURO__ACCEPTS_SINGLY, &line->registration),
                     0);
    for (int i = 0; i < ACCEPTORS; i++)
        trial_accept(&line->trials[i], &line->bench, &line->registration);
    bench_turn(&line->bench, 0);
}

static void line_end(struct line *line)
{
    ck_assert_uint_eq(line->bench.handle.driver->inflight, 0);
    if (line->registration.sio != NULL)
        bench_release(&line->bench, &line->registration);
    bench_close(&line->bench);
    (void)close(line->listener);
}

static void expect_connection(struct line *line, int acceptor)
{
    int peer = ouro_test_connect(AF_INET, line->port);
    int fd = trial_wait(&line->trials[acceptor]);
    ck_assert_int_ge(fd, 0);
    ck_assert_uint_eq(ouro_test_peer_port(fd), ouro_test_local_port(peer));
    (void)close(fd);
    (void)close(peer);
}

OURO_TEST(acceptors_get_connections_in_order)
{
    struct line line;
    line_begin(&line);
    for (int i = 0; i < ACCEPTORS; i++) {
        expect_connection(&line, i);
        for (int k = i + 1; k < ACCEPTORS; k++)
            ck_assert_uint_eq(line.trials[k].done, 0);
    }
    line_end(&line);
}

OURO_TEST(cancelled_acceptors_leave_the_line)
{
    struct line line;
    line_begin(&line);
    for (int i = 0; i < ACCEPTORS; i++) {
        if (i == 1)
            continue;
        trial_cancel(&line.trials[i]);
        trial_cancel(&line.trials[i]); /* a hint, however often */
        ck_assert_int_eq(trial_wait(&line.trials[i]), -ECANCELED);
    }
    expect_connection(&line, 1);
    line_end(&line);
}

OURO_TEST(quiesce_ends_the_whole_line)
{
    struct line line;
    struct trial quiesce;
    line_begin(&line);
    trial_quiesce(&quiesce, &line.bench, &line.registration);
    ck_assert_int_eq(trial_wait(&quiesce), 0);
    for (int i = 0; i < ACCEPTORS; i++) {
        ck_assert_uint_eq(line.trials[i].done, 1);
        ck_assert_int_eq(line.trials[i].op.result, -ECANCELED);
    }
    trial_accept(&line.trials[0], &line.bench, &line.registration);
    ck_assert_int_eq(trial_wait(&line.trials[0]), -ECANCELED);
    line_end(&line);
}

OURO_TEST(a_dropped_registration_ends_the_whole_line)
{
    struct line line;
    line_begin(&line);
    bench_release(&line.bench, &line.registration);
    for (int i = 0; i < ACCEPTORS; i++) {
        ck_assert_uint_eq(line.trials[i].done, 1);
        ck_assert_int_eq(line.trials[i].op.result, -ECANCELED);
    }
    line_end(&line);
}

OURO_TEST(a_shutdown_ends_the_whole_line)
{
    struct line line;
    line_begin(&line);
    ouro__driver_shut_down(&line.bench.handle);
    for (int i = 0; i < ACCEPTORS; i++)
        ck_assert_int_eq(trial_wait(&line.trials[i]), -ECANCELED);
    line_end(&line);
}
