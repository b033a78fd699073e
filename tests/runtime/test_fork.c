/* SPDX-License-Identifier: MIT */
/*
 * Fork without exec: a child that comes back into the library ends there, and every call on what
 * the parent made is refused in a child.
 *
 * Owns:    nothing.
 * Threads: the test's and the runtime's.
 * Always:  what children do is counted in memory that they share with the parent.
 */
#include "support/child.h"
#include "support/ouro_test.h"
#include "support/runtime.h"
#include "support/sockets.h"

#include "base/compiler.h"
#include "base/fork.h"
#include "fiber/stack_tools.h"

#include <errno.h>
#include <ouro.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MESSAGES = 40 };

/* Where the child is made. */
enum place { IN_TASK, IN_FAILING_TASK, IN_BLOCKING_CALL, IN_WAKER, IN_TRACE, PLACES };

struct shared {
    atomic_int read_by_parent;
    atomic_int ticks; /* of a timer task */
    atomic_int ran_in_child;
    atomic_int child; /* its process id, written by the parent's side of fork() */
};

static struct shared *shared;
static pid_t parent;
static enum place place;
static int data[2]; /* the parent's stream, and its peer */

static void share(void)
{
    void *memory =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(memory, MAP_FAILED);
    shared = memory;
    parent = getpid();
}

static void unshare_memory(void)
{
    ck_assert_int_eq(munmap(shared, sizeof(*shared)), 0);
}

/* The parent's side notes the child; both go on. */
static void fork_here(void)
{
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid > 0)
        atomic_store(&shared->child, pid);
}

static void note_where(void)
{
    if (getpid() != parent)
        (void)atomic_fetch_add(&shared->ran_in_child, 1);
}

static int read_messages(void *arg)
{
    struct ouro_stream *stream = arg;
    char byte = 0;
    ssize_t got = 0;
    while ((got = ouro_stream_read(stream, &byte, 1)) == 1) {
        note_where();
        (void)atomic_fetch_add(&shared->read_by_parent, 1);
    }
    note_where();
    return (int)got;
}

static int tick(void *arg)
{
    (void)arg;
    while (ouro_sleep(OURO_MILLISECOND) == 0) {
        note_where();
        (void)atomic_fetch_add(&shared->ticks, 1);
    }
    note_where();
    return 0;
}

static int fork_in_call(void *arg)
{
    (void)arg;
    fork_here();
    return 7;
}

static void *clone_nothing(void *arg)
{
    return arg;
}

static void fork_in_wake(void *arg)
{
    (void)arg;
    if (atomic_load(&shared->child) == 0)
        fork_here();
}

static void note_wake(void *arg)
{
    (void)arg;
    note_where();
}

static void drop_nothing(void *arg)
{
    (void)arg;
}

static const struct ouro_waker_vtable forking = {clone_nothing, fork_in_wake, drop_nothing};
static const struct ouro_waker_vtable noting = {clone_nothing, note_wake, drop_nothing};

static bool has_child(void *arg)
{
    (void)arg;
    return atomic_load(&shared->child) != 0;
}

static void await_child(void)
{
    while (!has_child(NULL))
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
}

/* A waker of the program's, in the driver's turn; another one is due in the same turn. */
static void fork_by_waker(void)
{
    struct ouro_poll_evented *io = NULL;
    struct ouro_ready_event event;
    struct ouro_waker reader = {&forking, NULL};
    struct ouro_waker writer = {&noting, NULL};
    int pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    char filler[4096] = {0};
    while (write(pair[0], filler, sizeof(filler)) > 0)
        continue;
    ck_assert_int_eq(ouro_poll_evented_new(pair[0], OURO_READABLE | OURO_WRITABLE, &io), 0);
    int rc = ouro_poll_evented_poll_ready(io, OURO_WRITABLE, &writer, &event);
    if (rc == OURO_POLL_READY) { /* epoll reports the state of before it was full */
        ouro_poll_evented_clear(io, &event);
        rc = ouro_poll_evented_poll_ready(io, OURO_WRITABLE, &writer, &event);
    }
    ck_assert_int_eq(rc, OURO_POLL_PENDING);
    ck_assert_int_eq(ouro_poll_evented_poll_ready(io, OURO_READABLE, &reader, &event),
                     OURO_POLL_PENDING);
    close(pair[1]); /* readable and writable at once */
    await_child();
    ouro_poll_evented_free(io);
    close(pair[0]);
}

