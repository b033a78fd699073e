/* SPDX-License-Identifier: MIT */
/*
 * Request mode: what an idle connection holds, where requests begin and end, and how idle
 * connections end.
 */
#include "serve_rig.h"

#include <stdlib.h>
#include <sys/resource.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "net/server.h"
#include "ouro/task.h"
#include "ouro/time.h"
#include "registry/scheduled_io.h"
#include "stream/stream.h"

/* A request is a line.  It is read byte by byte, and sent back with the number of the request. */
static int answer(struct ouro_stream *stream, const struct ouro_serve_peer *peer, void *arg)
{
    struct rig *rig = arg;
    char line[64];
    size_t size = 0;
    int rc = 0;
    rig->in_handler++;
    ck_assert_ptr_eq(peer->server, rig->server);
    ck_assert_int_eq(ouro_socket_addr_family(&peer->addr), AF_INET);
    do {
        ssize_t n = ouro_stream_read(stream, &line[size], 1);
        rc = n == 1 ? 0 : n == 0 ? -EPROTO : (int)n;
    } while (rc == 0 && line[size++] != '\n' && size < sizeof(line) - 1);
    if (rc == 0) {
        line[size - 1] = (char)('0' + peer->request % 10);
        line[size++] = '\n';
        rc = ouro_stream_write_all(stream, line, size, NULL);
    }
    rig->result = rc;
    rig->in_handler--;
    rig->handled++;
    if (rc < 0)
        return rc;
    return line[0] == 'q' ? OURO_SERVE_CLOSE : OURO_SERVE_KEEP;
}

static void expect(int fd, const char *text)
{
    char back[64];
    ouro_test_read_exactly(fd, back, strlen(text));
    ck_assert_mem_eq(back, text, strlen(text));
}

static void ask(int fd, const char *request, const char *answer_text)
{
    ouro_test_write_exactly(fd, request, strlen(request));
    expect(fd, answer_text);
}

static bool nobody_is_active(void *arg)
{
    return rig_stats(arg).active == 0;
}

static bool nobody_is_left(void *arg)
{
    struct ouro_serve_stats stats = rig_stats(arg);
    return stats.active == 0 && stats.idle == 0;
}

static void client_of_requests(struct rig *rig)
{
    int one = rig_connect(rig);
    int two = rig_connect(rig);
    ask(one, "a\n", "a0\n");
    ask(two, "b\n", "b0\n");
    ask(one, "c\n", "c1\n");
    /* Several in one segment, the last without its end. */
    ask(two, "d\ne\nf\ng", "d1\ne2\nf3\n");
    RIG_AWAIT(rig_is_handling, rig);
    ask(two, "\n", "g4\n");
    RIG_AWAIT(nobody_is_active, rig);
    ck_assert_uint_eq(rig_stats(rig).idle, 2);
    ck_assert_uint_eq(rig_stats(rig).requests, 7);
    /* A peer that goes while it is idle; one that says it is the last. */
    (void)close(one);
    ask(two, "q\n", "q5\n");
    rig_await_end(two);
    RIG_AWAIT(nobody_is_left, rig);
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
}

static int serve_requests(void *arg)
{
    struct rig rig = {.handler = answer, .client = client_of_requests};
    (void)arg;
    rig.options.flags = OURO_SERVE_F_REQUESTS;
    ck_assert_int_eq(rig_run(&rig), 0);
    ck_assert_uint_eq(rig.stats.requests, 8);
    ck_assert_uint_eq(rig.stats.closed, 2);
    ck_assert_uint_eq(rig.stats.failed, 0);
    ck_assert_uint_eq(rig.stats.timed_out, 0);
    ck_assert_uint_eq(rig.stats.idle, 0);
    return 0;
}

OURO_TEST(each_request_has_its_handler)
{
    everywhere(serve_requests, NULL);
}

OURO_TEST_UNIT(an_idle_connection_is_small)
{
    size_t size = sizeof(struct ouro__scheduled_io) + sizeof(struct ouro_stream) +
                  sizeof(struct ouro__connection);
    ck_assert_msg(size <= 512, "%zu bytes", size);
}

