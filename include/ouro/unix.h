/* SPDX-License-Identifier: MIT */
/*
 * UnixStream: a stream to a process on this machine.  What holds for TcpStream (ouro/tcp.h) holds
 * here: one reader and one writer at a time, -EBUSY for a second, no SIGPIPE.
 */
#ifndef OURO_UNIX_H
#define OURO_UNIX_H

#include <ouro/addr.h>
#include <ouro/api.h>
#include <ouro/tcp.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ouro_unix_stream;

/*
 * Connects to a Unix stream socket.  A full backlog is waited for as long as the deadline lasts;
 * without a deadline it is an error.  What is returned is connected, always.
 *
 * Suspends: until accepted into the backlog.
 * Owns:     *out_stream is the caller's; release with ouro_unix_stream_close().
 * Errors:   -EAGAIN: full backlog and no deadline scope; -ECONNREFUSED, -ENOENT, -EACCES;
 *           -EPROTOTYPE for a socket of another type; -EAFNOSUPPORT for an address that is not a
 *           Unix one; -EMFILE, -ENFILE, -ENOMEM; -OURO_EIODISABLED; those of every suspending call.
 * Since:    0.1
 */
OURO_API int ouro_unix_stream_connect(const struct ouro_socket_addr *addr,
                                      struct ouro_unix_stream **out_stream) OURO_MUST_CHECK;

/*
 * Makes a stream of a connected Unix stream socket, of socketpair(2) for instance, and takes it
 * over.
 *
 * Owns:     on success @fd is the stream's; on failure it remains the caller's.
 * Errors:   as ouro_tcp_stream_from_fd().
 * Since:    0.1
 */
OURO_API int ouro_unix_stream_from_fd(int fd, struct ouro_unix_stream **out_stream) OURO_MUST_CHECK;

/*
 * Takes the socket out of the stream and releases the stream.
 *
 * Suspends: until nothing of the stream is in flight.
 * Owns:     as ouro_tcp_stream_into_fd().
 * Errors:   as ouro_tcp_stream_into_fd().
 * Since:    0.1
 */
OURO_API int ouro_unix_stream_into_fd(struct ouro_unix_stream *stream) OURO_MUST_CHECK;

/*
 * The socket, borrowed.
 *
 * Errors:   -EINVAL for NULL.
 * Since:    0.1
 */
OURO_API int ouro_unix_stream_fd(const struct ouro_unix_stream *stream);

/*
 * As ouro_tcp_stream_read().
 *
 * Suspends: until at least one byte, the end of the stream or an error.
 * Errors:   as ouro_tcp_stream_read().
 * Since:    0.1
 */
OURO_API ssize_t ouro_unix_stream_read(struct ouro_unix_stream *stream, void *buffer,
                                       size_t size) OURO_MUST_CHECK;

/*
 * As ouro_tcp_stream_write().
 *
 * Suspends: until the socket took some.
 * Errors:   as ouro_tcp_stream_write().
 * Since:    0.1
 */
OURO_API ssize_t ouro_unix_stream_write(struct ouro_unix_stream *stream, const void *buffer,
                                        size_t size) OURO_MUST_CHECK;

/*
 * As ouro_tcp_stream_write_all().
 *
 * Suspends: until the socket took all.
 * Errors:   as ouro_tcp_stream_write_all().
 * Since:    0.1
 */
OURO_API int ouro_unix_stream_write_all(struct ouro_unix_stream *stream, const void *buffer,
                                        size_t size) OURO_MUST_CHECK;

/*
 * As ouro_tcp_stream_shutdown().
 *
 * Errors:   -EINVAL.
 * Since:    0.1
 */
OURO_API int ouro_unix_stream_shutdown(struct ouro_unix_stream *stream, enum ouro_shutdown how);

/*
 * Ends and releases the stream, as ouro_tcp_stream_close().
 *
 * Suspends: only while calls of others are being ended.
 * Owns:     takes @stream, always; NULL is ignored.
 * Errors:   none to act upon.
 * Since:    0.1
 */
OURO_API int ouro_unix_stream_close(struct ouro_unix_stream *stream);

#ifdef __cplusplus
}
#endif

#endif
