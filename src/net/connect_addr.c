/* SPDX-License-Identifier: MIT */
/*
 * ConnectAddr: one attempt, from socket(2) to a connected stream or an error.
 *
 *     socket -> options, bind -> register -> CONNECT -> stream
 *
 * The driver returns the result: 0 means that the socket has a peer.
 *
 * One kind of success is reported as a failure.  When no socket listens on a port of this machine,
 * the kernel may choose the same port for this end, and TCP's simultaneous open then connects the
 * socket to itself.  With any other local port the connect would be refused, so -ECONNREFUSED is
 * reported.
 *
 * Owns:    the stream and its descriptor, until it has succeeded.
 * Threads: the caller's.
 * Always:  after an error the descriptor is closed and deregistered.
 * Tests:   tests/net/test_tcp_connect.c
 */
#include "net/connect_addr.h"

#include "base/alloc.h"
#include "base/kernel.h"
#include "net/socket.h"
#include "task/worker.h"

#include <errno.h>

/* What the kernel may have chosen the local port from; NULL: the caller chose, or it is not known.
 */
static struct ouro__port_range *ports_of(const struct ouro__context *context,
                                         const struct ouro__connect_target *target)
{
    bool is_chosen_by_caller = target->options != NULL && target->options->bind != NULL;
    return context->worker == NULL || is_chosen_by_caller ? NULL : &context->worker->ports;
}

static int connect_registered(struct ouro__descriptor *descriptor, struct ouro__context *context,
                              const struct ouro__connect_target *target)
{
    const struct ouro_socket_addr *addr = target->addr;
    struct ouro__op op;
    ouro__op_init(&op, OURO__OP_CONNECT, OURO__LANE_WRITE);
    op.arg.connect.addr = ouro_socket_addr_sockaddr(addr);
    op.arg.connect.length = addr->length;
    int rc = ouro__descriptor_await(descriptor, context, &op);
    if (rc == 0 &&
        ouro__socket_is_connected_to_itself(descriptor->fd, addr, ports_of(context, target)))
        rc = -ECONNREFUSED;
    return rc;
}

/* Takes @fd, and releases everything after an error. */
static int connect_socket(struct ouro__context *context, const struct ouro__connect_target *target,
                          int fd, struct ouro_stream **out_stream)
{
    struct ouro_stream *stream = ouro__alloc(sizeof(*stream));
    if (stream == NULL) {
        ouro__kernel_close(fd);
        return -ENOMEM;
    }
    ouro__stream_init(stream, &ouro__stream_tcp, context->handle, fd);
    int rc = connect_registered(&stream->descriptor, context, target);
    if (rc < 0) {
        (void)ouro_stream_close(stream);
        return rc;
    }
    *out_stream = stream;
    return 0;
}

int ouro__connect_addr(struct ouro__context *context, const struct ouro__connect_target *target,
                       struct ouro_stream **out_stream)
{
    struct ouro__driver_handle *trace = ouro__descriptor_trace(context);
    OURO__TRACE(trace, .kind = OURO_TRACE_ATTEMPT, .fd = -1, .a = target->number,
                .b = target->count, .addr = target->addr);
    int fd = -1;
    int rc = ouro__socket_open_for_connect(target->addr, target->options, &fd);
    if (rc == 0) {
        OURO__TRACE(trace, .kind = OURO_TRACE_SOCKET, .fd = fd);
        rc = connect_socket(context, target, fd, out_stream);
    }
    if (rc == 0)
        OURO__TRACE(trace, .kind = OURO_TRACE_CONNECTED, .fd = fd, .a = target->number,
                    .addr = target->addr);
    else
        OURO__TRACE(trace, .kind = OURO_TRACE_FAILED, .fd = -1, .a = target->number, .result = rc,
                    .addr = target->addr);
    return rc;
}
