/* SPDX-License-Identifier: MIT */
/*
 * The end of a server: drain, grace time, signals, and what may interrupt them.
 */
#include "serve_rig.h"

#include <linux/sockios.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "base/compiler.h"
#include "base/fault.h"
#include "ouro/runtime.h"
#include "ouro/task.h"
#include "ouro/time.h"

/* To the process.  ThreadSanitizer holds a signal back until its thread calls libc, which a thread
 * that waits does not do; there the calling thread gets it. */
static int send_signal(int number)
{
#if OURO__TSAN
    return raise(number);
#else
    return kill(getpid(), number);
#endif
}

/* One request: four bytes in, the same four bytes out. */
static int one_request(struct ouro_stream *stream, const struct ouro_serve_peer *peer, void *arg)
{
    struct rig *rig = arg;
    char buffer[4];
    size_t got = 0;
    int rc = 0;
    (void)peer;
    rig->in_handler++;
    while (got < sizeof(buffer) && rc == 0) {
        ssize_t n = ouro_stream_read(stream, buffer + got, sizeof(buffer) - got);
        rc = n < 0 ? (int)n : n == 0 ? -EPROTO : 0;
        got += n > 0 ? (size_t)n : 0;
    }
    if (rc == 0)
        rc = ouro_stream_write_all(stream, buffer, sizeof(buffer), NULL);
    rig->result = rc;
    rig->in_handler--;
    rig->handled++;
    return rc;
}

enum { IN_FLIGHT = 8 };

static bool all_are_in_flight(void *arg)
{
    struct rig *rig = arg;
    return rig->in_handler == IN_FLIGHT;
}

/* Half of each request is there when the drain begins. */
static void client_in_flight(struct rig *rig)
{
    int fds[IN_FLIGHT];
    char back[4];
    for (int i = 0; i < IN_FLIGHT; i++) {
        fds[i] = rig_connect(rig);
        ouro_test_write_exactly(fds[i], "ab", 2);
    }
    RIG_AWAIT(all_are_in_flight, rig);
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
    RIG_AWAIT(rig_is_draining, rig);
    RIG_AWAIT(rig_refuses, rig);
    for (int i = 0; i < IN_FLIGHT; i++) {
        ouro_test_write_exactly(fds[i], "cd", 2);
        ouro_test_read_exactly(fds[i], back, 4);
        ck_assert_mem_eq(back, "abcd", 4);
        rig_await_end(fds[i]);
    }
}

static int drain_in_flight(void *arg)
{
    struct rig rig = {.handler = one_request, .client = client_in_flight};
    (void)arg;
    ck_assert_int_eq(rig_run(&rig), 0);
    ck_assert_uint_eq(rig.stats.closed, (unsigned)rig.handled);
    ck_assert_int_ge(rig.handled, IN_FLIGHT);
    return 0;
}

OURO_TEST(a_drain_finishes_what_is_in_flight_and_refuses_new_connections)
{
    everywhere(drain_in_flight, NULL);
}

/* Whether the peer's kernel has what was sent: then the connection is in the backlog for certain.
 */
static bool is_acknowledged(void *arg)
{
    int unsent = 1;
    ck_assert_int_eq(ioctl(*(const int *)arg, SIOCOUTQ, &unsent), 0);
    return unsent == 0;
}

/* Whoever is connected when the drain begins is served, also from the backlog. */
static void client_in_the_backlog(struct rig *rig)
{
    int fds[IN_FLIGHT];
    ck_assert_int_eq(ouro_server_is_draining(rig->server), 0);
    for (int i = 0; i < IN_FLIGHT; i++) {
        fds[i] = rig_connect(rig);
        ouro_test_write_exactly(fds[i], "abcd", 4);
        ck_assert(ouro_test_until(is_acknowledged, &fds[i], 10 * OURO_TEST_SECOND));
    }
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
    for (int i = 0; i < IN_FLIGHT; i++) {
        char back[4];
        ouro_test_read_exactly(fds[i], back, 4);
        rig_await_end(fds[i]);
    }
}