enum { MANY = 2000, TASKS = 64 };

static bool all_are_idle(void *arg)
{
    struct rig *rig = arg;
    return rig_stats(rig).idle == (uint64_t) * (int *)rig->data;
}

/* All of them have made a request.  The runtime has fewer tasks than there are connections. */
static void many_idle_clients(struct rig *rig)
{
    int count = *(int *)rig->data;
    int *fds = malloc(sizeof(*fds) * (size_t)count);
    ck_assert_ptr_nonnull(fds);
    int64_t blocks = ouro__alloc_live_blocks();
    for (int i = 0; i < count; i++) {
        fds[i] = rig_connect(rig);
        ask(fds[i], "x\n", "x0\n");
    }
    RIG_AWAIT(all_are_idle, rig);
    blocks = ouro__alloc_live_blocks() - blocks;
    /* Its stream and its connection; a slab of ScheduledIo now and then. */
    ck_assert_int_lt(blocks, 2 * count + count / 8);
    for (int i = count - 1; i >= 0; i -= count / 50)
        ask(fds[i], "y\n", "y1\n");
    RIG_AWAIT(all_are_idle, rig);
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
    for (int i = 0; i < count; i++)
        rig_await_end(fds[i]);
    free(fds);
}

static int serve_many(void *arg)
{
    struct rig rig = {.handler = answer, .client = many_idle_clients, .data = arg};
    rig.options.flags = OURO_SERVE_F_REQUESTS;
    ck_assert_int_eq(rig_run(&rig), 0);
    ck_assert_uint_eq(rig.stats.shed, 0);
    return 0;
}

OURO_TEST(two_thousand_idle_connections_hold_no_task)
{
    struct rlimit limit;
    int count = ouro_test_slowness() > 1 ? MANY / 10 : MANY;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur < 2 * MANY + 100)
        count = (int)(limit.rlim_cur - 100) / 2;
    struct ouro_runtime_config config = ouro_test_config(OURO_FLAVOUR_MULTI_THREAD);
    config.tasks_max = TASKS;
    struct ouro_runtime *runtime = ouro_test_runtime_with(&config);
    ck_assert_int_eq(ouro_runtime_block_on(runtime, serve_many, &count, NULL), 0);
    ouro_runtime_free(runtime);
}

#define IDLE_NS (400 * OURO_MILLISECOND)

/* A request whose answer ends with any number. */
static void ask_again(int fd)
{
    char number[2];
    ask(fd, "z\n", "z");
    ouro_test_read_exactly(fd, number, sizeof(number));
}

/* One is idle, the other makes requests. */
static void client_that_is_idle(struct rig *rig)
{
    int64_t begin_ns = ouro_test_now_ns();
    int silent = rig_connect(rig);
    int idle = rig_connect(rig);
    int busy = rig_connect(rig);
    ask(idle, "x\n", "x0\n");
    ask(busy, "y\n", "y0\n");
    while (ouro_test_poll(idle, POLLIN | POLLRDHUP, IDLE_NS / 16) == 0)
        ask_again(busy);
    while (ouro_test_poll(silent, POLLIN | POLLRDHUP, IDLE_NS / 16) == 0)
        ask_again(busy);
    rig_await_end(idle);
    rig_await_end(silent);
    ck_assert_int_ge(ouro_test_now_ns() - begin_ns, IDLE_NS);
    ask_again(busy);
    (void)close(busy);
    RIG_AWAIT(nobody_is_left, rig);
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
}

static int cut_the_idle(void *arg)
{
    struct rig rig = {.handler = answer, .client = client_that_is_idle};
    (void)arg;
    rig.options.flags = OURO_SERVE_F_REQUESTS;
    rig.options.idle_ns = IDLE_NS;
    ck_assert_int_eq(rig_run(&rig), 0);
    ck_assert_uint_eq(rig.stats.timed_out, 2);
    ck_assert_uint_eq(rig.stats.closed, 3);
    ck_assert_uint_eq(rig.stats.failed, 0);
    return 0;
}

