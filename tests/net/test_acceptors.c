/* SPDX-License-Identifier: MIT */
/*
 * Many acceptors on one listener: none is left out, each connection goes to one, and the ways in
 * which an accept ends early lose none.
 */
#include "listening.h"
#include "net/acceptor.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "ouro/error.h"

enum { ACCEPTORS = 6 };

static int accept_in_order(void *arg)
{
    uint16_t port = 0;
    struct ouro_tcp_listener *listener = listening(NULL, &port);
    struct acceptor acceptors[ACCEPTORS];
    int peers[ACCEPTORS];
    (void)arg;
    for (uint64_t i = 0; i < ACCEPTORS; i++) {
        start_acceptor(&acceptors[i], listener);
        await_in_flight(i + 1);
    }
    for (int i = 0; i < ACCEPTORS; i++) {
        peers[i] = ouro_test_connect(AF_INET, port);
        ck_assert_int_eq(join_acceptor(&acceptors[i]), 0);
        ck_assert_uint_eq(ouro_socket_addr_port(&acceptors[i].peer),
                          ouro_test_local_port(peers[i]));
        await_in_flight((uint64_t)(ACCEPTORS - 1 - i));
    }
    for (int i = 0; i < ACCEPTORS; i++) {
        ck_assert_int_eq(ouro_stream_close(acceptors[i].stream), 0);
        (void)close(peers[i]);
    }
    ck_assert_int_eq(ouro_tcp_listener_close(listener), 0);
    return 0;
}

OURO_TEST(acceptors_are_served_in_the_order_in_which_they_came)
{
    everywhere(accept_in_order, NULL);
}

/* The first, one in the middle and the last leave; those who stay are served in order. */
static int leave_the_line(void *arg)
{
    uint16_t port = 0;
    struct ouro_tcp_listener *listener = listening(NULL, &port);
    struct acceptor acceptors[ACCEPTORS];
    const int leavers[] = {2, 0, ACCEPTORS - 1};
    bool has_left[ACCEPTORS] = {false};
    (void)arg;
    for (uint64_t i = 0; i < ACCEPTORS; i++) {
        start_acceptor(&acceptors[i], listener);
        await_in_flight(i + 1);
    }
    for (size_t i = 0; i < sizeof(leavers) / sizeof(leavers[0]); i++) {
        ck_assert_int_eq(ouro_task_cancel(acceptors[leavers[i]].task), 0);
        ck_assert_int_eq(join_acceptor(&acceptors[leavers[i]]), -ECANCELED);
        has_left[leavers[i]] = true;
    }
    for (int i = 0; i < ACCEPTORS; i++) {
        if (has_left[i])
            continue;
        int peer = ouro_test_connect(AF_INET, port);
        ck_assert_int_eq(join_acceptor(&acceptors[i]), 0);
        ck_assert_uint_eq(ouro_socket_addr_port(&acceptors[i].peer), ouro_test_local_port(peer));
        ck_assert_int_eq(ouro_stream_close(acceptors[i].stream), 0);
        (void)close(peer);
    }
    ck_assert_int_eq(ouro_tcp_listener_close(listener), 0);
    return 0;
}

OURO_TEST(an_acceptor_that_is_cancelled_leaves_the_others_in_order)
{
    everywhere(leave_the_line, NULL);
}

static int wait_with_deadlines(void *arg)
{
    uint16_t port = 0;
    struct ouro_tcp_listener *listener = listening(NULL, &port);
    struct acceptor first;
    struct ouro_stream *stream = NULL;
    (void)arg;
    start_acceptor(&first, listener);
    await_in_flight(1);
    ck_assert_int_eq(accept_within(listener, OURO_MILLISECOND, &stream), -ETIMEDOUT);
    ck_assert_int_eq(accept_within(listener, 0, &stream), -ETIMEDOUT);
    ck_assert_ptr_null(stream);
    int peer = ouro_test_connect(AF_INET, port);
    ck_assert_int_eq(join_acceptor(&first), 0);
    ck_assert_int_eq(ouro_stream_close(first.stream), 0);
    ck_assert_int_eq(ouro_tcp_listener_close(listener), 0);
    (void)close(peer);
    return 0;
}