static _Atomic bool trace_forks;

static void fork_in_trace(void *arg, const struct ouro_trace_event *event)
{
    (void)arg;
    (void)event;
    note_where();
    if (atomic_exchange(&trace_forks, false))
        fork_here();
}

static int fork_at_place(void *arg)
{
    (void)arg;
    ck_assert_int_eq(ouro_sleep(2 * OURO_MILLISECOND), 0);
    switch (place) {
    case IN_BLOCKING_CALL:
        ck_assert_int_eq(ouro_blocking(fork_in_call, NULL, NULL), 0);
        break;
    case IN_WAKER:
        fork_by_waker();
        break;
    case IN_TRACE:
        atomic_store(&trace_forks, true);
        await_child(); /* messages arrive and are traced */
        break;
    default:
        fork_here();
        break;
    }
    if (place != IN_TASK && place != IN_FAILING_TASK)
        note_where();
    return place == IN_FAILING_TASK ? -EIO : 0;
}

static int expected_status(void)
{
    return place == IN_FAILING_TASK || place == IN_BLOCKING_CALL ? 1 : 0;
}

/* Every message reaches the parent, whatever the child does. */
static int run_with_child(void *arg)
{
    struct ouro_task *reading = NULL;
    struct ouro_task *ticking = NULL;
    struct ouro_task *forker = NULL;
    struct ouro_stream *stream = NULL;
    int status = -1;
    (void)arg;
    ck_assert_int_eq(ouro_stream_from_fd(data[0], &stream), 0);
    ck_assert_int_eq(ouro_task_spawn(read_messages, stream, &reading), 0);
    ck_assert_int_eq(ouro_task_spawn(tick, NULL, &ticking), 0);
    ck_assert_int_eq(ouro_task_spawn(fork_at_place, NULL, &forker), 0);
    for (int i = 0; i < MESSAGES; i++) {
        ck_assert_int_eq(write(data[1], "x", 1), 1);
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
        note_where();
    }
    close(data[1]);
    ck_assert_int_eq(ouro_task_join(reading, NULL), 0);
    note_where();
    int result = 0;
    ck_assert_int_eq(ouro_task_join(forker, &result), 0);
    ck_assert_int_eq(result, place == IN_FAILING_TASK ? -EIO : 0);
    pid_t pid = atomic_load(&shared->child);
    ck_assert_int_gt(pid, 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == expected_status(),
                  "place %d: the child ended with status 0x%x", (int)place, (unsigned)status);
    ck_assert_int_eq(ouro_task_cancel(ticking), 0);
    ck_assert_int_eq(ouro_task_join(ticking, NULL), 0);
    return ouro_stream_close(stream);
}

static void child_at_each_place(enum ouro_flavour flavour)
{
    for (place = IN_TASK; place < PLACES; place++) {
        struct ouro_runtime_config config = ouro_test_config(flavour);
        int result = -1;
        if (place == IN_TRACE)
            config.trace = fork_in_trace;
        share();
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, data), 0);
        struct ouro_runtime *runtime = ouro_test_runtime_with(&config);
        ck_assert_int_eq(ouro_runtime_block_on(runtime, run_with_child, NULL, &result), 0);
        ck_assert_int_eq(result, 0);
        ck_assert_int_eq(atomic_load(&shared->read_by_parent), MESSAGES);
        ck_assert_msg(atomic_load(&shared->ran_in_child) == 0,
                      "place %d: the parent's tasks ran %d times in the child", (int)place,
                      atomic_load(&shared->ran_in_child));
        ck_assert_int_gt(atomic_load(&shared->ticks), 0);
        ouro_runtime_free(runtime);
        unshare_memory();
    }
}

static void skip_under_valgrind(void)
{
    if (ouro__stack_on_valgrind())
        ouro_test_skip("Valgrind believes that the child has the parent's ring mappings");
}

OURO_TEST(a_child_that_comes_back_runs_nothing_of_the_parents)
{
    skip_under_valgrind();
    child_at_each_place(OURO_FLAVOUR_CURRENT_THREAD);
    child_at_each_place(OURO_FLAVOUR_MULTI_THREAD);
}

