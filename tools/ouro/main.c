/* SPDX-License-Identifier: MIT */
/*
 * ouro: the command.  A table of subcommands, and the options that come before one.
 *
 * Each subcommand is a file of its own and reads its own options; this file looks at the first word
 * only.  The command uses the public headers alone, so it is also an example of how the library is
 * used.
 *
 * Exit codes: 0 what was asked for was done, 1 it was not, 2 the command line makes no sense,
 * 128 + n ended by signal n.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "output.h"

static const struct {
    const char *name;
    const char *what;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"connect", "connect to an address; relay data; measure connects", cli_connect},
    {"serve", "run a server: echo, discard, chargen", cli_serve},
    {"proxy", "relay connections to targets that work", cli_proxy},
    {"bench", "put a load on a server and measure it", cli_bench},
    {"probe", "show which driver is chosen here, and what the kernel offers", cli_probe},
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static void print_version(FILE *stream, struct argp_state *state)
{
    (void)state;
    fprintf(stream, "ouro %s\n", ouro_version());
}

static void fail_without_memory(void)
{
    output_error("out of memory");
    exit(CLI_FAILED);
}

/* The list of subcommands in --help, from the table. */
static char *help_filter(int key, const char *text, void *input)
{
    (void)input;
    if (key != ARGP_KEY_HELP_POST_DOC)
        return (char *)text;
    char *list = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&list, &size);
    if (stream == NULL)
        fail_without_memory();
    fputs("Commands:\n", stream);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(stream, "  %-10s %s\n", commands[i].name, commands[i].what);
    fputs("\n`ouro COMMAND --help' explains each; the manual is ouro(1).", stream);
    if (fclose(stream) != 0)
        fail_without_memory();
    return list; /* argp frees what differs from @text */
}

/* Stops at the first word that is no option: the rest are the subcommand's arguments. */
static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    int *first = state->input;
    (void)arg;
    switch (key) {
    case ARGP_KEY_ARG:
        *first = state->next - 1;
        state->next = state->argc;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "no command given");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/*
 * If stdin came closed, the first file that the process opens, a ring perhaps, gets its number and
 * would be read as stdin.  So a closed standard descriptor is replaced by one that refuses: stdin
 * refuses to be read, the others refuse to be written.
 */
static void occupy_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        /* The lowest free number is this one: those below are open. */
        if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            _exit(CLI_FAILED);
    }
}

int main(int argc, char **argv)
{
    static const struct argp argp = {
        .parser = parse_option,
        .args_doc = "COMMAND [ARGUMENT...]",
        .doc =
            "Connects and serves with the ouro runtime: io_uring, and epoll where that is refused."
            "\v",
        .help_filter = help_filter,
    };
    argp_program_version_hook = print_version;
    argp_err_exit_status = CLI_USAGE;

    occupy_standard_descriptors();
    output_start();
    if (argc > 0)
        argv[0] = (char *)"ouro";
    int first = 0;
    cli_parse_flags(&argp, argc, argv, ARGP_IN_ORDER, &first);

    for (size_t i = 0; first > 0 && i < COMMAND_COUNT; i++) {
        if (strcmp(argv[first], commands[i].name) == 0)
            return commands[i].run(argc - first, argv + first);
    }
    output_error("no command '%s'; see `ouro --help'", first > 0 ? argv[first] : "");
    return CLI_USAGE;
}
