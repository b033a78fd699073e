/* SPDX-License-Identifier: MIT */
/*
 * Loans that outlive what they came from: the call, the stream, the runtime; releases from
 * elsewhere, twice, and in a forked child.
 */
#include "stream/loans.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include <poll.h>

#include "support/child.h"

static struct ouro_loan read_text(struct ouro_stream *stream, int peer, const char *text)
{
    struct ouro_loan loan;
    put_text(peer, text);
    ck_assert_int_eq(ouro_stream_read_loan(stream, &loan), (ssize_t)strlen(text));
    return loan;
}

static void check_text(const struct ouro_loan *loan, const char *text)
{
    ck_assert_uint_eq(loan->size, strlen(text));
    ck_assert_int_eq(memcmp(loan->data, text, loan->size), 0);
}

static int close_before_release(void *arg)
{
    (void)arg;
    for (int i = 0; i < KINDS; i++) {
        struct pair pair = open_kind(kinds[i]);
        struct pair other = open_kind(kinds[i]);
        struct ouro_loan first = read_text(pair.stream, pair.peer, "first");
        struct ouro_loan second = read_text(pair.stream, pair.peer, "second");
        ck_assert_int_eq(ouro_stream_into_fd(pair.stream), -OURO_ELOANED);
        ck_assert_int_eq(ouro_stream_close(pair.stream), -OURO_ELOANED);
        (void)close(pair.peer);
        struct ouro_loan third = read_text(other.stream, other.peer, "another's");
        check_text(&first, "first");
        check_text(&second, "second");
        check_text(&third, "another's");
        ouro_loan_release(&second);
        ouro_loan_release(&first);
        ouro_loan_release(&third);
        int fd = ouro_stream_into_fd(other.stream);
        ck_assert_int_ge(fd, 0);
        (void)close(fd);
        (void)close(other.peer);
    }
    return 0;
}

OURO_TEST(a_close_with_loans_out_says_so_and_they_stay_valid)
{
    everywhere_with_pool(NULL, close_before_release, NULL);
}

static void *release_there(void *arg)
{
    ouro_loan_release(arg);
    return NULL;
}

/* The reader waits for a buffer that another thread returns. */
static int release_from_threads(void *arg)
{
    (void)arg;
    for (int round = 0; round < 30; round++) {
        struct pair pair = open_kind(kinds[round % KINDS]);
        pthread_t threads[2];
        struct ouro_loan loans[2];
        for (int i = 0; i < 2; i++)
            loans[i] = read_text(pair.stream, pair.peer, "text");
        for (int i = 0; i < 2; i++)
            ck_assert_int_eq(pthread_create(&threads[i], NULL, release_there, &loans[i]), 0);
        put_text(pair.peer, "next");
        expect_text(pair.stream, "next");
        for (int i = 0; i < 2; i++)
            ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        disconnect(&pair);
    }
    return 0;
}

OURO_TEST(a_release_from_another_thread_serves_who_waits)
{
    struct ouro_runtime_config config = pool_of(2, 64);
    everywhere_with_pool(&config, release_from_threads, NULL);
}

static int lend_two(void *arg)
{
    struct ouro_loan *loans = arg;
    struct pair pair = open_kind(OURO_STREAM_TCP);
    struct pair pipe = open_kind(OURO_STREAM_PIPE);
    loans[0] = read_text(pair.stream, pair.peer, "of a socket");
    loans[1] = read_text(pipe.stream, pipe.peer, "of a pipe");
    ck_assert_int_eq(ouro_stream_close(pair.stream), -OURO_ELOANED);
    ck_assert_int_eq(ouro_stream_close(pipe.stream), -OURO_ELOANED);
    (void)close(pair.peer);
    (void)close(pipe.peer);
    return 0;
}

OURO_TEST(loans_outlive_the_runtime)
{
    for (int place = 0; place < PLACES; place++) {
        struct ouro_loan loans[2];
        struct ouro_runtime *runtime = open_place((enum place)place, 0);
        run_in_place((enum place)place, runtime, lend_two, loans);
        ouro_runtime_free(runtime);
        check_text(&loans[0], "of a socket");
        check_text(&loans[1], "of a pipe");
        pthread_t thread;
        ck_assert_int_eq(pthread_create(&thread, NULL, release_there, &loans[0]), 0);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
        check_text(&loans[1], "of a pipe");
        ouro_loan_release(&loans[1]);
    }
}

/* The runtime ends while other threads release: each buffer goes home one way or the other. */
OURO_TEST(a_release_meets_the_runtime_s_end)
{
    for (int round = 0; round < 20; round++) {
        struct ouro_loan loans[2];
        pthread_t threads[2];
        struct ouro_runtime *runtime = open_place(IN_WORKER_TASK, 0);
        run_in_place(IN_WORKER_TASK, runtime, lend_two, loans);
        for (int i = 0; i < 2; i++)
            ck_assert_int_eq(pthread_create(&threads[i], NULL, release_there, &loans[i]), 0);
        ouro_runtime_free(runtime);
        for (int i = 0; i < 2; i++)
            ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
}

struct shutdown_case {
    enum ouro_stream_kind kind;
    struct pair holder, pair;
    struct ouro_loan held;
    ssize_t result;
};

static int read_until_shutdown(void *arg)
{
    struct shutdown_case *at = arg;
    struct ouro_loan loan;
    at->result = ouro_stream_read_loan(at->pair.stream, &loan);
    return 0;
}

static int begin_to_wait(void *arg)
{
    struct shutdown_case *at = arg;
    struct ouro_task *task = NULL;
    at->holder = open_kind(OURO_STREAM_UNIX);
    at->pair = open_kind(at->kind);
    at->held = read_text(at->holder.stream, at->holder.peer, "held");
    put_text(at->pair.peer, "waits");
    ck_assert_int_eq(ouro_task_spawn(read_until_shutdown, at, &task), 0);
    ouro_task_detach(task);
    while (ouro__load(&at->pair.stream->descriptor.calls, memory_order_acquire) == 0)
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND / 10), 0);
    return ouro_sleep(OURO_MILLISECOND);
}

