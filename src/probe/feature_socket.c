/* SPDX-License-Identifier: MIT */
/*
 * Features of socket operations, found by performing them.
 *
 * AF_UNIX sockets are used wherever possible, because they need no configured network: not even
 * loopback has to be up.  Zero-copy send exists for TCP and UDP only, so its step uses 127.0.0.1;
 * without a loopback interface it stays claimed and is never present.
 *
 * Owns:    every descriptor and buffer it makes, until the step that made it ends.
 * Threads: the caller's.
 * Always:  a step leaves no request in flight.
 * Tests:   tests/probe/test_feature.c, tests/ktest/cases_catalogue.py
 */
#define _GNU_SOURCE
#include "probe/feature_kit.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { UD_MAIN = 1, UD_OTHER = 2, BGID = 7 };

static void set_buffer(struct io_uring_sqe *sqe, const void *buffer, uint32_t len)
{
    sqe->addr = (uint64_t)(uintptr_t)buffer;
    sqe->len = len;
}

/* One operation, nothing else in flight: its result, or why none came. */
static int result_of(struct ouro__kit_ring *kit, uint64_t user_data)
{
    struct ouro__kit_cqe cqe;
    int rc = ouro__kit_call(kit, user_data, &cqe);
    return rc < 0 ? rc : cqe.res;
}

static void detect_accept_multishot(struct ouro__kit_ring *kit, struct ouro__feature_report *report)
{
    struct ouro__kit_listener listener;
    if (ouro__kit_note(kit, ouro__kit_listen(4, &listener)) < 0)
        return;
    struct io_uring_sqe *sqe = ouro__kit_sqe(kit, IORING_OP_ACCEPT, listener.fd, UD_MAIN);
    sqe->ioprio = OURO__ACCEPT_DONTWAIT;
    ouro__feature_found(report, OURO__FEATURE_ACCEPT_DONTWAIT, result_of(kit, UD_MAIN) == -EAGAIN);

    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client < 0)
        (void)ouro__kit_note(kit, -errno);
    sqe = ouro__kit_sqe(kit, IORING_OP_ACCEPT, listener.fd, UD_MAIN);
    sqe->ioprio = IORING_ACCEPT_MULTISHOT;
    sqe->accept_flags = SOCK_CLOEXEC;
    sqe = ouro__kit_sqe(kit, IORING_OP_CONNECT, client, UD_OTHER);
    sqe->addr = (uint64_t)(uintptr_t)listener.addr;
    sqe->off = listener.addr_len;
    (void)ouro__kit_submit(kit);
    bool connected = false;
    bool more = false;
    for (int i = 0; i < 2; i++) {
        struct ouro__kit_cqe cqe;
        if (ouro__kit_wait(kit, OURO__KIT_ANSWER_NS, &cqe) < 0)
            break;
        if (cqe.user_data == UD_OTHER) {
            connected = cqe.res == 0;
        } else if (cqe.res >= 0) {
            more = (cqe.flags & IORING_CQE_F_MORE) != 0;
            (void)close(cqe.res);
        }
    }
    ouro__feature_found(report, OURO__FEATURE_ACCEPT_MULTISHOT, connected && more);
    if (!connected || !more)
        ouro__kit_drain_descriptors(kit, UD_MAIN);
    ouro__kit_cancel_all(kit);
    ouro__kit_shut(&client);
    ouro__kit_shut(&listener.fd);
}

/* Arms a buffer-selecting multishot @opcode on fds[1], sends by fds[0], looks at the first CQE. */
static bool multishot_delivers(struct ouro__kit_ring *kit, uint8_t opcode, const int fds[2],
                               uint32_t cap, struct ouro__kit_cqe *out)
{
    struct msghdr msg = {.msg_namelen = 0};
    struct io_uring_sqe *sqe = ouro__kit_sqe(kit, opcode, fds[1], UD_MAIN);
    sqe->flags = IOSQE_BUFFER_SELECT;
    sqe->buf_group = BGID;
    if (opcode != OURO__OP_READ_MULTISHOT)
        sqe->ioprio = IORING_RECV_MULTISHOT;
    else
        sqe->off = UINT64_MAX;
    sqe->len = cap;
    if (opcode == IORING_OP_RECVMSG)
        set_buffer(sqe, &msg, 1);
    (void)ouro__kit_submit(kit);
    if (write(fds[0], "ouro", 4) != 4)
        return false;
    bool works = ouro__kit_wait(kit, OURO__KIT_ANSWER_NS, out) == 0 && out->res > 0 &&
                 (out->flags & IORING_CQE_F_MORE) != 0 && (out->flags & IORING_CQE_F_BUFFER) != 0;
    ouro__kit_cancel_all(kit);
    return works;
}

