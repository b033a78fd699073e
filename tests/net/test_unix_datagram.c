/* SPDX-License-Identifier: MIT */
/*
 * Unix datagrams and seqpackets: boundaries, truncation, the end, waiting for a message and for
 * room, being cancelled and closed.
 */
#include "everywhere.h"
#include "unix_names.h"

#include <errno.h>
#include <string.h>

#include "ouro/error.h"
#include "support/sockets.h"

static int socket_listening(const struct ouro_socket_addr *addr)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, ouro_socket_addr_sockaddr(addr), (socklen_t)addr->length), 0);
    ck_assert_int_eq(listen(fd, 8), 0);
    return fd;
}

static int exchange(void *arg)
{
    const struct ouro_socket_addr *addr = arg;
    struct ouro_socket_addr peer;
    struct ouro_socket_addr own;
    struct ouro_unix_datagram *server = unix_datagram(addr);
    struct ouro_unix_datagram *client = unix_datagram(NULL); /* the kernel chooses its name */
    char buffer[8];
    ck_assert_int_eq(ouro_unix_datagram_local_addr(client, &own), 0);
    ck_assert_uint_gt(own.length, 2);
    ck_assert_int_eq(ouro_unix_datagram_send_to(client, "ping", 4, addr), 4);
    ck_assert_int_eq(ouro_unix_datagram_recv_from(server, buffer, 8, &peer), 4);
    ck_assert_mem_eq(buffer, "ping", 4);
    ck_assert_int_eq(ouro_socket_addr_equal(&peer, &own), 1);
    ck_assert_int_eq(ouro_unix_datagram_send_to(server, "", 0, &peer), 0);
    ck_assert_int_eq(ouro_unix_datagram_send_to(server, "0123456789", 10, &peer), 10);
    ck_assert_int_eq(ouro_unix_datagram_send_to(server, "abc", 3, &peer), 3);
    ck_assert_int_eq(ouro_unix_datagram_recv_from(client, buffer, 8, &peer), 0);
    ck_assert_int_eq(ouro_socket_addr_equal(&peer, addr), 1);
    ck_assert_int_eq(ouro_unix_datagram_recv(client, buffer, 8), 10); /* cut to 8 */
    ck_assert_mem_eq(buffer, "01234567", 8);
    ck_assert_int_eq(ouro_unix_datagram_recv(client, buffer, 8), 3);

    ck_assert_int_eq(ouro_unix_datagram_send(client, "x", 1), -ENOTCONN);
    ck_assert_int_eq(ouro_unix_datagram_connect(client, addr), 0);
    ck_assert_int_eq(ouro_unix_datagram_send(client, "connected", 9), 9);
    ck_assert_int_eq(ouro_unix_datagram_recv(server, buffer, 8), 9);
    ck_assert_int_ge(ouro_unix_datagram_fd(client), 0);
    ck_assert_int_eq(ouro_unix_datagram_close(server), 0);
    ck_assert_int_eq(ouro_unix_datagram_send(client, "x", 1), -ECONNREFUSED);
    ck_assert_int_eq(ouro_unix_datagram_close(client), 0);
    return 0;
}

OURO_TEST(datagrams_keep_their_boundaries)
{
    struct ouro_test_scratch scratch;
    ouro_test_scratch_open(&scratch);
    struct ouro_socket_addr path = unix_path(&scratch, "server");
    struct ouro_socket_addr abstract = unix_abstract("server");
    everywhere(exchange, &path);
    everywhere(exchange, &abstract);
    ouro_test_scratch_close(&scratch);
}

