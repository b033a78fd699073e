/* SPDX-License-Identifier: MIT */
/*
 * UnixDatagram inside the library: a datagram or seqpacket socket, and its name.
 */
#ifndef OURO_NET_UNIX_DATAGRAM_H
#define OURO_NET_UNIX_DATAGRAM_H

#include "net/datagram.h"
#include "net/unix_path.h"

struct ouro_unix_datagram {
    struct ouro__datagram datagram;
    int type; /* SOCK_DGRAM or SOCK_SEQPACKET */
    struct ouro__unix_path path;
};

/* A socket around @fd, which is the caller's after an error.  Errors: -ENOMEM; those of
 * setsockopt(2). */
int ouro__unix_datagram_new(struct ouro__context *context, int fd, int type,
                            struct ouro_unix_datagram **out_socket);

#endif
