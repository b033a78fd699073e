/* SPDX-License-Identifier: MIT */
/*
 * Hang-ups and errors of foreign descriptors that pass again, and those that do not: both drivers
 * report what poll(2) reports, a wait ends only for a reason, and a loop without progress lets
 * others run and keeps its deadline.
 */
#include "everywhere.h"
#include "foreign.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include "base/compiler.h"
#include "support/scratch.h"
#include "support/sockets.h"

#define BRIEFLY (20 * OURO_MILLISECOND)
#define CLOSED (OURO_READ_CLOSED | OURO_WRITE_CLOSED)

static int ready_within(struct ouro_poll_evented *io, uint32_t interest, int64_t limit_ns,
                        struct ouro_ready_event *out_event)
{
    struct ouro_deadline scope;
    ck_assert_int_eq(ouro_deadline_begin(&scope, limit_ns), 0);
    int rc = ouro_poll_evented_ready(io, interest, out_event);
    ouro_deadline_end(&scope);
    return rc;
}

static ssize_t io_within(struct ouro_poll_evented *io, uint32_t interest, int64_t limit_ns,
                         ouro_io_function *function, void *arg)
{
    struct ouro_deadline scope;
    ck_assert_int_eq(ouro_deadline_begin(&scope, limit_ns), 0);
    ssize_t n = ouro_poll_evented_io(io, interest, function, arg);
    ouro_deadline_end(&scope);
    return n;
}

static ssize_t receive(int fd, void *arg)
{
    ssize_t n = recv(fd, arg, 8, MSG_DONTWAIT);
    return n < 0 ? -errno : n;
}

static ssize_t read_some(int fd, void *arg)
{
    ssize_t n = read(fd, arg, 8);
    return n < 0 ? -errno : n;
}

static ssize_t accept_one(int fd, void *arg)
{
    (void)arg;
    int n = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    return n < 0 ? -errno : n;
}

static ssize_t write_one(int fd, void *arg)
{
    ssize_t n = send(fd, arg, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    return n < 0 ? -errno : n;
}

static int fresh_socket(int type)
{
    int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_ge(fd, 0);
    return fd;
}

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons(port),
                                .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
}

/* The driver reports the state in which the socket was registered: hung up. */
static void let_it_hang_up(struct ouro_poll_evented *io)
{
    struct ouro_ready_event event;
    ck_assert_int_eq(ready_within(io, OURO_READABLE, 10 * OURO_SECOND, &event), 0);
    ck_assert_uint_eq(event.ready & CLOSED, 0); /* poll(2) says POLLHUP, which is not final */
}

static int connect_later(void *arg)
{
    struct ouro_ready_event event;
    char buffer[8];
    uint16_t port = 0;
    (void)arg;
    for (int reported = 0; reported < 2; reported++) {
        int listener = ouro_test_listen(AF_INET, 4, &port);
        int fd = fresh_socket(SOCK_STREAM);
        struct sockaddr_in to = loopback(port);
        struct ouro_poll_evented *io = registered(fd, OURO_READABLE | OURO_WRITABLE);
        if (reported != 0)
            let_it_hang_up(io);
        int rc = connect(fd, (const struct sockaddr *)&to, sizeof(to));
        ck_assert(rc == 0 || errno == EINPROGRESS);
        ck_assert_int_eq(ready_within(io, OURO_WRITABLE, 10 * OURO_SECOND, &event), 0);
        int peer = ouro_test_accept(listener);
        ck_assert_int_eq(ready_within(io, OURO_READABLE, BRIEFLY, &event), -ETIMEDOUT);
        ck_assert_int_eq(io_within(io, OURO_READABLE, BRIEFLY, receive, buffer), -ETIMEDOUT);
        ouro_test_write_exactly(peer, "data", 4);
        ck_assert_int_eq(io_within(io, OURO_READABLE, 10 * OURO_SECOND, receive, buffer), 4);
        (void)close(peer);
        ck_assert_int_eq(io_within(io, OURO_READABLE, 10 * OURO_SECOND, receive, buffer), 0);
        ouro_poll_evented_free(io);
        (void)close(fd);
        (void)close(listener);
    }
    return 0;
}