OURO_TEST(idle_connections_are_closed_after_the_idle_time)
{
    in_place(IN_TASK, cut_the_idle, NULL);
    in_place(IN_THREAD, cut_the_idle, NULL);
}

/* A request whose end never comes, though bytes do. */
static void slow_request(struct rig *rig)
{
    int fd = rig_connect(rig);
    ask(fd, "x\n", "x0\n");
    while (send(fd, "x", 1, MSG_NOSIGNAL) == 1 &&
           ouro_test_poll(fd, POLLIN | POLLRDHUP, 5 * OURO_TEST_MS * ouro_test_slowness()) == 0) {
    }
    rig_await_end(fd);
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
}

static int cut_a_request(void *arg)
{
    struct rig rig = {.handler = answer, .client = slow_request};
    (void)arg;
    rig.options.flags = OURO_SERVE_F_REQUESTS;
    rig.options.request_ns = 60 * OURO_MILLISECOND * ouro_test_slowness();
    ck_assert_int_eq(rig_run(&rig), 0);
    ck_assert_int_eq(rig.result, -ETIMEDOUT);
    ck_assert_uint_eq(rig.stats.timed_out, 1);
    ck_assert_uint_eq(rig.stats.failed, 1);
    ck_assert_uint_eq(rig.stats.requests, 2);
    return 0;
}

OURO_TEST(a_request_that_does_not_end_is_cut)
{
    everywhere(cut_a_request, NULL);
}

/* Requests follow each other; the connection has its end all the same. */
static void client_without_end(struct rig *rig)
{
    int fd = rig_connect(rig);
    char back[4];
    while (send(fd, "x\n", 2, MSG_NOSIGNAL) == 2 && recv(fd, back, 3, MSG_WAITALL) == 3) {
    }
    (void)close(fd);
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
}

static int end_a_connection(void *arg)
{
    struct rig rig = {.handler = answer, .client = client_without_end};
    (void)arg;
    rig.options.flags = OURO_SERVE_F_REQUESTS;
    rig.options.connection_ns = 50 * OURO_MILLISECOND;
    ck_assert_int_eq(rig_run(&rig), 0);
    ck_assert_uint_ge(rig.stats.requests, 1);
    ck_assert_uint_eq(rig.stats.closed, 1);
    return 0;
}

OURO_TEST(a_connection_ends_with_the_request_in_which_its_time_ends)
{
    everywhere(end_a_connection, NULL);
}

enum { BOTH = 6 };

static bool half_are_handling(void *arg)
{
    struct rig *rig = arg;
    struct ouro_serve_stats stats = rig_stats(rig);
    return rig->in_handler == BOTH && stats.idle == BOTH;
}

/* Idle connections end at once, requests are finished. */
static void client_of_a_drain(struct rig *rig)
{
    int idle[BOTH], busy[BOTH];
    for (int i = 0; i < BOTH; i++) {
        idle[i] = rig_connect(rig);
        busy[i] = rig_connect(rig);
        ask(idle[i], "a\n", "a0\n");
        ask(busy[i], "b\n", "b0\n");
        ouro_test_write_exactly(busy[i], "cd", 2);
    }
    RIG_AWAIT(half_are_handling, rig);
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
    for (int i = 0; i < BOTH; i++)
        rig_await_end(idle[i]);
    RIG_AWAIT(rig_refuses, rig);
    for (int i = 0; i < BOTH; i++) {
        ask(busy[i], "\n", "cd1\n");
        rig_await_end(busy[i]); /* though the handler said KEEP */
    }
}

static int drain_both(void *arg)
{
    struct rig rig = {.handler = answer, .client = client_of_a_drain};
    (void)arg;
    rig.options.flags = OURO_SERVE_F_REQUESTS;
    rig.options.grace_ns = OURO_SERVE_NO_TIMEOUT;
    ck_assert_int_eq(rig_run(&rig), 0);
    ck_assert_uint_eq(rig.stats.failed, 0);
    ck_assert_uint_eq(rig.stats.cancelled, 0);
    ck_assert_uint_eq(rig.stats.requests, 3 * BOTH);
    return 0;
}

