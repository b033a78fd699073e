/* SPDX-License-Identifier: MIT */
/*
 * Relay: accepts connections, connects each to a target, and copies bytes both ways.
 *
 *     relay LISTEN-HOST:PORT TARGET         TARGET: HOST:PORT or unix:PATH
 *
 * The two directions of a connection are two tasks of one group.  When one side has sent
 * everything, the other side is told so (shutdown of the writing half), and the other direction
 * goes on.  When a direction fails, the group cancels the other one: half a relay is no use.
 */
#include <ouro.h>
#include <stdio.h>

#define CONNECT_TIMEOUT_NS (5 * OURO_SECOND)

struct direction {
    struct ouro_stream *from;
    struct ouro_stream *to;
};

static int copy(void *arg)
{
    struct direction *direction = arg;
    char buffer[16384];
    for (;;) {
        ssize_t n = ouro_stream_read(direction->from, buffer, sizeof(buffer));
        if (n < 0)
            return (int)n;
        if (n == 0)
            return ouro_stream_shutdown(direction->to, OURO_SHUTDOWN_WRITE);
        int rc = ouro_stream_write_all(direction->to, buffer, (size_t)n, NULL);
        if (rc < 0)
            return rc;
    }
}

/* Returns when both directions have ended. */
static int copy_both(struct ouro_stream *left, struct ouro_stream *right)
{
    struct direction there = {.from = left, .to = right};
    struct direction back = {.from = right, .to = left};
    struct ouro_group group;
    int rc = ouro_group_begin(&group, 0);
    if (rc < 0)
        return rc;
    rc = ouro_group_spawn(&group, NULL, copy, &there);
    if (rc == 0)
        rc = ouro_group_spawn(&group, NULL, copy, &back);
    if (rc < 0)
        ouro_group_cancel(&group);
    int end_rc = ouro_group_end(&group);
    return rc < 0 ? rc : end_rc;
}

static const char *target;

/* One client's connection, from the accept to its end. */
static int serve_client(void *arg)
{
    struct ouro_stream *client = arg;
    struct ouro_stream *server = NULL;
    int rc = ouro_connect(target, CONNECT_TIMEOUT_NS, &server);
    if (rc == 0)
        rc = copy_both(client, server);
    if (rc < 0)
        fprintf(stderr, "relay: %s: %s\n", target, ouro_strerror(rc));
    ouro_stream_close(server);
    ouro_stream_close(client);
    return 0; /* a failed connection ends no other */
}

static int serve(void *arg)
{
    const char *address = arg;
    struct ouro_tcp_listener *listener = NULL;
    struct ouro_stream *client = NULL;
    struct ouro_socket_addr addr;
    struct ouro_group clients;
    char text[OURO_ADDR_TEXT_MAX];

    int rc = ouro_tcp_listener_bind(OURO_ADDRS(address), NULL, &listener);
    if (rc < 0)
        return rc;
    rc = ouro_tcp_listener_local_addr(listener, &addr);
    if (rc == 0)
        rc = ouro_group_begin(&clients, 0);
    if (rc == 0) {
        printf("listening on %s\n", ouro_socket_addr_format(&addr, text, sizeof(text)));
        fflush(stdout);
        while ((rc = ouro_tcp_listener_accept(listener, &client, NULL)) == 0) {
            if (ouro_group_spawn(&clients, NULL, serve_client, client) < 0)
                ouro_stream_close(client);
        }
        ouro_group_cancel(&clients);
        ouro_group_end(&clients);
    }
    ouro_tcp_listener_close(listener);
    return rc;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: relay LISTEN-HOST:PORT TARGET\n");
        return 2;
    }
    target = argv[2];
    int rc = ouro_run(serve, argv[1]);
    if (rc < 0)
        fprintf(stderr, "relay: %s\n", ouro_strerror(rc));
    return rc < 0;
}
