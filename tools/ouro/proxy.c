/* SPDX-License-Identifier: MIT */
/*
 * `ouro proxy`: its command line.
 *
 * What is wrong by itself is refused here, with exit code 2, before a runtime exists.
 *
 * Owns:    the state of the proxy.
 * Threads: the main thread's.
 */
#include "proxy.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli.h"
#include "output.h"
#include "proxy_control.h"
#include "signals.h"

/* Keys of options without a letter. */
enum {
    KEY_ACCEPT_PROXY = 256,
    KEY_SEND_PROXY,
    KEY_HEADER_TIMEOUT,
    KEY_CONNECT_TIMEOUT,
    KEY_IDLE_TIMEOUT,
    KEY_GRACE,
    KEY_BALANCE,
    KEY_RETRY,
    KEY_RETRY_MAX,
    KEY_MAX,
    KEY_MAX_PER_PEER,
    KEY_STATS,
    KEY_CONTROL
};

#define CONNECTIONS_MAX UINT64_C(1000000000)

/* Descriptors that are no connection's: standard ones, each worker's, listeners and files. */
#define OWN_DESCRIPTORS 32
#define WORKER_DESCRIPTORS 8
#define CONNECTION_DESCRIPTORS 6 /* two sockets, and for much data a pipe each way */

static const struct argp_option options_table[] = {
    {"balance", KEY_BALANCE, "round-robin|least-connections", 0,
     "Which target is next (round-robin)", 1},
    {"connect-timeout", KEY_CONNECT_TIMEOUT, "DURATION|none", 0,
     "For one attempt to connect to a target (5s)", 1},
    {"retry", KEY_RETRY, "DURATION", 0, "How long a target is left out after a failure (1s)", 1},
    {"retry-max", KEY_RETRY_MAX, "DURATION", 0,
     "The time doubles with each further failure, up to this (30s)", 1},
    {"accept-proxy", KEY_ACCEPT_PROXY, NULL, 0, "Clients begin with a PROXY header", 2},
    {"header-timeout", KEY_HEADER_TIMEOUT, "DURATION", 0, "Within which it must come (5s)", 2},
    {"send-proxy", KEY_SEND_PROXY, "v1|v2", 0, "Send a PROXY header to the targets", 2},
    {"idle-timeout", KEY_IDLE_TIMEOUT, "DURATION|none", 0, "End a connection without traffic (10m)",
     3},
    {"max", KEY_MAX, "N", 0, "Connections at a time (what the descriptors allow)", 3},
    {"max-per-peer", KEY_MAX_PER_PEER, "N|none", 0, "Of one client address (none)", 3},
    {"grace", KEY_GRACE, "DURATION|none", 0, "For connections to end after a signal (30s)", 4},
    {"stats", KEY_STATS, "FILE", OPTION_ARG_OPTIONAL,
     "Write counters as a line of JSON each second, to stdout or a file", 4},
    {"control", KEY_CONTROL, "PATH", 0,
     "Take over from the proxy with this control socket, and make one", 4},
    {0},
};

static int64_t duration_or_none(const char *text, struct argp_state *state)
{
    int64_t duration_ns = PROXY_NO_TIMEOUT;
    if (strcmp(text, "none") != 0 && !cli_parse_duration(text, &duration_ns))
        argp_error(state, "'%s' is neither a duration, as 300ms or 5s, nor none", text);
    return duration_ns;
}

static int64_t duration(const char *text, struct argp_state *state)
{
    int64_t duration_ns = 0;
    if (!cli_parse_duration(text, &duration_ns))
        argp_error(state, "'%s' is no duration: write 300ms or 5s (units us, ms, s, m, h)", text);
    return duration_ns;
}

