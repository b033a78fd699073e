/* SPDX-License-Identifier: MIT */
/*
 * ServeNew: how a server is made and released.
 */
#ifndef OURO_NET_SERVE_NEW_H
#define OURO_NET_SERVE_NEW_H

#include "net/server.h"

/* Closes the listeners that are still open. */
void ouro__server_close_listeners(struct ouro_server *server);

#endif
