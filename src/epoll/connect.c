/* SPDX-License-Identifier: MIT */
/*
 * Connect on epoll: connect(2) begins it, and its result is read when the descriptor becomes
 * writable.
 *
 * The order is connect(2) first, epoll second: a TCP socket that was never connected reports
 * writable and hung up, and a hang-up is final.
 *
 * What connect(2) returns:
 *   0                    done (Unix sockets, datagram sockets)
 *   EINPROGRESS, EINTR   under way; a second call begins nothing, it returns the state
 *   EAGAIN               a Unix listener's backlog is full, or no port is left: nothing is under
 *                        way and nothing will ever be signalled, so it is the result
 *
 * When an event has come, registry/connect_end.c says whether it has ended.
 *
 * Owns:    nothing; the address is the waiter's until the operation ends.
 * Threads: the driver's.
 * Always:  0 is reported only for a socket that has a peer.
 * Tests:   tests/epoll/test_connect.c
 */
#include "epoll/epoll.h"

#include "base/fault.h"
#include "registry/connect_end.h"

#include <errno.h>
#include <sys/socket.h>

static bool begin(struct ouro__op *op, int32_t *out_result)
{
    int rc = connect(op->fd, op->arg.connect.addr, op->arg.connect.length) == 0 ? 0 : -errno;
    int fault = ouro__fault(OURO__FAULT_EPOLL_CONNECT);
    if (OURO__UNLIKELY(fault != 0))
        rc = fault;
    op->backend |= OURO__EPOLL_OP_BEGUN;
    *out_result = rc;
    return rc != -EINPROGRESS && rc != -EINTR;
}

bool ouro__epoll_connect(const struct ouro__epoll_row *row, struct ouro__op *op,
                         int32_t *out_result)
{
    (void)row;
    int32_t result = -EINPROGRESS;
    bool begun = (op->backend & OURO__EPOLL_OP_BEGUN) != 0;
    bool ended = begun ? ouro__connect_has_ended(op->fd, op->arg.connect.addr,
                                                 op->arg.connect.length, &result)
                       : begin(op, &result);
    OURO__TRACE(op->handle, .kind = OURO_TRACE_TRIED, .fd = op->fd, .token = op->token,
                .result = result, .name = ouro__op_name(op->code));
    *out_result = result;
    return ended;
}
