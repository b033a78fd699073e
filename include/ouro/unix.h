/* SPDX-License-Identifier: MIT */
/*
 * Unix sockets: to other processes of this machine.
 *
 *   streams       read, written and closed as every stream (ouro/stream.h)
 *   datagrams     messages from any sender to a name; none is lost, a full receiver makes its
 *                 senders wait
 *   seqpackets    messages of a connection, in order, with an end
 *
 * An address is a path ("unix:/run/x") or an abstract name ("unix:@x"), which is no file.
 *
 * Descriptors can be passed with data.  Those received are close-on-exec.  What the caller has no
 * room for is closed, and the call says so; nothing is left open behind the caller's back, also
 * when a call fails or is cancelled.
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

/*
 * Makes two streams that are connected with each other, as socketpair(2).
 *
 * Owns:     both streams are the caller's; release each with ouro_stream_close().
 * Errors:   -EINVAL; -EMFILE, -ENFILE, -ENOMEM; -OURO_EIODISABLED, -OURO_ENORUNTIME,
 *           -OURO_EFORKED, -OURO_ESHUTDOWN.
 * Since:    0.3
 */
OURO_API int ouro_unix_stream_pair(struct ouro_stream **out_left,
                                   struct ouro_stream **out_right) OURO_MUST_CHECK;

/* Who has a process: as the kernel knows it, not as the process says. */
struct ouro_unix_credentials {
    int32_t pid;  /* 0: a process that cannot be seen from this one's namespace */
    uint32_t uid; /* user and group, effective */
    uint32_t gid;
};

/*
 * Tells who is at the other end: the process that connected, listened or made the pair, with the
 * ids that it had then.
 *
 * Errors:   -EINVAL; -EOPNOTSUPP for a stream of another kind.
 * Since:    0.3
 */
OURO_API int ouro_unix_stream_peer_credentials(const struct ouro_stream *stream,
                                               struct ouro_unix_credentials *out_credentials);

#define OURO_UNIX_FDS_MAX 253               /* descriptors with one message, at most */
#define OURO_UNIX_FDS_F_TRUNCATED (1u << 0) /* there were more; they have been closed */

/* Room for descriptors that come with data. */
struct ouro_unix_fds {
    int *fds;       /* an array of the caller's */
    size_t room;    /* how many fit; more than OURO_UNIX_FDS_MAX never come */
    size_t count;   /* set: how many came; they are the caller's, to be closed */
    uint32_t flags; /* set: OURO_UNIX_FDS_F_... */
};

/*
 * Writes some of the bytes, at least one, as ouro_stream_write(), and with the first of them passes
 * descriptors.  They arrive with a read that begins at or before these bytes.
 *
 * Suspends: as ouro_stream_write().
 * Owns:     the descriptors remain the caller's, and may be closed after the call.
 * Errors:   as ouro_stream_write(), and then no descriptor was passed; -EINVAL for a @size of 0 or
 *           a @count over OURO_UNIX_FDS_MAX; -EBADF; -ETOOMANYREFS when too many are on their way;
 *           -EOPNOTSUPP for a stream of another kind.
 * Since:    0.3
 */
OURO_API ssize_t ouro_unix_stream_send_fds(struct ouro_stream *stream, const void *buffer,
                                           size_t size, const int *fds,
                                           size_t count) OURO_MUST_CHECK;

/*
 * Reads the bytes that have arrived, as ouro_stream_read(), and the descriptors that were passed
 * with them.  A read ends before bytes that come with other descriptors.  (ouro_stream_read()
 * closes the descriptors that come.)
 *
 * Suspends: as ouro_stream_read().
 * Owns:     the descriptors in @fds are the caller's.
 * Errors:   as ouro_stream_read(), and then there are none; -EINVAL for a @size of 0;
 *           -EOPNOTSUPP for a stream of another kind.  Without free descriptors the call succeeds
 *           and is flagged TRUNCATED.
 * Since:    0.3
 */
OURO_API ssize_t ouro_unix_stream_recv_fds(struct ouro_stream *stream, void *buffer, size_t size,
                                           struct ouro_unix_fds *fds) OURO_MUST_CHECK;

/*
 * A socket that keeps message boundaries, of one of two types.  One task or thread may receive and
 * one may send at the same time; others get -EBUSY.  A message of no bytes is a message.
 */
struct ouro_unix_datagram;

#define OURO_UNIX_F_KEEP_STALE (1u << 0) /* a file left by a dead process is -EADDRINUSE */

