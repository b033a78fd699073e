/* SPDX-License-Identifier: MIT */
/*
 * ProxyConnection: one client, from its first byte to its end.
 *
 *   1. the PROXY header, where one is expected: it names the real client
 *   2. the limit for each peer
 *   3. a target: the first that connects, each within the connect timeout
 *   4. the PROXY header to the target, where one is to be sent
 *   5. the relay
 *
 * A header is read by peeking, and only the bytes that belong to it are taken from the socket.  So
 * what follows it stays in the socket, for the relay.
 *
 * When the relay ends by a failure of one side, the other side's connection is reset and not
 * closed: a close would look like the proper end of the data.
 *
 * Owns:    the two streams, and the struct proxy_client.
 * Threads: one task of one worker, the same for both streams.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy.h"
#include "proxy_header.h"
#include "proxy_log.h"

#define HEADER_BYTES_FIRST 536 /* every header that fits into the smallest segment */

/* What a connection knows of itself. */
struct connection {
    struct proxy *proxy;
    struct proxy_counts *counts;
    struct ouro_stream *client, *target;
    struct proxy_header ends; /* of the client's connection, or as the PROXY header says */
    struct proxy_choice choice;
};

/* The client's address, for messages. */
static const char *client_text(const struct connection *connection, char *buffer, size_t size)
{
    return ouro_socket_addr_format(&connection->ends.source, buffer, size);
}

/* Takes exactly @size bytes that have arrived. */
static int take_bytes(struct ouro_stream *stream, char *buffer, size_t size)
{
    while (size > 0) {
        ssize_t got = ouro_stream_read(stream, buffer, size);
        if (got <= 0)
            return got < 0 ? (int)got : -EPIPE;
        buffer += got;
        size -= (size_t)got;
    }
    return 0;
}

/*
 * Reads a header: 0; -EPROTO, and *out_why says why; -ENODATA when the client ended before its
 * first byte; or another negative code.
 */
static int read_header(struct ouro_stream *stream, struct proxy_header *out_header,
                       const char **out_why)
{
    size_t size = HEADER_BYTES_FIRST, have = 0;
    char *buffer = malloc(size);
    int rc = buffer != NULL ? 0 : -ENOMEM;
    ssize_t length = 0;
    while (rc == 0 && length == 0) {
        ssize_t got = ouro_stream_peek(stream, buffer + have, size - have);
        if (got <= 0) {
            *out_why = "the connection ended within it";
            rc = got < 0 ? (int)got : have > 0 ? -EPROTO : -ENODATA;
            break;
        }
        length = proxy_header_parse(buffer, have + (size_t)got, out_header, out_why);
        if (length < 0) {
            rc = (int)length;
            break;
        }
        size_t end = length > 0 ? (size_t)length : have + (size_t)got;
        rc = take_bytes(stream, buffer + have, end - have);
        have = end;
        if (rc == 0 && have == size) {
            size = size * 4 < PROXY_HEADER_V2_MAX ? size * 4 : PROXY_HEADER_V2_MAX;
            char *more = realloc(buffer, size);
            rc = more != NULL ? 0 : -ENOMEM;
            buffer = more != NULL ? more : buffer;
        }
    }
    free(buffer);
    return rc;
}

/* Reads the client's header within its time.  False, and a message, when it is none. */
static bool accept_header(struct connection *connection)
{
    struct proxy_header header;
    const char *why = NULL;
    struct ouro_deadline scope;
    int rc = ouro_deadline_begin(&scope, connection->proxy->options->header_ns);
    if (rc == 0) {
        rc = read_header(connection->client, &header, &why);
        ouro_deadline_end(&scope);
    }
    if (rc == 0 && header.has_addrs) {
        connection->ends.source = header.source;
        connection->ends.destination = header.destination;
    }
    /* Who connects and leaves again is looking whether the proxy lives. */
    if (rc < 0 && rc != -ENODATA && rc != -ECANCELED) {
        char text[OURO_ADDR_TEXT_MAX];
        if (rc == -ETIMEDOUT)
            why = "it did not come in time";
        proxy_log("client %s: PROXY header: %s", client_text(connection, text, sizeof(text)),
                  rc == -EPROTO || rc == -ETIMEDOUT ? why : ouro_strerror(rc));
    }
    return rc == 0;
}

/* Whether an error says something about the target, and not about this process. */
static bool is_of_the_target(int rc)
{
    return rc != -ECANCELED && rc != -EMFILE && rc != -ENFILE && rc != -ENOMEM && rc != -ENOBUFS &&
           rc != -EADDRNOTAVAIL && rc != -EAGAIN && rc != -OURO_ESHUTDOWN;
}

/* A target did not connect: leaves it out if that is its fault. */
static void report_failure(struct connection *connection, int rc)
{
    struct proxy_targets *targets = &connection->proxy->options->targets;
    const char *text = targets->list[connection->choice.index].where.text;
    if (!is_of_the_target(rc)) {
        proxy_targets_end(targets, &connection->choice);
        if (rc != -ECANCELED)
            proxy_log("target %s: %s (%s)", text, ouro_strerror(rc), ouro_err_name(rc));
        return;
    }
    int64_t time_ns = proxy_targets_failed(targets, &connection->choice, ouro_now_ns());
    if (time_ns > 0)
        proxy_log("target %s: %s (%s); left out for %.3f s", text, ouro_strerror(rc),
                  ouro_err_name(rc), (double)time_ns / 1e9);
}

