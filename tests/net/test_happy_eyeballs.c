/* SPDX-License-Identifier: MIT */
/*
 * The race of several addresses (RFC 8305): who starts when, who wins, what becomes of the others.
 * A dead address is a listener behind a filter that swallows every packet.
 */
#include "everywhere.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "ouro/error.h"
#include "ouro/tcp.h"
#include "ouro/time.h"
#include "support/leaks.h"
#include "support/sockets.h"
#include "support/unanswered.h"

enum { ADDRESSES_MAX = 6 };

/* Addresses of one kind or another, and what became of a connect to them. */
struct race {
    struct ouro_socket_addr addr[ADDRESSES_MAX];
    size_t count;
    int fd[ADDRESSES_MAX];
    struct ouro_tcp_connect_options options;
    struct ouro_connect_attempt attempt[ADDRESSES_MAX];
    size_t attempts;
    int64_t timeout_ns; /* 0: none */
    int64_t took_ns;
};

static void prepare(struct race *race, int64_t stagger_ns)
{
    *race = (struct race){.options = OURO_TCP_CONNECT_OPTIONS_INIT};
    race->options.stagger_ns = stagger_ns;
    race->options.attempts = race->attempt;
    race->options.attempts_max = ADDRESSES_MAX;
    race->options.attempts_count = &race->attempts;
}

static void add(struct race *race, int family, int fd, uint16_t port)
{
    char text[OURO_TEST_ADDRESS_SIZE];
    race->fd[race->count] = fd;
    ck_assert_int_eq(
        ouro_socket_addr_parse(ouro_test_address(family, port, text), &race->addr[race->count++]),
        0);
}

static void add_dead(struct race *race, int family)
{
    uint16_t port = 0;
    int fd = ouro_test_black_hole(family, 0, &port);
    add(race, family, fd, port);
}

static void add_refusing(struct race *race, int family)
{
    uint16_t port = 0;
    int fd = ouro_test_refusing(family, &port);
    add(race, family, fd, port);
}

static void add_listening(struct race *race, int family)
{
    uint16_t port = 0;
    int fd = ouro_test_listen(family, 1024, &port);
    add(race, family, fd, port);
}

static void release(struct race *race)
{
    for (size_t i = 0; i < race->count; i++)
        (void)close(race->fd[i]);
}

/* Connects; nothing but the stream may be left, which is closed again. */
static int run(struct race *race)
{
    struct ouro_stream *stream = NULL;
    struct ouro_deadline scope;
    unsigned before = ouro_test_open_descriptors();
    int64_t timeout_ns = race->timeout_ns > 0 ? race->timeout_ns : INT64_MAX;
    race->attempts = 0;
    int64_t begin_ns = ouro_now_ns();
    if (race->timeout_ns > 0)
        ck_assert_int_eq(ouro_deadline_begin(&scope, timeout_ns), 0);
    int rc = ouro_tcp_stream_connect_with(OURO_ADDR_LIST(race->addr, race->count), &race->options,
                                          &stream);
    if (race->timeout_ns > 0)
        ouro_deadline_end(&scope);
    race->took_ns = ouro_now_ns() - begin_ns;
    ck_assert_uint_eq(ouro_test_open_descriptors(), before + (rc == 0));
    ck_assert_int_eq(rc == 0, stream != NULL);
    ck_assert_int_eq(ouro_stream_close(stream), 0);
    return rc;
}

static void check_attempt(const struct race *race, size_t index, size_t addr, int error)
{
    ck_assert_uint_lt(index, race->attempts);
    ck_assert(ouro_socket_addr_equal(&race->attempt[index].addr, &race->addr[addr]));
    ck_assert_int_eq(race->attempt[index].error, error);
}

