/* SPDX-License-Identifier: MIT */
/*
 * Connecting: every form of address, every way to fail, and what is left behind.
 */
#include "everywhere.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fault.h"
#include "blocking/pool.h"
#include "ouro/error.h"
#include "ouro/tcp.h"
#include "ouro/time.h"
#include "stream/stream.h"
#include "support/child.h"
#include "support/leaks.h"
#include "support/netns.h"
#include "support/sockets.h"
#include "support/unanswered.h"
#include "task/handle.h"

static struct ouro_socket_addr parsed(const char *text)
{
    struct ouro_socket_addr addr;
    ck_assert_int_eq(ouro_socket_addr_parse(text, &addr), 0);
    return addr;
}

static struct ouro_socket_addr loopback(int family, uint16_t port)
{
    char text[OURO_TEST_ADDRESS_SIZE];
    return parsed(ouro_test_address(family, port, text));
}

struct listening {
    int family;
    int listener;
    uint16_t port;
};

static struct listening listening_on(int family)
{
    struct listening l = {.family = family};
    ouro_test_need_family(family);
    l.listener = ouro_test_listen(family, 64, &l.port);
    return l;
}

static int connect_and_compare(void *arg)
{
    struct listening *l = arg;
    struct ouro_socket_addr target = loopback(l->family, l->port);
    struct ouro_socket_addr local;
    struct ouro_socket_addr peer;
    struct ouro_stream *stream = NULL;
    char text[OURO_TEST_ADDRESS_SIZE];

    int rc =
        ouro_tcp_stream_connect(OURO_ADDRS(ouro_test_address(l->family, l->port, text)), &stream);
    ck_assert_int_eq(rc, 0);
    int accepted = ouro_test_accept(l->listener);
    ck_assert_int_eq(ouro_tcp_stream_local_addr(stream, &local), 0);
    ck_assert_int_eq(ouro_tcp_stream_peer_addr(stream, &peer), 0);
    ck_assert(ouro_socket_addr_equal(&peer, &target));
    ck_assert(fcntl(ouro_stream_fd(stream), F_GETFD) & FD_CLOEXEC);
    ck_assert(fcntl(ouro_stream_fd(stream), F_GETFL) & O_NONBLOCK);
    ck_assert_uint_eq(ouro_socket_addr_port(&local), ouro_test_peer_port(accepted));
    ck_assert_uint_eq(ouro_socket_addr_port(&peer), ouro_test_local_port(accepted));
    ck_assert_int_eq(ouro_stream_close(stream), 0);
    (void)close(accepted);
    return 0;
}

OURO_TEST(ipv4_addresses_mirror_the_accepted_side)
{
    struct listening l = listening_on(AF_INET);
    everywhere(connect_and_compare, &l);
    (void)close(l.listener);
}

OURO_TEST(ipv6_addresses_mirror_the_accepted_side)
{
    struct listening l = listening_on(AF_INET6);
    everywhere(connect_and_compare, &l);
    (void)close(l.listener);
}

static void connects(struct listening *l, const struct ouro_to_socket_addrs *addrs)
{
    struct ouro_stream *stream = NULL;
    ck_assert_int_eq(ouro_tcp_stream_connect(addrs, &stream), 0);
    int accepted = ouro_test_accept(l->listener);
    ck_assert_int_eq(ouro_stream_close(stream), 0);
    (void)close(accepted);
}

static uint64_t pool_threads_started(void)
{
    struct ouro_handle *handle = ouro_handle_current();
    struct ouro__blocking_stats stats;
    ouro__blocking_pool_stats(ouro__handle_blocking_pool(handle), &stats);
    ouro_handle_unref(handle);
    return stats.started;
}

static int connect_by_every_form(void *arg)
{
    struct listening *l = arg;
    char text[OURO_TEST_ADDRESS_SIZE];
    struct ouro_socket_addr list[] = {loopback(AF_INET, l->port)};
    struct ouro_to_socket_addrs name = {.kind = OURO_ADDRS_HOST_PORT,
                                        .flags = OURO_ADDRS_F_IPV4,
                                        .text = "localhost",
                                        .port = l->port};
    connects(l, OURO_ADDRS(ouro_test_address(AF_INET, l->port, text)));
    connects(l, OURO_HOST_PORT("127.0.0.1", l->port));
    connects(l, OURO_ADDR_LIST(list, 1));
    ck_assert_uint_eq(pool_threads_started(), 0); /* literals never touch the resolver's pool */
    connects(l, &name);
    ck_assert_uint_eq(pool_threads_started(), 1);
    return 0;
}

