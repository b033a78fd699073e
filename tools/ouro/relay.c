/* SPDX-License-Identifier: MIT */
/*
 * `ouro connect --relay`: stdin to the stream and the stream to stdout, at the same time.
 *
 * The two directions end by themselves.  The end of stdin shuts down the stream's write half, and
 * the peer may go on sending; the end of the peer's data leaves stdin to be sent on.  A failure of
 * one direction matters to the other in one of the two cases:
 *
 *   reading stdin or writing the stream fails     the write half ends; the peer's data is still
 *                                                 wanted, so receiving goes on
 *   reading the stream or writing stdout fails    nothing can be received any more, so sending is
 *                                                 cancelled
 *
 * This is not ouro_relay(): there an error of either direction ends both, and stdin and stdout may
 * be files and terminals, which are no streams.
 *
 * The sender is a task of a group, so it has ended before what it uses is released.
 *
 * Owns:    both ends of our own side, and the two buffers.
 * Threads: two tasks of one worker; they share the stream, one reads and one writes.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "connect.h"
#include "output.h"
#include "pipe_end.h"

#define BUFFER_BYTES ((size_t)64 * 1024)

struct relay {
    struct ouro_stream *stream;
    struct pipe_end in, out;
    char *send_buffer, *receive_buffer;
};

/* Reports a failure; not that of a sender which the receiver's failure has cancelled. */
static int fail(const char *what, int rc)
{
    if (rc != -ECANCELED)
        output_error("%s: %s (%s)", what, ouro_strerror(rc), ouro_err_name(rc));
    return rc;
}

static int copy_stdin(struct relay *relay)
{
    for (;;) {
        ssize_t got = pipe_end_read(&relay->in, relay->send_buffer, BUFFER_BYTES);
        if (got == 0)
            return 0;
        if (got < 0)
            return fail("stdin", (int)got);
        int rc = ouro_stream_write_all(relay->stream, relay->send_buffer, (size_t)got, NULL);
        if (rc < 0)
            return fail("sending", rc);
    }
}

static int send_task(void *arg)
{
    struct relay *relay = arg;
    int rc = copy_stdin(relay);
    int shutdown_rc = ouro_stream_shutdown(relay->stream, OURO_SHUTDOWN_WRITE);
    return rc == 0 && shutdown_rc < 0 ? fail("sending the end", shutdown_rc) : rc;
}

static int receive(struct relay *relay)
{
    for (;;) {
        ssize_t got = ouro_stream_read(relay->stream, relay->receive_buffer, BUFFER_BYTES);
        if (got == 0)
            return 0;
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
    struct ouro_group group;
    int rc = ouro_group_begin(&group, 0);
    if (rc < 0)
        return fail("cannot start", rc);
    rc = ouro_group_spawn(&group, &options, send_task, relay);
    rc = rc < 0 ? fail("cannot start", rc) : receive(relay);
    if (rc < 0)
        (void)ouro_group_cancel(&group); /* it cannot fail: the group has begun */
    int sent = ouro_group_end(&group);
    return rc < 0 ? rc : sent;
}

int relay_run(struct ouro_stream *stream)
{
    struct relay relay = {.stream = stream,
                          .send_buffer = malloc(BUFFER_BYTES),
                          .receive_buffer = malloc(BUFFER_BYTES)};
    int rc_in = pipe_end_init(&relay.in, STDIN_FILENO, false);
    int rc_out = pipe_end_init(&relay.out, STDOUT_FILENO, true);
    int rc;
    if (relay.send_buffer == NULL || relay.receive_buffer == NULL)
        rc = fail("cannot start", -ENOMEM);
    else if (rc_in < 0)
        rc = fail("stdin", rc_in);
    else if (rc_out < 0)
        rc = fail("stdout", rc_out);
    else
        rc = run_both(&relay);

    pipe_end_fini(&relay.in);
    pipe_end_fini(&relay.out);
    free(relay.send_buffer);
    free(relay.receive_buffer);
    return rc < 0 ? CLI_FAILED : CLI_OK;
}
