/* SPDX-License-Identifier: MIT */
/*
 * Serve: a whole server from one handler.  ouro listens, accepts, limits, ends what is slow, and
 * finishes well when it is told to.
 *
 *     static int echo(struct ouro_stream *stream, const struct ouro_serve_peer *peer, void *arg)
 *     {
 *         char buffer[4096];
 *         ssize_t n = 0;
 *         while ((n = ouro_stream_read(stream, buffer, sizeof(buffer))) > 0)
 *             if (ouro_stream_write_all(stream, buffer, (size_t)n, NULL) < 0)
 *                 break;
 *         return n < 0 ? (int)n : 0;
 *     }
 *
 *     struct ouro_serve_options options = OURO_SERVE_OPTIONS_INIT;
 *     options.addresses = "127.0.0.1:6142";
 *     int rc = ouro_serve(&options, echo, NULL);       until SIGINT or SIGTERM
 *
 * Every worker of the runtime has a TCP listener of its own for each address; they share it by
 * SO_REUSEPORT (the address must have been free).  A Unix listener is shared by all workers, which
 * accept from it in turn.  A connection stays on the worker that accepted it.  The handler runs as
 * a task on that worker.  The stream is closed when the handler returns.
 *
 * An error of accepting does not end the server.  When descriptors or memory are short, accepting
 * pauses until others have ended, also on a listener with OURO_LISTEN_F_REPORT_SHORTAGE.  An error
 * of the listener itself ends the server with this error.
 *
 * Limits.  Those on connections and on time have a default; that there is none must be asked for.
 *
 *   connections      65,536 at the same time; those beyond it are accepted and closed at once
 *   per peer         4,096 of them from one address (IPv6: from one /64 network; a Unix socket:
 *                    from one user); likewise
 *   idle             60 s: a read or write of the handler's stream ends with -ETIMEDOUT when no
 *                    byte has been received, and none acknowledged by the peer (a Unix socket:
 *                    read by it), for so long while
 *                    it waited.  A peer that reads nothing is cut by it, one that reads slowly is
 *                    not.  It comes up to a quarter later.  A read or write costs nothing for it:
 *                    the connections are looked at eight times in the idle time.  A handler that
 *                    waits for something else is not idle.  Only the handler's own task gets
 *                    -ETIMEDOUT; when another task has been given the stream, its read returns 0
 *                    and its write -EPIPE.
 *                    In request mode a connection without a request is closed after this time.
 *   connection       1 hour from accept to the end, as an OURO_DEADLINE around the handler: every
 *                    suspending call in it returns -ETIMEDOUT afterwards.  It ends a peer that
 *                    sends a byte now and then and so is never idle.  In request mode the request
 *                    during which the time ends is the last one.
 *   request          60 s, in request mode only: the same for one request, from its first byte to
 *                    the handler's return.
 *   received, sent   no limit: the bytes that one connection may bring, and that may be written to
 *                    it; in request mode those of one request.  The read that brings a byte too
 *                    many fails with -OURO_EBYTELIMIT, and so does each read after it.  Writes are
 *                    cut short at the limit, and fail with -OURO_EBYTELIMIT when no byte may be
 *                    written.  A request that has met a limit is the last one of its connection.
 *   in flight        the system's sizes, which grow with use: the bytes that the kernel keeps of
 *                    one connection, each way: what has come and is not read yet, and what was
 *                    written and is not acknowledged.  A handler that writes more waits.  (What has
 *                    come over a Unix socket is in the peer's buffer, and has the peer's limit.)
 *
 * The end.  SIGINT, SIGTERM, or ouro_server_stop(), begin the drain: the listeners take the
 * connections that the kernel has already completed, and close; new ones are refused.  Handlers go
 * on, and can ask ouro_server_is_draining().  When all have returned, the server ends.  What is
 * left after the grace time is cancelled (ouro_task_cancel()), and the server ends when these
 * handlers have returned.  A second signal, or ouro_server_cancel(), cancels at once.
 *
 * Request mode (OURO_SERVE_F_REQUESTS) is for protocols in which connections wait for their next
 * request most of the time.  The handler is called when the first byte of a request has come; it
 * reads and answers one request, and returns OURO_SERVE_KEEP to wait for the next one, or
 * OURO_SERVE_CLOSE.
 *
 *     static int answer(struct ouro_stream *stream, const struct ouro_serve_peer *peer, void *arg)
 *     {
 *         char request[512];
 *         int rc = read_request(stream, request, sizeof(request));     to its last byte
 *         if (rc == 0)
 *             rc = ouro_stream_write_all(stream, "OK\n", 3, NULL);
 *         return rc < 0 ? rc : OURO_SERVE_KEEP;
 *     }
 *
 * Between requests the connection has no task and no buffer, and takes 512 bytes of memory in all,
 * what the kernel has for its socket not counted.  With a handler for the whole connection that
 * reads on loan (ouro/loan.h) it takes 4.6 KiB.  After a peak the memory goes back to the system
 * within seconds.  Whatever its peer does, a connection takes in addition only what its handler
 * uses: the pages of its stack, and up to loans_per_stream buffers on loan.  With a handler of
 * small frames that holds one loan at a time, as ouro/reader.h does, that is 24 KiB in all at most
 * (loan_buffer_bytes is 16 KiB by default).
 *
 * Bytes that the handler has not read stay in the socket: if a second request is there already,
 * the handler is called again at once.  Bytes that it has read are its own.  So it reads no further
 * than to the end of its request (ouro_stream_peek() looks ahead), or handles all requests of which
 * it has read a part before it returns.
 *
 * During the drain a connection is closed as soon as it has no request, whatever its handler
 * returns.  Bytes that have come by then are a request.
 *
 * ouro_serve() is ouro_server_new(), ouro_server_run() and ouro_server_free() in one.
 */
