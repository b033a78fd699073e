/* SPDX-License-Identifier: MIT */
/*
 * RelayWay: one direction of a relay.
 *
 * Two ways of moving bytes take turns:
 *
 *   copying    a read into a small buffer on the stack, and a write of it.  A message costs two
 *              operations of the driver.
 *   splicing   a wait until the source has bytes, then splice(2) from the source into a pipe and
 *              from the pipe to the sink, until the source is empty or the sink full.
 *
 * splice(2) is called here, on the worker, and never waits: sockets and pipes are non-blocking.
 * (As an operation of the ring each splice would go to a thread of the kernel.)  The splices
 * between two waits hold off SIGPIPE together, for splice(2) has no MSG_NOSIGNAL.  Where the
 * program ignores the signal when the relay begins, they do not.
 *
 * A copying way splices when a read has filled the buffer: more is probably waiting.  A splicing
 * way copies again when a wait brought less than a buffer of bytes, and also when it brought none:
 * before urgent data a TCP socket is readable and cannot be spliced from; a read passes it.  The
 * caller may force one of the two.
 *
 * A pipe is taken from the worker's pool when there is something to splice, and put back before the
 * next wait for the source.  So only bytes whose sink is full keep a pipe across a wait.
 *
 * Owns:    the pipe.
 * Threads: the worker's.
 * Always:  the pipe is empty before anything is read from the source; count is what the kernel took
 *          for the sink.
 * Tests:   tests/stream/test_relay.c, tests/stream/test_relay_obstacles.c
 */
#include "stream/relay_way.h"

#include "base/kernel.h"
#include "stream/meter.h"
#include "stream/sigpipe.h"
#include "task/worker.h"

#include <errno.h>
#include <sys/socket.h>

/* Why a burst of splices has stopped. */
enum stop {
    SOURCE_EMPTY, /* or so it seems: the last splice brought little */
    SOURCE_ENDED,
    SINK_FULL,
    BURST_OVER,
    NO_PIPE,       /* none can be made now */
    CANNOT_SPLICE, /* the kernel refuses it; nothing was read */
};

static int write_all(struct ouro__relay_way *way, struct ouro__context *context, const char *bytes,
                     size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = way->to->kind->write(way->to, context, bytes + done, size - done, MSG_WAITALL);
        if (n < 0)
            return (int)n;
        done += (size_t)n;
        *way->count += (size_t)n;
    }
    return 0;
}

/* Copies what a read brings.  1: splice from here on; 2: copy; 0 at the end. */
static int copy(struct ouro__relay_way *way, struct ouro__context *context)
{
    char buffer[OURO__RELAY_COPY_BYTES];
    ssize_t n = way->from->kind->read(way->from, context, buffer, sizeof(buffer), 0);
    if (n <= 0)
        return (int)n;
    int rc = write_all(way, context, buffer, (size_t)n);
    if (rc < 0)
        return rc;
    return n == sizeof(buffer) || way->always_splices ? 1 : 2;
}

static bool is_refusal(ssize_t rc)
{
    return rc == -EINVAL || rc == -EOPNOTSUPP || rc == -ENOSYS || rc == -EPERM || rc == -EACCES;
}

/* From the source into the empty pipe.  Returns a count, 0 at the end, or -errno. */
static ssize_t splice_in(struct ouro__relay_way *way)
{
    ssize_t n =
        ouro__kernel_splice(way->from->descriptor.fd, way->pipe.write_fd, OURO__RELAY_PIPE_BYTES);
    if (n > 0)
        way->held = (size_t)n;
    return ouro__stream_meter_received(way->from, n);
}

/* From the pipe to the sink.  Returns a count or -errno. */
static ssize_t splice_out(struct ouro__relay_way *way)
{
    ssize_t n = ouro__stream_meter_may_send(way->to, way->held);
    if (n > 0)
        n = ouro__kernel_splice(way->pipe.read_fd, way->to->descriptor.fd, (size_t)n);
    if (n > 0)
        way->held -= (size_t)n;
    return ouro__stream_meter_sent(way->to, n);
}

