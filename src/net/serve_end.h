/* SPDX-License-Identifier: MIT */
/*
 * ServeEnd: how a server is told to end.
 */
#ifndef OURO_NET_SERVE_END_H
#define OURO_NET_SERVE_END_H

#include "net/server.h"

/* Asks for @end, unless more was asked for before.  Any thread. */
void ouro__server_ask(struct ouro_server *server, enum ouro__server_end end);

/* Wakes the task or thread in ouro_server_run(), if there is one.  Any thread. */
void ouro__server_wake_runner(struct ouro_server *server);

/* Runner: no more connections come; tells the keepers. */
void ouro__server_set_closed(struct ouro_server *server);

/* A task: notes the signals that come, and asks for the end.  @arg is the server. */
int ouro__server_wait_for_signals(void *arg);

#endif