static int drain_the_backlog(void *arg)
{
    struct rig rig = {.handler = one_request, .client = client_in_the_backlog};
    (void)arg;
    ck_assert_int_eq(rig_run(&rig), 0);
    ck_assert_uint_eq(rig.stats.closed, IN_FLIGHT);
    ck_assert_uint_eq(rig.stats.failed, 0);
    return 0;
}

OURO_TEST(a_drain_serves_who_is_in_the_backlog)
{
    for (int i = 0; i < 5; i++)
        everywhere(drain_the_backlog, NULL);
}

static void client_that_stays(struct rig *rig)
{
    int fd = rig_connect(rig);
    rig_exchange(fd, "x");
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
    rig_await_end(fd);
}

static int cut_after_grace(void *arg)
{
    struct rig rig = {.handler = rig_echo, .client = client_that_stays};
    int64_t begin_ns = ouro_now_ns();
    (void)arg;
    rig.options.grace_ns = 30 * OURO_MILLISECOND;
    ck_assert_int_eq(rig_run(&rig), -ETIMEDOUT);
    ck_assert_int_ge(ouro_now_ns() - begin_ns, 30 * OURO_MILLISECOND);
    ck_assert_int_eq(rig.result, -ECANCELED);
    ck_assert_uint_eq(rig.stats.cancelled, 1);
    ck_assert_uint_eq(rig.stats.timed_out, 0);
    ck_assert_uint_eq(rig.stats.failed, 1);
    return 0;
}

OURO_TEST(the_grace_time_cuts_what_does_not_end)
{
    everywhere(cut_after_grace, NULL);
}

static int waits_for_ever(struct ouro_stream *stream, const struct ouro_serve_peer *peer, void *arg)
{
    struct rig *rig = arg;
    (void)stream;
    (void)peer;
    rig->in_handler++;
    int rc = 0;
    while (rc == 0)
        rc = ouro_sleep(OURO_SECOND);
    rig->result = rc;
    rig->in_handler--;
    return 0; /* a handler need not tell */
}

static void client_that_cancels(struct rig *rig)
{
    int fd = rig_connect(rig);
    RIG_AWAIT(rig_is_handling, rig);
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
    RIG_AWAIT(rig_is_draining, rig);
    ck_assert_int_eq(rig->in_handler, 1);
    ck_assert_int_eq(ouro_server_cancel(rig->server), 0);
    rig_await_end(fd);
}

static int cancel_a_handler(void *arg)
{
    struct rig rig = {.handler = waits_for_ever, .client = client_that_cancels};
    (void)arg;
    rig.options.grace_ns = OURO_SERVE_NO_TIMEOUT;
    ck_assert_int_eq(rig_run(&rig), -ECANCELED);
    ck_assert_int_eq(rig.result, -ECANCELED);
    ck_assert_uint_eq(rig.stats.cancelled, 1);
    ck_assert_uint_eq(rig.stats.failed, 0);
    return 0;
}

OURO_TEST(a_handler_that_never_returns_is_cancelled)
{
    everywhere(cancel_a_handler, NULL);
}

static void client_with_a_signal(struct rig *rig)
{
    int fd = rig_connect(rig);
    rig_exchange(fd, "x");
    ck_assert_int_eq(send_signal(*(int *)rig->data), 0);
    RIG_AWAIT(rig_is_draining, rig);
    RIG_AWAIT(rig_refuses, rig);
    rig_exchange(fd, "still served");
    (void)close(fd);
}