OURO_TEST(every_form_of_address_connects)
{
    ouro_test_need_localhost();
    struct listening l = listening_on(AF_INET);
    everywhere(connect_by_every_form, &l);
    (void)close(l.listener);
}

static int connect_to_nothing(void *arg)
{
    struct ouro_stream *stream = NULL;
    struct ouro_socket_addr any = loopback(AF_INET, 1);
    struct ouro_to_socket_addrs filtered = {
        .kind = OURO_ADDRS_LIST, .flags = OURO_ADDRS_F_IPV6, .list = &any, .count = 1};
    (void)arg;
    ouro__fault_arm(OURO__FAULT_SOCKET, 1, UINT64_MAX, -EIO);
    struct ouro_tcp_connect_options options = OURO_TCP_CONNECT_OPTIONS_INIT;
    size_t count = 77;
    options.attempts_count = &count;
    ck_assert_int_eq(ouro_tcp_stream_connect_with(OURO_ADDR_LIST(&any, 0), &options, &stream),
                     -OURO_ENOADDRESS);
    ck_assert_uint_eq(count, 0);
    ck_assert_int_eq(ouro_tcp_stream_connect(&filtered, &stream), -OURO_ENOADDRESS);
    ck_assert_int_eq(ouro_tcp_stream_connect(OURO_ADDRS("[::1]"), &stream), -OURO_EADDRSYNTAX);
    ck_assert_int_eq(ouro_tcp_stream_connect(NULL, &stream), -EINVAL);
    ck_assert_int_eq(ouro_tcp_stream_connect(OURO_ADDR_LIST(&any, 1), NULL), -EINVAL);
    ck_assert_uint_eq(ouro__fault_fired(OURO__FAULT_SOCKET), 0);
    ouro__fault_disarm_all();
    ck_assert_ptr_null(stream);
    return 0;
}

OURO_TEST(an_empty_list_is_an_error_and_makes_no_socket)
{
    everywhere(connect_to_nothing, NULL);
}

static int connect_refused(void *arg)
{
    struct ouro_stream *stream = NULL;
    struct ouro_socket_addr *addr = arg;
    unsigned before = ouro_test_open_descriptors();
    ck_assert_int_eq(ouro_tcp_stream_connect(OURO_ADDR_LIST(addr, 1), &stream), -ECONNREFUSED);
    ck_assert_ptr_null(stream);
    ck_assert_uint_eq(ouro_test_open_descriptors(), before);
    return 0;
}

OURO_TEST(refused_is_the_calls_own_error)
{
    uint16_t port = 0;
    int refusing = ouro_test_refusing(AF_INET, &port);
    struct ouro_socket_addr addr = loopback(AF_INET, port);
    everywhere(connect_refused, &addr);
    (void)close(refusing);
}

struct two {
    struct ouro_socket_addr addr[2];
    int listener;
    uint32_t flags;
};

static int connect_to_the_second(void *arg)
{
    struct two *two = arg;
    struct ouro_connect_attempt attempts[2];
    size_t count = 0;
    struct ouro_tcp_connect_options options = OURO_TCP_CONNECT_OPTIONS_INIT;
    struct ouro_stream *stream = NULL;
    unsigned before = ouro_test_open_descriptors();

    options.flags = two->flags;
    options.stagger_ns = 10 * OURO_TEST_SECOND;
    options.attempts = attempts;
    options.attempts_max = 2;
    options.attempts_count = &count;
    ck_assert_int_eq(ouro_tcp_stream_connect_with(OURO_ADDR_LIST(two->addr, 2), &options, &stream),
                     0);
    ck_assert_uint_eq(ouro_test_open_descriptors(), before + 1); /* the stream's alone */
    ck_assert_uint_eq(count, 2);
    ck_assert_int_eq(attempts[0].error, -ECONNREFUSED);
    ck_assert_int_eq(attempts[1].error, 0);
    for (int i = 0; i < 2; i++) {
        ck_assert(ouro_socket_addr_equal(&attempts[i].addr, &two->addr[i]));
        ck_assert_int_ge(attempts[i].start_ns, 0);
        ck_assert_int_gt(attempts[i].duration_ns, 0);
    }
    ck_assert_int_ge(attempts[1].start_ns, attempts[0].start_ns + attempts[0].duration_ns);
    ck_assert_int_lt(attempts[1].start_ns, options.stagger_ns); /* at once */
    int accepted = ouro_test_accept(two->listener);
    ck_assert_int_eq(ouro_stream_close(stream), 0);
    (void)close(accepted);
    return 0;
}

