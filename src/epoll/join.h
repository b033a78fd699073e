/* SPDX-License-Identifier: MIT */
/*
 * Join: one descriptor that stands for two.
 */
#ifndef OURO_EPOLL_JOIN_H
#define OURO_EPOLL_JOIN_H

/*
 * A descriptor that is readable while @fd or @other_fd is.  The caller closes it.
 * Errors: those of epoll_create1(2) and epoll_ctl(2).
 */
int ouro__epoll_join(int fd, int other_fd);

#endif