/* A message of no bytes and the end are told apart, also when the end comes right behind it. */
static int end_a_seqpacket(void *arg)
{
    struct ouro_unix_datagram *left = NULL;
    struct ouro_unix_datagram *right = NULL;
    char buffer[8];
    (void)arg;
    ck_assert_int_eq(ouro_unix_datagram_pair(OURO_UNIX_SEQPACKET, &left, &right), 0);
    ck_assert_int_eq(ouro_unix_datagram_send(left, "", 0), 0);
    ck_assert_int_eq(ouro_unix_datagram_send(left, "0123456789", 10), 10);
    ck_assert_int_eq(ouro_unix_datagram_send(left, NULL, 0), 0);
    ck_assert_int_eq(ouro_unix_datagram_shutdown(left, OURO_SHUTDOWN_WRITE), 0);
    ck_assert_int_eq(ouro_unix_datagram_recv(right, buffer, 8), 0);
    ck_assert_int_eq(ouro_unix_datagram_recv(right, buffer, 8), 10);
    ck_assert_mem_eq(buffer, "01234567", 8);
    ck_assert_int_eq(ouro_unix_datagram_recv(right, buffer, 8), 0);
    ck_assert_int_eq(ouro_unix_datagram_recv(right, buffer, 8), -ENODATA);
    ck_assert_int_eq(ouro_unix_datagram_recv(right, buffer, 8), -ENODATA);
    /* The other half goes on. */
    ck_assert_int_eq(ouro_unix_datagram_send(right, "back", 4), 4);
    ck_assert_int_eq(ouro_unix_datagram_close(right), 0);
    ck_assert_int_eq(ouro_unix_datagram_recv(left, buffer, 8), 4);
    ck_assert_int_eq(ouro_unix_datagram_recv(left, buffer, 8), -ENODATA);
    ck_assert_int_eq(ouro_unix_datagram_send(left, "x", 1), -EPIPE);
    ck_assert_int_eq(ouro_unix_datagram_close(left), 0);
    return 0;
}

OURO_TEST(the_end_of_a_seqpacket_is_no_empty_message)
{
    everywhere(end_a_seqpacket, NULL);
}

struct receiving {
    struct ouro_unix_datagram *socket;
    ssize_t n;
    char buffer[16];
};

static int receive_task(void *arg)
{
    struct receiving *receiving = arg;
    receiving->n = ouro_unix_datagram_recv(receiving->socket, receiving->buffer, 16);
    return 0;
}

static void start(struct receiving *receiving, struct ouro_task **out_task)
{
    receiving->n = 77;
    ck_assert_int_eq(ouro_task_spawn(receive_task, receiving, out_task), 0);
    await_inflight(1);
}

static int wait_for_messages(void *arg)
{
    const enum ouro_unix_type type = arg == NULL ? OURO_UNIX_DATAGRAM : OURO_UNIX_SEQPACKET;
    struct ouro_unix_datagram *peer = NULL;
    struct receiving receiving = {.socket = NULL};
    struct ouro_task *task = NULL;
    char buffer[4];
    ck_assert_int_eq(ouro_unix_datagram_pair(type, &receiving.socket, &peer), 0);
    start(&receiving, &task);
    ck_assert_int_eq(ouro_unix_datagram_recv(receiving.socket, buffer, 4), -EBUSY);
    ck_assert_int_eq(ouro_unix_datagram_send(peer, "", 0), 0);
    ck_assert_int_eq(ouro_task_join(task, NULL), 0);
    ck_assert_int_eq(receiving.n, 0);

    start(&receiving, &task);
    ck_assert_int_eq(ouro_task_cancel(task), 0);
    ck_assert_int_eq(ouro_task_join(task, NULL), 0);
    ck_assert_int_eq(receiving.n, -ECANCELED);

    if (type == OURO_UNIX_SEQPACKET) { /* the end reaches one that waits */
        start(&receiving, &task);
        ck_assert_int_eq(ouro_unix_datagram_shutdown(peer, OURO_SHUTDOWN_WRITE), 0);
        ck_assert_int_eq(ouro_task_join(task, NULL), 0);
        ck_assert_int_eq(receiving.n, -ENODATA);
    } else {
        start(&receiving, &task);
        ck_assert_int_eq(ouro_unix_datagram_close(receiving.socket), 0);
        ck_assert_int_eq(ouro_task_join(task, NULL), 0);
        ck_assert_int_eq(receiving.n, -ECANCELED);
        receiving.socket = NULL;
    }
    ck_assert_int_eq(ouro_unix_datagram_close(receiving.socket), 0);
    ck_assert_int_eq(ouro_unix_datagram_close(peer), 0);
    return 0;
}

OURO_TEST(a_datagram_receiver_waits)
{
    everywhere(wait_for_messages, NULL);
}

OURO_TEST(a_seqpacket_receiver_waits)
{
    everywhere(wait_for_messages, (void *)(uintptr_t)1);
}

struct sending {
    struct ouro_unix_datagram *socket;
    const struct ouro_socket_addr *peer; /* NULL: the connected one */
    unsigned count;
    unsigned sent;
    int rc;
};

