/* SPDX-License-Identifier: MIT */
/*
 * The limits of a server: connections, peers, idle time, the time of a whole connection.
 */
#include "serve_rig.h"

#include <arpa/inet.h>

#include "ouro/task.h"
#include "ouro/time.h"

enum { LIMIT = 3 };

static bool third_is_active(void *arg)
{
    return rig_stats(arg).active == LIMIT;
}

static bool one_has_gone(void *arg)
{
    return rig_stats(arg).active == LIMIT - 1;
}

/* Fills the server up, is refused, makes room, and is served again. */
static void fill_and_overflow(struct rig *rig)
{
    int fds[LIMIT];
    for (int i = 0; i < LIMIT; i++) {
        fds[i] = rig_connect(rig);
        rig_exchange(fds[i], "x");
    }
    RIG_AWAIT(third_is_active, rig);
    for (int i = 0; i < 5; i++)
        rig_await_end(rig_connect(rig));
    for (int i = 0; i < LIMIT; i++)
        rig_exchange(fds[i], "still there");
    (void)close(fds[0]);
    RIG_AWAIT(one_has_gone, rig);
    fds[0] = rig_connect(rig);
    rig_exchange(fds[0], "x");
    for (int i = 0; i < LIMIT; i++)
        (void)close(fds[i]);
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
}

static int limit_all(void *arg)
{
    struct rig rig = {.handler = rig_echo, .client = fill_and_overflow};
    (void)arg;
    rig.options.connections_max = LIMIT;
    ck_assert_int_eq(rig_run(&rig), 0);
    ck_assert_uint_eq(rig.stats.refused, 5);
    ck_assert_uint_eq(rig.stats.refused_peer, 0);
    ck_assert_uint_eq(rig.stats.closed, LIMIT + 1);
    return 0;
}

OURO_TEST(connections_beyond_the_limit_are_closed_at_once)
{
    everywhere(limit_all, NULL);
}

static int connect_from(struct rig *rig, const char *host)
{
    struct sockaddr_in addr = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(inet_pton(AF_INET, host, &addr.sin_addr), 1);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    addr.sin_port = htons(rig->port);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    return fd;
}

static void client_of_a_peer_limit(struct rig *rig)
{
    int fds[LIMIT];
    for (int i = 0; i < LIMIT; i++) {
        fds[i] = rig_connect(rig);
        rig_exchange(fds[i], "x");
    }
    rig_await_end(rig_connect(rig));
    int other = connect_from(rig, "127.0.0.2");
    rig_exchange(other, "another peer");
    rig_await_end(rig_connect(rig));
    (void)close(fds[0]);
    RIG_AWAIT(third_is_active, rig);
    fds[0] = rig_connect(rig);
    rig_exchange(fds[0], "x");
    for (int i = 0; i < LIMIT; i++)
        (void)close(fds[i]);
    (void)close(other);
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
}

static int limit_a_peer(void *arg)
{
    struct rig rig = {.handler = rig_echo, .client = client_of_a_peer_limit};
    (void)arg;
    rig.options.per_peer_max = LIMIT;
    ck_assert_int_eq(rig_run(&rig), 0);
    ck_assert_uint_eq(rig.stats.refused_peer, 2);
    ck_assert_uint_eq(rig.stats.refused, 0);
    ck_assert_uint_eq(rig.stats.closed, LIMIT + 2);
    return 0;
}

OURO_TEST(connections_of_one_peer_are_limited)
{
    everywhere(limit_a_peer, NULL);
}

#define IDLE_NS (80 * OURO_MILLISECOND)

/* Says nothing. */
static void silent_client(struct rig *rig)
{
    int64_t begin_ns = ouro_test_now_ns();
    int fd = rig_connect(rig);
    rig_exchange(fd, "x");
    rig_await_end(fd);
    ck_assert_int_ge(ouro_test_now_ns() - begin_ns, IDLE_NS);
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
}

static int cut_the_silent(void *arg)
{
    struct rig rig = {.handler = rig_echo, .client = silent_client};
    (void)arg;
    rig.options.idle_ns = IDLE_NS;
    ck_assert_int_eq(rig_run(&rig), 0);
    ck_assert_int_eq(rig.result, -ETIMEDOUT);
    ck_assert_uint_eq(rig.stats.timed_out, 1);
    ck_assert_uint_eq(rig.stats.failed, 1);
    ck_assert_uint_eq(rig.stats.cancelled, 0);
    return 0;
}

