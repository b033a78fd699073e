/* SPDX-License-Identifier: MIT */
/*
 * Connect: from a list of addresses to one stream.
 */
#ifndef OURO_NET_CONNECT_H
#define OURO_NET_CONNECT_H

#include "net/connect_addr.h"

/* A connect in progress.  The list and the options are borrowed. */
struct ouro__connect {
    struct ouro__context *context;
    const struct ouro_socket_addr *list;
    size_t count;
    const struct ouro_tcp_connect_options *options; /* filled in: never NULL */
    int64_t begin_ns;
    size_t made;                /* attempts begun */
    int error;                  /* of the attempt that came closest so far */
    struct ouro_stream *stream; /* the winner's */
};

/*
 * Tries the addresses until one accepts.
 *
 * Suspends: until connected, or all have failed.
 * Owns:     *out_stream is the caller's.
 * Errors:   those of ouro_tcp_stream_connect_with().
 */
int ouro__connect(struct ouro__context *context, const struct ouro_socket_addr *list, size_t count,
                  const struct ouro_tcp_connect_options *options, struct ouro_stream **out_stream);

/* The two ways: one address after the other, in the caller; and a race of tasks on the worker of
 * connect->context.  Both set connect->stream or connect->error.  An interruption of the caller is
 * returned. */
int ouro__connect_in_turn(struct ouro__connect *connect);
int ouro__connect_race(struct ouro__connect *connect);

/* Attempt @index (from 0) has ended: writes it into the report. */
void ouro__connect_report(const struct ouro__connect *connect, size_t index,
                          const struct ouro_socket_addr *addr, int error, int64_t start_ns);

#endif
