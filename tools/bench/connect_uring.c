/* SPDX-License-Identifier: MIT */
/*
 * A connect storm on a bare ring: the yardstick for `ouro connect --count`.
 *
 *     bench_connect_uring PORT TOTAL CONCURRENCY [basic|linked]
 *
 * basic:   socket(2), CONNECT on the ring, setsockopt(2) for a reset, close(2): the calls that ouro
 *          makes, and nothing else.  There are no tasks, no time-outs, no slab, no wake descriptor.
 * linked:  SOCKET, CONNECT and CLOSE as one chain on the ring's own descriptors; one CQE for the
 *          three.  The least that a connect can cost here; the reset is the sink's.
 *
 * Owns:    CONCURRENCY sockets at a time.
 * Threads: one.
 */
#include "support.h"

#include <errno.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { CONCURRENCY_MAX = 4096, STEP_SHIFT = 32, STEP_CLOSE = 2 };

static struct io_uring ring;
static struct sockaddr_in address;

static void start_basic(uint64_t slot)
{
    (void)slot;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        bench_die("socket", errno);
    struct io_uring_sqe *sqe = bench_ring_sqe(&ring);
    io_uring_prep_connect(sqe, fd, (struct sockaddr *)&address, sizeof(address));
    io_uring_sqe_set_data64(sqe, (unsigned)fd);
}

static bool end_basic(const struct io_uring_cqe *cqe)
{
    const struct linger reset = {.l_onoff = 1};
    int fd = (int)cqe->user_data;
    if (cqe->res < 0)
        bench_die("connect", -cqe->res);
    if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) != 0)
        bench_die("SO_LINGER", errno);
    (void)close(fd);
    return true;
}

static void start_linked(uint64_t slot)
{
    const unsigned quiet = IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS;
    struct io_uring_sqe *sqe = bench_ring_sqe(&ring);
    io_uring_prep_socket_direct(sqe, AF_INET, SOCK_STREAM, 0, (unsigned)slot, 0);
    sqe->flags |= (uint8_t)quiet;
    io_uring_sqe_set_data64(sqe, slot);

    sqe = bench_ring_sqe(&ring);
    io_uring_prep_connect(sqe, (int)slot, (struct sockaddr *)&address, sizeof(address));
    sqe->flags |= (uint8_t)(quiet | IOSQE_FIXED_FILE);
    io_uring_sqe_set_data64(sqe, 1ull << STEP_SHIFT | slot);

    sqe = bench_ring_sqe(&ring);
    io_uring_prep_close_direct(sqe, (unsigned)slot);
    io_uring_sqe_set_data64(sqe, (uint64_t)STEP_CLOSE << STEP_SHIFT | slot);
}

static bool end_linked(const struct io_uring_cqe *cqe)
{
    static const char *const steps[] = {"socket", "connect", "close"};
    uint64_t step = cqe->user_data >> STEP_SHIFT;
    if (cqe->res < 0)
        bench_die(step <= STEP_CLOSE ? steps[step] : "?", -cqe->res);
    return step == STEP_CLOSE;
}

static long reap(void (*start)(uint64_t slot), bool (*end)(const struct io_uring_cqe *cqe),
                 long to_start)
{
    struct io_uring_cqe *cqe = NULL;
    unsigned head = 0;
    unsigned count = 0;
    long ended = 0;
    io_uring_for_each_cqe(&ring, head, cqe)
    {
        count++;
        if (!end(cqe))
            continue;
        if (ended++ < to_start)
            start(cqe->user_data & UINT32_MAX);
    }
    io_uring_cq_advance(&ring, count);
    return ended;
}

int main(int argc, char **argv)
{
    if (argc < 4 || argc > 5) {
        (void)fprintf(stderr, "usage: bench_connect_uring PORT TOTAL CONCURRENCY [basic|linked]\n");
        return 2;
    }
    address = bench_address(bench_number("PORT", argv[1], 1, 65535));
    const long total = bench_number("TOTAL", argv[2], 1, 1000000000);
    const long concurrency = bench_number("CONCURRENCY", argv[3], 1, CONCURRENCY_MAX);
    const bool linked = argc == 5 && strcmp(argv[4], "linked") == 0;
    void (*start)(uint64_t slot) = linked ? start_linked : start_basic;
    bool (*end)(const struct io_uring_cqe *cqe) = linked ? end_linked : end_basic;

    bench_begin(120);
    bench_ring_open(&ring, 4096, 16384);
    int rc = linked ? io_uring_register_files_sparse(&ring, CONCURRENCY_MAX) : 0;
    if (rc < 0)
        bench_die("io_uring_register_files_sparse", -rc);

    const uint64_t begun_ns = bench_now_ns();
    long started = 0;
    for (; started < concurrency && started < total; started++)
        start((uint64_t)started);
    for (long ended = 0; ended < total;) {
        rc = io_uring_submit_and_wait(&ring, 1);
        if (rc < 0 && rc != -EINTR)
            bench_die("io_uring_submit_and_wait", -rc);
        long now = reap(start, end, total - started);
        ended += now;
        started = started + now < total ? started + now : total;
    }
    bench_report_connects(begun_ns, total);
    return 0;
}
