/* SPDX-License-Identifier: MIT */
/*
 * ICMP errors: which call learns of them, and which calls do not fail.
 */
#include "everywhere.h"
#include "udp.h"

#include <errno.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <string.h>

#include "ouro/group.h"

/* Until the kernel has noted an ICMP error on the socket.  It does so some time after the send. */
static void await_error(const struct ouro_udp_socket *socket)
{
    int fd = ouro_udp_socket_fd(socket);
    ck_assert_int_ne(ouro_test_poll(fd, POLLERR, 10 * OURO_TEST_SECOND) & POLLERR, 0);
}

static int be_refused(void *arg)
{
    const int family = arg != NULL ? AF_INET6 : AF_INET;
    int refusing = -1;
    char buffer[4];
    struct ouro_udp_message message = {.buffer = buffer, .buffer_bytes = 4};
    struct ouro_socket_addr own;
    struct ouro_socket_addr target = udp_refusing(family, &refusing);
    struct ouro_udp_socket *socket =
        udp_with(0, family == AF_INET6 ? "[::1]:0" : "127.0.0.1:0", &own);
    ck_assert_int_eq(ouro_udp_socket_connect(socket, OURO_ADDR_LIST(&target, 1)), 0);
    ck_assert_int_eq(ouro_udp_socket_send(socket, "x", 1), 1);
    ck_assert_int_eq(ouro_udp_socket_recv(socket, buffer, 4), -ECONNREFUSED);
    ck_assert_int_eq(ouro_udp_socket_send(socket, "x", 1), 1);
    await_error(socket);
    ck_assert_int_eq(ouro_udp_socket_send(socket, "x", 1), -ECONNREFUSED);
    ck_assert_int_eq(ouro_udp_socket_send(socket, "x", 1), 1);
    ck_assert_int_eq(ouro_udp_socket_recv_batch(socket, &message, 1), -ECONNREFUSED);
    struct ouro_deadline scope; /* once */
    ck_assert_int_eq(ouro_deadline_begin(&scope, 2 * OURO_MILLISECOND), 0);
    ck_assert_int_eq(ouro_udp_socket_recv(socket, buffer, 4), -ETIMEDOUT);
    ouro_deadline_end(&scope);
    ck_assert_int_eq(ouro_udp_socket_close(socket), 0);
    (void)close(refusing);
    return 0;
}

OURO_TEST(a_connected_socket_is_told_once_that_it_is_refused)
{
    everywhere(be_refused, NULL);
}

OURO_TEST(a_connected_ipv6_socket_is_told_once_that_it_is_refused)
{
    ouro_test_need_family(AF_INET6);
    everywhere(be_refused, (void *)(uintptr_t)1);
}

struct receiving {
    struct ouro_udp_socket *socket;
    ssize_t n;
    char buffer[16];
};

static int receive_task(void *arg)
{
    struct receiving *receiving = arg;
    receiving->n = ouro_udp_socket_recv(receiving->socket, receiving->buffer, 16);
    return 0;
}

/* A receiver that waits on a connected socket is told. */
static int refuse_a_waiting_receiver(void *arg)
{
    int refusing = -1;
    struct ouro_socket_addr own;
    struct ouro_socket_addr target = udp_refusing(AF_INET, &refusing);
    struct receiving receiving = {.socket = udp(&own)};
    struct ouro_task *task = NULL;
    (void)arg;
    ck_assert_int_eq(ouro_udp_socket_connect(receiving.socket, OURO_ADDR_LIST(&target, 1)), 0);
    ck_assert_int_eq(ouro_task_spawn(receive_task, &receiving, &task), 0);
    await_inflight(1);
    ck_assert_int_eq(ouro_udp_socket_send(receiving.socket, "x", 1), 1);
    ck_assert_int_eq(ouro_task_join(task, NULL), 0);
    ck_assert_int_eq(receiving.n, -ECONNREFUSED);
    ck_assert_int_eq(ouro_udp_socket_close(receiving.socket), 0);
    (void)close(refusing);
    return 0;
}

OURO_TEST(a_waiting_receiver_is_told_that_it_is_refused)
{
    everywhere(refuse_a_waiting_receiver, NULL);
}