static int end_by_signal(void *arg)
{
    struct rig rig = {.handler = rig_echo, .client = client_with_a_signal, .data = arg};
    struct sigaction before, after;
    int number = *(int *)arg;
    ck_assert_int_eq(sigaction(number, NULL, &before), 0);
    if (number == SIGUSR2)
        rig.options.signals = OURO_SERVE_SIGNAL(SIGUSR2);
    ck_assert_int_eq(rig_run(&rig), number);
    ck_assert_uint_eq(rig.stats.cancelled, 0);
    ck_assert_int_eq(sigaction(number, NULL, &after), 0);
    ck_assert_ptr_eq(before.sa_handler, after.sa_handler);
    return 0;
}

OURO_TEST(a_signal_drains_the_server)
{
    int numbers[] = {SIGTERM, SIGINT, SIGUSR2};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        everywhere(end_by_signal, &numbers[i]);
}

static void client_with_two_signals(struct rig *rig)
{
    int fd = rig_connect(rig);
    rig_exchange(fd, "x");
    ck_assert_int_eq(send_signal(SIGTERM), 0);
    RIG_AWAIT(rig_is_draining, rig);
    rig_exchange(fd, "still served");
    ck_assert_int_eq(send_signal(SIGINT), 0);
    rig_await_end(fd);
}

static int end_by_two_signals(void *arg)
{
    struct rig rig = {.handler = rig_echo, .client = client_with_two_signals};
    (void)arg;
    rig.options.grace_ns = OURO_SERVE_NO_TIMEOUT;
    ck_assert_int_eq(rig_run(&rig), -ECANCELED);
    ck_assert_uint_eq(rig.stats.cancelled, 1);
    return 0;
}

OURO_TEST(a_second_signal_cuts_the_drain)
{
    everywhere(end_by_two_signals, NULL);
}

static void client_with_an_ignored_signal(struct rig *rig)
{
    int fd = rig_connect(rig);
    rig_exchange(fd, "x");
    ck_assert_int_eq(send_signal(SIGINT), 0);
    ck_assert_int_eq(send_signal(SIGINT), 0);
    rig_exchange(fd, "not noticed");
    ck_assert_int_eq(ouro_server_is_draining(rig->server), 0);
    (void)close(fd);
    ck_assert_int_eq(send_signal(SIGTERM), 0);
}

static int ignore_a_signal(void *arg)
{
    struct rig rig = {.handler = rig_echo, .client = client_with_an_ignored_signal};
    struct sigaction after;
    (void)arg;
    ck_assert_ptr_ne(signal(SIGINT, SIG_IGN), SIG_ERR);
    ck_assert_int_eq(rig_run(&rig), SIGTERM);
    ck_assert_int_eq(sigaction(SIGINT, NULL, &after), 0);
    ck_assert_ptr_eq(after.sa_handler, SIG_IGN);
    ck_assert_ptr_ne(signal(SIGINT, SIG_DFL), SIG_ERR);
    return 0;
}

OURO_TEST(a_signal_that_is_ignored_stays_ignored)
{
    everywhere(ignore_a_signal, NULL);
}

static void client_that_waits(struct rig *rig)
{
    RIG_AWAIT(rig_is_draining, rig);
}

static int watch_no_signals(void *arg)
{
    struct rig rig = {.handler = rig_echo, .client = client_that_waits};
    (void)arg;
    /* All, because an acceptor may come first.  It pauses, and the server goes on. */
    ouro__fault_arm(OURO__FAULT_ATTACH, 1, UINT64_MAX, -ENOSPC);
    ck_assert_int_eq(rig_run(&rig), -ENOSPC);
    ouro__fault_disarm_all();
    return 0;
}

OURO_TEST(a_server_that_cannot_watch_its_signals_ends)
{
    everywhere(watch_no_signals, NULL);
}

static void client_without_signals(struct rig *rig)
{
    const struct sigaction *before = rig->data;
    struct sigaction action;
    ck_assert_int_eq(sigaction(SIGTERM, NULL, &action), 0);
    ck_assert_ptr_eq(action.sa_handler, before->sa_handler);
    ck_assert_int_eq(ouro_server_stop(rig->server), 0);
}

