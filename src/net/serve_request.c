/* SPDX-License-Identifier: MIT */
/*
 * ServeRequest: request mode, in which a connection has a task only while it has a request.
 *
 * Between requests one operation is in flight: a receive of one byte that leaves the byte in the
 * socket (MSG_PEEK).  It works on both drivers, and its result also tells the end of the stream and
 * its errors, for which no task is needed.  The operation lies in the connection.  When it ends
 * with a byte, its completion starts a task, on a stack from the worker's pool.
 *
 *     await --byte--> task runs the handler --KEEP--> await ...
 *       |                |
 *       end, error,      CLOSE, failure, limit
 *       idle, drain      |
 *       +----------------+--> release
 *
 * The idle connections of a shard are in a list in the order in which their waits began.  All have
 * the same limit, so the keeper looks at the head of the list only, and no timer is needed for each
 * connection.
 *
 * During the wait the call bit of the READ lane is set, as in a read: another task that uses the
 * stream although the handler has returned gets -EBUSY, and takes no byte of the request.
 *
 * Owns:    the operation of a connection that waits.
 * Threads: the shard's worker's; completions are called in its loop, outside of tasks.
 * Always:  a connection in the lists `idle` and `ending` has its operation in flight.
 * Tests:   tests/net/test_serve_requests.c, tests/net/test_serve_unix.c
 */
#include "net/serve_request.h"

#include "base/kernel.h"
#include "net/serve_connection.h"
#include "registry/driver.h"
#include "stream/stream.h"
#include "task/worker.h"

#include <errno.h>
#include <sys/socket.h>

/* A look at the first byte.  (Some kernels count the bytes of a Unix socket wrongly, so FIONREAD
 * will not do.) */
static bool has_bytes(const struct ouro__connection *connection)
{
    char byte = 0;
    struct iovec vector = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    return ouro__kernel_receive_message(connection->stream->descriptor.fd, &message, MSG_PEEK) > 0;
}

/* Whether the next request may be waited for after one has ended; during the drain, whether it has
 * begun. */
static bool may_wait(const struct ouro__connection *connection)
{
    const struct ouro_server *server = connection->shard->server;
    if (connection->quiet_since_ns >=
        ouro__clock_add_ns(connection->accepted_ns, server->options.connection_ns))
        return false;
    return !ouro__server_is_draining(server) || has_bytes(connection);
}

static int request_task(void *arg)
{
    struct ouro__connection *connection = arg;
    struct ouro__shard *shard = connection->shard;
    int64_t now_ns = ouro__clock_now_ns();
    int64_t deadline_ns = ouro__clock_add_ns(now_ns, shard->server->options.request_ns);
    bool is_kept = ouro__connection_handle(connection, now_ns, deadline_ns);
    connection->requests++;
    ouro__counter_add(&shard->requests, 1);
    if (is_kept && may_wait(connection))
        ouro__request_await(connection);
    else
        ouro__connection_release(connection, &shard->closed);
    shard->active_count--;
    ouro__connection_ended(shard);
    return 0;
}

/* Whether a request has begun.  A wait that was cancelled may have missed bytes that came at the
 * same time; closing would reset the connection of a peer that has been told nothing. */
static bool has_begun(const struct ouro__connection *connection, int32_t result)
{
    return result > 0 || (result == -ECANCELED && has_bytes(connection));
}

/* The wait has ended. */
static void first_byte(struct ouro__op *op)
{
    struct ouro__connection *connection = op->waiter;
    struct ouro__shard *shard = connection->shard;
    int32_t result = ouro__driver_result(op);
    ouro__descriptor_leave(&connection->stream->descriptor, OURO__LANE_READ);
    ouro__list_remove(&connection->link);
    ouro__counter_add(&shard->idle_now, UINT64_MAX); /* one less */
    if (has_begun(connection, result)) {
        connection->is_cut = false; /* it came in time */
        (void)ouro__connection_start(connection, "request", request_task);
    } else {
        if (connection->is_cut)
            ouro__counter_add(&shard->timed_out, 1);
        ouro__connection_release(connection, &shard->closed);
    }
    shard->idle_count--;
    ouro__connection_ended(shard);
}

void ouro__request_await(struct ouro__connection *connection)
{
    struct ouro__shard *shard = connection->shard;
    struct ouro__descriptor *descriptor = &connection->stream->descriptor;
    struct ouro__op *op = &connection->now.op;
    /* A call in progress is another task's, which the handler has left with the stream.  The
     * release waits for it; a completion could not. */
    int rc = ouro__load(&descriptor->calls, memory_order_acquire) == 0 ? 0 : -EBUSY;
    if (rc == 0)
        rc = ouro__descriptor_attach(descriptor, ouro__context_current());
    if (rc == 0)
        rc = ouro__descriptor_enter(descriptor, OURO__LANE_READ);
    if (rc < 0) {
        ouro__connection_release(connection, rc == -EBUSY ? &shard->closed : &shard->shed);
        return;
    }
    ouro__op_init_io(op, OURO__OP_RECV, OURO__LANE_READ, &connection->first_byte, 1, MSG_PEEK);
    op->sio = ouro__load(&descriptor->sio, memory_order_acquire);
    op->handle = op->sio->handle;
    op->state = OURO__OP_IDLE;
    op->finished = false;
    op->cancel_reason = 0;
    op->waiter = connection;
    op->done = first_byte;
    ouro__list_push_back(&shard->idle, &connection->link);
    shard->idle_count++;
    ouro__counter_add(&shard->idle_now, 1);
    ouro__driver_submit(op->handle->driver, op);
}

static void end_wait(struct ouro__connection *connection)
{
    struct ouro__op *op = &connection->now.op;
    ouro__list_remove(&connection->link);
    ouro__list_push_back(&connection->shard->ending, &connection->link);
    ouro__driver_cancel(op->handle->driver, op);
}

void ouro__request_expire(struct ouro__shard *shard, int64_t now_ns)
{
    int64_t idle_ns = shard->server->options.idle_ns;
    while (!ouro__list_is_empty(&shard->idle)) {
        struct ouro__connection *connection =
            OURO__CONTAINER_OF(shard->idle.next, struct ouro__connection, link);
        int64_t end_ns = ouro__clock_add_ns(connection->quiet_since_ns, idle_ns);
        if (end_ns > now_ns)
            return;
        connection->is_cut = true;
        end_wait(connection);
    }
}

void ouro__request_end_all(struct ouro__shard *shard)
{
    while (!ouro__list_is_empty(&shard->idle))
        end_wait(OURO__CONTAINER_OF(shard->idle.next, struct ouro__connection, link));
}
