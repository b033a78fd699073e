/* SPDX-License-Identifier: MIT */
/*
 * Operations as epoll emulates them: what a try learns, what it must not believe, and that nothing
 * ever waits for an event that does not come.
 */
#include "epoll/rig.h"

#include <stdlib.h>
#include <sys/uio.h>

static void unix_pair(int type, int end[2])
{
    ck_assert_int_eq(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, end), 0);
    rig_nonblocking(end[0]);
}

static void close_pair(const int end[2])
{
    close(end[0]);
    close(end[1]);
}

/* A receive that has to wait first, so that the descriptor is in the epoll from now on. */
static void receive_late(struct rig *rig, struct ouro__registration registration, int peer)
{
    char byte = 0;
    struct rig_op op = rig_recv(registration, &byte, 1, 0);
    rig_submit(rig, &op);
    rig_settle(rig);
    ck_assert_uint_eq(op.ended, 0);
    ouro_test_write_exactly(peer, "!", 1);
    ck_assert_int_eq(rig_wait(rig, &op), 1);
    ck_assert_int_eq(byte, '!');
}

static struct ouro_io_driver_metrics metrics_of(struct rig *rig)
{
    struct ouro_io_driver_metrics metrics;
    ouro__driver_metrics(&rig->handle, &metrics);
    return metrics;
}

OURO_TEST_EPOLL(short_tcp_read_means_drained)
{
    struct rig rig;
    rig_open(&rig);
    int end[2];
    char buffer[64];
    rig_tcp_pair(end);
    struct ouro__registration registration = rig_register(&rig, end[0], 0);
    receive_late(&rig, registration, end[1]);

    struct rig_op op = rig_recv(registration, buffer, sizeof(buffer), 0);
    ouro_test_write_exactly(end[1], "hello", 5);
    ck_assert_int_eq(rig_do(&rig, &op), 5);
    ck_assert_uint_eq(rig_ready(registration), OURO_WRITABLE);

    /* A full read means nothing of the kind. */
    ouro_test_write_exactly(end[1], "hello", 5);
    op = rig_recv(registration, buffer, 5, 0);
    ck_assert_int_eq(rig_do(&rig, &op), 5);
    ck_assert_uint_eq(rig_ready(registration), OURO_WRITABLE | OURO_READABLE);

    /* Data and its end together: the end is not lost. */
    ouro_test_write_exactly(end[1], "bye", 3);
    ck_assert_int_eq(shutdown(end[1], SHUT_WR), 0);
    op = rig_recv(registration, buffer, sizeof(buffer), 0);
    ck_assert_int_eq(rig_do(&rig, &op), 3);
    op = rig_recv(registration, buffer, sizeof(buffer), 0);
    ck_assert_int_eq(rig_do(&rig, &op), 0);
    ck_assert_uint_ne(rig_ready(registration) & OURO_READ_CLOSED, 0);
    ouro__registration_drop(&registration);
    rig_close(&rig);
    close_pair(end);
}

/* Elsewhere a read may end before the data does. */
OURO_TEST_EPOLL(datagrams_are_not_short_reads)
{
    struct rig rig;
    rig_open(&rig);
    int end[2];
    char buffer[64];
    unix_pair(SOCK_DGRAM, end);
    struct ouro__registration registration = rig_register(&rig, end[0], 0);
    receive_late(&rig, registration, end[1]);
    ouro_test_write_exactly(end[1], "one", 3);
    ouro_test_write_exactly(end[1], "three", 5);
    rig_settle(&rig); /* no edge is left that could help */
    struct rig_op op = rig_recv(registration, buffer, sizeof(buffer), 0);
    ck_assert_int_eq(rig_do(&rig, &op), 3);
    op = rig_recv(registration, buffer, sizeof(buffer), 0);
    ck_assert_int_eq(rig_do(&rig, &op), 5);
    ouro__registration_drop(&registration);
    rig_close(&rig);
    close_pair(end);
}

static void send_with_descriptor(int fd, const char *bytes, size_t size)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {(void *)(uintptr_t)bytes, size};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    memset(&control, 0, sizeof(control));
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
    ck_assert_int_eq(sendmsg(fd, &message, 0), (ssize_t)size);
}

