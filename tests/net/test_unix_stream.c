/* SPDX-License-Identifier: MIT */
/*
 * Unix streams: by path and by abstract name, with a full backlog, and all the ways not to connect.
 */
#include "everywhere.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "ouro/error.h"
#include "ouro/time.h"
#include "ouro/unix.h"
#include "support/scratch.h"
#include "support/sockets.h"

static struct ouro_socket_addr addr_of(const char *path)
{
    struct ouro_socket_addr addr;
    char text[OURO_ADDR_TEXT_MAX];
    (void)snprintf(text, sizeof(text), "unix:%s", path);
    ck_assert_int_eq(ouro_socket_addr_parse(text, &addr), 0);
    return addr;
}

static int bound(const struct ouro_socket_addr *addr, int type)
{
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_msg(bind(fd, ouro_socket_addr_sockaddr(addr), (socklen_t)addr->length) == 0,
                  "bind: %m");
    return fd;
}

static int listening(const struct ouro_socket_addr *addr, int backlog)
{
    int fd = bound(addr, SOCK_STREAM);
    ck_assert_int_eq(listen(fd, backlog), 0);
    return fd;
}

struct server {
    struct ouro_socket_addr addr;
    int listener;
};

static int exchange(void *arg)
{
    struct server *server = arg;
    struct ouro_stream *stream = NULL;
    char buffer[16];
    ck_assert_int_eq(ouro_unix_stream_connect(&server->addr, &stream), 0);
    ck_assert_int_ge(ouro_stream_fd(stream), 0);
    int peer = ouro_test_accept(server->listener);
    ck_assert_int_eq(ouro_stream_write(stream, "ping", 4), 4);
    ck_assert_int_eq(ouro_stream_write_all(stream, "pong", 4, NULL), 0);
    ck_assert_int_eq(ouro_stream_shutdown(stream, OURO_SHUTDOWN_WRITE), 0);
    ouro_test_read_exactly(peer, buffer, 8);
    ck_assert_mem_eq(buffer, "pingpong", 8);
    ck_assert_int_eq(recv(peer, buffer, 1, 0), 0);
    ouro_test_write_exactly(peer, "bye", 3);
    (void)close(peer);
    ck_assert_int_eq(ouro_stream_read(stream, buffer, 2), 2);
    ck_assert_int_eq(ouro_stream_read(stream, buffer, 16), 1);
    ck_assert_int_eq(ouro_stream_read(stream, buffer, 16), 0);
    ck_assert_int_eq(ouro_stream_write(stream, "x", 1), -EPIPE);
    ck_assert_int_eq(ouro_stream_close(stream), 0);
    return 0;
}

OURO_TEST(a_path_connects)
{
    struct ouro_test_scratch scratch;
    ouro_test_scratch_open(&scratch);
    struct server server = {.addr = addr_of(ouro_test_scratch_path(&scratch, "socket"))};
    server.listener = listening(&server.addr, 8);
    everywhere(exchange, &server);
    (void)close(server.listener);
    ouro_test_scratch_close(&scratch);
}

OURO_TEST(an_abstract_name_connects)
{
    char name[64];
    (void)snprintf(name, sizeof(name), "@ouro-test-%d", (int)getpid());
    struct server server = {.addr = addr_of(name)};
    server.listener = listening(&server.addr, 8);
    everywhere(exchange, &server);
    (void)close(server.listener);
}

