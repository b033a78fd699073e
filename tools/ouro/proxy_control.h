/* SPDX-License-Identifier: MIT */
/*
 * The control socket of the proxy, by which a new process takes over the listeners of an old one.
 */
#ifndef OURO_CLI_PROXY_CONTROL_H
#define OURO_CLI_PROXY_CONTROL_H

#include <ouro.h>

#include "proxy_listener.h"

/* A connection between the old process and the new one.  All zero but fd, -1: none. */
struct proxy_peer {
    int fd;
    struct ouro_poll_evented *io;
};

/* A control socket that listens.  All zero but fd, -1: none. */
struct proxy_control {
    const char *path; /* NULL: its file is not ours any more */
    int fd;
    struct ouro_poll_evented *io;
};

/* Checks whether a path can be that of a control socket: 0 or -ENAMETOOLONG. */
int proxy_control_check(const char *path);

/*
 * The new process, in a task: asks the one that listens on @path for its listeners.  Returns 0 with
 * the connection and the listeners, whose texts are strdup()ed; -ENOENT or -ECONNREFUSED when
 * nobody listens there; else why it failed.
 */
int proxy_control_take(const char *path, struct proxy_peer *out_peer,
                       struct proxy_listeners *out_listeners);

/* The new process: says that it accepts from now on, and ends the connection. */
int proxy_control_ready(struct proxy_peer *peer);

void proxy_peer_close(struct proxy_peer *peer);

/* Listens on @path, in place of whoever did before. */
int proxy_control_open(const char *path, struct proxy_control *out_control);

/*
 * The old process, in a task: waits for a new one, gives it the listeners, and waits until it
 * accepts.  0 when it does; -ECANCELED; any other negative code when there was one that did not
 * take over, or accept(2) failed.  It may be called again then.
 */
int proxy_control_give(struct proxy_control *control, const struct proxy_listeners *listeners);

/* Removes the file: nobody new finds the socket. */
void proxy_control_hide(struct proxy_control *control);

/* Closes the socket, and removes its file if it is still ours.  Without a socket it does nothing.
 */
void proxy_control_close(struct proxy_control *control);

#endif
