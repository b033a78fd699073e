/* SPDX-License-Identifier: MIT */
/*
 * TCP: connecting, listening, and what only a TCP stream can do.  Reading, writing and closing are
 * those of every stream (ouro/stream.h).
 */
#ifndef OURO_TCP_H
#define OURO_TCP_H

#include <ouro/addr.h>
#include <ouro/api.h>
#include <ouro/stream.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ouro_tcp_listener;

/* The outcome of one attempt to connect. */
struct ouro_connect_attempt {
    struct ouro_socket_addr addr;
    int error;           /* 0: connected; -ECANCELED: another address connected first; else why */
    int64_t start_ns;    /* from the first attempt of the call to the start of this one */
    int64_t duration_ns; /* from its start to its end */
};

#define OURO_CONNECT_F_NODELAY (1u << 0)   /* TCP_NODELAY */
#define OURO_CONNECT_F_KEEPALIVE (1u << 1) /* SO_KEEPALIVE */
#define OURO_CONNECT_F_RESET (1u << 2) /* SO_LINGER 0: close resets, nothing stays in TIME_WAIT */
#define OURO_CONNECT_F_SEQUENTIAL (1u << 3) /* one address after the other, in the order given */

/* Start from OURO_TCP_CONNECT_OPTIONS_INIT; fields are only ever appended. */
struct ouro_tcp_connect_options {
    size_t size;                         /* sizeof(struct ouro_tcp_connect_options) */
    uint32_t flags;                      /* OURO_CONNECT_F_... */
    const struct ouro_socket_addr *bind; /* local address; port 0: any.  NULL: not bound */
    int send_buffer_bytes;               /* SO_SNDBUF; 0: the system's */
    int receive_buffer_bytes;            /* SO_RCVBUF; 0: the system's */
    int64_t stagger_ns; /* head start of each address; 0: 250 ms (RFC 8305 section 5) */
    struct ouro_connect_attempt *attempts; /* room for the report, or NULL */
    size_t attempts_max;                   /* entries that fit in attempts */
    size_t *attempts_count;                /* attempts made; may exceed attempts_max */
};

#define OURO_TCP_CONNECT_OPTIONS_INIT                                                              \
    {                                                                                              \
        sizeof(struct ouro_tcp_connect_options), 0, NULL, 0, 0, 0, NULL, 0, NULL                   \
    }

/*
 * Connects to the first address that accepts.  The addresses are tried by RFC 8305 (Happy
 * Eyeballs): the families in turn, each address 250 ms after the one before or as soon as that has
 * failed.  When one has connected, the other attempts are cancelled, awaited and closed.
 *
 * A connect to a port of this machine without a listener is refused, even if the kernel has chosen
 * the same port as the local one and would connect the socket to itself.
 *
 * Suspends: until connected, or all addresses have failed.
 * Owns:     *out_stream is the caller's; release with ouro_stream_close().  @addrs and what it
 *           points to are borrowed, and must not change during the call.
 * Errors:   that of the address that came closest: refused or reset, else timed out, else
 *           unreachable, else forbidden, else a local error, else unsupported; those of
 *           ouro_resolve(); -OURO_ENOADDRESS for an empty list, and then no socket is made;
 *           -EINVAL; -EMFILE, -ENFILE, -ENOMEM; -OURO_EIODISABLED; those of every suspending call.
 * Since:    0.1
 */
OURO_API int ouro_tcp_stream_connect(const struct ouro_to_socket_addrs *addrs,
                                     struct ouro_stream **out_stream) OURO_MUST_CHECK;

/*
 * Connects as ouro_tcp_stream_connect(), with options (NULL: the defaults).  The report of the
 * attempts is written whenever addresses were tried, also when the call fails.
 *
 * Suspends: as ouro_tcp_stream_connect().
 * Owns:     as ouro_tcp_stream_connect(); @options and what it points to are borrowed.
 * Errors:   as ouro_tcp_stream_connect(); -EINVAL for unknown flags, a negative number or an
 *           invalid address to bind; those of setsockopt(2) and bind(2).
 * Since:    0.1
 */
OURO_API int ouro_tcp_stream_connect_with(const struct ouro_to_socket_addrs *addrs,
                                          const struct ouro_tcp_connect_options *options,
                                          struct ouro_stream **out_stream) OURO_MUST_CHECK;

/*
 * Returns the address of this end.
 *
 * Errors:   -EINVAL; -EOPNOTSUPP for a stream of another kind; those of getsockname(2).
 * Since:    0.1
 */
OURO_API int ouro_tcp_stream_local_addr(const struct ouro_stream *stream,
                                        struct ouro_socket_addr *out_addr);