static int dead_first_family(void *arg)
{
    struct race *race = arg;
    int late = 0;
    do {
        ck_assert_int_eq(run(race), 0);
        ck_assert_uint_eq(race->attempts, 2);
        check_attempt(race, 0, 0, -ECANCELED);
        check_attempt(race, 1, 1, 0);
        ck_assert_int_ge(race->attempt[1].start_ns, race->options.stagger_ns);
        ck_assert_int_ge(race->took_ns, race->options.stagger_ns);
    } while (!is_in_time(race->took_ns, race->options.stagger_ns + 50 * OURO_TEST_MS, &late));
    return 0;
}

OURO_TEST(a_dead_first_family_costs_the_stagger, .serial = true)
{
    struct race race;
    ouro_test_need_family(AF_INET6);
    prepare(&race, 60 * OURO_TEST_MS);
    add_dead(&race, AF_INET6);
    add_listening(&race, AF_INET);
    everywhere(dead_first_family, &race);
    release(&race);
}

static int default_stagger(void *arg)
{
    struct race *race = arg;
    int late = 0;
    do {
        ck_assert_int_eq(run(race), 0);
        ck_assert_int_ge(race->took_ns, 250 * OURO_TEST_MS);
    } while (!is_in_time(race->took_ns, 300 * OURO_TEST_MS, &late));
    return 0;
}

OURO_TEST(the_stagger_is_250_ms_unless_told, .serial = true)
{
    struct race race;
    prepare(&race, 0);
    add_dead(&race, AF_INET);
    add_listening(&race, AF_INET);
    in_place(IN_TASK, default_stagger, &race);
    in_place(IN_THREAD, default_stagger, &race);
    release(&race);
}

static int interleaved(void *arg)
{
    struct race *race = arg;
    ck_assert_int_eq(run(race), 0);
    ck_assert_uint_eq(race->attempts, 5);
    /* v6 v6 v6 v4 v4 v4 are tried as v6 v4 v6 v4 v6 v4. */
    check_attempt(race, 0, 0, -ECONNREFUSED);
    check_attempt(race, 1, 3, -ECONNREFUSED);
    check_attempt(race, 2, 1, -ECONNREFUSED);
    check_attempt(race, 3, 4, -ECONNREFUSED);
    check_attempt(race, 4, 2, 0);
    ck_assert_int_lt(race->took_ns, 5 * OURO_TEST_SECOND); /* a failure starts the next at once */
    return 0;
}

OURO_TEST(families_are_interleaved_and_a_failure_starts_the_next)
{
    struct race race;
    ouro_test_need_family(AF_INET6);
    prepare(&race, 10 * OURO_TEST_SECOND);
    add_refusing(&race, AF_INET6);
    add_refusing(&race, AF_INET6);
    add_listening(&race, AF_INET6);
    add_refusing(&race, AF_INET);
    add_refusing(&race, AF_INET);
    add_listening(&race, AF_INET);
    everywhere(interleaved, &race);
    release(&race);
}

static int all_fail(void *arg)
{
    struct race *race = arg;
    ck_assert_int_eq(run(race), -ECONNREFUSED);
    ck_assert_uint_eq(race->attempts, 3);
    for (size_t i = 0; i < 3; i++)
        check_attempt(race, i, i, -ECONNREFUSED);
    return 0;
}

OURO_TEST(when_all_fail_each_has_its_error)
{
    struct race race;
    prepare(&race, 0);
    for (int i = 0; i < 3; i++)
        add_refusing(&race, AF_INET);
    everywhere(all_fail, &race);
    release(&race);
}

/* A Unix address in a TCP connect: the attempt fails before a packet leaves. */
static void add_unsupported(struct race *race)
{
    race->fd[race->count] = -1;
    ck_assert_int_eq(ouro_socket_addr_parse("unix:@nothing", &race->addr[race->count++]), 0);
}

static int closest_is_reported(void *arg)
{
    struct race *race = arg;
    int rc = run(race);
    ck_assert_msg(rc == -ECONNREFUSED, "%s", ouro_err_name(rc));
    ck_assert_uint_eq(race->attempts, 3);
    return 0;
}

