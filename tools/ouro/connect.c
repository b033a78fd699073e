/* SPDX-License-Identifier: MIT */
/*
 * `ouro connect`: its command line.
 *
 * What is wrong by itself is refused here, with exit code 2, before a runtime exists: options that
 * contradict each other, a text that is no address.  What fails later fails because of the network
 * or the system, with exit code 1.
 *
 * Owns:    nothing beyond the options.
 * Threads: the main thread's.
 */
#include "connect.h"

/* Keys of options without a letter. */
enum { KEY_TIMEOUT = 256, KEY_FROM, KEY_RELAY, KEY_JSON, KEY_TRACE, KEY_COUNT, KEY_CONCURRENCY };

#define DEFAULT_CONCURRENCY 64

static const struct argp_option options_table[] = {
    {"relay", KEY_RELAY, NULL, 0, "Copy stdin to the stream and the stream to stdout", 0},
    {NULL, '4', NULL, 0, "Use IPv4 addresses only", 0},
    {NULL, '6', NULL, 0, "Use IPv6 addresses only", 0},
    {"from", KEY_FROM, "ADDR", 0, "Connect from this local address, IP or IP:PORT", 0},
    {"timeout", KEY_TIMEOUT, "DURATION", 0, "Give up a connect after that long: 300ms, 5s", 0},
    {"json", KEY_JSON, NULL, 0, "Print the result as a JSON object", 0},
    {"trace", KEY_TRACE, NULL, 0, "Show every step of the connect, on stderr", 0},
    {"count", KEY_COUNT, "N", 0, "Make N connections, reset each, and measure", 1},
    {"concurrency", KEY_CONCURRENCY, "C", 0, "With --count: so many at a time (64)", 1},
    {0},
};

static void set_flag(struct connect_options *options, uint32_t flag)
{
    options->target.addrs.flags |= flag;
}

static error_t parse_value(int key, const char *arg, struct argp_state *state)
{
    struct connect_options *options = state->input;
    switch (key) {
    case KEY_FROM:
        if (!cli_parse_ip(arg, &options->target.from))
            argp_error(state, "'%s' is no IP address", arg);
        options->target.has_from = true;
        return 0;
    case KEY_TIMEOUT:
        if (!cli_parse_duration(arg, &options->timeout_ns))
            argp_error(state, "'%s' is no duration: write 300ms or 5s (units us, ms, s, m, h)",
                       arg);
        return 0;
    case KEY_COUNT:
        if (!cli_parse_count(arg, 1, UINT32_MAX, &options->count))
            argp_error(state, "--count takes a number from 1 to %u", UINT32_MAX);
        return 0;
    case KEY_CONCURRENCY:
        if (!cli_parse_count(arg, 1, 1000000, &options->concurrency))
            argp_error(state, "--concurrency takes a number from 1 to 1000000");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void check(struct argp_state *state)
{
    struct connect_options *options = state->input;
    if (options->concurrency != 0 && options->count == 0)
        argp_error(state, "--concurrency needs --count");
    if (options->count != 0 && options->relay)
        argp_error(state, "--count and --relay exclude each other");
    if (options->count != 0 && options->trace)
        argp_error(state, "--trace shows one connection: leave --count out");
    cli_parse_address(state, &options->target);
    if (options->concurrency == 0)
        options->concurrency = DEFAULT_CONCURRENCY;
    if (options->concurrency > options->count)
        options->concurrency = options->count;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct connect_options *options = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->runtime;
        return 0;
    case '4':
        set_flag(options, OURO_ADDRS_F_IPV4);
        return 0;
    case '6':
        set_flag(options, OURO_ADDRS_F_IPV6);
        return 0;
    case KEY_RELAY:
        options->relay = true;
        return 0;
    case KEY_JSON:
        options->json = true;
        return 0;
    case KEY_TRACE:
        options->trace = true;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0)
            argp_error(state, "one address only");
        options->target.text = arg;
        return 0;
    case ARGP_KEY_END:
        check(state);
        return 0;
    default:
        return parse_value(key, arg, state);
    }
}

int cli_connect(int argc, char **argv)
{
    static const struct argp_child children[] = {{&cli_argp_driver, 0, NULL, 0}, {0}};
    static const struct argp argp = {
        .options = options_table,
        .parser = parse_option,
        .children = children,
        .args_doc = "[HOST:PORT | unix:PATH]",
        .doc =
            "Connects, by default to " CLI_DEFAULT_ADDRESS ", and prints `created stream'.\v"
            "Exit status: 0 connected, 1 not (one line for each address tried says why), 2 for a "
            "command line that makes no sense.",
    };
    struct connect_options options = {
        .target.text = CLI_DEFAULT_ADDRESS,
        .runtime.driver = OURO_DRIVER_AUTO,
        .timeout_ns = INT64_MAX,
    };
    cli_parse(&argp, "connect", argc, argv, &options);
    return options.count != 0 ? connect_storm(&options) : connect_once(&options);
}
