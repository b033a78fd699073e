/* SPDX-License-Identifier: MIT */
/*
 * ServeAccept: the tasks that accept the connections of a server.
 */
#ifndef OURO_NET_SERVE_ACCEPT_H
#define OURO_NET_SERVE_ACCEPT_H

#include "net/server.h"

/* The task's function; @arg is a struct ouro__server_accept.  It accepts until it is cancelled or
 * the listener fails, and leaves the listener.  A failure makes the server drain. */
int ouro__server_accept(void *arg);

#endif