/* Sends to a dead and a live address in turn: every send to the live one arrives. */
static int send_beside_a_dead_one(void *arg)
{
    const bool v6 = arg != NULL;
    const char *text = v6 ? "[::1]:0" : "127.0.0.1:0";
    int refusing = -1;
    struct ouro_socket_addr own;
    struct ouro_socket_addr live;
    struct ouro_socket_addr dead = udp_refusing(v6 ? AF_INET6 : AF_INET, &refusing);
    struct ouro_udp_socket *receiver = udp_with(0, text, &live);
    struct ouro_udp_socket *sockets[2] = {udp_with(OURO_UDP_F_ERRORS, text, &own),
                                          udp_with(0, text, &own)};
    char buffer[4] = "abc";
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < 20; i++) {
            ck_assert_int_eq(ouro_udp_socket_send_to(sockets[k], "x", 1, &dead), 1);
            ck_assert_int_eq(ouro_udp_socket_send_to(sockets[k], buffer, 3, &live), 3);
            ck_assert_int_eq(ouro_udp_socket_recv(receiver, buffer, 4), 3);
        }
        struct ouro_udp_message batch[4] = {
            {.buffer = buffer, .length = 1, .peer = dead},
            {.buffer = buffer, .length = 2, .peer = live},
            {.buffer = buffer, .length = 1, .peer = dead},
            {.buffer = buffer, .length = 3, .peer = live},
        };
        for (ssize_t sent = 0; sent < 4;) {
            ssize_t n = ouro_udp_socket_send_batch(sockets[k], batch + sent, 4 - (size_t)sent);
            ck_assert_int_gt(n, 0);
            sent += n;
        }
        ck_assert_int_eq(ouro_udp_socket_recv(receiver, buffer, 4), 2);
        ck_assert_int_eq(ouro_udp_socket_recv(receiver, buffer, 4), 3);
    }

    /* What the send itself is refused for is still its error. */
    static const char large[70000];
    ck_assert_int_eq(ouro_udp_socket_send_to(sockets[0], "x", 1, &dead), 1);
    ck_assert_int_eq(ouro_udp_socket_send_to(sockets[0], large, sizeof(large), &live), -EMSGSIZE);
    struct ouro_udp_error error;
    for (int i = 0; i < 16; i++) {
        ck_assert_int_eq(ouro_udp_socket_recv_error(sockets[0], &error), 0);
        ck_assert_int_eq(error.error, -ECONNREFUSED);
        ck_assert_int_eq(ouro_socket_addr_equal(&error.peer, &dead), 1);
        ck_assert_int_eq(ouro_socket_addr_family(&error.reporter), v6 ? AF_INET6 : AF_INET);
        ck_assert_uint_eq(ouro_socket_addr_port(&error.reporter), 0);
        if (!v6) {
            ck_assert_uint_eq(error.icmp_type, ICMP_DEST_UNREACH);
            ck_assert_uint_eq(error.icmp_code, ICMP_PORT_UNREACH);
        }
        ck_assert_uint_eq(error.mtu, 0);
    }
    struct ouro_deadline scope; /* of more than 16 the oldest were dropped */
    ck_assert_int_eq(ouro_deadline_begin(&scope, 2 * OURO_MILLISECOND), 0);
    ck_assert_int_eq(ouro_udp_socket_recv_error(sockets[0], &error), -ETIMEDOUT);
    ouro_deadline_end(&scope);
    ck_assert_int_eq(ouro_udp_socket_recv_error(sockets[1], &error), -EOPNOTSUPP);
    for (int k = 0; k < 2; k++)
        ck_assert_int_eq(ouro_udp_socket_close(sockets[k]), 0);
    ck_assert_int_eq(ouro_udp_socket_close(receiver), 0);
    (void)close(refusing);
    return 0;
}

OURO_TEST(one_destinations_error_fails_no_send_to_another)
{
    everywhere(send_beside_a_dead_one, NULL);
}

OURO_TEST(one_destinations_error_fails_no_send_to_another_by_ipv6)
{
    ouro_test_need_family(AF_INET6);
    everywhere(send_beside_a_dead_one, (void *)(uintptr_t)1);
}

struct watching {
    struct ouro_udp_socket *socket;
    struct ouro_udp_error error;
    int rc;
};

static int watch_task(void *arg)
{
    struct watching *watching = arg;
    watching->rc = ouro_udp_socket_recv_error(watching->socket, &watching->error);
    return 0;
}

