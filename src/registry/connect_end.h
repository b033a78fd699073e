/* SPDX-License-Identifier: MIT */
/*
 * The end of a connect: whether a connect in progress has ended, and with which result.
 */
#ifndef OURO_REGISTRY_CONNECT_END_H
#define OURO_REGISTRY_CONNECT_END_H

#include <stdbool.h>
#include <stdint.h>

/* To be called after an event, for a connect(2) that returned EINPROGRESS.  False: it is still in
 * progress.  True: it has ended, *out_result is 0 or -errno, and the socket's error has been read,
 * which resets it. */
bool ouro__connect_has_ended(int fd, int32_t *out_result);

#endif