static ssize_t send_one(struct sending *sending)
{
    return sending->peer == NULL
               ? ouro_unix_datagram_send(sending->socket, &sending->sent, sizeof(unsigned))
               : ouro_unix_datagram_send_to(sending->socket, &sending->sent, sizeof(unsigned),
                                            sending->peer);
}

static int send_task(void *arg)
{
    struct sending *sending = arg;
    ssize_t n = 0;
    while (sending->sent < sending->count && n >= 0) {
        n = send_one(sending);
        if (n >= 0)
            sending->sent++;
        else if (n == -EBUSY) /* the case looks whether this is in its call */
            n = ouro_yield();
    }
    sending->rc = n < 0 ? (int)n : 0;
    return 0;
}

/* Far more messages than a queue holds, to a receiver that begins late: each waits for room. */
static int fill_the_receiver(void *arg)
{
    const bool named = arg != NULL;
    struct ouro_socket_addr addr = unix_abstract("full");
    struct ouro_unix_datagram *receiver = unix_datagram(&addr);
    struct sending sending = {.socket = unix_datagram(NULL), .count = 3000};
    struct ouro_deadline scope;
    struct ouro_task *task = NULL;
    unsigned number = 0;
    if (named)
        sending.peer = &addr;
    else
        ck_assert_int_eq(ouro_unix_datagram_connect(sending.socket, &addr), 0);
    unsigned most = sending.count;
    ck_assert_int_eq(ouro_deadline_begin(&scope, 20 * OURO_MILLISECOND), 0);
    (void)send_task(&sending);
    ouro_deadline_end(&scope);
    ck_assert_int_eq(sending.rc, -ETIMEDOUT);
    ck_assert_uint_gt(sending.sent, 0);
    ck_assert_uint_lt(sending.sent, most);

    sending.count = sending.sent + (named ? 50 : 1000);
    ck_assert_int_eq(ouro_task_spawn(send_task, &sending, &task), 0);
    if (!named)
        await_inflight(1); /* it waits for room */
    for (unsigned i = 0; i < sending.count; i++) {
        ck_assert_int_eq(ouro_unix_datagram_recv(receiver, &number, sizeof(number)),
                         sizeof(number));
        ck_assert_uint_eq(number, i);
    }
    ck_assert_int_eq(ouro_task_join(task, NULL), 0);
    ck_assert_int_eq(sending.rc, 0);
    ck_assert_int_eq(ouro_unix_datagram_close(sending.socket), 0);
    ck_assert_int_eq(ouro_unix_datagram_close(receiver), 0);
    return 0;
}

OURO_TEST(a_full_receiver_makes_its_connected_sender_wait)
{
    everywhere(fill_the_receiver, NULL);
}

OURO_TEST(a_full_receiver_makes_other_senders_wait)
{
    everywhere(fill_the_receiver, (void *)(uintptr_t)1);
}

/* Close and cancellation end sends that wait for room. */
static int end_a_sender(void *arg)
{
    struct ouro_socket_addr addr = unix_abstract("ends");
    struct ouro_unix_datagram *receiver = unix_datagram(&addr);
    struct ouro_deadline scope;
    (void)arg;
    for (int named = 0; named < 2; named++) {
        struct sending sending = {.socket = unix_datagram(NULL), .count = UINT32_MAX};
        struct ouro_task *task = NULL;
        sending.peer = named != 0 ? &addr : NULL;
        ck_assert_int_eq(ouro_unix_datagram_connect(sending.socket, &addr), 0);
        ck_assert_int_eq(ouro_deadline_begin(&scope, 5 * OURO_MILLISECOND), 0);
        (void)send_task(&sending); /* the queue is full now */
        ouro_deadline_end(&scope);
        ck_assert_int_eq(ouro_task_spawn(send_task, &sending, &task), 0);
        while (ouro_unix_datagram_connect(sending.socket, &addr) != -EBUSY)
            ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0); /* until it is in its call */
        ck_assert_int_eq(ouro_unix_datagram_send(sending.socket, "x", 1), -EBUSY);
        ck_assert_int_eq(ouro_task_cancel(task), 0);
        ck_assert_int_eq(ouro_task_join(task, NULL), 0);
        ck_assert_int_eq(sending.rc, -ECANCELED);

        ck_assert_int_eq(ouro_task_spawn(send_task, &sending, &task), 0);
        while (ouro_unix_datagram_connect(sending.socket, &addr) != -EBUSY)
            ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
        ck_assert_int_eq(ouro_unix_datagram_close(sending.socket), 0);
        ck_assert_int_eq(ouro_task_join(task, NULL), 0);
        ck_assert_int_eq(sending.rc, -ECANCELED);
    }
    ck_assert_int_eq(ouro_unix_datagram_close(receiver), 0);
    return 0;
}