static int handle_no_signals(void *arg)
{
    struct sigaction before;
    struct rig rig = {.handler = rig_echo, .client = client_without_signals, .data = &before};
    (void)arg;
    ck_assert_int_eq(sigaction(SIGTERM, NULL, &before), 0);
    rig.options.flags = OURO_SERVE_F_NO_SIGNALS;
    ck_assert_int_eq(rig_run(&rig), 0);
    return 0;
}

OURO_TEST(signals_can_be_left_alone)
{
    everywhere(handle_no_signals, NULL);
}

struct cancelled_runner {
    struct rig rig;
    struct ouro_task *task;
};

static void client_of_a_cancelled_runner(struct rig *rig)
{
    struct cancelled_runner *runner = rig->data;
    int fd = rig_connect(rig);
    rig_exchange(fd, "x");
    ck_assert_int_eq(ouro_task_cancel(runner->task), 0);
    rig_await_end(fd);
}

static int run_to_be_cancelled(void *arg)
{
    struct cancelled_runner *runner = arg;
    runner->task = ouro_task_current();
    return rig_run(&runner->rig);
}

static int cancel_the_runner(void *arg)
{
    struct cancelled_runner runner = {
        .rig = {.handler = rig_echo, .client = client_of_a_cancelled_runner}};
    struct ouro_task *task = NULL;
    int result = 0;
    (void)arg;
    runner.rig.data = &runner;
    ck_assert_int_eq(ouro_task_spawn(run_to_be_cancelled, &runner, &task), 0);
    ck_assert_int_eq(ouro_task_join(task, &result), 0);
    ck_assert_int_eq(result, -ECANCELED);
    ck_assert_uint_eq(runner.rig.stats.cancelled, 1);
    return 0;
}

OURO_TEST(an_interrupted_runner_ends_the_server_without_grace)
{
    everywhere(cancel_the_runner, NULL);
}

static int run_within_a_deadline(void *arg)
{
    struct ouro_deadline scope;
    struct rig rig = {.handler = rig_echo, .client = client_that_stays};
    (void)arg;
    rig.options.grace_ns = OURO_SERVE_NO_TIMEOUT;
    ck_assert_int_eq(ouro_deadline_begin(&scope, 100 * OURO_MILLISECOND * ouro_test_slowness()), 0);
    ck_assert_int_eq(rig_run(&rig), -ETIMEDOUT);
    ouro_deadline_end(&scope);
    return 0;
}

OURO_TEST(a_deadline_of_the_runner_ends_the_server)
{
    everywhere(run_within_a_deadline, NULL);
}

struct shut_down {
    struct rig rig;
    struct ouro_runtime *runtime;
    int result;
};

static int serve_until_shutdown(void *arg)
{
    struct shut_down *down = arg;
    down->result = ouro_server_run(down->rig.server);
    rig_close(&down->rig);
    return 0;
}

static int open_rig(void *arg)
{
    rig_open(arg);
    return 0;
}

OURO_TEST(a_shutdown_of_the_runtime_ends_the_server)
{
    struct shut_down down = {.rig = {.handler = rig_echo}};
    int fds[IN_FLIGHT];
    down.runtime = ouro_test_runtime_new(OURO_FLAVOUR_MULTI_THREAD);
    struct ouro_handle *handle = ouro_runtime_handle(down.runtime);
    ck_assert_int_eq(ouro_runtime_block_on(down.runtime, open_rig, &down.rig, NULL), 0);
    ck_assert_int_eq(ouro_task_spawn_with(handle, NULL, serve_until_shutdown, &down, NULL), 0);
    for (int i = 0; i < IN_FLIGHT; i++) {
        fds[i] = rig_connect(&down.rig);
        rig_exchange(fds[i], "x");
    }
    ck_assert_int_eq(ouro_runtime_shutdown(down.runtime, 5 * OURO_TEST_SECOND), 0);
    ck_assert_int_eq(down.result, -OURO_ESHUTDOWN);
    for (int i = 0; i < IN_FLIGHT; i++)
        rig_await_end(fds[i]);
    ouro_handle_unref(handle);
    ouro_runtime_free(down.runtime);
}

