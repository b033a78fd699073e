/* SPDX-License-Identifier: MIT */
/*
 * ouro inside libuv: one thread, one loop, and tasks that read from top to bottom in it.
 *
 *     embedded_libuv HOST:PORT...    sends a line to each, and prints what they answer
 *
 * The loop is libuv's.  It polls one descriptor of ouro's; whenever that is readable the runtime
 * gets its turn, which never blocks.  A timer of libuv's goes on meanwhile and says how long the
 * slowest has been waited for.  When the last task has ended the program lets the loop run out.
 */
#include <ouro.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

struct program {
    uv_loop_t loop;
    uv_poll_t ouro;
    uv_timer_t patience;
    struct ouro_runtime *runtime;
    int open; /* tasks that have not ended */
    int failed;
    unsigned seconds;
};

struct visit {
    struct program *program;
    const char *address;
};

/* Sends a line and prints the answer.  As any task it may wait where it likes. */
static int talk(const char *address)
{
    struct ouro_stream *stream = NULL;
    char answer[256];
    size_t length = 0;
    ssize_t got = 0;
    int rc = ouro_connect(address, 5 * OURO_SECOND, &stream);
    if (rc < 0)
        return rc;
    rc = ouro_stream_write_all(stream, "hello\n", 6, NULL);
    while (rc == 0 && memchr(answer, '\n', length) == NULL && length < sizeof(answer)) {
        got = ouro_stream_read(stream, answer + length, sizeof(answer) - length);
        if (got <= 0)
            break;
        length += (size_t)got;
    }
    ouro_stream_close(stream);
    if (rc == 0 && got < 0)
        rc = (int)got;
    if (rc == 0)
        printf("%s: %.*s\n", address, (int)strcspn(answer, "\n"), length > 0 ? answer : "");
    return rc;
}

/* Everything runs on the loop's thread, so a task may call libuv, and needs no lock to count. */
static int visit(void *arg)
{
    struct visit *visit = arg;
    struct program *program = visit->program;
    int rc = talk(visit->address);
    if (rc < 0) {
        fprintf(stderr, "embedded_libuv: %s: %s\n", visit->address, ouro_strerror(rc));
        program->failed++;
    }
    if (--program->open == 0) {
        uv_poll_stop(&program->ouro);
        uv_timer_stop(&program->patience);
    }
    return rc;
}

static void give_turn(uv_poll_t *poll, int status, int events)
{
    struct program *program = poll->data;
    (void)status;
    (void)events;
    (void)ouro_runtime_turn(program->runtime, 0);
}

static void say_how_long(uv_timer_t *timer)
{
    struct program *program = timer->data;
    fprintf(stderr, "waiting for %d, %u s\n", program->open, ++program->seconds);
}

static int start(struct program *program, struct visit *visits, int count, char **addresses)
{
    struct ouro_handle *handle = ouro_runtime_handle(program->runtime);
    int rc = 0;
    for (int i = 0; i < count && rc == 0; i++) {
        visits[i] = (struct visit){.program = program, .address = addresses[i]};
        rc = ouro_task_spawn_with(handle, NULL, visit, &visits[i], NULL);
        if (rc == 0)
            program->open++;
    }
    ouro_handle_unref(handle);
    return rc;
}

static void run_loop(struct program *program)
{
    uv_loop_init(&program->loop);
    uv_poll_init(&program->loop, &program->ouro, ouro_runtime_fd(program->runtime));
    uv_timer_init(&program->loop, &program->patience);
    program->ouro.data = program;
    program->patience.data = program;
    if (program->open > 0) {
        uv_poll_start(&program->ouro, UV_READABLE, give_turn);
        uv_timer_start(&program->patience, say_how_long, 1000, 1000);
    }
    uv_run(&program->loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&program->ouro, NULL);
    uv_close((uv_handle_t *)&program->patience, NULL);
    uv_run(&program->loop, UV_RUN_DEFAULT);
    uv_loop_close(&program->loop);
}

enum { VISITS_MAX = 64 };

int main(int argc, char **argv)
{
    static struct program program;
    static struct visit visits[VISITS_MAX];
    if (argc < 2 || argc > VISITS_MAX + 1) {
        fputs("usage: embedded_libuv HOST:PORT...\n", stderr);
        return 2;
    }
    struct ouro_runtime_config config = OURO_RUNTIME_CONFIG_INIT;
    config.flags = OURO_RUNTIME_F_EMBEDDED;
    int rc = ouro_runtime_new(&config, &program.runtime);
    if (rc == 0) {
        rc = start(&program, visits, argc - 1, argv + 1);
        run_loop(&program);
        ouro_runtime_free(program.runtime);
    }
    if (rc < 0)
        fprintf(stderr, "embedded_libuv: %s\n", ouro_strerror(rc));
    return rc < 0 || program.failed > 0;
}