static void detect_recv_multishot(struct ouro__kit_ring *kit, struct ouro__feature_report *report)
{
    int fds[2] = {-1, -1};
    struct ouro__kit_buffers buffers = {0};
    int rc = ouro__kit_buffers_open(kit, BGID, 64, OURO__KIT_BUFFERS, 0, &buffers);
    if (rc < 0 || ouro__kit_note(kit, ouro__kit_pair(SOCK_STREAM, fds)) < 0) {
        ouro__kit_buffers_close(kit, &buffers);
        return;
    }
    struct ouro__kit_cqe cqe = {0};
    bool works = multishot_delivers(kit, IORING_OP_RECV, fds, 0, &cqe);
    bool right = works && cqe.res == 4 &&
                 memcmp(buffers.data + 64 * ouro__kit_buffer_id(&cqe), "ouro", 4) == 0;
    ouro__feature_found(report, OURO__FEATURE_RECV_MULTISHOT, right);
    ouro__feature_found(report, OURO__FEATURE_PBUF_RING, right);
    if (right) {
        ouro__feature_found(report, OURO__FEATURE_RECV_CAPS,
                            multishot_delivers(kit, IORING_OP_RECV, fds, 2, &cqe) && cqe.res == 2);
        char rest[8];
        (void)recv(fds[1], rest, sizeof(rest), MSG_DONTWAIT);
        struct io_uring_sqe *sqe = ouro__kit_sqe(kit, IORING_OP_RECV, fds[1], UD_MAIN);
        sqe->flags = IOSQE_BUFFER_SELECT;
        sqe->buf_group = BGID;
        sqe->ioprio = OURO__RECVSEND_BUNDLE;
        (void)!write(fds[0], "ouro", 4);
        if ((report->claimed & OURO__FEATURE_BIT(OURO__FEATURE_BUNDLE)) != 0)
            ouro__feature_found(report, OURO__FEATURE_BUNDLE, result_of(kit, UD_MAIN) == 4);
        else
            (void)result_of(kit, UD_MAIN);
        (void)recv(fds[1], rest, sizeof(rest), MSG_DONTWAIT);
        ouro__kit_shut(&fds[0]);
        ouro__kit_shut(&fds[1]);
        if (ouro__kit_note(kit, ouro__kit_pair(SOCK_DGRAM, fds)) == 0)
            ouro__feature_found(report, OURO__FEATURE_RECVMSG_MULTISHOT,
                                multishot_delivers(kit, IORING_OP_RECVMSG, fds, 0, &cqe));
        int ends[2];
        if (ouro__feature_op_listed(report, OURO__OP_READ_MULTISHOT) &&
            ouro__kit_note(kit, pipe2(ends, O_CLOEXEC) == 0 ? 0 : -errno) == 0) {
            const int pipe_fds[2] = {ends[1], ends[0]};
            ouro__feature_found(
                report, OURO__FEATURE_READ_MULTISHOT,
                multishot_delivers(kit, OURO__OP_READ_MULTISHOT, pipe_fds, 0, &cqe));
            ouro__kit_shut(&ends[0]);
            ouro__kit_shut(&ends[1]);
        }
    }
    struct ouro__buf_status status = {.buf_group = BGID};
    ouro__feature_found(report, OURO__FEATURE_PBUF_STATUS,
                        ouro__kit_register(kit, OURO__REGISTER_PBUF_STATUS, &status, 1) == 0);
    ouro__kit_buffers_close(kit, &buffers);
    ouro__kit_shut(&fds[0]);
    ouro__kit_shut(&fds[1]);
}

static void detect_pbuf_inc(struct ouro__kit_ring *kit, struct ouro__feature_report *report)
{
    int fds[2] = {-1, -1};
    struct ouro__kit_buffers buffers = {0};
    if (ouro__kit_buffers_open(kit, BGID, 64, 1, OURO__PBUF_RING_INC, &buffers) < 0)
        return;
    struct ouro__kit_cqe cqe = {0};
    if (ouro__kit_note(kit, ouro__kit_pair(SOCK_STREAM, fds)) == 0)
        ouro__feature_found(report, OURO__FEATURE_PBUF_INC,
                            multishot_delivers(kit, IORING_OP_RECV, fds, 0, &cqe) &&
                                (cqe.flags & OURO__CQE_F_BUF_MORE) != 0);
    ouro__kit_buffers_close(kit, &buffers);
    ouro__kit_shut(&fds[0]);
    ouro__kit_shut(&fds[1]);
}

