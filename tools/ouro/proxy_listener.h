/* SPDX-License-Identifier: MIT */
/*
 * The listening sockets of the proxy, TCP or Unix, as descriptors: they can be given to another
 * process, and come from one.
 */
#ifndef OURO_CLI_PROXY_LISTENER_H
#define OURO_CLI_PROXY_LISTENER_H

#include <ouro.h>
#include <stdbool.h>
#include <stddef.h>

#define PROXY_LISTENERS_MAX 64
#define PROXY_SOCKETS_MAX 256 /* of one listener */

struct proxy_listener {
    const char *text;             /* as given */
    struct ouro_socket_addr addr; /* as bound */
    size_t count;
    int fds[PROXY_SOCKETS_MAX]; /* -1: closed */
};

/* All zero is none. */
struct proxy_listeners {
    size_t count;
    bool keeps_paths; /* another process listens on them now: their files stay */
    struct proxy_listener list[PROXY_LISTENERS_MAX];
};

/*
 * In a task: listens on @text, "HOST:PORT" or "unix:PATH", with @sockets sockets, of which the
 * kernel gives each a part of the connections (a Unix address has one, that is duplicated).  The
 * address must be free; the file of a Unix socket that nobody listens on any more is replaced.
 * *out_listener is to be ended with proxy_listener_close().
 */
int proxy_listener_open(const char *text, size_t sockets, bool keepalive,
                        struct proxy_listener *out_listener);

/* The address that the sockets of a listener are bound to. */
int proxy_listener_bound(const struct proxy_listener *listener, struct ouro_socket_addr *out_addr);

/*
 * Makes a listener of sockets that another process has opened, whose descriptors are in it.
 * -EINVAL when they do not listen.  @text is kept.
 */
int proxy_listener_adopt(const char *text, bool keepalive, struct proxy_listener *listener);

/*
 * Closes one of the sockets, of which each can be closed by another thread.  The file of a Unix
 * address is removed with the first, unless @keep_path.
 */
void proxy_listener_close_socket(struct proxy_listener *listener, size_t index, bool keep_path);

/* Closes all sockets that are still open. */
void proxy_listener_close(struct proxy_listener *listener, bool keep_path);

#endif
