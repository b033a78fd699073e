/* SPDX-License-Identifier: MIT */
/*
 * Pollable: whether a descriptor can be waited for.
 */
#ifndef OURO_URING_POLLABLE_H
#define OURO_URING_POLLABLE_H

/* 0, or what epoll_ctl(2) says: -EBADF, -EPERM, ...; -EMFILE, -ENFILE when it cannot be asked. */
int ouro__pollable(int fd);

#endif
