/* SPDX-License-Identifier: MIT */
/*
 * A server under test, and its client: a plain thread with plain sockets, so that the server can
 * run wherever a suspending call can.
 *
 *     static void client(struct rig *rig) { ...; ouro_server_stop(rig->server); }
 *
 *     struct rig rig = {.handler = rig_echo, .client = client};
 *     ck_assert_int_eq(rig_run(&rig), 0);
 */
#ifndef OURO_TEST_SERVE_RIG_H
#define OURO_TEST_SERVE_RIG_H

#include "everywhere.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ouro/error.h"
#include "ouro/serve.h"
#include "support/sockets.h"

struct rig {
    struct ouro_serve_options options; /* all zero: the defaults, on a free port */
    ouro_serve_handler *handler;       /* gets the rig as its argument */
    void (*client)(struct rig *rig);
    void *data;

    struct ouro_server *server;
    struct ouro_socket_addr addr;  /* the first */
    uint16_t port;                 /* its port; 0 for a Unix socket */
    struct ouro_serve_stats stats; /* at the end */
    _Atomic int in_handler;        /* for handlers: how many are in it */
    _Atomic int handled;           /* how many have left it */
    _Atomic int result;            /* of the last handler */
};

static inline void *rig_client(void *arg)
{
    struct rig *rig = arg;
    rig->client(rig);
    return NULL;
}

static inline void rig_open(struct rig *rig)
{
    rig->options.size = sizeof(rig->options);
    if (rig->options.addresses == NULL && rig->options.listeners_count == 0 &&
        rig->options.unix_listeners_count == 0)
        rig->options.addresses = "127.0.0.1:0";
    ck_assert_int_eq(ouro_server_new(&rig->options, rig->handler, rig, &rig->server), 0);
    ck_assert_int_eq(ouro_server_addr(rig->server, 0, &rig->addr), 0);
    rig->port = ouro_socket_addr_port(&rig->addr);
}

/* What every run must leave behind. */
static inline void rig_close(struct rig *rig)
{
    rig->stats.size = sizeof(rig->stats);
    ck_assert_int_eq(ouro_server_stats(rig->server, &rig->stats), 0);
    ck_assert_uint_eq(rig->stats.active, 0);
    ck_assert_uint_eq(rig->stats.accepted, rig->stats.closed + rig->stats.refused +
                                               rig->stats.refused_peer + rig->stats.shed);
    ck_assert_int_eq(ouro_server_is_draining(rig->server), 1);
    ck_assert_int_eq(ouro_server_free(rig->server), 0);
}

/* Runs the server while the client does its work; returns what ouro_server_run() has. */
static inline int rig_run(struct rig *rig)
{
    pthread_t thread;
    rig_open(rig);
    ck_assert_int_eq(pthread_create(&thread, NULL, rig_client, rig), 0);
    int rc = ouro_server_run(rig->server);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    rig_close(rig);
    return rc;
}

static inline struct ouro_serve_stats rig_stats(struct rig *rig)
{
    struct ouro_serve_stats stats = OURO_SERVE_STATS_INIT;
    ck_assert_int_eq(ouro_server_stats(rig->server, &stats), 0);
    return stats;
}

/* Tries to connect to an address; 0 or -errno. */
static inline int rig_try_address(const struct ouro_socket_addr *addr, int *out_fd)
{
    *out_fd = socket(ouro_socket_addr_family(addr), SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(*out_fd, 0);
    return connect(*out_fd, ouro_socket_addr_sockaddr(addr), addr->length) == 0 ? 0 : -errno;
}

/* The same to a server that may be about to close its listener. */
static inline int rig_try_to_connect(struct rig *rig, int *out_fd)
{
    return rig_try_address(&rig->addr, out_fd);
}

static inline int rig_connect_to(const struct ouro_socket_addr *addr)
{
    int fd = -1;
    int rc = rig_try_address(addr, &fd);
    ck_assert_msg(rc == 0, "connect: %s", strerror(-rc));
    return fd;
}

static inline int rig_connect(struct rig *rig)
{
    return rig_connect_to(&rig->addr);
}

/* Sends and receives a text. */
static inline void rig_exchange(int fd, const char *text)
{
    char back[64];
    size_t size = strlen(text);
    ouro_test_write_exactly(fd, text, size);
    ouro_test_read_exactly(fd, back, size);
    ck_assert_mem_eq(back, text, size);
}

/* The server has closed the connection: its end, or a reset, within 10 s. */
static inline void rig_await_end(int fd)
{
    char rest[4096];
    ssize_t got = 0;
    do {
        ck_assert_int_ne(ouro_test_poll(fd, POLLIN, 10 * OURO_TEST_SECOND), 0);
        got = recv(fd, rest, sizeof(rest), MSG_DONTWAIT);
    } while (got > 0 || (got < 0 && errno == EAGAIN));
    ck_assert(got == 0 || errno == ECONNRESET || errno == EPIPE);
    (void)close(fd);
}

/* Whether a new connection is refused; if not, it is closed. */
static inline bool rig_is_refused(struct rig *rig)
{
    int fd = -1;
    int rc = rig_try_to_connect(rig, &fd);
    (void)close(fd);
    return rc == -ECONNREFUSED || rc == -ENOENT; /* a Unix path goes with its listener */
}

static inline bool rig_refuses(void *arg)
{
    return rig_is_refused(arg);
}

static inline bool rig_is_draining(void *arg)
{
    struct rig *rig = arg;
    return ouro_server_is_draining(rig->server) == 1;
}

static inline bool rig_is_handling(void *arg)
{
    struct rig *rig = arg;
    return rig->in_handler > 0;
}

#define RIG_AWAIT(condition, rig) ck_assert(ouro_test_until(condition, rig, 10 * OURO_TEST_SECOND))

/* Sends back what it receives. */
static inline int rig_echo(struct ouro_stream *stream, const struct ouro_serve_peer *peer,
                           void *arg)
{
    struct rig *rig = arg;
    char buffer[1024];
    ssize_t n = 0;
    ck_assert_ptr_eq(peer->server, rig->server);
    rig->in_handler++;
    while ((n = ouro_stream_read(stream, buffer, sizeof(buffer))) > 0) {
        int rc = ouro_stream_write_all(stream, buffer, (size_t)n, NULL);
        if (rc < 0) {
            n = rc;
            break;
        }
    }
    rig->result = (int)n;
    rig->in_handler--;
    rig->handled++;
    return (int)n;
}

#endif