/* What the parent has when it forks. */
struct belongings {
    struct ouro_runtime *runtime;
    struct ouro_handle *handle;
    struct ouro_task *sleeper;
    struct ouro_poll_evented *io;
    struct ouro_stream *stream;
    struct ouro_stream *tcp;
    struct ouro_waker waker; /* of a context in another task */
    _Atomic bool has_waker;
    int event_fd;
};

static int sleep_long(void *arg)
{
    (void)arg;
    return ouro_sleep(100 * OURO_SECOND);
}

static int never(void *arg)
{
    (void)arg;
    return 0;
}

static enum ouro_poll pending(void *arg, const struct ouro_waker *waker)
{
    (void)arg;
    (void)waker;
    return OURO_POLL_PENDING;
}

static ssize_t io_function(int fd, void *arg)
{
    (void)fd;
    (void)arg;
    return 1;
}

static void calls_on_tasks(const struct belongings *ours)
{
    struct ouro_task *task = NULL;
    struct ouro_group group;
    int result = 0;
    ck_assert_int_eq(ouro_task_spawn(never, NULL, &task), -OURO_EFORKED);
    ck_assert_int_eq(ouro_task_spawn_with(ours->handle, NULL, never, NULL, &task), -OURO_EFORKED);
    ck_assert_int_eq(ouro_task_join(ours->sleeper, &result), -OURO_EFORKED);
    ck_assert_int_eq(ouro_task_cancel(ours->sleeper), -OURO_EFORKED);
    ck_assert_int_eq(ouro_group_begin(&group, 0), -OURO_EFORKED);
    ck_assert_int_eq(ouro_task_spawn_here(never, NULL, &task), -OURO_EFORKED);
    struct ouro_waker waker = {&noting, NULL};
    ck_assert_int_eq(ouro_task_poll_join(ours->sleeper, &waker, &result), -OURO_EFORKED);
    struct ouro_shield shield;
    ck_assert_int_eq(ouro_shield_begin(&shield), -OURO_EFORKED);
    ouro_shield_end(&shield);
    ouro_task_detach(ours->sleeper);
    ck_assert_int_eq(ouro_yield(), -OURO_EFORKED);
    ck_assert_int_eq(ouro_sleep(1), -OURO_EFORKED);
    ck_assert_int_eq(ouro_blocking(never, NULL, &result), -OURO_EFORKED);
    ck_assert_int_eq(ouro_poll_fn(pending, NULL), -OURO_EFORKED);
    struct ouro_deadline scope;
    ck_assert_int_eq(ouro_deadline_begin(&scope, OURO_SECOND), -OURO_EFORKED);
}

static void calls_on_descriptors(const struct belongings *ours)
{
    struct ouro_ready_event event;
    struct ouro_poll_evented *io = NULL;
    struct ouro_stream *stream = NULL;
    struct ouro_waker waker = {&noting, NULL};
    char byte = 0;
    ck_assert_int_eq(ouro_poll_evented_new(ours->event_fd, OURO_READABLE, &io), -OURO_EFORKED);
    ck_assert_int_eq(ouro_poll_evented_ready(ours->io, OURO_READABLE, &event), -OURO_EFORKED);
    ck_assert_int_eq(ouro_poll_evented_poll_ready(ours->io, OURO_READABLE, &waker, &event),
                     -OURO_EFORKED);
    ck_assert_int_eq(ouro_poll_evented_io(ours->io, OURO_READABLE, io_function, NULL),
                     -OURO_EFORKED);
    ck_assert_int_eq(ouro_stream_read(ours->stream, &byte, 1), -OURO_EFORKED);
    ck_assert_int_eq(ouro_stream_write(ours->stream, &byte, 1), -OURO_EFORKED);
    ck_assert_int_eq(ouro_tcp_stream_connect(OURO_ADDRS("127.0.0.1:1"), &stream), -OURO_EFORKED);
    ck_assert_int_eq(ouro_connect("127.0.0.1:1", OURO_SECOND, &stream), -OURO_EFORKED);
    struct ouro_stream *other = NULL;
    ck_assert_int_eq(ouro_pipe(&stream, &other), -OURO_EFORKED);
    struct ouro_tcp_listener *listener = NULL;
    ck_assert_int_eq(ouro_tcp_listener_bind(OURO_ADDRS("127.0.0.1:0"), NULL, &listener),
                     -OURO_EFORKED);
    ck_assert_int_eq(ouro_stream_write_all(ours->stream, &byte, 1, NULL), -OURO_EFORKED);
    ck_assert_int_eq(ouro_stream_peek(ours->stream, &byte, 1), -OURO_EFORKED);
    ck_assert_int_eq(ouro_stream_into_fd(ours->stream), -OURO_EFORKED);
    ck_assert_int_eq(ouro_tcp_stream_set_nodelay(ours->tcp, 1), -OURO_EFORKED);
    ck_assert_int_eq(ouro_tcp_stream_set_cork(ours->tcp, 1), -OURO_EFORKED);
    ck_assert_int_eq(ouro_stream_send_file(ours->stream, 0, 0, 1, NULL), -OURO_EFORKED);
    ck_assert_int_eq(ouro_relay(ours->stream, ours->tcp, NULL, NULL), -OURO_EFORKED);
    ck_assert_int_eq(ouro_stream_writev_all(ours->stream, NULL, 0, NULL), -OURO_EFORKED);
    ck_assert_int_eq(ouro_stream_shutdown(ours->tcp, OURO_SHUTDOWN_WRITE), -OURO_EFORKED);
    ck_assert_int_eq(ouro_stream_shutdown(ours->stream, OURO_SHUTDOWN_BOTH), -OURO_EFORKED);
    ck_assert_int_eq(ouro_stream_close(ours->stream), -OURO_EFORKED);
    ouro_poll_evented_free(ours->io);
}

