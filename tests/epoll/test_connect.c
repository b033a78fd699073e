/* SPDX-License-Identifier: MIT */
/*
 * Connect as epoll emulates it: what is reported, what is waited for, and what must not be
 * believed.
 */
#include "epoll/rig.h"

#include <sys/un.h>

#include "support/unanswered.h"

static int new_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    return fd;
}

static int32_t connect_to(struct rig *rig, struct ouro__registration registration, uint16_t port)
{
    struct sockaddr_in addr = rig_loopback(port);
    struct rig_op op = rig_connect(registration, (const struct sockaddr *)&addr, sizeof(addr));
    return rig_do(rig, &op);
}

OURO_TEST_EPOLL(connects_and_is_writable)
{
    struct rig rig;
    rig_open(&rig);
    uint16_t port = 0;
    int listener = ouro_test_listen(AF_INET, 4, &port);
    int fd = new_socket();
    struct ouro__registration registration = rig_register(&rig, fd, 0);

    ck_assert_int_eq(connect_to(&rig, registration, port), 0);
    ck_assert_uint_eq(rig_ready(registration) & OURO_WRITABLE, OURO_WRITABLE);
    int peer = ouro_test_accept(listener);

    /* So a first write is made at once. */
    struct rig_op op = rig_send(registration, "hello", 5, 0);
    rig_submit(&rig, &op);
    ouro__driver_turn(&rig.handle, 0);
    ck_assert_uint_eq(op.ended, 1);
    ck_assert_int_eq(op.op.result, 5);

    ouro__registration_drop(&registration);
    rig_close(&rig);
    close(peer);
    close(fd);
    close(listener);
}

OURO_TEST_EPOLL(refused_connect_returns_econnrefused)
{
    struct rig rig;
    rig_open(&rig);
    uint16_t port = 0;
    int refusing = ouro_test_refusing(AF_INET, &port);
    int fd = new_socket();
    struct ouro__registration registration = rig_register(&rig, fd, 0);
    ck_assert_int_eq(connect_to(&rig, registration, port), -ECONNREFUSED);
    ouro__registration_drop(&registration);
    rig_close(&rig);
    close(fd);
    close(refusing);
}

/* The kernel says HUP of a socket that was never connected: adding it first would be a mistake. */
OURO_TEST_EPOLL(fresh_socket_is_never_taken_for_closed)
{
    int fd = new_socket();
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET};
    ck_assert_int_eq(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event), 0);
    ck_assert_int_eq(epoll_wait(epoll_fd, &event, 1, 1000), 1);
    ck_assert_uint_ne(event.events & EPOLLHUP, 0);
    close(epoll_fd);

    struct rig rig;
    rig_open(&rig);
    uint16_t port = 0;
    int listener = ouro_test_listen(AF_INET, 4, &port);
    struct ouro__registration registration = rig_register(&rig, fd, 0);
    rig_settle(&rig);
    ck_assert_int_eq(connect_to(&rig, registration, port), 0);
    rig_settle(&rig);
    ck_assert_uint_eq(rig_ready(registration), OURO_WRITABLE);
    ouro__registration_drop(&registration);
    rig_close(&rig);
    close(fd);
    close(listener);
}

OURO_TEST_EPOLL(spurious_writability_is_waited_out)
{
    struct rig rig;
    rig_open(&rig);
    uint16_t port = 0;
    int hole = ouro_test_black_hole(AF_INET, 0, &port);
    int fd = new_socket();
    struct ouro__registration registration = rig_register(&rig, fd, 0);
    struct sockaddr_in addr = rig_loopback(port);
    struct rig_op op = rig_connect(registration, (const struct sockaddr *)&addr, sizeof(addr));

    ouro__fault_arm(OURO__FAULT_EPOLL_SPURIOUS, 1, 5, 1);
    rig_submit(&rig, &op);
    for (int i = 0; i < 10; i++)
        ouro__driver_turn(&rig.handle, 0);
    ck_assert_uint_eq(ouro__fault_fired(OURO__FAULT_EPOLL_SPURIOUS), 5);
    ck_assert_uint_eq(op.ended, 0);

    ouro__driver_cancel(rig.handle.driver, &op.op);
    ck_assert_int_eq(rig_wait(&rig, &op), -ECANCELED);
    ouro__registration_drop(&registration);
    rig_close(&rig);
    close(fd);
    close(hole);
}

