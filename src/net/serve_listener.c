/* SPDX-License-Identifier: MIT */
/*
 * ServeListener: the listening sockets of a server, and who accepts from each.
 *
 * Each TCP address of the options gets a listener for each worker; they share the address by
 * SO_REUSEPORT (ouro_tcp_listener_bind_each()).  Unix sockets cannot share a name, so there the
 * workers share one listener: each has an accept task on it, and they are served in turn.  The last
 * of the tasks to end closes the listener.
 *
 * A pause in a shortage is counted by the listener.  When statistics are asked for, the counts of
 * the listeners are added up.  A listener may be closed at that moment, so it is taken out of the
 * server under the lock before it is closed, and its count is kept.
 *
 * Owns:    the listeners.
 * Threads: opening the caller's; closing the last accept task's, or the runner's; counts any.
 * Always:  after an error of opening, the caller's listeners are as they were.
 * Tests:   tests/net/test_serve.c, tests/net/test_serve_start.c, tests/net/test_serve_unix.c
 */
#include "net/serve_listener.h"

#include "base/alloc.h"
#include "base/fork.h"
#include "base/options.h"
#include "net/socket.h"
#include "net/tcp_listener.h"
#include "net/unix_listener.h"
#include "stream/stream.h"
#include "task/handle.h"

#include <ouro/error.h>

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

enum { ADDRESS_MAX = 320 };

#define UNIX_PREFIX "unix:"

/* Everything that is opened while the options are read. */
struct opening {
    struct ouro_server *server;
    struct ouro_tcp_listen_options tcp;
    const struct ouro_unix_listen_options *local;
};

uint32_t ouro__server_count_addresses(const char *addresses)
{
    uint32_t count = addresses == NULL ? 0 : 1;
    for (const char *at = addresses; at != NULL && *at != '\0'; at++)
        count += *at == ',' ? 1 : 0;
    return count;
}

/* Copies the next address and moves *at behind it. */
static int next_address(const char **at, char text[ADDRESS_MAX])
{
    size_t length = strcspn(*at, ",");
    if (length == 0 || length >= ADDRESS_MAX)
        return -OURO_EADDRSYNTAX;
    memcpy(text, *at, length);
    text[length] = '\0';
    *at += length;
    if (**at == ',')
        ++*at;
    return 0;
}

static struct ouro__server_listener *add_listener(struct ouro_server *server)
{
    return &server->listeners[server->listeners_count++];
}

static void add_accept(struct ouro_server *server, struct ouro__server_listener *listener,
                       uint32_t shard)
{
    (void)ouro__fetch_add(&listener->tasks_left, 1, memory_order_relaxed);
    server->accepts[server->accepts_count++] =
        (struct ouro__server_accept){.listener = listener, .server = server, .shard = shard};
}

static void add_tcp(struct ouro_server *server, struct ouro_tcp_listener *tcp, uint32_t shard)
{
    struct ouro__server_listener *listener = add_listener(server);
    listener->tcp = tcp;
    listener->acceptor = ouro__tcp_listener_acceptor(tcp);
    listener->kind = &ouro__stream_tcp;
    add_accept(server, listener, shard);
}

/* All workers accept from it. */
static void add_unix(struct ouro_server *server, struct ouro_unix_listener *local)
{
    struct ouro__server_listener *listener = add_listener(server);
    listener->local = local;
    listener->acceptor = ouro__unix_listener_acceptor(local);
    listener->kind = &ouro__stream_unix;
    for (uint32_t i = 0; i < server->shards_count; i++)
        add_accept(server, listener, i);
}

/* A listener for each worker on one TCP address. */
static int bind_each(struct opening *opening, const char *text)
{
    struct ouro_server *server = opening->server;
    uint32_t count = server->shards_count;
    struct ouro_tcp_listener **listeners = ouro__calloc(count, sizeof(struct ouro_tcp_listener *));
    if (listeners == NULL)
        return -ENOMEM;
    int rc = count == 1
                 ? ouro_tcp_listener_bind(OURO_ADDRS(text), &opening->tcp, listeners)
                 : ouro_tcp_listener_bind_each(OURO_ADDRS(text), &opening->tcp, count, listeners);
    for (uint32_t i = 0; i < count && rc == 0; i++)
        add_tcp(server, listeners[i], i);
    if (rc == 0)
        rc = ouro_tcp_listener_local_addr(listeners[0], &server->addrs[server->addrs_count++]);
    ouro__free(listeners);
    return rc;
}

static int bind_unix(struct opening *opening, const char *text)
{
    struct ouro_server *server = opening->server;
    struct ouro_unix_listener *listener = NULL;
    struct ouro_socket_addr addr;
    int rc = ouro_socket_addr_parse(text, &addr);
    if (rc == 0)
        rc = ouro_unix_listener_bind(&addr, opening->local, &listener);
    if (rc < 0)
        return rc;
    add_unix(server, listener);
    if (ouro__unix_listener_is_for_seqpackets(listener))
        return -EPROTOTYPE;
    return ouro_unix_listener_local_addr(listener, &server->addrs[server->addrs_count++]);
}

