/* SPDX-License-Identifier: MIT */
/*
 * A fan-out on bare epoll: what comes on one connection is sent to all others.
 *
 *     bench_fan_epoll PORT
 *
 * One recv for the message and one send for each of the others.  A connection whose buffer is full
 * is ended, for the load never lets it fill.
 *
 * Owns:    the connections.
 * Threads: one.
 */
#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 512, BUFFER_BYTES = 16384, CONNECTIONS_MAX = 20000 };

static int epoll_fd;
static int connections[CONNECTIONS_MAX];
static size_t connection_count;

static void watch(int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        bench_die("epoll_ctl", errno);
}

static void accept_all(int listener)
{
    int fd = -1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (connection_count == CONNECTIONS_MAX) {
            (void)close(fd);
            continue;
        }
        connections[connection_count++] = fd;
        watch(fd);
    }
}

static void end(int fd)
{
    for (size_t i = 0; i < connection_count; i++)
        if (connections[i] == fd)
            connections[i] = connections[--connection_count];
    (void)close(fd);
}

static void fan_out(int from)
{
    static char buffer[BUFFER_BYTES];
    ssize_t got = recv(from, buffer, sizeof(buffer), 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        end(from);
        return;
    }
    for (size_t i = 0; i < connection_count; i++)
        if (connections[i] != from &&
            send(connections[i], buffer, (size_t)got, MSG_NOSIGNAL) != got)
            (void)shutdown(connections[i], SHUT_RDWR); /* its event ends it */
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fprintf(stderr, "usage: bench_fan_epoll PORT\n");
        return 2;
    }
    bench_begin(0);
    int listener = bench_listen(bench_number("PORT", argv[1], 1, 65535), SOCK_NONBLOCK);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        bench_die("epoll_create1", errno);
    watch(listener);
    for (;;) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener)
                accept_all(listener);
            else
                fan_out(events[i].data.fd);
        }
    }
}
