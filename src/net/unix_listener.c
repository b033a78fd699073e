/* SPDX-License-Identifier: MIT */
/*
 * UnixListener: a listening Unix socket, for streams or seqpackets.
 *
 * The name is bound as every Unix socket's (net/unix_path.c), and connections are accepted as every
 * listener's (net/acceptor.c).  A seqpacket is accepted as a stream that nobody has used yet, and
 * its descriptor becomes that of a seqpacket.
 *
 * Owns:    the listening socket, and its file.
 * Threads: any; any number of accepts at a time.
 * Always:  an accepted descriptor ends in a stream or a seqpacket, or is closed.
 * Tests:   tests/net/test_unix_listener.c
 */
#include "net/unix_listener.h"

#include "base/alloc.h"
#include "base/fork.h"
#include "base/kernel.h"
#include "base/options.h"
#include "net/socket.h"
#include "net/unix_datagram.h"
#include "stream/stream.h"
#include "task/handle.h"

#include <ouro/error.h>

#include <errno.h>

enum { BACKLOG_DEFAULT = 1024 };

struct ouro_unix_listener {
    struct ouro__acceptor acceptor;
    int type; /* SOCK_STREAM or SOCK_SEQPACKET */
    struct ouro__unix_path path;
};

struct ouro__acceptor *ouro__unix_listener_acceptor(struct ouro_unix_listener *listener)
{
    return &listener->acceptor;
}

bool ouro__unix_listener_is_for_seqpackets(const struct ouro_unix_listener *listener)
{
    return listener->type == SOCK_SEQPACKET;
}

/* The part of the options that concerns the name. */
static struct ouro_unix_bind_options bind_options(const struct ouro_unix_listen_options *options)
{
    struct ouro_unix_bind_options bind = OURO_UNIX_BIND_OPTIONS_INIT;
    bind.flags = options->flags & ~OURO_UNIX_LISTEN_F_SEQPACKET;
    bind.mode = options->mode;
    return bind;
}

/* Opens the socket and begins to listen.  After an error nothing is open. */
static int open_listening(struct ouro__context *context, const struct ouro_socket_addr *addr,
                          const struct ouro_unix_bind_options *bind, int backlog,
                          struct ouro_unix_listener *listener)
{
    int fd = -1;
    int rc = ouro__unix_bind(addr, listener->type, bind, &listener->path, &fd);
    if (rc < 0)
        return rc;
    rc = ouro__kernel_listen(fd, backlog == 0 ? BACKLOG_DEFAULT : backlog);
    if (rc == 0)
        rc = ouro__acceptor_init(&listener->acceptor, context->handle, fd, 0, 0);
    if (rc < 0) {
        ouro__unix_path_remove(&listener->path);
        ouro__kernel_close(fd);
    }
    return rc;
}

int ouro_unix_listener_bind(const struct ouro_socket_addr *addr,
                            const struct ouro_unix_listen_options *options,
                            struct ouro_unix_listener **out_listener)
{
    struct ouro__context *context = NULL;
    struct ouro_unix_bind_options bind;
    struct ouro_unix_listen_options defaults = OURO_UNIX_LISTEN_OPTIONS_INIT;
    options = ouro__options_read(options, &defaults, sizeof(defaults));
    if (out_listener == NULL || options == NULL || options->backlog < 0)
        return -EINVAL;
    bind = bind_options(options);
    int rc = ouro__unix_check_bind(addr, &bind);
    if (rc == 0)
        rc = ouro__descriptor_context(&context);
    if (rc < 0)
        return rc;
    struct ouro_unix_listener *listener = ouro__calloc(1, sizeof(*listener));
    if (listener == NULL)
        return -ENOMEM;
    bool is_seqpacket = (options->flags & OURO_UNIX_LISTEN_F_SEQPACKET) != 0;
    listener->type = is_seqpacket ? SOCK_SEQPACKET : SOCK_STREAM;
    rc = open_listening(context, addr, &bind, options->backlog, listener);
    if (rc < 0) {
        ouro__free(listener);
        return rc;
    }
    *out_listener = listener;
    return 0;
}

int ouro_unix_listener_accept(struct ouro_unix_listener *listener, struct ouro_stream **out_stream)
{
    if (listener == NULL || out_stream == NULL)
        return -EINVAL;
    if (listener->type != SOCK_STREAM)
        return -EPROTOTYPE;
    return ouro__acceptor_accept(&listener->acceptor, &ouro__stream_unix, out_stream, NULL);
}

int ouro_unix_listener_accept_seqpacket(struct ouro_unix_listener *listener,
                                        struct ouro_unix_datagram **out_socket)
{
    struct ouro__context *context = NULL;
    struct ouro_stream *unused = NULL;
    if (listener == NULL || out_socket == NULL)
        return -EINVAL;
    if (listener->type != SOCK_SEQPACKET)
        return -EPROTOTYPE;
    int rc = ouro__context_enter(&context);
    if (rc == 0)
        rc = ouro__acceptor_accept(&listener->acceptor, &ouro__stream_unix, &unused, NULL);
    if (rc < 0)
        return rc;
    int fd = ouro_stream_into_fd(unused); /* nobody else has it: it cannot be busy */
    rc = ouro__unix_datagram_new(context, fd, SOCK_SEQPACKET, out_socket);
    if (rc < 0)
        ouro__kernel_close(fd);
    return rc;
}

int ouro_unix_listener_local_addr(const struct ouro_unix_listener *listener,
                                  struct ouro_socket_addr *out_addr)
{
    if (listener == NULL || out_addr == NULL)
        return -EINVAL;
    return ouro__socket_local_addr(listener->acceptor.descriptor.fd, out_addr);
}

int ouro_unix_listener_close(struct ouro_unix_listener *listener)
{
    if (listener == NULL)
        return 0;
    if (!ouro__fork_is_child(listener->acceptor.descriptor.handle->fork_generation))
        ouro__unix_path_remove(&listener->path);
    int rc = ouro__acceptor_close(&listener->acceptor);
    ouro__free(listener);
    return rc;
}
