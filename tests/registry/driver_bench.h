/* SPDX-License-Identifier: MIT */
/*
 * A driver on the calling thread, without any runtime around it, and operations to try it with.
 */
#ifndef OURO_TEST_DRIVER_BENCH_H
#define OURO_TEST_DRIVER_BENCH_H

#include "support/ouro_test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "epoll/epoll.h"
#include "probe/feature.h"
#include "probe/uses.h"
#include "registry/driver.h"
#include "registry/registration.h"
#include "support/sockets.h"
#include "uring/uring.h"

#define BENCH_WAIT_NS (10 * OURO_TEST_SECOND)

struct bench {
    struct ouro__driver_handle handle;
    struct ouro__driver_config config;
    unsigned done; /* operations of all trials */
};

/* An operation, and what became of it. */
struct trial {
    struct ouro__op op;
    struct bench *bench;
    unsigned done;
    unsigned place; /* the how manieth of the bench's operations it was */
};

static inline uint64_t bench_features(void)
{
    static struct ouro__feature_report report;
    if (report.present == 0)
        ck_assert_int_eq(ouro__feature_detect(ouro__uring_uses(), &report), 0);
    return report.present | ouro__uring_uses_later();
}

static inline void bench_init(struct bench *bench)
{
    bool uring = ouro_test_driver() == OURO_DRIVER_URING;
    memset(bench, 0, sizeof(*bench));
    bench->config.spin_us = UINT32_MAX;
    if (uring)
        bench->config.features = bench_features();
    ck_assert_int_eq(
        ouro__driver_handle_init(&bench->handle, uring ? &ouro__uring_ops : &ouro__epoll_ops), 0);
}

static inline void bench_open(struct bench *bench)
{
    bench_init(bench);
    ck_assert_int_eq(ouro__driver_open(&bench->handle, &bench->config), 0);
}

static inline void bench_close(struct bench *bench)
{
    ouro__driver_close(&bench->handle);
    struct ouro_io_driver_metrics metrics;
    ouro__driver_metrics(&bench->handle, &metrics);
    ck_assert_uint_eq(metrics.submitted, metrics.completed);
    ck_assert_uint_eq(metrics.released, metrics.deregistered);
    ck_assert_uint_eq(metrics.registered, metrics.deregistered);
    ouro__driver_handle_fini(&bench->handle);
}

static inline void bench_turn(struct bench *bench, int64_t timeout_ns)
{
    ouro__driver_turn(&bench->handle, timeout_ns);
}

static inline struct ouro_io_driver_metrics bench_metrics(struct bench *bench)
{
    struct ouro_io_driver_metrics metrics;
    ouro__driver_metrics(&bench->handle, &metrics);
    return metrics;
}

static inline struct ouro__registration bench_register(struct bench *bench, int fd)
{
    struct ouro__registration registration = {NULL};
    ck_assert_int_eq(ouro__registration_new(&bench->handle, fd, 0, &registration), 0);
    return registration;
}

/* Drops it, and turns until it has been released. */
static inline void bench_release(struct bench *bench, struct ouro__registration *registration)
{
    uint64_t released = bench_metrics(bench).released;
    int64_t limit_ns = ouro_test_now_ns() + BENCH_WAIT_NS;
    ouro__registration_drop(registration);
    while (bench_metrics(bench).released == released) {
        ck_assert_int_lt(ouro_test_now_ns(), limit_ns);
        bench_turn(bench, OURO_TEST_MS);
    }
}

static inline void trial_done(struct ouro__op *op)
{
    struct trial *trial = OURO__CONTAINER_OF(op, struct trial, op);
    ck_assert_int_eq(op->state, OURO__OP_COMPLETED);
    ck_assert(!trial->bench->handle.driver->in_turn);
    trial->done++;
    trial->place = ++trial->bench->done;
}

static inline void trial_init(struct trial *trial, struct bench *bench,
                              const struct ouro__registration *registration, unsigned code,
                              unsigned lane)
{
    *trial = (struct trial){
        .bench = bench,
        .op = {.sio = registration->sio,
               .code = (uint8_t)code,
               .lane = (uint8_t)lane,
               .done = trial_done},
    };
}

static inline void trial_submit(struct trial *trial)
{
    unsigned before = trial->done;
    trial->op.state = OURO__OP_IDLE;
    ouro__driver_submit(trial->bench->handle.driver, &trial->op);
    ck_assert_uint_eq(trial->done, before); /* never inside submit() */
}

static inline void trial_cancel(struct trial *trial)
{
    unsigned before = trial->done;
    ouro__driver_cancel(trial->bench->handle.driver, &trial->op);
    ck_assert_uint_eq(trial->done, before); /* nor inside cancel() */
}

/* Turns until it is done; its result. */
static inline int trial_wait(struct trial *trial)
{
    int64_t limit_ns = ouro_test_now_ns() + BENCH_WAIT_NS;
    while (trial->done == 0) {
        ck_assert_int_lt(ouro_test_now_ns(), limit_ns);
        bench_turn(trial->bench, OURO_TEST_SECOND);
    }
    ck_assert_uint_eq(trial->done, 1);
    trial->done = 0;
    return trial->op.result;
}

static inline void trial_recv(struct trial *trial, struct bench *bench,
                              const struct ouro__registration *registration, void *buffer,
                              size_t size)
{
    trial_init(trial, bench, registration, OURO__OP_RECV, OURO__LANE_READ);
    trial->op.arg.io.buffer = buffer;
    trial->op.arg.io.size = size;
    trial_submit(trial);
}

static inline void trial_send(struct trial *trial, struct bench *bench,
                              const struct ouro__registration *registration, const void *buffer,
                              size_t size)
{
    trial_init(trial, bench, registration, OURO__OP_SEND, OURO__LANE_WRITE);
    trial->op.arg.io.buffer = (void *)(uintptr_t)buffer;
    trial->op.arg.io.size = size;
    trial_submit(trial);
}

static inline void trial_connect(struct trial *trial, struct bench *bench,
                                 const struct ouro__registration *registration,
                                 const struct sockaddr_in *address)
{
    trial_init(trial, bench, registration, OURO__OP_CONNECT, OURO__LANE_WRITE);
    trial->op.arg.connect.addr = (const struct sockaddr *)address;
    trial->op.arg.connect.length = sizeof(*address);
    trial_submit(trial);
}

static inline void trial_accept(struct trial *trial, struct bench *bench,
                                const struct ouro__registration *registration)
{
    trial_init(trial, bench, registration, OURO__OP_ACCEPT, OURO__LANE_ACCEPT);
    trial_submit(trial);
}

static inline void trial_quiesce(struct trial *trial, struct bench *bench,
                                 const struct ouro__registration *registration)
{
    trial_init(trial, bench, registration, OURO__OP_QUIESCE, OURO__LANE_QUIESCE);
    trial_submit(trial);
}

/* A connected pair of non-blocking stream sockets. */
static inline void bench_pair(int ends[2])
{
    int rc = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends);
    ck_assert_msg(rc == 0, "socketpair: %m");
}

static inline int bench_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_msg(fd >= 0, "socket: %m");
    return fd;
}

static inline struct sockaddr_in bench_loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)},
    };
}

#endif