#ifndef OURO_SERVE_H
#define OURO_SERVE_H

#include <ouro/addr.h>
#include <ouro/api.h>
#include <ouro/stream.h>
#include <ouro/tcp.h>
#include <ouro/time.h>
#include <ouro/unix.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ouro_server;

/* Who is connected.  Valid until the handler returns. */
struct ouro_serve_peer {
    struct ouro_socket_addr addr; /* of the other end; AF_UNIX without a name for a Unix socket:
                                     ouro_unix_stream_peer_credentials() tells who it is */
    struct ouro_server *server;
    uint32_t worker;  /* that accepted it, and runs the handler */
    uint32_t request; /* in request mode: the number of the request on the connection, from 0 */
};

/* In request mode, what a handler returns: close, or wait for the next request. */
#define OURO_SERVE_CLOSE 0
#define OURO_SERVE_KEEP 1

/*
 * Serves one connection, or one request, as a task.  A negative result is counted as a failure, and
 * changes nothing else; other results matter in request mode only.  Unless it is kept, the stream
 * is closed afterwards.  The handler must not close it, nor leave it to a task that goes on.
 */
typedef int ouro_serve_handler(struct ouro_stream *stream, const struct ouro_serve_peer *peer,
                               void *arg);

#define OURO_SERVE_F_NO_SIGNALS (1u << 0) /* signals are the program's */
#define OURO_SERVE_F_REQUESTS (1u << 1)   /* request mode */
#define OURO_SERVE_F_COUNT_BYTES                                                                   \
    (1u << 2) /* for the statistics.  It is also done for a limit on bytes, and costs an addition  \
                 for each read and write; without it a read or write of TCP costs nothing more. */

#define OURO_SERVE_NO_LIMIT UINT32_MAX  /* for the limits on connections */
#define OURO_SERVE_NO_TIMEOUT INT64_MAX /* for the times */

/* The signal with this number, for ouro_serve_options.signals. */
#define OURO_SERVE_SIGNAL(number) (UINT64_C(1) << ((number)-1))

/* Start from OURO_SERVE_OPTIONS_INIT; 0 in a field means the default named with it.  Fields are
 * only ever appended. */
