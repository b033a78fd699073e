/* SPDX-License-Identifier: MIT */
/*
 * Connect's end: whether a connect under way has ended, and how.
 */
#ifndef OURO_REGISTRY_CONNECT_END_H
#define OURO_REGISTRY_CONNECT_END_H

#include <stdbool.h>
#include <stdint.h>

/* For a connect(2) that said "in progress", after an event.  False: it goes on.  True: *out_result
 * is 0 or -errno; the socket's error has been read, which resets it. */
bool ouro__connect_has_ended(int fd, int32_t *out_result);

#endif
