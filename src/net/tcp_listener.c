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
#include "net/resolve.h"
#include "net/socket.h"
#include "stream/stream.h"

#include <ouro/tcp.h>

#include <errno.h>
#include <sys/socket.h>

enum { BACKLOG_DEFAULT = 1024 };

struct ouro_tcp_listener {
    struct ouro__descriptor descriptor;
};

static int check_options(const struct ouro_tcp_listen_options *options)
{
    const uint32_t known = OURO_LISTEN_F_REUSEPORT | OURO_LISTEN_F_NODELAY | OURO_LISTEN_F_V6ONLY |
                           OURO_LISTEN_F_EXCLUSIVE;
    if (options == NULL || (options->flags & ~known) != 0 || options->backlog < 0)
        return -EINVAL;
    return 0;
}

/* The first of the addresses that can be listened on. */
static int listen_on_first(struct ouro__addr_vec *vec,
                           const struct ouro_tcp_listen_options *options, int *out_fd)
{
    const struct ouro_socket_addr *items = ouro__addr_vec_items(vec);
    int backlog = options->backlog == 0 ? BACKLOG_DEFAULT : options->backlog;
    int rc = -EINVAL;
    for (size_t i = 0; i < vec->count; i++) {
        rc = ouro__socket_open_listening(&items[i], options->flags, backlog, out_fd);
        if (rc == 0)
            break;
    }
    return rc;
}

static int open_listener(struct ouro__context *context, const struct ouro_to_socket_addrs *addrs,
                         const struct ouro_tcp_listen_options *options,
                         struct ouro_tcp_listener *listener)
{
    struct ouro__addr_vec vec;
    int fd = -1;
    ouro__addr_vec_init(&vec);
    int rc = ouro__resolve(addrs, &vec);
    if (rc >= 0)
        rc = listen_on_first(&vec, options, &fd);
    ouro__addr_vec_fini(&vec);
    if (rc == 0)
        ouro__descriptor_init(&listener->descriptor, context->handle, fd);
    return rc;
}

int ouro_tcp_listener_bind(const struct ouro_to_socket_addrs *addrs,
                           const struct ouro_tcp_listen_options *options,
                           struct ouro_tcp_listener **out_listener)
{
    struct ouro__context *context = NULL;
    struct ouro_tcp_listen_options defaults = OURO_TCP_LISTEN_OPTIONS_INIT;
    options = ouro__options_read(options, &defaults, sizeof(defaults));
    int rc = addrs == NULL || out_listener == NULL ? -EINVAL : check_options(options);
    if (rc == 0)
        rc = ouro__context_enter(&context);
    if (rc == 0)
        rc = ouro__descriptor_usable(context);
    if (rc < 0)
        return rc;
    struct ouro_tcp_listener *listener = ouro__alloc(sizeof(*listener));
    if (listener == NULL)
        return -ENOMEM;
    rc = open_listener(context, addrs, options, listener);
    if (rc < 0) {
        ouro__free(listener);
        return rc;
    }
    *out_listener = listener;
    return 0;
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
