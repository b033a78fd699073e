/* SPDX-License-Identifier: MIT */
/*
 * Where to connect to, and the stream that comes of it, TCP or Unix alike.
 */
#ifndef OURO_STREAM_H
#define OURO_STREAM_H

#include <ouro.h>
#include <stdbool.h>

/* How many attempts are kept for the report; a name has rarely more addresses. */
#define STREAM_ATTEMPTS_MAX 64

struct target {
    const char *text; /* as given */
    bool is_unix;
    struct ouro_socket_addr unix_addr; /* where is_unix */
    struct ouro_to_socket_addrs addrs; /* elsewhere */
    bool has_from;
    struct ouro_socket_addr from; /* the local address to bind */
};

/* Exactly one of the two is set. */
struct stream {
    struct ouro_tcp_stream *tcp;
    struct ouro_unix_stream *local;
};

/* What was tried, in the order of the beginnings. */
struct attempts {
    size_t count; /* may exceed what was kept */
    struct ouro_connect_attempt kept[STREAM_ATTEMPTS_MAX];
};

/*
 * Connects within @timeout_ns (INT64_MAX: without a limit of our own).  @flags are
 * OURO_CONNECT_F_...; @attempts may be NULL.  The stream is to be closed by stream_close().
 */
int stream_connect(const struct target *target, uint32_t flags, int64_t timeout_ns,
                   struct attempts *attempts, struct stream *out_stream);

ssize_t stream_read(const struct stream *stream, void *buffer, size_t size);
int stream_write_all(const struct stream *stream, const void *buffer, size_t size);
int stream_shutdown_write(const struct stream *stream);
void stream_close(struct stream *stream);

#endif
