/* SPDX-License-Identifier: MIT */
/*
 * Client with a deadline: sends a line, and prints the answer if all of it comes in time.
 *
 *     client_deadline HOST:PORT SECONDS TEXT
 *
 * One deadline holds for looking up the name, connecting, sending and receiving together.  The
 * function that talks to the server says nothing about time: the scope around it does.
 */
#include <errno.h>
#include <ouro.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct request {
    const char *target;
    const char *text;
    char answer[4096];
    size_t answer_size;
};

/* Sends the text, and receives until the server has sent everything or the answer is full. */
static int exchange(struct ouro_stream *stream, struct request *request)
{
    int rc = ouro_stream_write_all(stream, request->text, strlen(request->text), NULL);
    if (rc == 0)
        rc = ouro_stream_shutdown(stream, OURO_SHUTDOWN_WRITE); /* the server sees the end */
    while (rc == 0 && request->answer_size < sizeof(request->answer)) {
        ssize_t n = ouro_stream_read(stream, request->answer + request->answer_size,
                                     sizeof(request->answer) - request->answer_size);
        if (n <= 0)
            return (int)n;
        request->answer_size += (size_t)n;
    }
    return rc;
}

static int ask(struct request *request)
{
    struct ouro_stream *stream = NULL;
    int rc = ouro_connect(request->target, INT64_MAX, &stream);
    if (rc < 0)
        return rc;
    rc = exchange(stream, request);
    ouro_stream_close(stream);
    return rc;
}

struct program {
    struct request request;
    int64_t limit_ns;
};

static int run(void *arg)
{
    struct program *program = arg;
    OURO_DEADLINE(limit, program->limit_ns);
    return ask(&program->request);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: client_deadline HOST:PORT SECONDS TEXT\n");
        return 2;
    }
    struct program program = {
        .request = {.target = argv[1], .text = argv[3]},
        .limit_ns = (int64_t)(strtod(argv[2], NULL) * 1e9),
    };
    int rc = ouro_run(run, &program);
    if (rc == -ETIMEDOUT)
        fprintf(stderr, "client_deadline: no answer within %s s\n", argv[2]);
    else if (rc < 0)
        fprintf(stderr, "client_deadline: %s\n", ouro_strerror(rc));
    if (rc < 0)
        return 1;
    fwrite(program.request.answer, 1, program.request.answer_size, stdout);
    return fflush(stdout) != 0;
}