/* Servers under load. */
struct load {
    bool has_requests;    /* request mode, with some requests on each connection */
    _Atomic int answered; /* requests whose answer has come */
};

/* Makes requests on one connection; false when one was not answered. */
static bool make_requests(int fd, struct load *load)
{
    for (int i = load->has_requests ? 3 : 1; i > 0; i--) {
        char back[4];
        if (send(fd, "abcd", 4, MSG_NOSIGNAL) != 4 || recv(fd, back, 4, MSG_WAITALL) != 4)
            return false;
        ck_assert_mem_eq(back, "abcd", 4);
        load->answered++;
    }
    return true;
}

/* Comes and goes until it is refused, or not answered. */
static void *churn_client(void *arg)
{
    struct rig *rig = arg;
    bool answered = true;
    while (answered) {
        int fd = -1;
        answered = rig_try_to_connect(rig, &fd) == 0 && make_requests(fd, rig->data);
        (void)close(fd);
    }
    return NULL;
}

static int one_request_of_many(struct ouro_stream *stream, const struct ouro_serve_peer *peer,
                               void *arg)
{
    int rc = one_request(stream, peer, arg);
    return rc < 0 ? rc : OURO_SERVE_KEEP;
}

static bool many_are_handled(void *arg)
{
    struct rig *rig = arg;
    return rig->handled > 20;
}

static void client_under_load(struct rig *rig)
{
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, churn_client, rig), 0);
    RIG_AWAIT(many_are_handled, rig);
    ck_assert_int_eq(send_signal(SIGTERM), 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
}

/* It ends within the grace time, or ouro_server_run() would return -ETIMEDOUT. */
static void serve_and_drain(const char *addresses, bool has_requests)
{
    struct load load = {.has_requests = has_requests};
    struct rig rig = {.handler = has_requests ? one_request_of_many : one_request,
                      .client = client_under_load,
                      .data = &load};
    rig.options.addresses = addresses;
    rig.options.flags = has_requests ? OURO_SERVE_F_REQUESTS : 0;
    ck_assert_int_eq(rig_run(&rig), SIGTERM);
    ck_assert_uint_eq(rig.stats.cancelled, 0);
    ck_assert_uint_eq(rig.stats.timed_out, 0);
    ck_assert_uint_eq(rig.stats.failed, 0);
    ck_assert_int_eq(rig.handled, load.answered);
}

static int serve_under_load(void *arg)
{
    for (int i = 0; i < *(int *)arg; i++) {
        serve_and_drain("127.0.0.1:0", false);
        serve_and_drain("127.0.0.1:0", true);
    }
    return 0;
}

static int serve_unix_under_load(void *arg)
{
    char address[64];
    (void)snprintf(address, sizeof(address), "unix:@ouro-test-drain-%d", (int)getpid());
    for (int i = 0; i < *(int *)arg; i++) {
        serve_and_drain(address, false);
        serve_and_drain(address, true);
    }
    return 0;
}

OURO_TEST(two_hundred_servers_drain_under_load, .timeout_s = 240)
{
    int times = 200 / (int)ouro_test_slowness();
    in_place(IN_WORKER_TASK, serve_under_load, &times);
    times = 3;
    everywhere(serve_under_load, &times);
}

OURO_TEST(servers_of_unix_sockets_drain_under_load, .timeout_s = 120)
{
    int times = 20 / (int)ouro_test_slowness() + 1;
    in_place(IN_WORKER_TASK, serve_unix_under_load, &times);
    in_place(IN_TASK, serve_unix_under_load, &times);
}
