/* SPDX-License-Identifier: MIT */
/*
 * Rows: what is special about each operation on io_uring.
 *
 * Adding an operation is adding a row here and one in epoll/rows.c (or none there: then the waiting
 * layer makes its system call on the blocking pool).
 *
 * Rules kept here: descriptors are made close-on-exec and non-blocking; sending never raises
 * SIGPIPE; IOSQE_ASYNC is never set.
 *
 * Which results mean "not yet" is in the row: -EAGAIN with @waits_for, -EINTR with @restarts, and
 * what finish() decides.  The kernel gives -EAGAIN for a request that would have waited when it has
 * tried it too often, and -EINTR, or a code for restarting that no header has, when one of its
 * workers was interrupted.
 *
 * Sending on kernels with OURO__QUIRK_SEND_READ_SIDE: where the peer has ended its half, or urgent
 * data is unread, the kernel's own wait for room ends at once, and after some such rounds the
 * request blocks a worker thread of the kernel, one for each connection.  There a send never waits
 * in the kernel: it carries MSG_DONTWAIT, and the operation waits by a poll of ours (uring/wait.c).
 * A MSG_WAITALL is then carried out here: op->result counts what was sent.
 *
 * Owns:    nothing.
 * Threads: the owner's.
 * Always:  the memory that a row names is the one that its request uses.
 * Tests:   tests/uring/test_rows.c, tests/registry/test_driver.c
 */
#include "uring/rows.h"

#include "base/fault.h"
#include "probe/abi.h"
#include "registry/connect_end.h"
#include "registry/lending.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

/* What the kernel moves in one call at most, MAX_RW_COUNT. */
#define IO_SIZE_MAX 0x7ffff000u

unsigned ouro__uring_io_size(size_t size)
{
    int injected = ouro__fault(OURO__FAULT_RING_SIZE);
    unsigned size_max = OURO__UNLIKELY(injected != 0) ? (unsigned)-injected : IO_SIZE_MAX;
    return size < size_max ? (unsigned)size : size_max;
}

static void begin_connect(const struct ouro__uring *uring, struct io_uring_sqe *sqe,
                          const struct ouro__op *op)
{
    (void)uring;
    io_uring_prep_connect(sqe, op->fd, op->arg.connect.addr, op->arg.connect.length);
}

/* Some kernels answer CONNECT with -EINPROGRESS instead of waiting.  One that was interrupted goes
 * on without its request, as after connect(2). */
static enum ouro__uring_next finish_connect(const struct ouro__uring *uring, struct ouro__op *op,
                                            int32_t *result)
{
    (void)uring;
    (void)op;
    int injected = ouro__fault(OURO__FAULT_RING_CONNECT);
    if (OURO__UNLIKELY(injected != 0))
        *result = injected;
    bool goes_on = *result == -EINPROGRESS || *result == -EINTR;
    return goes_on ? OURO__URING_WAITS : OURO__URING_ENDS;
}

static int connect_wait_for(const struct ouro__op *op, uint32_t *events)
{
    *events = POLLOUT;
    return op->fd;
}

static enum ouro__uring_next connect_waited(struct ouro__op *op, int32_t *result)
{
    bool ended =
        ouro__connect_has_ended(op->fd, op->arg.connect.addr, op->arg.connect.length, result);
    return ended ? OURO__URING_ENDS : OURO__URING_WAITS;
}

/* What an error shows: -ECONNRESET ends both directions, -EPIPE the writing one. */
static uint32_t tells_error(int32_t result)
{
    if (result == -ECONNRESET)
        return OURO_READ_CLOSED | OURO_WRITE_CLOSED | OURO_ERROR;
    return result == -EPIPE ? OURO_WRITE_CLOSED : 0;
}

static uint32_t connect_tells(const struct ouro__op *op, int32_t result)
{
    (void)op;
    return result == 0 ? OURO_WRITABLE : tells_error(result);
}

static void begin_accept(const struct ouro__uring *uring, struct io_uring_sqe *sqe,
                         const struct ouro__op *op)
{
    (void)uring;
    io_uring_prep_accept(sqe, op->fd, op->arg.accept.addr, op->arg.accept.length,
                         SOCK_CLOEXEC | SOCK_NONBLOCK);
}

