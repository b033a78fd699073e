/* SPDX-License-Identifier: MIT */
/*
 * Connect on epoll: called once, asked about when the descriptor becomes writable.
 *
 * The order is connect(2) first, epoll second: a TCP socket that was never connected reports
 * writable and hung up, and a hang-up is final.
 *
 * What connect(2) returns:
 *   0                    done (Unix sockets, datagram sockets)
 *   EINPROGRESS, EINTR   under way; a second call would not be a retry but EALREADY
 *   EAGAIN               a Unix listener's backlog is full, or no port is left: nothing is under
 *                        way and nothing will ever be signalled, so it is the result
 *
 * When an event has come: SO_ERROR, which reading resets, so it is read once and believed; then
 * getpeername(2), because a writable socket without an error is not yet a connected one: events can
 * be late or mean something else.  ENOTCONN there says: go on waiting.  Only a socket that has hung
 * up will never say more; somebody else has read its error.
 *
 * Owns:    nothing; the address is the waiter's until the operation ends.
 * Threads: the driver's.
 * Always:  0 is reported only for a socket that has a peer.
 * Tests:   tests/epoll/test_connect.c
 */
#include "epoll/epoll.h"

#include "base/fault.h"

#include <errno.h>
#include <sys/socket.h>

bool ouro__epoll_connect_begin(struct ouro__op *op, int32_t *out_result)
{
    int rc = connect(op->sio->fd, op->arg.connect.addr, op->arg.connect.length) == 0 ? 0 : -errno;
    int fault = ouro__fault(OURO__FAULT_EPOLL_CONNECT);
    if (OURO__UNLIKELY(fault != 0))
        rc = fault;
    op->backend |= OURO__EPOLL_OP_BEGUN;
    OURO__TRACE(op->sio->handle, .kind = OURO_TRACE_TRIED, .fd = op->sio->fd,
                .token = ouro__sio_token(op->sio, op->lane), .result = rc, .name = "connect");
    if (rc == -EINPROGRESS || rc == -EINTR)
        return false;
    *out_result = rc;
    return true;
}

bool ouro__epoll_connect_check(struct ouro__op *op, int32_t *out_result)
{
    struct ouro__scheduled_io *sio = op->sio;
    int error = 0;
    socklen_t length = sizeof(error);
    if (getsockopt(sio->fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0)
        error = errno;
    if (error == 0) {
        struct sockaddr_storage peer;
        length = sizeof(peer);
        if (getpeername(sio->fd, (struct sockaddr *)&peer, &length) != 0)
            error = errno;
    }
    if (error == ENOTCONN) {
        uint32_t ready = ouro__readiness_ready(ouro__load(&sio->readiness, memory_order_acquire));
        if ((ready & OURO_WRITE_CLOSED) == 0)
            return false;
        error = ECONNABORTED;
    }
    OURO__TRACE(sio->handle, .kind = OURO_TRACE_TRIED, .fd = sio->fd,
                .token = ouro__sio_token(sio, op->lane), .result = -error, .name = "connect");
    *out_result = -error;
    return true;
}