OURO_TEST(a_deadline_ends_an_accept_that_is_not_the_first)
{
    everywhere(wait_with_deadlines, NULL);
}

static int close_under_acceptors(void *arg)
{
    uint16_t port = 0;
    struct ouro_tcp_listener *listener = listening(NULL, &port);
    struct acceptor acceptors[ACCEPTORS];
    (void)arg;
    for (uint64_t i = 0; i < ACCEPTORS; i++) {
        start_acceptor(&acceptors[i], listener);
        await_in_flight(i + 1);
    }
    ck_assert_int_eq(ouro_tcp_listener_close(listener), 0);
    for (int i = 0; i < ACCEPTORS; i++)
        ck_assert_int_eq(join_acceptor(&acceptors[i]), -ECANCELED);
    /* Nothing of it is left: the address is free. */
    char text[OURO_TEST_ADDRESS_SIZE];
    ouro_test_address(AF_INET, port, text);
    ck_assert_int_eq(ouro_tcp_listener_bind(OURO_ADDRS(text), NULL, &listener), 0);
    ck_assert_int_eq(ouro_tcp_listener_close(listener), 0);
    return 0;
}

OURO_TEST(close_ends_all_accepts)
{
    everywhere(close_under_acceptors, NULL);
}

OURO_TEST(shutdown_ends_all_accepts)
{
    for (int flavour = 0; flavour < 2; flavour++) {
        struct ouro_runtime *runtime = ouro_test_runtime_new(
            flavour == 0 ? OURO_FLAVOUR_CURRENT_THREAD : OURO_FLAVOUR_MULTI_THREAD);
        struct ouro_handle *handle = ouro_runtime_handle(runtime);
        struct acceptor acceptors[ACCEPTORS];
        uint16_t port = 0;
        ck_assert_int_eq(ouro_enter(handle), 0);
        struct ouro_tcp_listener *listener = listening(NULL, &port);
        for (uint64_t i = 0; i < ACCEPTORS; i++) {
            start_acceptor(&acceptors[i], listener);
            await_in_flight(i + 1);
        }
        ouro_leave();
        ck_assert_int_eq(ouro_runtime_shutdown(runtime, 5 * OURO_TEST_SECOND), 0);
        for (int i = 0; i < ACCEPTORS; i++) {
            ck_assert_int_eq(acceptors[i].rc, -OURO_ESHUTDOWN);
            ouro_task_detach(acceptors[i].task);
        }
        struct ouro_io_driver_metrics metrics;
        ck_assert_int_eq(ouro_handle_metrics(handle, &metrics), 0);
        ck_assert_uint_eq(metrics.submitted, metrics.completed);
        ck_assert_int_eq(ouro_tcp_listener_close(listener), 0);
        ouro_runtime_free(runtime);
        ouro_handle_unref(handle);
    }
}

/* What the acceptors of one listener share. */
/* Waits until @count accepts of other tasks or threads are in progress. */
static void await_acceptors(const struct ouro_tcp_listener *listener, unsigned count)
{
    const struct ouro__acceptor *acceptor = (const void *)listener; /* its first member */
    while ((ouro__load(&acceptor->descriptor.calls, memory_order_acquire) &
            OURO__DESCRIPTOR_MANY_MAX) != count * OURO__DESCRIPTOR_ONE_OF_MANY)
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND / 4), 0);
}

struct crowd {
    struct ouro_tcp_listener *listener;
    struct ouro_handle *handle;
    _Atomic unsigned *seen; /* how often each connection was accepted */
    _Atomic unsigned accepted;
    unsigned connections;
};

/* Each client sends its number. */
static void take_one(struct crowd *crowd, struct ouro_stream *stream)
{
    uint32_t number = 0;
    ck_assert_int_eq(ouro_stream_read(stream, &number, sizeof(number)), sizeof(number));
    ck_assert_uint_lt(number, crowd->connections);
    atomic_fetch_add(&crowd->seen[number], 1);
    atomic_fetch_add(&crowd->accepted, 1);
    ck_assert_int_eq(ouro_stream_close(stream), 0);
}

