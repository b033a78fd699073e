/* SPDX-License-Identifier: MIT */
/*
 * Unix sockets: streams to other processes of this machine.  Reading, writing and closing are those
 * of every stream (ouro/stream.h).
 */
#ifndef OURO_UNIX_H
#define OURO_UNIX_H

#include <ouro/addr.h>
#include <ouro/api.h>
#include <ouro/stream.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Connects to a Unix stream socket.  While the listener's backlog is full the call waits for room,
 * until the caller's deadline; without a deadline a full backlog is an error.
 *
 * Suspends: until there is room in the backlog.
 * Owns:     *out_stream is the caller's; release with ouro_stream_close().
 * Errors:   -EAGAIN: full backlog and no deadline scope; -ECONNREFUSED, -ENOENT, -EACCES;
 *           -EPROTOTYPE for a socket of another type; -EAFNOSUPPORT for an address that is not a
 *           Unix one; -EINVAL; -EMFILE, -ENFILE, -ENOMEM; -OURO_EIODISABLED; those of every
 *           suspending call.
 * Since:    0.1
 */
OURO_API int ouro_unix_stream_connect(const struct ouro_socket_addr *addr,
                                      struct ouro_stream **out_stream) OURO_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
