/* SPDX-License-Identifier: MIT */
/*
 * Stream: one type of byte stream for TCP, Unix sockets and pipes.
 *
 * Connecting (ouro_connect(), ouro/tcp.h, ouro/unix.h), accepting (ouro/tcp.h), ouro_pipe() and
 * ouro_stream_from_fd() make a stream.  The calls here work on every kind; a call that one kind
 * cannot do returns -EOPNOTSUPP on it.
 *
 * One reader and one writer may use a stream at the same time, from different tasks or threads; a
 * second reader, or a second writer, gets -EBUSY.  Writing to a peer that has gone returns -EPIPE;
 * SIGPIPE is never raised.  A stream may be closed after its runtime has ended.
 */
#ifndef OURO_STREAM_H
#define OURO_STREAM_H

#include <ouro/api.h>

#ifdef __cplusplus
extern "C" {
#endif

struct iovec;
struct ouro_stream;

/* What carries the bytes.  Kinds are only ever appended. */
enum ouro_stream_kind {
    OURO_STREAM_TCP = 1,  /* a TCP connection over IPv4 or IPv6 */
    OURO_STREAM_UNIX = 2, /* a Unix stream socket */
    OURO_STREAM_PIPE = 3  /* one end of a pipe or FIFO: reads or writes, not both */
};

/*
 * Connects to "HOST:PORT" ("127.0.0.1:80", "[::1]:80", "example.org:443") or "unix:PATH"
 * ("unix:@NAME": abstract).  The call takes at most @timeout_ns nanoseconds, name look-up included;
 * INT64_MAX sets no limit.  Deadline scopes around the call apply as well.
 *
 * Suspends: until connected, or all addresses have failed.
 * Owns:     *out_stream is the caller's; release with ouro_stream_close().
 * Errors:   -ETIMEDOUT; -OURO_EADDRSYNTAX for a text of neither form; -OURO_ETIMEDISABLED for a
 *           limit in a runtime without time; those of ouro_tcp_stream_connect() or
 *           ouro_unix_stream_connect().
 * Since:    0.2
 */
OURO_API int ouro_connect(const char *target, int64_t timeout_ns,
                          struct ouro_stream **out_stream) OURO_MUST_CHECK;

/*
 * Makes a pipe: bytes written to *out_writer are read from *out_reader.
 *
 * Owns:     both streams are the caller's; release each with ouro_stream_close().
 * Errors:   -EINVAL; those of pipe(2), -EMFILE and -ENFILE; -ENOMEM; -OURO_EIODISABLED,
 *           -OURO_ENORUNTIME, -OURO_EFORKED, -OURO_ESHUTDOWN.
 * Since:    0.2
 */
OURO_API int ouro_pipe(struct ouro_stream **out_reader,
                       struct ouro_stream **out_writer) OURO_MUST_CHECK;

/*
 * Makes a stream from an open descriptor: a connected TCP socket, a connected Unix stream socket,
 * or an end of a pipe or FIFO.  The descriptor becomes non-blocking, and so does every duplicate of
 * it in this and other processes.
 *
 * Owns:     on success @fd is the stream's; on failure it remains the caller's, unchanged.
 * Errors:   -EBADF; -EPROTOTYPE for any other descriptor, such as a terminal or a datagram socket;
 *           -ENOTCONN; -EINVAL; -ENOMEM; -OURO_EIODISABLED, -OURO_ENORUNTIME, -OURO_EFORKED,
 *           -OURO_ESHUTDOWN.
 * Since:    0.2
 */
OURO_API int ouro_stream_from_fd(int fd, struct ouro_stream **out_stream) OURO_MUST_CHECK;

/*
 * Takes the descriptor out of the stream and releases the stream.  The descriptor stays
 * non-blocking.
 *
 * Owns:     on success the stream is gone and the descriptor returned is the caller's; on failure
 *           the stream remains as it was.
 * Errors:   the descriptor, or -EINVAL for NULL; -EBUSY while a call is in progress on the stream;
 *           -OURO_ELOANED while buffers on loan from it (ouro/loan.h) have not been released;
 *           -OURO_EFORKED.
 * Since:    0.2
 */
OURO_API int ouro_stream_into_fd(struct ouro_stream *stream) OURO_MUST_CHECK;

/*
 * Returns the stream's descriptor, for setsockopt(2) and the like.  Do not close it.
 *
 * Errors:   -EINVAL for NULL.
 * Threads:  any.
 * Since:    0.2
 */
OURO_API int ouro_stream_fd(const struct ouro_stream *stream);

/*
 * Returns the kind of the stream; 0 for NULL.
 *
 * Threads:  any.
 * Since:    0.2
 */
OURO_API enum ouro_stream_kind ouro_stream_kind(const struct ouro_stream *stream);

/*
 * Reads the bytes that have arrived, at most @size.
 *
 * Suspends: until at least one byte, the end of the stream or an error.
 * Errors:   0 is the end of the stream (also for @size 0); -ECONNRESET; -EBUSY while another reader
 *           is in a call; -ECANCELED when the stream is closed meanwhile; -EBADF for the writing
 *           end of a pipe; -EINVAL; those of recv(2) or read(2) but -EAGAIN, and of every
 *           suspending call.
 * Since:    0.2
 */
OURO_API ssize_t ouro_stream_read(struct ouro_stream *stream, void *buffer,
                                  size_t size) OURO_MUST_CHECK;

/*
 * Reads into several buffers, in order.
 *
 * Suspends: as ouro_stream_read().
 * Errors:   as ouro_stream_read(); -EINVAL for a @count below 1 or over 1024 (IOV_MAX).
 * Since:    0.2
 */
OURO_API ssize_t ouro_stream_readv(struct ouro_stream *stream, const struct iovec *vectors,
                                   int count) OURO_MUST_CHECK;

/*
 * Copies the bytes that have arrived without consuming them: the next read returns the same bytes.
 *
 * Suspends: as ouro_stream_read().
 * Errors:   as ouro_stream_read(); -EOPNOTSUPP for a pipe.
 * Since:    0.2
 */
OURO_API ssize_t ouro_stream_peek(struct ouro_stream *stream, void *buffer,
                                  size_t size) OURO_MUST_CHECK;

/*
 * Writes some of the bytes, at least one.
 *
 * Suspends: until there is room for some.
 * Errors:   a count, 0 only for @size 0; -EPIPE, -ECONNRESET; -EBUSY while another writer is in a
 *           call; -ECANCELED when the stream is closed meanwhile; -EBADF for the reading end of a
 *           pipe; -EINVAL; those of send(2) or write(2) but -EAGAIN, and of every suspending call.
 * Since:    0.2
 */
OURO_API ssize_t ouro_stream_write(struct ouro_stream *stream, const void *buffer,
                                   size_t size) OURO_MUST_CHECK;

/*
 * Writes from several buffers, in order.
 *
 * Suspends: as ouro_stream_write().
 * Errors:   as ouro_stream_write(); -EINVAL for a @count below 1 or over 1024 (IOV_MAX).
 * Since:    0.2
 */
OURO_API ssize_t ouro_stream_writev(struct ouro_stream *stream, const struct iovec *vectors,
                                    int count) OURO_MUST_CHECK;

/*
 * Writes all of the bytes.  *out_written (NULL: not wanted) receives the number of bytes that the
 * kernel took: @size on success, fewer after an error.  It is set whatever the call returns.
 *
 * Suspends: until there was room for all.
 * Errors:   as ouro_stream_write().
 * Since:    0.2
 */
OURO_API int ouro_stream_write_all(struct ouro_stream *stream, const void *buffer, size_t size,
                                   size_t *out_written) OURO_MUST_CHECK;

/*
 * Writes all of the bytes of several buffers, in order: a header and a body in one go.  After a
 * short write it continues where the kernel stopped.  *out_written (NULL: not wanted) receives the
 * number of bytes that the kernel took: all of them on success, fewer after an error.  It is set
 * whatever the call returns.
 *
 * There may be more than 1024 buffers, empty ones among them, and more bytes than one system call
 * can carry (2 GiB).  A @count of 0 writes nothing and returns 0.
 *
 * Suspends: until there was room for all.
 * Owns:     @vectors is borrowed for the call and not changed.
 * Errors:   as ouro_stream_write(); -EINVAL for a @count below 0, for NULL @vectors with a @count
 *           above 0, and for sizes whose sum is over SIZE_MAX.
 * Since:    0.3
 */
OURO_API int ouro_stream_writev_all(struct ouro_stream *stream, const struct iovec *vectors,
                                    int count, size_t *out_written) OURO_MUST_CHECK;

/*
 * Sends @size bytes of a file, from @offset on, without copying them through the program's memory.
 * @fd is a regular file or a block device, open for reading; its own file offset is neither used
 * nor changed, so several calls may send from one descriptor.  Keep it open until the call has
 * returned.
 *
 * *out_sent (NULL: not wanted) receives the number of bytes that the kernel took, whatever the call
 * returns.  Where the file ends before @size, the call returns 0 and *out_sent is smaller than
 * @size; a @size of UINT64_MAX sends the rest of the file.  The bytes are those that the file has
 * when they leave: one that is changed or cut meanwhile arrives mixed.
 *
 * The file is read on a thread of the blocking pool, so that a slow disk stops no other task; a
 * piece of up to 1 MiB each time.  For a small file that is mostly in memory pread(2) and
 * ouro_stream_write_all() cost less.
 *
 * Suspends: until there was room for all; an interruption also waits for the read that has begun.
 * Errors:   as ouro_stream_write(); -EBADF for an @fd that is not open for reading; -EINVAL for one
 *           that is no file, or whose file system cannot do it, and for an @offset over INT64_MAX;
 *           -EIO; -EAGAIN when the blocking pool has no thread; -ENOMEM.
 * Since:    0.3
 */
OURO_API int ouro_stream_send_file(struct ouro_stream *stream, int fd, uint64_t offset,
                                   uint64_t size, uint64_t *out_sent) OURO_MUST_CHECK;

/* Which half to shut down. */
enum ouro_shutdown { OURO_SHUTDOWN_READ = 0, OURO_SHUTDOWN_WRITE = 1, OURO_SHUTDOWN_BOTH = 2 };

/*
 * Shuts down one or both halves, as shutdown(2).  After WRITE the peer reads the end of the stream,
 * and this side can still read.  A second call, or a call after the peer has gone, is no error.
 *
 * Errors:   -EINVAL; -EOPNOTSUPP for a pipe: close the end instead; -OURO_EFORKED.
 * Since:    0.2
 */
OURO_API int ouro_stream_shutdown(struct ouro_stream *stream, enum ouro_shutdown how);

/*
 * Closes and releases the stream.  A reader or writer still in a call gets -ECANCELED and has left
 * the stream when close returns.  Cancellation, deadlines and shutdown do not interrupt it.
 *
 * Close does not wait for the peer: the kernel sends the written bytes in the background.  To make
 * this so with SO_LINGER as well, close switches a linger time other than 0 off, also for
 * duplicates of the socket.  (A time of 0 resets the connection, as OURO_CONNECT_F_RESET does.)  To
 * know that the peer has everything, shut down WRITE and read until the end of the stream.
 *
 * Suspends: only until calls of other tasks have ended; and, for a pipe on which a call has waited,
 *           until the kernel has released it, which it does at once.
 * Owns:     takes @stream, always; NULL is ignored.
 * Errors:   -OURO_ELOANED when buffers on loan from the stream (ouro/loan.h) have not been
 *           released: they stay valid, and must still be released; -OURO_EFORKED in a forked child,
 *           where only the child's descriptor is closed.  Whatever is returned, the stream is
 *           released.
 * Since:    0.2
 */
OURO_API int ouro_stream_close(struct ouro_stream *stream);

#ifdef __cplusplus
}
#endif

#endif
