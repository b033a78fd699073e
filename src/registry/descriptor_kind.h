/* SPDX-License-Identifier: MIT */
/*
 * Descriptor kind: what a hang-up or an error means for a descriptor, and what can be polled.
 */
#ifndef OURO_REGISTRY_DESCRIPTOR_KIND_H
#define OURO_REGISTRY_DESCRIPTOR_KIND_H

#include "base/compiler.h"

#include <ouro/poll_evented.h>

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

enum ouro__descriptor_kind {
    OURO__KIND_UNKNOWN = 0,     /* only operations are made on it: bits are hints */
    OURO__KIND_CONNECTED = 1,   /* a stream socket that has a peer, or had one */
    OURO__KIND_UNCONNECTED = 2, /* a stream socket before connect(2) or listen(2), or listening */
    OURO__KIND_PIPE = 3,        /* a pipe without a name */
    OURO__KIND_OTHER = 4,       /* nothing it reports is final */
};

/* What @fd is now.  An UNCONNECTED socket may become CONNECTED; no other kind changes. */
enum ouro__descriptor_kind ouro__descriptor_kind_of(int fd);

/* Whether poll(2)'s @events report an end (a hang-up or an error). */
static inline bool ouro__descriptor_tells_end(uint32_t events)
{
    return (events & (POLLHUP | POLLRDHUP | POLLERR)) != 0;
}

/* The readiness that the rest of @events means, for any descriptor. */
static inline uint32_t ouro__descriptor_plain_ready(uint32_t events)
{
    uint32_t ready = 0;
    if ((events & (POLLIN | POLLPRI)) != 0)
        ready |= OURO_READABLE;
    if ((events & POLLPRI) != 0)
        ready |= OURO_PRIORITY;
    if ((events & POLLOUT) != 0)
        ready |= OURO_WRITABLE;
    return ready;
}

/*
 * The readiness (OURO_READABLE | ...) that poll(2)'s @events mean for the descriptor @fd of the
 * kind *@kind, which is looked up again where it may have changed.  *out_is_final is false when
 * some of it comes from a hang-up or an error that may pass.
 */
uint32_t ouro__descriptor_ready(int fd, uint8_t *kind, uint32_t events, bool *out_is_final);

/*
 * Whether poll(2) reports something that ends a wait for @interest at this moment.
 */
bool ouro__descriptor_is_ready_now(int fd, uint32_t interest);

#endif
