/* SPDX-License-Identifier: MIT */
/*
 * ServeKeeper: a task of each shard that looks after its connections.
 */
#ifndef OURO_NET_SERVE_KEEPER_H
#define OURO_NET_SERVE_KEEPER_H

#include "net/server.h"

/* The task's function; @arg is the shard.  It ends when the server drains and no connection of the
 * shard is left. */
int ouro__server_keep(void *arg);

#endif