static void arm_recv(struct ouro__kit_ring *kit, int fd, uint64_t user_data, char byte[1])
{
    set_buffer(ouro__kit_sqe(kit, IORING_OP_RECV, fd, user_data), byte, 1);
    (void)ouro__kit_submit(kit);
}

/* The result of cancelling the armed receive on @fd by @flags; the receive is gone afterwards. */
static int cancel_result(struct ouro__kit_ring *kit, int fd, uint32_t flags, bool *out_ended)
{
    char byte[1];
    arm_recv(kit, fd, UD_MAIN, byte);
    const bool by_fd = (flags & IORING_ASYNC_CANCEL_FD) != 0;
    struct io_uring_sqe *sqe =
        ouro__kit_sqe(kit, IORING_OP_ASYNC_CANCEL, by_fd ? fd : -1, UD_OTHER);
    sqe->cancel_flags = flags;
    sqe->addr = UD_MAIN;
    if ((flags & OURO__CANCEL_OP) != 0)
        sqe->len = IORING_OP_RECV;
    (void)ouro__kit_submit(kit);
    struct ouro__kit_cqe cqe;
    int result = -ETIME;
    *out_ended = false;
    while (result == -ETIME || !*out_ended) {
        const bool answered = result != -ETIME;
        if (ouro__kit_wait(kit, answered ? 0 : OURO__KIT_ANSWER_NS, &cqe) < 0)
            break;
        if (cqe.user_data == UD_OTHER)
            result = cqe.res;
        else
            *out_ended = cqe.res == -ECANCELED;
    }
    ouro__kit_cancel_all(kit);
    return result;
}

static void detect_cancel_keys(struct ouro__kit_ring *kit, struct ouro__feature_report *report)
{
    int fds[2];
    if (ouro__kit_note(kit, ouro__kit_pair(SOCK_STREAM, fds)) < 0)
        return;
    bool ended = false;
    int rc = cancel_result(kit, fds[0], IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ALL, &ended);
    ouro__feature_found(report, OURO__FEATURE_CANCEL_FD, rc == 1 && ended);
    rc = cancel_result(kit, fds[0], IORING_ASYNC_CANCEL_FD | OURO__CANCEL_USERDATA, &ended);
    ouro__feature_found(report, OURO__FEATURE_CANCEL_USERDATA, rc != -EINVAL && rc != -ETIME);
    rc = cancel_result(kit, fds[0], OURO__CANCEL_OP | IORING_ASYNC_CANCEL_ALL, &ended);
    ouro__feature_found(report, OURO__FEATURE_CANCEL_OP, rc != -EINVAL && rc != -ETIME);

    struct ouro__sync_cancel_reg reg = {
        .addr = 0xdead, .fd = -1, .timeout = {.tv_sec = -1, .tv_nsec = -1}};
    ouro__feature_found(report, OURO__FEATURE_SYNC_CANCEL,
                        ouro__kit_register(kit, IORING_REGISTER_SYNC_CANCEL, &reg, 1) == -ENOENT);

    char byte[1];
    struct __kernel_timespec soon = {.tv_nsec = 1000};
    struct io_uring_sqe *sqe = ouro__kit_sqe(kit, IORING_OP_RECV, fds[0], UD_MAIN);
    set_buffer(sqe, byte, 1);
    sqe->flags = IOSQE_IO_LINK;
    set_buffer(ouro__kit_sqe(kit, IORING_OP_LINK_TIMEOUT, -1, UD_OTHER), &soon, 1);
    ouro__feature_found(report, OURO__FEATURE_LINK_TIMEOUT, result_of(kit, UD_OTHER) == -ETIME);
    ouro__kit_cancel_all(kit);

    sqe = ouro__kit_sqe(kit, IORING_OP_POLL_ADD, fds[0], UD_MAIN);
    sqe->len = IORING_POLL_ADD_MULTI;
    sqe->poll32_events = POLLOUT;
    struct ouro__kit_cqe cqe = {0};
    rc = ouro__kit_call(kit, UD_MAIN, &cqe);
    ouro__feature_found(report, OURO__FEATURE_POLL_MULTISHOT,
                        rc == 0 && cqe.res > 0 && (cqe.flags & IORING_CQE_F_MORE) != 0);
    ouro__kit_cancel_all(kit);
    ouro__kit_shut(&fds[0]);
    ouro__kit_shut(&fds[1]);
}

