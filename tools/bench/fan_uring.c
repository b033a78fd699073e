/* SPDX-License-Identifier: MIT */
/*
 * A fan-out on a bare ring: what comes on one connection is sent to all others.
 *
 *     bench_fan_uring PORT
 *
 * A receive that takes nothing (MSG_PEEK) waits on each connection, so those who only listen need
 * no buffer.  The message is read by recv(2) into one of a few buffers in turn, and the sends to
 * all others are handed in by one enter.  A send leaves a completion only when it fails.
 *
 * Owns:    the connections.
 * Threads: one.
 */
#include "support.h"

#include <liburing.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER_BYTES = 4096, BUFFERS = 64, FDS_MAX = 20000, ACCEPT = 0, RECEIVE = 1, SEND = 2 };

static struct io_uring ring;
static int connections[FDS_MAX];
static size_t connection_count;
static char first_bytes[FDS_MAX]; /* where peeks put their byte */

static void arm_accept(int listener)
{
    struct io_uring_sqe *sqe = bench_ring_sqe(&ring);
    io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
    io_uring_sqe_set_data64(sqe, ACCEPT);
}

/* Waits for bytes without taking them. */
static void arm_receive(int fd)
{
    struct io_uring_sqe *sqe = bench_ring_sqe(&ring);
    io_uring_prep_recv(sqe, fd, &first_bytes[fd], 1, MSG_PEEK);
    io_uring_sqe_set_data64(sqe, (uint64_t)fd << 2 | RECEIVE);
}

static void accepted(int fd)
{
    if (fd < 0)
        return;
    if (fd >= FDS_MAX) {
        (void)close(fd);
        return;
    }
    connections[connection_count++] = fd;
    arm_receive(fd);
}

static void end(int fd)
{
    for (size_t i = 0; i < connection_count; i++)
        if (connections[i] == fd)
            connections[i] = connections[--connection_count];
    (void)close(fd);
}

static void fan_out(int from)
{
    static char buffers[BUFFERS][BUFFER_BYTES];
    static unsigned turn;
    char *buffer = buffers[turn++ % BUFFERS];
    ssize_t got = recv(from, buffer, BUFFER_BYTES, MSG_DONTWAIT);
    if (got <= 0) {
        end(from);
        return;
    }
    for (size_t i = 0; i < connection_count; i++) {
        if (connections[i] == from)
            continue;
        struct io_uring_sqe *sqe = bench_ring_sqe(&ring);
        io_uring_prep_send(sqe, connections[i], buffer, (size_t)got, MSG_NOSIGNAL | MSG_WAITALL);
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
        io_uring_sqe_set_data64(sqe, (uint64_t)connections[i] << 2 | SEND);
    }
    arm_receive(from);
}

static void completed(const struct io_uring_cqe *cqe, int listener)
{
    const int fd = (int)(cqe->user_data >> 2);
    switch (cqe->user_data & 3) {
    case ACCEPT:
        accepted(cqe->res);
        if ((cqe->flags & IORING_CQE_F_MORE) == 0)
            arm_accept(listener);
        break;
    case RECEIVE:
        if (cqe->res > 0)
            fan_out(fd);
        else
            end(fd);
        break;
    default: /* a send that has failed: the receive sees why */
        break;
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fprintf(stderr, "usage: bench_fan_uring PORT\n");
        return 2;
    }
    bench_begin(0);
    bench_ring_open(&ring, 4096, 32768);
    int listener = bench_listen(bench_number("PORT", argv[1], 1, 65535), 0);
    arm_accept(listener);
    for (;;)
        bench_ring_turn(&ring, completed, listener);
}