/*
 * Returns the address of the other end.
 *
 * Errors:   -EINVAL; -EOPNOTSUPP for a stream of another kind; those of getpeername(2), -ENOTCONN
 *           after a reset.
 * Since:    0.1
 */
OURO_API int ouro_tcp_stream_peer_addr(const struct ouro_stream *stream,
                                       struct ouro_socket_addr *out_addr);

/*
 * Turns TCP_NODELAY on or off.  When it is on, small writes are sent at once; when it is off, they
 * may wait for the acknowledgement of earlier writes, to share a packet.
 *
 * Errors:   -EINVAL; -EOPNOTSUPP for a stream of another kind; those of setsockopt(2);
 *           -OURO_EFORKED.
 * Since:    0.1
 */
OURO_API int ouro_tcp_stream_set_nodelay(struct ouro_stream *stream, int on);

/*
 * Turns TCP_CORK on or off.  While it is on, writes fill whole packets, and what does not fill one
 * waits; when it is turned off, the rest is sent at once.  So several writes share their packets:
 * cork, write, write, uncork.  The kernel holds a partial packet for at most 200 milliseconds.
 * TCP_NODELAY does not change this.  (A header and a body in two buffers need no cork:
 * ouro_stream_writev_all() sends them in one go.)
 *
 * Errors:   -EINVAL; -EOPNOTSUPP for a stream of another kind; those of setsockopt(2);
 *           -OURO_EFORKED.
 * Since:    0.3
 */
OURO_API int ouro_tcp_stream_set_cork(struct ouro_stream *stream, int on);

#define OURO_LISTEN_F_REUSEPORT (1u << 0) /* SO_REUSEPORT: several listeners on one address */
#define OURO_LISTEN_F_NODELAY (1u << 1)   /* accepted streams have TCP_NODELAY */
#define OURO_LISTEN_F_V6ONLY (1u << 2)    /* IPV6_V6ONLY */
/*
 * With REUSEPORT: the address must be free, as without it (-EADDRINUSE); listeners that are bound
 * afterwards with REUSEPORT alone share it.  Use it for the first listener of a program.  Without
 * it a second instance of the program takes a part of the first one's connections, and neither gets
 * an error.
 */
#define OURO_LISTEN_F_EXCLUSIVE (1u << 3)

#define OURO_LISTEN_F_KEEPALIVE (1u << 4) /* accepted streams have SO_KEEPALIVE; since 0.3 */
/*
 * A shortage of descriptors or memory ends an accept with -EMFILE, -ENFILE, -ENOMEM, -ENOBUFS or
 * -ENOSPC, and closes no connection: for programs that have a rule of their own.  They must not try
 * again at once.  Since 0.3; until 0.2 always so
 */
#define OURO_LISTEN_F_REPORT_SHORTAGE (1u << 5)

/*
 * Start from OURO_TCP_LISTEN_OPTIONS_INIT; fields are only ever appended.  Buffers and keepalive
 * times are those of the accepted streams.
 */
struct ouro_tcp_listen_options {
    size_t size;    /* sizeof(struct ouro_tcp_listen_options) */
    uint32_t flags; /* OURO_LISTEN_F_... */
    int backlog;    /* of listen(2); 0: 1024 */
    /* Since 0.3. */
    int fastopen_queue;       /* TCP_FASTOPEN: handshakes in progress that carry data; 0: off */
    int send_buffer_bytes;    /* SO_SNDBUF; 0: the system's */
    int receive_buffer_bytes; /* SO_RCVBUF; 0: the system's */
    int keepalive_idle_s;     /* TCP_KEEPIDLE, seconds until the first probe; 0: the system's */
    int keepalive_interval_s; /* TCP_KEEPINTVL, seconds between probes; 0: the system's */
    int keepalive_count;      /* TCP_KEEPCNT, probes without answer; 0: the system's */
    uint32_t accept_rate;     /* connections accepted in a second, at most; 0: no limit */
    uint32_t accept_burst;    /* with a rate: how many of them may be accepted at once; 0: 1 */
};