/* On TCP: 6.16 to 6.18.15 refuse the commands on AF_UNIX and know them all the same. */
static void detect_socket_cmd(struct ouro__kit_ring *kit, struct ouro__feature_report *report)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        (void)ouro__kit_note(kit, -errno);
        return;
    }
    const int on = 1;
    struct io_uring_sqe *sqe = ouro__kit_sqe(kit, IORING_OP_URING_CMD, fd, UD_MAIN);
    sqe->cmd_op = OURO__SOCKET_CMD_SETSOCKOPT;
    ouro__sqe_set_sockopt(sqe, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    ouro__feature_found(report, OURO__FEATURE_SOCKET_CMD, result_of(kit, UD_MAIN) == 0);
    ouro__kit_shut(&fd);
}

static void detect_socket_calls(struct ouro__kit_ring *kit, struct ouro__feature_report *report)
{
    struct io_uring_sqe *sqe = ouro__kit_sqe(kit, IORING_OP_SOCKET, AF_UNIX, UD_MAIN);
    sqe->off = SOCK_STREAM | SOCK_CLOEXEC;
    int fd = result_of(kit, UD_MAIN);
    ouro__feature_found(report, OURO__FEATURE_SOCKET, fd >= 0);
    if (fd < 0) {
        ouro__kit_drain_descriptors(kit, UD_MAIN);
        if (kit->obstacle != 0)
            return; /* its SQE may still be there, and would answer for the next */
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    }
    if (fd < 0)
        return;
    if (ouro__feature_op_listed(report, OURO__OP_LISTEN)) {
        const sa_family_t family = AF_UNIX;
        sqe = ouro__kit_sqe(kit, OURO__OP_BIND, fd, UD_MAIN);
        sqe->addr = (uint64_t)(uintptr_t)&family;
        sqe->off = sizeof(family);
        const int bound = result_of(kit, UD_MAIN);
        set_buffer(ouro__kit_sqe(kit, OURO__OP_LISTEN, fd, UD_MAIN), NULL, 1);
        ouro__feature_found(report, OURO__FEATURE_BIND_LISTEN,
                            result_of(kit, UD_MAIN) == 0 && bound == 0);
    }
    ouro__kit_shut(&fd);

    struct io_uring_rsrc_register sparse = {.nr = 2, .flags = IORING_RSRC_REGISTER_SPARSE};
    if (ouro__kit_register(kit, IORING_REGISTER_FILES2, &sparse, sizeof(sparse)) < 0)
        return;
    sqe = ouro__kit_sqe(kit, IORING_OP_SOCKET, AF_UNIX, UD_MAIN);
    sqe->off = SOCK_STREAM;
    sqe->file_index = IORING_FILE_INDEX_ALLOC;
    const int slot = result_of(kit, UD_MAIN);
    ouro__feature_found(report, OURO__FEATURE_DIRECT_FD, slot >= 0 && slot < 2);
    (void)ouro__kit_register(kit, IORING_UNREGISTER_FILES, NULL, 0);
}

static void detect_send_vectorized(struct ouro__kit_ring *kit, struct ouro__feature_report *report)
{
    int fds[2];
    if (ouro__kit_note(kit, ouro__kit_pair(SOCK_STREAM, fds)) < 0)
        return;
    char text[] = "ouro";
    struct iovec iov[2] = {{.iov_base = text, .iov_len = 2}, {.iov_base = text + 2, .iov_len = 2}};
    char in[64] = {0};
    struct io_uring_sqe *sqe = ouro__kit_sqe(kit, IORING_OP_SEND, fds[0], UD_MAIN);
    set_buffer(sqe, iov, 2);
    sqe->ioprio = OURO__SEND_VECTORIZED;
    bool sent = result_of(kit, UD_MAIN) == 4;
    ssize_t got = recv(fds[1], in, sizeof(in), MSG_DONTWAIT);
    if (sent && got < 0)
        (void)ouro__kit_note(kit, -errno);
    ouro__feature_found(report, OURO__FEATURE_SEND_VECTORIZED,
                        sent && got == 4 && memcmp(in, "ouro", 4) == 0);
    ouro__kit_shut(&fds[0]);
    ouro__kit_shut(&fds[1]);
}

