/* SPDX-License-Identifier: MIT */
/*
 * An echo server on bare epoll: level-triggered, one recv and one send a message.
 *
 *     bench_echo_epoll PORT
 *
 * A message that cannot be sent whole ends its connection, for the load never lets a socket's
 * buffer fill; a real server would keep the rest and wait for room.
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

enum { EVENTS = 512, BUFFER_BYTES = 16384 };

static void watch(int epoll_fd, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        bench_die("epoll_ctl", errno);
}

static void accept_all(int epoll_fd, int listener)
{
    int fd = -1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
        watch(epoll_fd, fd);
}

static void echo(int fd)
{
    static char buffer[BUFFER_BYTES];
    ssize_t got = recv(fd, buffer, sizeof(buffer), 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0 || send(fd, buffer, (size_t)got, MSG_NOSIGNAL) != got)
        (void)close(fd);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fprintf(stderr, "usage: bench_echo_epoll PORT\n");
        return 2;
    }
    bench_begin(0);
    int listener = bench_listen(bench_number("PORT", argv[1], 1, 65535), SOCK_NONBLOCK);
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        bench_die("epoll_create1", errno);
    watch(epoll_fd, listener);
    for (;;) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener)
                accept_all(epoll_fd, listener);
            else
                echo(events[i].data.fd);
        }
    }
}
