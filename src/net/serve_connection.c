/* SPDX-License-Identifier: MIT */
/*
 * ServeConnection: one connection of a server, from accept to close.
 *
 * The limit on all connections is one atomic counter.  The limit for each peer is a table
 * (net/serve_peer.c).
 *
 * The idle limit.  A timer that is set anew by every read would cost more than the rest of the
 * read.  Instead the keeper looks at each connection eight times in the idle time
 * (net/serve_keeper.c).  If no call is in progress on the stream, the connection is not idle.  If
 * one is, the kernel's counts of bytes received and bytes acknowledged tell whether something has
 * moved; they also see the progress inside of one long write.
 *
 * The kernel has no such counts for a Unix socket.  There the bytes of the stream are counted by
 * its meter (stream/meter.c), and how much the peer has not read yet is the kernel's to tell. While
 * the peer reads, at least one of the two numbers changes.
 *
 * The call to be cut is the one operation for which the handler's task waits: it is cancelled as if
 * its deadline had passed.  Another task that uses the stream may be on another thread; for it the
 * socket is shut down, which ends its calls in the usual way.
 *
 * Owns:    the connection, its stream, its place in the counts.
 * Threads: the shard's worker's.
 * Always:  a connection is counted in `live` until everything of it is released; it is in the
 *          shard's list while its handler runs.
 * Tests:   tests/net/test_serve.c, tests/net/test_serve_limits.c
 */
#include "net/serve_connection.h"

#include "base/alloc.h"
#include "base/fork.h"
#include "base/kernel.h"
#include "net/serve_peer.h"
#include "net/socket.h"
#include "stream/stream.h"
#include "task/handle.h"
#include "task/scope.h"

#include <errno.h>
#include <linux/tcp.h>
#include <string.h>

void ouro__connection_release(struct ouro__connection *connection, struct ouro__counter *counter)
{
    struct ouro_server *server = connection->shard->server;
    (void)ouro_stream_close(connection->stream);
    ouro__connection_leave_table(connection);
    ouro__free(connection);
    (void)ouro__fetch_sub(&server->live, 1, memory_order_relaxed);
    ouro__counter_add(counter, 1);
}

static void describe(const struct ouro__connection *connection, struct ouro_serve_peer *out_peer)
{
    const struct ouro__shard *shard = connection->shard;
    ouro__connection_peer_addr(connection, &out_peer->addr);
    out_peer->server = shard->server;
    out_peer->worker = shard->worker;
    out_peer->request = connection->requests;
}

static bool has_met_limit(const struct ouro__connection *connection)
{
    struct ouro__stream_meter *meter = connection->stream->meter;
    return meter != NULL && ouro__load(&meter->has_met_limit, memory_order_relaxed);
}

/* Counts how the handler has ended.  Whether nothing has ended it but itself. */
static bool count(const struct ouro__connection *connection, int rc)
{
    struct ouro__shard *shard = connection->shard;
    const struct ouro__context *context = connection->now.handler.context;
    unsigned interrupts = context->interrupts;
    /* The handler's last call may have seen the end of the deadline before its timer fired. */
    bool is_late =
        connection->is_cut || (interrupts & OURO__INTERRUPT_TIMEOUT) != 0 ||
        (context->deadline_ns != OURO__NEVER && connection->quiet_since_ns >= context->deadline_ns);
    bool is_cancelled = (interrupts & OURO__INTERRUPT_CANCEL) != 0;
    bool is_over_limit = has_met_limit(connection);
    if (rc < 0)
        ouro__counter_add(&shard->failed, 1);
    if (is_late)
        ouro__counter_add(&shard->timed_out, 1);
    else if (is_cancelled)
        ouro__counter_add(&shard->cancelled, 1);
    if (is_over_limit)
        ouro__counter_add(&shard->over_limit, 1);
    return !is_late && !is_cancelled && !is_over_limit;
}