OURO_TEST(a_socket_may_be_registered_before_it_connects)
{
    everywhere(connect_later, NULL);
}

static int listen_later(void *arg)
{
    struct sockaddr_in at = loopback(0);
    (void)arg;
    for (int reported = 0; reported < 2; reported++) {
        int fd = fresh_socket(SOCK_STREAM);
        struct ouro_poll_evented *io = registered(fd, OURO_READABLE);
        if (reported != 0)
            let_it_hang_up(io);
        ck_assert_int_eq(bind(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
        ck_assert_int_eq(listen(fd, 4), 0);
        ck_assert_int_eq(io_within(io, OURO_READABLE, BRIEFLY, accept_one, NULL), -ETIMEDOUT);
        int client = ouro_test_connect(AF_INET, ouro_test_local_port(fd));
        ssize_t accepted = io_within(io, OURO_READABLE, 10 * OURO_SECOND, accept_one, NULL);
        ck_assert_int_ge((int)accepted, 0);
        (void)close((int)accepted);
        (void)close(client);
        /* A listener that is shut down hangs up again: the wait for a client ends. */
        struct ouro_ready_event event;
        ck_assert_int_eq(shutdown(fd, SHUT_RD), 0);
        ck_assert_int_eq(ready_within(io, OURO_READABLE, 10 * OURO_SECOND, &event), 0);
        ouro_poll_evented_free(io);
        (void)close(fd);
    }
    return 0;
}

OURO_TEST(a_socket_may_be_registered_before_it_listens)
{
    everywhere(listen_later, NULL);
}

static int refused(void *arg)
{
    struct ouro_ready_event event;
    char buffer[8];
    uint16_t port = 0;
    (void)arg;
    int refusing = ouro_test_refusing(AF_INET, &port);
    int fd = fresh_socket(SOCK_STREAM);
    struct sockaddr_in to = loopback(port);
    struct ouro_poll_evented *io = registered(fd, OURO_READABLE | OURO_WRITABLE | OURO_ERROR);
    let_it_hang_up(io);
    int rc = connect(fd, (const struct sockaddr *)&to, sizeof(to));
    ck_assert(rc == 0 || errno == EINPROGRESS || errno == ECONNREFUSED);
    ck_assert_int_eq(ready_within(io, OURO_WRITABLE, 10 * OURO_SECOND, &event), 0);
    ck_assert_uint_eq(event.ready & CLOSED, 0); /* it may be connected again */
    ssize_t n = io_within(io, OURO_READABLE, 10 * OURO_SECOND, receive, buffer);
    ck_assert(n == -ECONNREFUSED || n == 0 || n == -ENOTCONN);
    ouro_poll_evented_free(io);
    (void)close(fd);
    (void)close(refusing);
    return 0;
}

OURO_TEST(a_refused_connect_ends_the_wait)
{
    everywhere(refused, NULL);
}

static int writer_comes_back(void *arg)
{
    const char *path = arg;
    struct ouro_ready_event event;
    char buffer[8];
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    struct ouro_poll_evented *io = registered(fd, OURO_READABLE);
    for (int round = 0; round < 3; round++) {
        int writer = open(path, O_WRONLY | O_CLOEXEC);
        ck_assert_int_ge(writer, 0);
        /* The hang-up of the round before is over. */
        ck_assert_int_eq(io_within(io, OURO_READABLE, BRIEFLY, read_some, buffer), -ETIMEDOUT);
        ck_assert_int_eq(write(writer, "word", 4), 4);
        ck_assert_int_eq(io_within(io, OURO_READABLE, 10 * OURO_SECOND, read_some, buffer), 4);
        (void)close(writer);
        ck_assert_int_eq(ready_within(io, OURO_READABLE, 10 * OURO_SECOND, &event), 0);
        ck_assert_uint_eq(event.ready & CLOSED, 0);
        ck_assert_int_eq(io_within(io, OURO_READABLE, 10 * OURO_SECOND, read_some, buffer), 0);
    }
    ouro_poll_evented_free(io);
    (void)close(fd);
    return 0;
}

OURO_TEST(the_writer_of_a_fifo_may_come_back)
{
    struct ouro_test_scratch scratch;
    ouro_test_scratch_open(&scratch);
    char *path = strdup(ouro_test_scratch_path(&scratch, "fifo"));
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    everywhere(writer_comes_back, path);
    free(path);
    ouro_test_scratch_close(&scratch);
}

static int terminal_is_opened_again(void *arg)
{
    struct ouro_ready_event event;
    char buffer[8];
    char name[64];
    (void)arg;
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    ck_assert_int_ge(master, 0);
    ck_assert_int_eq(fcntl(master, F_SETFL, O_NONBLOCK), 0);
    ck_assert(grantpt(master) == 0 && unlockpt(master) == 0 &&
              ptsname_r(master, name, sizeof(name)) == 0);
    struct ouro_poll_evented *io = registered(master, OURO_READABLE);
    for (int round = 0; round < 3; round++) {
        int terminal = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
        ck_assert_int_ge(terminal, 0);
        ck_assert_int_eq(io_within(io, OURO_READABLE, BRIEFLY, read_some, buffer), -ETIMEDOUT);
        ck_assert_int_eq(write(terminal, "word", 4), 4);
        ck_assert_int_eq(io_within(io, OURO_READABLE, 10 * OURO_SECOND, read_some, buffer), 4);
        (void)close(terminal);
        ck_assert_int_eq(ready_within(io, OURO_READABLE, 10 * OURO_SECOND, &event), 0);
        ck_assert_uint_eq(event.ready & CLOSED, 0);
        ck_assert_int_eq(io_within(io, OURO_READABLE, 10 * OURO_SECOND, read_some, buffer), -EIO);
    }
    ouro_poll_evented_free(io);
    (void)close(master);
    return 0;
}

OURO_TEST(the_terminal_of_a_pty_master_may_be_opened_again)
{
    everywhere(terminal_is_opened_again, NULL);
}

static int64_t cpu_now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec * OURO_SECOND + now.tv_nsec;
}

/* An error that nobody takes out of the error queue, and then data. */
static int error_queue(void *arg)
{
    struct sockaddr_in ours = loopback(0);
    struct sockaddr_in theirs = loopback(0);
    struct ouro_ready_event event;
    char buffer[8];
    int on = 1;
    int late = 0;
    int64_t used_ns = 0;
    (void)arg;
    int fd = fresh_socket(SOCK_DGRAM);
    ck_assert_int_eq(setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on)), 0);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&ours, sizeof(ours)), 0);
    ours.sin_port = htons(ouro_test_local_port(fd));
    int other = fresh_socket(SOCK_DGRAM);
    ck_assert_int_eq(bind(other, (const struct sockaddr *)&theirs, sizeof(theirs)), 0);
    theirs.sin_port = htons(ouro_test_local_port(other));
    (void)close(other);
    ck_assert_int_eq(connect(fd, (const struct sockaddr *)&theirs, sizeof(theirs)), 0);

    struct ouro_poll_evented *io = registered(fd, OURO_READABLE | OURO_WRITABLE | OURO_ERROR);
    ck_assert_int_eq(send(fd, "x", 1, 0), 1);
    ck_assert_int_eq(ready_within(io, OURO_ERROR, 10 * OURO_SECOND, &event), 0);
    ck_assert_uint_eq(event.ready, OURO_ERROR);
    ck_assert_int_eq(ready_within(io, OURO_READABLE, 10 * OURO_SECOND, &event), 0);
    ck_assert_uint_eq(event.ready & CLOSED, 0);
    ck_assert_int_eq(io_within(io, OURO_READABLE, 10 * OURO_SECOND, receive, buffer),
                     -ECONNREFUSED);
    do { /* what is left in the queue neither ends the wait nor keeps a processor busy */
        int64_t cpu_ns = cpu_now_ns();
        ck_assert_int_eq(io_within(io, OURO_READABLE, 5 * BRIEFLY, receive, buffer), -ETIMEDOUT);
        used_ns = cpu_now_ns() - cpu_ns;
    } while (!is_in_time(used_ns, 2 * BRIEFLY, &late));

    other = fresh_socket(SOCK_DGRAM);
    ck_assert_int_eq(bind(other, (const struct sockaddr *)&theirs, sizeof(theirs)), 0);
    ck_assert_int_eq(sendto(other, "data", 4, 0, (struct sockaddr *)&ours, sizeof(ours)), 4);
    ck_assert_int_eq(io_within(io, OURO_READABLE, 10 * OURO_SECOND, receive, buffer), 4);
    ouro_poll_evented_free(io);
    (void)close(fd);
    (void)close(other);
    return 0;
}

