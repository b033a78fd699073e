/* SPDX-License-Identifier: MIT */
/*
 * Completions on a readiness interface: an operation is tried; if it cannot complete, it waits for
 * the descriptor's next event and is tried again.
 *
 * A try is one system call.  The first one on a descriptor is always made, later ones only when the
 * readiness word has a bit for the direction.  A try updates the word: EAGAIN clears READABLE or
 * WRITABLE, and so does a read from a TCP connection that brought less than was asked for (the
 * receive queue was empty when it ended, and whatever comes later makes a new edge).  So a
 * request-response exchange costs one receive a message, not two.  Reads from other sockets clear
 * nothing, because they end at message, credential or urgent-data boundaries.  Short writes clear
 * nothing either: that would save almost nothing, and a write cut short by a bad pointer brings no
 * edge.
 *
 * A descriptor is added to the epoll at its first EAGAIN, or instead of the read after a short one,
 * for all directions at once, edge-triggered, and never touched again.  Edges that came before a
 * system call returned EAGAIN are still to be reported, and adding reports the present state, so a
 * wait after EAGAIN misses no event.
 *
 * Sends and accepts are tried before they are submitted: most end there, and their caller goes on
 * without a wait.  A receive is not, because the bytes have seldom come yet.
 *
 * MSG_WAITALL on a stream goes on until everything is transferred, as on io_uring; the count so far
 * stands in op->result.
 *
 * Owns:    the ops between submit and completion, on the list of tries or in their lanes.
 * Threads: the driver's.
 * Always:  an op is on the list at most once; what was submitted completes only in run_tries(),
 *          inside turn().
 * Tests:   tests/epoll/test_emulate.c
 */
#include "epoll/rows.h"

#include "base/fault.h"
#include "registry/lending.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* With one of these flags EAGAIN or a short count does not mean that the queue is empty. */
#define ASIDE_FLAGS ((uint32_t)(MSG_PEEK | MSG_OOB | MSG_ERRQUEUE))

#define READ_CHANCE (OURO__READY_READ_SIDE | OURO_ERROR)
#define WRITE_CHANCE OURO__READY_WRITE_SIDE

void ouro__epoll_queue(struct ouro__epoll *epoll, struct ouro__op *op)
{
    if ((op->backend & (OURO__EPOLL_OP_QUEUED | OURO__EPOLL_OP_DRY)) != 0)
        return;
    op->backend |= OURO__EPOLL_OP_QUEUED;
    ouro__queue_push(&epoll->tries, &op->node);
}

/* What a transfer asks for: MSG_..., and how many bytes; 0 and 0 for what transfers none. */
static inline uint32_t asked_of(const struct ouro__epoll_row *row, const struct ouro__op *op,
                                size_t *out_size)
{
    if (OURO__LIKELY(row->has_buffer)) {
        *out_size = op->arg.io.size;
        return op->arg.io.flags;
    }
    *out_size = row->has_message ? ouro__op_message_size(op->arg.message.header) : 0;
    return row->has_message ? op->arg.message.flags : 0;
}

/* Asks the kernel, once for a descriptor. */
static OURO__COLD bool find_protocol(struct ouro__scheduled_io *sio)
{
    int protocol = 0;
    socklen_t length = sizeof(protocol);
    bool tcp = getsockopt(sio->fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &length) == 0 &&
               protocol == IPPROTO_TCP;
    ouro__epoll_sio_mark(sio, tcp ? OURO__EPOLL_SIO_TCP : OURO__EPOLL_SIO_OTHER);
    return tcp;
}

static inline bool is_tcp(struct ouro__scheduled_io *sio)
{
    uint32_t flags = ouro__epoll_sio_flags(sio);
    if (OURO__UNLIKELY((flags & (OURO__EPOLL_SIO_TCP | OURO__EPOLL_SIO_OTHER)) == 0))
        return find_protocol(sio);
    return (flags & OURO__EPOLL_SIO_TCP) != 0;
}

