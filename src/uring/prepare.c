/* SPDX-License-Identifier: MIT */
/*
 * Prepare: an operation becomes an SQE; and an SQE that the kernel has not seen yet can be taken
 * back.
 *
 * Rules kept here, each of which somebody has paid for: user_data is always set (a stale one would
 * name a stranger), it is never a pointer, descriptors are made close-on-exec and non-blocking,
 * sending never raises SIGPIPE, nothing is forced onto the kernel's worker threads.
 *
 * Taking back is what makes a failed submission harmless.  When io_uring_enter(2) fails, the SQEs
 * it did not take stay in the queue, and the next successful call runs them.  So an operation whose
 * SQE is still there either waits for its turn, or has the SQE overwritten by a NOP before anybody
 * hears that it has ended.
 *
 * Owns:    the SQEs between the kernel's head and our tail.
 * Threads: the owner's.
 * Always:  an SQE that names an operation exists only while that operation is in flight.
 * Tests:   tests/uring/test_ring.c
 */
#include "base/assert.h"
#include "probe/abi.h"
#include "uring/ring.h"
#include "uring/sanitize.h"

#include <poll.h>

/* What the kernel moves in one call at most, MAX_RW_COUNT. */
#define IO_SIZE_MAX 0x7ffff000u

/* Where the wake reads put the counter nobody looks at.  Not in the driver: a ring that is being
 * taken apart in the background may still write to it after close(). */
static uint64_t wake_counter;

struct io_uring_sqe *ouro__uring_sqe(struct ouro__uring *uring)
{
    struct io_uring_sqe *sqe = NULL;
    if (OURO__LIKELY(ouro__fault(OURO__FAULT_RING_SQE) == 0))
        sqe = io_uring_get_sqe(&uring->ring);
    if (OURO__LIKELY(sqe != NULL))
        return sqe;
    if (ouro__uring_submit(uring, 0, 0, 0) < 0) /* turn() will try again, and judge */
        return NULL;
    return ouro__fault(OURO__FAULT_RING_SQE) == 0 ? io_uring_get_sqe(&uring->ring) : NULL;
}

static unsigned io_size(size_t size)
{
    return size < IO_SIZE_MAX ? (unsigned)size : IO_SIZE_MAX;
}

void ouro__uring_prepare(struct ouro__uring *uring, struct io_uring_sqe *sqe, struct ouro__op *op)
{
    const struct ouro__scheduled_io *sio = op->sio;
    int fd = sio->fd;
    ouro__sanitize_submit(op);
    switch (op->code) {
    case OURO__OP_CONNECT:
        if ((op->backend & OURO__URING_CONNECT_POLL) != 0)
            io_uring_prep_poll_add(sqe, fd, POLLOUT);
        else
            io_uring_prep_connect(sqe, fd, op->arg.connect.addr, op->arg.connect.length);
        break;
    case OURO__OP_ACCEPT:
        io_uring_prep_accept(sqe, fd, op->arg.accept.addr, op->arg.accept.length,
                             SOCK_CLOEXEC | SOCK_NONBLOCK);
        break;
    case OURO__OP_RECV:
        io_uring_prep_recv(sqe, fd, op->arg.io.buffer, io_size(op->arg.io.size),
                           (int)op->arg.io.flags);
        break;
    case OURO__OP_SEND:
        io_uring_prep_send(sqe, fd, op->arg.io.buffer, io_size(op->arg.io.size),
                           (int)(op->arg.io.flags | MSG_NOSIGNAL));
        break;
    case OURO__OP_RECVMSG:
        io_uring_prep_recvmsg(sqe, fd, op->arg.message.header,
                              op->arg.message.flags | MSG_CMSG_CLOEXEC);
        break;
    case OURO__OP_SENDMSG:
        io_uring_prep_sendmsg(sqe, fd, op->arg.message.header,
                              op->arg.message.flags | MSG_NOSIGNAL);
        break;
    case OURO__OP_POLL:
        io_uring_prep_poll_multishot(sqe, fd, op->arg.poll.events);
        break;
    default:
        OURO__PANIC("no such operation", op->code);
    }
    sqe->user_data = ouro__sio_token(sio, op->lane);
    OURO__TRACE(uring->driver.handle, .kind = OURO_TRACE_SUBMITTED, .fd = fd,
                .token = sqe->user_data, .a = sqe->opcode, .name = ouro__op_name(op->code));
}

void ouro__uring_prepare_cancel(struct io_uring_sqe *sqe, const struct ouro__op *op)
{
    /* By user_data, of which there is one: cancelling by descriptor and user_data cancels the wrong
     * request on some kernels.  Its own success is not worth a CQE; the operation's end is. */
    io_uring_prep_cancel64(sqe, ouro__sio_token(op->sio, op->lane), 0);
    sqe->user_data = OURO__URING_IGNORE;
    sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
}

void ouro__uring_prepare_wake(struct ouro__uring *uring, struct io_uring_sqe *sqe)
{
    io_uring_prep_read(sqe, uring->driver.handle->wake_fd, &wake_counter, sizeof(wake_counter), 0);
    sqe->user_data = OURO__URING_WAKE;
}

bool ouro__uring_withdraw(struct ouro__uring *uring, uint64_t token)
{
    const struct io_uring_sq *sq = &uring->ring.sq;
    for (unsigned i = IO_URING_READ_ONCE(*sq->khead); i != sq->sqe_tail; i++) {
        struct io_uring_sqe *sqe = &sq->sqes[i & sq->ring_mask];
        if (sqe->user_data != token)
            continue;
        io_uring_prep_nop(sqe);
        sqe->user_data = OURO__URING_IGNORE;
        sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
        return true;
    }
    return false;
}