/* Start from OURO_UNIX_BIND_OPTIONS_INIT; fields are only ever appended. */
struct ouro_unix_bind_options {
    size_t size;              /* sizeof(struct ouro_unix_bind_options) */
    uint32_t flags;           /* OURO_UNIX_F_... */
    uint32_t mode;            /* permissions of the file, 0600 or so; 0: 0777 without the umask */
    int send_buffer_bytes;    /* SO_SNDBUF; 0: the system's */
    int receive_buffer_bytes; /* SO_RCVBUF; 0: the system's */
};

#define OURO_UNIX_BIND_OPTIONS_INIT                                                                \
    {                                                                                              \
        sizeof(struct ouro_unix_bind_options), 0, 0, 0, 0                                          \
    }

/*
 * Makes a datagram socket with the name @addr.  NULL: an abstract name that the kernel chooses.
 *
 * A file that a dead process has left is replaced; a socket that somebody has open is -EADDRINUSE,
 * and so is a file of another kind.  Several processes may do this at the same time: one of them
 * gets the name.  Close removes the file if it is still this socket's.
 *
 * Suspends: only while another process replaces a file of the same directory, about a second at
 *           most.
 * Owns:     *out_socket is the caller's; release with ouro_unix_datagram_close().  @options (NULL:
 *           the defaults) is borrowed.
 * Errors:   -EADDRINUSE; -ENOENT, -EACCES, -EROFS for the directory; -EAFNOSUPPORT for an address
 *           that is not a Unix one; -EINVAL, also for unknown flags, a mode over 0777 or a negative
 *           number; -EMFILE, -ENFILE, -ENOMEM; -OURO_EIODISABLED; those of every suspending call.
 * Since:    0.3
 */
OURO_API int ouro_unix_datagram_bind(const struct ouro_socket_addr *addr,
                                     const struct ouro_unix_bind_options *options,
                                     struct ouro_unix_datagram **out_socket) OURO_MUST_CHECK;

/*
 * Connects a datagram socket: it sends to @addr what names no destination, and receives from there
 * only.  It may be called again.
 *
 * Errors:   -ENOENT, -ECONNREFUSED, -EACCES; -EPERM when the other is connected elsewhere;
 *           -EPROTOTYPE for a socket of another type; -EISCONN for a seqpacket; -EAFNOSUPPORT;
 *           -EBUSY while a call sends; -EINVAL; those of every suspending call.
 * Since:    0.3
 */
OURO_API int ouro_unix_datagram_connect(struct ouro_unix_datagram *socket,
                                        const struct ouro_socket_addr *addr) OURO_MUST_CHECK;

/* The type of a socket. */
enum ouro_unix_type { OURO_UNIX_DATAGRAM = 1, OURO_UNIX_SEQPACKET = 2 };

/*
 * Makes two sockets that are connected with each other, as socketpair(2).
 *
 * Owns:     both sockets are the caller's; release each with ouro_unix_datagram_close().
 * Errors:   as ouro_unix_stream_pair(); -EINVAL for an unknown type.
 * Since:    0.3
 */
OURO_API int ouro_unix_datagram_pair(enum ouro_unix_type type, struct ouro_unix_datagram **out_left,
                                     struct ouro_unix_datagram **out_right) OURO_MUST_CHECK;

/*
 * Connects a new seqpacket socket to a listener.  A full backlog is waited for as in
 * ouro_unix_stream_connect().
 *
 * Suspends: until there is room in the backlog.
 * Owns:     *out_socket is the caller's; release with ouro_unix_datagram_close().
 * Errors:   those of ouro_unix_stream_connect().
 * Since:    0.3
 */
OURO_API int ouro_unix_seqpacket_connect(const struct ouro_socket_addr *addr,
                                         struct ouro_unix_datagram **out_socket) OURO_MUST_CHECK;

/*
 * Returns the name of this end.  An empty address (length 2 or 0) is a socket without one.
 *
 * Errors:   -EINVAL; those of getsockname(2).
 * Since:    0.3
 */
OURO_API int ouro_unix_datagram_local_addr(const struct ouro_unix_datagram *socket,
                                           struct ouro_socket_addr *out_addr);

/*
 * Tells who is at the other end of a seqpacket or a pair, as ouro_unix_stream_peer_credentials().
 *
 * Errors:   -EINVAL; -ENOTCONN for a datagram socket that is no end of a pair.
 * Since:    0.3
 */
OURO_API int ouro_unix_datagram_peer_credentials(const struct ouro_unix_datagram *socket,
                                                 struct ouro_unix_credentials *out_credentials);

/*
 * Returns the socket's descriptor, for setsockopt(2) and the like.  Do not close it.
 *
 * Errors:   -EINVAL for NULL.
 * Threads:  any.
 * Since:    0.3
 */
