/* SPDX-License-Identifier: MIT */
/*
 * UDP sockets: one datagram at a time, connected and not, truncated and empty, waiting, being
 * cancelled, closed and shared.
 */
#include "everywhere.h"
#include "udp.h"

#include <errno.h>
#include <string.h>

#include "ouro/error.h"
#include "ouro/group.h"

static int send_and_receive(void *arg)
{
    const char *text = arg;
    struct ouro_socket_addr addr[2];
    struct ouro_socket_addr peer;
    struct ouro_udp_socket *left = udp_with(0, text, &addr[0]);
    struct ouro_udp_socket *right = udp_with(0, text, &addr[1]);
    char buffer[16];
    ck_assert_int_eq(ouro_udp_socket_send_to(left, "ping", 4, &addr[1]), 4);
    ck_assert_int_eq(ouro_udp_socket_recv_from(right, buffer, sizeof(buffer), &peer), 4);
    ck_assert_mem_eq(buffer, "ping", 4);
    ck_assert_int_eq(ouro_socket_addr_equal(&peer, &addr[0]), 1);
    ck_assert_int_eq(ouro_udp_socket_send_to(right, "pong!", 5, &peer), 5);
    ck_assert_int_eq(ouro_udp_socket_recv(left, buffer, sizeof(buffer)), 5);
    ck_assert_mem_eq(buffer, "pong!", 5);
    ck_assert_int_ge(ouro_udp_socket_fd(left), 0);
    ck_assert_int_eq(ouro_udp_socket_close(left), 0);
    ck_assert_int_eq(ouro_udp_socket_close(right), 0);
    return 0;
}

OURO_TEST(datagrams_go_both_ways)
{
    everywhere(send_and_receive, (void *)(uintptr_t) "127.0.0.1:0");
}

OURO_TEST(ipv6_datagrams_go_both_ways)
{
    ouro_test_need_family(AF_INET6);
    everywhere(send_and_receive, (void *)(uintptr_t) "[::1]:0");
}

/* A datagram of no bytes is data; one that does not fit tells its length; the next is whole. */
static int receive_odd_lengths(void *arg)
{
    struct ouro_socket_addr addr;
    struct ouro_socket_addr peer;
    struct ouro_udp_socket *socket = udp(&addr);
    char buffer[8] = "........";
    (void)arg;
    ck_assert_int_eq(ouro_udp_socket_send_to(socket, NULL, 0, &addr), 0);
    ck_assert_int_eq(ouro_udp_socket_send_to(socket, "0123456789", 10, &addr), 10);
    ck_assert_int_eq(ouro_udp_socket_send_to(socket, "abc", 3, &addr), 3);
    ck_assert_int_eq(ouro_udp_socket_send_to(socket, "lost", 4, &addr), 4);
    ck_assert_int_eq(ouro_udp_socket_send_to(socket, "end", 3, &addr), 3);
    ck_assert_int_eq(ouro_udp_socket_recv_from(socket, buffer, 4, &peer), 0);
    ck_assert_int_eq(ouro_socket_addr_equal(&peer, &addr), 1);
    ck_assert_int_eq(ouro_udp_socket_recv(socket, buffer, 4), 10);
    ck_assert_mem_eq(buffer, "0123....", 8);
    ck_assert_int_eq(ouro_udp_socket_recv(socket, buffer, 4), 3);
    ck_assert_mem_eq(buffer, "abc3", 4);
    ck_assert_int_eq(ouro_udp_socket_recv(socket, NULL, 0), 4);
    ck_assert_int_eq(ouro_udp_socket_recv(socket, buffer, 4), 3);
    ck_assert_int_eq(ouro_udp_socket_close(socket), 0);
    return 0;
}

OURO_TEST(empty_datagrams_are_data_and_long_ones_tell_their_length)
{
    everywhere(receive_odd_lengths, NULL);
}

static int connect_and_talk(void *arg)
{
    struct ouro_socket_addr addr[3];
    struct ouro_socket_addr peer;
    struct ouro_udp_socket *sockets[3];
    char buffer[8];
    (void)arg;
    for (int i = 0; i < 3; i++)
        sockets[i] = udp(&addr[i]);
    ck_assert_int_eq(ouro_udp_socket_send(sockets[0], "x", 1), -EDESTADDRREQ);
    ck_assert_int_eq(ouro_udp_socket_peer_addr(sockets[0], &peer), -ENOTCONN);
    for (int i = 1; i < 3; i++) {
        ck_assert_int_eq(ouro_udp_socket_connect(sockets[0], OURO_ADDR_LIST(&addr[i], 1)), 0);
        ck_assert_int_eq(ouro_udp_socket_peer_addr(sockets[0], &peer), 0);
        ck_assert_int_eq(ouro_socket_addr_equal(&peer, &addr[i]), 1);
        ck_assert_int_eq(ouro_udp_socket_send_to(sockets[3 - i], "stranger", 8, &addr[0]), 8);
        ck_assert_int_eq(ouro_udp_socket_send(sockets[0], "hi", 2), 2);
        ck_assert_int_eq(ouro_udp_socket_recv(sockets[i], buffer, 8), 2);
        ck_assert_int_eq(ouro_udp_socket_send_to(sockets[i], "you", 3, &addr[0]), 3);
        ck_assert_int_eq(ouro_udp_socket_recv_from(sockets[0], buffer, 8, &peer), 3);
        ck_assert_int_eq(ouro_socket_addr_equal(&peer, &addr[i]), 1);
    }
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(ouro_udp_socket_close(sockets[i]), 0);
    return 0;
}

