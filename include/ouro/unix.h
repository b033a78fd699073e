/* SPDX-License-Identifier: MIT */
/*
 * UnixStream: a stream to a process on this machine.  What holds for TcpStream (ouro/tcp.h) holds
 * here: one reader and one writer at a time, -EBUSY for a second, no SIGPIPE.
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
 * Connects to a Unix stream socket.  A full backlog is waited for as long as the deadline lasts;
 * without a deadline it is an error.  What is returned is connected, always.
 *
 * Suspends: until accepted into the backlog.
 * Owns:     *out_stream is the caller's; release with ouro_stream_close().
 * Errors:   -EAGAIN: full backlog and no deadline scope; -ECONNREFUSED, -ENOENT, -EACCES;
 *           -EPROTOTYPE for a socket of another type; -EAFNOSUPPORT for an address that is not a
 *           Unix one; -EMFILE, -ENFILE, -ENOMEM; -OURO_EIODISABLED; those of every suspending call.
 * Since:    0.1
 */
OURO_API int ouro_unix_stream_connect(const struct ouro_socket_addr *addr,
                                      struct ouro_stream **out_stream) OURO_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