OURO_API int ouro_unix_datagram_fd(const struct ouro_unix_datagram *socket);

/*
 * Sends one message to the peer.
 *
 * Suspends: until there is room, in this socket's buffer and in the peer's queue.
 * Errors:   @size, or -ENOTCONN when there is no peer; -ECONNREFUSED when a datagram's peer has
 *           closed, -EPIPE when a seqpacket's has; -EMSGSIZE when it is too long; -EBUSY while
 *           another call sends; -ECANCELED when the socket is closed meanwhile; -EINVAL; those of
 *           send(2) but -EAGAIN, and of every suspending call.
 * Since:    0.3
 */
OURO_API ssize_t ouro_unix_datagram_send(struct ouro_unix_datagram *socket, const void *buffer,
                                         size_t size) OURO_MUST_CHECK;

/*
 * Sends one datagram to @peer.  No event tells when a receiver that is not the peer has room again,
 * so while it has none the call looks every 1 to 16 milliseconds.
 *
 * Suspends: until there is room.
 * Errors:   as ouro_unix_datagram_send(); -ENOENT, -EACCES, -ECONNREFUSED, -EPROTOTYPE for @peer;
 *           -EPERM when it is connected elsewhere; -EISCONN for a seqpacket.
 * Since:    0.3
 */
OURO_API ssize_t ouro_unix_datagram_send_to(struct ouro_unix_datagram *socket, const void *buffer,
                                            size_t size,
                                            const struct ouro_socket_addr *peer) OURO_MUST_CHECK;

/*
 * Sends one message with descriptors, to @peer, or to the connected peer with NULL.
 *
 * Suspends: as ouro_unix_datagram_send_to().
 * Owns:     the descriptors remain the caller's, and may be closed after the call.
 * Errors:   as ouro_unix_datagram_send_to(); -EINVAL for a @count over OURO_UNIX_FDS_MAX; -EBADF;
 *           -ETOOMANYREFS when too many are on their way.
 * Since:    0.3
 */
OURO_API ssize_t ouro_unix_datagram_send_fds(struct ouro_unix_datagram *socket, const void *buffer,
                                             size_t size, const int *fds, size_t count,
                                             const struct ouro_socket_addr *peer) OURO_MUST_CHECK;

/*
 * Receives one message.  Returns its length, which is more than @size when it did not fit: then the
 * first @size bytes are in @buffer and the rest is lost.  0 is a message of no bytes.
 *
 * A seqpacket has an end: when the peer has closed or shut down its sending half, and all that it
 * had sent was received, the call returns -ENODATA.
 *
 * Suspends: until there is a message, or the end.
 * Errors:   -ENODATA; -ECONNRESET when a seqpacket's peer has closed with messages unread; -EBUSY
 *           while another call receives; -ECANCELED when the socket is closed meanwhile; -EINVAL;
 *           those of recv(2) but -EAGAIN, and of every suspending call.
 * Since:    0.3
 */
OURO_API ssize_t ouro_unix_datagram_recv(struct ouro_unix_datagram *socket, void *buffer,
                                         size_t size) OURO_MUST_CHECK;

/*
 * Receives one message, and tells who sent it: an empty address for a sender without a name.
 *
 * Suspends: as ouro_unix_datagram_recv().
 * Errors:   as ouro_unix_datagram_recv().
 * Since:    0.3
 */
OURO_API ssize_t ouro_unix_datagram_recv_from(struct ouro_unix_datagram *socket, void *buffer,
                                              size_t size,
                                              struct ouro_socket_addr *out_peer) OURO_MUST_CHECK;

/*
 * Receives one message with its descriptors.  @out_peer may be NULL.  (The calls above close the
 * descriptors that come.)
 *
 * Suspends: as ouro_unix_datagram_recv().
 * Owns:     the descriptors in @fds are the caller's.
 * Errors:   as ouro_unix_datagram_recv(), and then there are none.  Without free descriptors the
 *           call succeeds and is flagged TRUNCATED.
 * Since:    0.3
 */
OURO_API ssize_t ouro_unix_datagram_recv_fds(struct ouro_unix_datagram *socket, void *buffer,
                                             size_t size, struct ouro_unix_fds *fds,
                                             struct ouro_socket_addr *out_peer) OURO_MUST_CHECK;

/*
 * Shuts down one or both halves, as shutdown(2).  After WRITE the other end of a seqpacket reads
 * the end.
 *
 * Errors:   -EINVAL; -ENOTCONN; -OURO_EFORKED.
 * Since:    0.3
 */
