/* SPDX-License-Identifier: MIT */
/*
 * ProxyAccept: takes connections from one listening socket.
 *
 * Room at the gate is taken before accept(2), so a connection that there is no room for stays in
 * the backlog.  It is not kept while the socket is waited for: other acceptors need it.
 *
 * When descriptors or memory are short, accepting pauses: connections that end give back what they
 * hold.  Errors of a single connection, a reset in the backlog for instance, are passed over.
 *
 * At the end, when the gate has closed, connections whose handshake is complete are taken once
 * more: closing the socket would reset them.  A successor has the same sockets, so then they are
 * left to it.
 *
 * Owns:    the registration of the socket; its connections, as a group.
 * Threads: its worker; with `spreads` the connections are on others.
 */
#include "proxy_accept.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy_log.h"

#define BACKOFF_MIN_NS (10 * OURO_MILLISECOND)
#define BACKOFF_MAX_NS OURO_SECOND
#define LAST_ONES_MAX 65536 /* taken when the gate has closed: no more than a backlog holds */

struct accepting {
    const struct proxy_acceptor *acceptor;
    struct ouro_poll_evented *io;
    struct ouro_ready_event event;
    struct ouro_group *connections;
    uint32_t next_worker; /* with spreads */
    int64_t backoff_ns;
};

/* The connection's own troubles, of which accept(2) may tell; the listener is as good as before. */
static bool is_of_the_peer(int rc)
{
    return rc == -ECONNABORTED || rc == -EPROTO || rc == -EINTR || rc == -EPERM ||
           rc == -ENETDOWN || rc == -ENETUNREACH || rc == -EHOSTDOWN || rc == -EHOSTUNREACH ||
           rc == -ENONET || rc == -ENOPROTOOPT || rc == -EOPNOTSUPP || rc == -ETIMEDOUT;
}

static bool is_shortage(int rc)
{
    return rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM || rc == -ENOBUFS || rc == -ENOSPC;
}

static int listening_fd(const struct proxy_acceptor *acceptor)
{
    return acceptor->listener->fds[acceptor->socket];
}

