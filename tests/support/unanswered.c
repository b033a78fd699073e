/* SPDX-License-Identifier: MIT */
/*
 * Two ways to make loopback silent: a full accept queue, and a socket filter that keeps nothing.
 *
 * Owns:    the descriptors in the struct, until its close.
 * Threads: any.
 * Always:  four fillers: with listen(fd, 0) the first two are accepted by the kernel, the others
 *          are under way, and all later SYNs are dropped.
 */
#include "support/unanswered.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/ouro_test.h"
#include "support/sockets.h"

static int filler(int family, uint16_t port)
{
    struct sockaddr_in v4 = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 v6 = {
        .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_msg(fd >= 0, "socket: %m");
    int rc = family == AF_INET6 ? connect(fd, (const struct sockaddr *)&v6, sizeof(v6))
                                : connect(fd, (const struct sockaddr *)&v4, sizeof(v4));
    ck_assert_msg(rc == 0 || errno == EINPROGRESS, "connect: %m");
    return fd;
}

void ouro_test_full_backlog_open(struct ouro_test_full_backlog *out, int family)
{
    out->listener = ouro_test_listen(family, 0, &out->port);
    for (int i = 0; i < OURO_TEST_FILLERS; i++)
        out->fillers[i] = filler(family, out->port);
}

void ouro_test_full_backlog_relieve(struct ouro_test_full_backlog *full)
{
    /* The pending fillers first, so that their retries do not take the room again. */
    for (int i = 0; i < OURO_TEST_FILLERS; i++) {
        (void)close(full->fillers[i]);
        full->fillers[i] = -1;
    }
    ck_assert_int_eq(listen(full->listener, 64), 0);
    ck_assert_int_eq(fcntl(full->listener, F_SETFL, O_NONBLOCK), 0);
    int fd = -1;
    while ((fd = accept4(full->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
        (void)close(fd);
    ck_assert_int_eq(fcntl(full->listener, F_SETFL, 0), 0);
}

void ouro_test_full_backlog_close(struct ouro_test_full_backlog *full)
{
    for (int i = 0; i < OURO_TEST_FILLERS; i++) {
        if (full->fillers[i] >= 0)
            (void)close(full->fillers[i]);
    }
    (void)close(full->listener);
}

int ouro_test_black_hole(int family, uint16_t port, uint16_t *out_port)
{
    struct sock_filter keep_nothing[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
    struct sock_fprog program = {.len = 1, .filter = keep_nothing};
    int fd = ouro_test_listen_at(family, 8, port);
    ck_assert_msg(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0,
                  "SO_ATTACH_FILTER: %m");
    *out_port = ouro_test_local_port(fd);
    return fd;
}
