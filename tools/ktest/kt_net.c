/* SPDX-License-Identifier: MIT */
/*
 * Sockets for assertions: loopback, port 0, close-on-exec, and one fixture of note.
 *
 * The pending connect: a listener with a backlog of 0 whose queue is full drops further SYNs, so a
 * connect to it stays in SYN_SENT and retries.  That gives an operation which is certainly in
 * flight, without a packet leaving the machine and without root.
 *
 * Owns:    nothing that outlives the process.
 * Threads: the assertion's first.
 * Always:  what cannot be set up is an error verdict, never a failure of the kernel's.
 */
#define _GNU_SOURCE
#include "runner.h"

#include <netinet/tcp.h>
#include <stdlib.h>

enum { PENDING_FILLERS = 4, PENDING_PROBES = 20 };

int kt_tcp_socket(struct kt *t, int type_flags)
{
    return (int)KT_SYS(t, socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | type_flags, 0));
}

static void loopback_name(struct kt *t, int fd, struct sockaddr_in *out_addr)
{
    *out_addr =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(*out_addr);
    KT_SYS(t, bind(fd, (const struct sockaddr *)out_addr, len));
    KT_SYS(t, getsockname(fd, (struct sockaddr *)out_addr, &len));
}

int kt_tcp_listen(struct kt *t, int backlog, struct sockaddr_in *out_addr)
{
    const int fd = kt_tcp_socket(t, 0);
    loopback_name(t, fd, out_addr);
    KT_SYS(t, listen(fd, backlog));
    return fd;
}

void kt_tcp_pair(struct kt *t, int out[2])
{
    struct sockaddr_in addr;
    const int on = 1;
    const int listener = kt_tcp_listen(t, 1, &addr);
    out[0] = kt_tcp_socket(t, 0);
    KT_SYS(t, connect(out[0], (const struct sockaddr *)&addr, sizeof(addr)));
    out[1] = (int)KT_SYS(t, accept4(listener, NULL, NULL, SOCK_CLOEXEC));
    for (int i = 0; i < 2; i++)
        KT_SYS(t, setsockopt(out[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)));
    (void)close(listener);
}

struct sockaddr_in kt_tcp_closed_port(struct kt *t)
{
    struct sockaddr_in addr;
    /* Never closed: what is bound but does not listen refuses, and nobody else can take the port.
     */
    loopback_name(t, kt_tcp_socket(t, 0), &addr);
    return addr;
}

void kt_tcp_pending(struct kt *t, struct sockaddr_in *out_addr)
{
    (void)kt_tcp_listen(t, 0, out_addr);
    for (int i = 0; i < PENDING_FILLERS; i++) {
        const int fd = kt_tcp_socket(t, SOCK_NONBLOCK);
        const int rc = connect(fd, (const struct sockaddr *)out_addr, sizeof(*out_addr));
        KT_REQUIRE(t, rc == 0 || errno == EINPROGRESS, "filling the backlog: %d", errno);
    }
    /*
     * Handshakes run in softirq, late on a busy machine: one that got through took a place in the
     * queue, one that is still going after a while proves that it is full.
     */
    bool pending = false;
    for (int i = 0; i < PENDING_PROBES && !pending; i++) {
        const int64_t start_ns = kt_now_ns();
        const int probe = kt_tcp_socket(t, SOCK_NONBLOCK);
        (void)connect(probe, (const struct sockaddr *)out_addr, sizeof(*out_addr));
        do {
            pending = kt_tcp_state(t, probe) == TCP_SYN_SENT;
        } while (pending && kt_ms_since(start_ns) < 5);
    }
    KT_REQUIRE(t, pending, "the backlog of 0 does not fill");
}

int kt_tcp_state(struct kt *t, int fd)
{
    struct tcp_info info;
    memset(&info, 0, sizeof(info));
    socklen_t len = sizeof(info);
    KT_SYS(t, getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len));
    return info.tcpi_state;
}

int kt_socket_error(struct kt *t, int fd)
{
    int error = 0;
    socklen_t len = sizeof(error);
    KT_SYS(t, getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len));
    return error;
}

void kt_unix_pair(struct kt *t, int type, int out[2])
{
    KT_SYS(t, socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, out));
}

int kt_unix_listen(struct kt *t, int backlog, struct sockaddr_un *out_addr, socklen_t *out_len)
{
    const int fd = (int)KT_SYS(t, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    *out_addr = (struct sockaddr_un){.sun_family = AF_UNIX};
    /* The family alone: Linux chooses a free abstract name. */
    KT_SYS(t, bind(fd, (const struct sockaddr *)out_addr, sizeof(out_addr->sun_family)));
    *out_len = sizeof(*out_addr);
    KT_SYS(t, getsockname(fd, (struct sockaddr *)out_addr, out_len));
    KT_SYS(t, listen(fd, backlog));
    return fd;
}

void kt_udp_pair(struct kt *t, int out[2])
{
    struct sockaddr_in addr[2];
    for (int i = 0; i < 2; i++) {
        out[i] = (int)KT_SYS(t, socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        loopback_name(t, out[i], &addr[i]);
    }
    for (int i = 0; i < 2; i++)
        KT_SYS(t, connect(out[i], (const struct sockaddr *)&addr[1 - i], sizeof(addr[0])));
}

void kt_reset(struct kt *t, int fd)
{
    const struct linger now = {.l_onoff = 1, .l_linger = 0};
    KT_SYS(t, setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)));
    KT_SYS(t, close(fd));
}

void kt_write(struct kt *t, int fd, const void *data, size_t len)
{
    const uint8_t *at = data;
    while (len > 0) {
        const long sent = KT_SYS(t, send(fd, at, len, MSG_NOSIGNAL));
        at += sent;
        len -= (size_t)sent;
    }
}

size_t kt_read(struct kt *t, int fd, void *data, size_t len)
{
    size_t got = 0;
    const int64_t start_ns = kt_now_ns();
    while (got < len && kt_ms_since(start_ns) < kt_slack_ms(t, 1000)) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (poll(&ready, 1, 100) != 1)
            continue;
        const ssize_t more = recv(fd, (uint8_t *)data + got, len - got, MSG_DONTWAIT);
        if (more <= 0 && !(more < 0 && errno == EAGAIN))
            break;
        if (more > 0)
            got += (size_t)more;
    }
    return got;
}