struct ouro_serve_options {
    size_t size;              /* sizeof(struct ouro_serve_options) */
    uint32_t flags;           /* OURO_SERVE_F_... */
    uint32_t connections_max; /* 65,536 */
    uint32_t per_peer_max;    /* 4,096 */
    uint32_t listeners_count; /* how many listeners there are */
    const char *addresses;    /* "HOST:PORT", "unix:PATH", "unix:@NAME"; several are separated by
                                 commas, so a path has none; NULL: listeners only */
    const struct ouro_tcp_listen_options *listen; /* for TCP addresses; NULL: NODELAY, backlog
                                                     1024 */
    struct ouro_tcp_listener *const *listeners;   /* further ones, made by the caller; number i is
                                                     accepted from on worker i, and around again */
    int64_t idle_ns;                              /* 60 s */
    int64_t connection_ns;                        /* 1 hour */
    int64_t grace_ns;                             /* 10 s */
    uint64_t signals;        /* OURO_SERVE_SIGNAL(...) | ...; SIGINT and SIGTERM */
    size_t stack_size_bytes; /* of a handler's task; the runtime's default */
    int64_t request_ns;      /* 60 s */
    const struct ouro_unix_listen_options *unix_listen; /* for Unix addresses; NULL: the defaults */
    struct ouro_unix_listener *const *unix_listeners;   /* further ones, made by the caller; all
                                                           workers accept from each */
    uint32_t unix_listeners_count;
    uint32_t in_flight_max; /* bytes, for SO_SNDBUF and SO_RCVBUF; the system's */
    uint64_t received_max;  /* bytes; no limit */
    uint64_t sent_max;      /* bytes; no limit */
};

#define OURO_SERVE_OPTIONS_INIT                                                                    \
    {                                                                                              \
        sizeof(struct ouro_serve_options), 0, 0, 0, 0, NULL, NULL, NULL, 0, 0, 0, 0, 0, 0, NULL,   \
            NULL, 0, 0, 0, 0                                                                       \
    }

/*
 * Makes a server: opens its listeners.  Connections are taken when it runs.  @handler gets @arg.
 *
 * Suspends: only to resolve names, and as ouro_unix_listener_bind().
 * Owns:     *out_server is the caller's; release with ouro_server_free().  The listeners in the
 *           options are the server's on success, and remain the caller's on failure.  The rest of
 *           @options is borrowed for the call, @arg until the server has ended.
 * Errors:   -EINVAL without an address and a listener, without a handler, for unknown flags,
 *           negative times, a signal that cannot be caught, or an in_flight_max over INT32_MAX;
 *           -OURO_EADDRSYNTAX; those of ouro_tcp_listener_bind() and ouro_unix_listener_bind(),
 *           -EADDRINUSE among them; -EPROTOTYPE for a Unix listener for seqpackets;
 *           -OURO_ETIMEDISABLED in a runtime without time; -ENOMEM; -OURO_EIODISABLED; those of
 *           every suspending call.
 * Since:    0.3
 */
OURO_API int ouro_server_new(const struct ouro_serve_options *options, ouro_serve_handler *handler,
                             void *arg, struct ouro_server **out_server) OURO_MUST_CHECK;

/*
 * Returns the address that the server listens on, with the port that the system chose for port 0.
 * @index counts the addresses of the options, then the listeners, then the Unix listeners.
 *
 * Errors:  -EINVAL for NULL or an index that does not exist.
 * Threads: any.
 * Since:   0.3
 */
OURO_API int ouro_server_addr(const struct ouro_server *server, uint32_t index,
                              struct ouro_socket_addr *out_addr);

/*
 * Serves until the server is told to end, and all handlers have returned.  A server runs once.
 *
 * Signals: while it runs, each of options.signals has a handler of the library (sigaction(2)).  A
 * signal that is ignored when the server starts stays ignored.  At the end the disposition from
 * before is restored.  At least one thread of the program must not block them; the library's own
 * threads block them while they wait.
 *
 * Suspends: until the server has ended.  When the caller is interrupted (cancellation, deadline,
 *           shutdown), the server ends without grace time: the handlers are cancelled at once.
 * Errors:   0 after ouro_server_stop(); the number of the signal that ended it; -ETIMEDOUT when the
 *           grace time was over and handlers had to be cancelled; -ECANCELED when they had to be
 *           because of a second signal or ouro_server_cancel(); the error of a listener; why the
 *           caller was interrupted; -EINVAL for NULL or in another runtime than that of
 *           ouro_server_new(); -EALREADY when it has run; -EBUSY when 16 servers handle signals;
 *           -ENOMEM, -EMFILE, -ENFILE, -ENOSPC, -EAGAIN when it cannot start.
 * Threads:  one caller; a task, or a thread that has entered the runtime.
 * Since:    0.3
 */
