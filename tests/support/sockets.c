/* SPDX-License-Identifier: MIT */
/*
 * Raw loopback sockets for the other side of a test.
 *
 * Owns:    nothing; descriptors are the caller's.
 * Threads: any.
 * Always:  CLOEXEC, blocking, and a deadline on everything that waits.
 */
#include "support/sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/ouro_test.h"

#define PEER_TIMEOUT_NS (10 * OURO_TEST_SECOND)

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static socklen_t loopback(int family, uint16_t port, union address *out)
{
    memset(out, 0, sizeof(*out));
    if (family == AF_INET6) {
        out->v6.sin6_family = AF_INET6;
        out->v6.sin6_addr = in6addr_loopback;
        out->v6.sin6_port = htons(port);
        return sizeof(out->v6);
    }
    out->v4.sin_family = AF_INET;
    out->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    out->v4.sin_port = htons(port);
    return sizeof(out->v4);
}

static uint16_t port_of(const union address *address)
{
    return ntohs(address->any.sa_family == AF_INET6 ? address->v6.sin6_port : address->v4.sin_port);
}

uint16_t ouro_test_local_port(int fd)
{
    union address address;
    socklen_t length = sizeof(address);
    ck_assert_msg(getsockname(fd, &address.any, &length) == 0, "%m");
    return port_of(&address);
}

uint16_t ouro_test_peer_port(int fd)
{
    union address address;
    socklen_t length = sizeof(address);
    ck_assert_msg(getpeername(fd, &address.any, &length) == 0, "%m");
    return port_of(&address);
}

static int bound_socket(int family, uint16_t port)
{
    union address address;
    socklen_t length = loopback(family, port, &address);
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_msg(fd >= 0, "socket: %m");
    if (port != 0)
        ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)), 0);
    ck_assert_msg(bind(fd, &address.any, length) == 0, "bind: %m");
    return fd;
}

int ouro_test_listen_at(int family, int backlog, uint16_t port)
{
    int fd = bound_socket(family, port);
    ck_assert_msg(listen(fd, backlog) == 0, "listen: %m");
    return fd;
}

int ouro_test_listen(int family, int backlog, uint16_t *out_port)
{
    int fd = ouro_test_listen_at(family, backlog, 0);
    *out_port = ouro_test_local_port(fd);
    return fd;
}

int ouro_test_refusing(int family, uint16_t *out_port)
{
    int fd = bound_socket(family, 0);
    *out_port = ouro_test_local_port(fd);
    return fd;
}

int ouro_test_accept(int listener)
{
    ck_assert_msg(ouro_test_poll(listener, POLLIN, PEER_TIMEOUT_NS) != 0, "nobody connected");
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    ck_assert_msg(fd >= 0, "accept: %m");
    return fd;
}

int ouro_test_connect(int family, uint16_t port)
{
    union address address;
    socklen_t length = loopback(family, port, &address);
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_msg(fd >= 0, "socket: %m");
    ck_assert_msg(connect(fd, &address.any, length) == 0, "connect: %m");
    return fd;
}

void ouro_test_reset(int fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
    ck_assert_int_eq(close(fd), 0);
}

void ouro_test_read_exactly(int fd, void *buffer, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ck_assert_msg(ouro_test_poll(fd, POLLIN, PEER_TIMEOUT_NS) != 0, "%zu of %zu came", done,
                      size);
        ssize_t n = recv(fd, (char *)buffer + done, size - done, 0);
        ck_assert_msg(n > 0, "recv: %zd after %zu of %zu: %m", n, done, size);
        done += (size_t)n;
    }
}

void ouro_test_write_exactly(int fd, const void *bytes, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ck_assert_msg(ouro_test_poll(fd, POLLOUT, PEER_TIMEOUT_NS) != 0, "%zu of %zu went", done,
                      size);
        ssize_t n = send(fd, (const char *)bytes + done, size - done, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            continue;
        ck_assert_msg(n > 0, "send: %zd after %zu of %zu: %m", n, done, size);
        done += (size_t)n;
    }
}

char *ouro_test_address(int family, uint16_t port, char text[OURO_TEST_ADDRESS_SIZE])
{
    (void)snprintf(text, OURO_TEST_ADDRESS_SIZE, "%s:%u",
                   family == AF_INET6 ? "[::1]" : "127.0.0.1", (unsigned)port);
    return text;
}

void ouro_test_need_family(int family)
{
    union address address;
    socklen_t length = loopback(family, 0, &address);
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool works = fd >= 0 && bind(fd, &address.any, length) == 0;
    int error = errno;
    if (fd >= 0)
        (void)close(fd);
    if (!works)
        ouro_test_skip("no loopback for address family %d: %s", family, strerror(error));
}

void ouro_test_need_localhost(void)
{
    const struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (getaddrinfo("localhost", NULL, &hints, &found) != 0)
        ouro_test_skip("this system resolves no \"localhost\" (/etc/hosts?)");
    freeaddrinfo(found);
}
