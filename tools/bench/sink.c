/* SPDX-License-Identifier: MIT */
/*
 * The other end of a connect storm: accepts as cheaply as a kernel allows.
 *
 *     bench_sink PORT
 *
 * One multishot accept puts connections into the ring's own table of descriptors.  Each is reset
 * (SO_LINGER of 0, inherited from the listener) only when LAG later ones have come, so that a
 * client sees its connect succeed before it can see a reset, and nothing stays in TIME_WAIT.
 *
 * Owns:    the listener, and at most SLOTS connections.
 * Threads: one.
 */
#include "support.h"

#include <errno.h>
#include <liburing.h>
#include <stdio.h>

enum { LAG = 4096, SLOTS = 8192, ACCEPTED = 1, CLOSED = 2 };

static struct io_uring ring;
static int accepted[LAG]; /* slot + 1; 0: none yet */
static unsigned next_place;

static void arm(int listener)
{
    struct io_uring_sqe *sqe = bench_ring_sqe(&ring);
    io_uring_prep_multishot_accept_direct(sqe, listener, NULL, NULL, 0);
    io_uring_sqe_set_data64(sqe, ACCEPTED);
}

/* The newcomer takes the place of the one that came LAG before it. */
static void take(int slot)
{
    int *place = &accepted[next_place++ % LAG];
    if (*place != 0) {
        struct io_uring_sqe *sqe = bench_ring_sqe(&ring);
        io_uring_prep_close_direct(sqe, (unsigned)*place - 1);
        io_uring_sqe_set_data64(sqe, CLOSED);
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    }
    *place = slot + 1;
}

int main(int argc, char **argv)
{
    const struct linger reset = {.l_onoff = 1};
    if (argc != 2) {
        (void)fprintf(stderr, "usage: bench_sink PORT\n");
        return 2;
    }
    bench_begin(0);
    bench_ring_open(&ring, 4096, 16384);
    int rc = io_uring_register_files_sparse(&ring, SLOTS);
    if (rc < 0)
        bench_die("io_uring_register_files_sparse", -rc);
    int listener = bench_listen(bench_number("PORT", argv[1], 1, 65535), 0);
    if (setsockopt(listener, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) != 0)
        bench_die("SO_LINGER", errno);
    arm(listener);
    for (;;) {
        rc = io_uring_submit_and_wait(&ring, 1);
        if (rc < 0 && rc != -EINTR)
            bench_die("io_uring_submit_and_wait", -rc);
        struct io_uring_cqe *cqe = NULL;
        unsigned head = 0;
        unsigned count = 0;
        io_uring_for_each_cqe(&ring, head, cqe)
        {
            count++;
            if (cqe->user_data != ACCEPTED)
                continue;
            if (cqe->res >= 0)
                take(cqe->res);
            if ((cqe->flags & IORING_CQE_F_MORE) == 0)
                arm(listener);
        }
        io_uring_cq_advance(&ring, count);
    }
}