/* Whether the time of the handler's end is of use. */
static bool wants_end(const struct ouro__connection *connection,
                      const struct ouro__context *context)
{
    return context->deadline_ns != OURO__NEVER ||
           (connection->shard->server->options.flags & OURO_SERVE_F_REQUESTS) != 0;
}

bool ouro__connection_handle(struct ouro__connection *connection, int64_t now_ns,
                             int64_t deadline_ns)
{
    struct ouro__shard *shard = connection->shard;
    struct ouro__context *context = ouro__context_current();
    struct ouro_serve_peer peer;
    struct ouro__scope scope;
    describe(connection, &peer);
    connection->now.handler.context = context;
    connection->now.handler.moved = 0;
    if (connection->stream->meter != NULL)
        ouro__stream_meter_restart(connection->stream->meter);
    connection->quiet_since_ns = now_ns;
    ouro__list_push_back(&shard->active, &connection->link);
    ouro__scope_begin(context, &scope);
    ouro__scope_set_deadline_loosely(context, deadline_ns, now_ns);
    int rc = shard->server->handler(connection->stream, &peer, shard->server->arg);
    ouro__fork_check(context->fork_generation, rc < 0);
    /* Read once for all who want to know. */
    if (wants_end(connection, context))
        connection->quiet_since_ns = ouro__clock_now_ns();
    bool may_go_on = count(connection, rc) && rc == OURO_SERVE_KEEP;
    ouro__scope_end(&scope);
    ouro__list_remove(&connection->link);
    return may_go_on;
}

void ouro__connection_ended(struct ouro__shard *shard)
{
    if (shard->has_closed && ouro__shard_is_empty(shard))
        ouro__context_wake_here(shard->keeper);
}

static int connection_task(void *arg)
{
    struct ouro__connection *connection = arg;
    struct ouro__shard *shard = connection->shard;
    int64_t now_ns = connection->accepted_ns;
    int64_t deadline_ns = ouro__clock_add_ns(now_ns, shard->server->options.connection_ns);
    (void)ouro__connection_handle(connection, now_ns, deadline_ns);
    ouro__connection_release(connection, &shard->closed);
    shard->active_count--;
    ouro__connection_ended(shard);
    return 0;
}

int ouro__connection_start(struct ouro__connection *connection, const char *name,
                           ouro_task_function *function)
{
    struct ouro__shard *shard = connection->shard;
    struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
    options.name = name;
    options.worker = shard->worker;
    options.stack_size_bytes = shard->server->options.stack_size_bytes;
    shard->active_count++;
    int rc = ouro_group_spawn(&shard->handlers, &options, function, connection);
    if (rc < 0) {
        shard->active_count--;
        ouro__connection_release(connection, &shard->shed);
    }
    return rc;
}

void ouro__connection_serve(struct ouro__connection *connection)
{
    (void)ouro__connection_start(connection, "connection", connection_task);
}

static bool needs_meter(const struct ouro_server *server, const struct ouro_stream *stream)
{
    const struct ouro_serve_options *options = &server->options;
    return (options->flags & OURO_SERVE_F_COUNT_BYTES) != 0 ||
           options->received_max != UINT64_MAX || options->sent_max != UINT64_MAX ||
           (stream->kind->id == OURO_STREAM_UNIX && options->idle_ns != OURO_SERVE_NO_TIMEOUT);
}

static struct ouro__connection *make(struct ouro__shard *shard, struct ouro_stream *stream,
                                     const struct ouro_socket_addr *peer)
{
    bool is_metered = needs_meter(shard->server, stream);
    uint32_t in_flight_max = shard->server->options.in_flight_max;
    struct ouro__connection *connection =
        ouro__alloc(sizeof(*connection) + (is_metered ? sizeof(connection->meter[0]) : 0));
    if (connection == NULL)
        return NULL;
    connection->shard = shard;
    connection->stream = stream;
    connection->is_in_table = false;
    connection->is_cut = false;
    connection->requests = 0;
    connection->accepted_ns = ouro__clock_now_ns();
    connection->quiet_since_ns = connection->accepted_ns;
    ouro__connection_set_peer(connection, peer);
    if (stream->kind->id == OURO_STREAM_UNIX && in_flight_max > 0)
        (void)ouro__socket_set(stream->descriptor.fd, SOL_SOCKET, SO_SNDBUF, (int)in_flight_max);
    if (is_metered)
        ouro__stream_meter(stream, &connection->meter[0], &shard->bytes);
    return connection;
}

