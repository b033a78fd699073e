/* SPDX-License-Identifier: MIT */
/*
 * Batches: as many datagrams as are there, each with what belongs to it; partly full, partly wrong,
 * waited for, and cut by the kernel.
 */
#include "everywhere.h"
#include "udp.h"

#include <errno.h>
#include <string.h>

enum { MANY = 100, SIZE = 64 };

static void give_buffers(struct ouro_udp_message *messages, char buffers[][SIZE], size_t count)
{
    memset(messages, 0, count * sizeof(*messages));
    for (size_t i = 0; i < count; i++) {
        messages[i].buffer = buffers[i];
        messages[i].buffer_bytes = SIZE;
    }
}

/* Message i has i bytes, each of them i. */
static void fill(struct ouro_udp_message *messages, char buffers[][SIZE], size_t count,
                 const struct ouro_socket_addr *peer)
{
    give_buffers(messages, buffers, count);
    for (size_t i = 0; i < count; i++) {
        memset(buffers[i], (int)i, SIZE);
        messages[i].length = i % SIZE;
        messages[i].peer = *peer;
    }
}

static int exchange_batches(void *arg)
{
    static _Thread_local struct ouro_udp_message out[MANY];
    static _Thread_local struct ouro_udp_message in[MANY];
    static _Thread_local char out_buffers[MANY][SIZE];
    static _Thread_local char in_buffers[MANY][SIZE];
    struct ouro_socket_addr addr[2];
    struct ouro_udp_socket *left = udp(&addr[0]);
    struct ouro_udp_socket *right = udp(&addr[1]);
    (void)arg;
    fill(out, out_buffers, MANY, &addr[1]);
    ck_assert_int_eq(ouro_udp_socket_send_batch(left, out, 0), 0);
    ck_assert_int_eq(ouro_udp_socket_send_batch(left, out, MANY), MANY);
    give_buffers(in, in_buffers, MANY);
    ck_assert_int_eq(ouro_udp_socket_recv_batch(right, in, 3), 3);
    ck_assert_int_eq(ouro_udp_socket_recv_batch(right, in + 3, MANY), MANY - 3);
    for (size_t i = 0; i < MANY; i++) {
        ck_assert_uint_eq(in[i].length, i % SIZE);
        ck_assert_mem_eq(in_buffers[i], out_buffers[i], i % SIZE);
        ck_assert_uint_eq(in[i].flags, 0);
        ck_assert_uint_eq(in[i].segment_size, 0);
        ck_assert_uint_eq(in[i].local.length, 0);
        ck_assert_int_eq(ouro_socket_addr_equal(&in[i].peer, &addr[0]), 1);
    }
    ck_assert_int_eq(ouro_udp_socket_close(left), 0);
    ck_assert_int_eq(ouro_udp_socket_close(right), 0);
    return 0;
}

OURO_TEST(a_batch_arrives_whole_and_in_order)
{
    everywhere(exchange_batches, NULL);
}

struct collecting {
    struct ouro_udp_socket *socket;
    struct ouro_udp_message messages[4];
    char buffers[4][SIZE];
    ssize_t n;
};

static int collect_task(void *arg)
{
    struct collecting *collecting = arg;
    collecting->n = ouro_udp_socket_recv_batch(collecting->socket, collecting->messages, 4);
    return 0;
}

/* A batch that waits takes the first, and what has come by then; it does not wait for more. */
static int wait_for_a_batch(void *arg)
{
    struct ouro_socket_addr addr;
    struct collecting collecting = {.socket = udp(&addr)};
    struct ouro_task *task = NULL;
    (void)arg;
    give_buffers(collecting.messages, collecting.buffers, 4);
    ck_assert_int_eq(ouro_task_spawn_here(collect_task, &collecting, &task), 0);
    await_inflight(1);
    ck_assert_int_eq(ouro_udp_socket_send_to(collecting.socket, NULL, 0, &addr), 0);
    ck_assert_int_eq(ouro_udp_socket_send_to(collecting.socket, "0123456789", 10, &addr), 10);
    ck_assert_int_eq(ouro_task_join(task, NULL), 0);
    ck_assert_int_ge(collecting.n, 1);
    ck_assert_int_le(collecting.n, 2);
    if (collecting.n == 1)
        ck_assert_int_eq(ouro_udp_socket_recv_batch(collecting.socket, collecting.messages + 1, 1),
                         1);
    ck_assert_uint_eq(collecting.messages[0].length, 0);
    ck_assert_uint_eq(collecting.messages[1].length, 10);
    ck_assert_mem_eq(collecting.buffers[1], "0123456789", 10);
    ck_assert_int_eq(ouro_socket_addr_equal(&collecting.messages[0].peer, &addr), 1);
    ck_assert_int_eq(ouro_udp_socket_close(collecting.socket), 0);
    return 0;
}

OURO_TEST(a_batch_waits_for_one_datagram_only)
{
    in_place(IN_TASK, wait_for_a_batch, NULL);
    in_place(IN_WORKER_TASK, wait_for_a_batch, NULL);
}

