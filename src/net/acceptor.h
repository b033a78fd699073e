/* SPDX-License-Identifier: MIT */
/*
 * Acceptor: a listening socket of any kind, and how connections are accepted from it.
 */
#ifndef OURO_NET_ACCEPTOR_H
#define OURO_NET_ACCEPTOR_H

#include "base/mutex.h"
#include "stream/descriptor.h"

#include <ouro/addr.h>

struct ouro_stream;
struct ouro__stream_kind;

struct ouro__acceptor {
    struct ouro__descriptor descriptor;
    _Atomic int reserve; /* a descriptor that is given up when there is no other; -1: none now */
    _Atomic bool is_closing;
    bool reports_shortage; /* to the caller, instead of pausing */

    /* The rate limit.  interval_ns 0: none. */
    int64_t interval_ns;     /* between two connections */
    int64_t ahead_ns;        /* how far next_ns may be ahead of the time: the burst */
    _Atomic int64_t next_ns; /* when the next connection is due at a steady rate */

    /* Counts. */
    _Atomic uint64_t shed;
    _Atomic uint64_t failed;
    _Atomic uint64_t pauses;

    struct ouro__mutex lock; /* guards what follows */
    struct ouro__list sleepers;
};

/*
 * Takes @fd over, which listens and is non-blocking.  @rate is the connections accepted in a second
 * (0: any number), @burst how many of them may come at once.  reports_shortage is false.
 * Errors: -EMFILE, -ENFILE, -ENOMEM; then @fd is still the caller's.
 */
int ouro__acceptor_init(struct ouro__acceptor *acceptor, struct ouro_handle *handle, int fd,
                        uint32_t rate, uint32_t burst);

/*
 * The next connection, as a stream of @kind; its peer's address, unless @out_peer is NULL.
 * Errors: -ECANCELED when the acceptor is closed; those of accept(2) that are about the listening
 * socket; those of every suspending call.
 */
int ouro__acceptor_accept(struct ouro__acceptor *acceptor, const struct ouro__stream_kind *kind,
                          struct ouro_stream **out_stream, struct ouro_socket_addr *out_peer);

/* Ends the accepts in progress and waits until they have left.  The memory remains the caller's.
 * Errors: as ouro__descriptor_close(). */
int ouro__acceptor_close(struct ouro__acceptor *acceptor);

#endif