/* Fills the backlog; returns how many connections wait in it. */
static int fill_backlog(const struct server *server, int fds[8])
{
    int count = 0;
    for (; count < 8; count++) {
        fds[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        ck_assert_int_ge(fds[count], 0);
        if (connect(fds[count], ouro_socket_addr_sockaddr(&server->addr),
                    (socklen_t)server->addr.length) != 0)
            break;
    }
    ck_assert_int_lt(count, 8);
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_int_eq(close(fds[count]), 0);
    return count;
}

static void *accept_some(void *arg)
{
    struct server *server = arg;
    (void)close(ouro_test_accept(server->listener));
    return NULL;
}

static int connect_to_full(void *arg)
{
    struct server *server = arg;
    struct ouro_stream *stream = NULL;
    struct ouro_deadline scope;
    pthread_t thread;
    struct sockaddr_un peer;
    socklen_t length = sizeof(peer);
    int fds[8];
    int count = fill_backlog(server, fds);

    ck_assert_int_eq(ouro_unix_stream_connect(&server->addr, &stream), -EAGAIN);
    int late = 0;
    int64_t begin_ns = 0;
    int64_t took_ns = 0;
    do {
        begin_ns = ouro_now_ns();
        ck_assert_int_eq(ouro_deadline_begin(&scope, 40 * OURO_TEST_MS), 0);
        ck_assert_int_eq(ouro_unix_stream_connect(&server->addr, &stream), -ETIMEDOUT);
        ouro_deadline_end(&scope);
        took_ns = ouro_now_ns() - begin_ns;
        ck_assert_int_ge(took_ns, 40 * OURO_TEST_MS);
    } while (!is_in_time(took_ns, 90 * OURO_TEST_MS, &late));
    ck_assert_ptr_null(stream);

    ck_assert_int_eq(ouro_deadline_begin(&scope, 20 * OURO_TEST_SECOND), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, accept_some, server), 0);
    begin_ns = ouro_now_ns();
    ck_assert_int_eq(ouro_unix_stream_connect(&server->addr, &stream), 0);
    ouro_deadline_end(&scope);
    ck_assert_int_lt(ouro_now_ns() - begin_ns, OURO_TEST_SECOND); /* it is asked often enough */
    ck_assert_int_eq(getpeername(ouro_stream_fd(stream), (struct sockaddr *)(void *)&peer, &length),
                     0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(ouro_stream_close(stream), 0);
    for (int i = 0; i < count; i++)
        (void)close(fds[i]);
    while (ouro_test_poll(server->listener, POLLIN, 0) != 0)
        (void)close(ouro_test_accept(server->listener));
    return 0;
}

OURO_TEST(a_full_backlog_is_waited_for_under_a_deadline)
{
    struct ouro_test_scratch scratch;
    ouro_test_scratch_open(&scratch);
    struct server server = {.addr = addr_of(ouro_test_scratch_path(&scratch, "socket"))};
    server.listener = listening(&server.addr, 1);
    everywhere(connect_to_full, &server);
    (void)close(server.listener);
    ouro_test_scratch_close(&scratch);
}

static int connect_to_full_task(void *arg)
{
    struct ouro_deadline scope;
    struct ouro_stream *stream = NULL;
    ck_assert_int_eq(ouro_deadline_begin(&scope, 20 * OURO_TEST_SECOND), 0);
    int rc = ouro_unix_stream_connect(&((struct server *)arg)->addr, &stream);
    ouro_deadline_end(&scope);
    return rc;
}

static int lowest_free_descriptor(void)
{
    int fd = dup(0);
    ck_assert_int_ge(fd, 0);
    (void)close(fd);
    return fd;
}

static int cancel_while_full(void *arg)
{
    struct server *server = arg;
    struct ouro_task *task = NULL;
    int result = 0;
    int fds[8];
    int count = fill_backlog(server, fds);
    int next = lowest_free_descriptor();
    ck_assert_int_eq(ouro_task_spawn(connect_to_full_task, server, &task), 0);
    while (fcntl(next, F_GETFD) < 0) /* until it has its socket */
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
    ck_assert_int_eq(ouro_task_cancel(task), 0);
    ck_assert_int_eq(ouro_task_join(task, &result), 0);
    ck_assert_int_eq(result, -ECANCELED);
    for (int i = 0; i < count; i++)
        (void)close(fds[i]);
    while (ouro_test_poll(server->listener, POLLIN, 0) != 0)
        (void)close(ouro_test_accept(server->listener));
    return 0;
}

OURO_TEST(waiting_for_room_can_be_cancelled)
{
    struct ouro_test_scratch scratch;
    ouro_test_scratch_open(&scratch);
    struct server server = {.addr = addr_of(ouro_test_scratch_path(&scratch, "socket"))};
    server.listener = listening(&server.addr, 1);
    everywhere(cancel_while_full, &server);
    (void)close(server.listener);
    ouro_test_scratch_close(&scratch);
}

static void refuses(const struct ouro_socket_addr *addr, int error)
{
    struct ouro_stream *stream = NULL;
    ck_assert_int_eq(ouro_unix_stream_connect(addr, &stream), error);
    ck_assert_ptr_null(stream);
}

static int connect_wrongly(void *arg)
{
    struct ouro_test_scratch *scratch = arg;
    struct ouro_socket_addr none = addr_of(ouro_test_scratch_path(scratch, "none"));
    struct ouro_socket_addr silent = addr_of(ouro_test_scratch_path(scratch, "silent"));
    struct ouro_socket_addr datagram = addr_of(ouro_test_scratch_path(scratch, "datagram"));
    struct ouro_socket_addr tcp;
    struct ouro_socket_addr empty = {.length = 0};
    ck_assert_int_eq(ouro_socket_addr_parse("127.0.0.1:1", &tcp), 0);
    refuses(&none, -ENOENT);
    refuses(&silent, -ECONNREFUSED);
    refuses(&datagram, -EPROTOTYPE);
    refuses(&tcp, -EAFNOSUPPORT);
    refuses(&empty, -EINVAL);
    refuses(NULL, -EINVAL);
    ck_assert_int_eq(ouro_unix_stream_connect(&none, NULL), -EINVAL);
    return 0;
}

OURO_TEST(what_cannot_be_connected_to_says_why)
{
    struct ouro_test_scratch scratch;
    ouro_test_scratch_open(&scratch);
    struct ouro_socket_addr silent = addr_of(ouro_test_scratch_path(&scratch, "silent"));
    struct ouro_socket_addr datagram = addr_of(ouro_test_scratch_path(&scratch, "datagram"));
    int fds[] = {bound(&silent, SOCK_STREAM), bound(&datagram, SOCK_DGRAM)};
    everywhere(connect_wrongly, &scratch);
    (void)close(fds[0]);
    (void)close(fds[1]);
    ouro_test_scratch_close(&scratch);
}
