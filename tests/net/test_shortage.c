/* SPDX-License-Identifier: MIT */
/*
 * Accepting when descriptors or memory run out, and when connections fail before they are accepted.
 */
#include "listening.h"

#include <stdatomic.h>
#include <sys/resource.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "fiber/stack_tools.h"
#include "ouro/error.h"

static struct ouro_tcp_listener_stats stats_of(const struct ouro_tcp_listener *listener)
{
    struct ouro_tcp_listener_stats stats;
    ck_assert_int_eq(ouro_tcp_listener_stats(listener, &stats), 0);
    return stats;
}

/* The process gets no descriptor more; returns the limit as it was. */
static struct rlimit take_all_descriptors(void)
{
    struct rlimit before;
    int next = dup(0);
    ck_assert_int_ge(next, 0);
    (void)close(next);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit tight = {.rlim_cur = (rlim_t)next, .rlim_max = before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &tight), 0);
    return before;
}

struct ticker {
    _Atomic bool stop;
    _Atomic unsigned ticks;
};

static int tick(void *arg)
{
    struct ticker *ticker = arg;
    while (!atomic_load(&ticker->stop)) {
        atomic_fetch_add(&ticker->ticks, 1);
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
    }
    return 0;
}

static void await_ticks(struct ticker *ticker, unsigned count)
{
    unsigned before = atomic_load(&ticker->ticks);
    while (atomic_load(&ticker->ticks) - before < count)
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
}

static int accept_without_descriptors(void *arg)
{
    enum { PEERS = 3 };
    uint16_t port = 0;
    struct ouro_tcp_listener *listener = listening(NULL, &port);
    struct ticker ticker = {.ticks = 0};
    struct ouro_task *task = NULL;
    struct acceptor acceptor;
    int peers[PEERS];
    (void)arg;
    ck_assert_int_eq(ouro_task_spawn(tick, &ticker, &task), 0);
    for (int i = 0; i < PEERS; i++)
        peers[i] = ouro_test_connect(AF_INET, port);
    struct rlimit before = take_all_descriptors();
    start_acceptor(&acceptor, listener);
    /* Those that wait get an end, others progress, and it goes on. */
    for (int i = 0; i < PEERS; i++)
        await_end(peers[i]);
    await_ticks(&ticker, 10);
    struct ouro_tcp_listener_stats stats = stats_of(listener);
    ck_assert_uint_eq(stats.shed, PEERS);
    ck_assert_uint_ge(stats.pauses, 1);
    ck_assert_uint_le(stats.pauses, 20);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    int late = ouro_test_connect(AF_INET, port);
    ck_assert_int_eq(join_acceptor(&acceptor), 0);
    ck_assert_uint_eq(ouro_socket_addr_port(&acceptor.peer), ouro_test_local_port(late));
    atomic_store(&ticker.stop, true);
    ck_assert_int_eq(ouro_task_join(task, NULL), 0);
    ck_assert_int_eq(ouro_stream_close(acceptor.stream), 0);
    ck_assert_int_eq(ouro_tcp_listener_close(listener), 0);
    for (int i = 0; i < PEERS; i++)
        (void)close(peers[i]);
    (void)close(late);
    return 0;
}

OURO_TEST(without_descriptors_connections_get_an_end_and_accepting_goes_on)
{
    if (ouro__stack_on_valgrind())
        ouro_test_skip("Valgrind does not tell the kernel of a lower RLIMIT_NOFILE");
    everywhere(accept_without_descriptors, NULL);
}

/* On request the caller gets the error, and the connection waits for its next try. */
static int be_told_of_a_shortage(void *arg)
{
    struct ouro_tcp_listen_options options = OURO_TCP_LISTEN_OPTIONS_INIT;
    struct ouro_stream *stream = NULL;
    uint16_t port = 0;
    (void)arg;
    options.flags = OURO_LISTEN_F_REPORT_SHORTAGE;
    struct ouro_tcp_listener *listener = listening(&options, &port);
    int peer = ouro_test_connect(AF_INET, port);
    struct rlimit before = take_all_descriptors();
    int rc = ouro_tcp_listener_accept(listener, &stream, NULL);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert_int_eq(rc, -EMFILE);
    ck_assert_uint_eq(stats_of(listener).shed, 0);
    ck_assert_int_eq(ouro_tcp_listener_accept(listener, &stream, NULL), 0);
    ck_assert_int_eq(ouro_stream_close(stream), 0);
    ck_assert_int_eq(ouro_tcp_listener_close(listener), 0);
    (void)close(peer);
    return 0;
}