/* Splices until there is a reason to stop.  Returns it, or -errno. */
static int splice_on(struct ouro__relay_way *way, size_t *moved)
{
    size_t wish = OURO__RELAY_PIPE_BYTES;
    for (;;) {
        if (way->held == 0) {
            if (*moved >= OURO__RELAY_BURST_BYTES)
                return BURST_OVER;
            /* Half of what was asked for, or less: the source is empty, and another call would
             * only say so. */
            if (wish <= OURO__RELAY_PIPE_BYTES / 2)
                return SOURCE_EMPTY;
            ssize_t n = splice_in(way);
            if (n == -EAGAIN)
                return SOURCE_EMPTY;
            if (is_refusal(n))
                return CANNOT_SPLICE;
            if (n <= 0)
                return n == 0 ? SOURCE_ENDED : (int)n;
            wish = (size_t)n;
        }
        ssize_t n = splice_out(way);
        if (n == -EAGAIN)
            return SINK_FULL;
        if (n <= 0)
            return n == 0 ? -EIO : (int)n;
        *moved += (size_t)n;
        *way->count += (size_t)n;
    }
}

static int burst(struct ouro__relay_way *way, size_t *moved)
{
    struct ouro__sigpipe held;
    int rc = 0;
    if (way->holds_sigpipe)
        ouro__sigpipe_hold(&held);
    do {
        rc = splice_on(way, moved);
    } while (rc == -EINTR);
    /* A splice that raised it returned a part or -EPIPE; after a part the next returned -EPIPE. */
    if (way->holds_sigpipe)
        ouro__sigpipe_release(&held, rc == -EPIPE);
    return rc;
}

static void put_pipe(struct ouro__relay_way *way, struct ouro__context *context)
{
    if (!way->has_pipe)
        return;
    ouro__pipe_pool_put(&context->worker->pipes, way->pipe, way->held == 0);
    way->has_pipe = false;
    way->held = 0;
}

/* After a wait for the source: splices what it has, waiting for the sink when that is full. */
static int splice_what_is_there(struct ouro__relay_way *way, struct ouro__context *context,
                                size_t *moved)
{
    if (ouro__pipe_pool_take(&context->worker->pipes, &way->pipe) < 0)
        return NO_PIPE;
    way->has_pipe = true;
    int stop = burst(way, moved);
    while (stop == SINK_FULL) {
        int rc = way->to->kind->await(way->to, context, OURO_WRITABLE);
        if (rc < 0)
            return rc;
        stop = burst(way, moved);
    }
    put_pipe(way, context);
    return stop;
}

/* Splices as long as much comes at a time.  1: copy from here on; 0 at the end. */
static int splice_while_much_comes(struct ouro__relay_way *way, struct ouro__context *context)
{
    for (;;) {
        int rc = way->from->kind->await(way->from, context, OURO_READABLE);
        if (rc < 0)
            return rc;
        size_t moved = 0;
        int stop = splice_what_is_there(way, context, &moved);
        context->worker->io.handle.moved_bytes += moved;
        if (stop < 0)
            return stop;
        if (stop == SOURCE_ENDED)
            return 0;
        way->cannot_splice = stop == CANNOT_SPLICE;
        const bool is_little = !way->always_splices && moved < OURO__RELAY_COPY_BYTES;
        if (way->cannot_splice || is_little || moved == 0)
            return 1;
    }
}

static int pass_end_on(struct ouro__relay_way *way)
{
    int rc = way->to->kind->shutdown(way->to, OURO_SHUTDOWN_WRITE);
    return rc == -EOPNOTSUPP ? 0 : rc; /* a pipe: the caller closes it */
}

int ouro__relay_way_run(struct ouro__relay_way *way, struct ouro__context *context)
{
    int rc = way->always_splices ? 1 : 2;
    way->holds_sigpipe = !ouro__sigpipe_is_ignored();
    while (rc > 0) {
        if (rc == 1 && !way->cannot_splice)
            rc = splice_while_much_comes(way, context);
        if (rc > 0)
            rc = copy(way, context);
    }
    put_pipe(way, context);
    return rc < 0 ? rc : pass_end_on(way);
}