OURO_TEST(a_connected_socket_hears_only_its_peer)
{
    everywhere(connect_and_talk, NULL);
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

static int receive_later(void *arg)
{
    struct ouro_socket_addr addr;
    struct receiving receiving = {.socket = udp(&addr)};
    struct ouro_group group;
    char buffer[4];
    (void)arg;
    ck_assert_int_eq(ouro_group_begin(&group, 0), 0);
    ck_assert_int_eq(ouro_group_spawn(&group, NULL, receive_task, &receiving), 0);
    await_inflight(1);
    ck_assert_int_eq(ouro_udp_socket_recv(receiving.socket, buffer, 4), -EBUSY);
    ck_assert_int_eq(ouro_udp_socket_send_to(receiving.socket, "late", 4, &addr), 4);
    ck_assert_int_eq(ouro_group_end(&group), 0);
    ck_assert_int_eq(receiving.n, 4);
    ck_assert_mem_eq(receiving.buffer, "late", 4);
    ck_assert_int_eq(ouro_udp_socket_close(receiving.socket), 0);
    return 0;
}

OURO_TEST(a_receiver_waits_and_a_second_one_is_busy)
{
    everywhere(receive_later, NULL);
}

static int receive_in_vain(void *arg)
{
    struct ouro_socket_addr addr;
    struct receiving receiving = {.socket = udp(&addr)};
    struct ouro_udp_message message = {.buffer = receiving.buffer, .buffer_bytes = 16};
    struct ouro_deadline scope;
    struct ouro_task *task = NULL;
    (void)arg;
    ck_assert_int_eq(ouro_deadline_begin(&scope, 5 * OURO_MILLISECOND), 0);
    ck_assert_int_eq(ouro_udp_socket_recv(receiving.socket, receiving.buffer, 16), -ETIMEDOUT);
    ck_assert_int_eq(ouro_udp_socket_recv_batch(receiving.socket, &message, 1), -ETIMEDOUT);
    ck_assert_int_eq(ouro_udp_socket_send_to(receiving.socket, "x", 1, &addr), -ETIMEDOUT);
    ouro_deadline_end(&scope);

    ck_assert_int_eq(ouro_task_spawn(receive_task, &receiving, &task), 0);
    await_inflight(1);
    ck_assert_int_eq(ouro_task_cancel(task), 0);
    ck_assert_int_eq(ouro_task_join(task, NULL), 0);
    ck_assert_int_eq(receiving.n, -ECANCELED);

    /* What was cancelled has taken nothing. */
    ck_assert_int_eq(ouro_udp_socket_send_to(receiving.socket, "next", 4, &addr), 4);
    ck_assert_int_eq(ouro_udp_socket_recv(receiving.socket, receiving.buffer, 16), 4);

    receiving.n = 0;
    ck_assert_int_eq(ouro_task_spawn(receive_task, &receiving, &task), 0);
    await_inflight(1);
    ck_assert_int_eq(ouro_udp_socket_close(receiving.socket), 0);
    ck_assert_int_eq(ouro_task_join(task, NULL), 0);
    ck_assert_int_eq(receiving.n, -ECANCELED);
    return 0;
}

OURO_TEST(waiting_ends_by_deadline_cancellation_and_close)
{
    everywhere(receive_in_vain, NULL);
}

enum { FULL = 60000 };

struct sending {
    struct ouro_udp_socket *socket;
    const struct ouro_socket_addr *addr;
    uint64_t sent;
    int rc;
};

/* Sends until a send fails. */
static int send_task(void *arg)
{
    static const char data[FULL];
    struct sending *sending = arg;
    ssize_t n = 0;
    while ((n = ouro_udp_socket_send_to(sending->socket, data, FULL, sending->addr)) == FULL)
        sending->sent++;
    sending->rc = (int)n;
    return 0;
}

/* Sends of two tasks on one worker, none of which waits: neither meets the other. */
static int send_from_two_tasks(void *arg)
{
    struct ouro_socket_addr addr;
    struct ouro_udp_socket *socket = udp(&addr);
    struct sending sending[2] = {{socket, &addr, 0, 0}, {socket, &addr, 0, 0}};
    struct ouro_task *tasks[2];
    (void)arg;
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(ouro_task_spawn_here(send_task, &sending[i], &tasks[i]), 0);
    while (sending[0].sent < 300 || sending[1].sent < 300)
        ck_assert_int_eq(ouro_yield(), 0);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(ouro_task_cancel(tasks[i]), 0);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(ouro_task_join(tasks[i], NULL), 0);
        ck_assert_int_eq(sending[i].rc, -ECANCELED);
    }
    ck_assert_int_eq(ouro_udp_socket_close(socket), 0);
    return 0;
}

