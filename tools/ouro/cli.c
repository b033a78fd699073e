/* SPDX-License-Identifier: MIT */
/*
 * What the subcommands share: strict reading of arguments, and a runtime for the length of one
 * function.
 *
 * Reading is strict because a command line is often another program's output: "10" without a unit
 * is no duration, "1e3" no count, and nothing is rounded or cut silently.
 *
 * Owns:    the runtime while it runs.
 * Threads: the main thread's.
 */
#include "cli.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "output.h"

void cli_parse_flags(const struct argp *argp, int argc, char **argv, unsigned flags, void *input)
{
    /* What is wrong with the command line ends the process in there, with CLI_USAGE. */
    int error = argp_parse(argp, argc, argv, flags, NULL, input);
    if (error == 0)
        return;
    output_error("cannot read the command line: %s", strerror(error));
    exit(CLI_FAILED);
}

void cli_parse(const struct argp *argp, const char *name, int argc, char **argv, void *input)
{
    output_set_name(name);
    argv[0] = (char *)output_name(); /* argp takes it for its messages and for --help */
    cli_parse_flags(argp, argc, argv, 0, input);
}

bool cli_parse_duration(const char *text, int64_t *out_ns)
{
    static const struct {
        const char *name;
        double ns;
    } units[] = {{"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}};

    /* strtod() alone would take signs, "inf" and hexadecimal. */
    size_t digits = strspn(text, "0123456789.");
    if (digits == 0 || text[digits] == '\0')
        return false;
    char *end = NULL;
    double value = strtod(text, &end);
    if (end != text + digits)
        return false;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(end, units[i].name) != 0)
            continue;
        double ns = round(value * units[i].ns);
        if (!(ns >= 1) || ns > 3e18)
            return false;
        *out_ns = (int64_t)ns;
        return true;
    }
    return false;
}

bool cli_parse_count(const char *text, uint64_t min, uint64_t max, uint64_t *out_count)
{
    if (*text == '\0' || text[strspn(text, "0123456789")] != '\0')
        return false;
    errno = 0;
    unsigned long long value = strtoull(text, NULL, 10);
    if (errno != 0 || value < min || value > max)
        return false;
    *out_count = value;
    return true;
}

bool cli_parse_driver(const char *text, enum ouro_driver_kind *out_driver)
{
    static const enum ouro_driver_kind kinds[] = {OURO_DRIVER_AUTO, OURO_DRIVER_URING,
                                                  OURO_DRIVER_EPOLL};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(text, cli_driver_name(kinds[i])) == 0) {
            *out_driver = kinds[i];
            return true;
        }
    }
    return false;
}

bool cli_parse_ip(const char *text, struct ouro_socket_addr *out_addr)
{
    /* As it stands, then as an IPv4 and as an IPv6 address without a port. */
    static const char *const around[][2] = {{"", ""}, {"", ":0"}, {"[", "]:0"}};
    for (size_t i = 0; i < sizeof(around) / sizeof(around[0]); i++) {
        char full[OURO_ADDR_TEXT_MAX];
        struct ouro_socket_addr addr;
        int length = snprintf(full, sizeof(full), "%s%s%s", around[i][0], text, around[i][1]);
        if (length < 0 || (size_t)length >= sizeof(full))
            return false;
        /* A port can be set on IP addresses only: that tells them from "unix:..." */
        if (ouro_socket_addr_parse(full, &addr) == 0 &&
            ouro_socket_addr_set_port(&addr, ouro_socket_addr_port(&addr)) == 0) {
            *out_addr = addr;
            return true;
        }
    }
    return false;
}

bool cli_is_host_port(const char *text)
{
    struct ouro_socket_addr addr;
    if (ouro_socket_addr_parse(text, &addr) == 0)
        return ouro_socket_addr_family(&addr) != AF_UNIX;
    if (strncmp(text, "unix:", 5) == 0)
        return false;
    /* Outside of a runtime a name is not asked for: it gives -OURO_ENORUNTIME. */
    struct ouro_socket_addr *list = NULL;
    size_t count = 0;
    int rc = ouro_resolve(OURO_ADDRS(text), &list, &count);
    if (rc == 0)
        ouro_addr_list_free(list);
    return rc != -OURO_EADDRSYNTAX;
}

const char *cli_driver_name(enum ouro_driver_kind driver)
{
    switch (driver) {
    case OURO_DRIVER_URING:
        return "uring";
    case OURO_DRIVER_EPOLL:
        return "epoll";
    case OURO_DRIVER_NONE:
        return "none";
    case OURO_DRIVER_AUTO:
        break;
    }
    return "auto";
}

const char *cli_format_duration(int64_t duration_ns, char *buffer, size_t size_bytes)
{
    if (duration_ns < OURO_SECOND)
        snprintf(buffer, size_bytes, "%.3f ms", (double)duration_ns / 1e6);
    else
        snprintf(buffer, size_bytes, "%.3f s", (double)duration_ns / 1e9);
    return buffer;
}

/* Says why no runtime could be made, and what to change where io_uring was demanded. */
static void explain_no_runtime(int rc)
{
    output_error("cannot start: %s (%s)", ouro_strerror(rc), ouro_err_name(rc));
    struct ouro_probe *probe = NULL;
    if (rc != -OURO_ENODRIVER || ouro_probe_new(&probe) < 0)
        return;
    output_error("why: %s", ouro_probe_reason(probe));
    if (*ouro_probe_remedy(probe))
        output_error("what to change: %s", ouro_probe_remedy(probe));
    ouro_probe_free(probe);
}

int cli_run(const struct ouro_runtime_config *config, ouro_task_function *function, void *arg,
            const int64_t *grace_ns)
{
    static struct ouro_runtime *runtime; /* what is not freed stays in reach, so it is no leak */
    int rc = ouro_runtime_new(config, &runtime);
    if (rc < 0) {
        explain_no_runtime(rc);
        return CLI_FAILED;
    }

    int result = CLI_FAILED;
    rc = ouro_runtime_block_on(runtime, function, arg, &result);
    if (rc < 0) {
        output_error("cannot run: %s (%s)", ouro_strerror(rc), ouro_err_name(rc));
        result = CLI_FAILED;
    }

    /* What did not end in time may still use the runtime.  It ends with the process. */
    if (ouro_runtime_shutdown(runtime, *grace_ns) == 0 && *grace_ns > 0)
        ouro_runtime_free(runtime);
    return result;
}