static void calls_on_the_runtime(const struct belongings *ours)
{
    struct ouro_io_driver_metrics metrics;
    int result = 0;
    ck_assert_int_eq(ouro_handle_metrics(ours->handle, &metrics), -OURO_EFORKED);
    struct ouro_busy_poll_metrics looks = OURO_BUSY_POLL_METRICS_INIT;
    ck_assert_int_eq(ouro_handle_busy_poll_metrics(ours->handle, &looks), -OURO_EFORKED);
    struct ouro_zero_copy_metrics sends = OURO_ZERO_COPY_METRICS_INIT;
    ck_assert_int_eq(ouro_handle_zero_copy_metrics(ours->handle, &sends), -OURO_EFORKED);
    ck_assert_int_eq(ouro_enter(ours->handle), -OURO_EFORKED);
    ck_assert_int_eq(ouro_runtime_block_on(ours->runtime, never, NULL, &result), -OURO_EFORKED);
    ck_assert_int_eq(ouro_runtime_shutdown(ours->runtime, 0), -OURO_EFORKED);
    ouro_waker_wake(&ours->waker);
    for (int i = 0; i < 10; i++) /* however often: what is shared is not released */
        ouro_handle_unref(ours->handle);
    ouro_leave();
    ouro_runtime_free(ours->runtime);
    ck_assert_int_eq(ouro_run(never, NULL), 0); /* one of its own works */
}

static int calls_in_child(void *arg)
{
    const struct belongings *ours = arg;
    calls_on_tasks(ours);
    calls_on_descriptors(ours);
    calls_on_the_runtime(ours);
    return 0;
}

struct waiting {
    struct belongings *ours;
    int polls;
    bool let_go;
};

static enum ouro_poll take_waker(void *arg, const struct ouro_waker *waker)
{
    struct waiting *waiting = arg;
    if (waiting->polls++ == 0) {
        waiting->ours->waker = ouro_waker_clone(waker);
        atomic_store(&waiting->ours->has_waker, true);
    }
    return waiting->let_go ? OURO_POLL_READY : OURO_POLL_PENDING;
}

static int wait_for_waker(void *arg)
{
    return ouro_poll_fn(take_waker, arg);
}