#define OURO_TCP_LISTEN_OPTIONS_INIT                                                               \
    {                                                                                              \
        sizeof(struct ouro_tcp_listen_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0                       \
    }

/*
 * Listens on the first of the addresses that can be bound; SO_REUSEADDR is set.
 *
 * Suspends: only to resolve a name.
 * Owns:     *out_listener is the caller's; release with ouro_tcp_listener_close().  @options (NULL:
 *           the defaults) is borrowed.
 * Errors:   those of socket(2), setsockopt(2), bind(2) and listen(2) for the last address;
 *           -EAFNOSUPPORT for an address that is not IPv4 or IPv6; those of ouro_resolve(); -EINVAL
 *           for unknown flags or a negative number; -ENOMEM; -OURO_EIODISABLED; those of every
 *           suspending call.
 * Since:    0.1
 */
OURO_API int ouro_tcp_listener_bind(const struct ouro_to_socket_addrs *addrs,
                                    const struct ouro_tcp_listen_options *options,
                                    struct ouro_tcp_listener **out_listener) OURO_MUST_CHECK;

/*
 * Makes @count listeners that share one address, one for each worker of a server.  The kernel gives
 * each of them a part of the connections (SO_REUSEPORT), and each worker accepts from its own.  The
 * address is the first for which all @count listeners can be made; with port 0 all get the port
 * that the system chose for the first.
 *
 * The address must be free, as with OURO_LISTEN_F_EXCLUSIVE: a second instance of the program gets
 * -EADDRINUSE.  OURO_LISTEN_F_REUSEPORT without EXCLUSIVE lets other programs share it.
 *
 * When one of the listeners is closed, the connections that wait in its own backlog are reset.
 *
 * Suspends: only to resolve a name.
 * Owns:     the entries of @out_listeners, which has room for @count, are the caller's; release
 *           each with ouro_tcp_listener_close().  @options (NULL: the defaults) is borrowed.
 * Errors:   as ouro_tcp_listener_bind(); -EINVAL also for a @count of 0.  After an error there is
 *           no listener.
 * Since:    0.3
 */
OURO_API int ouro_tcp_listener_bind_each(const struct ouro_to_socket_addrs *addrs,
                                         const struct ouro_tcp_listen_options *options,
                                         size_t count,
                                         struct ouro_tcp_listener *out_listeners[]) OURO_MUST_CHECK;

/*
 * Takes the next connection.  Any number of tasks and threads may wait on one listener; they are
 * served in the order in which they came.
 *
 * Errors of a single connection are not reported: the next one is taken.  A connection that was
 * reset while it waited is passed over when @out_peer is wanted, since it has no peer any more;
 * otherwise its first read reports the reset.  When descriptors or memory run out, the call pauses
 * and tries again until it is interrupted, and some of the connections that wait are closed, so
 * that their peers see an end (ouro_tcp_listener_stats() counts them).  The pauses grow from 1 to
 * 64 ms.
 *
 * On io_uring connections may be accepted before they are asked for, where acceptors come back at
 * once.  They wait for the next acceptor, and are closed with the listener.  With
 * options.accept_rate this is not done.
 *
 * Suspends: until there is one, and until options.accept_rate permits it.  With several acceptors
 *           each one beyond the first may exceed the burst by one.
 * Owns:     *out_stream is the caller's; release with ouro_stream_close().  @out_peer may be NULL,
 *           which saves a system call.
 * Errors:   -ECANCELED when the listener is closed meanwhile; those of accept(2) that are about the
 *           listener; with OURO_LISTEN_F_REPORT_SHORTAGE a shortage; those of every suspending
 *           call.
 * Since:    0.1; until 0.2 a second acceptor got -EBUSY, and a shortage was reported
 */
OURO_API int ouro_tcp_listener_accept(struct ouro_tcp_listener *listener,
                                      struct ouro_stream **out_stream,
                                      struct ouro_socket_addr *out_peer) OURO_MUST_CHECK;

/* Counts since the listener was made. */
struct ouro_tcp_listener_stats {
    uint64_t shed;   /* connections closed because there were no descriptors */
    uint64_t failed; /* connections that failed while they waited to be accepted */
    uint64_t pauses; /* pauses of acceptors: no descriptors, no memory, or nothing but failures */
};

/*
 * Reads the counts.
 *
 * Errors:   -EINVAL.
 * Threads:  any.
 * Since:    0.3
 */
OURO_API int ouro_tcp_listener_stats(const struct ouro_tcp_listener *listener,
                                     struct ouro_tcp_listener_stats *out_stats);

/*
 * Returns the address that the listener is bound to, with the port that the system chose for port
 * 0.
 *
 * Errors:   -EINVAL; those of getsockname(2).
 * Since:    0.1
 */
OURO_API int ouro_tcp_listener_local_addr(const struct ouro_tcp_listener *listener,
                                          struct ouro_socket_addr *out_addr);

/*
 * Stops listening and releases the listener.  Accepts in progress get -ECANCELED and have left the
 * listener when close returns.  Cancellation, deadlines and shutdown do not interrupt it.
 *
 * Suspends: only while accepts are being ended.
 * Owns:     takes @listener, always; NULL is ignored.
 * Errors:   -OURO_EFORKED in a forked child, where only the child's descriptor is closed.  Whatever
 *           is returned, the listener is released.
 * Since:    0.1
 */
OURO_API int ouro_tcp_listener_close(struct ouro_tcp_listener *listener);

#ifdef __cplusplus
}
#endif

#endif