static OURO__NOINLINE bool is_stream(struct ouro__scheduled_io *sio)
{
    int type = 0;
    socklen_t length = sizeof(type);
    return is_tcp(sio) || (getsockopt(sio->fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 &&
                           (type == SOCK_STREAM || type == SOCK_SEQPACKET));
}

/* Updates the readiness from a result: see the top of the file.  @snapshot is from before the call.
 */
static inline void learn(const struct ouro__epoll_row *row, struct ouro__op *op, ssize_t n,
                         size_t asked, uint64_t snapshot)
{
    struct ouro__scheduled_io *sio = op->sio;
    if (n == -EAGAIN) {
        ouro__sio_clear(sio, snapshot, row->reads ? OURO_READABLE : OURO_WRITABLE);
        return;
    }
    if (!row->reads || n < 0 || asked == 0)
        return;
    if (n == 0 && row->zero_is_end && is_stream(sio) &&
        (ouro__readiness_ready(snapshot) & OURO_READ_CLOSED) == 0)
        ouro__sio_hint(sio, OURO_READ_CLOSED);
    if (n == 0 || (size_t)n == asked)
        return;
    uint32_t marks = ouro__epoll_sio_flags(sio);
    if ((marks & OURO__EPOLL_SIO_ARMED) == 0)
        ouro__epoll_sio_mark(sio, OURO__EPOLL_SIO_DRAINED);
    else if ((marks & OURO__EPOLL_SIO_URGENT) == 0 && is_tcp(sio))
        ouro__sio_clear(sio, snapshot, OURO_READABLE);
}

static OURO__COLD void trace_tried(const struct ouro__op *op, ssize_t n)
{
    OURO__TRACE(op->handle, .kind = OURO_TRACE_TRIED, .fd = op->fd, .token = op->token, .result = n,
                .name = ouro__op_name(op->code));
}

bool ouro__epoll_transfer(const struct ouro__epoll_row *row, struct ouro__op *op,
                          int32_t *out_result)
{
    size_t size = 0;
    const uint32_t flags = asked_of(row, op, &size);
    const bool is_aside = (flags & ASIDE_FLAGS) != 0;
    const bool wants_all = (flags & MSG_WAITALL) != 0 && !is_aside;
    ssize_t n = 0;
    do {
        size_t done = (size_t)op->result;
        uint64_t snapshot = ouro__load(&op->sio->readiness, memory_order_acquire);
        do {
            n = row->call(op, done);
            n = n < 0 ? -errno : n;
        } while (n == -EINTR);
        if (OURO__UNLIKELY(op->handle->trace != NULL))
            trace_tried(op, n);
        if (!is_aside)
            learn(row, op, n, size - done, snapshot);
        if (n == -EAGAIN)
            return false;
        if (n > 0)
            op->result += (int32_t)n;
    } while (n > 0 && wants_all && (size_t)op->result < size && is_stream(op->sio));
    *out_result = n < 0 && op->result == 0 ? (int32_t)n : op->result;
    return true;
}

/* Whether the system call may succeed; if not, an event will come. */
static bool has_chance(const struct ouro__epoll_row *row, const struct ouro__op *op)
{
    struct ouro__scheduled_io *sio = op->sio;
    if (row->always_tries || (op->backend & OURO__EPOLL_OP_EVENT) != 0)
        return true;
    uint32_t marks = ouro__epoll_sio_flags(sio);
    if ((marks & OURO__EPOLL_SIO_ARMED) == 0)
        return !row->reads || (marks & OURO__EPOLL_SIO_DRAINED) == 0;
    uint32_t ready = ouro__readiness_ready(ouro__load(&sio->readiness, memory_order_acquire));
    return (ready & (row->reads ? READ_CHANCE : WRITE_CHANCE)) != 0;
}

int32_t ouro__epoll_try_now(struct ouro__driver *driver, struct ouro__op *op)
{
    const struct ouro__epoll_row *row = ouro__epoll_row_of(op);
    int32_t result = 0;
    op->result = 0;
    if (!row->tries_at_once)
        return -EAGAIN;
    op->handle = driver->handle;
    op->fd = op->sio->fd;
    op->token = ouro__sio_token(op->sio, op->lane);
    op->backend = 0;
    return has_chance(row, op) && row->begin(row, op, &result) ? result : -EAGAIN;
}

/* From here on the descriptor's events are reported.  0 or -errno. */
static OURO__NOINLINE int arm(struct ouro__epoll *epoll, struct ouro__op *op)
{
    struct ouro__scheduled_io *sio = op->sio;
    int rc = ouro__epoll_set_add(epoll->set, sio, OURO__EPOLL_EVENTS);
    if (rc != 0)
        return rc;
    ouro__epoll_sio_mark(sio, OURO__EPOLL_SIO_ARMED);
    OURO__TRACE(sio->handle, .kind = OURO_TRACE_ARMED, .fd = sio->fd,
                .token = ouro__sio_token(sio, op->lane), .a = OURO__EPOLL_EVENTS);
    return 0;
}

static void run(struct ouro__epoll *epoll, struct ouro__op *op)
{
    const struct ouro__epoll_row *row = ouro__epoll_row_of(op);
    int32_t result = 0;
    bool cancelled = (op->backend & OURO__EPOLL_OP_CANCELLED) != 0 ||
                     (ouro__epoll_sio_flags(op->sio) & OURO__EPOLL_SIO_DETACHED) != 0;
    op->backend &= (uint16_t)~OURO__EPOLL_OP_QUEUED;
    if (cancelled) {
        if (row->may_have_loan)
            ouro__lending_undo(op);
        /* A transfer that fails after a part was done reports the count. */
        ouro__driver_complete(&epoll->driver, op, op->result > 0 ? op->result : -ECANCELED);
        return;
    }
    bool ended = has_chance(row, op) && row->begin(row, op, &result);
    op->backend &= (uint16_t)~OURO__EPOLL_OP_EVENT;
    if (!ended) {
        if ((op->backend & OURO__EPOLL_OP_DRY) != 0)
            return;
        int rc = 0;
        if (OURO__UNLIKELY((ouro__epoll_sio_flags(op->sio) & OURO__EPOLL_SIO_ARMED) == 0))
            rc = arm(epoll, op);
        if (rc == 0) {
            if (row->always_tries && ouro__fault(OURO__FAULT_EPOLL_SPURIOUS) != 0)
                ouro__epoll_queue(epoll, op);
            return;
        }
        result = op->result > 0 ? op->result : rc;
    }
    ouro__driver_complete(&epoll->driver, op, result);
}

void ouro__epoll_run_tries(struct ouro__epoll *epoll)
{
    struct ouro__queue due = epoll->tries;
    epoll->tries = (struct ouro__queue){.head = NULL};
    struct ouro__queue_node *node = NULL;
    while ((node = ouro__queue_pop(&due)) != NULL)
        run(epoll, OURO__CONTAINER_OF(node, struct ouro__op, node));
}
