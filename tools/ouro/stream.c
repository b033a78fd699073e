/* SPDX-License-Identifier: MIT */
/*
 * Stream: TcpStream or UnixStream behind one set of calls, as `ouro connect` takes either.
 *
 * Owns:    a struct stream owns its one stream; the struct itself is the caller's.
 * Threads: as the stream inside: one reader and one writer at a time.
 */
#include "stream.h"

static int connect_unix(const struct target *target, struct attempts *attempts,
                        struct stream *out_stream)
{
    struct ouro_unix_stream *local = NULL;
    int64_t begin_ns = attempts != NULL ? ouro_now_ns() : 0;
    int rc = ouro_unix_stream_connect(&target->unix_addr, &local);
    if (attempts != NULL) {
        attempts->count = 1;
        attempts->kept[0] = (struct ouro_connect_attempt){
            .addr = target->unix_addr, .error = rc, .duration_ns = ouro_now_ns() - begin_ns};
    }
    if (rc == 0)
        *out_stream = (struct stream){.local = local};
    return rc;
}

static int connect_tcp(const struct target *target, uint32_t flags, struct attempts *attempts,
                       struct stream *out_stream)
{
    struct ouro_tcp_connect_options options = OURO_TCP_CONNECT_OPTIONS_INIT;
    options.flags = flags;
    options.bind = target->has_from ? &target->from : NULL;
    if (attempts != NULL) {
        options.attempts = attempts->kept;
        options.attempts_max = STREAM_ATTEMPTS_MAX;
        options.attempts_count = &attempts->count;
    }
    struct ouro_tcp_stream *tcp = NULL;
    int rc = ouro_tcp_stream_connect_with(&target->addrs, &options, &tcp);
    if (rc == 0)
        *out_stream = (struct stream){.tcp = tcp};
    return rc;
}

int stream_connect(const struct target *target, uint32_t flags, int64_t timeout_ns,
                   struct attempts *attempts, struct stream *out_stream)
{
    struct ouro_deadline scope;
    if (timeout_ns != INT64_MAX) {
        int rc = ouro_deadline_begin(&scope, timeout_ns);
        if (rc < 0)
            return rc;
    }
    int rc = target->is_unix ? connect_unix(target, attempts, out_stream)
                             : connect_tcp(target, flags, attempts, out_stream);
    if (timeout_ns != INT64_MAX)
        ouro_deadline_end(&scope);
    return rc;
}

ssize_t stream_read(const struct stream *stream, void *buffer, size_t size)
{
    return stream->tcp != NULL ? ouro_tcp_stream_read(stream->tcp, buffer, size)
                               : ouro_unix_stream_read(stream->local, buffer, size);
}

int stream_write_all(const struct stream *stream, const void *buffer, size_t size)
{
    return stream->tcp != NULL ? ouro_tcp_stream_write_all(stream->tcp, buffer, size)
                               : ouro_unix_stream_write_all(stream->local, buffer, size);
}

int stream_shutdown_write(const struct stream *stream)
{
    return stream->tcp != NULL ? ouro_tcp_stream_shutdown(stream->tcp, OURO_SHUTDOWN_WRITE)
                               : ouro_unix_stream_shutdown(stream->local, OURO_SHUTDOWN_WRITE);
}

void stream_close(struct stream *stream)
{
    (void)ouro_tcp_stream_close(stream->tcp);
    (void)ouro_unix_stream_close(stream->local);
    *stream = (struct stream){0};
}
