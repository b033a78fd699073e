/* SPDX-License-Identifier: MIT */
/*
 * Rows: what is special about each operation on epoll.
 *
 * Positioned file I/O and splice have none: epoll cannot wait for a file, so their system calls are
 * made on the blocking pool (task/wait.c).
 *
 * Owns:    nothing.
 * Threads: the driver's.
 * Always:  a call never waits, makes descriptors close-on-exec, and raises no SIGPIPE.
 * Tests:   tests/epoll/test_emulate.c, tests/registry/test_driver.c
 */
#include "epoll/rows.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { REST_PARTS = 16 };

static ssize_t call_accept(const struct ouro__op *op, size_t done)
{
    (void)done;
    return accept4(op->fd, op->arg.accept.addr, op->arg.accept.length,
                   SOCK_CLOEXEC | SOCK_NONBLOCK);
}

static ssize_t call_recv(const struct ouro__op *op, size_t done)
{
    return recv(op->fd, (char *)op->arg.io.buffer + done, op->arg.io.size - done,
                (int)op->arg.io.flags | MSG_DONTWAIT);
}

static ssize_t call_send(const struct ouro__op *op, size_t done)
{
    return send(op->fd, (const char *)op->arg.io.buffer + done, op->arg.io.size - done,
                (int)op->arg.io.flags | MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* The message's buffers without the first @done bytes, as many as fit in @part. */
static struct msghdr rest_of(const struct msghdr *header, size_t done,
                             struct iovec part[REST_PARTS])
{
    struct msghdr rest = {.msg_iov = part, .msg_iovlen = 0};
    for (size_t i = 0; i < header->msg_iovlen && rest.msg_iovlen < REST_PARTS; i++) {
        struct iovec whole = header->msg_iov[i];
        if (done >= whole.iov_len) {
            done -= whole.iov_len;
            continue;
        }
        part[rest.msg_iovlen++] = (struct iovec){.iov_base = (char *)whole.iov_base + done,
                                                 .iov_len = whole.iov_len - done};
        done = 0;
    }
    return rest;
}

static ssize_t call_recvmsg(const struct ouro__op *op, size_t done)
{
    struct iovec part[REST_PARTS];
    struct msghdr rest;
    struct msghdr *header = op->arg.message.header;
    if (done > 0) {
        rest = rest_of(header, done, part);
        header = &rest;
    }
    return recvmsg(op->fd, header, (int)op->arg.message.flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
}

static ssize_t call_sendmsg(const struct ouro__op *op, size_t done)
{
    struct iovec part[REST_PARTS];
    struct msghdr rest;
    const struct msghdr *header = op->arg.message.header;
    if (done > 0) {
        rest = rest_of(header, done, part);
        header = &rest;
    }
    return sendmsg(op->fd, header, (int)op->arg.message.flags | MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* 0 when the descriptor has one of @events, an error or a hang-up; else EAGAIN. */
static ssize_t look(const struct ouro__op *op, short events)
{
    struct pollfd poll_fd = {.fd = op->fd, .events = events};
    int count = poll(&poll_fd, 1, 0);
    if (count == 0)
        errno = EAGAIN;
    return count > 0 ? 0 : -1;
}

static ssize_t call_await_read(const struct ouro__op *op, size_t done)
{
    (void)done;
    return look(op, POLLIN);
}

static ssize_t call_await_write(const struct ouro__op *op, size_t done)
{
    (void)done;
    return look(op, POLLOUT);
}

const struct ouro__epoll_row ouro__epoll_rows[OURO__OP_CODES] = {
    [OURO__OP_CONNECT] = {.begin = ouro__epoll_connect, .always_tries = true},
    [OURO__OP_ACCEPT] = {.begin = ouro__epoll_transfer,
                         .call = call_accept,
                         .reads = true,
                         .tries_at_once = true},
    [OURO__OP_RECV] = {.begin = ouro__epoll_transfer,
                       .call = call_recv,
                       .has_buffer = true,
                       .reads = true,
                       .zero_is_end = true},
    [OURO__OP_SEND] = {.begin = ouro__epoll_transfer,
                       .call = call_send,
                       .has_buffer = true,
                       .tries_at_once = true},
    [OURO__OP_RECVMSG] = {.begin = ouro__epoll_transfer,
                          .call = call_recvmsg,
                          .has_message = true,
                          .reads = true},
    [OURO__OP_SENDMSG] = {.begin = ouro__epoll_transfer,
                          .call = call_sendmsg,
                          .has_message = true,
                          .tries_at_once = true},
    [OURO__OP_AWAIT_READ] = {.begin = ouro__epoll_transfer, .call = call_await_read, .reads = true},
    [OURO__OP_AWAIT_WRITE] = {.begin = ouro__epoll_transfer, .call = call_await_write},
    [OURO__OP_RECV_LOAN] = {.begin = ouro__epoll_recv_loan,
                            .call = call_recv,
                            .has_buffer = true,
                            .reads = true,
                            .zero_is_end = true,
                            .may_have_loan = true},
    [OURO__OP_TAKE_LOAN] = {.begin = ouro__epoll_take_loan,
                            .always_tries = true,
                            .may_have_loan = true},
};

bool ouro__epoll_has_row(unsigned code)
{
    return code < OURO__OP_CODES && ouro__epoll_rows[code].begin != NULL;
}