OURO_API int ouro_server_run(struct ouro_server *server) OURO_MUST_CHECK;

/*
 * Tells the server to drain and end.  Before ouro_server_run() it makes that call end at once.  May
 * be called again.
 *
 * Errors:  -EINVAL for NULL; -OURO_EFORKED.
 * Threads: any.
 * Since:   0.3
 */
OURO_API int ouro_server_stop(struct ouro_server *server);

/*
 * Tells the server to end without grace time: its handlers are cancelled.
 *
 * Errors:  -EINVAL for NULL; -OURO_EFORKED.
 * Threads: any.
 * Since:   0.3
 */
OURO_API int ouro_server_cancel(struct ouro_server *server);

/*
 * Tells whether the server is about to end: 1 from the beginning of the drain on, else 0.  A
 * handler that waits for the next of many requests asks before it waits.
 *
 * Errors:  none.
 * Threads: any.
 * Since:   0.3
 */
OURO_API int ouro_server_is_draining(const struct ouro_server *server);

/*
 * What a server has done.  Every connection that was accepted is counted once as refused, shed,
 * active, idle or closed.
 */
struct ouro_serve_stats {
    size_t size;            /* sizeof(struct ouro_serve_stats), filled in by the caller */
    uint64_t accepted;      /* connections taken from the listeners */
    uint64_t active;        /* with a handler now */
    uint64_t closed;        /* whose handler has returned; in request mode: that have ended */
    uint64_t refused;       /* closed at once: there were connections_max */
    uint64_t refused_peer;  /* closed at once: there were per_peer_max from this peer */
    uint64_t shed;          /* closed at once: no memory or no task for them */
    uint64_t timed_out;     /* handlers, and idle connections, that a time limit has ended */
    uint64_t cancelled;     /* handlers that were cancelled at the end */
    uint64_t failed;        /* handlers that returned a negative code, those above included */
    uint64_t idle;          /* in request mode: that wait for a request now */
    uint64_t requests;      /* in request mode: handlers that have returned */
    uint64_t accept_pauses; /* times that accepting stopped for want of descriptors or memory */
    uint64_t over_limit;    /* handlers that a limit on bytes has hit */
    uint64_t received;      /* bytes that were read from connections, and */
    uint64_t sent;          /* bytes that were written to them, where bytes are counted: with
                               OURO_SERVE_F_COUNT_BYTES or a limit on them */
};

#define OURO_SERVE_STATS_INIT                                                                      \
    {                                                                                              \
        sizeof(struct ouro_serve_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0               \
    }

/*
 * Reads the counters; start from OURO_SERVE_STATS_INIT.  While the server runs, they may be from
 * slightly different moments.
 *
 * Errors:  -EINVAL for NULL or a size that no version has had.
 * Threads: any.
 * Since:   0.3
 */
OURO_API int ouro_server_stats(const struct ouro_server *server, struct ouro_serve_stats *stats);

/*
 * Releases a server that does not run: closes its listeners if it has never run.  NULL is ignored.
 *
 * Owns:    takes @server on success.
 * Errors:  -EBUSY while ouro_server_run() is in progress; -OURO_EFORKED in a forked child, where
 *          only memory is released and descriptors are closed.
 * Threads: any, when no other call uses the server any more.
 * Since:   0.3
 */
OURO_API int ouro_server_free(struct ouro_server *server);

/*
 * Makes a server, runs it and frees it.
 *
 * Suspends: until the server has ended.
 * Owns:     as ouro_server_new().  Use the two calls when the options have listeners: an error does
 *           not tell which of the two returned it.
 * Errors:   those of ouro_server_new() and ouro_server_run().
 * Since:    0.3
 */
OURO_API int ouro_serve(const struct ouro_serve_options *options, ouro_serve_handler *handler,
                        void *arg) OURO_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
