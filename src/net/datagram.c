/* SPDX-License-Identifier: MIT */
/*
 * Datagram: sending and receiving whole messages.
 *
 * Sending tries first: sendmsg(2) or sendmmsg(2), which do not wait.  There is nearly always room,
 * so a send is one system call and no switch of tasks.  Without room one SENDMSG operation waits.
 *
 * Receiving one message is one RECVMSG operation, since a receiver usually waits.  Receiving a
 * batch tries recvmmsg(2) first, which takes all that is there in one call.  Where nothing is there
 * one RECVMSG operation waits for the first message, and recvmmsg(2) takes what came with it.
 *
 * An error that ends a batch after its first message belongs to the next receive.  The kernel does
 * the same inside recvmmsg(2); here it concerns the messages after the one that was waited for.
 *
 * MSG_TRUNC makes the kernel return the length that a message had.
 *
 * Owns:    nothing; the caller holds the lane.
 * Threads: any; one in a lane.
 * Always:  what the kernel may write lies in the caller's frame or is the program's: no call
 *          returns while an operation is in flight.
 * Tests:   tests/net/test_udp.c, tests/net/test_udp_batch.c
 */
#include "net/datagram.h"

#include "base/fault.h"
#include "base/fork.h"
#include "base/kernel.h"
#include "task/handle.h"

#include <ouro/error.h>

#include <errno.h>

int ouro__datagram_open(int family, int type, int *out_fd)
{
    int rc = ouro__fault(OURO__FAULT_SOCKET);
    if (OURO__UNLIKELY(rc < 0))
        return rc;
    int fd = ouro__kernel_socket(family, type, 0);
    if (fd < 0)
        return fd;
    *out_fd = fd;
    return 0;
}

void ouro__datagram_init(struct ouro__datagram *datagram, struct ouro__context *context, int fd)
{
    ouro__descriptor_init(&datagram->descriptor, context->handle, fd);
    datagram->late_error = 0;
}

/* Why no system call may be made on the socket.  A driver would refuse an operation; what is only a
 * system call is refused here. */
static int refusal(const struct ouro__datagram *datagram, struct ouro__context *context)
{
    const struct ouro_handle *handle = datagram->descriptor.handle;
    if (OURO__UNLIKELY(ouro__fork_is_child(handle->fork_generation)))
        return -OURO_EFORKED;
    if (OURO__UNLIKELY(ouro__handle_is_shutdown(handle)))
        return -OURO_ESHUTDOWN;
    return ouro__context_interrupted_io(context);
}

int ouro__datagram_enter(struct ouro__datagram *datagram, unsigned lane,
                         struct ouro__context **out_context)
{
    struct ouro__context *context = NULL;
    int rc = ouro__context_enter(&context);
    if (rc < 0)
        return rc;
    /* A call that does not wait lets others run now and then. */
    ouro__context_spend(context);
    rc = refusal(datagram, context);
    if (rc == 0)
        rc = ouro__descriptor_enter(&datagram->descriptor, lane);
    if (rc == 0)
        *out_context = context;
    return rc;
}

ssize_t ouro__datagram_receive(struct ouro__datagram *datagram, struct ouro__context *context,
                               unsigned lane, struct msghdr *header, uint32_t flags)
{
    if (OURO__UNLIKELY(datagram->late_error != 0) && lane == OURO__LANE_READ) {
        int error = datagram->late_error;
        datagram->late_error = 0;
        return error;
    }
    struct ouro__op op;
    ouro__op_init(&op, OURO__OP_RECVMSG, lane);
    op.arg.message.header = header;
    op.arg.message.flags = flags | MSG_TRUNC;
    return ouro__descriptor_await(&datagram->descriptor, context, &op);
}

unsigned ouro__datagram_receive_more(struct ouro__datagram *datagram, struct mmsghdr *headers,
                                     unsigned count)
{
    if (count == 0)
        return 0;
    int n = ouro__kernel_receive_messages(datagram->descriptor.fd, headers, count, MSG_TRUNC);
    if (n < 0 && n != -EAGAIN)
        datagram->late_error = n;
    return n < 0 ? 0 : (unsigned)n;
}

ssize_t ouro__datagram_receive_many(struct ouro__datagram *datagram, struct ouro__context *context,
                                    struct mmsghdr *headers, unsigned count)
{
    if (OURO__LIKELY(datagram->late_error == 0)) {
        int n = ouro__kernel_receive_messages(datagram->descriptor.fd, headers, count, MSG_TRUNC);
        if (n != -EAGAIN)
            return n;
    }
    ssize_t n = ouro__datagram_receive(datagram, context, OURO__LANE_READ, &headers[0].msg_hdr, 0);
    if (n < 0)
        return n;
    headers[0].msg_len = (unsigned)n;
    return 1 + (ssize_t)ouro__datagram_receive_more(datagram, headers + 1, count - 1);
}

static ssize_t send_when_there_is_room(struct ouro__datagram *datagram,
                                       struct ouro__context *context, struct msghdr *header)
{
    struct ouro__op op;
    ouro__op_init(&op, OURO__OP_SENDMSG, OURO__LANE_WRITE);
    op.arg.message.header = header;
    op.arg.message.flags = 0;
    return ouro__descriptor_await(&datagram->descriptor, context, &op);
}

ssize_t ouro__datagram_send(struct ouro__datagram *datagram, struct ouro__context *context,
                            struct msghdr *header)
{
    ssize_t n = ouro__kernel_send_message(datagram->descriptor.fd, header);
    if (OURO__UNLIKELY(n == -EAGAIN))
        n = send_when_there_is_room(datagram, context, header);
    return n;
}

ssize_t ouro__datagram_send_many(struct ouro__datagram *datagram, struct ouro__context *context,
                                 struct mmsghdr *headers, unsigned count, bool waits)
{
    int n = ouro__kernel_send_messages(datagram->descriptor.fd, headers, count);
    if (OURO__LIKELY(n != -EAGAIN || !waits))
        return n;
    ssize_t first = send_when_there_is_room(datagram, context, &headers[0].msg_hdr);
    if (first < 0)
        return first;
    n = count == 1 ? 0
                   : ouro__kernel_send_messages(datagram->descriptor.fd, headers + 1, count - 1);
    return n > 0 ? 1 + n : 1;
}