/* The address that came closest is the first, the second or the last that fails. */
OURO_TEST(of_all_errors_the_closest_is_reported)
{
    const uint32_t flags[] = {0, OURO_CONNECT_F_SEQUENTIAL};
    for (int i = 0; i < 6; i++) {
        struct race race;
        prepare(&race, 10 * OURO_TEST_SECOND);
        race.options.flags = flags[i % 2];
        for (int position = 0; position < 3; position++) {
            if (position == i / 2)
                add_refusing(&race, AF_INET);
            else
                add_unsupported(&race);
        }
        everywhere(closest_is_reported, &race);
        release(&race);
    }
}

static int failure_beside_a_dead_one(void *arg)
{
    struct race *race = arg;
    int late = 0;
    do {
        ck_assert_int_eq(run(race), 0);
        ck_assert_uint_eq(race->attempts, 3);
        check_attempt(race, 0, 0, -ECANCELED);
        check_attempt(race, 1, 1, -ECONNREFUSED);
        check_attempt(race, 2, 2, 0);
    } while (!is_in_time(race->attempt[2].start_ns, 2 * race->options.stagger_ns, &late));
    return 0;
}

OURO_TEST(a_failure_starts_the_next_while_others_go_on, .serial = true)
{
    struct race race;
    prepare(&race, 100 * OURO_TEST_MS);
    add_dead(&race, AF_INET);
    add_refusing(&race, AF_INET);
    add_listening(&race, AF_INET);
    everywhere(failure_beside_a_dead_one, &race);
    release(&race);
}

static int in_the_order_given(void *arg)
{
    struct race *race = arg;
    ck_assert_int_eq(run(race), 0);
    ck_assert_uint_eq(race->attempts, 3);
    for (size_t i = 0; i < 3; i++)
        check_attempt(race, i, i, i < 2 ? -ECONNREFUSED : 0);
    return 0;
}

OURO_TEST(sequential_is_in_the_order_given)
{
    struct race race;
    ouro_test_need_family(AF_INET6);
    prepare(&race, 0);
    race.options.flags = OURO_CONNECT_F_SEQUENTIAL;
    add_refusing(&race, AF_INET6);
    add_refusing(&race, AF_INET6);
    add_listening(&race, AF_INET);
    everywhere(in_the_order_given, &race);
    release(&race);
}

static int sequential_until_deadline(void *arg)
{
    struct race *race = arg;
    ck_assert_int_eq(run(race), -ETIMEDOUT);
    ck_assert_uint_eq(race->attempts, 1); /* past it no other is begun */
    check_attempt(race, 0, 0, -ETIMEDOUT);
    return 0;
}

OURO_TEST(sequential_ends_at_the_deadline)
{
    struct race race;
    prepare(&race, 0);
    race.options.flags = OURO_CONNECT_F_SEQUENTIAL;
    race.timeout_ns = 30 * OURO_TEST_MS;
    add_dead(&race, AF_INET);
    add_listening(&race, AF_INET);
    everywhere(sequential_until_deadline, &race);
    release(&race);
}

static int time_out(void *arg)
{
    struct race *race = arg;
    int late = 0;
    do {
        ck_assert_int_eq(run(race), -ETIMEDOUT);
        ck_assert_int_ge(race->took_ns, race->timeout_ns);
        ck_assert_uint_eq(race->attempts, 3);
        check_attempt(race, 0, 0, -ETIMEDOUT);
        check_attempt(race, 1, 1, -ECONNREFUSED);
        check_attempt(race, 2, 2, -ETIMEDOUT);
    } while (!is_in_time(race->took_ns, race->timeout_ns + 50 * OURO_TEST_MS, &late));
    return 0;
}

OURO_TEST(the_deadline_ends_all_attempts, .serial = true)
{
    struct race race;
    prepare(&race, 20 * OURO_TEST_MS);
    /* All have begun by then, also on a busy machine. */
    race.timeout_ns = 150 * OURO_TEST_MS * ouro_test_slowness();
    add_dead(&race, AF_INET);
    add_refusing(&race, AF_INET);
    add_dead(&race, AF_INET);
    everywhere(time_out, &race);
    release(&race);
}

