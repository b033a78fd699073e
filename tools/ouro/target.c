/* SPDX-License-Identifier: MIT */
/*
 * Target: connecting to what the command line named, by TCP or to a Unix socket.
 *
 * Owns:    nothing; the stream is the caller's.
 * Threads: the caller's.
 */
#include "target.h"

#include <string.h>

#include "cli.h"

const char *target_check(struct target *target)
{
    target->addrs.kind = OURO_ADDRS_TEXT;
    target->addrs.text = target->text;
    if (strncmp(target->text, "unix:", 5) != 0)
        return cli_is_host_port(target->text) ? NULL : "neither HOST:PORT nor unix:PATH";
    int rc = ouro_socket_addr_parse(target->text, &target->unix_addr);
    if (rc < 0)
        return ouro_strerror(rc);
    if (target->addrs.flags != 0 || target->has_from)
        return "-4, -6 and --from are for IP addresses";
    target->is_unix = true;
    return NULL;
}

static int connect_unix(const struct target *target, struct attempts *attempts,
                        struct ouro_stream **out_stream)
{
    int64_t begin_ns = attempts != NULL ? ouro_now_ns() : 0;
    int rc = ouro_unix_stream_connect(&target->unix_addr, out_stream);
    if (attempts != NULL) {
        attempts->count = 1;
        attempts->kept[0] = (struct ouro_connect_attempt){
            .addr = target->unix_addr, .error = rc, .duration_ns = ouro_now_ns() - begin_ns};
    }
    return rc;
}

static int connect_tcp(const struct target *target, uint32_t flags, struct attempts *attempts,
                       struct ouro_stream **out_stream)
{
    struct ouro_tcp_connect_options options = OURO_TCP_CONNECT_OPTIONS_INIT;
    options.flags = flags;
    options.bind = target->has_from ? &target->from : NULL;
    if (attempts != NULL) {
        options.attempts = attempts->kept;
        options.attempts_max = TARGET_ATTEMPTS_MAX;
        options.attempts_count = &attempts->count;
    }
    return ouro_tcp_stream_connect_with(&target->addrs, &options, out_stream);
}

int target_connect(const struct target *target, uint32_t flags, int64_t timeout_ns,
                   struct attempts *attempts, struct ouro_stream **out_stream)
{
    struct ouro_deadline scope;
    if (timeout_ns != INT64_MAX) {
        int rc = ouro_deadline_begin(&scope, timeout_ns);
        if (rc < 0)
            return rc;
    }
    int rc = target->is_unix ? connect_unix(target, attempts, out_stream)
                             : connect_tcp(target, flags, attempts, out_stream);
    if (timeout_ns != INT64_MAX)
        ouro_deadline_end(&scope);
    return rc;
}