OURO_TEST_EPOLL(unix_read_that_ends_at_a_descriptor_is_not_short)
{
    struct rig rig;
    rig_open(&rig);
    int end[2];
    char buffer[64];
    unix_pair(SOCK_STREAM, end);
    struct ouro__registration registration = rig_register(&rig, end[0], 0);
    receive_late(&rig, registration, end[1]);
    send_with_descriptor(end[1], "abc", 3);
    ouro_test_write_exactly(end[1], "defg", 4);
    rig_settle(&rig);
    struct rig_op op = rig_recv(registration, buffer, sizeof(buffer), 0);
    ck_assert_int_eq(rig_do(&rig, &op), 3);
    op = rig_recv(registration, buffer, sizeof(buffer), 0);
    ck_assert_int_eq(rig_do(&rig, &op), 4);
    ouro__registration_drop(&registration);
    rig_close(&rig);
    close_pair(end);
}

OURO_TEST_EPOLL(read_that_ends_at_urgent_data_is_not_short)
{
    struct rig rig;
    rig_open(&rig);
    int end[2];
    char buffer[64];
    rig_tcp_pair(end);
    struct ouro__registration registration = rig_register(&rig, end[0], 0);
    receive_late(&rig, registration, end[1]);
    ouro_test_write_exactly(end[1], "abc", 3);
    ck_assert_int_eq(send(end[1], "U", 1, MSG_OOB), 1);
    ouro_test_write_exactly(end[1], "defg", 4);
    rig_settle(&rig);
    ck_assert_uint_ne(rig_ready(registration) & OURO_PRIORITY, 0);
    ouro__sio_clear(registration.sio, atomic_load(&registration.sio->readiness), OURO_PRIORITY);
    struct rig_op op = rig_recv(registration, buffer, sizeof(buffer), 0);
    ck_assert_int_eq(rig_do(&rig, &op), 3);
    op = rig_recv(registration, buffer, 1, MSG_OOB);
    ck_assert_int_eq(rig_do(&rig, &op), 1);
    ck_assert_int_eq(buffer[0], 'U');
    op = rig_recv(registration, buffer, sizeof(buffer), 0);
    ck_assert_int_eq(rig_do(&rig, &op), 4);
    ouro__registration_drop(&registration);
    rig_close(&rig);
    close_pair(end);
}

OURO_TEST_EPOLL(peeked_data_stays)
{
    struct rig rig;
    rig_open(&rig);
    int end[2];
    char buffer[64];
    rig_tcp_pair(end);
    struct ouro__registration registration = rig_register(&rig, end[0], 0);
    receive_late(&rig, registration, end[1]);
    ouro_test_write_exactly(end[1], "hello", 5);
    for (int i = 0; i < 2; i++) {
        struct rig_op peek = rig_recv(registration, buffer, sizeof(buffer), MSG_PEEK);
        ck_assert_int_eq(rig_do(&rig, &peek), 5);
    }
    struct rig_op op = rig_recv(registration, buffer, sizeof(buffer), 0);
    ck_assert_int_eq(rig_do(&rig, &op), 5);
    ouro__registration_drop(&registration);
    rig_close(&rig);
    close_pair(end);
}

OURO_TEST_EPOLL(waitall_receives_everything_or_what_there_is)
{
    struct rig rig;
    rig_open(&rig);
    int end[2];
    char buffer[10] = "";
    rig_tcp_pair(end);
    struct ouro__registration registration = rig_register(&rig, end[0], 0);
    struct rig_op op = rig_recv(registration, buffer, 8, MSG_WAITALL);
    rig_submit(&rig, &op);
    ouro_test_write_exactly(end[1], "abc", 3);
    rig_settle(&rig);
    ck_assert_uint_eq(op.ended, 0);
    ouro_test_write_exactly(end[1], "defghi", 6);
    ck_assert_int_eq(rig_wait(&rig, &op), 8);
    ck_assert_str_eq(buffer, "abcdefgh");

    /* Cancelled in the middle: what has come counts. */
    op = rig_recv(registration, buffer, 8, MSG_WAITALL);
    rig_submit(&rig, &op);
    rig_settle(&rig);
    ck_assert_uint_eq(op.ended, 0);
    ouro__driver_cancel(rig.handle.driver, &op.op);
    ck_assert_int_eq(rig_wait(&rig, &op), 1);
    ck_assert_int_eq(buffer[0], 'i');

    /* The end of the stream in the middle. */
    op = rig_recv(registration, buffer, 8, MSG_WAITALL);
    rig_submit(&rig, &op);
    ouro_test_write_exactly(end[1], "xy", 2);
    rig_settle(&rig);
    ck_assert_uint_eq(op.ended, 0);
    ck_assert_int_eq(shutdown(end[1], SHUT_WR), 0);
    ck_assert_int_eq(rig_wait(&rig, &op), 2);
    ouro__registration_drop(&registration);
    rig_close(&rig);
    close_pair(end);
}