OURO_API int ouro_unix_datagram_shutdown(struct ouro_unix_datagram *socket, enum ouro_shutdown how);

/*
 * Closes and releases the socket, and removes its file.  Calls in progress get -ECANCELED and have
 * left the socket when close returns.  Cancellation, deadlines and shutdown do not interrupt it.
 *
 * Suspends: only until calls of other tasks have ended.
 * Owns:     takes @socket, always; NULL is ignored.
 * Errors:   -OURO_EFORKED in a forked child, where only the child's descriptor is closed.  Whatever
 *           is returned, the socket is released.
 * Since:    0.3
 */
OURO_API int ouro_unix_datagram_close(struct ouro_unix_datagram *socket);

/* Listens for streams, or for seqpackets. */
struct ouro_unix_listener;

#define OURO_UNIX_LISTEN_F_SEQPACKET (1u << 1) /* connections are seqpackets, not streams */

/* Start from OURO_UNIX_LISTEN_OPTIONS_INIT; fields are only ever appended. */
struct ouro_unix_listen_options {
    size_t size;    /* sizeof(struct ouro_unix_listen_options) */
    uint32_t flags; /* OURO_UNIX_F_KEEP_STALE, OURO_UNIX_LISTEN_F_... */
    uint32_t mode;  /* permissions of the file, 0600 or so; 0: 0777 without the umask */
    int backlog;    /* of listen(2); 0: 1024 */
};

#define OURO_UNIX_LISTEN_OPTIONS_INIT                                                              \
    {                                                                                              \
        sizeof(struct ouro_unix_listen_options), 0, 0, 0                                           \
    }

/*
 * Listens at a path or an abstract name (@addr NULL: one that the kernel chooses).  A file of that
 * name is treated as in ouro_unix_datagram_bind().
 *
 * Suspends: as ouro_unix_datagram_bind().
 * Owns:     *out_listener is the caller's; release with ouro_unix_listener_close().  @options
 *           (NULL: the defaults) is borrowed.
 * Errors:   those of ouro_unix_datagram_bind(); -EINVAL for a negative backlog.
 * Since:    0.3
 */
OURO_API int ouro_unix_listener_bind(const struct ouro_socket_addr *addr,
                                     const struct ouro_unix_listen_options *options,
                                     struct ouro_unix_listener **out_listener) OURO_MUST_CHECK;

/*
 * Takes the next connection.  Any number of tasks and threads may wait here.  A shortage of
 * descriptors or memory ends no accept: it is waited out as in ouro_tcp_listener_accept().
 *
 * Suspends: until there is one.
 * Owns:     *out_stream is the caller's; release with ouro_stream_close().
 * Errors:   -EPROTOTYPE for a listener for seqpackets; -ECANCELED when the listener is closed
 *           meanwhile; those of ouro_tcp_listener_accept().
 * Since:    0.3
 */
OURO_API int ouro_unix_listener_accept(struct ouro_unix_listener *listener,
                                       struct ouro_stream **out_stream) OURO_MUST_CHECK;

/*
 * Takes the next connection of a listener for seqpackets.
 *
 * Suspends: as ouro_unix_listener_accept().
 * Owns:     *out_socket is the caller's; release with ouro_unix_datagram_close().
 * Errors:   as ouro_unix_listener_accept(); -EPROTOTYPE for a listener for streams; -ENOMEM, and
 *           the connection is closed.
 * Since:    0.3
 */
OURO_API int
ouro_unix_listener_accept_seqpacket(struct ouro_unix_listener *listener,
                                    struct ouro_unix_datagram **out_socket) OURO_MUST_CHECK;

/*
 * Returns the name that the listener is bound to.
 *
 * Errors:   -EINVAL; those of getsockname(2).
 * Since:    0.3
 */
OURO_API int ouro_unix_listener_local_addr(const struct ouro_unix_listener *listener,
                                           struct ouro_socket_addr *out_addr);

/*
 * Stops listening, releases the listener and removes its file.  Accepts in progress get -ECANCELED
 * and have left the listener when close returns.  Cancellation, deadlines and shutdown do not
 * interrupt it.
 *
 * Suspends: only until accepts of other tasks have ended.
 * Owns:     takes @listener, always; NULL is ignored.
 * Errors:   -OURO_EFORKED in a forked child, where only the child's descriptor is closed.  Whatever
 *           is returned, the listener is released.
 * Since:    0.3
 */
OURO_API int ouro_unix_listener_close(struct ouro_unix_listener *listener);

#ifdef __cplusplus
}
#endif

#endif
