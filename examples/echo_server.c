/* SPDX-License-Identifier: MIT */
/*
 * Echo server: sends back what each connection sends.
 *
 *     echo_server [HOST:PORT]            127.0.0.1:6142 by default; port 0: any free port
 *
 * One task accepts.  Each connection has a task of its own, in a group, so that no connection
 * outlives the listener's loop.  A connection that is silent for a minute is closed.
 */
#include <errno.h>
#include <ouro.h>
#include <stdio.h>

#define IDLE_NS (60 * OURO_SECOND)

/* The next bytes of a connection: a count, 0 at its end, or a negative code. */
static ssize_t read_within(struct ouro_stream *stream, void *buffer, size_t size, int64_t limit_ns)
{
    OURO_DEADLINE(limit, limit_ns); /* holds until this function returns */
    return ouro_stream_read(stream, buffer, size);
}

static int echo(void *arg)
{
    struct ouro_stream *stream = arg;
    char buffer[4096];
    ssize_t n = 0;
    while ((n = read_within(stream, buffer, sizeof(buffer), IDLE_NS)) > 0) {
        if (ouro_stream_write_all(stream, buffer, (size_t)n, NULL) < 0)
            break;
    }
    ouro_stream_close(stream);
    return 0;
}

/* Accepts until that fails.  Returns why. */
static int accept_all(struct ouro_tcp_listener *listener, struct ouro_group *connections)
{
    for (;;) {
        struct ouro_stream *stream = NULL;
        int rc = ouro_tcp_listener_accept(listener, &stream, NULL);
        if (rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM) {
            /* The connection waits in the backlog until others have ended. */
            rc = ouro_sleep(10 * OURO_MILLISECOND);
            if (rc == 0)
                continue;
        }
        if (rc < 0)
            return rc;
        if (ouro_group_spawn(connections, NULL, echo, stream) < 0)
            ouro_stream_close(stream);
    }
}

static int serve(void *arg)
{
    const char *address = arg;
    struct ouro_tcp_listener *listener = NULL;
    struct ouro_socket_addr addr;
    struct ouro_group connections;
    char text[OURO_ADDR_TEXT_MAX];

    int rc = ouro_tcp_listener_bind(OURO_ADDRS(address), NULL, &listener);
    if (rc < 0)
        return rc;
    rc = ouro_tcp_listener_local_addr(listener, &addr);
    if (rc == 0)
        rc = ouro_group_begin(&connections, 0);
    if (rc == 0) {
        printf("listening on %s\n", ouro_socket_addr_format(&addr, text, sizeof(text)));
        fflush(stdout);
        rc = accept_all(listener, &connections);
        ouro_group_cancel(&connections);
        ouro_group_end(&connections);
    }
    ouro_tcp_listener_close(listener);
    return rc;
}

int main(int argc, char **argv)
{
    char address[] = "127.0.0.1:6142";
    int rc = ouro_run(serve, argc > 1 ? argv[1] : address);
    if (rc < 0)
        fprintf(stderr, "echo_server: %s\n", ouro_strerror(rc));
    return rc < 0;
}
