/* SPDX-License-Identifier: MIT */
/*
 * The end of a connect: whether a connect in progress has ended, and with which result.
 */
#ifndef OURO_REGISTRY_CONNECT_END_H
#define OURO_REGISTRY_CONNECT_END_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* To be called after an event, for a connect(2) to @addr that returned EINPROGRESS or EINTR.
 * False: it is still in progress.  True: it has ended, and *out_result is 0 or -errno.  Not to be
 * called again after that: the kernel would begin another connect. */
bool ouro__connect_has_ended(int fd, const struct sockaddr *addr, socklen_t length,
                             int32_t *out_result);

#endif