static int open_addresses(struct opening *opening, const char *addresses)
{
    const char *at = addresses;
    int rc = 0;
    for (uint32_t left = ouro__server_count_addresses(at); left > 0 && rc == 0; left--) {
        char text[ADDRESS_MAX];
        rc = next_address(&at, text);
        if (rc == 0)
            rc = strncmp(text, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0 ? bind_unix(opening, text)
                                                                      : bind_each(opening, text);
    }
    return rc;
}

/* The names of the caller's listeners.  This is the last step that can fail. */
static int read_names(struct ouro_server *server, const struct ouro_serve_options *options)
{
    int rc = 0;
    for (uint32_t i = 0; i < options->listeners_count && rc == 0; i++)
        rc = ouro_tcp_listener_local_addr(options->listeners[i],
                                          &server->addrs[server->addrs_count++]);
    for (uint32_t i = 0; i < options->unix_listeners_count && rc == 0; i++)
        rc = ouro__unix_listener_is_for_seqpackets(options->unix_listeners[i])
                 ? -EPROTOTYPE
                 : ouro_unix_listener_local_addr(options->unix_listeners[i],
                                                 &server->addrs[server->addrs_count++]);
    return rc;
}

static void prepare(struct ouro__server_listener *listener,
                    const struct ouro_serve_options *options)
{
    /* A shortage would end the server if it were reported. */
    listener->acceptor->reports_shortage = false;
    /* TCP connections have the buffers of their listener. */
    if (options->in_flight_max > 0 && listener->tcp != NULL) {
        int fd = listener->acceptor->descriptor.fd;
        (void)ouro__socket_set(fd, SOL_SOCKET, SO_SNDBUF, (int)options->in_flight_max);
        (void)ouro__socket_set(fd, SOL_SOCKET, SO_RCVBUF, (int)options->in_flight_max);
    }
}

int ouro__server_open_listeners(struct ouro_server *server,
                                const struct ouro_serve_options *options)
{
    struct opening opening = {.server = server, .local = options->unix_listen};
    struct ouro_tcp_listen_options defaults = OURO_TCP_LISTEN_OPTIONS_INIT;
    defaults.flags = OURO_LISTEN_F_NODELAY;
    const struct ouro_tcp_listen_options *tcp =
        ouro__options_read(options->listen, &defaults, sizeof(defaults));
    if (tcp == NULL)
        return -EINVAL;
    opening.tcp = *tcp;
    int rc = open_addresses(&opening, options->addresses);
    if (rc == 0)
        rc = read_names(server, options);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < options->listeners_count; i++)
        add_tcp(server, options->listeners[i], i % server->shards_count);
    for (uint32_t i = 0; i < options->unix_listeners_count; i++)
        add_unix(server, options->unix_listeners[i]);
    for (uint32_t i = 0; i < server->listeners_count; i++)
        prepare(&server->listeners[i], options);
    return 0;
}

/* Closes it.  In a forked child the lock may be held by a thread that does not exist there. */
static void close_listener(struct ouro_server *server, struct ouro__server_listener *listener)
{
    bool is_child = ouro__fork_is_child(server->handle->fork_generation);
    if (!is_child)
        ouro__mutex_lock(&server->lock);
    if (listener->acceptor != NULL)
        listener->pauses = ouro__load(&listener->acceptor->pauses, memory_order_relaxed);
    listener->acceptor = NULL;
    if (!is_child)
        ouro__mutex_unlock(&server->lock);
    (void)ouro_tcp_listener_close(listener->tcp);
    (void)ouro_unix_listener_close(listener->local);
    listener->tcp = NULL;
    listener->local = NULL;
}

void ouro__server_leave_listener(struct ouro_server *server, struct ouro__server_listener *listener)
{
    if (ouro__fetch_sub(&listener->tasks_left, 1, memory_order_acq_rel) == 1)
        close_listener(server, listener);
}

void ouro__server_close_listeners(struct ouro_server *server)
{
    for (uint32_t i = 0; i < server->listeners_count; i++)
        close_listener(server, &server->listeners[i]);
}

uint64_t ouro__server_accept_pauses(const struct ouro_server *server)
{
    /* Servers lie on the heap: the const is the caller's view. */
    struct ouro_server *known = (struct ouro_server *)(uintptr_t)server;
    bool is_child = ouro__fork_is_child(server->handle->fork_generation);
    uint64_t sum = 0;
    if (is_child)
        return 0;
    ouro__mutex_lock(&known->lock);
    for (uint32_t i = 0; i < server->listeners_count; i++) {
        const struct ouro__server_listener *listener = &server->listeners[i];
        sum += listener->acceptor == NULL
                   ? listener->pauses
                   : ouro__load(&listener->acceptor->pauses, memory_order_relaxed);
    }
    ouro__mutex_unlock(&known->lock);
    return sum;
}