/* Connects to the first target that takes it: 0, or the error of the last one. */
static int connect_target(struct connection *connection)
{
    struct proxy *proxy = connection->proxy;
    struct proxy_targets *targets = &proxy->options->targets;
    uint32_t flags = OURO_CONNECT_F_NODELAY;
    if (proxy->options->idle_ns == PROXY_NO_TIMEOUT)
        flags |= OURO_CONNECT_F_KEEPALIVE;
    uint64_t tried = 0;
    int rc = -OURO_ENOADDRESS;
    while (proxy_targets_choose(targets, ouro_now_ns(), &tried, &connection->choice)) {
        const struct target *where = &targets->list[connection->choice.index].where;
        rc = target_connect(where, flags, proxy->options->connect_ns, NULL, &connection->target);
        if (rc == 0) {
            if (proxy_targets_connected(targets, &connection->choice))
                proxy_log("target %s: it is back", where->text);
            return 0;
        }
        report_failure(connection, rc);
        if (rc == -ECANCELED || rc == -OURO_ESHUTDOWN)
            break;
    }
    return rc;
}

static int send_header(struct connection *connection)
{
    char buffer[PROXY_HEADER_WRITE_MAX];
    connection->ends.version = connection->proxy->options->send_proxy;
    size_t size = proxy_header_write(&connection->ends, buffer);
    struct ouro_deadline scope;
    int rc = ouro_deadline_begin(&scope, connection->proxy->options->connect_ns);
    if (rc == 0) {
        rc = ouro_stream_write_all(connection->target, buffer, size, NULL);
        ouro_deadline_end(&scope);
    }
    return rc;
}

/* From now on a close is a reset, where the kind of socket has resets. */
static void reset_at_close(struct ouro_stream *stream)
{
    struct linger at_once = {.l_onoff = 1};
    (void)setsockopt(ouro_stream_fd(stream), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

static enum proxy_outcome relay(struct connection *connection)
{
    struct proxy *proxy = connection->proxy;
    int rc = proxy->options->send_proxy != 0 ? send_header(connection) : 0;
    if (rc == 0)
        rc = proxy_relay(proxy, connection->counts, connection->client, connection->target);
    if (rc < 0) {
        reset_at_close(connection->client);
        reset_at_close(connection->target);
    }
    (void)ouro_stream_close(connection->target);
    proxy_targets_end(&proxy->options->targets, &connection->choice);
    return rc == 0            ? PROXY_DONE
           : rc == -ETIMEDOUT ? PROXY_IDLE
           : rc == -ECANCELED ? PROXY_CUT
                              : PROXY_BROKEN;
}

/* Steps 3 to 5. */
static enum proxy_outcome serve_client(struct connection *connection)
{
    char text[OURO_ADDR_TEXT_MAX];
    int rc = connect_target(connection);
    if (rc == 0)
        return relay(connection);
    if (rc == -ECANCELED || rc == -OURO_ESHUTDOWN) {
        reset_at_close(connection->client);
        return PROXY_CUT;
    }
    proxy_log("client %s: no target takes it; the last said: %s (%s)",
              client_text(connection, text, sizeof(text)), ouro_strerror(rc), ouro_err_name(rc));
    return PROXY_NO_TARGET;
}

static enum proxy_outcome run(struct connection *connection)
{
    const struct proxy_options *options = connection->proxy->options;
    char text[OURO_ADDR_TEXT_MAX];
    if (options->accept_proxy && !accept_header(connection))
        return ouro_task_is_cancelled() ? PROXY_CUT : PROXY_BAD_HEADER;
    /* The address may change no more: leaving is by the same one. */
    struct ouro_socket_addr peer = connection->ends.source;
    int rc = proxy_peers_enter(&connection->proxy->peers, &peer, options->max_per_peer);
    if (rc < 0) {
        proxy_log("client %s: refused: %s", client_text(connection, text, sizeof(text)),
                  rc == -EUSERS ? "too many connections of this peer" : ouro_strerror(rc));
        return PROXY_REFUSED;
    }
    enum proxy_outcome outcome = serve_client(connection);
    proxy_peers_leave(&connection->proxy->peers, &peer, options->max_per_peer);
    return outcome;
}

/* The address that the client connected to. */
static struct ouro_socket_addr local_addr(int fd)
{
    struct sockaddr_storage storage;
    socklen_t length = sizeof(storage);
    struct ouro_socket_addr addr;
    if (getsockname(fd, (struct sockaddr *)&storage, &length) < 0 ||
        ouro_socket_addr_from_sockaddr((struct sockaddr *)&storage, length, &addr) < 0)
        addr = (struct ouro_socket_addr){0};
    return addr;
}

int proxy_connection_task(void *arg)
{
    struct proxy_client client = *(struct proxy_client *)arg;
    free(arg);
    struct connection connection = {
        .proxy = client.proxy,
        .counts = client.counts,
        .ends = {.has_addrs = true, .source = client.addr},
    };
    if (client.proxy->options->send_proxy != 0)
        connection.ends.destination = local_addr(client.fd);
    enum proxy_outcome outcome = PROXY_BROKEN; /* -ENOTCONN: it was reset in the backlog */
    if (ouro_stream_from_fd(client.fd, &connection.client) < 0) {
        close(client.fd);
    } else {
        outcome = run(&connection);
        (void)ouro_stream_close(connection.client);
    }
    proxy_count(&client.counts->ended[outcome], 1);
    proxy_gate_leave(&client.proxy->gate);
    return 0;
}
