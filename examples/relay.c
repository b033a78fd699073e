/* SPDX-License-Identifier: MIT */
/*
 * Relay: accepts connections, connects each to a target, and copies bytes both ways.
 *
 *     relay LISTEN-HOST:PORT TARGET         TARGET: HOST:PORT or unix:PATH
 *
 * ouro_relay() carries both directions.  When one side has sent everything, the other side is told
 * so, and the other direction goes on.  A connection on which nothing happens for five minutes is
 * given up.
 */
#include <ouro.h>
#include <stdio.h>

#define CONNECT_TIMEOUT_NS (5 * OURO_SECOND)
#define IDLE_TIMEOUT_NS (300 * OURO_SECOND)

static const char *target;

/* One client's connection, from the accept to its end. */
static int serve_client(void *arg)
{
    struct ouro_stream *client = arg;
    struct ouro_stream *server = NULL;
    struct ouro_relay_options options = OURO_RELAY_OPTIONS_INIT;
    options.idle_timeout_ns = IDLE_TIMEOUT_NS;
    int rc = ouro_connect(target, CONNECT_TIMEOUT_NS, &server);
    if (rc == 0)
        rc = ouro_relay(client, server, &options, NULL);
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
