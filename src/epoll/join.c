/* SPDX-License-Identifier: MIT */
/*
 * Join: one descriptor that stands for two, for an event loop that polls a runtime.
 *
 * An epoll descriptor is readable while one of its own is ready.  No events are collected from this
 * one, so the two are level-triggered: the kernel looks at them again at each poll.
 *
 * Owns:    nothing.
 * Threads: any.
 * Always:  after an error no descriptor is left.
 * Tests:   tests/runtime/test_embedding.c
 */
#include "epoll/join.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

int ouro__epoll_join(int fd, int other_fd)
{
    struct epoll_event readable = {.events = EPOLLIN};
    int joined = epoll_create1(EPOLL_CLOEXEC);
    if (joined < 0)
        return -errno;
    if (epoll_ctl(joined, EPOLL_CTL_ADD, fd, &readable) == 0 &&
        epoll_ctl(joined, EPOLL_CTL_ADD, other_fd, &readable) == 0)
        return joined;
    int rc = -errno;
    (void)close(joined);
    return rc;
}
