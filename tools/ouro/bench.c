/* SPDX-License-Identifier: MIT */
/*
 * `ouro bench`: its command line.
 *
 * One table of options serves all kinds of load.  An option that means nothing to the chosen kind
 * is refused rather than ignored: a figure that was measured with another load than its command
 * line says is wrong.
 *
 * Owns:    the run.
 * Threads: the main thread's.
 */
#include "bench.h"

#include <string.h>

/* Keys of options without a letter. */
enum {
    KEY_FROM = 256,
    KEY_COUNT,
    KEY_WARM_UP,
    KEY_TIMEOUT,
    KEY_FIN,
    KEY_JSON,
    KEY_SETTLE,
    KEY_SINK,
    KEY_BOTH
};

#define CONNECTIONS_MAX 1000000
#define DEPTH_MAX 65536
#define RATE_MAX 100000000
#define DEFAULT_DURATION_NS (10 * OURO_SECOND)
#define DEFAULT_WARM_UP_NS (500 * OURO_MILLISECOND)
#define DEFAULT_TIMEOUT_NS (5 * OURO_SECOND)

static const struct bench_kind *const kinds[] = {
    &bench_echo_kind, &bench_storm_kind, &bench_churn_kind, &bench_relay_kind, &bench_idle_kind};

#define KIND_COUNT (sizeof(kinds) / sizeof(kinds[0]))

static const struct argp_option options_table[] = {
    {"connections", 'c', "N", 0,
     "Connections at a time (echo 50, storm and churn 64, relay 10, idle 1000)", 0},
    {"size", 's', "BYTES", 0, "Bytes of a message (64, relay 16384)", 0},
    {"depth", 'P', "N", 0, "Messages on their way on each connection (1, relay 4)", 0},
    {"rate", 'r', "N", 0, "Open loop: N operations per second, each at its time", 0},
    {"duration", 'd', "DURATION", 0, "Measure for that long: 500ms, 10s (10s)", 1},
    {"count", KEY_COUNT, "N", 0, "Measure N operations", 1},
    {"warm-up", KEY_WARM_UP, "DURATION", 0, "Before that, not measured (500ms; 0s with --count)",
     1},
    {"timeout", KEY_TIMEOUT, "DURATION", 0, "Give up what takes longer (5s)", 1},
    {"settle", KEY_SETTLE, "DURATION", 0, "idle: measure memory again so long after the end", 1},
    {"pid", 'p', "PID", 0, "The server's process: measure its CPU time and memory", 2},
    {"json", KEY_JSON, NULL, 0, "Print the result as a JSON object", 2},
    {"sink", KEY_SINK, "HOST:PORT", 0, "relay: where the proxy at the target connects to", 3},
    {"both", KEY_BOTH, NULL, 0, "relay: messages in both directions", 3},
    {"fin", KEY_FIN, NULL, 0, "Close by a FIN, not by a reset", 3},
    {NULL, '4', NULL, 0, "Use IPv4 addresses only", 3},
    {NULL, '6', NULL, 0, "Use IPv6 addresses only", 3},
    {"from", KEY_FROM, "ADDR", 0, "Connect from this local address, IP or IP:PORT", 3},
    {0},
};

static void parse_number(struct argp_state *state, const char *name, const char *text, uint64_t max,
                         uint64_t *out_number)
{
    if (!cli_parse_count(text, 1, max, out_number))
        argp_error(state, "--%s takes a number from 1 to %llu", name, (unsigned long long)max);
}

/* "0s" is a duration here: no warm-up. */
static void parse_time(struct argp_state *state, const char *name, const char *text,
                       bool may_be_zero, int64_t *out_ns)
{
    if (may_be_zero && strcmp(text, "0s") == 0)
        *out_ns = 0;
    else if (!cli_parse_duration(text, out_ns))
        argp_error(state, "--%s: '%s' is no duration: write 300ms or 5s (units us, ms, s, m, h)",
                   name, text);
}

