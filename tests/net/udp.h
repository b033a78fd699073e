/* SPDX-License-Identifier: MIT */
/*
 * UDP sockets of ouro's on loopback, and waiting until a call of another task has begun to wait.
 */
#ifndef OURO_TEST_UDP_H
#define OURO_TEST_UDP_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ouro/metrics.h"
#include "ouro/time.h"
#include "ouro/udp.h"
#include "support/ouro_test.h"
#include "support/sockets.h"

static inline struct ouro_udp_socket *udp_with(uint32_t flags, const char *text,
                                               struct ouro_socket_addr *out_addr)
{
    struct ouro_udp_options options = OURO_UDP_OPTIONS_INIT;
    struct ouro_udp_socket *socket = NULL;
    options.flags = flags;
    int rc = ouro_udp_socket_bind(OURO_ADDRS(text), &options, &socket);
    ck_assert_msg(rc == 0, "ouro_udp_socket_bind: %d", rc);
    ck_assert_int_eq(ouro_udp_socket_local_addr(socket, out_addr), 0);
    ck_assert_uint_ne(ouro_socket_addr_port(out_addr), 0);
    return socket;
}

static inline struct ouro_udp_socket *udp(struct ouro_socket_addr *out_addr)
{
    return udp_with(0, "127.0.0.1:0", out_addr);
}

/* A loopback address on which nothing receives while *out_fd is open: it is connected elsewhere. */
static inline struct ouro_socket_addr udp_refusing(int family, int *out_fd)
{
    char text[OURO_TEST_ADDRESS_SIZE];
    struct ouro_socket_addr addr;
    int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ouro_socket_addr_parse(ouro_test_address(family, 9, text), &addr), 0);
    ck_assert_int_eq(connect(fd, ouro_socket_addr_sockaddr(&addr), (socklen_t)addr.length), 0);
    ck_assert_int_eq(ouro_socket_addr_set_port(&addr, ouro_test_local_port(fd)), 0);
    *out_fd = fd;
    return addr;
}

/* Waits until @count operations are in flight in the calling task's runtime.  Not in a plain
 * thread: its driver runs beside it, which sleeping waits for as well. */
static inline void await_inflight(uint64_t count)
{
    struct ouro_handle *handle = ouro_handle_current();
    struct ouro_io_driver_metrics metrics;
    do {
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
        ck_assert_int_eq(ouro_handle_metrics(handle, &metrics), 0);
    } while (metrics.submitted - metrics.completed < count);
    ouro_handle_unref(handle);
}

#endif
