/* SPDX-License-Identifier: MIT */
/*
 * An echo server on a bare ring with everything that saves operations.
 *
 *     bench_echo_uring_multishot PORT
 *
 * One multishot accept into the ring's own descriptors, one multishot receive for a connection from
 * a ring of buffers, a send of what came, a close that leaves no completion.  It is the other bare
 * ring beside echo_uring.c: which of the two is the better one depends on the load.
 *
 * A connection's sends must not overlap, or a short one would change the order of the bytes.  What
 * comes while one is on its way waits in a list of buffers.
 *
 * Owns:    the connections, the buffers.
 * Threads: one.
 */
#include "support.h"

#include <errno.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    BUFFER_BYTES = 16384,
    BUFFERS = 4096, /* a power of two */
    SLOTS = 16384,
    GROUP = 0,
    ACCEPT = 0, /* what a completion is of: the low bits of user_data */
    RECEIVE = 1,
    SEND = 2,
    CLOSE = 3,
    NONE = -1,
};

struct connection {
    int sending;     /* a buffer, NONE */
    int first, last; /* buffers that wait to be sent */
    bool is_armed;
    bool is_over;
};

static struct io_uring ring;
static struct io_uring_buf_ring *buffer_ring;
static char *buffers;
static struct connection connections[SLOTS];
static int next_of[BUFFERS];
static unsigned size_of[BUFFERS];

static char *bytes_of(int buffer)
{
    return buffers + (size_t)buffer * BUFFER_BYTES;
}

static void give_back(int buffer)
{
    io_uring_buf_ring_add(buffer_ring, bytes_of(buffer), BUFFER_BYTES, (unsigned short)buffer,
                          io_uring_buf_ring_mask(BUFFERS), 0);
    io_uring_buf_ring_advance(buffer_ring, 1);
}

static void arm_accept(int listener)
{
    struct io_uring_sqe *sqe = bench_ring_sqe(&ring);
    io_uring_prep_multishot_accept_direct(sqe, listener, NULL, NULL, 0);
    io_uring_sqe_set_data64(sqe, ACCEPT);
}

/* For an operation on a connection. */
static void mark(struct io_uring_sqe *sqe, unsigned slot, unsigned what)
{
    sqe->flags |= IOSQE_FIXED_FILE;
    io_uring_sqe_set_data64(sqe, (uint64_t)slot << 2 | what);
}

static void arm_receive(unsigned slot)
{
    struct io_uring_sqe *sqe = bench_ring_sqe(&ring);
    io_uring_prep_recv_multishot(sqe, (int)slot, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = GROUP;
    mark(sqe, slot, RECEIVE);
    connections[slot].is_armed = true;
}

static void send_buffer(unsigned slot, int buffer)
{
    struct io_uring_sqe *sqe = bench_ring_sqe(&ring);
    io_uring_prep_send(sqe, (int)slot, bytes_of(buffer), size_of[buffer],
                       MSG_NOSIGNAL | MSG_WAITALL);
    mark(sqe, slot, SEND);
    connections[slot].sending = buffer;
}

static void end_if_over(unsigned slot)
{
    struct connection *connection = &connections[slot];
    if (!connection->is_over || connection->is_armed || connection->sending != NONE)
        return;
    for (int buffer = connection->first; buffer != NONE; buffer = next_of[buffer])
        give_back(buffer);
    connection->first = NONE;
    struct io_uring_sqe *sqe = bench_ring_sqe(&ring);
    io_uring_prep_close_direct(sqe, slot);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data64(sqe, CLOSE);
}

static void received(unsigned slot, const struct io_uring_cqe *cqe)
{
    struct connection *connection = &connections[slot];
    if ((cqe->flags & IORING_CQE_F_MORE) == 0)
        connection->is_armed = false;
    if (cqe->res > 0) {
        const int buffer = (int)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
        size_of[buffer] = (unsigned)cqe->res;
        next_of[buffer] = NONE;
        if (connection->sending == NONE) {
            send_buffer(slot, buffer);
        } else {
            if (connection->first == NONE)
                connection->first = buffer;
            else
                next_of[connection->last] = buffer;
            connection->last = buffer;
        }
    } else if (cqe->res != -ENOBUFS) {
        connection->is_over = true;
    }
    if (!connection->is_armed && !connection->is_over)
        arm_receive(slot);
    end_if_over(slot);
}

static void sent(unsigned slot, int result)
{
    struct connection *connection = &connections[slot];
    const int buffer = connection->sending;
    if (result != (int)size_of[buffer])
        connection->is_over = true; /* the receive ends too: the socket has failed */
    give_back(buffer);
    connection->sending = NONE;
    if (connection->first != NONE && !connection->is_over) {
        const int next = connection->first;
        connection->first = next_of[next];
        send_buffer(slot, next);
    }
    end_if_over(slot);
}

static void completed(const struct io_uring_cqe *cqe, int listener)
{
    const unsigned slot = (unsigned)(cqe->user_data >> 2);
    switch (cqe->user_data & 3) {
    case ACCEPT:
        if (cqe->res >= 0) {
            connections[cqe->res] = (struct connection){NONE, NONE, NONE, false, false};
            arm_receive((unsigned)cqe->res);
        }
        if ((cqe->flags & IORING_CQE_F_MORE) == 0)
            arm_accept(listener);
        break;
    case RECEIVE:
        received(slot, cqe);
        break;
    case SEND:
        sent(slot, cqe->res);
        break;
    default:
        bench_die("close", -cqe->res);
    }
}

static void open_buffers(void)
{
    void *memory = NULL;
    buffers = malloc((size_t)BUFFERS * BUFFER_BYTES);
    if (buffers == NULL ||
        posix_memalign(&memory, 4096, BUFFERS * sizeof(struct io_uring_buf)) != 0)
        bench_die("memory", ENOMEM);
    struct io_uring_buf_reg reg = {
        .ring_addr = (uint64_t)(uintptr_t)memory, .ring_entries = BUFFERS, .bgid = GROUP};
    int rc = io_uring_register_buf_ring(&ring, &reg, 0);
    if (rc < 0)
        bench_die("io_uring_register_buf_ring", -rc);
    buffer_ring = memory;
    io_uring_buf_ring_init(buffer_ring);
    for (int i = 0; i < BUFFERS; i++)
        give_back(i);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fprintf(stderr, "usage: bench_echo_uring_multishot PORT\n");
        return 2;
    }
    bench_begin(0);
    bench_ring_open(&ring, 2048, 16384);
    int rc = io_uring_register_files_sparse(&ring, SLOTS);
    if (rc < 0)
        bench_die("io_uring_register_files_sparse", -rc);
    open_buffers();
    int listener = bench_listen(bench_number("PORT", argv[1], 1, 65535), 0);
    arm_accept(listener);
    for (;;)
        bench_ring_turn(&ring, completed, listener);
}
