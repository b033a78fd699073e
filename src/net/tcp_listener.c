/* SPDX-License-Identifier: MIT */
/*
 * TcpListener: the public calls of TCP listeners.  Sockets are made by net/listen.c, connections
 * accepted by net/acceptor.c.
 *
 * Owns:    the listeners' memory.
 * Threads: any.
 * Always:  a call that makes several listeners makes all or none.
 * Tests:   tests/net/test_tcp_listener.c, tests/net/test_listen_options.c
 */
#include "net/tcp_listener.h"

#include "base/alloc.h"
#include "base/kernel.h"
#include "base/options.h"
#include "net/listen.h"
#include "net/resolve.h"
#include "net/socket.h"
#include "stream/stream.h"

#include <errno.h>

struct ouro_tcp_listener {
    struct ouro__acceptor acceptor;
};

struct ouro__acceptor *ouro__tcp_listener_acceptor(struct ouro_tcp_listener *listener)
{
    return &listener->acceptor;
}

/* The sockets of @count listeners, in @fds. */
static int open_sockets(const struct ouro_to_socket_addrs *addrs,
                        const struct ouro_tcp_listen_options *options, size_t count, int fds[])
{
    struct ouro__addr_vec vec;
    ouro__addr_vec_init(&vec);
    int rc = ouro__resolve(addrs, &vec);
    if (rc >= 0)
        rc = ouro__listen(&vec, options, count, fds);
    ouro__addr_vec_fini(&vec);
    return rc;
}

static void free_listeners(struct ouro_tcp_listener *listeners[], size_t count)
{
    for (size_t i = 0; i < count; i++)
        ouro__free(listeners[i]);
}

/* Memory for @count listeners, all or none. */
static int allocate_listeners(struct ouro_tcp_listener *listeners[], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        listeners[i] = ouro__alloc(sizeof(*listeners[i]));
        if (listeners[i] == NULL) {
            free_listeners(listeners, i);
            return -ENOMEM;
        }
    }
    return 0;
}

/* Makes @count listeners, with room for them and for their descriptors in the two arrays. */
static int make_listeners(struct ouro__context *context, const struct ouro_to_socket_addrs *addrs,
                          const struct ouro_tcp_listen_options *options, size_t count,
                          struct ouro_tcp_listener *listeners[], int fds[])
{
    int rc = allocate_listeners(listeners, count);
    if (rc < 0)
        return rc;
    rc = open_sockets(addrs, options, count, fds);
    if (rc < 0) {
        free_listeners(listeners, count);
        return rc;
    }
    size_t made = 0;
    while (rc == 0 && made < count) {
        rc = ouro__acceptor_init(&listeners[made]->acceptor, context->handle, fds[made],
                                 options->accept_rate, options->accept_burst);
        if (rc == 0)
            made++;
    }
    for (size_t i = 0; i < made; i++)
        listeners[i]->acceptor.reports_shortage =
            (options->flags & OURO_LISTEN_F_REPORT_SHORTAGE) != 0;
    if (rc == 0)
        return 0;
    for (size_t i = made; i < count; i++)
        ouro__kernel_close(fds[i]);
    while (made > 0)
        (void)ouro__acceptor_close(&listeners[--made]->acceptor);
    free_listeners(listeners, count);
    return rc;
}

/* Whether listeners can be made here, with @options. */
static int begin(const struct ouro_tcp_listen_options *options, struct ouro__context **out_context)
{
    int rc = ouro__listen_check_options(options);
    if (rc == 0)
        rc = ouro__descriptor_context(out_context);
    return rc;
}

int ouro_tcp_listener_bind(const struct ouro_to_socket_addrs *addrs,
                           const struct ouro_tcp_listen_options *options,
                           struct ouro_tcp_listener **out_listener)
{
    struct ouro_tcp_listen_options defaults = OURO_TCP_LISTEN_OPTIONS_INIT;
    struct ouro__context *context = NULL;
    struct ouro_tcp_listener *listener = NULL;
    int fd = -1;
    if (addrs == NULL || out_listener == NULL)
        return -EINVAL;
    options = ouro__options_read(options, &defaults, sizeof(defaults));
    int rc = begin(options, &context);
    if (rc == 0)
        rc = make_listeners(context, addrs, options, 1, &listener, &fd);
    if (rc == 0)
        *out_listener = listener;
    return rc;
}

/* make_listeners(), which writes to @out_listeners only when it succeeds. */
static int make_each(struct ouro__context *context, const struct ouro_to_socket_addrs *addrs,
                     const struct ouro_tcp_listen_options *options, size_t count,
                     struct ouro_tcp_listener *out_listeners[])
{
    struct ouro_tcp_listener **listeners = ouro__calloc(count, sizeof(struct ouro_tcp_listener *));
    int *fds = ouro__calloc(count, sizeof(int));
    int rc = listeners == NULL || fds == NULL ? -ENOMEM : 0;
    if (rc == 0)
        rc = make_listeners(context, addrs, options, count, listeners, fds);
    for (size_t i = 0; rc == 0 && i < count; i++)
        out_listeners[i] = listeners[i];
    ouro__free(fds);
    ouro__free(listeners);
    return rc;
}

int ouro_tcp_listener_bind_each(const struct ouro_to_socket_addrs *addrs,
                                const struct ouro_tcp_listen_options *options, size_t count,
                                struct ouro_tcp_listener *out_listeners[])
{
    struct ouro_tcp_listen_options defaults = OURO_TCP_LISTEN_OPTIONS_INIT;
    struct ouro__context *context = NULL;
    if (addrs == NULL || count == 0 || out_listeners == NULL)
        return -EINVAL;
    options = ouro__options_read(options, &defaults, sizeof(defaults));
    int rc = begin(options, &context);
    return rc == 0 ? make_each(context, addrs, options, count, out_listeners) : rc;
}

int ouro_tcp_listener_accept(struct ouro_tcp_listener *listener, struct ouro_stream **out_stream,
                             struct ouro_socket_addr *out_peer)
{
    if (listener == NULL || out_stream == NULL)
        return -EINVAL;
    return ouro__acceptor_accept(&listener->acceptor, &ouro__stream_tcp, out_stream, out_peer);
}

int ouro_tcp_listener_stats(const struct ouro_tcp_listener *listener,
                            struct ouro_tcp_listener_stats *out_stats)
{
    if (listener == NULL || out_stats == NULL)
        return -EINVAL;
    const struct ouro__acceptor *acceptor = &listener->acceptor;
    *out_stats = (struct ouro_tcp_listener_stats){
        .shed = ouro__load(&acceptor->shed, memory_order_relaxed),
        .failed = ouro__load(&acceptor->failed, memory_order_relaxed),
        .pauses = ouro__load(&acceptor->pauses, memory_order_relaxed),
    };
    return 0;
}

int ouro_tcp_listener_local_addr(const struct ouro_tcp_listener *listener,
                                 struct ouro_socket_addr *out_addr)
{
    if (listener == NULL || out_addr == NULL)
        return -EINVAL;
    return ouro__socket_local_addr(listener->acceptor.descriptor.fd, out_addr);
}

int ouro_tcp_listener_close(struct ouro_tcp_listener *listener)
{
    if (listener == NULL)
        return 0;
    int rc = ouro__acceptor_close(&listener->acceptor);
    ouro__free(listener);
    return rc;
}
