/* SPDX-License-Identifier: MIT */
/*
 * TcpListener: what other parts of the library see of a TCP listener.
 */
#ifndef OURO_NET_TCP_LISTENER_H
#define OURO_NET_TCP_LISTENER_H

#include "net/acceptor.h"

#include <ouro/tcp.h>

/* The acceptor inside the listener; it lives as long as the listener. */
struct ouro__acceptor *ouro__tcp_listener_acceptor(struct ouro_tcp_listener *listener);

#endif
