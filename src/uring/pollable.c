/* SPDX-License-Identifier: MIT */
/*
 * Pollable: whether a descriptor can be waited for is what epoll_ctl(2) says, so that both backends
 * agree.
 *
 * Nothing else tells.  POLL_ADD and poll(2) accept regular files and report them ready, and the
 * type of a file does not say either: /proc/self/mounts can be waited for and /dev/null can not.
 * So the descriptor is added to an epoll set of a moment.
 *
 * (By the kernel's header: <sys/epoll.h> is for the epoll backend.  It is a file of its own because
 * that header and <fcntl.h> exclude each other.)
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