/* Without a connection: the stream is closed. */
static void refuse(struct ouro__shard *shard, struct ouro_stream *stream,
                   struct ouro__counter *counter)
{
    (void)ouro_stream_close(stream);
    (void)ouro__fetch_sub(&shard->server->live, 1, memory_order_relaxed);
    ouro__counter_add(counter, 1);
}

struct ouro__connection *ouro__connection_admit(struct ouro__shard *shard,
                                                struct ouro_stream *stream,
                                                const struct ouro_socket_addr *peer)
{
    struct ouro_server *server = shard->server;
    ouro__counter_add(&shard->accepted, 1);
    uint32_t before = ouro__fetch_add(&server->live, 1, memory_order_relaxed);
    if (OURO__UNLIKELY(before >= server->options.connections_max)) {
        refuse(shard, stream, &shard->refused);
        return NULL;
    }
    struct ouro__connection *connection = make(shard, stream, peer);
    if (connection == NULL) {
        refuse(shard, stream, &shard->shed);
        return NULL;
    }
    int rc = ouro__connection_enter_table(connection);
    if (rc < 0) {
        ouro__connection_release(connection, rc == -EDQUOT ? &shard->refused_peer : &shard->shed);
        return NULL;
    }
    return connection;
}

/* A number that changes when bytes are received, and when the peer reads. */
static uint64_t moved_by_unix(const struct ouro_stream *stream)
{
    const struct ouro__stream_meter *meter = stream->meter;
    uint64_t counted = ouro__counter_read(&meter->received) + ouro__counter_read(&meter->sent);
    int unread = ouro__kernel_unsent(stream->descriptor.fd);
    return (counted << 24) + (uint64_t)(unread > 0 ? unread : 0);
}

/* Bytes received, and bytes that the peer has acknowledged. */
static uint64_t moved(const struct ouro_stream *stream)
{
    struct tcp_info info;
    if (stream->kind->id == OURO_STREAM_UNIX)
        return moved_by_unix(stream);
    memset(&info, 0, sizeof(info));
    (void)ouro__kernel_get_option(stream->descriptor.fd, IPPROTO_TCP, TCP_INFO, &info,
                                  sizeof(info));
    return info.tcpi_bytes_received + info.tcpi_bytes_acked;
}

static void cut(struct ouro__connection *connection)
{
    struct ouro__descriptor *descriptor = &connection->stream->descriptor;
    struct ouro__context *context = connection->now.handler.context;
    struct ouro__op *op = context->op;
    connection->is_cut = true;
    if (op != NULL && op->sio != NULL &&
        op->sio == ouro__load(&descriptor->sio, memory_order_acquire)) {
        if (op->cancel_reason == 0) {
            op->cancel_reason = -ETIMEDOUT;
            context->cancel_op(op);
        }
    } else {
        (void)ouro__kernel_shutdown(descriptor->fd, SHUT_RDWR);
    }
}

void ouro__connection_look(struct ouro__connection *connection, int64_t now_ns)
{
    struct ouro_stream *stream = connection->stream;
    if (ouro__load(&stream->descriptor.calls, memory_order_relaxed) == 0) {
        connection->quiet_since_ns = now_ns;
        return;
    }
    uint64_t now_moved = moved(stream);
    if (now_moved != connection->now.handler.moved) {
        connection->now.handler.moved = now_moved;
        connection->quiet_since_ns = now_ns;
    } else if (now_ns - connection->quiet_since_ns >= connection->shard->server->options.idle_ns) {
        connection->quiet_since_ns = now_ns; /* a handler that goes on has the time again */
        cut(connection);
    }
}