static int run_as_task(void *arg)
{
    return run(arg);
}

/* The racing task is cancelled when its first attempt, or its second, is under way. */
static int cancel_soon(void *arg)
{
    struct race *race = arg;
    for (int64_t delay_ns = 0; delay_ns < 12 * OURO_TEST_MS; delay_ns += 2 * OURO_TEST_MS) {
        struct ouro_task *task = NULL;
        int result = 0;
        ck_assert_int_eq(ouro_task_spawn(run_as_task, race, &task), 0);
        ck_assert_int_eq(ouro_sleep(delay_ns), 0);
        ck_assert_int_eq(ouro_task_cancel(task), 0);
        ck_assert_int_eq(ouro_task_join(task, &result), 0);
        ck_assert_int_eq(result, -ECANCELED);
        for (size_t i = 0; i < race->attempts; i++)
            check_attempt(race, i, i, -ECANCELED);
    }
    return 0;
}

OURO_TEST(cancelling_the_caller_cancels_all)
{
    struct race race;
    prepare(&race, 5 * OURO_TEST_MS);
    add_dead(&race, AF_INET);
    add_dead(&race, AF_INET);
    add_dead(&race, AF_INET);
    everywhere(cancel_soon, &race);
    release(&race);
}

static int without_time(void *arg)
{
    struct race *race = arg;
    ck_assert_int_eq(run(race), 0);
    ck_assert_uint_eq(race->attempts, 2);
    check_attempt(race, 0, 0, -ECONNREFUSED);
    check_attempt(race, 1, 1, 0);
    return 0;
}

OURO_TEST(a_runtime_without_time_goes_on_after_failures)
{
    struct race race;
    prepare(&race, 0);
    add_refusing(&race, AF_INET);
    add_listening(&race, AF_INET);
    for (int place = 0; place < PLACES; place++) {
        struct ouro_runtime *runtime = open_place((enum place)place, OURO_RUNTIME_F_NO_TIME);
        run_in_place((enum place)place, runtime, without_time, &race);
        ouro_runtime_free(runtime);
    }
    release(&race);
}

/* No stack for a racer: the caller makes the attempts itself. */
static int without_stacks(void *arg)
{
    struct race *race = arg;
    ouro__fault_arm(OURO__FAULT_STACK, 1, UINT64_MAX, -ENOMEM);
    ck_assert_int_eq(run(race), 0);
    ck_assert_uint_gt(ouro__fault_fired(OURO__FAULT_STACK), 0);
    ouro__fault_disarm_all();
    ck_assert_uint_eq(race->attempts, 2);
    check_attempt(race, 0, 0, -ECONNREFUSED);
    check_attempt(race, 1, 1, 0);
    return 0;
}

OURO_TEST(without_memory_for_tasks_the_race_is_a_walk)
{
    struct race race;
    prepare(&race, 0);
    add_refusing(&race, AF_INET);
    add_listening(&race, AF_INET);
    in_place(IN_TASK, without_stacks, &race);
    in_place(IN_OWN_THREAD, without_stacks, &race);
    in_place(IN_WORKER_TASK, without_stacks, &race);
    release(&race);
}

/* No stack for the second racer at first, while the first attempt is under way. */
static int without_a_second_stack(void *arg)
{
    struct race *race = arg;
    ouro__fault_arm(OURO__FAULT_STACK, 2, 1, -ENOMEM);
    ck_assert_int_eq(run(race), 0);
    ck_assert_uint_eq(ouro__fault_fired(OURO__FAULT_STACK), 1);
    ouro__fault_disarm_all();
    ck_assert_uint_eq(race->attempts, 2);
    check_attempt(race, 0, 0, -ECANCELED);
    check_attempt(race, 1, 1, 0);
    ck_assert_int_ge(race->attempt[1].start_ns, 2 * race->options.stagger_ns);
    return 0;
}

