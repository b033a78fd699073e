/* SPDX-License-Identifier: MIT */
/*
 * `ouro serve`: a server for what its mode does with a connection (serve_modes.h).
 *
 * One task for each connection; one task for each address and worker, which accepts on a socket of
 * its own.  A connection stays on the worker that has accepted it.
 *
 *   main task      opens the listeners, says so on stdout, begins a group and waits for its end
 *   signal task    waits for SIGINT or SIGTERM, then cancels the group
 *   accept task    accepts, spawns into a group of its own; waits while descriptors are short
 *   connection     serves it, until the peer ends or the server does
 *
 * Each task ends before the one that began its group.  An accept that fails for good ends the
 * server with a failure.
 *
 * Owns:    listeners: the main task; a stream: its connection's task.
 * Threads: the accept tasks run on their workers and share nothing; the main task on any.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli.h"
#include "cli_runtime.h"
#include "output.h"
#include "serve_listener.h"
#include "serve_modes.h"
#include "signals.h"
#include "target.h"

#define BACKOFF_MIN_NS (10 * OURO_MILLISECOND)
#define BACKOFF_MAX_NS OURO_SECOND
#define ADDRESSES_MAX 64

struct serve_options {
    const struct serve_mode *mode;
    const char *addresses[ADDRESSES_MAX];
    size_t address_count;
    struct cli_runtime runtime;
};

/* One worker at one address. */
struct place {
    struct serve_listener *listener;
    uint32_t worker;
};

struct server {
    const struct serve_options *options;
    int signal_fd;
    struct ouro_group group;
    struct serve_listener *listeners[ADDRESSES_MAX]; /* one for each address */
    struct place *places;                            /* all workers at all addresses */
    size_t place_count;
};

/* The mode of this process: a connection's task has no room for more than its stream. */
static const struct serve_mode *mode;

static int connection_task(void *stream)
{
    mode->serve(stream);
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
static int accept_one(const struct place *place, struct ouro_group *connections)
{
    struct ouro_stream *stream = NULL;
    int rc = serve_listener_accept(place->listener, place->worker, &stream);
    if (rc < 0)
        return rc;
    struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
    options.name = mode->name;
    options.worker = OURO_WORKER_CURRENT;
    rc = ouro_group_spawn(connections, &options, connection_task, stream);
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
static int accept_all(const struct place *place, struct ouro_group *connections)
{
    int64_t backoff_ns = 0;
    for (;;) {
        int rc = accept_one(place, connections);
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
    const struct place *place = arg;
    struct ouro_group connections;
    int rc = ouro_group_begin(&connections, 0);
    if (rc == 0) {
        rc = accept_all(place, &connections);
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

static int open_listeners(struct server *server)
{
    const struct serve_options *options = server->options;
    server->places =
        calloc(options->address_count * options->runtime.workers, sizeof(*server->places));
    if (server->places == NULL) {
        output_error("out of memory");
        return -ENOMEM;
    }
    for (size_t i = 0; i < options->address_count; i++) {
        int rc = serve_listener_open(options->addresses[i], (uint32_t)options->runtime.workers,
                                     &server->listeners[i]);
        if (rc < 0) {
            output_error("%s: %s (%s)", options->addresses[i], ouro_strerror(rc),
                         ouro_err_name(rc));
            return rc;
        }
        for (uint32_t worker = 0; worker < options->runtime.workers; worker++)
            server->places[server->place_count++] =
                (struct place){.listener = server->listeners[i], .worker = worker};
    }
    return 0;
}

static void close_listeners(struct server *server)
{
    for (size_t i = 0; i < server->options->address_count; i++)
        serve_listener_close(server->listeners[i]); /* NULL where none was opened */
    free(server->places);
}

/* All tasks of the server: one that waits for signals, and those that accept. */
static int start_tasks(struct server *server)
{
    struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
    options.name = "signals";
    options.worker = OURO_WORKER_CURRENT;
    int rc = ouro_group_spawn(&server->group, &options, signal_task, server);
    options.name = "accept";
    for (size_t i = 0; i < server->place_count && rc == 0; i++) {
        options.worker = server->places[i].worker;
        rc = ouro_group_spawn(&server->group, &options, accept_task, &server->places[i]);
    }
    return rc;
}

/* One line for each address, with the port that the system chose. */
static bool announce(const struct server *server)
{
    for (size_t i = 0; i < server->options->address_count; i++) {
        char text[OURO_ADDR_TEXT_MAX];
        printf(
            "listening on %s\n",
            ouro_socket_addr_format(serve_listener_addr(server->listeners[i]), text, sizeof(text)));
    }
    return output_flush();
}

/* Serves until a signal comes (0) or something fails. */
static int serve(struct server *server)
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
        if (!announce(server)) {
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
    int rc = open_listeners(server);
    if (rc == 0)
        rc = serve(server);
    close_listeners(server);
    return rc < 0 ? CLI_FAILED : CLI_OK;
}

static void add_address(struct argp_state *state, const char *address)
{
    struct serve_options *options = state->input;
    struct target target = {.text = address};
    const char *wrong = target_check(&target);
    if (wrong != NULL)
        argp_error(state, "'%s': %s", address, wrong);
    if (options->address_count == ADDRESSES_MAX)
        argp_error(state, "at most %d addresses", ADDRESSES_MAX);
    else
        options->addresses[options->address_count++] = address;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct serve_options *options = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->runtime;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0)
            add_address(state, arg);
        else if ((options->mode = serve_mode_find(arg)) == NULL)
            argp_error(state, "no service '%s': echo, discard or chargen", arg);
        return 0;
    case ARGP_KEY_END:
        if (options->mode == NULL)
            argp_error(state, "say which service: echo, discard or chargen");
        if (options->address_count == 0)
            add_address(state, CLI_DEFAULT_ADDRESS);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int cli_serve(int argc, char **argv)
{
    static const struct argp_child children[] = {{&cli_argp_runtime, 0, NULL, 0}, {0}};
    static const struct argp argp = {
        .parser = parse_option,
        .children = children,
        .args_doc = "echo|discard|chargen [HOST:PORT | unix:PATH]...",
        .doc = "Serves at addresses, by default at " CLI_DEFAULT_ADDRESS
               ": echo sends back what it receives, discard throws it away, chargen sends lines "
               "of characters.  Prints `listening on ADDRESS' for each when it does; port 0 takes "
               "a free one.\v"
               "SIGINT and SIGTERM end it, with exit status 0.",
    };
    static struct server server;
    struct serve_options options = {.runtime.workers = 1};
    cli_parse(&argp, "serve", argc, argv, &options);

    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    server.options = &options;
    mode = options.mode;
    server.signal_fd = signals_open();
    if (server.signal_fd < 0) {
        output_error("signals: %s", ouro_strerror(server.signal_fd));
        return CLI_FAILED;
    }
    struct ouro_runtime_config config = cli_runtime_config(&options.runtime);
    const int64_t grace_ns = OURO_SECOND;
    int code = cli_run(&config, serve_task, &server, &grace_ns);
    close(server.signal_fd);
    return code;
}