/* Accepts until the listener is closed. */
static int accept_all(void *arg)
{
    struct crowd *crowd = arg;
    struct ouro_stream *stream = NULL;
    int rc = 0;
    while ((rc = ouro_tcp_listener_accept(crowd->listener, &stream, NULL)) == 0)
        take_one(crowd, stream);
    ck_assert_int_eq(rc, -ECANCELED);
    return 0;
}

static void *accept_all_on_thread(void *arg)
{
    struct crowd *crowd = arg;
    ck_assert_int_eq(ouro_enter(crowd->handle), 0);
    (void)accept_all(crowd);
    ouro_leave();
    return NULL;
}

/* As many clients as connections, @at_once at a time; each ends when it sees its connection end. */
static void visit(struct crowd *crowd, uint16_t port, unsigned at_once)
{
    int peers[64];
    ck_assert_uint_le(at_once, 64);
    for (unsigned first = 0; first < crowd->connections; first += at_once) {
        for (uint32_t i = 0; i < at_once; i++) {
            uint32_t number = first + i;
            peers[i] = ouro_test_connect(AF_INET, port);
            ouro_test_write_exactly(peers[i], &number, sizeof(number));
        }
        while (atomic_load(&crowd->accepted) < first + at_once)
            ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND / 4), 0);
        for (unsigned i = 0; i < at_once; i++)
            (void)close(peers[i]);
    }
    for (unsigned i = 0; i < crowd->connections; i++)
        ck_assert_uint_eq(atomic_load(&crowd->seen[i]), 1);
}

enum { CONNECTIONS = 128 };

static int accept_as_a_crowd(void *arg)
{
    const unsigned acceptors = *(const unsigned *)arg;
    static _Atomic unsigned seen[CONNECTIONS];
    struct crowd crowd = {.seen = seen, .connections = CONNECTIONS};
    struct ouro_task *tasks[ACCEPTORS];
    uint16_t port = 0;
    for (unsigned at_once = 8; at_once <= 64; at_once *= 8) {
        memset(seen, 0, sizeof(seen));
        atomic_store(&crowd.accepted, 0);
        crowd.listener = listening(NULL, &port);
        for (unsigned i = 0; i < acceptors; i++)
            ck_assert_int_eq(ouro_task_spawn(accept_all, &crowd, &tasks[i]), 0);
        visit(&crowd, port, at_once);
        await_acceptors(crowd.listener, acceptors); /* no call may begin after the close */
        ck_assert_int_eq(ouro_tcp_listener_close(crowd.listener), 0);
        for (unsigned i = 0; i < acceptors; i++)
            ck_assert_int_eq(ouro_task_join(tasks[i], NULL), 0);
    }
    return 0;
}

OURO_TEST(each_connection_goes_to_one_acceptor)
{
    everywhere(accept_as_a_crowd, &(unsigned){1});
    everywhere(accept_as_a_crowd, &(unsigned){ACCEPTORS});
}

static int accept_on_threads(void *arg)
{
    static _Atomic unsigned seen[CONNECTIONS];
    struct crowd crowd = {.seen = seen, .connections = CONNECTIONS};
    pthread_t threads[ACCEPTORS];
    uint16_t port = 0;
    (void)arg;
    memset(seen, 0, sizeof(seen));
    crowd.handle = ouro_handle_current();
    crowd.listener = listening(NULL, &port);
    for (int i = 0; i < ACCEPTORS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, accept_all_on_thread, &crowd), 0);
    visit(&crowd, port, 16);
    await_acceptors(crowd.listener, ACCEPTORS);
    ck_assert_int_eq(ouro_tcp_listener_close(crowd.listener), 0);
    for (int i = 0; i < ACCEPTORS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ouro_handle_unref(crowd.handle);
    return 0;
}

OURO_TEST(threads_accept_from_one_listener)
{
    in_place(IN_THREAD, accept_on_threads, NULL);
    in_place(IN_DRIVER_THREAD, accept_on_threads, NULL);
    in_place(IN_WORKER_TASK, accept_on_threads, NULL);
}

/* Ten in a burst of four, at 200 in a second: the last comes no sooner than 6 intervals after the
 * first. */
