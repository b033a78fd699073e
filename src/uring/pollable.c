/* SPDX-License-Identifier: MIT */
/*
 * Pollable: whether a descriptor can be waited for.  epoll_ctl(2) decides, so that both backends
 * agree.
 *
 * Other calls do not tell.  POLL_ADD and poll(2) accept regular files and report them ready.  The
 * type of a file does not tell either: /proc/self/mounts can be waited for and /dev/null cannot.
 * So the descriptor is added to a temporary epoll set.
 *
 * (This file uses the kernel's <linux/eventpoll.h>, because <sys/epoll.h> is for the epoll backend.
 * It is a file of its own because the kernel's header and <fcntl.h> exclude each other.)
 *
 * Owns:    nothing.
 * Threads: any.
 * Always:  no descriptor is left open.
 * Tests:   tests/net/test_poll_evented.c
 */
#include "uring/pollable.h"

#include <errno.h>
#include <linux/eventpoll.h>
#include <sys/syscall.h>
#include <unistd.h>

int ouro__pollable(int fd)
{
    struct epoll_event event = {.events = 0};
    long set = syscall(SYS_epoll_create1, EPOLL_CLOEXEC);
    if (set < 0)
        return -errno;
    int rc = syscall(SYS_epoll_ctl, (int)set, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
    (void)close((int)set);
    return rc;
}
