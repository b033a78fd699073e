/* SPDX-License-Identifier: MIT */
/*
 * Unix path: a socket's name in the file system, from bind to close.
 */
#ifndef OURO_NET_UNIX_PATH_H
#define OURO_NET_UNIX_PATH_H

#include <ouro/unix.h>

#include <stdbool.h>
#include <sys/types.h>

struct ouro__unix_path {
    struct ouro_socket_addr addr;
    bool is_file; /* there is a file to be removed, this one: */
    dev_t device;
    ino_t inode;
};

/* Errors: -EINVAL. */
int ouro__unix_check_bind(const struct ouro_socket_addr *addr,
                          const struct ouro_unix_bind_options *options);

/*
 * A socket of @type with the name @addr (NULL: the kernel chooses).  A file that a dead process has
 * left is replaced.  @path is filled in.
 * Errors: those of ouro_unix_datagram_bind(); nothing is open then.
 */
int ouro__unix_bind(const struct ouro_socket_addr *addr, int type,
                    const struct ouro_unix_bind_options *options, struct ouro__unix_path *path,
                    int *out_fd);

/* Removes the file if it is still the socket's.  To be called while the socket is open. */
void ouro__unix_path_remove(const struct ouro__unix_path *path);

#endif
