/* SPDX-License-Identifier: MIT */
/*
 * The options that commands have in common: which driver, how many workers, the dial, and
 * addresses.
 *
 * Owns:    nothing.
 * Threads: the main thread's.
 */
#include "cli_runtime.h"

#include "cli.h"

#include <string.h>

/* Past the characters, so that they have no short form. */
enum { KEY_DRIVER = 0x7000, KEY_DIAL };

static bool parse_dial(const char *text, enum ouro_dial *out_dial)
{
    static const char *const names[] = {[OURO_DIAL_BALANCED] = "balanced",
                                        [OURO_DIAL_THROUGHPUT] = "throughput",
                                        [OURO_DIAL_LATENCY] = "latency"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(text, names[i]) == 0) {
            *out_dial = (enum ouro_dial)i;
            return true;
        }
    }
    return false;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct cli_runtime *runtime = state->input;
    switch (key) {
    case 'd':
    case KEY_DRIVER:
        if (!cli_parse_driver(arg, &runtime->driver))
            argp_error(state, "no driver '%s': auto, uring or epoll", arg);
        return 0;
    case 'w':
        if (!cli_parse_count(arg, 1, CLI_WORKERS_MAX, &runtime->workers))
            argp_error(state, "--workers takes a number from 1 to %d", CLI_WORKERS_MAX);
        return 0;
    case KEY_DIAL:
        if (!parse_dial(arg, &runtime->dial))
            argp_error(state, "no dial '%s': balanced, throughput or latency", arg);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option driver_option[] = {
    {"driver", KEY_DRIVER, "auto|uring|epoll", 0, "Which driver to run on (auto)", 0},
    {0},
};

static const struct argp_option runtime_options[] = {
    {"workers", 'w', "N", 0, "Threads, each with a driver and sockets of its own (1)", 0},
    {"driver", 'd', "auto|uring|epoll", 0, "Which driver to run on (auto)", 0},
    {"dial", KEY_DIAL, "balanced|throughput|latency", 0, "What counts when there is nothing to do",
     0},
    {0},
};

const struct argp cli_argp_driver = {.options = driver_option, .parser = parse_option};
const struct argp cli_argp_runtime = {.options = runtime_options, .parser = parse_option};

struct ouro_runtime_config cli_runtime_config(const struct cli_runtime *runtime)
{
    struct ouro_runtime_config config = OURO_RUNTIME_CONFIG_INIT;
    config.driver = runtime->driver;
    config.dial = runtime->dial;
    if (runtime->workers > 1) {
        config.flavour = OURO_FLAVOUR_MULTI_THREAD;
        config.workers = (uint32_t)runtime->workers;
    }
    return config;
}

void cli_parse_address(struct argp_state *state, struct target *target)
{
    const char *wrong = target_check(target);
    if (wrong != NULL)
        argp_error(state, "'%s': %s", target->text, wrong);
}
