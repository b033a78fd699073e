/* SPDX-License-Identifier: MIT */
/*
 * The other end of an echo server: keeps DEPTH messages on their way on each of C connections.
 *
 *     bench_load PORT SERVER_PID CONNECTIONS SIZE SECONDS [DEPTH [spin]]
 *
 * The messages of a connection leave together, and the next ones when all have come back; DEPTH is
 * 1 where it is left out.  With `spin` the load never sleeps: it looks for completions until some
 * have come.
 *
 * After a warm-up of half the time, at most 0.2 s, it measures for SECONDS, and on until as many
 * messages have come back as there are connections: messages, round-trip times, and the CPU time
 * the server had meanwhile.  That comes from the server's process CPU clock, which is exact at the
 * moment it is read and counts every thread, living or ended.  What is printed is one line of JSON.
 *
 * The echo's bytes are checked on every message: a server that answers fast and wrong is not fast.
 *
 * `ouro bench echo` can do all of this and more.  It is not used here, because it runs on ouro: a
 * change of the library would change the load that the library is measured with, and a comparison
 * of two versions would be one of two loads.  A bare ring also leaves the server less to wait for:
 * it spends less on a message than any of the servers.
 *
 * Owns:    the connections.
 * Threads: one.
 */
#include "ouro/histogram.h"
#include "support.h"

#include <errno.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SIZE_MAX_BYTES = 65536,
    SENT = 1, /* the low bit of user_data; 0: received */
};

#define WARM_UP_MAX 0.2 /* seconds */

struct connection {
    int fd;
    uint64_t sent_ns;
    char *echo;
};

static struct io_uring ring;
static struct connection *connections;
static struct histogram histogram;
static char message[SIZE_MAX_BYTES];
static size_t size; /* of the messages that leave together */
static uint64_t depth = 1;
static bool measuring;
static bool spins;

static double quantile_us(double fraction)
{
    return (double)histogram_quantile(&histogram, fraction) / 1e3;
}

/* A send that leaves a CQE only when it fails, and the wait for the whole echo. */
static void send_one(uint64_t index, uint64_t now_ns)
{
    struct connection *connection = &connections[index];
    struct io_uring_sqe *sqe = bench_ring_sqe(&ring);
    io_uring_prep_send(sqe, connection->fd, message, size, MSG_NOSIGNAL | MSG_WAITALL);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data64(sqe, index << 1 | SENT);
    sqe = bench_ring_sqe(&ring);
    io_uring_prep_recv(sqe, connection->fd, connection->echo, size, MSG_WAITALL);
    io_uring_sqe_set_data64(sqe, index << 1);
    connection->sent_ns = now_ns;
}

static void take(const struct io_uring_cqe *cqe, uint64_t now_ns)
{
    uint64_t index = cqe->user_data >> 1;
    struct connection *connection = &connections[index];
    if (cqe->res < 0)
        bench_die((cqe->user_data & SENT) != 0 ? "send" : "recv", -cqe->res);
    if ((cqe->user_data & SENT) != 0)
        return;
    if ((size_t)cqe->res != size || memcmp(connection->echo, message, size) != 0)
        bench_die("not the echo of what was sent", EBADMSG);
    if (measuring)
        histogram_record(&histogram, (int64_t)(now_ns - connection->sent_ns));
    send_one(index, now_ns);
}

/* One round: what is to send goes out, what has come is counted. */
static uint64_t turn(void)
{
    int rc = spins ? io_uring_submit_and_get_events(&ring) : io_uring_submit_and_wait(&ring, 1);
    if (rc < 0 && rc != -EINTR)
        bench_die("io_uring_submit_and_wait", -rc);
    const uint64_t now_ns = bench_now_ns();
    struct io_uring_cqe *cqe = NULL;
    unsigned head = 0;
    unsigned count = 0;
    io_uring_for_each_cqe(&ring, head, cqe)
    {
        count++;
        take(cqe, now_ns);
    }
    io_uring_cq_advance(&ring, count);
    return now_ns;
}

static void connect_all(long port, long count)
{
    connections = calloc((size_t)count, sizeof(*connections));
    if (connections == NULL)
        bench_die("calloc", ENOMEM);
    for (long i = 0; i < count; i++) {
        struct connection *connection = &connections[i];
        connection->fd = bench_connect(port);
        connection->echo = malloc(size);
        if (connection->echo == NULL)
            bench_die("malloc", ENOMEM);
    }
}

static void measure(clockid_t server, double seconds, uint64_t at_least)
{
    const double warm_up = seconds / 2 < WARM_UP_MAX ? seconds / 2 : WARM_UP_MAX;
    uint64_t now_ns = bench_now_ns();
    for (uint64_t until_ns = now_ns + (uint64_t)(warm_up * 1e9); now_ns < until_ns;)
        now_ns = turn();
    const uint64_t begun_ns = bench_now_ns();
    const uint64_t own_ns = bench_cpu_ns();
    const uint64_t server_ns = bench_clock_ns(server);
    measuring = true;
    const uint64_t until_ns = begun_ns + (uint64_t)(seconds * 1e9);
    while (now_ns < until_ns || histogram.count < at_least)
        now_ns = turn();
    const double server_us = (double)(bench_clock_ns(server) - server_ns) / 1e3;
    const double own_us = (double)(bench_cpu_ns() - own_ns) / 1e3;
    const double us = (double)(bench_now_ns() - begun_ns) / 1e3;
    const double count = (double)(histogram.count * depth);
    printf("{\"messages\": %.0f, \"secs\": %.4f, \"rate\": %.0f, \"cpu_us\": %.5f, "
           "\"server_busy\": %.4f, \"load_busy\": %.4f, \"p50_us\": %.2f, \"p99_us\": %.2f}\n",
           count, us / 1e6, count / us * 1e6, server_us / count, server_us / us, own_us / us,
           quantile_us(0.5), quantile_us(0.99));
}

int main(int argc, char **argv)
{
    if (argc < 6 || argc > 8) {
        (void)fprintf(stderr, "usage: bench_load PORT SERVER_PID CONNECTIONS SIZE SECONDS "
                              "[DEPTH [spin]]\n");
        return 2;
    }
    const long port = bench_number("PORT", argv[1], 1, 65535);
    const clockid_t server = bench_cpu_clock(bench_number("SERVER_PID", argv[2], 1, INT32_MAX));
    const long count = bench_number("CONNECTIONS", argv[3], 1, 100000);
    size = (size_t)bench_number("SIZE", argv[4], 1, SIZE_MAX_BYTES);
    const double seconds = strtod(argv[5], NULL);
    if (argc > 6)
        depth = (uint64_t)bench_number("DEPTH", argv[6], 1, (long)(SIZE_MAX_BYTES / size));
    spins = argc > 7 && strcmp(argv[7], "spin") == 0;
    size *= depth;
    for (size_t i = 0; i < size; i++)
        message[i] = (char)(i % 251);

    bench_begin((unsigned)seconds + 30);
    bench_ring_open(&ring, 4096, 16384);
    connect_all(port, count);
    for (long i = 0; i < count; i++)
        send_one((uint64_t)i, bench_now_ns());
    measure(server, seconds, (uint64_t)count);
    return 0;
}