/* A receiver and a reader of errors wait on one socket: each gets what is its own. */
static int wait_for_both(void *arg)
{
    int refusing = -1;
    struct ouro_socket_addr own;
    struct ouro_socket_addr dead = udp_refusing(AF_INET, &refusing);
    struct receiving receiving = {.socket = udp_with(OURO_UDP_F_ERRORS, "127.0.0.1:0", &own)};
    struct watching watching = {.socket = receiving.socket};
    struct ouro_udp_error error;
    (void)arg;
    for (int round = 0; round < 3; round++) {
        struct ouro_group group;
        ck_assert_int_eq(ouro_group_begin(&group, 0), 0);
        ck_assert_int_eq(ouro_group_spawn(&group, NULL, receive_task, &receiving), 0);
        ck_assert_int_eq(ouro_group_spawn(&group, NULL, watch_task, &watching), 0);
        await_inflight(2);
        ck_assert_int_eq(ouro_udp_socket_recv_error(watching.socket, &error), -EBUSY);
        for (int i = 0; i < 5; i++)
            ck_assert_int_eq(ouro_udp_socket_send_to(receiving.socket, "x", 1, &dead), 1);
        ck_assert_int_eq(ouro_udp_socket_send_to(receiving.socket, "data", 4, &own), 4);
        ck_assert_int_eq(ouro_group_end(&group), 0);
        ck_assert_int_eq(receiving.n, 4);
        ck_assert_int_eq(watching.rc, 0);
        for (int i = 1; i < 5; i++) {
            ck_assert_int_eq(watching.error.error, -ECONNREFUSED);
            ck_assert_int_eq(ouro_socket_addr_equal(&watching.error.peer, &dead), 1);
            ck_assert_int_eq(ouro_udp_socket_recv_error(watching.socket, &watching.error), 0);
        }
    }
    ck_assert_int_eq(ouro_udp_socket_close(receiving.socket), 0);
    (void)close(refusing);
    return 0;
}

OURO_TEST(a_receiver_and_a_reader_of_errors_wait_side_by_side)
{
    everywhere(wait_for_both, NULL);
}

/* A receiver that meets errors, which nobody reads, goes on to wait; it does not spin. */
static int receive_through_errors(void *arg)
{
    int refusing = -1;
    struct ouro_socket_addr own;
    struct ouro_socket_addr dead = udp_refusing(AF_INET, &refusing);
    struct receiving receiving = {.socket = udp_with(OURO_UDP_F_ERRORS, "127.0.0.1:0", &own)};
    struct ouro_io_driver_metrics before;
    struct ouro_io_driver_metrics after;
    struct ouro_handle *handle = ouro_handle_current();
    struct ouro_task *task = NULL;
    (void)arg;
    ck_assert_int_eq(ouro_task_spawn(receive_task, &receiving, &task), 0);
    await_inflight(1);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(ouro_udp_socket_send_to(receiving.socket, "x", 1, &dead), 1);
    ck_assert_int_eq(ouro_sleep(5 * OURO_MILLISECOND), 0);
    ck_assert_int_eq(ouro_handle_metrics(handle, &before), 0);
    ck_assert_int_eq(ouro_sleep(20 * OURO_MILLISECOND), 0);
    ck_assert_int_eq(ouro_handle_metrics(handle, &after), 0);
    ck_assert_uint_lt(after.turns - before.turns, 200);
    ck_assert_uint_lt(after.submitted - before.submitted, 20);
    ck_assert_int_eq(ouro_udp_socket_send_to(receiving.socket, "data", 4, &own), 4);
    ck_assert_int_eq(ouro_task_join(task, NULL), 0);
    ck_assert_int_eq(receiving.n, 4);
    ouro_handle_unref(handle);
    ck_assert_int_eq(ouro_udp_socket_close(receiving.socket), 0);
    (void)close(refusing);
    return 0;
}

OURO_TEST(a_receiver_waits_on_behind_errors_that_nobody_reads)
{
    everywhere(receive_through_errors, NULL);
}

/* A connected socket that keeps errors has both: the call's failure, and the destination. */
static int keep_of_a_connected_one(void *arg)
{
    int refusing = -1;
    char buffer[4];
    struct ouro_socket_addr own;
    struct ouro_socket_addr dead = udp_refusing(AF_INET, &refusing);
    struct ouro_udp_socket *socket = udp_with(OURO_UDP_F_ERRORS, "127.0.0.1:0", &own);
    struct watching watching = {.socket = socket};
    struct ouro_task *task = NULL;
    (void)arg;
    ck_assert_int_eq(ouro_udp_socket_connect(socket, OURO_ADDR_LIST(&dead, 1)), 0);
    ck_assert_int_eq(ouro_udp_socket_send(socket, "x", 1), 1);
    ck_assert_int_eq(ouro_udp_socket_recv(socket, buffer, 4), -ECONNREFUSED);
    ck_assert_int_eq(ouro_udp_socket_recv_error(socket, &watching.error), 0);
    ck_assert_int_eq(ouro_socket_addr_equal(&watching.error.peer, &dead), 1);

    ck_assert_int_eq(ouro_task_spawn(watch_task, &watching, &task), 0);
    await_inflight(1);
    ck_assert_int_eq(ouro_udp_socket_close(socket), 0);
    ck_assert_int_eq(ouro_task_join(task, NULL), 0);
    ck_assert_int_eq(watching.rc, -ECANCELED);
    (void)close(refusing);
    return 0;
}

OURO_TEST(a_connected_socket_may_keep_its_errors_too)
{
    everywhere(keep_of_a_connected_one, NULL);
}
