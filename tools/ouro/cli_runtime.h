/* SPDX-License-Identifier: MIT */
/*
 * The options that commands have in common: which driver, how many workers, the dial, and
 * addresses.
 */
#ifndef OURO_CLI_RUNTIME_H
#define OURO_CLI_RUNTIME_H

#include <argp.h>
#include <ouro.h>

#include "target.h"

#define CLI_WORKERS_MAX 256

/* What the runtime of a command is asked for. */
struct cli_runtime {
    enum ouro_driver_kind driver;
    uint64_t workers; /* 0: the command has no such option, and one */
    enum ouro_dial dial;
};

/*
 * Children of a command's argp: --driver only; and --driver, -d, --workers, -w and --dial.  The
 * command's parser gives them their input, a struct cli_runtime, at ARGP_KEY_INIT:
 *
 *     state->child_inputs[0] = &options->runtime;
 */
extern const struct argp cli_argp_driver;
extern const struct argp cli_argp_runtime;

/* A runtime as it was asked for. */
struct ouro_runtime_config cli_runtime_config(const struct cli_runtime *runtime);

/* Checks the text of @target, with its other fields (target_check()); ends the process when it is
 * wrong. */
void cli_parse_address(struct argp_state *state, struct target *target);

#endif