static int truncate_in_a_batch(void *arg)
{
    struct ouro_socket_addr addr;
    struct ouro_udp_socket *socket = udp(&addr);
    struct ouro_udp_message messages[2];
    char buffers[2][SIZE];
    (void)arg;
    ck_assert_int_eq(ouro_udp_socket_send_to(socket, "0123456789", 10, &addr), 10);
    ck_assert_int_eq(ouro_udp_socket_send_to(socket, "abcd", 4, &addr), 4);
    give_buffers(messages, buffers, 2);
    messages[0].buffer_bytes = messages[1].buffer_bytes = 4;
    ck_assert_int_eq(ouro_udp_socket_recv_batch(socket, messages, 2), 2);
    ck_assert_uint_eq(messages[0].flags, OURO_UDP_MESSAGE_F_TRUNCATED);
    ck_assert_uint_eq(messages[0].length, 10);
    ck_assert_mem_eq(buffers[0], "0123", 4);
    ck_assert_uint_eq(messages[1].flags, 0);
    ck_assert_uint_eq(messages[1].length, 4);
    /* It cannot be sent: its buffer has not all of it. */
    ck_assert_int_eq(ouro_udp_socket_send_batch(socket, messages, 2), -EMSGSIZE);
    ck_assert_int_eq(ouro_udp_socket_send_batch(socket, messages + 1, 1), 1);
    ck_assert_int_eq(ouro_udp_socket_recv_batch(socket, messages, 2), 1);
    ck_assert_int_eq(ouro_udp_socket_close(socket), 0);
    return 0;
}

OURO_TEST(truncation_is_flagged_message_by_message)
{
    everywhere(truncate_in_a_batch, NULL);
}

/* A wrong message ends the batch: those before it are sent, and the next call tells why. */
static int stop_at_a_wrong_one(void *arg)
{
    struct ouro_socket_addr addr;
    struct ouro_udp_socket *socket = udp(&addr);
    struct ouro_udp_message messages[4];
    char buffers[4][SIZE];
    (void)arg;
    fill(messages, buffers, 4, &addr);
    messages[2].length = 70000; /* the kernel refuses it before it reads it */
    ck_assert_int_eq(ouro_udp_socket_send_batch(socket, messages, 4), 2);
    ck_assert_int_eq(ouro_udp_socket_send_batch(socket, messages + 2, 2), -EMSGSIZE);
    messages[2].length = 2;
    messages[2].flags = 1u << 31; /* the library refuses it */
    ck_assert_int_eq(ouro_udp_socket_send_batch(socket, messages, 4), 2);
    ck_assert_int_eq(ouro_udp_socket_send_batch(socket, messages + 2, 2), -EINVAL);
    give_buffers(messages, buffers, 4);
    for (int total = 0; total < 4;) {
        ssize_t n = ouro_udp_socket_recv_batch(socket, messages, 4);
        ck_assert_int_gt(n, 0);
        total += (int)n;
    }
    ck_assert_int_eq(ouro_udp_socket_close(socket), 0);
    return 0;
}

OURO_TEST(a_batch_stops_at_what_cannot_be_sent)
{
    everywhere(stop_at_a_wrong_one, NULL);
}

/* One send of three segments and a rest; with GRO they may arrive joined. */
static int send_segments(void *arg)
{
    static _Thread_local char data[350];
    static _Thread_local char received[4][400];
    bool joins = arg != NULL;
    struct ouro_socket_addr addr[2];
    struct ouro_udp_socket *left = udp(&addr[0]);
    struct ouro_udp_socket *right = udp_with(joins ? OURO_UDP_F_GRO : 0, "127.0.0.1:0", &addr[1]);
    struct ouro_udp_message message = {
        .buffer = data, .length = sizeof(data), .peer = addr[1], .segment_size = 100};
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (char)(i % 251);
    ssize_t n = ouro_udp_socket_send_batch(left, &message, 1);
    if (n == -EINVAL || n == -EIO)
        ouro_test_skip("this kernel cuts no datagrams (UDP_SEGMENT): %d", (int)n);
    ck_assert_int_eq(n, 1);
    size_t total = 0;
    size_t most = 0;
    while (total < sizeof(data)) {
        struct ouro_udp_message in = {.buffer = received[0], .buffer_bytes = sizeof(received)};
        ck_assert_int_eq(ouro_udp_socket_recv_batch(right, &in, 1), 1);
        ck_assert_mem_eq(received[0], data + total, in.length);
        if (in.length > 100) /* joined */
            ck_assert_uint_eq(in.segment_size, 100);
        else
            ck_assert_uint_eq(in.length, total < 300 ? 100 : 50);
        most = in.length > most ? in.length : most;
        total += in.length;
    }
    ck_assert_uint_eq(total, sizeof(data));
    if (joins && most == 100)
        ouro_test_skip("this kernel joins no datagrams on loopback (UDP_GRO)");
    ck_assert_uint_eq(most, joins ? sizeof(data) : 100);

    message.segment_size = 1; /* 350 datagrams: more than the kernel makes of one */
    ck_assert_int_eq(ouro_udp_socket_send_batch(left, &message, 1), -EINVAL);
    message.segment_size = UINT16_MAX + 1;
    ck_assert_int_eq(ouro_udp_socket_send_batch(left, &message, 1), -EINVAL);
    ck_assert_int_eq(ouro_udp_socket_close(left), 0);
    ck_assert_int_eq(ouro_udp_socket_close(right), 0);
    return 0;
}

OURO_TEST(the_kernel_cuts_a_send_into_segments)
{
    everywhere(send_segments, NULL);
}

OURO_TEST(the_kernel_joins_segments_and_tells_their_size)
{
    everywhere(send_segments, (void *)(uintptr_t)1);
}