OURO_TEST(a_silent_peer_is_cut)
{
    everywhere(cut_the_silent, NULL);
}

/* Writes more than a peer's buffers hold, in one call. */
static int write_much(struct ouro_stream *stream, const struct ouro_serve_peer *peer, void *arg)
{
    struct rig *rig = arg;
    static char much[16 << 20];
    (void)peer;
    rig->result = ouro_stream_write_all(stream, much, sizeof(much), NULL);
    return rig->result;
}

static bool one_is_closed(void *arg)
{
    return rig_stats(arg).closed == 1;
}

/* Waits until the server has given up. */
static void client_that_does_not_read(struct rig *rig)
{
    int fd = rig_connect(rig);
    RIG_AWAIT(one_is_closed, rig);
    (void)close(fd);
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
}

static int cut_who_does_not_read(void *arg)
{
    struct rig rig = {.handler = write_much, .client = client_that_does_not_read};
    (void)arg;
    rig.options.idle_ns = IDLE_NS;
    ck_assert_int_eq(rig_run(&rig), 0);
    ck_assert_int_eq(rig.result, -ETIMEDOUT);
    ck_assert_uint_eq(rig.stats.timed_out, 1);
    return 0;
}

OURO_TEST(a_peer_that_never_reads_is_cut)
{
    everywhere(cut_who_does_not_read, NULL);
}

/*
 * Reads a little in each part of the idle time, so that the one write lasts longer than it.  The
 * idle time is also longer than two retransmissions after 200 and 400 ms: the kernel may drop what
 * comes while the receive buffer is full, and then nothing is acknowledged before them.
 */
static void client_that_reads_slowly(struct rig *rig)
{
    static char part[1 << 20];
    int fd = rig_connect(rig);
    for (int i = 0; i < 16; i++) {
        ouro_test_read_exactly(fd, part, sizeof(part));
        if (i < 14) /* together longer than the idle time */
            ck_assert_int_eq(ouro_test_poll(fd, POLLPRI, 70 * OURO_TEST_MS), 0);
    }
    rig_await_end(fd);
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
}

static int keep_who_reads_slowly(void *arg)
{
    struct rig rig = {.handler = write_much, .client = client_that_reads_slowly};
    (void)arg;
    rig.options.idle_ns = 800 * OURO_MILLISECOND;
    ck_assert_int_eq(rig_run(&rig), 0);
    ck_assert_int_eq(rig.result, 0);
    ck_assert_uint_eq(rig.stats.timed_out, 0);
    return 0;
}

OURO_TEST(a_peer_that_reads_slowly_is_not_idle)
{
    in_place(IN_TASK, keep_who_reads_slowly, NULL);
    in_place(IN_THREAD, keep_who_reads_slowly, NULL);
}

/* Waits for something else than its stream, longer than the idle time. */
static int is_busy(struct ouro_stream *stream, const struct ouro_serve_peer *peer, void *arg)
{
    (void)peer;
    (void)arg;
    int rc = ouro_sleep(3 * IDLE_NS);
    return rc < 0 ? rc : ouro_stream_write_all(stream, "x", 1, NULL);
}

static void client_that_waits(struct rig *rig)
{
    char byte = 0;
    int fd = rig_connect(rig);
    ouro_test_read_exactly(fd, &byte, 1);
    rig_await_end(fd);
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
}

static int keep_the_busy(void *arg)
{
    struct rig rig = {.handler = is_busy, .client = client_that_waits};
    (void)arg;
    rig.options.idle_ns = IDLE_NS;
    ck_assert_int_eq(rig_run(&rig), 0);
    ck_assert_uint_eq(rig.stats.timed_out, 0);
    ck_assert_uint_eq(rig.stats.failed, 0);
    return 0;
}

OURO_TEST(a_handler_that_waits_for_something_else_is_not_idle)
{
    everywhere(keep_the_busy, NULL);
}

