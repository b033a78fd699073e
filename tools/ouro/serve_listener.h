/* SPDX-License-Identifier: MIT */
/*
 * One address of `ouro serve`, TCP or Unix, for all workers.
 */
#ifndef OURO_CLI_SERVE_LISTENER_H
#define OURO_CLI_SERVE_LISTENER_H

#include <ouro.h>

struct serve_listener;

/*
 * In a task: listens on @text, "HOST:PORT" or "unix:PATH".  The address must be free, but the file
 * of a Unix socket that nobody listens on any more is replaced.  *out_listener is to be ended with
 * serve_listener_close().
 */
int serve_listener_open(const char *text, uint32_t workers, struct serve_listener **out_listener);

/* Where it listens, with the port that the system chose for port 0. */
const struct ouro_socket_addr *serve_listener_addr(const struct serve_listener *listener);

/* In a task of that worker: takes the next connection.  Errors are those of accept(2). */
int serve_listener_accept(struct serve_listener *listener, uint32_t worker,
                          struct ouro_stream **out_stream);

/* NULL is ignored.  The file of a Unix address is removed. */
void serve_listener_close(struct serve_listener *listener);

#endif