OURO_TEST(a_drain_ends_idle_connections_at_once)
{
    everywhere(drain_both, NULL);
}

static void client_of_a_cancel(struct rig *rig)
{
    int idle = rig_connect(rig);
    int busy = rig_connect(rig);
    ask(idle, "a\n", "a0\n");
    ouro_test_write_exactly(busy, "b", 1);
    RIG_AWAIT(rig_is_handling, rig);
    ck_assert_int_eq(ouro_server_cancel(rig->server), 0);
    rig_await_end(idle);
    rig_await_end(busy);
}

static int cancel_both(void *arg)
{
    struct rig rig = {.handler = answer, .client = client_of_a_cancel};
    (void)arg;
    rig.options.flags = OURO_SERVE_F_REQUESTS;
    ck_assert_int_eq(rig_run(&rig), -ECANCELED);
    ck_assert_uint_eq(rig.stats.cancelled, 1);
    ck_assert_uint_eq(rig.stats.closed, 2);
    return 0;
}

OURO_TEST(a_cancel_ends_requests_too)
{
    everywhere(cancel_both, NULL);
}

/* A request for which there is no stack closes its connection only. */
static void client_without_a_stack(struct rig *rig)
{
    int one = rig_connect(rig);
    int two = rig_connect(rig);
    ask(one, "a\n", "a0\n");
    ask(two, "b\n", "b0\n");
    RIG_AWAIT(nobody_is_active, rig);
    ouro__fault_arm(OURO__FAULT_STACK, 1, 1, -ENOMEM);
    ouro_test_write_exactly(one, "c\n", 2);
    rig_await_end(one);
    ouro__fault_disarm_all();
    ask(two, "d\n", "d1\n");
    (void)close(two);
    RIG_AWAIT(nobody_is_left, rig);
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
}

static int shed_a_request(void *arg)
{
    struct rig rig = {.handler = answer, .client = client_without_a_stack};
    (void)arg;
    rig.options.flags = OURO_SERVE_F_REQUESTS;
    ck_assert_int_eq(rig_run(&rig), 0);
    ck_assert_uint_eq(rig.stats.shed, 1);
    ck_assert_uint_eq(rig.stats.closed, 1);
    return 0;
}

/* On one worker, where every task of the server has its stack before a connection is accepted: the
 * next stack is the request's. */
OURO_TEST(a_request_without_a_stack_is_shed)
{
    in_place(IN_TASK, shed_a_request, NULL);
    in_place(IN_OWN_THREAD, shed_a_request, NULL);
}

struct shut_down {
    struct rig rig;
    int result;
};

static int open_rig(void *arg)
{
    rig_open(arg);
    return 0;
}

static int serve_until_shutdown(void *arg)
{
    struct shut_down *down = arg;
    down->result = ouro_server_run(down->rig.server);
    rig_close(&down->rig);
    return 0;
}

OURO_TEST(a_shutdown_of_the_runtime_ends_idle_connections)
{
    struct shut_down down = {.rig = {.handler = answer}};
    int fds[BOTH];
    struct ouro_runtime *runtime = ouro_test_runtime_new(OURO_FLAVOUR_MULTI_THREAD);
    struct ouro_handle *handle = ouro_runtime_handle(runtime);
    down.rig.options.flags = OURO_SERVE_F_REQUESTS;
    ck_assert_int_eq(ouro_runtime_block_on(runtime, open_rig, &down.rig, NULL), 0);
    ck_assert_int_eq(ouro_task_spawn_with(handle, NULL, serve_until_shutdown, &down, NULL), 0);
    for (int i = 0; i < BOTH; i++) {
        fds[i] = rig_connect(&down.rig);
        ask(fds[i], "x\n", "x0\n");
    }
    ck_assert_int_eq(ouro_runtime_shutdown(runtime, 5 * OURO_TEST_SECOND), 0);
    ck_assert_int_eq(down.result, -OURO_ESHUTDOWN);
    for (int i = 0; i < BOTH; i++)
        rig_await_end(fds[i]);
    ouro_handle_unref(handle);
    ouro_runtime_free(runtime);
}
