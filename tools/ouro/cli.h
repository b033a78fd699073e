/* SPDX-License-Identifier: MIT */
/*
 * What the subcommands of `ouro` share: exit codes, reading of arguments, a runtime to run in.
 */
#ifndef OURO_CLI_H
#define OURO_CLI_H

#include <argp.h>
#include <ouro.h>
#include <stdbool.h>
#include <stdio.h>

enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,       /* what was asked for did not happen */
    CLI_USAGE = 2,        /* the command line makes no sense */
    CLI_INTERRUPTED = 128 /* plus the number of the signal, as shells count */
};

/* Where connect goes and serve listens unless told otherwise. */
#define CLI_DEFAULT_ADDRESS "127.0.0.1:6142"

/* The subcommands.  argv[0] is the subcommand's name; they return an exit code. */
int cli_connect(int argc, char **argv);
int cli_bench(int argc, char **argv);
int cli_serve(int argc, char **argv);
int cli_proxy(int argc, char **argv);
int cli_probe(int argc, char **argv);

/* argp_parse() with these flags.  Does not return on errors and --help. */
void cli_parse_flags(const struct argp *argp, int argc, char **argv, unsigned flags, void *input);

/* The same with "ouro NAME" as the program's name, for the arguments of a subcommand. */
void cli_parse(const struct argp *argp, const char *name, int argc, char **argv, void *input);

/* "1.5s", "300ms", "20us", "2m", "1h": more than nothing, at most about a century. */
bool cli_parse_duration(const char *text, int64_t *out_ns);

/* Decimal digits only, from @min to @max. */
bool cli_parse_count(const char *text, uint64_t min, uint64_t max, uint64_t *out_count);

/* "auto", "uring", "epoll". */
bool cli_parse_driver(const char *text, enum ouro_driver_kind *out_driver);

/* An IP address with or without a port ("::1" as well as "[::1]:80"); port 0 if it has none. */
bool cli_parse_ip(const char *text, struct ouro_socket_addr *out_addr);

/*
 * Whether @text can be an address to connect to or to listen on: "HOST:PORT", where the host is an
 * IPv4 address, an IPv6 address in brackets, or a name, which is not asked for yet.  The library's
 * rule (addr.h), so that what passes here is never refused as no address later.
 */
bool cli_is_host_port(const char *text);

/* "auto", "uring", "epoll". */
const char *cli_driver_name(enum ouro_driver_kind driver);

/* "0.123 ms", "5.001 s"; into and returning @buffer. */
const char *cli_format_duration(int64_t duration_ns, char *buffer, size_t size_bytes);

/*
 * Makes a runtime, runs @function(@arg) in it, and ends it.  Waits for what the function left
 * behind, a thread that asks a resolver for instance, up to *grace_ns, which the function may set:
 * 0 does not wait, and leaves the rest to the end of the process.  Returns what the function
 * returned; where it could not be run, says so on stderr and returns CLI_FAILED.
 */
int cli_run(const struct ouro_runtime_config *config, ouro_task_function *function, void *arg,
            const int64_t *grace_ns);

#endif
