/* SPDX-License-Identifier: MIT */
/*
 * The modes of `ouro serve`: echo (RFC 862), discard (RFC 863), chargen (RFC 864).
 *
 * Owns:    nothing; the stream is the caller's.
 * Threads: the connection's worker.
 */
#include "serve_modes.h"

#include <string.h>

/* Characters of a line of chargen, and the lines until they begin again: the printable ASCII. */
#define LINE_CHARACTERS 72
#define LINE_BYTES (LINE_CHARACTERS + 2)
#define PRINTABLE 95

/* Messages below this are read into the task's stack: into a page that it has anyway, and cheaper
 * than on loan.  A connection that waits for longer ones has no buffer. */
enum { SMALL_BYTES = 1280 };

static ssize_t echo_small(struct ouro_stream *stream)
{
    char buffer[SMALL_BYTES];
    ssize_t got = ouro_stream_read(stream, buffer, sizeof(buffer));
    if (got <= 0)
        return got;
    int rc = ouro_stream_write_all(stream, buffer, (size_t)got, NULL);
    return rc < 0 ? rc : got;
}

static ssize_t echo_large(struct ouro_stream *stream)
{
    struct ouro_loan loan;
    ssize_t got = ouro_stream_read_loan(stream, &loan);
    if (got <= 0)
        return got;
    int rc = ouro_stream_write_loan(stream, &loan, NULL);
    ouro_loan_release(&loan); /* if the write has not taken it */
    return rc < 0 ? rc : got;
}

/* What comes next is expected to be as long as what came last. */
static void serve_echo(struct ouro_stream *stream)
{
    ssize_t got = 1;
    while (got > 0)
        got = got < SMALL_BYTES ? echo_small(stream) : echo_large(stream);
}

static void serve_discard(struct ouro_stream *stream)
{
    struct ouro_loan loan;
    while (ouro_stream_read_loan(stream, &loan) > 0)
        ouro_loan_release(&loan);
}

static int discard_task(void *stream)
{
    serve_discard(stream);
    return 0;
}

/* The whole pattern: line n begins with the nth printable character, and its characters are those
 * that follow, around. */
static const char *all_lines(void)
{
    static char lines[PRINTABLE * LINE_BYTES];
    for (size_t line = 0; line < PRINTABLE; line++) {
        char *at = lines + line * LINE_BYTES;
        for (size_t i = 0; i < LINE_CHARACTERS; i++)
            at[i] = (char)(' ' + (line + i) % PRINTABLE);
        at[LINE_CHARACTERS] = '\r';
        at[LINE_CHARACTERS + 1] = '\n';
    }
    return lines;
}

/*
 * Sends until the peer closes; what comes from it is thrown away, by a task of its own.  The end of
 * what comes is not the end: a client that has nothing to say may end its half at once.
 */
static void serve_chargen(struct ouro_stream *stream)
{
    struct ouro_group group;
    if (ouro_group_begin(&group, 0) < 0)
        return;
    struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
    options.name = "discard";
    options.worker = OURO_WORKER_CURRENT;
    int rc = ouro_group_spawn(&group, &options, discard_task, stream);
    const char *lines = all_lines();
    while (rc == 0)
        rc = ouro_stream_write_all(stream, lines, PRINTABLE * LINE_BYTES, NULL);
    (void)ouro_group_cancel(&group);
    (void)ouro_group_end(&group);
}

const struct serve_mode *serve_mode_find(const char *name)
{
    static const struct serve_mode modes[] = {
        {"echo", serve_echo},
        {"discard", serve_discard},
        {"chargen", serve_chargen},
    };
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
        if (strcmp(modes[i].name, name) == 0)
            return &modes[i];
    return NULL;
}
