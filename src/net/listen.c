/* SPDX-License-Identifier: MIT */
/*
 * Listen: makes the sockets of TCP listeners.
 *
 * Options that the accepted sockets shall have are set on the listening socket before listen(2):
 * the kernel copies them to each connection, so an accept needs no further system call.  The
 * buffers also decide the window scale, which is agreed upon when a connection is made.
 *
 * SO_REUSEPORT lets several sockets listen on one address, of which the kernel gives each a part of
 * the connections.  It also lets a second instance of the program in, and then each instance
 * misses the connections that the other gets.  bind(2) and listen(2) refuse an address when one of
 * the two sockets has no SO_REUSEPORT at that time.  So an exclusive socket gets the option after
 * listen(2): the address must have been free, and later sockets can share it.
 *
 * Owns:    nothing; a function that fails has closed what it opened.
 * Threads: any.
 * Always:  all sockets of one call listen, or none exists.
 * Tests:   tests/net/test_tcp_listener.c, tests/net/test_listen_options.c
 */
#include "net/listen.h"

#include "base/kernel.h"
#include "net/socket.h"

#include <ouro/tcp.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/socket.h>

enum { BACKLOG_DEFAULT = 1024 };

int ouro__listen_check_options(const struct ouro_tcp_listen_options *options)
{
    const uint32_t known = OURO_LISTEN_F_REUSEPORT | OURO_LISTEN_F_NODELAY | OURO_LISTEN_F_V6ONLY |
                           OURO_LISTEN_F_EXCLUSIVE | OURO_LISTEN_F_KEEPALIVE |
                           OURO_LISTEN_F_REPORT_SHORTAGE;
    if (options == NULL || (options->flags & ~known) != 0)
        return -EINVAL;
    bool has_negative = options->backlog < 0 || options->fastopen_queue < 0 ||
                        options->send_buffer_bytes < 0 || options->receive_buffer_bytes < 0 ||
                        options->keepalive_idle_s < 0 || options->keepalive_interval_s < 0 ||
                        options->keepalive_count < 0;
    return has_negative ? -EINVAL : 0;
}

struct option {
    bool is_wanted;
    int level;
    int name;
    int value;
};

/* What the accepted sockets get from the listening one, and what must stand before bind(2). */
static int set_options(int fd, int family, uint32_t flags,
                       const struct ouro_tcp_listen_options *options)
{
    const bool keeps_alive = (flags & OURO_LISTEN_F_KEEPALIVE) != 0;
    const struct option all[] = {
        {true, SOL_SOCKET, SO_REUSEADDR, 1},
        {(flags & OURO_LISTEN_F_NODELAY) != 0, IPPROTO_TCP, TCP_NODELAY, 1},
        {family == AF_INET6 && (flags & OURO_LISTEN_F_V6ONLY) != 0, IPPROTO_IPV6, IPV6_V6ONLY, 1},
        {options->send_buffer_bytes > 0, SOL_SOCKET, SO_SNDBUF, options->send_buffer_bytes},
        {options->receive_buffer_bytes > 0, SOL_SOCKET, SO_RCVBUF, options->receive_buffer_bytes},
        {keeps_alive, SOL_SOCKET, SO_KEEPALIVE, 1},
        {options->keepalive_idle_s > 0, IPPROTO_TCP, TCP_KEEPIDLE, options->keepalive_idle_s},
        {options->keepalive_interval_s > 0, IPPROTO_TCP, TCP_KEEPINTVL,
         options->keepalive_interval_s},
        {options->keepalive_count > 0, IPPROTO_TCP, TCP_KEEPCNT, options->keepalive_count},
        {options->fastopen_queue > 0, IPPROTO_TCP, TCP_FASTOPEN, options->fastopen_queue},
    };
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < OURO__ARRAY_LEN(all); i++) {
        if (all[i].is_wanted)
            rc = ouro__socket_set(fd, all[i].level, all[i].name, all[i].value);
    }
    return rc;
}

static int make_listening(int fd, const struct ouro_socket_addr *addr, uint32_t flags,
                          const struct ouro_tcp_listen_options *options)
{
    bool shares = (flags & OURO_LISTEN_F_REUSEPORT) != 0;
    bool is_exclusive = (flags & OURO_LISTEN_F_EXCLUSIVE) != 0;
    int rc = set_options(fd, ouro_socket_addr_family(addr), flags, options);
    if (rc == 0 && shares && !is_exclusive)
        rc = ouro__socket_set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (rc == 0)
        rc = ouro__kernel_bind(fd, ouro_socket_addr_sockaddr(addr), addr->length);
    if (rc == 0)
        rc = ouro__kernel_listen(fd, options->backlog == 0 ? BACKLOG_DEFAULT : options->backlog);
    if (rc == 0 && shares && is_exclusive)
        rc = ouro__socket_set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    return rc;
}

static int open_one(const struct ouro_socket_addr *addr, uint32_t flags,
                    const struct ouro_tcp_listen_options *options, int *out_fd)
{
    int family = ouro_socket_addr_family(addr);
    int fd = -1;
    if (family != AF_INET && family != AF_INET6)
        return -EAFNOSUPPORT;
    int rc = ouro__socket_open(family, &fd);
    if (rc < 0)
        return rc;
    rc = make_listening(fd, addr, flags, options);
    if (rc < 0) {
        ouro__kernel_close(fd);
        return rc;
    }
    *out_fd = fd;
    return 0;
}

static int open_all(const struct ouro_socket_addr *addr,
                    const struct ouro_tcp_listen_options *options, size_t count, int out_fds[])
{
    struct ouro_socket_addr shared = *addr;
    uint32_t flags = options->flags;
    if (count > 1 && (flags & OURO_LISTEN_F_REUSEPORT) == 0)
        flags |= OURO_LISTEN_F_REUSEPORT | OURO_LISTEN_F_EXCLUSIVE;
    size_t opened = 0;
    int rc = 0;
    while (rc == 0 && opened < count) {
        rc = open_one(&shared, flags, options, &out_fds[opened]);
        if (rc < 0)
            break;
        opened++;
        if (opened == 1 && count > 1)
            rc = ouro__socket_local_addr(out_fds[0], &shared);
        flags &= ~OURO_LISTEN_F_EXCLUSIVE;
    }
    while (rc < 0 && opened > 0)
        ouro__kernel_close(out_fds[--opened]);
    return rc;
}

int ouro__listen(struct ouro__addr_vec *addrs, const struct ouro_tcp_listen_options *options,
                 size_t count, int out_fds[])
{
    const struct ouro_socket_addr *items = ouro__addr_vec_items(addrs);
    int rc = -EINVAL;
    for (size_t i = 0; i < addrs->count; i++) {
        rc = open_all(&items[i], options, count, out_fds);
        if (rc == 0)
            break;
    }
    return rc;
}
