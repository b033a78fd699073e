/* SPDX-License-Identifier: MIT */
/*
 * An echo server on libuv.
 *
 *     echo_libuv PORT
 *
 * One read buffer for all connections; uv_try_write() first, and a queued uv_write() for what did
 * not fit.
 */
#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct rest {
    uv_write_t request;
    char bytes[];
};

static void on_close(uv_handle_t *handle)
{
    free(handle);
}

static void on_allocate(uv_handle_t *handle, size_t hint, uv_buf_t *buffer)
{
    static char shared[65536];
    (void)handle;
    (void)hint;
    *buffer = uv_buf_init(shared, sizeof(shared));
}

static void on_written(uv_write_t *request, int status)
{
    (void)status;
    free(request);
}

static void write_later(uv_stream_t *stream, const char *bytes, size_t size)
{
    struct rest *rest = malloc(sizeof(*rest) + size);
    if (rest == NULL)
        bench_die("malloc", ENOMEM);
    memcpy(rest->bytes, bytes, size);
    uv_buf_t out = uv_buf_init(rest->bytes, (unsigned)size);
    int rc = uv_write(&rest->request, stream, &out, 1, on_written);
    if (rc < 0)
        bench_die("uv_write", -rc);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    if (size < 0) {
        uv_close((uv_handle_t *)stream, on_close);
        return;
    }
    if (size == 0)
        return;
    uv_buf_t out = uv_buf_init(buffer->base, (unsigned)size);
    int put =
        uv_stream_get_write_queue_size(stream) > 0 ? UV_EAGAIN : uv_try_write(stream, &out, 1);
    if (put < 0 && put != UV_EAGAIN) {
        uv_close((uv_handle_t *)stream, on_close);
        return;
    }
    if (put < 0)
        put = 0;
    if (put < size)
        write_later(stream, buffer->base + put, (size_t)(size - put));
}

static void on_connection(uv_stream_t *listener, int status)
{
    if (status < 0)
        return;
    uv_tcp_t *connection = malloc(sizeof(*connection));
    if (connection == NULL)
        bench_die("malloc", ENOMEM);
    (void)uv_tcp_init(listener->loop, connection);
    if (uv_accept(listener, (uv_stream_t *)connection) == 0) {
        (void)uv_tcp_nodelay(connection, 1);
        (void)uv_read_start((uv_stream_t *)connection, on_allocate, on_read);
    } else {
        uv_close((uv_handle_t *)connection, on_close);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    const struct sockaddr_in address = bench_address(bench_number("PORT", argv[1], 1, 65535));
    bench_begin(0);
    uv_tcp_t listener;
    (void)uv_tcp_init(uv_default_loop(), &listener);
    (void)uv_tcp_bind(&listener, (const struct sockaddr *)&address, 0);
    int rc = uv_listen((uv_stream_t *)&listener, 4096, on_connection);
    if (rc < 0)
        bench_die("uv_listen", -rc);
    return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
