/* SPDX-License-Identifier: MIT */
/*
 * TcpListener: a listening socket and its accept.
 *
 * An accepted connection is registered when it is first read or written, so it can be handed to
 * another worker before that at no cost.  The memory of its stream is allocated before the
 * connection is taken from the backlog: without memory the connection stays there.
 *
 * Owns:    the listening socket.
 * Threads: any; one accept at a time.
 * Always:  an accepted descriptor ends in a stream, or is closed.
 * Tests:   tests/net/test_tcp_listener.c
 */
#include "base/alloc.h"
#include "base/fault.h"
#include "base/options.h"
#include "net/listen.h"
#include "net/resolve.h"
#include "net/socket.h"
#include "stream/stream.h"

#include <ouro/tcp.h>

#include <errno.h>
#include <sys/socket.h>

struct ouro_tcp_listener {
    struct ouro__descriptor descriptor;
};

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
    for (size_t i = 0; i < count; i++)
        ouro__descriptor_init(&listeners[i]->descriptor, context->handle, fds[i]);
    return 0;
}

/* Whether listeners can be made here, with @options. */
static int begin(const struct ouro_tcp_listen_options *options, struct ouro__context **out_context)
{
    int rc = ouro__listen_check_options(options);
    if (rc == 0)
        rc = ouro__context_enter(out_context);
    return rc == 0 ? ouro__descriptor_usable(*out_context) : rc;
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

/*
 * Whether the error is about the one connection that was taken from the backlog: it was reset while
 * it waited there, or the network under it has failed (accept(2), "Error handling").  The next
 * connection may be all right.
 */
static bool is_of_one_connection(int32_t error)
{
    switch (-error) {
    case ECONNABORTED:
    case EPROTO:
    case ENOPROTOOPT:
    case ENETDOWN:
    case ENETUNREACH:
    case ENONET:
    case EHOSTDOWN:
    case EHOSTUNREACH:
        return true;
    default:
        return false;
    }
}

/* The descriptor of the next connection, and its address. */
static int32_t accept_fd(struct ouro_tcp_listener *listener, struct ouro__context *context,
                         struct sockaddr_storage *name, socklen_t *length)
{
    int32_t fd = 0;
    do {
        *length = sizeof(*name);
        struct ouro__op op;
        ouro__op_init(&op, OURO__OP_ACCEPT, OURO__LANE_ACCEPT);
        op.arg.accept.addr = (struct sockaddr *)name;
        op.arg.accept.length = length;
        fd = ouro__fault(OURO__FAULT_ACCEPT);
        if (OURO__LIKELY(fd == 0))
            fd = ouro__descriptor_await(&listener->descriptor, context, &op);
    } while (OURO__UNLIKELY(fd < 0) && is_of_one_connection(fd));
    return fd;
}

int ouro_tcp_listener_accept(struct ouro_tcp_listener *listener, struct ouro_stream **out_stream,
                             struct ouro_socket_addr *out_peer)
{
    struct ouro__context *context = NULL;
    if (listener == NULL || out_stream == NULL)
        return -EINVAL;
    int rc = ouro__context_enter(&context);
    if (rc == 0)
        rc = ouro__descriptor_enter(&listener->descriptor, OURO__LANE_ACCEPT);
    if (rc < 0)
        return rc;
    struct sockaddr_storage name;
    socklen_t length = 0;
    struct ouro_stream *stream = ouro__alloc(sizeof(*stream));
    int32_t fd = stream == NULL ? -ENOMEM : accept_fd(listener, context, &name, &length);
    ouro__descriptor_leave(&listener->descriptor, OURO__LANE_ACCEPT);
    if (fd < 0) {
        ouro__free(stream);
        return fd;
    }
    ouro__stream_init(stream, &ouro__stream_tcp, context->handle, fd);
    if (out_peer != NULL &&
        ouro_socket_addr_from_sockaddr((const struct sockaddr *)&name, length, out_peer) < 0)
        *out_peer = (struct ouro_socket_addr){.length = 0};
    *out_stream = stream;
    return 0;
}

int ouro_tcp_listener_local_addr(const struct ouro_tcp_listener *listener,
                                 struct ouro_socket_addr *out_addr)
{
    if (listener == NULL || out_addr == NULL)
        return -EINVAL;
    return ouro__socket_local_addr(listener->descriptor.fd, out_addr);
}

int ouro_tcp_listener_close(struct ouro_tcp_listener *listener)
{
    if (listener == NULL)
        return 0;
    int rc = ouro__descriptor_close(&listener->descriptor);
    ouro__free(listener);
    return rc;
}