/* A listener on 127.0.0.1 and a client whose connect has begun.  0 or -errno. */
static int tcp_connect(int listener, int client)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    if (listener < 0 || client < 0 ||
        bind(listener, (const struct sockaddr *)&addr, sizeof(addr)) < 0 ||
        listen(listener, 1) < 0 || getsockname(listener, (struct sockaddr *)&addr, &len) < 0)
        return -errno;
    if (connect(client, (const struct sockaddr *)&addr, sizeof(addr)) < 0 && errno != EINPROGRESS)
        return -errno;
    return 0;
}

/* A TCP pair over 127.0.0.1, or -errno where there is no loopback. */
static int tcp_pair(struct ouro__kit_ring *kit, int out_fds[2])
{
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int client = listener < 0 ? -1 : socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int server = -1;
    int rc = tcp_connect(listener, client);
    if (rc == 0) {
        struct pollfd waiting = {.fd = listener, .events = POLLIN};
        rc = -ETIMEDOUT;
        if (poll(&waiting, 1, (int)(OURO__KIT_ANSWER_NS / OURO__KIT_NS_PER_MS)) == 1) {
            server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
            rc = server < 0 ? -errno : 0;
        }
    }
    (void)ouro__kit_note(kit, rc);
    ouro__kit_shut(&listener);
    if (server < 0) {
        ouro__kit_shut(&client);
        return rc;
    }
    out_fds[0] = client;
    out_fds[1] = server;
    return 0;
}

/* It completes twice: the result, with F_MORE, then the notification. */
static bool zero_copy_send(struct ouro__kit_ring *kit, int fd, uint16_t ioprio)
{
    struct io_uring_sqe *sqe = ouro__kit_sqe(kit, IORING_OP_SEND_ZC, fd, UD_MAIN);
    set_buffer(sqe, "ouro", 4);
    sqe->ioprio = ioprio;
    struct ouro__kit_cqe cqe = {0};
    if (ouro__kit_call(kit, UD_MAIN, &cqe) < 0 || cqe.res != 4 ||
        (cqe.flags & IORING_CQE_F_MORE) == 0)
        return false;
    return ouro__kit_wait(kit, OURO__KIT_ANSWER_NS, &cqe) == 0 && cqe.user_data == UD_MAIN &&
           (cqe.flags & IORING_CQE_F_NOTIF) != 0;
}

static void detect_zero_copy(struct ouro__kit_ring *kit, struct ouro__feature_report *report)
{
    int fds[2];
    if (!ouro__feature_op_listed(report, IORING_OP_SEND_ZC) || tcp_pair(kit, fds) < 0)
        return;
    ouro__feature_found(report, OURO__FEATURE_SEND_ZC, zero_copy_send(kit, fds[0], 0));
    ouro__feature_found(report, OURO__FEATURE_ZC_REPORT_USAGE,
                        zero_copy_send(kit, fds[0], OURO__SEND_ZC_REPORT_USAGE));
    ouro__kit_shut(&fds[0]);
    ouro__kit_shut(&fds[1]);
}

#define BIT(feature) OURO__FEATURE_BIT(OURO__FEATURE_##feature)

const struct ouro__feature_step ouro__feature_socket_steps[] = {
    {detect_accept_multishot, BIT(ACCEPT_MULTISHOT) | BIT(ACCEPT_DONTWAIT)},
    {detect_recv_multishot, BIT(RECV_MULTISHOT) | BIT(PBUF_RING) | BIT(RECV_CAPS) | BIT(BUNDLE) |
                                BIT(RECVMSG_MULTISHOT) | BIT(READ_MULTISHOT) | BIT(PBUF_STATUS)},
    {detect_pbuf_inc, BIT(PBUF_INC)},
    {detect_cancel_keys, BIT(CANCEL_FD) | BIT(CANCEL_USERDATA) | BIT(CANCEL_OP) | BIT(SYNC_CANCEL) |
                             BIT(LINK_TIMEOUT) | BIT(POLL_MULTISHOT)},
    {detect_socket_calls, BIT(SOCKET) | BIT(BIND_LISTEN) | BIT(DIRECT_FD)},
    {detect_socket_cmd, BIT(SOCKET_CMD)},
    {detect_send_vectorized, BIT(SEND_VECTORIZED)},
    {detect_zero_copy, BIT(SEND_ZC) | BIT(ZC_REPORT_USAGE)},
    {NULL, 0},
};