static int accept_fd(int listener, struct ouro_socket_addr *out_addr)
{
    struct sockaddr_storage storage;
    socklen_t length = sizeof(storage);
    int fd = accept4(listener, (struct sockaddr *)&storage, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (ouro_socket_addr_from_sockaddr((struct sockaddr *)&storage, length, out_addr) < 0)
        *out_addr = (struct ouro_socket_addr){0};
    return fd;
}

/* Starts the task of a connection; it gives back the room. */
static int start(struct accepting *accepting, int fd, const struct ouro_socket_addr *addr)
{
    const struct proxy_acceptor *acceptor = accepting->acceptor;
    uint32_t worker = acceptor->worker;
    if (acceptor->spreads) {
        worker = accepting->next_worker;
        accepting->next_worker = (worker + 1) % (uint32_t)acceptor->proxy->options->runtime.workers;
    }
    struct proxy_client *client = malloc(sizeof(*client));
    if (client == NULL)
        return -ENOMEM;
    *client = (struct proxy_client){.proxy = acceptor->proxy,
                                    .counts = &acceptor->proxy->counts[worker],
                                    .fd = fd,
                                    .addr = *addr};
    struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
    options.name = "connection";
    options.worker = worker;
    int rc = ouro_group_spawn(accepting->connections, &options, proxy_connection_task, client);
    if (rc < 0)
        free(client);
    return rc;
}

/* Takes one connection, with room at the gate for it. */
static int accept_one(struct accepting *accepting)
{
    struct proxy *proxy = accepting->acceptor->proxy;
    struct ouro_socket_addr addr;
    int fd = accept_fd(listening_fd(accepting->acceptor), &addr);
    int rc = fd < 0 ? fd : start(accepting, fd, &addr);
    if (rc == 0) {
        proxy_count(&proxy->counts[accepting->acceptor->worker].accepted, 1);
        return 0;
    }
    if (fd >= 0)
        close(fd);
    proxy_gate_leave(&proxy->gate);
    return rc;
}

/* Waits for a shortage to end. */
static int back_off(struct accepting *accepting, int why)
{
    const struct proxy_acceptor *acceptor = accepting->acceptor;
    if (accepting->backoff_ns == 0)
        proxy_log("accept: %s (%s); waiting", ouro_strerror(why), ouro_err_name(why));
    accepting->backoff_ns = accepting->backoff_ns == 0 ? BACKOFF_MIN_NS : 2 * accepting->backoff_ns;
    if (accepting->backoff_ns > BACKOFF_MAX_NS)
        accepting->backoff_ns = BACKOFF_MAX_NS;
    struct ouro_deadline scope;
    int rc = ouro_deadline_begin(&scope, accepting->backoff_ns);
    if (rc < 0)
        return rc;
    rc = proxy_gate_wait(&acceptor->proxy->gate, acceptor->number, NULL, NULL);
    ouro_deadline_end(&scope);
    return rc == -ETIMEDOUT ? 0 : rc;
}

/* Accepts until the gate is closed, -ESHUTDOWN, or something fails. */
static int accept_all(struct accepting *accepting)
{
    const struct proxy_acceptor *acceptor = accepting->acceptor;
    struct proxy_gate *gate = &acceptor->proxy->gate;
    for (;;) {
        int rc = proxy_gate_enter(gate, acceptor->number);
        if (rc < 0)
            return rc;
        rc = accept_one(accepting);
        if (rc == 0)
            accepting->backoff_ns = 0;
        else if (rc == -EAGAIN)
            rc = proxy_gate_wait(gate, acceptor->number, accepting->io, &accepting->event);
        else if (is_shortage(rc))
            rc = back_off(accepting, rc);
        else if (is_of_the_peer(rc))
            rc = ouro_yield(); /* a firewall can refuse one after the other */
        if (rc < 0)
            return rc;
    }
}

/* Takes what is in the backlog when the gate closes, whether there is room or not. */
static void accept_last_ones(struct accepting *accepting)
{
    struct proxy *proxy = accepting->acceptor->proxy;
    if (proxy->listeners.keeps_paths)
        return;
    for (unsigned i = 0; i < LAST_ONES_MAX; i++) {
        proxy_gate_squeeze(&proxy->gate);
        int rc = accept_one(accepting);
        if (rc < 0 && !is_of_the_peer(rc))
            return;
    }
}

static int run(struct accepting *accepting)
{
    struct ouro_group connections;
    int rc = ouro_group_begin(&connections, OURO_GROUP_F_COLLECT_ALL);
    if (rc < 0)
        return rc;
    accepting->connections = &connections;
    rc = accept_all(accepting);
    if (rc == -ESHUTDOWN)
        accept_last_ones(accepting);
    else
        (void)ouro_group_cancel(&connections); /* it cannot fail: the group has begun */
    ouro_poll_evented_free(accepting->io);
    accepting->io = NULL;
    proxy_listener_close_socket(accepting->acceptor->listener, accepting->acceptor->socket,
                                accepting->acceptor->proxy->listeners.keeps_paths);
    int end_rc = ouro_group_end(&connections);
    return rc == -ESHUTDOWN ? end_rc : rc;
}

int proxy_accept_task(void *arg)
{
    const struct proxy_acceptor *acceptor = arg;
    struct accepting accepting = {.acceptor = acceptor};
    int rc = ouro_poll_evented_new(listening_fd(acceptor), OURO_READABLE, &accepting.io);
    if (rc == 0)
        rc = run(&accepting);
    if (rc < 0 && rc != -ECANCELED)
        proxy_log("accept: %s (%s)", ouro_strerror(rc), ouro_err_name(rc));
    return rc;
}