static void refused_then_listening(uint32_t flags)
{
    uint16_t refused = 0;
    uint16_t port = 0;
    int refusing = ouro_test_refusing(AF_INET, &refused);
    struct two two = {.listener = ouro_test_listen(AF_INET, 64, &port), .flags = flags};
    two.addr[0] = loopback(AF_INET, refused);
    two.addr[1] = loopback(AF_INET, port);
    everywhere(connect_to_the_second, &two);
    (void)close(two.listener);
    (void)close(refusing);
}

OURO_TEST(after_a_refusal_the_second_address_connects)
{
    refused_then_listening(0);
}

OURO_TEST(after_a_refusal_the_second_connects_in_sequence_too)
{
    refused_then_listening(OURO_CONNECT_F_SEQUENTIAL);
}

static int connect_and_read_the_report(void *arg)
{
    struct two *two = arg;
    struct ouro_connect_attempt attempt = {.error = 1};
    size_t count = 0;
    struct ouro_tcp_connect_options options = OURO_TCP_CONNECT_OPTIONS_INIT;
    struct ouro_stream *stream = NULL;
    unsigned before = ouro_test_open_descriptors();

    options.flags = two->flags;
    options.attempts = &attempt;
    options.attempts_max = 1; /* less room than attempts */
    options.attempts_count = &count;
    ck_assert_int_eq(ouro_tcp_stream_connect_with(OURO_ADDR_LIST(two->addr, 2), &options, &stream),
                     -ECONNREFUSED);
    ck_assert_ptr_null(stream);
    ck_assert_uint_eq(ouro_test_open_descriptors(), before);
    ck_assert_uint_eq(count, 2);
    ck_assert_int_eq(attempt.error, -EAFNOSUPPORT);
    ck_assert(ouro_socket_addr_equal(&attempt.addr, &two->addr[0]));
    return 0;
}

/* The one that came closest is not the last. */
static int connect_to_the_closest_first(void *arg)
{
    struct two *two = arg;
    struct ouro_tcp_connect_options options = OURO_TCP_CONNECT_OPTIONS_INIT;
    struct ouro_stream *stream = NULL;
    struct ouro_socket_addr swapped[2] = {two->addr[1], two->addr[0]};
    options.flags = two->flags;
    ck_assert_int_eq(ouro_tcp_stream_connect_with(OURO_ADDR_LIST(swapped, 2), &options, &stream),
                     -ECONNREFUSED);
    ck_assert_ptr_null(stream);
    return 0;
}

OURO_TEST(when_all_fail_the_closest_error_is_returned)
{
    static const uint32_t ways[] = {0, OURO_CONNECT_F_SEQUENTIAL};
    uint16_t refused = 0;
    int refusing = ouro_test_refusing(AF_INET, &refused);
    struct two two = {.addr = {parsed("unix:/nowhere"), loopback(AF_INET, refused)}};
    for (int i = 0; i < 2; i++) {
        two.flags = ways[i];
        everywhere(connect_and_read_the_report, &two);
        everywhere(connect_to_the_closest_first, &two);
    }
    (void)close(refusing);
}

enum { TIMEOUT_MS = 60 };

/* How long a connect without an answer took until its deadline ended it. */
static int64_t time_until_deadline(const struct ouro_socket_addr *addr)
{
    struct ouro_deadline scope;
    struct ouro_stream *stream = NULL;
    unsigned before = ouro_test_open_descriptors();

    int64_t begin_ns = ouro_now_ns();
    ck_assert_int_eq(ouro_deadline_begin(&scope, TIMEOUT_MS * OURO_TEST_MS), 0);
    int rc = ouro_tcp_stream_connect(OURO_ADDR_LIST(addr, 1), &stream);
    int64_t took_ns = ouro_now_ns() - begin_ns;
    ouro_deadline_end(&scope);
    ck_assert_int_eq(rc, -ETIMEDOUT);
    ck_assert_ptr_null(stream);
    ck_assert_uint_eq(ouro_test_open_descriptors(), before);
    return took_ns;
}

static int connect_until_deadline(void *arg)
{
    int late = 0;
    int64_t took_ns = 0;
    do {
        took_ns = time_until_deadline(arg);
        ck_assert_int_ge(took_ns, TIMEOUT_MS * OURO_TEST_MS);
    } while (!is_in_time(took_ns, (TIMEOUT_MS + 50) * OURO_TEST_MS, &late));
    return 0;
}