static error_t parse_targets_option(int key, const char *arg, struct argp_state *state)
{
    struct proxy_options *options = state->input;
    switch (key) {
    case KEY_BALANCE:
        if (strcmp(arg, "round-robin") == 0)
            options->targets.balance = PROXY_ROUND_ROBIN;
        else if (strcmp(arg, "least-connections") == 0)
            options->targets.balance = PROXY_LEAST_CONNECTIONS;
        else
            argp_error(state, "no balance '%s': round-robin or least-connections", arg);
        return 0;
    case KEY_CONNECT_TIMEOUT:
        options->connect_ns = duration_or_none(arg, state);
        return 0;
    case KEY_RETRY:
        options->targets.out_first_ns = duration(arg, state);
        return 0;
    case KEY_RETRY_MAX:
        options->targets.out_max_ns = duration(arg, state);
        return 0;
    case KEY_SEND_PROXY:
        if (strcmp(arg, "v1") != 0 && strcmp(arg, "v2") != 0)
            argp_error(state, "no version '%s' of the PROXY protocol: v1 or v2", arg);
        options->send_proxy = (unsigned)(arg[1] - '0');
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_clients_option(int key, const char *arg, struct argp_state *state)
{
    struct proxy_options *options = state->input;
    switch (key) {
    case KEY_ACCEPT_PROXY:
        options->accept_proxy = true;
        return 0;
    case KEY_HEADER_TIMEOUT:
        options->header_ns = duration(arg, state);
        return 0;
    case KEY_IDLE_TIMEOUT:
        options->idle_ns = duration_or_none(arg, state);
        return 0;
    case KEY_GRACE:
        options->grace_ns = duration_or_none(arg, state);
        return 0;
    case KEY_MAX:
        if (!cli_parse_count(arg, 1, CONNECTIONS_MAX, &options->max))
            argp_error(state, "--max takes a number from 1");
        return 0;
    case KEY_MAX_PER_PEER:
        options->max_per_peer = 0;
        if (strcmp(arg, "none") != 0 &&
            !cli_parse_count(arg, 1, CONNECTIONS_MAX, &options->max_per_peer))
            argp_error(state, "--max-per-peer takes a number from 1, or none");
        return 0;
    case KEY_STATS:
        options->stats = true;
        options->stats_path = arg;
        return 0;
    case KEY_CONTROL:
        if (proxy_control_check(arg) < 0)
            argp_error(state, "'%s' cannot be the path of a socket", arg);
        options->control_path = arg;
        return 0;
    default:
        return parse_targets_option(key, arg, state);
    }
}

/* What @text names; ends the process when it names nothing. */
static struct target parse_address(const char *text, struct argp_state *state)
{
    struct target target = {.text = text};
    cli_parse_address(state, &target);
    return target;
}

static void add_listen(struct proxy_options *options, const char *text, struct argp_state *state)
{
    (void)parse_address(text, state);
    if (options->listen_count == PROXY_LISTENERS_MAX)
        argp_error(state, "at most %d addresses to listen on", PROXY_LISTENERS_MAX);
    options->listen[options->listen_count++] = text;
}

static void add_target(struct proxy_options *options, const char *text, struct argp_state *state)
{
    struct proxy_targets *targets = &options->targets;
    if (targets->count == PROXY_TARGETS_MAX)
        argp_error(state, "at most %d targets", PROXY_TARGETS_MAX);
    targets->list[targets->count++].where = parse_address(text, state);
}

/* Adds each of a list that is separated by commas; the list is cut into its parts. */
static void add_each(char *list, struct argp_state *state,
                     void (*add)(struct proxy_options *, const char *, struct argp_state *))
{
    char *text;
    while ((text = strsep(&list, ",")) != NULL)
        add(state->input, text, state);
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct proxy_options *options = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->runtime;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num == 0)
            add_each(arg, state, add_listen);
        else if (state->arg_num == 1)
            add_each(arg, state, add_target);
        else
            argp_error(state, "one list of addresses to listen on, and one of targets");
        return 0;
    case ARGP_KEY_END:
        if (options->targets.count == 0)
            argp_error(state, "say where to listen, and which targets there are");
        if (options->targets.out_max_ns < options->targets.out_first_ns)
            argp_error(state, "--retry-max is less than --retry");
        return 0;
    default:
        return parse_clients_option(key, arg, state);
    }
}

/* Takes all descriptors there may be, and says how many connections they are enough for. */
static uint64_t connections_for_descriptors(uint64_t workers)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 1;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 1;
    if (limit.rlim_cur > CONNECTIONS_MAX)
        return CONNECTIONS_MAX;
    uint64_t own = OWN_DESCRIPTORS + WORKER_DESCRIPTORS * workers;
    uint64_t left = limit.rlim_cur > own ? limit.rlim_cur - own : 0;
    return left > CONNECTION_DESCRIPTORS ? left / CONNECTION_DESCRIPTORS : 1;
}

static int run(struct proxy *proxy)
{
    struct proxy_options *options = proxy->options;
    uint64_t max = connections_for_descriptors(options->runtime.workers);
    if (options->max == 0)
        options->max = max;
    proxy->signal_fd = signals_open_with(SIGUSR1);
    if (proxy->signal_fd < 0) {
        output_error("signals: %s", ouro_strerror(proxy->signal_fd));
        return CLI_FAILED;
    }
    const struct ouro_runtime_config config = cli_runtime_config(&options->runtime);
    const int64_t grace_ns = OURO_SECOND;
    int code = cli_run(&config, proxy_main_task, proxy, &grace_ns);
    close(proxy->signal_fd);
    return code;
}

int cli_proxy(int argc, char **argv)
{
    static const struct argp_child children[] = {{&cli_argp_runtime, 0, NULL, 0}, {0}};
    static const struct argp argp = {
        .options = options_table,
        .parser = parse_option,
        .children = children,
        .args_doc = "LISTEN[,LISTEN...] TARGET[,TARGET...]",
        .doc = "Accepts connections and relays each to one of the targets.  An address is "
               "HOST:PORT or unix:PATH.  Prints `listening on ADDRESS' for each when it does; "
               "port 0 takes a free one.\v"
               "SIGINT and SIGTERM end it when its connections have ended; a second one, or the "
               "grace time, cuts them off.  SIGUSR1 prints counters.  The manual is "
               "ouro-proxy(1).",
    };
    static struct proxy_options options = {
        .targets = {.lock = PTHREAD_MUTEX_INITIALIZER,
                    .out_first_ns = OURO_SECOND,
                    .out_max_ns = 30 * OURO_SECOND},
        .runtime.workers = 1,
        .header_ns = 5 * OURO_SECOND,
        .connect_ns = 5 * OURO_SECOND,
        .idle_ns = 600 * OURO_SECOND,
        .grace_ns = 30 * OURO_SECOND,
    };
    static struct proxy proxy = {.options = &options, .peers = {.lock = PTHREAD_MUTEX_INITIALIZER}};
    cli_parse(&argp, "proxy", argc, argv, &options);
    return run(&proxy);
}
