/* SPDX-License-Identifier: MIT */
/*
 * Socket: the system calls around a connect, and those that its users share.
 *
 * Owns:    nothing; a function that fails has closed what it opened.
 * Threads: any.
 * Always:  every socket is close-on-exec and non-blocking from its creation.
 * Tests:   tests/net/test_connect_options.c, tests/net/test_tcp_connect.c
 */
#include "net/socket.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/kernel.h"
#include "base/port_range.h"

#include <ouro/tcp.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

int ouro__socket_open(int family, int *out_fd)
{
    int rc = ouro__fault(OURO__FAULT_SOCKET);
    if (OURO__UNLIKELY(rc < 0))
        return rc;
    int fd = ouro__kernel_socket(family, SOCK_STREAM, 0);
    if (fd < 0)
        return fd;
    *out_fd = fd;
    return 0;
}

int ouro__socket_set(int fd, int level, int name, int value)
{
    return ouro__kernel_set_option(fd, level, name, &value, sizeof(value));
}

static int bind_to(int fd, const struct ouro_socket_addr *addr)
{
    return ouro__kernel_bind(fd, ouro_socket_addr_sockaddr(addr), addr->length);
}

static bool is_internet(int family)
{
    return family == AF_INET || family == AF_INET6;
}

static int set_connect_options(int fd, const struct ouro_tcp_connect_options *options)
{
    int rc = 0;
    if ((options->flags & OURO_CONNECT_F_NODELAY) != 0)
        rc = ouro__socket_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (rc == 0 && (options->flags & OURO_CONNECT_F_KEEPALIVE) != 0)
        rc = ouro__socket_set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    if (rc == 0 && (options->flags & OURO_CONNECT_F_RESET) != 0) {
        struct linger reset = {.l_onoff = 1, .l_linger = 0};
        rc = ouro__kernel_set_option(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    }
    /* Before the connect: the window scale is agreed upon in the SYN. */
    if (rc == 0 && options->send_buffer_bytes > 0)
        rc = ouro__socket_set(fd, SOL_SOCKET, SO_SNDBUF, options->send_buffer_bytes);
    if (rc == 0 && options->receive_buffer_bytes > 0)
        rc = ouro__socket_set(fd, SOL_SOCKET, SO_RCVBUF, options->receive_buffer_bytes);
    return rc;
}

static int bind_for_connect(int fd, int family, const struct ouro_socket_addr *local)
{
    if (ouro_socket_addr_family(local) != family)
        return -EAFNOSUPPORT;
    if (ouro_socket_addr_port(local) == 0) {
        /* The kernel then chooses the port at the connect, when it knows the peer, and one port can
         * serve many peers.  Chosen by bind, each port would serve one connection (ip(7)).  A
         * kernel without the option chooses at bind. */
        (void)ouro__socket_set(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    }
    return bind_to(fd, local);
}

int ouro__socket_open_for_connect(const struct ouro_socket_addr *addr,
                                  const struct ouro_tcp_connect_options *options, int *out_fd)
{
    int family = ouro_socket_addr_family(addr);
    int fd = -1;
    if (!is_internet(family))
        return -EAFNOSUPPORT;
    int rc = ouro__socket_open(family, &fd);
    if (rc < 0)
        return rc;
    if (options != NULL) {
        rc = set_connect_options(fd, options);
        if (rc == 0 && options->bind != NULL)
            rc = bind_for_connect(fd, family, options->bind);
    }
    if (rc < 0) {
        ouro__kernel_close(fd);
        return rc;
    }
    *out_fd = fd;
    return 0;
}

/* The port of an internet address, as the kernel writes it; in network byte order. */
static in_port_t port_of(const void *name)
{
    struct sockaddr_in in; /* sin6_port stands at the same place */
    memcpy(&in, name, sizeof(in));
    return in.sin_port;
}

_Static_assert(offsetof(struct sockaddr_in, sin_port) == offsetof(struct sockaddr_in6, sin6_port),
               "one place for the port");

bool ouro__socket_is_connected_to_itself(int fd, const struct ouro_socket_addr *target,
                                         struct ouro__port_range *ports)
{
    /* Reading the own name costs 0.2 to 0.5 us, so it is not done for a port that the kernel does
     * not choose.  The target's address cannot be compared: with "0.0.0.0", a mapped address or a
     * scope the peer's name differs from it, and any address may be this machine's. */
    in_port_t port = port_of(target->storage);
    if (ports != NULL &&
        OURO__LIKELY(!ouro__port_range_may_have(ports, ntohs(port), ouro__clock_recent_ns())))
        return false;
    struct sockaddr_storage name;
    socklen_t length = sizeof(name);
    if (ouro__kernel_local_name(fd, (struct sockaddr *)&name, &length) < 0 ||
        OURO__LIKELY(port_of(&name) != port))
        return false;
    struct ouro_socket_addr local;
    struct ouro_socket_addr peer;
    return ouro__socket_local_addr(fd, &local) == 0 && ouro__socket_peer_addr(fd, &peer) == 0 &&
           ouro_socket_addr_equal(&local, &peer) != 0;
}

int ouro__socket_local_addr(int fd, struct ouro_socket_addr *out_addr)
{
    struct sockaddr_storage name;
    socklen_t length = sizeof(name);
    int rc = ouro__kernel_local_name(fd, (struct sockaddr *)&name, &length);
    return rc < 0
               ? rc
               : ouro_socket_addr_from_sockaddr((const struct sockaddr *)&name, length, out_addr);
}

int ouro__socket_peer_addr(int fd, struct ouro_socket_addr *out_addr)
{
    struct sockaddr_storage name;
    socklen_t length = sizeof(name);
    int rc = ouro__kernel_peer_name(fd, (struct sockaddr *)&name, &length);
    return rc < 0
               ? rc
               : ouro_socket_addr_from_sockaddr((const struct sockaddr *)&name, length, out_addr);
}
