/* SPDX-License-Identifier: MIT */
/*
 * `ouro serve echo`: sends back what it receives.
 *
 * One task for each connection, which reads and writes in turn; one task for each worker, which
 * accepts on a listener of its own.  With several workers the listeners share the address by
 * SO_REUSEPORT, so the kernel spreads the connections and none ever changes its worker.
 *
 *   main task      opens the listeners, says so on stdout, begins a group and waits for its end
 *   signal task    waits for SIGINT or SIGTERM, then cancels the group
 *   accept task    accepts, spawns into a group of its own; waits while descriptors are short
 *   echo task      reads, writes, until the peer ends or the server does
 *
 * Each task ends before the one that began its group.  An accept that fails for good ends the
 * server with a failure.
 *
 * Owns:    listeners: the main task; a stream: its echo task.
 * Threads: the accept tasks run on their workers and share nothing; the main task on any.
 */
#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli.h"
#include "output.h"
#include "signals.h"

#define WORKERS_MAX 256
#define BACKOFF_MIN_NS (10 * OURO_MILLISECOND)
#define BACKOFF_MAX_NS OURO_SECOND
#define ECHO_BUFFER_BYTES ((size_t)16 * 1024)

struct serve_options {
    const char *service;
    const char *address;
    enum ouro_driver_kind driver;
    uint64_t workers;
};

struct server {
    const struct serve_options *options;
    int signal_fd;
    struct ouro_group group;
    struct ouro_tcp_listener *listeners[WORKERS_MAX]; /* one for each worker */
};

/* What goes wrong with one connection is no failure of the server. */
static int echo_task(void *arg)
{
    struct ouro_stream *stream = arg;
    char buffer[ECHO_BUFFER_BYTES];
    for (;;) {
        ssize_t got = ouro_stream_read(stream, buffer, sizeof(buffer));
        if (got <= 0 || ouro_stream_write_all(stream, buffer, (size_t)got, NULL) < 0)
            break;
    }
    (void)ouro_stream_close(stream);
    return 0;
}

/* The connection's own troubles, of which accept(2) may tell; the listener is as good as before. */
static bool is_of_the_peer(int rc)
{
    return rc == -ECONNABORTED || rc == -EPROTO || rc == -EINTR || rc == -EPERM ||
           rc == -ENETDOWN || rc == -ENETUNREACH || rc == -EHOSTDOWN || rc == -EHOSTUNREACH ||
           rc == -ENONET || rc == -ENOPROTOOPT || rc == -EOPNOTSUPP || rc == -ETIMEDOUT;
}

/* ENOSPC: of epoll's watches, which are counted for each user (epoll(7), max_user_watches). */
static bool is_shortage(int rc)
{
    return rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM || rc == -ENOBUFS || rc == -EAGAIN ||
           rc == -ENOSPC;
}

/* Takes one connection and starts its task. */
static int accept_one(struct ouro_tcp_listener *listener, struct ouro_group *connections)
{
    struct ouro_stream *stream = NULL;
    int rc = ouro_tcp_listener_accept(listener, &stream, NULL);
    if (rc < 0)
        return rc;
    struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
    options.name = "echo";
    options.worker = OURO_WORKER_CURRENT;
    rc = ouro_group_spawn(connections, &options, echo_task, stream);
    if (rc < 0)
        (void)ouro_stream_close(stream);
    return rc;
}

/*
 * A shortage ends by waiting: connections that end give back what they hold.  Until then the
 * backlog keeps the newcomers; asking again at once would only burn the CPU the others need.
 */
static int wait_for_others(int rc, int64_t *backoff_ns)
{
    if (*backoff_ns == 0)
        output_error("accept: %s (%s); waiting", ouro_strerror(rc), ouro_err_name(rc));
    *backoff_ns = *backoff_ns == 0 ? BACKOFF_MIN_NS : 2 * *backoff_ns;
    if (*backoff_ns > BACKOFF_MAX_NS)
        *backoff_ns = BACKOFF_MAX_NS;
    return ouro_sleep(*backoff_ns);
}

/* Accepts until that is cancelled or fails for good. */
static int accept_all(struct ouro_tcp_listener *listener, struct ouro_group *connections)
{
    int64_t backoff_ns = 0;
    for (;;) {
        int rc = accept_one(listener, connections);
        if (rc == 0) {
            backoff_ns = 0;
        } else if (is_shortage(rc)) {
            rc = wait_for_others(rc, &backoff_ns);
            if (rc < 0)
                return rc;
        } else if (is_of_the_peer(rc)) {
            rc = ouro_yield(); /* a firewall can refuse one after the other */
            if (rc < 0)
                return rc;
        } else {
            return rc;
        }
    }
}

/* The connections end with the task that accepted them. */
static int accept_task(void *arg)
{
    struct ouro_tcp_listener *listener = arg;
    struct ouro_group connections;
    int rc = ouro_group_begin(&connections, 0);
    if (rc == 0) {
        rc = accept_all(listener, &connections);
        (void)ouro_group_cancel(&connections); /* it cannot fail: the group has begun */
        (void)ouro_group_end(&connections);    /* the connections do not fail */
    }
    if (rc != -ECANCELED)
        output_error("accept: %s (%s)", ouro_strerror(rc), ouro_err_name(rc));
    return rc;
}

/* SIGINT and SIGTERM end the server. */
static int signal_task(void *arg)
{
    struct server *server = arg;
    int rc = signals_wait(server->signal_fd);
    if (rc < 0) {
        if (rc != -ECANCELED)
            output_error("signals: %s (%s)", ouro_strerror(rc), ouro_err_name(rc));
        return rc;
    }
    signals_unblock(); /* a second one ends it at once */
    (void)ouro_group_cancel(&server->group);
    return 0;
}

