/* SPDX-License-Identifier: MIT */
/*
 * TcpStream: connecting by TCP, and the calls that only a TCP stream has.
 *
 * Connecting is: ToSocketAddrs (net/to_socket_addrs.c, net/resolve.c), the addresses in some order
 * (net/connect.c, net/connect_race.c), each one attempt (net/connect_addr.c).  Reading, writing and
 * closing are those of every stream (stream/stream.c).
 *
 * Owns:    the list of addresses, during the call.
 * Threads: any.
 * Always:  an empty or wrong list makes no socket.
 * Tests:   tests/stream/test_stream.c
 */
#include <ouro/tcp.h>

#include "base/fork.h"
#include "base/options.h"
#include "net/connect.h"
#include "net/resolve.h"
#include "net/socket.h"
#include "net/socket_addr.h"
#include "stream/stream.h"
#include "task/handle.h"

#include <ouro/error.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

static int check_options(const struct ouro_tcp_connect_options *options)
{
    const uint32_t known = OURO_CONNECT_F_NODELAY | OURO_CONNECT_F_KEEPALIVE |
                           OURO_CONNECT_F_RESET | OURO_CONNECT_F_SEQUENTIAL;
    if (options == NULL || (options->flags & ~known) != 0)
        return -EINVAL;
    if (options->send_buffer_bytes < 0 || options->receive_buffer_bytes < 0 ||
        options->stagger_ns < 0)
        return -EINVAL;
    if (options->bind != NULL && !ouro__socket_addr_is_valid(options->bind))
        return -EINVAL;
    return 0;
}

/* Traces the addresses, and whether they were parsed or looked up. */
static void trace_addresses(const struct ouro__context *context,
                            const struct ouro_to_socket_addrs *from, int answer,
                            struct ouro__addr_vec *vec)
{
    struct ouro__driver_handle *trace = ouro__descriptor_trace(context);
    if (OURO__LIKELY(trace->trace == NULL))
        return;
    const struct ouro_socket_addr *items = ouro__addr_vec_items(vec);
    for (size_t i = 0; i < vec->count; i++) {
        if (answer == OURO__ADDRS_QUESTION)
            OURO__TRACE(trace, .kind = OURO_TRACE_RESOLVED, .fd = -1, .addr = &items[i], .a = i,
                        .b = vec->count);
        else if (from->kind != OURO_ADDRS_LIST)
            OURO__TRACE(trace, .kind = OURO_TRACE_PARSED, .fd = -1, .addr = &items[i]);
    }
}

/* Whether the list can be used as it is, without a copy: nothing to parse, resolve or filter. */
static bool is_plain_list(const struct ouro_to_socket_addrs *addrs)
{
    if (addrs->kind != OURO_ADDRS_LIST || addrs->flags != 0 || addrs->list == NULL)
        return false;
    for (size_t i = 0; i < addrs->count; i++) {
        if (!ouro__socket_addr_is_valid(&addrs->list[i]))
            return false;
    }
    return addrs->count > 0;
}

static int resolve_and_connect(struct ouro__context *context,
                               const struct ouro_to_socket_addrs *addrs,
                               const struct ouro_tcp_connect_options *options,
                               struct ouro_stream **out_stream)
{
    struct ouro__addr_vec vec;
    ouro__addr_vec_init(&vec);
    int rc = ouro__resolve(addrs, &vec);
    if (rc >= 0) {
        trace_addresses(context, addrs, rc, &vec);
        rc = ouro__connect(context, ouro__addr_vec_items(&vec), vec.count, options, out_stream);
    }
    ouro__addr_vec_fini(&vec);
    return rc;
}

int ouro_tcp_stream_connect_with(const struct ouro_to_socket_addrs *addrs,
                                 const struct ouro_tcp_connect_options *options,
                                 struct ouro_stream **out_stream)
{
    struct ouro__context *context = NULL;
    struct ouro_stream *stream = NULL;
    struct ouro_tcp_connect_options defaults = OURO_TCP_CONNECT_OPTIONS_INIT;
    options = ouro__options_read(options, &defaults, sizeof(defaults));
    int rc = addrs == NULL || out_stream == NULL ? -EINVAL : check_options(options);
    if (rc == 0)
        rc = ouro__descriptor_context(&context);
    if (rc < 0)
        return rc;
    if (options->attempts_count != NULL)
        *options->attempts_count = 0;
    if (is_plain_list(addrs))
        rc = ouro__connect(context, addrs->list, addrs->count, options, &stream);
    else
        rc = resolve_and_connect(context, addrs, options, &stream);
    if (rc < 0)
        return rc;
    if (OURO__UNLIKELY(ouro__descriptor_trace(context)->trace != NULL)) {
        struct ouro_socket_addr peer = {.length = 0};
        int fd = stream->descriptor.fd;
        (void)ouro__socket_peer_addr(fd, &peer);
        OURO__TRACE(ouro__descriptor_trace(context), .kind = OURO_TRACE_CREATED, .fd = fd,
                    .addr = &peer);
    }
    *out_stream = stream;
    return 0;
}

int ouro_tcp_stream_connect(const struct ouro_to_socket_addrs *addrs,
                            struct ouro_stream **out_stream)
{
    return ouro_tcp_stream_connect_with(addrs, NULL, out_stream);
}

/* The socket of a TCP stream, or an error. */
static int tcp_socket(const struct ouro_stream *stream)
{
    if (stream == NULL)
        return -EINVAL;
    return stream->kind->id == OURO_STREAM_TCP ? stream->descriptor.fd : -EOPNOTSUPP;
}

int ouro_tcp_stream_local_addr(const struct ouro_stream *stream, struct ouro_socket_addr *out_addr)
{
    int fd = out_addr == NULL ? -EINVAL : tcp_socket(stream);
    return fd < 0 ? fd : ouro__socket_local_addr(fd, out_addr);
}

int ouro_tcp_stream_peer_addr(const struct ouro_stream *stream, struct ouro_socket_addr *out_addr)
{
    int fd = out_addr == NULL ? -EINVAL : tcp_socket(stream);
    return fd < 0 ? fd : ouro__socket_peer_addr(fd, out_addr);
}

static int set_option(struct ouro_stream *stream, int option, int on)
{
    int fd = tcp_socket(stream);
    if (fd >= 0 && ouro__fork_is_child(stream->descriptor.handle->fork_generation))
        return -OURO_EFORKED; /* the parent has the same socket */
    return fd < 0 ? fd : ouro__socket_set(fd, IPPROTO_TCP, option, on != 0);
}

int ouro_tcp_stream_set_nodelay(struct ouro_stream *stream, int on)
{
    return set_option(stream, TCP_NODELAY, on);
}

int ouro_tcp_stream_set_cork(struct ouro_stream *stream, int on)
{
    return set_option(stream, TCP_CORK, on);
}
