/* SPDX-License-Identifier: MIT */
/*
 * Graceful shutdown: a server that ends well when it is told to.
 *
 *     graceful_shutdown [HOST:PORT] [GRACE-SECONDS]        127.0.0.1:6142 and 5 by default
 *
 * On SIGTERM or SIGINT it stops accepting, and the connections have the grace time to end by
 * themselves.  Then those that are left are cancelled; each says goodbye to its client, in a
 * shield, and closes.  Nothing is leaked on any of these ways.
 *
 * The group holds the accepting task and all connections.  Ending it under a deadline is the whole
 * shutdown: ouro_group_end() waits for the tasks, cancels them when the deadline has passed, and
 * returns when the last one has ended.
 */
#include <errno.h>
#include <ouro.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct server {
    const char *address;
    int64_t grace_ns;
    struct ouro_tcp_listener *listener; /* NULL: closed */
    struct ouro_group tasks;
    int open; /* connections; all tasks run on one thread */
};

struct connection {
    struct server *server;
    struct ouro_stream *stream;
};

/* In a task that was cancelled: waits would fail at once, but not inside the shield. */
static void say_goodbye(struct ouro_stream *stream)
{
    static const char text[] = "the server is going down\n";
    struct ouro_shield shield;
    if (ouro_shield_begin(&shield) < 0)
        return;
    OURO_DEADLINE(limit, OURO_SECOND); /* a client that does not read gets no more time */
    (void)!ouro_stream_write_all(stream, text, sizeof(text) - 1, NULL);
    ouro_shield_end(&shield);
}

static int serve_client(void *arg)
{
    struct connection *connection = arg;
    struct ouro_stream *stream = connection->stream;
    char buffer[4096];
    ssize_t n = 0;
    int rc = 0;
    while (rc == 0 && (n = ouro_stream_read(stream, buffer, sizeof(buffer))) > 0)
        rc = ouro_stream_write_all(stream, buffer, (size_t)n, NULL);
    if (n == -ECANCELED)
        say_goodbye(stream);
    ouro_stream_close(stream);
    connection->server->open--;
    free(connection);
    return 0;
}

static int accept_clients(void *arg)
{
    struct server *server = arg;
    struct ouro_stream *stream = NULL;
    int rc = 0;
    while (server->listener != NULL) {
        rc = ouro_tcp_listener_accept(server->listener, &stream, NULL);
        if (rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM) {
            /* The connection waits in the backlog until others have ended. */
            rc = ouro_sleep(10 * OURO_MILLISECOND);
            if (rc == 0)
                continue;
        }
        if (rc < 0)
            break;
        struct connection *connection = malloc(sizeof(*connection));
        if (connection == NULL) {
            ouro_stream_close(stream);
            continue;
        }
        *connection = (struct connection){.server = server, .stream = stream};
        server->open++;
        if (ouro_group_spawn(&server->tasks, NULL, serve_client, connection) < 0) {
            ouro_stream_close(stream);
            free(connection);
            server->open--;
        }
    }
    if (server->listener == NULL)
        return 0; /* it was closed, which has ended the accept: that is no failure */
    fprintf(stderr, "graceful_shutdown: accept: %s\n", ouro_strerror(rc));
    return rc;
}

static ssize_t read_signal(int fd, void *arg)
{
    ssize_t n = read(fd, arg, sizeof(struct signalfd_siginfo));
    return n < 0 ? -errno : n;
}

/* Waits for one of the signals that main() has blocked.  Returns its number, or a negative code. */
static int wait_for_signal(const sigset_t *signals)
{
    struct signalfd_siginfo info = {.ssi_signo = 0};
    struct ouro_poll_evented *io = NULL;
    int fd = signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return -errno;
    int rc = ouro_poll_evented_new(fd, OURO_READABLE, &io);
    if (rc == 0)
        rc = (int)ouro_poll_evented_io(io, OURO_READABLE, read_signal, &info);
    ouro_poll_evented_free(io);
    close(fd);
    return rc < 0 ? rc : (int)info.ssi_signo;
}

static int end_within(struct server *server, int64_t grace_ns)
{
    OURO_DEADLINE(grace, grace_ns);
    return ouro_group_end(&server->tasks);
}

/* From here on new clients are refused.  The accepting task ends; it may not even have begun. */
static void stop_listening(struct server *server)
{
    struct ouro_tcp_listener *listener = server->listener;
    server->listener = NULL;
    ouro_tcp_listener_close(listener);
}

static int run_until_signal(struct server *server)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    int rc = ouro_group_begin(&server->tasks, OURO_GROUP_F_COLLECT_ALL);
    if (rc < 0) {
        stop_listening(server);
        return rc;
    }
    rc = ouro_group_spawn(&server->tasks, NULL, accept_clients, server);
    if (rc == 0)
        rc = wait_for_signal(&signals);

    stop_listening(server);
    printf("shutting down, %d open\n", server->open);
    fflush(stdout);
    int end_rc = end_within(server, server->grace_ns);
    printf("%s\n", end_rc == -ETIMEDOUT ? "the rest was cut off" : "all have ended");
    if (end_rc == -ETIMEDOUT)
        end_rc = 0;
    return rc < 0 ? rc : end_rc;
}

static int serve(void *arg)
{
    struct server *server = arg;
    struct ouro_socket_addr addr;
    char text[OURO_ADDR_TEXT_MAX];
    int rc = ouro_tcp_listener_bind(OURO_ADDRS(server->address), NULL, &server->listener);
    if (rc < 0)
        return rc;
    rc = ouro_tcp_listener_local_addr(server->listener, &addr);
    if (rc < 0) {
        stop_listening(server);
        return rc;
    }
    printf("listening on %s\n", ouro_socket_addr_format(&addr, text, sizeof(text)));
    fflush(stdout);
    return run_until_signal(server);
}

int main(int argc, char **argv)
{
    struct server server = {
        .address = argc > 1 ? argv[1] : "127.0.0.1:6142",
        .grace_ns = (int64_t)((argc > 2 ? strtod(argv[2], NULL) : 5) * 1e9),
    };
    /* Before the runtime: its threads inherit the mask, and the signals stay pending for signalfd.
     */
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);

    int rc = ouro_run(serve, &server);
    if (rc < 0)
        fprintf(stderr, "graceful_shutdown: %s\n", ouro_strerror(rc));
    return rc < 0;
}