static int accept_at_a_rate(void *arg)
{
    enum { COUNT = 10, BURST = 4, RATE = 200 };
    struct ouro_tcp_listen_options options = OURO_TCP_LISTEN_OPTIONS_INIT;
    struct ouro_stream *streams[COUNT];
    int peers[COUNT];
    uint16_t port = 0;
    (void)arg;
    options.accept_rate = RATE;
    options.accept_burst = BURST;
    struct ouro_tcp_listener *listener = listening(&options, &port);
    for (int i = 0; i < COUNT; i++)
        peers[i] = ouro_test_connect(AF_INET, port);
    int64_t begun_ns = ouro_test_now_ns();
    for (int i = 0; i < COUNT; i++)
        ck_assert_int_eq(ouro_tcp_listener_accept(listener, &streams[i], NULL), 0);
    ck_assert_int_ge(ouro_test_now_ns() - begun_ns, (COUNT - BURST) * (OURO_TEST_SECOND / RATE));
    for (int i = 0; i < COUNT; i++) {
        ck_assert_int_eq(ouro_stream_close(streams[i]), 0);
        (void)close(peers[i]);
    }
    ck_assert_int_eq(ouro_tcp_listener_close(listener), 0);
    return 0;
}

OURO_TEST(a_rate_limits_how_fast_connections_are_accepted)
{
    everywhere(accept_at_a_rate, NULL);
}

/* One connection in a second: the second accept waits for its turn, and ends like any wait. */
static int end_the_wait_for_the_rate(void *arg)
{
    struct ouro_tcp_listen_options options = OURO_TCP_LISTEN_OPTIONS_INIT;
    struct acceptor acceptor;
    struct ouro_stream *stream = NULL;
    uint16_t port = 0;
    (void)arg;
    options.accept_rate = 1;
    struct ouro_tcp_listener *listener = listening(&options, &port);
    int peers[2] = {ouro_test_connect(AF_INET, port), ouro_test_connect(AF_INET, port)};
    ck_assert_int_eq(ouro_tcp_listener_accept(listener, &stream, NULL), 0);
    ck_assert_int_eq(ouro_stream_close(stream), 0);
    ck_assert_int_eq(accept_within(listener, OURO_MILLISECOND, &stream), -ETIMEDOUT);
    start_acceptor(&acceptor, listener);
    ck_assert_int_eq(ouro_task_cancel(acceptor.task), 0);
    ck_assert_int_eq(join_acceptor(&acceptor), -ECANCELED);
    start_acceptor(&acceptor, listener);
    await_acceptors(listener, 1);
    ck_assert_int_eq(ouro_tcp_listener_close(listener), 0);
    ck_assert_int_eq(join_acceptor(&acceptor), -ECANCELED);
    (void)close(peers[0]);
    (void)close(peers[1]);
    return 0;
}

OURO_TEST(a_wait_for_the_rate_ends_like_any_other)
{
    everywhere(end_the_wait_for_the_rate, NULL);
}

enum { RESETS = 300 };

/* In the backlog they stand before a connection that is there to stay. */
static int accept_behind_resets(void *arg)
{
    uint16_t port = 0;
    struct ouro_tcp_listener *listener = listening(NULL, &port);
    struct ouro_tcp_listener_stats stats;
    struct ouro_stream *stream = NULL;
    struct ouro_socket_addr peer_addr;
    (void)arg;
    for (int i = 0; i < RESETS; i++)
        ouro_test_reset(ouro_test_connect(AF_INET, port));
    int peer = ouro_test_connect(AF_INET, port);
    ck_assert_int_eq(ouro_tcp_listener_accept(listener, &stream, &peer_addr), 0);
    ck_assert_uint_eq(ouro_socket_addr_port(&peer_addr), ouro_test_local_port(peer));
    ck_assert_int_eq(ouro_tcp_listener_stats(listener, &stats), 0);
    ck_assert_uint_eq(stats.failed, RESETS);
    ck_assert_uint_eq(stats.pauses, 0);
    ck_assert_int_eq(ouro_stream_close(stream), 0);
    ck_assert_int_eq(ouro_tcp_listener_close(listener), 0);
    (void)close(peer);
    return 0;
}

OURO_TEST(connections_that_were_reset_meanwhile_cause_no_pause)
{
    everywhere(accept_behind_resets, NULL);
}