OURO_TEST(a_task_that_cannot_be_made_is_made_later)
{
    struct race race;
    prepare(&race, 10 * OURO_TEST_MS);
    add_dead(&race, AF_INET);
    add_listening(&race, AF_INET);
    in_place(IN_TASK, without_a_second_stack, &race);
    in_place(IN_WORKER_TASK, without_a_second_stack, &race);
    release(&race);
}

/* Each allocation in turn fails: the call fails as a whole, or succeeds, and leaves nothing. */
static int without_memory(void *arg)
{
    struct race *race = arg;
    int rc = -1;
    ck_assert_int_eq(run(race), 0); /* what is made once is there */
    for (uint64_t nth = 1; rc != 0; nth++) {
        int64_t before = ouro__alloc_live_blocks();
        ck_assert_uint_lt(nth, 20);
        ouro__alloc_fail_at(nth);
        rc = run(race);
        ouro__alloc_fail_at(0);
        ck_assert_msg(rc == 0 || rc == -ENOMEM || rc == -ECONNREFUSED, "%d", rc);
        ck_assert_int_eq(ouro__alloc_live_blocks(), before);
    }
    return 0;
}

OURO_TEST(without_memory_nothing_is_left)
{
    struct race race;
    prepare(&race, 0);
    add_refusing(&race, AF_INET);
    add_listening(&race, AF_INET);
    in_place(IN_TASK, without_memory, &race);
    release(&race);
}

static void check_ended(int listener, bool has_won)
{
    char byte = 0;
    int fd = ouro_test_accept(listener);
    short events = ouro_test_poll(fd, POLLIN, has_won ? 0 : OURO_TEST_SECOND);
    ck_assert_int_eq(events != 0, !has_won);
    if (!has_won)
        ck_assert_int_le(recv(fd, &byte, 1, 0), 0);
    (void)close(fd);
}

struct finish {
    struct race race;
    struct ouro_stream *stream;
};

static int connect_both(void *arg)
{
    struct finish *finish = arg;
    return ouro_tcp_stream_connect_with(OURO_ADDR_LIST(finish->race.addr, 2), &finish->race.options,
                                        &finish->stream);
}

/*
 * Both attempts wait for room in a backlog.  It is made while this task keeps the worker from its
 * driver, until both connections stand: the driver then gets both completions in one turn.
 */
static int photo_finish(void *arg)
{
    struct finish *finish = arg;
    struct ouro_test_full_backlog full[2];
    struct ouro_task *task = NULL;
    int result = -1;
    prepare(&finish->race, 1);
    for (int i = 0; i < 2; i++) {
        ouro_test_full_backlog_open(&full[i], AF_INET);
        add(&finish->race, AF_INET, -1, full[i].port);
    }
    unsigned before = ouro_test_open_descriptors();
    ck_assert_int_eq(ouro_task_spawn(connect_both, finish, &task), 0);
    while (ouro_test_open_descriptors() < before + 2) /* until both have their sockets */
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
    for (int i = 0; i < 2; i++)
        ouro_test_full_backlog_relieve(&full[i]);
    for (int i = 0; i < 2; i++)
        ck_assert(ouro_test_poll(full[i].listener, POLLIN, 10 * OURO_TEST_SECOND) != 0);
    ck_assert_int_eq(ouro_task_join(task, &result), 0);
    ck_assert_int_eq(result, 0);
    ck_assert_uint_eq(finish->race.attempts, 2);
    const struct ouro_connect_attempt *attempt = finish->race.attempt;
    ck_assert_int_eq(attempt[0].error + attempt[1].error, -ECANCELED);
    for (int i = 0; i < 2; i++) {
        check_ended(full[i].listener, attempt[i].error == 0);
        ouro_test_full_backlog_close(&full[i]);
    }
    ck_assert_int_eq(ouro_stream_close(finish->stream), 0);
    return 0;
}

OURO_TEST(one_stream_comes_out_of_a_photo_finish)
{
    struct finish finish;
    in_place(IN_TASK, photo_finish, &finish);
}