OURO_TEST(an_error_queue_is_no_end)
{
    everywhere(error_queue, NULL);
}

/* The completion of a zero-copy send lies in the error queue, and there is no room. */
static int zero_copy(void *arg)
{
    struct ouro_ready_event event;
    char data[4096] = "";
    uint16_t port = 0;
    int on = 1;
    (void)arg;
    int listener = ouro_test_listen(AF_INET, 4, &port);
    int fd = ouro_test_connect(AF_INET, port);
    int peer = ouro_test_accept(listener);
    struct ouro_poll_evented *io = registered(fd, OURO_READABLE | OURO_WRITABLE | OURO_ERROR);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof(on)), 0);
    ck_assert_int_eq(send(fd, data, sizeof(data), MSG_ZEROCOPY | MSG_DONTWAIT), (int)sizeof(data));
    ouro_test_read_exactly(peer, data, sizeof(data));
    ck_assert_int_eq(ready_within(io, OURO_ERROR, 10 * OURO_SECOND, &event), 0);
    ck_assert_uint_eq(event.ready, OURO_ERROR);
    while (send(fd, data, sizeof(data), MSG_DONTWAIT) > 0)
        continue;
    while (write_one(fd, data) > 0)
        continue;
    ck_assert_int_eq(io_within(io, OURO_WRITABLE, BRIEFLY, write_one, data), -ETIMEDOUT);
    ck_assert_int_eq(io_within(io, OURO_READABLE, BRIEFLY, receive, data), -ETIMEDOUT);
    ouro_poll_evented_free(io);
    (void)close(fd);
    (void)close(peer);
    (void)close(listener);
    return 0;
}

