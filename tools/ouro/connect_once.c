/* SPDX-License-Identifier: MIT */
/*
 * One connection: made, reported, used for a relay if one was asked for, closed.
 *
 * stdout is for the result alone (`created stream`, or a JSON object); with a relay it belongs to
 * the peer's data, and the result goes to stderr.  The trace and failures always do.
 *
 * Owns:    the attempts and the trace of the one connection.
 * Threads: the main thread: a current-thread runtime.
 */
#include <string.h>

#include "connect.h"

struct once {
    const struct connect_options *options;
    struct ouro_stream *stream; /* NULL: not connected */
    int rc;
    int64_t duration_ns;
    struct attempts attempts;
    struct trace trace;
};

static size_t attempts_kept(const struct attempts *attempts)
{
    return attempts->count < TARGET_ATTEMPTS_MAX ? attempts->count : TARGET_ATTEMPTS_MAX;
}

/* One line for each address that was tried; or one in all where it did not come to that. */
static void report_failure(const struct once *once)
{
    const char *text = once->options->target.text;
    const struct attempts *attempts = &once->attempts;
    char addr[OURO_ADDR_TEXT_MAX], duration[32];
    for (size_t i = 0; i < attempts_kept(attempts); i++) {
        const struct ouro_connect_attempt *attempt = &attempts->kept[i];
        ouro_socket_addr_format(&attempt->addr, addr, sizeof(addr));
        bool same = strcmp(addr, text) == 0;
        cli_error("%s%s%s: %s (%s) after %s", same ? "" : text, same ? "" : ": ", addr,
                  ouro_strerror(attempt->error), ouro_err_name(attempt->error),
                  cli_format_duration(attempt->duration_ns, duration, sizeof(duration)));
    }
    if (attempts->count == 0)
        cli_error("%s: %s (%s) after %s", text, ouro_strerror(once->rc), ouro_err_name(once->rc),
                  cli_format_duration(once->duration_ns, duration, sizeof(duration)));
    else if (attempts->count > TARGET_ATTEMPTS_MAX)
        cli_error("%s: and %zu more addresses", text, attempts->count - TARGET_ATTEMPTS_MAX);
}

static json_t *json_attempts(const struct attempts *attempts)
{
    json_t *array = json_array();
    char addr[OURO_ADDR_TEXT_MAX];
    for (size_t i = 0; i < attempts_kept(attempts); i++) {
        const struct ouro_connect_attempt *attempt = &attempts->kept[i];
        json_t *error =
            attempt->error == 0 ? json_null() : json_string(ouro_err_name(attempt->error));
        json_array_append_new(array,
                              json_pack("{s:s,s:o,s:f,s:f}", "address",
                                        ouro_socket_addr_format(&attempt->addr, addr, sizeof(addr)),
                                        "error", error, "start_us", (double)attempt->start_ns / 1e3,
                                        "duration_us", (double)attempt->duration_ns / 1e3));
    }
    return array;
}

static void json_set_addr(json_t *object, const char *key, int rc,
                          const struct ouro_socket_addr *addr)
{
    char text[OURO_ADDR_TEXT_MAX];
    if (rc == 0)
        json_object_set_new(object, key,
                            json_string(ouro_socket_addr_format(addr, text, sizeof(text))));
}

static json_t *json_result(const struct once *once)
{
    struct ouro_handle *handle = ouro_handle_current();
    json_t *object =
        json_pack("{s:b,s:s,s:s,s:s,s:f,s:o}", "connected", once->rc == 0, "target",
                  once->options->target.text, "driver", cli_driver_name(ouro_handle_driver(handle)),
                  "driver_reason", ouro_handle_driver_reason(handle), "us",
                  (double)once->duration_ns / 1e3, "attempts", json_attempts(&once->attempts));
    ouro_handle_unref(handle);
    if (once->rc < 0) {
        json_object_set_new(object, "error", json_string(ouro_err_name(once->rc)));
        json_object_set_new(object, "message", json_string(ouro_strerror(once->rc)));
    } else if (ouro_stream_kind(once->stream) == OURO_STREAM_TCP) {
        struct ouro_socket_addr addr;
        json_set_addr(object, "local", ouro_tcp_stream_local_addr(once->stream, &addr), &addr);
        json_set_addr(object, "peer", ouro_tcp_stream_peer_addr(once->stream, &addr), &addr);
    } else {
        json_set_addr(object, "peer", 0, &once->options->target.unix_addr);
    }
    return object;
}

/* Says how it went.  False when it could not be written. */
static bool report(struct once *once, json_t *object)
{
    const struct connect_options *options = once->options;
    FILE *out = options->relay ? stderr : stdout;
    if (options->trace && !options->json)
        trace_print(&once->trace, stderr);
    if (options->json) {
        if (options->trace)
            json_object_set_new(object, "trace", trace_json(&once->trace));
        return cli_print_json(out, object);
    }
    if (once->rc < 0) {
        report_failure(once);
    } else if (fputs("created stream\n", out) == EOF || fflush(out) == EOF) {
        cli_error("cannot write the result");
        return false;
    }
    return true;
}

static int connect_task(void *arg)
{
    struct once *once = arg;
    const struct connect_options *options = once->options;
    if (options->trace)
        trace_start(&once->trace);
    int64_t begin_ns = ouro_now_ns();
    once->rc =
        target_connect(&options->target, 0, options->timeout_ns, &once->attempts, &once->stream);
    once->duration_ns = ouro_now_ns() - begin_ns;
    json_t *object = options->json ? json_result(once) : NULL;

    int code = once->rc < 0 ? CLI_FAILED : CLI_OK;
    if (options->relay) {
        /* What the relay does is not part of the walk. */
        trace_stop(&once->trace);
        if (!report(once, object))
            code = CLI_FAILED;
        if (once->rc == 0 && code == CLI_OK)
            code = relay_run(once->stream);
        (void)ouro_stream_close(once->stream);
    } else {
        (void)ouro_stream_close(once->stream);
        if (options->trace)
            (void)ouro_sleep(
                OURO_MICROSECOND); /* a turn of the driver, which frees what was closed */
        trace_stop(&once->trace);
        if (!report(once, object))
            code = CLI_FAILED;
    }
    return code;
}

int connect_once(const struct connect_options *options)
{
    /* Static: a resolver thread that outlives the runtime may still report to the trace. */
    static struct once once;
    once.options = options;
    struct ouro_runtime_config config = OURO_RUNTIME_CONFIG_INIT;
    config.driver = options->driver;
    if (options->trace) {
        config.trace = trace_callback;
        config.trace_arg = &once.trace;
    }
    return cli_run(&config, connect_task, &once, 0);
}
