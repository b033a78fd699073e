/* SPDX-License-Identifier: MIT */
/*
 * One connection: made, reported, relayed if that was asked for, closed.
 *
 * stdout gets the result alone (`created stream`, or a JSON object).  With a relay stdout gets the
 * peer's data, and the result is a message on stderr: a stderr that takes no messages does not stop
 * the relay.  The trace and failures always go to stderr.
 *
 * Owns:    the attempts and the trace of the one connection.
 * Threads: the main thread: a current-thread runtime.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "connect.h"
#include "json_text.h"
#include "output.h"

struct once {
    const struct connect_options *options;
    struct ouro_stream *stream; /* NULL: not connected */
    int rc;
    int64_t duration_ns;
    int64_t grace_ns; /* to end in */
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
        output_error("%s%s%s: %s (%s) after %s", same ? "" : text, same ? "" : ": ", addr,
                     ouro_strerror(attempt->error), ouro_err_name(attempt->error),
                     cli_format_duration(attempt->duration_ns, duration, sizeof(duration)));
    }
    if (attempts->count == 0)
        output_error("%s: %s (%s) after %s", text, ouro_strerror(once->rc), ouro_err_name(once->rc),
                     cli_format_duration(once->duration_ns, duration, sizeof(duration)));
    else if (attempts->count > TARGET_ATTEMPTS_MAX)
        output_error("%s: and %zu more addresses", text, attempts->count - TARGET_ATTEMPTS_MAX);
}

static json_t *json_addr(const struct ouro_socket_addr *addr)
{
    char text[OURO_ADDR_TEXT_MAX];
    return json_text_string(ouro_socket_addr_format(addr, text, sizeof(text)));
}

static json_t *json_attempts(const struct attempts *attempts)
{
    json_t *array = json_array();
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < attempts_kept(attempts); i++) {
        const struct ouro_connect_attempt *attempt = &attempts->kept[i];
        json_t *error =
            attempt->error == 0 ? json_null() : json_string(ouro_err_name(attempt->error));
        rc = json_array_append_new(
            array, json_pack("{s:o,s:o,s:f,s:f}", "address", json_addr(&attempt->addr), "error",
                             error, "start_us", (double)attempt->start_ns / 1e3, "duration_us",
                             (double)attempt->duration_ns / 1e3));
    }
    if (rc == 0)
        return array;
    json_decref(array);
    return NULL;
}

/* Adds the addresses of both ends.  What the kernel does not tell, after a reset, is left out. */
static int json_add_ends(json_t *object, const struct once *once)
{
    struct ouro_socket_addr addr;
    if (ouro_stream_kind(once->stream) != OURO_STREAM_TCP)
        return json_object_set_new(object, "peer", json_addr(&once->options->target.unix_addr));
    int rc = 0;
    if (ouro_tcp_stream_local_addr(once->stream, &addr) == 0)
        rc |= json_object_set_new(object, "local", json_addr(&addr));
    if (ouro_tcp_stream_peer_addr(once->stream, &addr) == 0)
        rc |= json_object_set_new(object, "peer", json_addr(&addr));
    return rc;
}

/* The result as JSON.  NULL without memory. */
static json_t *json_result(const struct once *once)
{
    struct ouro_handle *handle = ouro_handle_current();
    json_t *object =
        json_pack("{s:b,s:o,s:s,s:s,s:f,s:o}", "connected", once->rc == 0, "target",
                  json_text_string(once->options->target.text), "driver",
                  cli_driver_name(ouro_handle_driver(handle)), "driver_reason",
                  ouro_handle_driver_reason(handle), "us", (double)once->duration_ns / 1e3,
                  "attempts", json_attempts(&once->attempts));
    ouro_handle_unref(handle);
    int rc = 0;
    if (once->rc < 0) {
        rc |= json_object_set_new(object, "error", json_string(ouro_err_name(once->rc)));
        rc |= json_object_set_new(object, "message", json_string(ouro_strerror(once->rc)));
    } else {
        rc |= json_add_ends(object, once);
    }
    if (rc == 0)
        return object;
    json_decref(object);
    return NULL;
}

/* A text of the relay's or the trace's, on stderr; releases it. */
static bool write_message(char *text)
{
    bool written = text != NULL && output_message(text);
    free(text);
    return written;
}

static bool report_json(const struct once *once, json_t *object)
{
    if (once->options->trace &&
        json_object_set_new(object, "trace", trace_json(&once->trace)) != 0) {
        json_decref(object);
        object = NULL;
    }
    return once->options->relay ? write_message(json_text_line(object)) : json_text_print(object);
}

/* Says how it went.  False when something of it could not be written. */
static bool report(const struct once *once, json_t *object)
{
    const struct connect_options *options = once->options;
    if (options->json)
        return report_json(once, object);
    bool written = !options->trace || write_message(trace_text(&once->trace));
    if (once->rc < 0)
        report_failure(once);
    else if (options->relay)
        written &= output_message("created stream\n");
    else
        written &= output_result("created stream\n");
    return written;
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
    /* The resolver may be what took so long, and it cannot be stopped: --timeout is a promise. */
    once->grace_ns = once->rc == -ETIMEDOUT ? 0 : OURO_SECOND;
    json_t *object = options->json ? json_result(once) : NULL;

    int code = once->rc < 0 ? CLI_FAILED : CLI_OK;
    if (options->relay) {
        trace_stop(&once->trace);   /* the relay's steps are not part of the connect */
        (void)report(once, object); /* a stderr that refuses messages does not end the relay */
        if (once->rc == 0)
            code = relay_run(once->stream);
        (void)ouro_stream_close(once->stream);
    } else {
        (void)ouro_stream_close(once->stream);
        /* The driver frees what was closed in its next turn: that is the last step to show. */
        if (options->trace)
            (void)ouro_sleep(OURO_MICROSECOND);
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
    if (options->relay)
        output_never_wait();
    struct ouro_runtime_config config = cli_runtime_config(&options->runtime);
    if (options->trace) {
        config.trace = trace_callback;
        config.trace_arg = &once.trace;
    }
    return cli_run(&config, connect_task, &once, &once.grace_ns);
}
