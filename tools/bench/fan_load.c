/* SPDX-License-Identifier: MIT */
/*
 * The other end of a fan-out: one connection sends, RECEIVERS connections each get what it sent.
 *
 *     bench_fan_load PORT SERVER_PID RECEIVERS SIZE SECONDS
 *
 * A message counts when the last receiver has it; then the next one is sent.  Its latency is the
 * time until then.  The bytes are checked at each receiver.  The sender connects after the
 * receivers, so a server that accepts in order knows them all when the first message comes.
 *
 * After a warm-up of half the time, at most 0.2 s, it measures for SECONDS, and on until at least
 * one message has reached all.  One line of JSON is printed; cpu_us is the server's CPU time for a
 * message to all.
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
#include <sys/socket.h>

enum { SIZE_MAX_BYTES = 4096, RECEIVERS_MAX = 15000 };

#define WARM_UP_MAX 0.2 /* seconds */

struct receiver {
    int fd;
    char *bytes;
};

static struct io_uring ring;
static struct receiver *receivers;
static long receiver_count;
static int sender;
static size_t size;
static char message[SIZE_MAX_BYTES];
static struct histogram histogram;

static void arm(long index)
{
    struct io_uring_sqe *sqe = bench_ring_sqe(&ring);
    io_uring_prep_recv(sqe, receivers[index].fd, receivers[index].bytes, size, MSG_WAITALL);
    io_uring_sqe_set_data64(sqe, (uint64_t)index);
}

static void take(const struct io_uring_cqe *cqe, uint64_t number)
{
    const struct receiver *receiver = &receivers[cqe->user_data];
    if (cqe->res < 0)
        bench_die("recv", -cqe->res);
    if ((size_t)cqe->res != size || memcmp(receiver->bytes, message, size) != 0)
        bench_die("not what was sent", EBADMSG);
    if (memcmp(receiver->bytes, &number, sizeof(number)) != 0)
        bench_die("an older message", EBADMSG);
    arm((long)cqe->user_data);
}

/* One message to all.  Returns when the last receiver has it. */
static uint64_t send_to_all(uint64_t number)
{
    const uint64_t begun_ns = bench_now_ns();
    memcpy(message, &number, sizeof(number));
    if (send(sender, message, size, MSG_NOSIGNAL) != (ssize_t)size)
        bench_die("send", errno);
    for (long left = receiver_count; left > 0;) {
        int rc = io_uring_submit_and_wait(&ring, 1);
        if (rc < 0 && rc != -EINTR)
            bench_die("io_uring_submit_and_wait", -rc);
        struct io_uring_cqe *cqe = NULL;
        unsigned head = 0;
        unsigned count = 0;
        io_uring_for_each_cqe(&ring, head, cqe)
        {
            count++;
            take(cqe, number);
        }
        io_uring_cq_advance(&ring, count);
        left -= count;
    }
    const uint64_t end_ns = bench_now_ns();
    histogram_record(&histogram, (int64_t)(end_ns - begun_ns));
    return end_ns;
}

static void connect_all(long port)
{
    receivers = calloc((size_t)receiver_count, sizeof(*receivers));
    if (receivers == NULL)
        bench_die("calloc", ENOMEM);
    for (long i = 0; i < receiver_count; i++) {
        receivers[i].fd = bench_connect(port);
        receivers[i].bytes = malloc(size);
        if (receivers[i].bytes == NULL)
            bench_die("malloc", ENOMEM);
        arm(i);
    }
    sender = bench_connect(port);
}

static void measure(clockid_t server, double seconds)
{
    uint64_t number = 0;
    const double warm_up = seconds / 2 < WARM_UP_MAX ? seconds / 2 : WARM_UP_MAX;
    uint64_t now_ns = bench_now_ns();
    for (uint64_t until_ns = now_ns + (uint64_t)(warm_up * 1e9); now_ns < until_ns;)
        now_ns = send_to_all(number++);
    memset(&histogram, 0, sizeof(histogram)); /* what came before does not count */
    const uint64_t begun_ns = bench_now_ns();
    const uint64_t server_ns = bench_clock_ns(server);
    const uint64_t until_ns = begun_ns + (uint64_t)(seconds * 1e9);
    while (now_ns < until_ns || histogram.count == 0)
        now_ns = send_to_all(number++);
    const double server_us = (double)(bench_clock_ns(server) - server_ns) / 1e3;
    const double us = (double)(bench_now_ns() - begun_ns) / 1e3;
    const double count = (double)histogram.count;
    printf("{\"messages\": %.0f, \"secs\": %.4f, \"rate\": %.1f, \"cpu_us\": %.4f, "
           "\"p50_us\": %.2f, \"p99_us\": %.2f}\n",
           count, us / 1e6, count / us * 1e6, server_us / count,
           (double)histogram_quantile(&histogram, 0.5) / 1e3,
           (double)histogram_quantile(&histogram, 0.99) / 1e3);
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        (void)fprintf(stderr, "usage: bench_fan_load PORT SERVER_PID RECEIVERS SIZE SECONDS\n");
        return 2;
    }
    const long port = bench_number("PORT", argv[1], 1, 65535);
    const clockid_t server = bench_cpu_clock(bench_number("SERVER_PID", argv[2], 1, INT32_MAX));
    receiver_count = bench_number("RECEIVERS", argv[3], 1, RECEIVERS_MAX);
    size = (size_t)bench_number("SIZE", argv[4], (long)sizeof(uint64_t), SIZE_MAX_BYTES);
    const double seconds = strtod(argv[5], NULL);
    for (size_t i = 0; i < size; i++)
        message[i] = (char)(i % 251);
    bench_begin((unsigned)seconds + 30);
    bench_ring_open(&ring, 4096, 32768);
    connect_all(port);
    measure(server, seconds);
    return 0;
}