OURO_TEST(a_full_backlog_ends_at_the_deadline, .serial = true)
{
    struct ouro_test_full_backlog full;
    ouro_test_full_backlog_open(&full, AF_INET);
    struct ouro_socket_addr addr = loopback(AF_INET, full.port);
    everywhere(connect_until_deadline, &addr);
    ouro_test_full_backlog_close(&full);
}

static int connect_to_the_void(void *arg)
{
    (void)arg;
    ouro_test_netns_enter();
    ouro_test_netns_add_void();
    struct ouro_socket_addr addr = parsed(OURO_TEST_VOID_ADDRESS ":6142");
    everywhere(connect_until_deadline, &addr);
    return 0;
}

OURO_TEST(a_black_hole_ends_at_the_deadline, .serial = true)
{
    ouro_test_child_must_pass(connect_to_the_void, NULL);
}

static int connect_too_late(void *arg)
{
    struct ouro_deadline scope;
    struct ouro_stream *stream = NULL;
    ck_assert_int_eq(ouro_deadline_begin(&scope, 0), 0);
    ck_assert_int_eq(
        ouro_tcp_stream_connect(OURO_ADDR_LIST((struct ouro_socket_addr *)arg, 1), &stream),
        -ETIMEDOUT);
    ouro_deadline_end(&scope);
    return 0;
}

OURO_TEST(a_passed_deadline_makes_no_attempt)
{
    struct listening l = listening_on(AF_INET);
    struct ouro_socket_addr addr = loopback(AF_INET, l.port);
    everywhere(connect_too_late, &addr);
    ck_assert_int_eq(ouro_test_poll(l.listener, POLLIN, 0), 0); /* nobody has ever come */
    (void)close(l.listener);
}

static int connect_with_faults(void *arg)
{
    struct ouro_stream *stream = NULL;
    struct ouro_socket_addr *addr = arg;
    unsigned before = ouro_test_open_descriptors();
    ouro__fault_arm(OURO__FAULT_SOCKET, 1, 1, -EMFILE);
    ck_assert_int_eq(ouro_tcp_stream_connect(OURO_ADDR_LIST(addr, 1), &stream), -EMFILE);
    ck_assert_uint_eq(ouro_test_open_descriptors(), before);
    ouro__fault_arm(OURO__FAULT_ATTACH, 1, 1, -ENOSPC);
    ck_assert_int_eq(ouro_tcp_stream_connect(OURO_ADDR_LIST(addr, 1), &stream), -ENOSPC);
    ck_assert_uint_eq(ouro_test_open_descriptors(), before);
    ouro__fault_disarm_all();
    ck_assert_ptr_null(stream);
    return 0;
}

OURO_TEST(a_failed_socket_or_registration_leaves_nothing)
{
    struct listening l = listening_on(AF_INET);
    struct ouro_socket_addr addr = loopback(AF_INET, l.port);
    everywhere(connect_with_faults, &addr);
    (void)close(l.listener);
}

static int connect_to_itself(void *arg)
{
    struct ouro_socket_addr *addr = arg;
    struct ouro_tcp_connect_options options = OURO_TCP_CONNECT_OPTIONS_INIT;
    struct ouro_stream *stream = NULL;
    options.bind = addr;
    ck_assert_int_eq(ouro_tcp_stream_connect_with(OURO_ADDR_LIST(addr, 1), &options, &stream),
                     -ECONNREFUSED);
    return 0;
}

OURO_TEST(a_socket_connected_to_itself_was_refused)
{
    uint16_t port = 0;
    int refusing = ouro_test_refusing(AF_INET, &port);
    (void)close(refusing);
    struct ouro_socket_addr addr = loopback(AF_INET, port);
    in_place(IN_TASK, connect_to_itself, &addr);
}

/* The word of a connected stream has no closed direction, whatever a fresh socket reported. */
static int connect_and_look_at_readiness(void *arg)
{
    struct ouro_stream *stream = NULL;
    ck_assert_int_eq(
        ouro_tcp_stream_connect(OURO_ADDR_LIST((struct ouro_socket_addr *)arg, 1), &stream), 0);
    struct ouro__scheduled_io *sio = atomic_load(&stream->descriptor.sio);
    ck_assert_uint_eq(atomic_load(&sio->readiness) & OURO__READY_FINAL, 0);
    ck_assert_int_eq(ouro_stream_close(stream), 0);
    return 0;
}

