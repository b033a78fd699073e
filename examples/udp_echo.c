/* SPDX-License-Identifier: MIT */
/*
 * UDP echo server: sends each datagram back to where it came from.
 *
 *     udp_echo [HOST:PORT]               127.0.0.1:6142 by default; port 0: any free port
 *
 * Datagrams are received and sent in batches.  A received message is sent as it is: it names its
 * sender, and OURO_UDP_F_LOCAL makes the answer come from the address that was asked, also on a
 * machine with several.
 */
#include <errno.h>
#include <ouro.h>
#include <stdio.h>
#include <stdlib.h>

enum { BATCH = 32, SIZE = 65536 };

/* Sends all of the batch.  A datagram that cannot be sent is dropped, as a network may do. */
static int send_all(struct ouro_udp_socket *socket, const struct ouro_udp_message *messages,
                    ssize_t count)
{
    ssize_t sent = 0;
    while (sent < count) {
        ssize_t n = ouro_udp_socket_send_batch(socket, messages + sent, (size_t)(count - sent));
        if (n == -ECANCELED || n == -OURO_ESHUTDOWN)
            return (int)n;
        sent += n > 0 ? n : 1;
    }
    return 0;
}

static int echo(struct ouro_udp_socket *socket, struct ouro_udp_message *messages)
{
    for (;;) {
        ssize_t n = ouro_udp_socket_recv_batch(socket, messages, BATCH);
        if (n < 0)
            return (int)n;
        int rc = send_all(socket, messages, n);
        if (rc < 0)
            return rc;
    }
}

static int serve_with(const char *address, char *buffers)
{
    struct ouro_udp_options options = OURO_UDP_OPTIONS_INIT;
    struct ouro_udp_message messages[BATCH] = {{0}};
    struct ouro_udp_socket *socket = NULL;
    struct ouro_socket_addr addr;
    char text[OURO_ADDR_TEXT_MAX];

    for (int i = 0; i < BATCH; i++) {
        messages[i].buffer = buffers + (size_t)i * SIZE;
        messages[i].buffer_bytes = SIZE;
    }
    options.flags = OURO_UDP_F_LOCAL;
    int rc = ouro_udp_socket_bind(OURO_ADDRS(address), &options, &socket);
    if (rc < 0)
        return rc;
    rc = ouro_udp_socket_local_addr(socket, &addr);
    if (rc == 0) {
        printf("listening on %s\n", ouro_socket_addr_format(&addr, text, sizeof(text)));
        fflush(stdout);
        rc = echo(socket, messages);
    }
    ouro_udp_socket_close(socket);
    return rc;
}

static int serve(void *arg)
{
    char *buffers = malloc((size_t)BATCH * SIZE);
    int rc = buffers == NULL ? -ENOMEM : serve_with(arg, buffers);
    free(buffers);
    return rc;
}

int main(int argc, char **argv)
{
    char address[] = "127.0.0.1:6142";
    int rc = ouro_run(serve, argc > 1 ? argv[1] : address);
    if (rc < 0)
        fprintf(stderr, "udp_echo: %s\n", ouro_strerror(rc));
    return rc < 0;
}