OURO_TEST(a_shortage_is_reported_on_request)
{
    if (ouro__stack_on_valgrind())
        ouro_test_skip("Valgrind does not tell the kernel of a lower RLIMIT_NOFILE");
    everywhere(be_told_of_a_shortage, NULL);
}

/* An acceptor that pauses is ended like one that waits. */
static int end_a_pause(void *arg)
{
    uint16_t port = 0;
    struct ouro_tcp_listener *listener = listening(NULL, &port);
    struct acceptor acceptor;
    struct ouro_stream *stream = NULL;
    int peer = ouro_test_connect(AF_INET, port);
    (void)arg;
    ouro__fault_arm(OURO__FAULT_ACCEPT, 1, UINT64_MAX, -ENOBUFS);
    ck_assert_int_eq(accept_within(listener, 20 * OURO_MILLISECOND, &stream), -ETIMEDOUT);
    ck_assert_uint_le(ouro__fault_fired(OURO__FAULT_ACCEPT), 6); /* 1 + 2 + 4 + 8 + 16 ms */
    start_acceptor(&acceptor, listener);
    while (ouro__fault_fired(OURO__FAULT_ACCEPT) < 8)
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
    ck_assert_int_eq(ouro_task_cancel(acceptor.task), 0);
    ck_assert_int_eq(join_acceptor(&acceptor), -ECANCELED);
    start_acceptor(&acceptor, listener);
    uint64_t fired = ouro__fault_fired(OURO__FAULT_ACCEPT);
    while (ouro__fault_fired(OURO__FAULT_ACCEPT) < fired + 2)
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
    ck_assert_int_eq(ouro_tcp_listener_close(listener), 0);
    ck_assert_int_eq(join_acceptor(&acceptor), -ECANCELED);
    ouro__fault_disarm_all();
    (void)close(peer);
    return 0;
}

OURO_TEST(a_pause_ends_with_its_accept)
{
    everywhere(end_a_pause, NULL);
}

/* A shortage of each kind is survived, and closes no connection while there are descriptors. */
static int survive_shortages(void *arg)
{
    const int errors[] = {-EMFILE, -ENFILE, -ENOBUFS, -ENOMEM};
    uint16_t port = 0;
    struct ouro_tcp_listener *listener = listening(NULL, &port);
    (void)arg;
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        struct ouro_stream *stream = NULL;
        bool sheds = errors[i] == -EMFILE || errors[i] == -ENFILE;
        int peer = ouro_test_connect(AF_INET, port);
        uint64_t shed = stats_of(listener).shed;
        ouro__fault_arm(OURO__FAULT_ACCEPT, 1, 2, errors[i]);
        if (sheds) /* the one that waits: not a real shortage, so there is a descriptor for it */
            ck_assert_int_eq(accept_within(listener, 20 * OURO_MILLISECOND, &stream), -ETIMEDOUT);
        else
            ck_assert_int_eq(ouro_tcp_listener_accept(listener, &stream, NULL), 0);
        ck_assert_uint_ge(ouro__fault_fired(OURO__FAULT_ACCEPT), 1);
        ouro__fault_disarm_all();
        ck_assert_uint_eq(stats_of(listener).shed - shed, sheds ? 1 : 0);
        ck_assert_int_eq(stream == NULL, sheds);
        if (sheds)
            await_end(peer);
        ck_assert_int_eq(ouro_stream_close(stream), 0);
        (void)close(peer);
    }
    ck_assert_int_eq(ouro_tcp_listener_close(listener), 0);
    return 0;
}

OURO_TEST(no_shortage_reaches_the_caller)
{
    everywhere(survive_shortages, NULL);
}