OURO_TEST(a_zero_copy_completion_is_an_error_and_no_end)
{
    everywhere(zero_copy, NULL);
}

static int tick(void *arg)
{
    _Atomic int *ticks = arg;
    for (;;) {
        int rc = ouro_sleep(OURO_MILLISECOND);
        if (rc < 0)
            return rc;
        ++*ticks;
    }
}

static ssize_t never_done(int fd, void *arg)
{
    (void)fd;
    ++*(unsigned *)arg;
    return -EAGAIN;
}

/* A function that contradicts what is final: there is nothing left to wait for. */
static int without_progress(void *arg)
{
    struct ouro_task *task = NULL;
    unsigned calls = 0;
    _Atomic int ticks = 0;
    int fds[2];
    (void)arg;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    struct ouro_poll_evented *io = registered(fds[0], OURO_READABLE);
    (void)close(fds[1]);
    ck_assert_int_eq(ouro_task_spawn(tick, &ticks, &task) < 0, 0);
    ck_assert_int_eq(io_within(io, OURO_READABLE, 5 * BRIEFLY, never_done, &calls), -ETIMEDOUT);
    ck_assert_uint_gt(calls, 2);
    ck_assert_int_gt(atomic_load(&ticks), 2);
    ck_assert_int_eq(ouro_task_cancel(task), 0);
    ck_assert_int_eq(ouro_task_join(task, NULL), 0);
    ouro_poll_evented_free(io);
    (void)close(fds[0]);
    return 0;
}