OURO_TEST(senders_that_find_room_do_not_meet)
{
    in_place(IN_TASK, send_from_two_tasks, NULL);
    in_place(IN_WORKER_TASK, send_from_two_tasks, NULL);
}

static int bind_wrongly(void *arg)
{
    struct ouro_udp_options options = OURO_UDP_OPTIONS_INIT;
    struct ouro_udp_socket *socket = NULL;
    struct ouro_socket_addr addr;
    struct ouro_socket_addr local;
    char text[OURO_ADDR_TEXT_MAX];
    (void)arg;
    ck_assert_int_eq(ouro_udp_socket_bind(OURO_ADDRS("192.0.2.1:0"), NULL, &socket),
                     -EADDRNOTAVAIL);
    ck_assert_int_eq(ouro_udp_socket_bind(OURO_ADDRS("nonsense"), NULL, &socket),
                     -OURO_EADDRSYNTAX);
    ck_assert_int_eq(ouro_udp_socket_bind(OURO_ADDRS("unix:/x"), NULL, &socket), -EAFNOSUPPORT);
    struct ouro_udp_socket *first = udp(&addr);
    ouro_socket_addr_format(&addr, text, sizeof(text));
    ck_assert_int_eq(ouro_udp_socket_bind(OURO_ADDRS(text), NULL, &socket), -EADDRINUSE);
    options.flags = OURO_UDP_F_REUSEPORT; /* the first does not share */
    ck_assert_int_eq(ouro_udp_socket_bind(OURO_ADDRS(text), &options, &socket), -EADDRINUSE);
    ck_assert_ptr_null(socket);

    /* The second of a list, where the first cannot be had. */
    struct ouro_socket_addr list[2] = {addr, addr};
    ck_assert_int_eq(ouro_socket_addr_set_port(&list[1], 0), 0);
    ck_assert_int_eq(ouro_udp_socket_bind(OURO_ADDR_LIST(list, 2), NULL, &socket), 0);
    ck_assert_int_eq(ouro_udp_socket_local_addr(socket, &local), 0);
    ck_assert_uint_ne(ouro_socket_addr_port(&local), ouro_socket_addr_port(&addr));
    ck_assert_int_eq(ouro_socket_addr_parse("[::1]:1", &local), 0);
    ck_assert_int_eq(ouro_udp_socket_connect(socket, OURO_ADDR_LIST(&local, 1)), -EAFNOSUPPORT);
    ck_assert_int_eq(ouro_udp_socket_send_to(socket, "x", 1, &local), -EAFNOSUPPORT);
    ck_assert_int_eq(ouro_udp_socket_close(socket), 0);
    ck_assert_int_eq(ouro_udp_socket_close(first), 0);
    return 0;
}

OURO_TEST(what_cannot_be_bound_or_connected_says_why)
{
    everywhere(bind_wrongly, NULL);
}

struct late {
    struct ouro_udp_socket *socket;
    struct ouro_socket_addr addr;
};

static int open_socket(void *arg)
{
    struct late *late = arg;
    late->socket = udp(&late->addr);
    return 0;
}

static int use_after_end(void *arg)
{
    struct late *late = arg;
    char buffer[4];
    ck_assert_int_eq(ouro_udp_socket_send_to(late->socket, "x", 1, &late->addr), -OURO_ESHUTDOWN);
    ck_assert_int_eq(ouro_udp_socket_recv(late->socket, buffer, 4), -OURO_ESHUTDOWN);
    ck_assert_int_eq(ouro_udp_socket_close(late->socket), 0);
    return 0;
}

/* A socket whose runtime has ended is refused, and closed, by another runtime's task. */
OURO_TEST(a_socket_may_outlive_its_runtime)
{
    struct late late = {.socket = NULL};
    in_place(IN_TASK, open_socket, &late);
    in_place(IN_TASK, use_after_end, &late);
    in_place(IN_TASK, open_socket, &late);
    ck_assert_int_eq(ouro_udp_socket_close(late.socket), 0); /* outside of any */
}
