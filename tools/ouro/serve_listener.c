/* SPDX-License-Identifier: MIT */
/*
 * ServeListener: listens on one address, with a socket for each worker.
 *
 * TCP: listeners of the library that share the address by SO_REUSEPORT.  The first takes it and
 * settles the port (port 0).  It is exclusive, so a second server on the address fails with
 * EADDRINUSE instead of taking a part of the connections.
 *
 * Unix: the library has no listener for it.  The socket is the proxy's (proxy_listener.h), with a
 * duplicate for each worker, which waits for it by a PollEvented.
 *
 * Owns:    the listeners, their registrations, the file of a Unix address.
 * Threads: open and close one at a time; accept each worker for itself.
 */
#include "serve_listener.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli_runtime.h"
#include "proxy_listener.h"

struct serve_listener {
    uint32_t workers;
    bool is_unix;
    struct ouro_socket_addr addr;
    struct ouro_tcp_listener *tcp[CLI_WORKERS_MAX];
    struct proxy_listener unix_sockets;
    struct ouro_poll_evented *io[CLI_WORKERS_MAX]; /* of the Unix sockets; made at first use */
};

static int open_tcp(struct serve_listener *listener, const char *text)
{
    struct ouro_tcp_listen_options options = OURO_TCP_LISTEN_OPTIONS_INIT;
    options.flags = OURO_LISTEN_F_NODELAY | OURO_LISTEN_F_REPORT_SHORTAGE;
    if (listener->workers > 1)
        options.flags |= OURO_LISTEN_F_REUSEPORT | OURO_LISTEN_F_EXCLUSIVE;
    int rc = 0;
    for (uint32_t i = 0; i < listener->workers && rc == 0; i++) {
        rc = ouro_tcp_listener_bind(i == 0 ? OURO_ADDRS(text) : OURO_ADDR_LIST(&listener->addr, 1),
                                    &options, &listener->tcp[i]);
        if (rc == 0 && i == 0)
            rc = ouro_tcp_listener_local_addr(listener->tcp[0], &listener->addr);
        options.flags &= ~OURO_LISTEN_F_EXCLUSIVE;
    }
    return rc;
}

static int open_unix(struct serve_listener *listener, const char *text)
{
    listener->is_unix = true;
    int rc = proxy_listener_open(text, listener->workers, false, &listener->unix_sockets);
    if (rc == 0)
        listener->addr = listener->unix_sockets.addr;
    return rc;
}

int serve_listener_open(const char *text, uint32_t workers, struct serve_listener **out_listener)
{
    struct serve_listener *listener = calloc(1, sizeof(*listener));
    if (listener == NULL)
        return -ENOMEM;
    listener->workers = workers;
    int rc = strncmp(text, "unix:", 5) == 0 ? open_unix(listener, text) : open_tcp(listener, text);
    if (rc < 0)
        serve_listener_close(listener);
    else
        *out_listener = listener;
    return rc;
}

const struct ouro_socket_addr *serve_listener_addr(const struct serve_listener *listener)
{
    return &listener->addr;
}

static ssize_t accept_now(int fd, void *arg)
{
    (void)arg;
    int got = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    return got < 0 ? -errno : got;
}

static int accept_unix(struct serve_listener *listener, uint32_t worker,
                       struct ouro_stream **out_stream)
{
    int rc = 0;
    if (listener->io[worker] == NULL)
        rc = ouro_poll_evented_new(listener->unix_sockets.fds[worker], OURO_READABLE,
                                   &listener->io[worker]);
    if (rc < 0)
        return rc;
    ssize_t fd = ouro_poll_evented_io(listener->io[worker], OURO_READABLE, accept_now, NULL);
    if (fd < 0)
        return (int)fd;
    rc = ouro_stream_from_fd((int)fd, out_stream);
    if (rc < 0)
        (void)close((int)fd);
    return rc;
}

int serve_listener_accept(struct serve_listener *listener, uint32_t worker,
                          struct ouro_stream **out_stream)
{
    if (listener->is_unix)
        return accept_unix(listener, worker, out_stream);
    return ouro_tcp_listener_accept(listener->tcp[worker], out_stream, NULL);
}

void serve_listener_close(struct serve_listener *listener)
{
    if (listener == NULL)
        return;
    for (uint32_t i = 0; i < listener->workers; i++) {
        (void)ouro_tcp_listener_close(listener->tcp[i]); /* NULL where none was opened */
        ouro_poll_evented_free(listener->io[i]);
    }
    if (listener->is_unix && listener->unix_sockets.count > 0)
        proxy_listener_close(&listener->unix_sockets, false);
    free(listener);
}