static void dispose_accept(int32_t result)
{
    if (result >= 0)
        (void)close(result);
}

static void begin_accept_many(const struct ouro__uring *uring, struct io_uring_sqe *sqe,
                              const struct ouro__op *op)
{
    (void)uring;
    io_uring_prep_multishot_accept(sqe, op->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

static void event_accept_many(struct ouro__uring *uring, struct ouro__op *op, int32_t result)
{
    if (result >= 0)
        ouro__driver_accepted(&uring->driver, op, result);
}

/* The last CQE may bring a connection, too: the next one had no room in the completion queue. */
static enum ouro__uring_next finish_accept_many(const struct ouro__uring *uring,
                                                struct ouro__op *op, int32_t *result)
{
    event_accept_many((struct ouro__uring *)(uintptr_t)uring, op, *result);
    if (*result > 0)
        *result = 0;
    return OURO__URING_ENDS;
}

static void begin_recv(const struct ouro__uring *uring, struct io_uring_sqe *sqe,
                       const struct ouro__op *op)
{
    (void)uring;
    io_uring_prep_recv(sqe, op->fd, op->arg.io.buffer, ouro__uring_io_size(op->arg.io.size),
                       (int)op->arg.io.flags);
}

static uint32_t recv_tells(const struct ouro__op *op, int32_t result)
{
    return result == 0 && op->arg.io.size > 0 ? OURO_READ_CLOSED : tells_error(result);
}

static void begin_recvmsg(const struct ouro__uring *uring, struct io_uring_sqe *sqe,
                          const struct ouro__op *op)
{
    (void)uring;
    io_uring_prep_recvmsg(sqe, op->fd, op->arg.message.header,
                          op->arg.message.flags | MSG_CMSG_CLOEXEC);
}

/* An error queue that is not empty is POLLERR, which every poll reports.  Data must not end the
 * wait for it. */
static int recvmsg_wait_for(const struct ouro__op *op, uint32_t *events)
{
    *events = (op->arg.message.flags & MSG_ERRQUEUE) != 0 ? 0 : POLLIN;
    return op->fd;
}

static void begin_send(const struct ouro__uring *uring, struct io_uring_sqe *sqe,
                       const struct ouro__op *op)
{
    size_t sent = (size_t)op->result;
    uint32_t flags = op->arg.io.flags | MSG_NOSIGNAL | (uring->waits_to_send ? MSG_DONTWAIT : 0);
    io_uring_prep_send(sqe, op->fd, (const char *)op->arg.io.buffer + sent,
                       ouro__uring_io_size(op->arg.io.size - sent), (int)flags);
}

static enum ouro__uring_next finish_send(const struct ouro__uring *uring, struct ouro__op *op,
                                         int32_t *result)
{
    if (OURO__LIKELY((op->arg.io.flags & MSG_WAITALL) == 0) || !uring->waits_to_send)
        return OURO__URING_ENDS;
    if (*result <= 0)
        return OURO__URING_ENDS;
    /* Less than the request asked for: there is no more room. */
    bool is_full = (unsigned)*result < ouro__uring_io_size(op->arg.io.size - (size_t)op->result);
    op->result += *result;
    if ((size_t)op->result < op->arg.io.size)
        return is_full ? OURO__URING_WAITS : OURO__URING_AGAIN;
    *result = op->result;
    return OURO__URING_ENDS;
}

/* What the socket does not take at once is sent with a copy (stream/write_loan.c): so this never
 * waits for room with memory that is not the kernel's yet. */
static void begin_send_zero_copy(const struct ouro__uring *uring, struct io_uring_sqe *sqe,
                                 const struct ouro__op *op)
{
    (void)uring;
    io_uring_prep_send_zc(sqe, op->fd, op->arg.io.buffer, ouro__uring_io_size(op->arg.io.size),
                          MSG_NOSIGNAL | MSG_DONTWAIT, OURO__SEND_ZC_REPORT_USAGE);
}

static uint32_t error_tells(const struct ouro__op *op, int32_t result)
{
    (void)op;
    return tells_error(result);
}

static void begin_sendmsg(const struct ouro__uring *uring, struct io_uring_sqe *sqe,
                          const struct ouro__op *op)
{
    uint32_t flags = op->arg.message.flags | MSG_NOSIGNAL;
    if (uring->waits_to_send)
        flags |= MSG_DONTWAIT;
    io_uring_prep_sendmsg(sqe, op->fd, op->arg.message.header, flags);
}

static void begin_poll(const struct ouro__uring *uring, struct io_uring_sqe *sqe,
                       const struct ouro__op *op)
{
    (void)uring;
    io_uring_prep_poll_multishot(sqe, op->fd, op->arg.poll.events);
}

static enum ouro__uring_next finish_poll(const struct ouro__uring *uring, struct ouro__op *op,
                                         int32_t *result)
{
    ouro__uring_poll_event((struct ouro__uring *)(uintptr_t)uring, op, *result);
    return OURO__URING_ENDS;
}

static void begin_await_read(const struct ouro__uring *uring, struct io_uring_sqe *sqe,
                             const struct ouro__op *op)
{
    (void)uring;
    io_uring_prep_poll_add(sqe, op->fd, POLLIN);
}

static void begin_await_write(const struct ouro__uring *uring, struct io_uring_sqe *sqe,
                              const struct ouro__op *op)
{
    (void)uring;
    io_uring_prep_poll_add(sqe, op->fd, POLLOUT);
}

/* The kernel reports POLLRDHUP too, which is no room for a write: see uring/wait.c. */
static enum ouro__uring_next finish_await(const struct ouro__uring *uring, struct ouro__op *op,
                                          int32_t *result)
{
    const uint32_t events = ouro__uring_row_of(op)->waits_for;
    (void)uring;
    if (*result < 0)
        return OURO__URING_ENDS;
    if (((uint32_t)*result & (events | POLLERR | POLLHUP | POLLNVAL)) == 0)
        return OURO__URING_WAITS;
    *result = 0;
    return OURO__URING_ENDS;
}

static enum ouro__uring_next await_waited(struct ouro__op *op, int32_t *result)
{
    (void)op;
    *result = 0;
    return OURO__URING_ENDS;
}

static void begin_file_read(const struct ouro__uring *uring, struct io_uring_sqe *sqe,
                            const struct ouro__op *op)
{
    (void)uring;
    io_uring_prep_read(sqe, op->fd, op->arg.file.buffer, ouro__uring_io_size(op->arg.file.size),
                       op->arg.file.offset);
}

static void begin_file_write(const struct ouro__uring *uring, struct io_uring_sqe *sqe,
                             const struct ouro__op *op)
{
    (void)uring;
    io_uring_prep_write(sqe, op->fd, op->arg.file.buffer, ouro__uring_io_size(op->arg.file.size),
                        op->arg.file.offset);
}

/* The kernel makes every SPLICE on a worker thread.  It must not wait there: a thread for each. */
static void begin_splice(const struct ouro__uring *uring, struct io_uring_sqe *sqe,
                         const struct ouro__op *op)
{
    (void)uring;
    io_uring_prep_splice(sqe, op->fd, op->arg.splice.offset, op->arg.splice.out_fd,
                         op->arg.splice.out_offset, ouro__uring_io_size(op->arg.splice.size),
                         SPLICE_F_NONBLOCK);
}

/* -EAGAIN does not tell which of the two is not ready.  If both are by now, the poll ends at
 * once. */
static enum ouro__uring_next finish_splice(const struct ouro__uring *uring, struct ouro__op *op,
                                           int32_t *result)
{
    struct pollfd fds[2];
    (void)uring;
    if (*result != -EAGAIN)
        return OURO__URING_ENDS;
    op->arg.splice.wait_fd = ouro__op_poll_fds(op, fds) > 0 ? fds[0].fd : op->fd;
    return OURO__URING_WAITS;
}

static int splice_wait_for(const struct ouro__op *op, uint32_t *events)
{
    *events = op->arg.splice.wait_fd == op->arg.splice.out_fd ? POLLOUT : POLLIN;
    return op->arg.splice.wait_fd;
}

const struct ouro__uring_row ouro__uring_rows[OURO__OP_CODES] = {
    [OURO__OP_CONNECT] = {.begin = begin_connect,
                          .finish = finish_connect,
                          .waited = connect_waited,
                          .wait_for = connect_wait_for,
                          .tells = connect_tells,
                          .memory = OURO__SANITIZE_ADDRESS},
    [OURO__OP_ACCEPT] = {.begin = begin_accept,
                         .dispose = dispose_accept,
                         .restarts = true,
                         .waits_for = POLLIN,
                         .memory = OURO__SANITIZE_PEER},
    [OURO__OP_ACCEPT_MANY] = {.begin = begin_accept_many,
                              .finish = finish_accept_many,
                              .event = event_accept_many,
                              .dispose = dispose_accept,
                              .restarts = true,
                              .waits_for = POLLIN},
    [OURO__OP_RECV] = {.begin = begin_recv,
                       .tells = recv_tells,
                       .tells_on_success = OURO_READABLE,
                       .restarts = true,
                       .waits_for = POLLIN,
                       .memory = OURO__SANITIZE_RECEIVED},
    [OURO__OP_SEND] = {.begin = begin_send,
                       .finish = finish_send,
                       .tells = error_tells,
                       .restarts = true,
                       .waits_for = POLLOUT,
                       .memory = OURO__SANITIZE_SENT},
    [OURO__OP_RECVMSG] = {.begin = begin_recvmsg,
                          .wait_for = recvmsg_wait_for,
                          .tells = error_tells,
                          .tells_on_success = OURO_READABLE,
                          .restarts = true,
                          .waits_for = POLLIN,
                          .memory = OURO__SANITIZE_MESSAGE_RECEIVED},
    [OURO__OP_SENDMSG] = {.begin = begin_sendmsg,
                          .tells = error_tells,
                          .restarts = true,
                          .waits_for = POLLOUT,
                          .memory = OURO__SANITIZE_MESSAGE_SENT},
    [OURO__OP_POLL] = {.begin = begin_poll, .finish = finish_poll, .event = ouro__uring_poll_event},
    [OURO__OP_AWAIT_READ] = {.begin = begin_await_read,
                             .finish = finish_await,
                             .waited = await_waited,
                             .restarts = true,
                             .waits_for = POLLIN},
    [OURO__OP_AWAIT_WRITE] = {.begin = begin_await_write,
                              .finish = finish_await,
                              .waited = await_waited,
                              .restarts = true,
                              .waits_for = POLLOUT},
    [OURO__OP_FILE_READ] = {.begin = begin_file_read,
                            .restarts = true,
                            .memory = OURO__SANITIZE_FILE_READ},
    [OURO__OP_FILE_WRITE] = {.begin = begin_file_write,
                             .restarts = true,
                             .memory = OURO__SANITIZE_FILE_WRITTEN},
    [OURO__OP_SPLICE] = {.begin = begin_splice,
                         .finish = finish_splice,
                         .wait_for = splice_wait_for,
                         .restarts = true},
    [OURO__OP_RECV_LOAN] = {.begin = ouro__uring_begin_recv_loan,
                            .finish = ouro__uring_finish_recv_loan,
                            .waited = ouro__uring_recv_loan_waited,
                            .undo = ouro__lending_undo,
                            .tells = recv_tells,
                            .tells_on_success = OURO_READABLE,
                            .restarts = true,
                            .waits_for = POLLIN,
                            .memory = OURO__SANITIZE_RECEIVED},
    [OURO__OP_TAKE_LOAN] = {.begin = ouro__uring_begin_take_loan,
                            .finish = ouro__uring_finish_take_loan,
                            .undo = ouro__lending_undo},
    [OURO__OP_SEND_ZERO_COPY] = {.begin = begin_send_zero_copy,
                                 .lends = true,
                                 .tells = error_tells,
                                 .memory = OURO__SANITIZE_SENT},
};