/*
 * A listener for each worker: the first takes the address and settles the port (port 0), the others
 * share it.  The first is exclusive, so a second server on the address fails with EADDRINUSE
 * instead of taking a part of the connections.
 */
static int open_listeners(struct server *server, struct ouro_socket_addr *out_addr)
{
    struct ouro_tcp_listen_options options = OURO_TCP_LISTEN_OPTIONS_INIT;
    options.flags = OURO_LISTEN_F_NODELAY;
    if (server->options->workers > 1)
        options.flags |= OURO_LISTEN_F_REUSEPORT | OURO_LISTEN_F_EXCLUSIVE;
    struct ouro_socket_addr addr;
    int rc = 0;
    for (uint64_t i = 0; i < server->options->workers && rc == 0; i++) {
        struct ouro_tcp_listener **listener = &server->listeners[i];
        rc = ouro_tcp_listener_bind(i == 0 ? OURO_ADDRS(server->options->address)
                                           : OURO_ADDR_LIST(&addr, 1),
                                    &options, listener);
        if (rc == 0 && i == 0)
            rc = ouro_tcp_listener_local_addr(*listener, &addr);
        options.flags &= ~OURO_LISTEN_F_EXCLUSIVE;
    }
    if (rc == 0)
        *out_addr = addr;
    return rc;
}

/* All tasks of the server: one that waits for signals, one that accepts on each worker. */
static int start_tasks(struct server *server)
{
    struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
    options.name = "signals";
    options.worker = OURO_WORKER_CURRENT;
    int rc = ouro_group_spawn(&server->group, &options, signal_task, server);
    options.name = "accept";
    for (uint64_t i = 0; i < server->options->workers && rc == 0; i++) {
        options.worker = (uint32_t)i;
        rc = ouro_group_spawn(&server->group, &options, accept_task, server->listeners[i]);
    }
    return rc;
}

/* Serves until a signal comes (0) or something fails. */
static int serve(struct server *server, const struct ouro_socket_addr *addr)
{
    int rc = ouro_group_begin(&server->group, 0);
    if (rc == 0) {
        rc = start_tasks(server);
        if (rc < 0)
            (void)ouro_group_cancel(&server->group);
    }
    if (rc < 0) {
        output_error("cannot start: %s (%s)", ouro_strerror(rc), ouro_err_name(rc));
    } else {
        char text[OURO_ADDR_TEXT_MAX];
        printf("listening on %s\n", ouro_socket_addr_format(addr, text, sizeof(text)));
        if (!output_flush()) {
            rc = -EIO;
            (void)ouro_group_cancel(&server->group);
        }
        output_never_wait(); /* from here on the work is to serve */
    }
    int end_rc = ouro_group_end(&server->group);
    return rc < 0 ? rc : end_rc;
}

static int serve_task(void *arg)
{
    struct server *server = arg;
    struct ouro_socket_addr addr;
    int rc = open_listeners(server, &addr);
    if (rc < 0)
        output_error("%s: %s (%s)", server->options->address, ouro_strerror(rc), ouro_err_name(rc));
    else
        rc = serve(server, &addr);
    for (uint64_t i = 0; i < server->options->workers; i++)
        (void)ouro_tcp_listener_close(server->listeners[i]); /* NULL where none was opened */
    return rc < 0 ? CLI_FAILED : CLI_OK;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct serve_options *options = state->input;
    switch (key) {
    case 'd':
        if (!cli_parse_driver(arg, &options->driver))
            argp_error(state, "no driver '%s': auto, uring or epoll", arg);
        return 0;
    case 'w':
        if (!cli_parse_count(arg, 1, WORKERS_MAX, &options->workers))
            argp_error(state, "--workers takes a number from 1 to %d", WORKERS_MAX);
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num == 0)
            options->service = arg;
        else if (state->arg_num == 1)
            options->address = arg;
        else
            argp_error(state, "one address only");
        return 0;
    case ARGP_KEY_END:
        if (options->service == NULL || strcmp(options->service, "echo") != 0)
            argp_error(state, "say which service: echo");
        if (!cli_is_host_port(options->address))
            argp_error(state, "'%s' is not HOST:PORT", options->address);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int cli_serve(int argc, char **argv)
{
    static const struct argp_option table[] = {
        {"workers", 'w', "N", 0, "Threads, each with a driver and a listener of its own (1)", 0},
        {"driver", 'd', "auto|uring|epoll", 0, "Which driver to run on (auto)", 0},
        {0},
    };
    static const struct argp argp = {
        .options = table,
        .parser = parse_option,
        .args_doc = "echo [HOST:PORT]",
        .doc = "Sends back what it receives, by default on " CLI_DEFAULT_ADDRESS
               ".  Prints `listening on ADDRESS' when it does; port 0 takes a free one.\v"
               "SIGINT and SIGTERM end it, with exit status 0.",
    };
    static struct server server;
    struct serve_options options = {.address = CLI_DEFAULT_ADDRESS, .workers = 1};
    cli_parse(&argp, "serve", argc, argv, &options);

    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    server.options = &options;
    server.signal_fd = signals_open();
    if (server.signal_fd < 0) {
        output_error("signals: %s", ouro_strerror(server.signal_fd));
        return CLI_FAILED;
    }
    struct ouro_runtime_config config = OURO_RUNTIME_CONFIG_INIT;
    config.driver = options.driver;
    if (options.workers > 1) {
        config.flavour = OURO_FLAVOUR_MULTI_THREAD;
        config.workers = (uint32_t)options.workers;
    }
    const int64_t grace_ns = OURO_SECOND;
    int code = cli_run(&config, serve_task, &server, &grace_ns);
    close(server.signal_fd);
    return code;
}