OURO_TEST(a_loop_without_progress_yields_and_keeps_its_deadline)
{
    everywhere(without_progress, NULL);
}

static int urgent(void *arg)
{
    const uint32_t interests[] = {OURO_PRIORITY, OURO_PRIORITY | OURO_READABLE,
                                  OURO_PRIORITY | OURO_WRITABLE};
    struct ouro_ready_event event;
    (void)arg;
    for (size_t i = 0; i < OURO__ARRAY_LEN(interests); i++) {
        uint16_t port = 0;
        int listener = ouro_test_listen(AF_INET, 4, &port);
        int fd = ouro_test_connect(AF_INET, port);
        int peer = ouro_test_accept(listener);
        struct ouro_poll_evented *io = registered(fd, interests[i]);
        ck_assert_int_eq(ready_within(io, OURO_PRIORITY, BRIEFLY, &event), -ETIMEDOUT);
        ouro_test_write_exactly(peer, "plain", 5);
        ck_assert_int_eq(ready_within(io, OURO_PRIORITY, BRIEFLY, &event), -ETIMEDOUT);
        ck_assert_int_eq(send(peer, "!", 1, MSG_OOB), 1);
        ck_assert_int_eq(ready_within(io, OURO_PRIORITY, 10 * OURO_SECOND, &event), 0);
        ck_assert_uint_ne(event.ready & OURO_PRIORITY, 0);
        ouro_poll_evented_free(io);
        (void)close(fd);
        (void)close(peer);
        (void)close(listener);
    }
    return 0;
}

OURO_TEST(urgent_data_is_a_priority)
{
    everywhere(urgent, NULL);
}

static int what_can_be_waited_for(void *arg)
{
    static const struct {
        const char *path;
        int flags;
        int rc;
    } rows[] = {
        {"/proc/self/mounts", O_RDONLY, 0},
        {"/dev/null", O_RDWR, -EPERM},
        {"/dev/zero", O_RDONLY, -EPERM},
        {"/", O_RDONLY | O_DIRECTORY, -EPERM},
        {"/proc/self/stat", O_RDONLY, -EPERM},
        {"/proc/self/mounts", O_PATH, -EBADF},
        {"/", O_PATH, -EBADF},
    };
    struct ouro_ready_event event;
    struct ouro_waker waker = {.vtable = &doer_vtable};
    uint64_t value = 0;
    (void)arg;
    for (size_t i = 0; i < OURO__ARRAY_LEN(rows); i++) {
        struct ouro_poll_evented *io = NULL;
        int fd = open(rows[i].path, rows[i].flags | O_CLOEXEC);
        ck_assert_msg(fd >= 0, "%s: %m", rows[i].path);
        int rc = ouro_poll_evented_new(fd, OURO_READABLE | OURO_PRIORITY, &io);
        ck_assert_msg(rc == rows[i].rc, "%s: %d", rows[i].path, rc);
        ouro_poll_evented_free(io);
        (void)close(fd);
    }
    /* Waiting for an interest that was not registered would never end. */
    int fd = event_fd();
    struct ouro_poll_evented *io = registered(fd, OURO_READABLE);
    ck_assert_int_eq(ouro_poll_evented_ready(io, OURO_WRITABLE, &event), -EINVAL);
    ck_assert_int_eq(ouro_poll_evented_ready(io, OURO_READABLE | OURO_ERROR, &event), -EINVAL);
    ck_assert_int_eq(ouro_poll_evented_poll_ready(io, OURO_PRIORITY, &waker, &event), -EINVAL);
    ck_assert_int_eq(ouro_poll_evented_io(io, OURO_WRITABLE, read_event, &value), -EINVAL);
    ouro_poll_evented_free(io);
    (void)close(fd);
    return 0;
}

OURO_TEST(epoll_ctl_says_what_can_be_waited_for)
{
    everywhere(what_can_be_waited_for, NULL);
}
