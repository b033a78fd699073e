/* SPDX-License-Identifier: MIT */
/*
 * UnixListener: what other parts of the library see of a listening Unix socket.
 */
#ifndef OURO_NET_UNIX_LISTENER_H
#define OURO_NET_UNIX_LISTENER_H

#include "net/acceptor.h"

#include <ouro/unix.h>

/* The acceptor inside the listener; it lives as long as the listener. */
struct ouro__acceptor *ouro__unix_listener_acceptor(struct ouro_unix_listener *listener);

/* Whether connections are seqpackets, and not streams. */
bool ouro__unix_listener_is_for_seqpackets(const struct ouro_unix_listener *listener);

#endif
