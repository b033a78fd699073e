/* SPDX-License-Identifier: MIT */
/*
 * An echo server on a bare ring: the yardstick for `ouro serve echo`.
 *
 *     bench_echo_uring PORT
 *
 * The same operations as ouro's, on a ring of the same kind: one single-shot receive into the
 * connection's buffer, one send of what came (with MSG_WAITALL, so the kernel finishes a short
 * one), and one enter for each round of completions.  What ouro costs more is ouro's own.
 *
 * Owns:    the connections.
 * Threads: one.
 */
#include "support.h"

#include <errno.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BUFFER_BYTES = 16384 };

struct connection {
    int fd;
    int sending; /* bytes; 0: receiving */
    char buffer[BUFFER_BYTES];
};

static struct io_uring ring;

static void begin_accept(int listener)
{
    struct io_uring_sqe *sqe = bench_ring_sqe(&ring);
    io_uring_prep_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    io_uring_sqe_set_data(sqe, NULL);
}

static void begin_receive(struct connection *connection)
{
    struct io_uring_sqe *sqe = bench_ring_sqe(&ring);
    io_uring_prep_recv(sqe, connection->fd, connection->buffer, BUFFER_BYTES, 0);
    io_uring_sqe_set_data(sqe, connection);
    connection->sending = 0;
}

static void begin_send(struct connection *connection, int size)
{
    struct io_uring_sqe *sqe = bench_ring_sqe(&ring);
    io_uring_prep_send(sqe, connection->fd, connection->buffer, (size_t)size,
                       MSG_NOSIGNAL | MSG_WAITALL);
    io_uring_sqe_set_data(sqe, connection);
    connection->sending = size;
}

static void accepted(int listener, int fd)
{
    begin_accept(listener);
    struct connection *connection = fd >= 0 ? malloc(sizeof(*connection)) : NULL;
    if (connection != NULL) {
        connection->fd = fd;
        begin_receive(connection);
    } else if (fd >= 0) {
        (void)close(fd);
    }
}

static void completed(struct connection *connection, int result)
{
    if (result <= 0 || (connection->sending != 0 && result != connection->sending)) {
        (void)close(connection->fd);
        free(connection);
    } else if (connection->sending == 0) {
        begin_send(connection, result);
    } else {
        begin_receive(connection);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fprintf(stderr, "usage: bench_echo_uring PORT\n");
        return 2;
    }
    bench_begin(0);
    bench_ring_open(&ring, 2048, 16384);
    int listener = bench_listen(bench_number("PORT", argv[1], 1, 65535), 0);
    begin_accept(listener);
    for (;;) {
        int rc = io_uring_submit_and_wait(&ring, 1);
        if (rc < 0 && rc != -EINTR)
            bench_die("io_uring_submit_and_wait", -rc);
        struct io_uring_cqe *cqe = NULL;
        unsigned head = 0;
        unsigned count = 0;
        io_uring_for_each_cqe(&ring, head, cqe)
        {
            struct connection *connection = io_uring_cqe_get_data(cqe);
            count++;
            if (connection == NULL)
                accepted(listener, cqe->res);
            else
                completed(connection, cqe->res);
        }
        io_uring_cq_advance(&ring, count);
    }
}