enum { PARTS = 40, PART_SIZE = 9001 };

/* More parts than are sent at once, and far more bytes than the socket takes. */
OURO_TEST_EPOLL(waitall_sends_and_receives_messages_of_many_parts)
{
    struct rig rig;
    rig_open(&rig);
    int end[2];
    int small = 4096;
    static unsigned char out[PARTS][PART_SIZE];
    static unsigned char in[PARTS][PART_SIZE];
    struct iovec source[PARTS];
    struct iovec sink[PARTS];
    unix_pair(SOCK_STREAM, end);
    rig_nonblocking(end[1]);
    ck_assert_int_eq(setsockopt(end[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
    for (unsigned i = 0; i < PARTS; i++) {
        for (unsigned at = 0; at < PART_SIZE; at++)
            out[i][at] = (unsigned char)(i * 7 + at * 13);
        source[i] = (struct iovec){out[i], PART_SIZE};
        sink[i] = (struct iovec){in[i], PART_SIZE};
    }
    struct msghdr source_header = {.msg_iov = source, .msg_iovlen = PARTS};
    struct msghdr sink_header = {.msg_iov = sink, .msg_iovlen = PARTS};
    struct ouro__registration left = rig_register(&rig, end[0], 0);
    struct ouro__registration right = rig_register(&rig, end[1], 0);
    struct rig_op sending = {.op = {.sio = left.sio,
                                    .code = OURO__OP_SENDMSG,
                                    .lane = OURO__LANE_WRITE,
                                    .arg = {.message = {&source_header, MSG_WAITALL}}}};
    struct rig_op receiving = {.op = {.sio = right.sio,
                                      .code = OURO__OP_RECVMSG,
                                      .lane = OURO__LANE_READ,
                                      .arg = {.message = {&sink_header, MSG_WAITALL}}}};
    rig_submit(&rig, &receiving);
    rig_submit(&rig, &sending);
    ck_assert_int_eq(rig_wait(&rig, &sending), PARTS * PART_SIZE);
    ck_assert_int_eq(rig_wait(&rig, &receiving), PARTS * PART_SIZE);
    ck_assert_int_eq(memcmp(in, out, sizeof(in)), 0);
    ouro__registration_drop(&left);
    ouro__registration_drop(&right);
    rig_close(&rig);
    close_pair(end);
}

OURO_TEST_EPOLL(accepted_descriptor_is_closed_on_exec_and_nonblocking)
{
    struct rig rig;
    rig_open(&rig);
    uint16_t port = 0;
    int listener = ouro_test_listen(AF_INET, 4, &port);
    rig_nonblocking(listener);
    struct ouro__registration registration = rig_register(&rig, listener, 0);
    for (int i = 0; i < 3; i++) {
        struct rig_op op = rig_accept(registration);
        rig_submit(&rig, &op);
        rig_settle(&rig);
        ck_assert_uint_eq(op.ended, 0);
        int peer = ouro_test_connect(AF_INET, port);
        int fd = rig_wait(&rig, &op);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
        ck_assert_int_ne(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
        close(fd);
        close(peer);
    }
    ouro__registration_drop(&registration);
    rig_close(&rig);
    close(listener);
}

/* A cancel that comes before the try takes nothing out of the socket. */
OURO_TEST_EPOLL(cancel_before_the_try_makes_none)
{
    struct rig rig;
    rig_open(&rig);
    int end[2];
    char byte = 0;
    unix_pair(SOCK_STREAM, end);
    struct ouro__registration registration = rig_register(&rig, end[0], 0);
    ouro_test_write_exactly(end[1], "x", 1);
    struct rig_op op = rig_recv(registration, &byte, 1, 0);
    rig_submit(&rig, &op);
    ouro__driver_cancel(rig.handle.driver, &op.op);
    ck_assert_uint_eq(op.ended, 0);
    ck_assert_int_eq(rig_wait(&rig, &op), -ECANCELED);
    op = rig_recv(registration, &byte, 1, 0);
    ck_assert_int_eq(rig_do(&rig, &op), 1);
    ck_assert_int_eq(byte, 'x');
    ouro__registration_drop(&registration);
    rig_close(&rig);
    close_pair(end);
}

OURO_TEST_EPOLL(reset_ends_both_directions)
{
    struct rig rig;
    rig_open(&rig);
    int end[2];
    char byte = 0;
    static char lots[8 << 20];
    rig_tcp_pair(end);
    struct ouro__registration registration = rig_register(&rig, end[0], 0);
    struct rig_op receiving = rig_recv(registration, &byte, 1, 0);
    struct rig_op sending = rig_send(registration, lots, sizeof(lots), MSG_WAITALL);
    rig_submit(&rig, &receiving);
    rig_submit(&rig, &sending);
    rig_settle(&rig);
    ck_assert_uint_eq(receiving.ended, 0);
    ck_assert_uint_eq(sending.ended, 0);
    ouro_test_reset(end[1]);
    ck_assert_int_eq(rig_wait(&rig, &receiving), -ECONNRESET);
    ck_assert_int_gt(rig_wait(&rig, &sending), 0); /* the part that went out */
    sending = rig_send(registration, lots, 1, 0);
    ck_assert_int_eq(rig_do(&rig, &sending), -EPIPE);
    ck_assert_uint_ne(rig_ready(registration) & OURO_WRITE_CLOSED, 0);
    ouro__registration_drop(&registration);
    rig_close(&rig);
    close(end[0]);
}

/* What always completes at once must not keep the driver from looking for events. */
OURO_TEST_EPOLL(busy_connection_does_not_starve_a_quiet_one)
{
    struct rig rig;
    rig_open(&rig);
    int busy[2];
    int quiet[2];
    char byte = 0;
    char other = 0;
    unix_pair(SOCK_STREAM, busy);
    unix_pair(SOCK_STREAM, quiet);
    struct ouro__registration first = rig_register(&rig, busy[0], 0);
    struct ouro__registration second = rig_register(&rig, quiet[0], 0);
    struct rig_op waiting = rig_recv(second, &other, 1, 0);
    rig_submit(&rig, &waiting);
    rig_settle(&rig);
    ouro_test_write_exactly(quiet[1], "q", 1);
    unsigned turns = 0;
    while (waiting.ended == 0) {
        struct rig_op op = rig_recv(first, &byte, 1, 0);
        ouro_test_write_exactly(busy[1], "b", 1);
        rig_submit(&rig, &op);
        ouro__driver_turn(&rig.handle, OURO_TEST_SECOND);
        ck_assert_uint_eq(op.ended, 1);
        ck_assert_uint_lt(++turns, 20);
    }
    ouro__registration_drop(&first);
    ouro__registration_drop(&second);
    rig_close(&rig);
    close_pair(busy);
    close_pair(quiet);
}

/* A read that found nothing says nothing about writing. */
OURO_TEST_EPOLL(waiting_read_does_not_hold_up_a_write)
{
    struct rig rig;
    rig_open(&rig);
    int end[2];
    char byte = 0;
    rig_tcp_pair(end);
    struct ouro__registration registration = rig_register(&rig, end[0], 0);
    receive_late(&rig, registration, end[1]);
    rig_settle(&rig);
    ck_assert_uint_eq(rig_ready(registration), OURO_READABLE | OURO_WRITABLE);
    struct rig_op reading = rig_recv(registration, &byte, 1, 0);
    rig_submit(&rig, &reading);
    ouro__driver_turn(&rig.handle, 0);
    ck_assert_uint_eq(rig_ready(registration), OURO_WRITABLE);
    struct rig_op writing = rig_send(registration, "x", 1, 0);
    rig_submit(&rig, &writing);
    ouro__driver_turn(&rig.handle, 0);
    ck_assert_uint_eq(writing.ended, 1);
    ck_assert_uint_eq(reading.ended, 0);
    ouro_test_write_exactly(end[1], "y", 1);
    ck_assert_int_eq(rig_wait(&rig, &reading), 1);
    ouro__registration_drop(&registration);
    rig_close(&rig);
    close_pair(end);
}

/* Request and response: a receive, a send and a wait each, nothing else. */
OURO_TEST_EPOLL(exchange_costs_one_try_each_way)
{
    enum { EXCHANGES = 100 };
    struct rig rig;
    rig_open(&rig);
    int end[2];
    char buffer[64];
    rig_tcp_pair(end);
    struct ouro__registration registration = rig_register(&rig, end[0], 0);
    receive_late(&rig, registration, end[1]);
    struct rig_op op = rig_recv(registration, buffer, sizeof(buffer), 0);
    ouro_test_write_exactly(end[1], "x", 1);
    ck_assert_int_eq(rig_do(&rig, &op), 1);
    uint64_t turns = metrics_of(&rig).turns;
    for (int i = 0; i < EXCHANGES; i++) {
        op = rig_send(registration, "ping", 4, 0);
        ck_assert_int_eq(rig_do(&rig, &op), 4);
        ouro_test_read_exactly(end[1], buffer, 4);
        op = rig_recv(registration, buffer, sizeof(buffer), 0);
        ouro_test_write_exactly(end[1], "pong", 4);
        ck_assert_int_eq(rig_do(&rig, &op), 4);
    }
    ck_assert_uint_eq(metrics_of(&rig).turns - turns, 2 * EXCHANGES);
    ouro__registration_drop(&registration);
    rig_close(&rig);
    close_pair(end);
}

static void count_tries(void *arg, const struct ouro_trace_event *event)
{
    unsigned *tries = arg;
    *tries += event->kind == OURO_TRACE_TRIED;
}

/* A short connection: one message, its answer, the end. */
OURO_TEST_EPOLL(the_read_after_a_short_one_waits_without_a_try)
{
    struct rig rig;
    unsigned tries = 0;
    rig_open(&rig);
    rig.handle.trace = count_tries;
    rig.handle.trace_arg = &tries;
    int end[2];
    char buffer[64];
    rig_tcp_pair(end);
    struct ouro__registration registration = rig_register(&rig, end[0], 0);
    ouro_test_write_exactly(end[1], "hello", 5);
    struct rig_op op = rig_recv(registration, buffer, sizeof(buffer), 0);
    ck_assert_int_eq(rig_do(&rig, &op), 5);
    ck_assert_uint_eq(tries, 1);
    op = rig_recv(registration, buffer, sizeof(buffer), 0);
    rig_submit(&rig, &op);
    rig_settle(&rig);
    ck_assert_uint_eq(op.ended, 0);
    ck_assert_uint_eq(tries, 1);
    ouro_test_write_exactly(end[1], "again", 5);
    ck_assert_int_eq(rig_wait(&rig, &op), 5);

    /* What had come before it was added to the epoll is not missed. */
    int late[2];
    rig_tcp_pair(late);
    struct ouro__registration second = rig_register(&rig, late[0], 0);
    ouro_test_write_exactly(late[1], "abc", 3);
    op = rig_recv(second, buffer, sizeof(buffer), 0);
    ck_assert_int_eq(rig_do(&rig, &op), 3);
    ouro_test_write_exactly(late[1], "de", 2);
    op = rig_recv(second, buffer, sizeof(buffer), 0);
    ck_assert_int_eq(rig_do(&rig, &op), 2);
    rig.handle.trace = NULL;
    ouro__registration_drop(&registration);
    ouro__registration_drop(&second);
    rig_close(&rig);
    close_pair(end);
    close_pair(late);
}

enum { MUCH = 16 << 20 };

static char byte_at(size_t i)
{
    return (char)(i * 7 + (i >> 12));
}

OURO_TEST_EPOLL(a_send_ends_at_once_or_goes_on_where_it_was)
{
    struct rig rig;
    rig_open(&rig);
    int end[2];
    char buffer[4096];
    char *much = malloc(MUCH);
    ck_assert_ptr_nonnull(much);
    for (size_t i = 0; i < MUCH; i++)
        much[i] = byte_at(i);
    rig_tcp_pair(end);
    rig_nonblocking(end[1]);
    struct ouro__registration registration = rig_register(&rig, end[0], 0);
    struct ouro_io_driver_metrics before = metrics_of(&rig);
    struct rig_op op = rig_send(registration, "ping", 4, 0);
    ck_assert(rig_try_or_submit(&rig, &op));
    ck_assert_int_eq(op.op.result, 4);
    ck_assert_uint_eq(op.ended, 0); /* it returned, and there is nothing to wait for */
    ck_assert_uint_eq(metrics_of(&rig).completed, before.completed + 1);
    ck_assert_uint_eq(metrics_of(&rig).turns, before.turns);
    ck_assert_int_eq(recv(end[1], buffer, sizeof(buffer), 0), 4);

    op = rig_send(registration, much, MUCH, MSG_WAITALL);
    ck_assert(!rig_try_or_submit(&rig, &op));
    ck_assert_int_gt(op.op.result, 0); /* a part went at once */
    for (size_t got = 0; got < MUCH;) {
        ssize_t n = recv(end[1], buffer, sizeof(buffer), 0);
        for (ssize_t i = 0; i < n; i++)
            ck_assert_int_eq(buffer[i], byte_at(got + (size_t)i));
        got += n > 0 ? (size_t)n : 0;
        if (n <= 0)
            ouro__driver_turn(&rig.handle, OURO_TEST_MS);
    }
    ck_assert_int_eq(rig_wait(&rig, &op), MUCH);
    ck_assert_int_eq(recv(end[1], buffer, sizeof(buffer), 0), -1);
    free(much);
    ouro__registration_drop(&registration);
    rig_close(&rig);
    close_pair(end);
}
