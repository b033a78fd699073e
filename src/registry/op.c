/* SPDX-License-Identifier: MIT */
/*
 * Op: properties of each operation that do not depend on the backend: its name and, for operations
 * that a backend may lack, its system call.
 *
 * Owns:    nothing.
 * Threads: any.
 * Always:  a call may wait for a disk, but not for a peer: a SPLICE is made non-blocking.
 * Tests:   tests/task/test_file.c, tests/registry/test_op_slots.c
 */
#include "registry/op.h"

#include "base/assert.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

/* What the kernel moves in one call at most, MAX_RW_COUNT. */
#define SIZE_MAX_OF_CALL ((size_t)0x7ffff000)

static ssize_t call_file_read(const struct ouro__op *op)
{
    return pread(op->fd, op->arg.file.buffer, op->arg.file.size, (off_t)op->arg.file.offset);
}

static ssize_t call_file_write(const struct ouro__op *op)
{
    return pwrite(op->fd, op->arg.file.buffer, op->arg.file.size, (off_t)op->arg.file.offset);
}

static ssize_t call_splice(const struct ouro__op *op)
{
    off_t from = op->arg.splice.offset;
    off_t to = op->arg.splice.out_offset;
    size_t size = op->arg.splice.size < SIZE_MAX_OF_CALL ? op->arg.splice.size : SIZE_MAX_OF_CALL;
    return splice(op->fd, from < 0 ? NULL : &from, op->arg.splice.out_fd, to < 0 ? NULL : &to, size,
                  SPLICE_F_NONBLOCK);
}

static const struct {
    const char *name;
    ssize_t (*call)(const struct ouro__op *op); /* NULL: only where there is a row */
    bool moves_bytes;                           /* and its result says how many */
} ops[OURO__OP_CODES] = {
    [OURO__OP_NONE] = {.name = "none"},
    [OURO__OP_CONNECT] = {.name = "connect"},
    [OURO__OP_ACCEPT] = {.name = "accept"},
    [OURO__OP_RECV] = {.name = "recv", .moves_bytes = true},
    [OURO__OP_SEND] = {.name = "send", .moves_bytes = true},
    [OURO__OP_RECVMSG] = {.name = "recvmsg", .moves_bytes = true},
    [OURO__OP_SENDMSG] = {.name = "sendmsg", .moves_bytes = true},
    [OURO__OP_POLL] = {.name = "poll"},
    [OURO__OP_QUIESCE] = {.name = "quiesce"},
    [OURO__OP_AWAIT_READ] = {.name = "await_read"},
    [OURO__OP_AWAIT_WRITE] = {.name = "await_write"},
    [OURO__OP_FILE_READ] = {.name = "file_read", .call = call_file_read, .moves_bytes = true},
    [OURO__OP_FILE_WRITE] = {.name = "file_write", .call = call_file_write, .moves_bytes = true},
    [OURO__OP_SPLICE] = {.name = "splice", .call = call_splice, .moves_bytes = true},
    [OURO__OP_ACCEPT_MANY] = {.name = "accept_many"},
    [OURO__OP_RECV_LOAN] = {.name = "recv_loan", .moves_bytes = true},
    [OURO__OP_TAKE_LOAN] = {.name = "take_loan"},
    [OURO__OP_SEND_ZERO_COPY] = {.name = "send_zero_copy", .moves_bytes = true},
};

const char *ouro__op_name(unsigned code)
{
    return code < OURO__OP_CODES ? ops[code].name : "?";
}

bool ouro__op_moves_bytes(unsigned code)
{
    return code < OURO__OP_CODES && ops[code].moves_bytes;
}

size_t ouro__op_message_size(const struct msghdr *header)
{
    size_t size = 0;
    for (size_t i = 0; i < header->msg_iovlen; i++)
        size += header->msg_iov[i].iov_len;
    return size;
}

int32_t ouro__op_call(const struct ouro__op *op)
{
    OURO__ASSERT(op->code < OURO__OP_CODES && ops[op->code].call != NULL);
    ssize_t n = 0;
    do {
        n = ops[op->code].call(op);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : (int32_t)n;
}

unsigned ouro__op_poll_fds(const struct ouro__op *op, struct pollfd fds[2])
{
    unsigned count = 0;
    struct pollfd ends[2] = {{.fd = op->fd, .events = POLLIN},
                             {.fd = op->arg.splice.out_fd, .events = POLLOUT}};
    (void)poll(ends, 2, 0);
    for (unsigned i = 0; i < 2; i++) {
        if (ends[i].revents == 0)
            fds[count++] = ends[i];
    }
    return count;
}