OURO_TEST(a_sender_that_waits_for_room_can_be_ended)
{
    everywhere(end_a_sender, NULL);
}

static int connect_a_seqpacket(void *arg)
{
    struct ouro_socket_addr addr = unix_abstract("seqpacket");
    struct ouro_unix_datagram *socket = NULL;
    struct ouro_unix_credentials credentials;
    char buffer[8];
    (void)arg;
    int listener = socket_listening(&addr);
    ck_assert_int_eq(ouro_unix_seqpacket_connect(&addr, &socket), 0);
    int peer = ouro_test_accept(listener);
    ck_assert_int_eq(ouro_unix_datagram_peer_credentials(socket, &credentials), 0);
    ck_assert_int_eq(credentials.pid, getpid());
    ck_assert_int_eq(ouro_unix_datagram_send(socket, "one", 3), 3);
    ck_assert_int_eq(ouro_unix_datagram_send(socket, "", 0), 0);
    ck_assert_int_eq(ouro_unix_datagram_send(socket, "three", 5), 5);
    ck_assert_int_eq(recv(peer, buffer, 8, 0), 3);
    ck_assert_int_eq(recv(peer, buffer, 8, 0), 0);
    ck_assert_int_eq(recv(peer, buffer, 8, 0), 5);
    ck_assert_int_eq(send(peer, "", 0, 0), 0);
    (void)close(peer);
    ck_assert_int_eq(ouro_unix_datagram_recv(socket, buffer, 8), 0);
    ck_assert_int_eq(ouro_unix_datagram_recv(socket, buffer, 8), -ENODATA);
    ck_assert_int_eq(ouro_unix_datagram_close(socket), 0);
    (void)close(listener);
    return 0;
}

OURO_TEST(a_seqpacket_connects_and_keeps_its_boundaries)
{
    everywhere(connect_a_seqpacket, NULL);
}

static int connect_wrongly(void *arg)
{
    struct ouro_test_scratch *scratch = arg;
    struct ouro_socket_addr none = unix_path(scratch, "none");
    struct ouro_socket_addr datagram = unix_path(scratch, "datagram");
    struct ouro_socket_addr tcp;
    struct ouro_unix_datagram *socket = NULL;
    struct ouro_unix_datagram *right = NULL;
    struct ouro_unix_datagram *receiver = unix_datagram(&datagram);
    ck_assert_int_eq(ouro_socket_addr_parse("127.0.0.1:1", &tcp), 0);
    ck_assert_int_eq(ouro_unix_seqpacket_connect(&none, &socket), -ENOENT);
    ck_assert_int_eq(ouro_unix_seqpacket_connect(&datagram, &socket), -EPROTOTYPE);
    ck_assert_int_eq(ouro_unix_seqpacket_connect(&tcp, &socket), -EAFNOSUPPORT);
    ck_assert_int_eq(ouro_unix_datagram_connect(receiver, &none), -ENOENT);
    ck_assert_int_eq(ouro_unix_datagram_send_to(receiver, "x", 1, &none), -ENOENT);
    ck_assert_int_eq(ouro_unix_datagram_send_to(receiver, "x", 1, &tcp), -EAFNOSUPPORT);
    ck_assert_int_eq(ouro_unix_datagram_pair(OURO_UNIX_SEQPACKET, &socket, &right), 0);
    ck_assert_int_eq(ouro_unix_datagram_connect(socket, &datagram), -EISCONN);
    ck_assert_int_eq(ouro_unix_datagram_send_to(socket, "x", 1, &datagram), -EISCONN);
    ck_assert_int_eq(ouro_unix_datagram_close(socket), 0);
    ck_assert_int_eq(ouro_unix_datagram_close(right), 0);
    ck_assert_int_eq(ouro_unix_datagram_close(receiver), 0);
    return 0;
}

OURO_TEST(what_cannot_be_connected_or_sent_to_says_why)
{
    struct ouro_test_scratch scratch;
    ouro_test_scratch_open(&scratch);
    everywhere(connect_wrongly, &scratch);
    ouro_test_scratch_close(&scratch);
}