OURO_TEST(a_shutdown_ends_the_wait_for_a_buffer)
{
    struct ouro_runtime_config config = pool_of(1, 64);
    for (int i = 0; i < KINDS; i++) {
        struct shutdown_case at = {.kind = kinds[i]};
        struct ouro_runtime *runtime = open_place_with(IN_TASK, &config);
        run_in_place(IN_TASK, runtime, begin_to_wait, &at);
        ck_assert_int_eq(ouro_runtime_shutdown(runtime, 10 * OURO_TEST_SECOND), 0);
        ck_assert_int_eq(at.result, -OURO_ESHUTDOWN);
        ouro_runtime_free(runtime);
        check_text(&at.held, "held");
        ouro_loan_release(&at.held);
        disconnect(&at.holder);
        disconnect(&at.pair);
    }
}

static int release_twice(void *arg)
{
    struct pair pair = open_kind(OURO_STREAM_UNIX);
    struct ouro_loan loan = read_text(pair.stream, pair.peer, "text");
    struct ouro_loan copy = loan;
    ouro_loan_release(&loan);
    ouro_loan_release(&loan); /* harmless: it is zeroed */
    if (arg != NULL) {        /* the buffer is somebody else's by now */
        struct ouro_loan next = read_text(pair.stream, pair.peer, "next");
        ck_assert_ptr_eq(next.data, copy.data);
    }
    ouro_loan_release(&copy);
    return 0;
}

static int release_twice_in_task(void *arg)
{
    struct ouro_runtime_config config = pool_of(1, 64);
    struct ouro_runtime *runtime = open_place_with(IN_TASK, &config);
    run_in_place(IN_TASK, runtime, release_twice, arg);
    return 0;
}

OURO_TEST(a_second_release_by_a_copy_stops_the_program)
{
    for (int again = 0; again < 2; again++) {
        struct ouro_test_child child;
        ouro_test_child_run(release_twice_in_task, again == 0 ? NULL : &child, &child);
        ck_assert_int_eq(child.signal_number, SIGABRT);
        ck_assert_ptr_nonnull(strstr(child.output, "a loan was released twice"));
    }
}

static int release_in_child(void *arg)
{
    struct pair pair = open_kind(OURO_STREAM_UNIX);
    struct ouro_loan loan = read_text(pair.stream, pair.peer, "text");
    (void)arg;
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        check_text(&loan, "text");
        ouro_loan_release(&loan);
        bool zeroed = loan.data == NULL && loan.size == 0;
        bool refused = ouro_stream_read_loan(pair.stream, &loan) == -OURO_EFORKED;
        _exit(zeroed && refused ? 0 : 1);
    }
    int status = -1;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    check_text(&loan, "text");
    ouro_loan_release(&loan);
    disconnect(&pair);
    return 0;
}

OURO_TEST(a_forked_child_releases_nothing_of_the_parent_s)
{
    in_place_with_pool(IN_TASK, NULL, release_in_child, NULL);
}

/* Between the turns of an embedded runtime its own thread counts as another one. */
struct embedded_case {
    struct pair pair;
    struct ouro_loan held;
    int result;
};

static int hold_one(void *arg)
{
    struct embedded_case *at = arg;
    at->pair = open_kind(OURO_STREAM_UNIX);
    at->held = read_text(at->pair.stream, at->pair.peer, "held");
    return 0;
}

static int read_next(void *arg)
{
    struct embedded_case *at = arg;
    expect_text(at->pair.stream, "next");
    at->result = 1;
    return 0;
}

static int close_it(void *arg)
{
    struct embedded_case *at = arg;
    disconnect(&at->pair);
    return 0;
}

OURO_TEST(a_release_between_turns_serves_who_waits)
{
    struct ouro_runtime_config config = pool_of(1, 64);
    struct embedded_case at = {.result = 0};
    struct ouro_task *task = NULL;
    config.flags = OURO_RUNTIME_F_EMBEDDED;
    struct ouro_runtime *runtime = ouro_test_runtime_with(&config);
    struct ouro_handle *handle = ouro_runtime_handle(runtime);
    ck_assert_int_eq(ouro_runtime_block_on(runtime, hold_one, &at, NULL), 0);
    put_text(at.pair.peer, "next");
    ck_assert_int_eq(ouro_task_spawn_with(handle, NULL, read_next, &at, &task), 0);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(ouro_runtime_turn(runtime, 0), 0);
    ck_assert_int_eq(at.result, 0);
    ouro_loan_release(&at.held);
    while (at.result == 0) {
        ck_assert(ouro_test_poll(ouro_runtime_fd(runtime), POLLIN, 5 * OURO_TEST_SECOND) != 0);
        ck_assert_int_eq(ouro_runtime_turn(runtime, 0), 0);
    }
    ouro_task_detach(task);
    ck_assert_int_eq(ouro_runtime_block_on(runtime, close_it, &at, NULL), 0);
    ouro_runtime_free(runtime);
    ouro_handle_unref(handle);
}
