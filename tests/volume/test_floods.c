/* SPDX-License-Identifier: MIT */
/*
 * Floods: a connection on which there is always something to do, and a crowd of new connections,
 * do not keep another connection waiting.
 *
 * Time says little on a busy machine, so the wait is measured in what the server has done for the
 * flood meanwhile: from the moment when a question is in the server's socket, to the moment when
 * its handler has it.
 */
#include "net/serve_rig.h"
#include "volume.h"

#include "ouro/task.h"

enum {
    FLOODS = 4,
    QUESTIONS_PART = 200,
    QUESTIONS_FULL = 20000,
    PIECE = 64, /* small: a flood is then many operations that never wait */
    /* A worker lets a task make 128 operations in a row (src/task/context.h), and then the others.
     * An answer takes a few rounds: the rest of the one in which the question comes, one until the
     * driver has seen it, one until the handler's turn has come. */
    ROUNDS_MAX = 5,
    WAIT_MAX = ROUNDS_MAX * FLOODS * 128,
};

static _Atomic int64_t done_for_flood; /* operations, or connections accepted */
static _Atomic bool is_over;

/* Answers each byte with the count. */
static int answer_questions(struct ouro_stream *stream)
{
    char question = 0;
    while (ouro_stream_read(stream, &question, 1) == 1) {
        int64_t count = done_for_flood;
        if (ouro_stream_write_all(stream, &count, sizeof(count), NULL) < 0)
            break;
    }
    return 0;
}

/* The first byte says what a connection is: a question, a flood of reads, or of writes. */
static int serve_any(struct ouro_stream *stream, const struct ouro_serve_peer *peer, void *arg)
{
    char kind = 0;
    char piece[PIECE] = {0};
    (void)peer, (void)arg;
    if (ouro_stream_read(stream, &kind, 1) != 1)
        return 0;
    if (kind == 'q')
        return answer_questions(stream);
    for (;;) {
        ssize_t n = kind == 'r' ? ouro_stream_read(stream, piece, sizeof(piece))
                                : ouro_stream_write(stream, piece, sizeof(piece));
        if (n <= 0)
            return 0;
        done_for_flood++;
    }
}

/* Asks, and checks what was done for the flood before each answer. */
static void ask(struct rig *rig, int64_t least, int64_t most)
{
    unsigned questions = volume_of(QUESTIONS_PART, QUESTIONS_FULL);
    int fd = rig_connect(rig);
    ouro_test_write_exactly(fd, "q", 1);
    for (unsigned i = 0; i < questions || done_for_flood < least; i++) {
        int64_t at_answer = 0;
        ouro_test_write_exactly(fd, "?", 1);
        int64_t at_question = done_for_flood;
        ouro_test_read_exactly(fd, &at_answer, sizeof(at_answer));
        if (i == 0)
            continue; /* this one was accepted first */
        ck_assert_msg(at_answer - at_question <= most, "question %u waited for %lld of the flood",
                      i, (long long)(at_answer - at_question));
    }
    (void)close(fd);
}

struct flooder {
    pthread_t thread;
    int fd;
    char kind;
};

/* Writes, or reads, as fast as it can. */
static void *flood_by(void *arg)
{
    struct flooder *flooder = arg;
    char much[16384] = {0};
    ssize_t n = 1;
    while (n > 0 && !is_over)
        n = flooder->kind == 'r' ? send(flooder->fd, much, sizeof(much), MSG_NOSIGNAL)
                                 : recv(flooder->fd, much, sizeof(much), 0);
    return NULL;
}

static void ask_beside_floods(struct rig *rig)
{
    struct flooder flooders[FLOODS];
    is_over = false;
    for (unsigned i = 0; i < FLOODS; i++) {
        flooders[i] = (struct flooder){.fd = rig_connect(rig), .kind = *(const char *)rig->data};
        ouro_test_write_exactly(flooders[i].fd, &flooders[i].kind, 1);
        ck_assert_int_eq(pthread_create(&flooders[i].thread, NULL, flood_by, &flooders[i]), 0);
    }
    ask(rig, 10000, WAIT_MAX);
    is_over = true;
    for (unsigned i = 0; i < FLOODS; i++) {
        (void)shutdown(flooders[i].fd, SHUT_RDWR);
        ck_assert_int_eq(pthread_join(flooders[i].thread, NULL), 0);
        ouro_test_reset(flooders[i].fd);
    }
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
}

static int flood_with(void *arg)
{
    struct rig rig = {.handler = serve_any, .client = ask_beside_floods, .data = arg};
    done_for_flood = 0;
    ck_assert_int_eq(rig_run(&rig), 0);
    return 0;
}

OURO_TEST(floods_that_are_read_keep_nobody_waiting, .timeout_s = 300)
{
    static char kind = 'r';
    in_place(IN_TASK, flood_with, &kind);
}

OURO_TEST(floods_that_are_written_keep_nobody_waiting, .timeout_s = 300)
{
    static char kind = 'w';
    in_place(IN_TASK, flood_with, &kind);
}

/*
 * A crowd of new connections.
 */

static int count_or_answer(struct ouro_stream *stream, const struct ouro_serve_peer *peer,
                           void *arg)
{
    char kind = 0;
    (void)peer, (void)arg;
    if (ouro_stream_read(stream, &kind, 1) == 1 && kind == 'q')
        return answer_questions(stream);
    done_for_flood++;
    return 0;
}

/* Connects, many at a time, and leaves when the server has ended the connection.  (A crowd that
 * does not wait fills the backlog, and then waits a second for the kernel to try again.) */
static void *crowd(void *arg)
{
    struct rig *rig = arg;
    int fds[64];
    while (!is_over) {
        for (unsigned i = 0; i < 64; i++) {
            fds[i] = rig_connect(rig);
            ouro_test_write_exactly(fds[i], "x", 1);
        }
        for (unsigned i = 0; i < 64; i++) {
            char none = 0;
            ck_assert_int_eq(recv(fds[i], &none, 1, 0), 0);
            ouro_test_reset(fds[i]);
        }
    }
    return NULL;
}

static void ask_beside_a_crowd(struct rig *rig)
{
    pthread_t threads[2];
    is_over = false;
    for (unsigned i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, crowd, rig), 0);
    ask(rig, 1000, WAIT_MAX);
    is_over = true;
    for (unsigned i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
}

static int flood_with_connections(void *arg)
{
    struct rig rig = {.handler = count_or_answer, .client = ask_beside_a_crowd};
    (void)arg;
    done_for_flood = 0;
    ck_assert_int_eq(rig_run(&rig), 0);
    return 0;
}

OURO_TEST(a_crowd_of_new_connections_keeps_nobody_waiting, .timeout_s = 300)
{
    in_place(IN_TASK, flood_with_connections, NULL);
}