static error_t parse_number_option(int key, const char *arg, struct argp_state *state)
{
    struct bench_options *options = state->input;
    switch (key) {
    case 'c':
        parse_number(state, "connections", arg, CONNECTIONS_MAX, &options->connections);
        return 0;
    case 's':
        parse_number(state, "size", arg, BENCH_SIZE_MAX, &options->size_bytes);
        return 0;
    case 'P':
        parse_number(state, "depth", arg, DEPTH_MAX, &options->depth);
        return 0;
    case 'r':
        parse_number(state, "rate", arg, RATE_MAX, &options->rate);
        return 0;
    case 'p':
        parse_number(state, "pid", arg, INT32_MAX, &options->pid);
        return 0;
    case KEY_COUNT:
        parse_number(state, "count", arg, INT64_MAX, &options->count);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_value(int key, const char *arg, struct argp_state *state)
{
    struct bench_options *options = state->input;
    switch (key) {
    case 'd':
        parse_time(state, "duration", arg, false, &options->duration_ns);
        return 0;
    case KEY_WARM_UP:
        parse_time(state, "warm-up", arg, true, &options->warm_up_ns);
        return 0;
    case KEY_TIMEOUT:
        parse_time(state, "timeout", arg, false, &options->timeout_ns);
        return 0;
    case KEY_SETTLE:
        parse_time(state, "settle", arg, false, &options->settle_ns);
        return 0;
    case KEY_SINK:
        if (!cli_is_host_port(arg))
            argp_error(state, "'%s' is not HOST:PORT", arg);
        options->sink = arg;
        return 0;
    case KEY_FROM:
        if (!cli_parse_ip(arg, &options->target.from))
            argp_error(state, "'%s' is no IP address", arg);
        options->target.has_from = true;
        return 0;
    default:
        return parse_number_option(key, arg, state);
    }
}

static void set_kind(struct argp_state *state, const char *name)
{
    struct bench_options *options = state->input;
    for (size_t i = 0; i < KIND_COUNT; i++)
        if (strcmp(kinds[i]->name, name) == 0)
            options->kind = kinds[i];
    if (options->kind == NULL)
        argp_error(state, "no load '%s': echo, storm, churn, relay or idle", name);
}

/* Options that do not fit the kind. */
static void check_kind(struct argp_state *state)
{
    const struct bench_options *options = state->input;
    const struct bench_kind *kind = options->kind;
    if (options->size_bytes != 0 && !kind->has_size)
        argp_error(state, "%s sends nothing: leave --size out", kind->name);
    if (kind->size_max != 0 && options->size_bytes > kind->size_max)
        argp_error(state, "--size of %s: at most %llu", kind->name,
                   (unsigned long long)kind->size_max);
    if (options->depth != 0 && !kind->has_depth)
        argp_error(state, "%s has no --depth", kind->name);
    if (kind->is_idle && (options->rate != 0 || options->count != 0 || options->warm_up_ns >= 0))
        argp_error(state, "idle has no --rate, --count and --warm-up: it waits");
    if ((options->sink != NULL) != kind->has_sink)
        argp_error(state, "--sink belongs to relay: where its proxy connects to");
    if (options->both && !kind->has_sink)
        argp_error(state, "%s has one direction: leave --both out", kind->name);
    if (options->settle_ns != 0 && (!kind->is_idle || options->pid == 0))
        argp_error(state, "--settle is for idle, with --pid");
}

static void set_defaults(struct bench_options *options)
{
    const struct bench_kind *kind = options->kind;
    if (options->connections == 0)
        options->connections = kind->connections;
    if (options->size_bytes == 0)
        options->size_bytes = kind->size_bytes;
    if (options->depth == 0)
        options->depth = kind->depth;
    bool is_counted = options->count != 0;
    if (!is_counted)
        options->count = UINT64_MAX;
    if (options->duration_ns == 0)
        options->duration_ns = is_counted ? INT64_MAX : DEFAULT_DURATION_NS;
    if (options->warm_up_ns < 0)
        options->warm_up_ns = is_counted || kind->is_idle ? 0 : DEFAULT_WARM_UP_NS;
    if (options->connections > options->count)
        options->connections = options->count;
}

static void check(struct argp_state *state)
{
    struct bench_options *options = state->input;
    if (options->kind == NULL)
        argp_error(state, "say which load: echo, storm, churn, relay or idle");
    check_kind(state);
    cli_parse_address(state, &options->target);
    set_defaults(options);
    if (options->depth * options->size_bytes > BENCH_SIZE_MAX)
        argp_error(state, "--depth messages of --size are more than 1 GiB");
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct bench_options *options = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->runtime;
        return 0;
    case '4':
        options->target.addrs.flags |= OURO_ADDRS_F_IPV4;
        return 0;
    case '6':
        options->target.addrs.flags |= OURO_ADDRS_F_IPV6;
        return 0;
    case KEY_FIN:
        options->fin = true;
        return 0;
    case KEY_BOTH:
        options->both = true;
        return 0;
    case KEY_JSON:
        options->json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num == 0)
            set_kind(state, arg);
        else if (state->arg_num == 1)
            options->target.text = arg;
        else
            argp_error(state, "one address only");
        return 0;
    case ARGP_KEY_END:
        check(state);
        return 0;
    default:
        return parse_value(key, arg, state);
    }
}

int cli_bench(int argc, char **argv)
{
    static const struct argp_child children[] = {{&cli_argp_driver, 0, NULL, 3}, {0}};
    static const struct argp argp = {
        .options = options_table,
        .parser = parse_option,
        .children = children,
        .args_doc = "echo|storm|churn|relay|idle [HOST:PORT | unix:PATH]",
        .doc = "Puts a load on a server, by default on " CLI_DEFAULT_ADDRESS
               ", and measures it: rate, latency, the CPU time of the generator and of the "
               "server.\v"
               "echo: messages that the server sends back, each byte checked.  storm: connects.  "
               "churn: connect, one message and its echo, close.  "
               "relay: messages through a proxy at the address to --sink, checked at both ends.  "
               "idle: one message on each connection, then nothing: the memory of the server.\n\n"
               "Exit status: 0 all that was asked for was done, 1 not, 2 for a command line that "
               "makes no sense.",
    };
    static struct bench bench; /* a part of it is a histogram of 270 KiB */
    struct bench_options options = {
        .target.text = CLI_DEFAULT_ADDRESS,
        .runtime.driver = OURO_DRIVER_AUTO,
        .warm_up_ns = -1,
        .timeout_ns = DEFAULT_TIMEOUT_NS,
    };
    cli_parse(&argp, "bench", argc, argv, &options);
    bench.options = &options;
    bench.lane_count = (uint32_t)(options.connections * (options.both ? 2 : 1));
    return bench_run(&bench, bench_print);
}