/* A byte now and then: never idle, but the connection has its end. */
static void slow_loris(struct rig *rig)
{
    int fd = rig_connect(rig);
    while (send(fd, "x", 1, MSG_NOSIGNAL) == 1 &&
           (ouro_test_poll(fd, POLLRDHUP | POLLHUP, 5 * OURO_TEST_MS) & (POLLRDHUP | POLLHUP)) ==
               0) {
    }
    rig_await_end(fd);
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
}

static int cut_the_slow_loris(void *arg)
{
    struct rig rig = {.handler = rig_echo, .client = slow_loris};
    (void)arg;
    rig.options.idle_ns = 10 * OURO_SECOND;
    rig.options.connection_ns = 60 * OURO_MILLISECOND;
    ck_assert_int_eq(rig_run(&rig), 0);
    ck_assert_int_eq(rig.result, -ETIMEDOUT);
    ck_assert_uint_eq(rig.stats.timed_out, 1);
    return 0;
}

OURO_TEST(a_peer_that_sends_a_byte_now_and_then_is_cut_by_the_deadline)
{
    everywhere(cut_the_slow_loris, NULL);
}

/* Ends deadlines of its own; that of the connection holds again after them. */
static int uses_deadlines(struct ouro_stream *stream, const struct ouro_serve_peer *peer, void *arg)
{
    struct rig *rig = arg;
    char byte = 0;
    ssize_t n = 0;
    (void)peer;
    for (int i = 0; i < 100 && n >= 0; i++) {
        struct ouro_deadline scope;
        ck_assert_int_eq(ouro_deadline_begin(&scope, OURO_MILLISECOND), 0);
        n = ouro_stream_read(stream, &byte, 1);
        ouro_deadline_end(&scope);
        ck_assert_int_eq(n, -ETIMEDOUT);
        n = 0;
        if (ouro_deadline_remaining_ns() == 0)
            break;
    }
    rig->result = (int)ouro_stream_read(stream, &byte, 1);
    return 0;
}

static int nest_deadlines(void *arg)
{
    struct rig rig = {.handler = uses_deadlines, .client = client_that_does_not_read};
    (void)arg;
    rig.options.connection_ns = 60 * OURO_MILLISECOND;
    ck_assert_int_eq(rig_run(&rig), 0);
    ck_assert_int_eq(rig.result, -ETIMEDOUT);
    ck_assert_uint_eq(rig.stats.timed_out, 1);
    return 0;
}

OURO_TEST(deadlines_of_a_handler_nest_in_that_of_the_connection)
{
    everywhere(nest_deadlines, NULL);
}

/* Another task of the handler has the stream. */
struct borrowed {
    struct ouro_stream *stream;
    ssize_t result;
};

static int read_for_another(void *arg)
{
    struct borrowed *borrowed = arg;
    char byte = 0;
    borrowed->result = ouro_stream_read(borrowed->stream, &byte, 1);
    return 0;
}

static int lends_its_stream(struct ouro_stream *stream, const struct ouro_serve_peer *peer,
                            void *arg)
{
    struct rig *rig = arg;
    struct borrowed borrowed = {.stream = stream, .result = -1};
    struct ouro_task *task = NULL;
    struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
    (void)peer;
    options.worker = OURO_WORKER_ANY;
    ck_assert_int_eq(ouro_task_spawn_with(NULL, &options, read_for_another, &borrowed, &task), 0);
    ck_assert_int_eq(ouro_task_join(task, NULL), 0);
    rig->result = (int)borrowed.result;
    return 0;
}

static int cut_a_lent_stream(void *arg)
{
    struct rig rig = {.handler = lends_its_stream, .client = client_that_does_not_read};
    (void)arg;
    rig.options.idle_ns = IDLE_NS;
    rig.result = -1;
    ck_assert_int_eq(rig_run(&rig), 0);
    ck_assert_int_eq(rig.result, 0);
    ck_assert_uint_eq(rig.stats.timed_out, 1);
    return 0;
}

OURO_TEST(a_stream_that_was_lent_to_another_task_is_shut_down)
{
    for (int i = 0; i < 2; i++) /* the next worker in turn is this one, or the other */
        everywhere(cut_a_lent_stream, NULL);
}
