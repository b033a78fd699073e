/* SPDX-License-Identifier: MIT */
/*
 * A bare epoll driver on the calling thread, and operations that say when they are done: what the
 * white-box tests of the backend stand on.
 */
#ifndef OURO_TEST_EPOLL_RIG_H
#define OURO_TEST_EPOLL_RIG_H

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fault.h"
#include "epoll/epoll.h"
#include "registry/registration.h"
#include "support/ouro_test.h"
#include "support/sockets.h"

struct rig {
    struct ouro__driver_handle handle;
};

/* An operation and how often it has ended. */
struct rig_op {
    struct ouro__op op;
    unsigned ended;
};

static inline void rig_open(struct rig *rig)
{
    struct ouro__driver_config config = {.spin_us = UINT32_MAX}; /* it sleeps at once */
    ck_assert_int_eq(ouro__driver_handle_init(&rig->handle, &ouro__epoll_ops), 0);
    ck_assert_int_eq(ouro__driver_open(&rig->handle, &config), 0);
}

static inline void rig_close(struct rig *rig)
{
    ouro__fault_disarm_all();
    ouro__driver_close(&rig->handle);
    ouro__driver_handle_fini(&rig->handle);
}

static inline struct ouro__registration rig_register(struct rig *rig, int fd, uint32_t interest)
{
    struct ouro__registration registration = {.sio = NULL};
    ck_assert_int_eq(ouro__registration_new(&rig->handle, fd, interest, &registration), 0);
    return registration;
}

static inline void rig_op_done(struct ouro__op *op)
{
    struct rig_op *own = OURO__CONTAINER_OF(op, struct rig_op, op);
    own->ended++;
}

static inline void rig_submit(struct rig *rig, struct rig_op *op)
{
    op->op.done = rig_op_done;
    op->ended = 0;
    ouro__driver_submit(rig->handle.driver, &op->op);
}

/* True: it ended at once, with op->op.result. */
static inline bool rig_try_or_submit(struct rig *rig, struct rig_op *op)
{
    op->op.done = rig_op_done;
    op->ended = 0;
    return ouro__driver_try_or_submit(rig->handle.driver, &op->op);
}

static inline struct rig_op rig_recv(struct ouro__registration registration, void *buffer,
                                     size_t size, uint32_t flags)
{
    return (struct rig_op){.op = {.sio = registration.sio,
                                  .code = OURO__OP_RECV,
                                  .lane = OURO__LANE_READ,
                                  .arg = {.io = {.buffer = buffer, .size = size, .flags = flags}}}};
}

static inline struct rig_op rig_send(struct ouro__registration registration, const void *bytes,
                                     size_t size, uint32_t flags)
{
    return (struct rig_op){
        .op = {.sio = registration.sio,
               .code = OURO__OP_SEND,
               .lane = OURO__LANE_WRITE,
               .arg = {.io = {.buffer = (void *)(uintptr_t)bytes, .size = size, .flags = flags}}}};
}

static inline struct rig_op rig_connect(struct ouro__registration registration,
                                        const struct sockaddr *addr, size_t length)
{
    return (struct rig_op){.op = {.sio = registration.sio,
                                  .code = OURO__OP_CONNECT,
                                  .lane = OURO__LANE_WRITE,
                                  .arg = {.connect = {.addr = addr, .length = (uint32_t)length}}}};
}

static inline struct rig_op rig_accept(struct ouro__registration registration)
{
    return (struct rig_op){
        .op = {.sio = registration.sio, .code = OURO__OP_ACCEPT, .lane = OURO__LANE_ACCEPT}};
}

/* Turns until @op has ended (10 s at most), and gives its result. */
static inline int32_t rig_wait(struct rig *rig, struct rig_op *op)
{
    int64_t limit_ns = ouro_test_now_ns() + 10 * OURO_TEST_SECOND;
    while (op->ended == 0) {
        ouro__driver_turn(&rig->handle, OURO_TEST_SECOND);
        ck_assert_msg(ouro_test_now_ns() < limit_ns, "%s does not end", ouro__op_name(op->op.code));
    }
    ck_assert_uint_eq(op->ended, 1);
    return op->op.result;
}

static inline int32_t rig_do(struct rig *rig, struct rig_op *op)
{
    rig_submit(rig, op);
    return rig_wait(rig, op);
}

/* Turns that wait for nothing, so that what is due has happened. */
static inline void rig_settle(struct rig *rig)
{
    for (int i = 0; i < 3; i++)
        ouro__driver_turn(&rig->handle, 0);
}

static inline uint32_t rig_ready(struct ouro__registration registration)
{
    return ouro__readiness_ready(atomic_load(&registration.sio->readiness));
}

static inline struct sockaddr_in rig_loopback(uint16_t port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons(port),
                                .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
}

static inline void rig_nonblocking(int fd)
{
    ck_assert_int_eq(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), 0);
}

/* Two ends of a TCP connection; end[0] does not block. */
static inline void rig_tcp_pair(int end[2])
{
    uint16_t port = 0;
    int listener = ouro_test_listen(AF_INET, 1, &port);
    end[0] = ouro_test_connect(AF_INET, port);
    end[1] = ouro_test_accept(listener);
    ck_assert_int_eq(close(listener), 0);
    rig_nonblocking(end[0]);
}

/* A waker that counts. */
struct rig_waker {
    _Atomic unsigned woken;
    _Atomic unsigned held; /* clones not yet dropped */
};

static inline void *rig_waker_clone(void *data)
{
    struct rig_waker *waker = data;
    waker->held++;
    return data;
}

static inline void rig_waker_wake(void *data)
{
    struct rig_waker *waker = data;
    waker->woken++;
}

static inline void rig_waker_drop(void *data)
{
    struct rig_waker *waker = data;
    waker->held--;
}

#endif
