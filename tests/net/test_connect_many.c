/* SPDX-License-Identifier: MIT */
/*
 * Many connections: a thousand at once, and a hundred thousand one after the other (ten thousand
 * on an emulated kernel).
 */
#include "everywhere.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/compiler.h"
#include "ouro/error.h"
#include "ouro/tcp.h"
#include "ouro/time.h"
#include "support/sockets.h"

enum { AT_ONCE = 1000, IN_SEQUENCE = 100000, WARM_UP = 2000 };

/* A thread that accepts and closes until it is told to stop. */
struct sink {
    struct ouro_socket_addr addr;
    int listener;
    int stop;
    pthread_t thread;
    uint64_t accepted;
};

static void *accept_and_close(void *arg)
{
    struct sink *sink = arg;
    struct pollfd entries[2] = {{.fd = sink->listener, .events = POLLIN},
                                {.fd = sink->stop, .events = POLLIN}};
    while (entries[1].revents == 0) {
        (void)poll(entries, 2, -1);
        int fd = -1;
        while ((fd = accept4(sink->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
            sink->accepted++;
            (void)close(fd);
        }
    }
    return NULL;
}

static void open_sink(struct sink *sink)
{
    uint16_t port = 0;
    char text[OURO_TEST_ADDRESS_SIZE];
    *sink = (struct sink){.listener = -1};
    sink->listener = ouro_test_listen(AF_INET, 4096, &port);
    ck_assert_int_eq(fcntl(sink->listener, F_SETFL, O_NONBLOCK), 0);
    sink->stop = eventfd(0, EFD_CLOEXEC);
    ck_assert_int_ge(sink->stop, 0);
    ck_assert_int_eq(ouro_socket_addr_parse(ouro_test_address(AF_INET, port, text), &sink->addr),
                     0);
    ck_assert_int_eq(pthread_create(&sink->thread, NULL, accept_and_close, sink), 0);
}

static void close_sink(struct sink *sink)
{
    ck_assert_int_eq(eventfd_write(sink->stop, 1), 0);
    ck_assert_int_eq(pthread_join(sink->thread, NULL), 0);
    (void)close(sink->listener);
    (void)close(sink->stop);
}

static int connect_once(const struct ouro_socket_addr *addr)
{
    struct ouro_tcp_connect_options options = OURO_TCP_CONNECT_OPTIONS_INIT;
    struct ouro_stream *stream = NULL;
    options.flags = OURO_CONNECT_F_RESET;
    int rc = ouro_tcp_stream_connect_with(OURO_ADDR_LIST(addr, 1), &options, &stream);
    return rc < 0 ? rc : ouro_stream_close(stream);
}

static int connect_task(void *arg)
{
    struct sink *sink = arg;
    return connect_once(&sink->addr);
}

static int connect_all_at_once(void *arg)
{
    static struct ouro_task *tasks[AT_ONCE];
    for (int i = 0; i < AT_ONCE; i++)
        ck_assert_int_eq(ouro_task_spawn(connect_task, arg, &tasks[i]), 0);
    for (int i = 0; i < AT_ONCE; i++) {
        int result = -1;
        ck_assert_int_eq(ouro_task_join(tasks[i], &result), 0);
        ck_assert_msg(result == 0, "connection %d: %s", i, ouro_strerror(result));
    }
    return 0;
}

OURO_TEST(a_thousand_connect_at_once)
{
    struct sink sink;
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    open_sink(&sink);
    everywhere(connect_all_at_once, &sink);
    close_sink(&sink);
}

static long resident_pages(void)
{
    long size = 0;
    long resident = 0;
    FILE *statm = fopen("/proc/self/statm", "re");
    ck_assert_ptr_nonnull(statm);
    ck_assert_int_eq(fscanf(statm, "%ld %ld", &size, &resident), 2);
    (void)fclose(statm);
    return resident;
}

static int lowest_free_descriptor(void)
{
    int fd = dup(0);
    ck_assert_int_ge(fd, 0);
    (void)close(fd);
    return fd;
}

static int connect_in_sequence(void *arg)
{
    struct sink *sink = arg;
    for (int i = 0; i < WARM_UP; i++)
        ck_assert_int_eq(connect_once(&sink->addr), 0);
    long pages = resident_pages();
    int fd = lowest_free_descriptor();
    const int count = IN_SEQUENCE / (int)ouro_test_slowness();
    for (int i = 0; i < count; i++) {
        int rc = connect_once(&sink->addr);
        ck_assert_msg(rc == 0, "connection %d: %s", i, ouro_strerror(rc));
    }
    /* The sanitizers keep what was freed for a while. */
    if (!OURO__ASAN && !OURO__TSAN)
        ck_assert_int_le(resident_pages(), pages + 64);
    /* What others hold for a moment (the sink, a sanitizer) is given back. */
    int64_t until_ns = ouro_now_ns() + 10 * OURO_TEST_SECOND;
    int lowest = lowest_free_descriptor();
    while (lowest > fd + 1 && ouro_now_ns() < until_ns) {
        ck_assert_int_eq(ouro_sleep(OURO_TEST_MS), 0);
        lowest = lowest_free_descriptor();
    }
    ck_assert_int_le(lowest, fd + 1);
    return 0;
}

OURO_TEST(a_hundred_thousand_in_sequence_stay_flat, .timeout_s = 120, .serial = true)
{
    struct sink sink;
    open_sink(&sink);
    in_place(IN_TASK, connect_in_sequence, &sink);
    close_sink(&sink);
}