static int fork_with_belongings(void *arg)
{
    struct belongings *ours = arg;
    struct waiting waiting = {.ours = ours};
    struct ouro_ready_event event;
    struct ouro_task *waiter = NULL;
    int pair[2];
    int result = 0;
    ours->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ck_assert_int_ge(ours->event_fd, 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    ck_assert_int_eq(ouro_stream_from_fd(pair[0], &ours->stream), 0);
    ck_assert_int_eq(ouro_poll_evented_new(ours->event_fd, OURO_READABLE, &ours->io), 0);
    ck_assert_int_eq(ouro_task_spawn(sleep_long, NULL, &ours->sleeper), 0);
    ck_assert_int_eq(ouro_task_spawn(wait_for_waker, &waiting, &waiter), 0);
    while (!atomic_load(&ours->has_waker))
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);

    uint16_t port = 0;
    char address[OURO_TEST_ADDRESS_SIZE];
    int listening = ouro_test_listen(AF_INET, 4, &port);
    ouro_test_address(AF_INET, port, address);
    ck_assert_int_eq(ouro_tcp_stream_connect(OURO_ADDRS(address), &ours->tcp), 0);

    ouro_test_child_must_pass(calls_in_child, ours);

    /* Nothing of it has reached the parent. */
    ck_assert_int_eq(eventfd_write(ours->event_fd, 1), 0);
    ck_assert_int_eq(ouro_poll_evented_ready(ours->io, OURO_READABLE, &event), 0);
    ck_assert_int_eq(write(pair[1], "x", 1), 1);
    char byte = 0;
    ck_assert_int_eq(ouro_stream_read(ours->stream, &byte, 1), 1);
    ck_assert_int_eq(waiting.polls, 1);
    waiting.let_go = true;
    ouro_waker_wake(&ours->waker);
    ck_assert_int_eq(ouro_task_join(waiter, &result), 0);
    ck_assert_int_eq(result, 0);
    ck_assert_int_eq(ouro_task_cancel(ours->sleeper), 0);
    ck_assert_int_eq(ouro_task_join(ours->sleeper, &result), 0);
    ck_assert_int_eq(result, -ECANCELED);
    ouro_waker_drop(&ours->waker);
    ck_assert_int_eq(ouro_stream_close(ours->tcp), 0);
    close(listening);
    ouro_poll_evented_free(ours->io);
    close(ours->event_fd);
    close(pair[1]);
    return ouro_stream_close(ours->stream);
}

static void with_runtime(enum ouro_flavour flavour, bool in_task)
{
    struct belongings ours = {.runtime = ouro_test_runtime_new(flavour)};
    int result = -1;
    ours.handle = ouro_runtime_handle(ours.runtime);
    if (in_task) {
        ck_assert_int_eq(ouro_runtime_block_on(ours.runtime, fork_with_belongings, &ours, &result),
                         0);
    } else {
        ck_assert_int_eq(ouro_enter(ours.handle), 0);
        result = fork_with_belongings(&ours);
        ouro_leave();
    }
    ck_assert_int_eq(result, 0);
    ouro_handle_unref(ours.handle);
    ouro_runtime_free(ours.runtime);
}

OURO_TEST(every_call_in_a_child_is_refused)
{
    skip_under_valgrind();
    for (int in_task = 0; in_task < 2; in_task++) {
        with_runtime(OURO_FLAVOUR_CURRENT_THREAD, in_task);
        with_runtime(OURO_FLAVOUR_MULTI_THREAD, in_task);
    }
}

/* The child stays in the program's own code, and gets the error. */
static enum ouro_poll fork_in_poll(void *arg, const struct ouro_waker *waker)
{
    (void)waker;
    *(pid_t *)arg = fork();
    return *(pid_t *)arg == 0 ? OURO_POLL_PENDING : OURO_POLL_READY;
}

static ssize_t fork_in_io(int fd, void *arg)
{
    (void)fd;
    *(pid_t *)arg = fork();
    return *(pid_t *)arg == 0 ? -EAGAIN : 3;
}

static void await_exit(pid_t pid)
{
    int status = -1;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}

static int fork_in_callbacks(void *arg)
{
    struct ouro_poll_evented *io = NULL;
    pid_t pid = 0;
    (void)arg;
    int rc = ouro_poll_fn(fork_in_poll, &pid);
    if (pid == 0)
        ouro__fork_end(rc == -OURO_EFORKED ? 0 : 2);
    ck_assert_int_eq(rc, 0);
    await_exit(pid);
    int event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ck_assert_int_eq(ouro_poll_evented_new(event_fd, OURO_READABLE, &io), 0);
    ssize_t result = ouro_poll_evented_io(io, OURO_READABLE, fork_in_io, &pid);
    if (pid == 0)
        ouro__fork_end(result == -OURO_EFORKED ? 0 : 3);
    ck_assert_int_eq(result, 3);
    await_exit(pid);
    ouro_poll_evented_free(io);
    close(event_fd);
    return 0;
}

OURO_TEST(a_child_made_in_a_poll_function_gets_an_error)
{
    skip_under_valgrind();
    ouro_test_everywhere(fork_in_callbacks, NULL);
}