OURO_TEST_EPOLL(spurious_writability_does_not_hide_success)
{
    struct rig rig;
    rig_open(&rig);
    uint16_t port = 0;
    int listener = ouro_test_listen(AF_INET, 4, &port);
    int fd = new_socket();
    struct ouro__registration registration = rig_register(&rig, fd, 0);
    ouro__fault_arm(OURO__FAULT_EPOLL_SPURIOUS, 1, UINT64_MAX, 1);
    ck_assert_int_eq(connect_to(&rig, registration, port), 0);
    ck_assert_uint_gt(ouro__fault_fired(OURO__FAULT_EPOLL_SPURIOUS), 0);
    ouro__registration_drop(&registration);
    rig_close(&rig);
    close(fd);
    close(listener);
}

OURO_TEST_EPOLL(interrupted_connect_goes_on)
{
    struct rig rig;
    rig_open(&rig);
    uint16_t port = 0;
    int listener = ouro_test_listen(AF_INET, 4, &port);
    int fd = new_socket();
    struct ouro__registration registration = rig_register(&rig, fd, 0);
    ouro__fault_arm(OURO__FAULT_EPOLL_CONNECT, 1, 1, -EINTR);
    ck_assert_int_eq(connect_to(&rig, registration, port), 0);
    ck_assert_uint_eq(ouro__fault_fired(OURO__FAULT_EPOLL_CONNECT), 1);

    /* One connection, not two. */
    int peer = ouro_test_accept(listener);
    ck_assert_uint_eq(ouro_test_peer_port(peer), ouro_test_local_port(fd));
    ck_assert_int_eq(ouro_test_poll(listener, POLLIN, 0), 0);
    ouro__registration_drop(&registration);
    rig_close(&rig);
    close(peer);
    close(fd);
    close(listener);
}

static int unix_listener(struct sockaddr_un *addr, socklen_t *length, int backlog)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *addr = (struct sockaddr_un){.sun_family = AF_UNIX};
    *length = sizeof(addr->sun_family); /* the kernel picks an abstract name */
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)addr, *length), 0);
    *length = sizeof(*addr);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)addr, length), 0);
    ck_assert_int_eq(listen(fd, backlog), 0);
    return fd;
}

OURO_TEST_EPOLL(unix_connect_ends_at_once_or_says_eagain)
{
    enum { TRIES = 8 };
    struct rig rig;
    rig_open(&rig);
    struct sockaddr_un addr;
    socklen_t length = 0;
    int listener = unix_listener(&addr, &length, 1);
    struct ouro__registration registration[TRIES];
    int fd[TRIES];
    int32_t result[TRIES];
    for (int i = 0; i < TRIES; i++) {
        fd[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        registration[i] = rig_register(&rig, fd[i], 0);
        struct rig_op op = rig_connect(registration[i], (const struct sockaddr *)&addr, length);
        rig_submit(&rig, &op);
        ouro__driver_turn(&rig.handle, 0);
        ck_assert_uint_eq(op.ended, 1);
        result[i] = op.op.result;
    }
    ck_assert_int_eq(result[0], 0);
    ck_assert_int_eq(result[TRIES - 1], -EAGAIN);
    for (int i = 0; i < TRIES; i++) {
        ouro__registration_drop(&registration[i]);
        close(fd[i]);
    }
    rig_close(&rig);
    close(listener);
}

OURO_TEST_EPOLL(cancelled_connect_ends_once)
{
    struct rig rig;
    rig_open(&rig);
    uint16_t port = 0;
    int hole = ouro_test_black_hole(AF_INET, 0, &port);
    int fd = new_socket();
    struct ouro__registration registration = rig_register(&rig, fd, 0);
    struct sockaddr_in addr = rig_loopback(port);
    struct rig_op op = rig_connect(registration, (const struct sockaddr *)&addr, sizeof(addr));
    rig_submit(&rig, &op);
    rig_settle(&rig);
    ck_assert_uint_eq(op.ended, 0);
    ouro__driver_cancel(rig.handle.driver, &op.op);
    ouro__driver_cancel(rig.handle.driver, &op.op);
    ck_assert_uint_eq(op.ended, 0); /* not from inside cancel() */
    ck_assert_int_eq(rig_wait(&rig, &op), -ECANCELED);
    ouro__driver_cancel(rig.handle.driver, &op.op);
    rig_settle(&rig);
    ck_assert_uint_eq(op.ended, 1);
    ouro__registration_drop(&registration);
    rig_close(&rig);
    close(fd);
    close(hole);
}
