/* SPDX-License-Identifier: MIT */
/*
 * A connect storm on libuv; built where libuv is.
 *
 *     bench_connect_libuv PORT TOTAL CONCURRENCY
 *
 * Owns:    CONCURRENCY handles, each used again for the next connect.
 * Threads: one.
 */
#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

struct connection {
    uv_tcp_t tcp; /* the first, so that a handle is its connection */
    uv_connect_t request;
};

static struct sockaddr_in address;
static long total;
static long started;
static long ended;

static void start(struct connection *connection);

static void closed(uv_handle_t *handle)
{
    ended++;
    if (started < total)
        start((struct connection *)(void *)handle);
}

static void connected(uv_connect_t *request, int status)
{
    uv_tcp_t *tcp = (uv_tcp_t *)(void *)request->handle;
    if (status < 0)
        bench_die("connect", -status);
    int rc = uv_tcp_close_reset(tcp, closed);
    if (rc < 0)
        bench_die("uv_tcp_close_reset", -rc);
}

static void start(struct connection *connection)
{
    started++;
    int rc = uv_tcp_init(uv_default_loop(), &connection->tcp);
    if (rc == 0)
        rc = uv_tcp_connect(&connection->request, &connection->tcp, (struct sockaddr *)&address,
                            connected);
    if (rc < 0)
        bench_die("uv_tcp_connect", -rc);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        (void)fprintf(stderr, "usage: bench_connect_libuv PORT TOTAL CONCURRENCY\n");
        return 2;
    }
    address = bench_address(bench_number("PORT", argv[1], 1, 65535));
    total = bench_number("TOTAL", argv[2], 1, 1000000000);
    const long concurrency = bench_number("CONCURRENCY", argv[3], 1, 100000);
    struct connection *connections = calloc((size_t)concurrency, sizeof(*connections));
    if (connections == NULL)
        bench_die("calloc", ENOMEM);
    bench_begin(120);

    const uint64_t begun_ns = bench_now_ns();
    for (long i = 0; i < concurrency && started < total; i++)
        start(&connections[i]);
    (void)uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    bench_report_connects(begun_ns, total);
    free(connections);
    return ended == total ? 0 : 1;
}
