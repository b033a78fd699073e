/* SPDX-License-Identifier: MIT */
/*
 * `ouro connect --relay`: stdin to the stream and the stream to stdout, each in a task of its own.
 *
 * The two directions end by themselves.  The end of stdin shuts down the stream's write half, and
 * the peer may go on sending; the peer's end leaves stdin to go on being sent.  Only where one
 * direction has failed is the other pointless at times:
 *
 *   reading stdin fails, or writing the stream:  the write half ends, the peer's data is still
 * wanted reading the stream fails, or writing stdout: the sender is cancelled, nothing can come of
 * it
 *
 * Owns:    both ends of our own side, and the tasks' buffers.
 * Threads: two tasks of one worker; they share the stream, one reads and one writes.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "connect.h"
#include "output.h"
#include "pipe_end.h"

#define BUFFER_BYTES ((size_t)64 * 1024)

struct relay {
    struct ouro_stream *stream;
    struct ouro_task *sender;
    struct pipe_end in, out;
    char *send_buffer, *receive_buffer;
    bool receiver_failed; /* so that the sender's cancellation is not reported as well */
};

static int fail(const char *what, int rc)
{
    output_error("%s: %s (%s)", what, ouro_strerror(rc), ouro_err_name(rc));
    return CLI_FAILED;
}

static int send_task(void *arg)
{
    struct relay *relay = arg;
    int code = CLI_OK;
    for (;;) {
        ssize_t got = pipe_end_read(&relay->in, relay->send_buffer, BUFFER_BYTES);
        if (got == 0)
            break;
        if (got < 0) {
            if (!relay->receiver_failed)
                code = fail("stdin", (int)got);
            break;
        }
        int rc = ouro_stream_write_all(relay->stream, relay->send_buffer, (size_t)got, NULL);
        if (rc < 0) {
            if (!relay->receiver_failed)
                code = fail("sending", rc);
            break;
        }
    }
    (void)ouro_stream_shutdown(relay->stream, OURO_SHUTDOWN_WRITE);
    return code;
}

/* Runs in the caller's task. */
static int receive(struct relay *relay)
{
    for (;;) {
        ssize_t got = ouro_stream_read(relay->stream, relay->receive_buffer, BUFFER_BYTES);
        if (got == 0)
            return CLI_OK;
        if (got < 0)
            return fail("receiving", (int)got);
        int rc = pipe_end_write_all(&relay->out, relay->receive_buffer, (size_t)got);
        if (rc < 0)
            return fail("stdout", rc);
    }
}

static int run_both(struct relay *relay)
{
    struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
    options.name = "relay sender";
    options.worker = OURO_WORKER_CURRENT;
    int rc = ouro_task_spawn_with(NULL, &options, send_task, relay, &relay->sender);
    if (rc < 0)
        return fail("cannot start", rc);

    int code = receive(relay);
    if (code != CLI_OK) {
        relay->receiver_failed = true;
        (void)ouro_task_cancel(relay->sender);
    }
    int sent = CLI_FAILED;
    rc = ouro_task_join(relay->sender, &sent);
    if (rc < 0)
        return fail("cannot end", rc);
    return code != CLI_OK ? code : sent;
}

int relay_run(struct ouro_stream *stream)
{
    /* A reader of our stdout that has gone is an error of write(2), to be reported as others are.
     */
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    (void)sigaction(SIGPIPE, &ignore, NULL);

    struct relay relay = {.stream = stream,
                          .send_buffer = malloc(BUFFER_BYTES),
                          .receive_buffer = malloc(BUFFER_BYTES)};
    int rc_in = pipe_end_init(&relay.in, STDIN_FILENO, false);
    int rc_out = pipe_end_init(&relay.out, STDOUT_FILENO, true);
    int code;
    if (relay.send_buffer == NULL || relay.receive_buffer == NULL)
        code = fail("cannot start", -ENOMEM);
    else if (rc_in < 0)
        code = fail("stdin", rc_in);
    else if (rc_out < 0)
        code = fail("stdout", rc_out);
    else
        code = run_both(&relay);

    pipe_end_fini(&relay.in);
    pipe_end_fini(&relay.out);
    free(relay.send_buffer);
    free(relay.receive_buffer);
    return code;
}
