/* SPDX-License-Identifier: MIT */
/*
 * A connect storm on bare epoll.
 *
 *     bench_connect_epoll PORT TOTAL CONCURRENCY
 *
 * A non-blocking connect, one EPOLL_CTL_ADD, SO_ERROR once, a reset: the fewest calls that keep 64
 * connects in flight without a ring.
 *
 * Owns:    CONCURRENCY sockets at a time.
 * Threads: one.
 */
#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { EVENTS = 256 };

static struct sockaddr_in address;

static void start(int epoll_fd)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        bench_die("socket", errno);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0 && errno != EINPROGRESS)
        bench_die("connect", errno);
    struct epoll_event event = {.events = EPOLLOUT | EPOLLONESHOT, .data.fd = fd};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        bench_die("epoll_ctl", errno);
}

static void end(int fd)
{
    const struct linger reset = {.l_onoff = 1};
    int error = 0;
    socklen_t length = sizeof(error);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0)
        error = errno;
    if (error != 0)
        bench_die("connect", error);
    if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) != 0)
        bench_die("SO_LINGER", errno);
    (void)close(fd);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        (void)fprintf(stderr, "usage: bench_connect_epoll PORT TOTAL CONCURRENCY\n");
        return 2;
    }
    address = bench_address(bench_number("PORT", argv[1], 1, 65535));
    const long total = bench_number("TOTAL", argv[2], 1, 1000000000);
    const long concurrency = bench_number("CONCURRENCY", argv[3], 1, 100000);
    bench_begin(120);
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        bench_die("epoll_create1", errno);

    const uint64_t begun_ns = bench_now_ns();
    long started = 0;
    for (; started < concurrency && started < total; started++)
        start(epoll_fd);
    for (long ended = 0; ended < total;) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            end(events[i].data.fd);
            ended++;
            if (started < total) {
                start(epoll_fd);
                started++;
            }
        }
    }
    bench_report_connects(begun_ns, total);
    return 0;
}
