/* SPDX-License-Identifier: MIT */
/*
 * Listeners on loopback, tasks that accept from them, and clients.
 */
#ifndef OURO_TEST_LISTENING_H
#define OURO_TEST_LISTENING_H

#include "everywhere.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ouro/tcp.h"
#include "ouro/time.h"
#include "support/sockets.h"

/* A listener on 127.0.0.1; @options may be NULL. */
static inline struct ouro_tcp_listener *listening(const struct ouro_tcp_listen_options *options,
                                                  uint16_t *out_port)
{
    struct ouro_tcp_listener *listener = NULL;
    struct ouro_socket_addr addr;
    ck_assert_int_eq(ouro_tcp_listener_bind(OURO_ADDRS("127.0.0.1:0"), options, &listener), 0);
    ck_assert_int_eq(ouro_tcp_listener_local_addr(listener, &addr), 0);
    *out_port = ouro_socket_addr_port(&addr);
    ck_assert_uint_ne(*out_port, 0);
    return listener;
}

/* Operations of the calling runtime that have not ended. */
static inline uint64_t in_flight(void)
{
    struct ouro_io_driver_metrics metrics;
    struct ouro_handle *handle = ouro_handle_current();
    ck_assert_int_eq(ouro_handle_metrics(handle, &metrics), 0);
    ouro_handle_unref(handle);
    return metrics.submitted - metrics.completed;
}

/* Waits until so many operations are in flight. */
static inline void await_in_flight(uint64_t count)
{
    while (in_flight() != count)
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND / 4), 0);
}

/* One accept, in a task. */
struct acceptor {
    struct ouro_tcp_listener *listener;
    struct ouro_stream *stream;
    struct ouro_socket_addr peer;
    struct ouro_task *task;
    int rc;
};

static inline int accept_in_task(void *arg)
{
    struct acceptor *acceptor = arg;
    acceptor->rc = ouro_tcp_listener_accept(acceptor->listener, &acceptor->stream, &acceptor->peer);
    return 0;
}

static inline void start_acceptor(struct acceptor *acceptor, struct ouro_tcp_listener *listener)
{
    *acceptor = (struct acceptor){.listener = listener};
    ck_assert_int_eq(ouro_task_spawn(accept_in_task, acceptor, &acceptor->task), 0);
}

/* The acceptor's task has ended; what its accept returned. */
static inline int join_acceptor(struct acceptor *acceptor)
{
    ck_assert_int_eq(ouro_task_join(acceptor->task, NULL), 0);
    ck_assert_int_eq(acceptor->rc == 0, acceptor->stream != NULL);
    return acceptor->rc;
}

static inline int accept_within(struct ouro_tcp_listener *listener, int64_t timeout_ns,
                                struct ouro_stream **out_stream)
{
    OURO_DEADLINE(deadline, timeout_ns);
    return ouro_tcp_listener_accept(listener, out_stream, NULL);
}

/* Whether @peer's connection is open, and nothing has come. */
static inline bool is_open(int peer)
{
    char byte = 0;
    return recv(peer, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

/* Waits until @peer's connection has ended: an end of file or a reset. */
static inline void await_end(int peer)
{
    while (is_open(peer))
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND / 4), 0);
}

#endif