static void connect_with_fault(enum ouro__fault_point point, uint64_t times, int error)
{
    struct listening l = listening_on(AF_INET);
    struct ouro_socket_addr addr = loopback(AF_INET, l.port);
    for (int place = 0; place < PLACES; place++) {
        ouro__fault_arm(point, 1, times, error);
        in_place((enum place)place, connect_and_look_at_readiness, &addr);
        ck_assert_uint_eq(ouro__fault_fired(point), times);
        ouro__fault_disarm_all();
    }
    (void)close(l.listener);
}

OURO_TEST_URING(in_progress_from_the_ring_is_waited_for)
{
    connect_with_fault(OURO__FAULT_RING_CONNECT, 1, -EINPROGRESS);
}

OURO_TEST_EPOLL(an_interrupted_connect_is_waited_for)
{
    connect_with_fault(OURO__FAULT_EPOLL_CONNECT, 1, -EINTR);
}

OURO_TEST_EPOLL(a_connect_in_progress_is_waited_for)
{
    connect_with_fault(OURO__FAULT_EPOLL_CONNECT, 1, -EINPROGRESS);
}

static bool has_been_spurious(void *arg)
{
    (void)arg;
    return ouro__fault_fired(OURO__FAULT_EPOLL_SPURIOUS) == 3;
}

static void *relieve(void *arg)
{
    ck_assert(ouro_test_until(has_been_spurious, NULL, 10 * OURO_TEST_SECOND));
    ouro_test_full_backlog_relieve(arg);
    return NULL;
}

/* The socket is said to be writable three times while its SYN is unanswered. */
OURO_TEST_EPOLL(spurious_writability_is_no_outcome)
{
    struct ouro_test_full_backlog full;
    pthread_t thread;
    ouro_test_full_backlog_open(&full, AF_INET);
    struct ouro_socket_addr addr = loopback(AF_INET, full.port);
    ouro__fault_arm(OURO__FAULT_EPOLL_SPURIOUS, 1, 3, -EAGAIN);
    ck_assert_int_eq(pthread_create(&thread, NULL, relieve, &full), 0);
    in_place(IN_TASK, connect_and_look_at_readiness, &addr);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ouro__fault_disarm_all();
    ouro_test_full_backlog_close(&full);
}

OURO_TEST(outside_of_a_runtime_there_is_no_connect)
{
    struct ouro_stream *stream = NULL;
    ck_assert_int_eq(ouro_tcp_stream_connect(OURO_ADDRS("127.0.0.1:1"), &stream), -OURO_ENORUNTIME);
}

static int connect_without_io(void *arg)
{
    struct ouro_stream *stream = NULL;
    (void)arg;
    ouro__fault_arm(OURO__FAULT_SOCKET, 1, UINT64_MAX, -EIO);
    ck_assert_int_eq(ouro_tcp_stream_connect(OURO_ADDRS("127.0.0.1:1"), &stream),
                     -OURO_EIODISABLED);
    ck_assert_uint_eq(ouro__fault_fired(OURO__FAULT_SOCKET), 0);
    ouro__fault_disarm_all();
    return 0;
}

OURO_TEST(without_io_connect_says_so)
{
    for (int place = 0; place < PLACES; place++) {
        struct ouro_runtime *runtime = open_place((enum place)place, OURO_RUNTIME_F_NO_IO);
        run_in_place((enum place)place, runtime, connect_without_io, NULL);
        ouro_runtime_free(runtime);
    }
}

OURO_TEST(after_the_shutdown_connect_says_so)
{
    struct listening l = listening_on(AF_INET);
    struct ouro_socket_addr addr = loopback(AF_INET, l.port);
    struct ouro_stream *stream = NULL;
    struct ouro_runtime *runtime = open_place(IN_THREAD, 0);
    struct ouro_handle *handle = ouro_runtime_handle(runtime);
    ck_assert_int_eq(ouro_enter(handle), 0);
    ck_assert_int_eq(ouro_runtime_shutdown(runtime, OURO_TEST_SECOND), 0);
    ck_assert_int_eq(ouro_tcp_stream_connect(OURO_ADDR_LIST(&addr, 1), &stream), -OURO_ESHUTDOWN);
    ck_assert_int_eq(ouro_stream_from_fd(l.listener, &stream), -OURO_ESHUTDOWN);
    ouro_leave();
    ouro_handle_unref(handle);
    ouro_runtime_free(runtime);
    (void)close(l.listener);
}