/* Each allocation of an accept may fail: the connection waits, and is accepted. */
static int accept_without_memory(void *arg)
{
    (void)arg;
    for (uint64_t nth = 1; nth <= 6; nth++) {
        uint16_t port = 0;
        struct ouro_tcp_listener *listener = listening(NULL, &port);
        struct ouro_stream *stream = NULL;
        int peer = ouro_test_connect(AF_INET, port);
        ouro__alloc_fail_at(nth);
        ck_assert_int_eq(ouro_tcp_listener_accept(listener, &stream, NULL), 0);
        ouro__alloc_fail_at(0);
        ck_assert_int_eq(ouro_stream_close(stream), 0);
        ck_assert_int_eq(ouro_tcp_listener_close(listener), 0);
        (void)close(peer);
    }
    return 0;
}

OURO_TEST(without_memory_the_connection_waits)
{
    everywhere(accept_without_memory, NULL);
}

/* Connections that fail in the backlog, each in its own way, stand before a good one. */
static int accept_after_failures(void *arg)
{
    const int errors[] = {-ECONNABORTED, -EPROTO,          -ENOPROTOOPT,     -ENETDOWN,
                          -ENETUNREACH,  -ENONET,          -EHOSTDOWN,       -EHOSTUNREACH,
                          -EOPNOTSUPP,   -EPROTONOSUPPORT, -ESOCKTNOSUPPORT, -EPERM,
                          -ETIMEDOUT};
    uint16_t port = 0;
    struct ouro_tcp_listener *listener = listening(NULL, &port);
    struct ouro_stream *stream = NULL;
    uint64_t failed = 0;
    (void)arg;
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        int peer = ouro_test_connect(AF_INET, port);
        ouro__fault_arm(OURO__FAULT_ACCEPT, 1, 3, errors[i]);
        ck_assert_int_eq(ouro_tcp_listener_accept(listener, &stream, NULL), 0);
        ck_assert_uint_eq(ouro__fault_fired(OURO__FAULT_ACCEPT), 3);
        ouro__fault_disarm_all();
        failed += 3;
        ck_assert_uint_eq(stats_of(listener).failed, failed);
        ck_assert_int_eq(ouro_stream_close(stream), 0);
        (void)close(peer);
    }
    ck_assert_uint_eq(stats_of(listener).pauses, 0);
    /* A firewall that refuses everything is no reason to spin. */
    ouro__fault_arm(OURO__FAULT_ACCEPT, 1, UINT64_MAX, -EPERM);
    ck_assert_int_eq(accept_within(listener, 20 * OURO_MILLISECOND, &stream), -ETIMEDOUT);
    ck_assert_uint_le(ouro__fault_fired(OURO__FAULT_ACCEPT), 6 * 16);
    ck_assert_uint_ge(stats_of(listener).pauses, 1);
    /* Other errors are the listener's. */
    ouro__fault_arm(OURO__FAULT_ACCEPT, 1, 1, -EINVAL);
    ck_assert_int_eq(ouro_tcp_listener_accept(listener, &stream, NULL), -EINVAL);
    ouro__fault_disarm_all();
    ck_assert_int_eq(ouro_tcp_listener_close(listener), 0);
    return 0;
}

OURO_TEST(a_connection_that_fails_in_the_backlog_ends_no_accept)
{
    everywhere(accept_after_failures, NULL);
}

/* A connection that was reset in the backlog has no peer any more: it is not handed out with an
 * empty address. */
static int accept_after_resets(void *arg)
{
    uint16_t port = 0;
    struct ouro_tcp_listener *listener = listening(NULL, &port);
    struct ouro_stream *stream = NULL;
    struct ouro_socket_addr addr;
    (void)arg;
    for (int i = 0; i < 5; i++)
        ouro_test_reset(ouro_test_connect(AF_INET, port));
    int peer = ouro_test_connect(AF_INET, port);
    ck_assert_int_eq(ouro_tcp_listener_accept(listener, &stream, &addr), 0);
    ck_assert_uint_eq(ouro_socket_addr_port(&addr), ouro_test_local_port(peer));
    ck_assert_uint_eq(stats_of(listener).failed, 5);
    ck_assert_int_eq(ouro_stream_close(stream), 0);
    ck_assert_int_eq(ouro_tcp_listener_close(listener), 0);
    (void)close(peer);
    return 0;
}

OURO_TEST(connections_reset_in_the_backlog_are_passed_over)
{
    everywhere(accept_after_resets, NULL);
}
