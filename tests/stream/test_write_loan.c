/* SPDX-License-Identifier: MIT */
/*
 * Writing a loan: with and without a copy, and what becomes of the buffer when the write ends
 * short, when the peer acknowledges late or never, and when everything has ended meanwhile.
 */
#include "stream/loans.h"

#include <pthread.h>
#include <signal.h>

#include "base/fault.h"
#include "ouro/metrics.h"
#include "probe/feature.h"
#include "stream/fill.h"
#include "support/child.h"

enum { PIECE = 8192, ROUNDS = 20 };

static char bytes[16 * PIECE];
static char many[32 << 20]; /* more than two sockets hold */

static void fill_bytes(void)
{
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)(i * 7 + i / 251);
}

static struct ouro_runtime_config config_of(enum ouro_zero_copy zero_copy)
{
    struct ouro_runtime_config config = ouro_test_config(OURO_FLAVOUR_CURRENT_THREAD);
    config.zero_copy = zero_copy;
    return config;
}

static struct ouro_zero_copy_metrics metrics_here(void)
{
    struct ouro_zero_copy_metrics metrics = OURO_ZERO_COPY_METRICS_INIT;
    struct ouro_handle *handle = ouro_handle_current();
    ck_assert_int_eq(ouro_handle_zero_copy_metrics(handle, &metrics), 0);
    ouro_handle_unref(handle);
    return metrics;
}

/* Whether a send without a copy can be made at all. */
static bool can_send_without_copy(void)
{
    const uint64_t needed =
        OURO__FEATURE_BIT(OURO__FEATURE_SEND_ZC) | OURO__FEATURE_BIT(OURO__FEATURE_ZC_REPORT_USAGE);
    struct ouro__feature_report report;
    if (ouro_test_driver() != OURO_DRIVER_URING ||
        (ouro_test_config(OURO_FLAVOUR_CURRENT_THREAD).feature_mask & needed) != 0)
        return false;
    return ouro__feature_detect(needed, &report) == 0 && (report.present & needed) == needed;
}

static void need_sends_without_copy(void)
{
    if (!can_send_without_copy())
        ouro_test_skip("no sends without a copy here");
}

/* Gets @size bytes on loan, as one loan if they come as one, and writes them back; the peer must
 * get the same. */
static void echo(const struct pair *pair, size_t size)
{
    static char back[sizeof(bytes)];
    size_t done = 0;
    put_bytes(pair->peer, bytes, size);
    while (done < size) {
        struct ouro_loan loan;
        size_t written = 0;
        ssize_t n = ouro_stream_read_loan(pair->stream, &loan);
        ck_assert_msg(n > 0, "read_loan: %zd", n);
        ck_assert_int_eq(ouro_stream_write_loan(pair->stream, &loan, &written), 0);
        ck_assert_uint_eq(written, (size_t)n);
        ck_assert_ptr_null(loan.data);
        ck_assert_uint_eq(loan.size, 0);
        ouro_loan_release(&loan); /* of nothing */
        done += written;
    }
    ouro_test_read_exactly(pair->peer, back, size);
    ck_assert_int_eq(memcmp(back, bytes, size), 0);
}

static int echo_every_kind(void *arg)
{
    static const enum ouro_stream_kind both_ways[] = {OURO_STREAM_TCP, OURO_STREAM_UNIX};
    (void)arg;
    fill_bytes();
    for (size_t i = 0; i < 2; i++) {
        struct pair pair = open_kind(both_ways[i]);
        for (int round = 0; round < ROUNDS; round++)
            echo(&pair, 1 + (size_t)round * 800);
        disconnect(&pair);
    }
    return 0;
}

OURO_TEST(what_was_read_on_loan_is_written)
{
    for (int mode = OURO_ZERO_COPY_AUTO; mode <= OURO_ZERO_COPY_ALWAYS; mode++) {
        struct ouro_runtime_config config = config_of((enum ouro_zero_copy)mode);
        everywhere_with_pool(&config, echo_every_kind, NULL);
    }
}

/* How many sends without a copy @count echoes take. */
static uint64_t sends_of(const struct pair *pair, int count)
{
    struct ouro_zero_copy_metrics before = metrics_here();
    for (int i = 0; i < count; i++)
        echo(pair, PIECE);
    return metrics_here().sends - before.sends;
}

static int count_sends(void *arg)
{
    const enum ouro_zero_copy *mode = arg;
    struct pair pair = connected();
    struct pair other = open_kind(OURO_STREAM_UNIX);
    uint64_t sends = sends_of(&pair, ROUNDS);
    fill_bytes();
    if (*mode == OURO_ZERO_COPY_ALWAYS && can_send_without_copy())
        ck_assert_uint_ge(sends, ROUNDS);
    else
        ck_assert_uint_eq(sends, 0); /* AUTO: the first stretch copies */
    ck_assert_uint_eq(sends_of(&other, ROUNDS), 0);
    disconnect(&pair);
    disconnect(&other);
    return 0;
}

OURO_TEST(the_program_chooses)
{
    for (int mode = OURO_ZERO_COPY_AUTO; mode <= OURO_ZERO_COPY_ALWAYS; mode++) {
        struct ouro_runtime_config config = config_of((enum ouro_zero_copy)mode);
        in_place_with_pool(IN_TASK, &config, count_sends, &mode);
    }
}

enum { STRETCH = 128 };

static int echo_until_tried(void *arg)
{
    struct pair pair = connected();
    (void)arg;
    fill_bytes();
    ck_assert_uint_ge(sends_of(&pair, 4 * STRETCH), 1);
    ck_assert_uint_le(metrics_here().sends, 8); /* the report comes a moment later */
    ck_assert_uint_eq(sends_of(&pair, 40 * STRETCH), 0);
    ck_assert_uint_eq(metrics_here().copied, metrics_here().sends);
    disconnect(&pair);
    return 0;
}

/* Over loopback the kernel copies whatever it is asked for, and says so. */
OURO_TEST(a_stream_that_the_kernel_copies_is_left_alone, .timeout_s = 30)
{
    struct ouro_runtime_config config = config_of(OURO_ZERO_COPY_AUTO);
    need_sends_without_copy();
    in_place_with_pool(IN_TASK, &config, echo_until_tried, NULL);
}

static int echo_a_stretch(void *arg)
{
    struct pair pair = connected();
    (void)arg;
    fill_bytes();
    ck_assert_uint_ge(sends_of(&pair, 4 * STRETCH), STRETCH / 2);
    ck_assert_uint_eq(metrics_here().copied, 0);
    disconnect(&pair);
    return 0;
}

OURO_TEST(a_stream_that_the_kernel_does_not_copy_is_tried_for_a_stretch, .timeout_s = 30)
{
    struct ouro_runtime_config config = config_of(OURO_ZERO_COPY_AUTO);
    need_sends_without_copy();
    ouro__fault_arm(OURO__FAULT_RING_NOTIFICATION, 1, UINT64_MAX, -EAGAIN);
    in_place_with_pool(IN_TASK, &config, echo_a_stretch, NULL);
}

/* Nothing is acknowledged: as many buffers are lent as the stream may have loans, then copied. */
static int echo_without_notifications(void *arg)
{
    struct pair pair = connected();
    struct ouro_loan held[4];
    (void)arg;
    fill_bytes();
    ck_assert_uint_eq(sends_of(&pair, ROUNDS), 4);
    /* What is being sent does not count for the credit. */
    for (int i = 0; i < 4; i++) {
        put_text(pair.peer, "x");
        ck_assert_int_eq(ouro_stream_read_loan(pair.stream, &held[i]), 1);
    }
    ck_assert_int_eq(ouro_stream_read_loan(pair.stream, &(struct ouro_loan){.size = 0}),
                     -OURO_ECREDIT);
    for (int i = 0; i < 4; i++)
        ouro_loan_release(&held[i]);
    disconnect(&pair); /* not -OURO_ELOANED */
    return 0;
}

OURO_TEST(a_runtime_ends_while_buffers_are_being_sent)
{
    struct ouro_runtime_config config = config_of(OURO_ZERO_COPY_ALWAYS);
    config.loans_per_stream = 4;
    need_sends_without_copy();
    ouro__fault_arm(OURO__FAULT_RING_NOTIFICATION, 1, UINT64_MAX, -ENOENT);
    in_place_with_pool(IN_TASK, &config, echo_without_notifications, NULL);
}

/* A socket that has no room for copies may still take a send without one. */
static int write_to_nobody(void *arg)
{
    enum { TRIES = 200 };
    struct pair pair = connected();
    int rc = 0;
    (void)arg;
    fill_bytes();
    (void)fill_stream(pair.stream, many, sizeof(many));
    for (int i = 0; rc == 0; i++) {
        struct ouro_loan loan;
        size_t written = 0;
        ck_assert_int_lt(i, TRIES);
        put_bytes(pair.peer, bytes, PIECE);
        const ssize_t size = ouro_stream_read_loan(pair.stream, &loan);
        ck_assert_int_gt(size, 0);
        OURO_DEADLINE(scope, 30 * OURO_TEST_MS);
        rc = ouro_stream_write_loan(pair.stream, &loan, &written);
        ck_assert_ptr_null(loan.data); /* taken all the same */
        ck_assert_msg(rc == 0 ? written == (size_t)size : written < (size_t)size, "%zu", written);
    }
    ck_assert_int_eq(rc, -ETIMEDOUT);
    disconnect(&pair);
    return 0;
}

OURO_TEST(a_write_that_ends_at_its_deadline_takes_the_loan)
{
    struct ouro_runtime_config config = config_of(OURO_ZERO_COPY_ALWAYS);
    everywhere_with_pool(&config, write_to_nobody, NULL);
}

struct reading {
    int fd;
    char *bytes;
    size_t size;
};

static void *read_all(void *arg)
{
    const struct reading *reading = arg;
    ouro_test_read_exactly(reading->fd, reading->bytes, reading->size);
    return NULL;
}

/* The socket takes a part of each loan at once; the rest follows as the peer reads. */
static int write_more_than_there_is_room_for(void *arg)
{
    struct pair pair = connected();
    const int small = 4096;
    static char back[sizeof(bytes)];
    struct reading reading = {.fd = pair.peer, .bytes = back, .size = sizeof(back)};
    size_t done = 0;
    pthread_t reader;
    (void)arg;
    fill_bytes();
    ck_assert_int_eq(
        setsockopt(ouro_stream_fd(pair.stream), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
    put_bytes(pair.peer, bytes, sizeof(bytes));
    ck_assert_int_eq(pthread_create(&reader, NULL, read_all, &reading), 0);
    while (done < sizeof(bytes)) {
        struct ouro_loan loan;
        size_t written = 0;
        ck_assert_int_gt(ouro_stream_read_loan(pair.stream, &loan), 0);
        ck_assert_int_eq(ouro_stream_write_loan(pair.stream, &loan, &written), 0);
        done += written;
    }
    ck_assert_int_eq(pthread_join(reader, NULL), 0);
    ck_assert_int_eq(memcmp(back, bytes, sizeof(back)), 0);
    disconnect(&pair);
    return 0;
}

OURO_TEST(what_the_socket_does_not_take_at_once_follows)
{
    struct ouro_runtime_config config = config_of(OURO_ZERO_COPY_ALWAYS);
    config.loan_buffer_bytes = sizeof(bytes);
    everywhere_with_pool(&config, write_more_than_there_is_room_for, NULL);
}

/* A loan for which the socket has no room, written by a task. */
struct stuck {
    struct pair pair;
    struct ouro_loan loan;
};

static int write_stuck(void *arg)
{
    struct stuck *stuck = arg;
    return ouro_stream_write_loan(stuck->pair.stream, &stuck->loan, NULL);
}

static int join_within(struct ouro_task *task, int64_t limit_ns, int *out_result)
{
    OURO_DEADLINE(scope, limit_ns);
    return ouro_task_join(task, out_result);
}

static ssize_t read_within(struct ouro_stream *stream, int64_t limit_ns, struct ouro_loan *out_loan)
{
    OURO_DEADLINE(scope, limit_ns);
    return ouro_stream_read_loan(stream, out_loan);
}

/* Meanwhile the kernel, which took nothing, gives the memory back.  The other one of two buffers is
 * held, so that a read of another stream must wait. */
static int hold_beside_a_stuck_write(void *arg)
{
    struct stuck stuck = {.pair = connected()};
    struct pair other = connected();
    struct ouro_task *task = NULL;
    static char back[sizeof(many) + PIECE];
    struct ouro_loan held;
    struct ouro_loan third;
    int result = -1;
    (void)arg;
    fill_bytes();
    put_bytes(stuck.pair.peer, bytes, PIECE);
    const ssize_t size = ouro_stream_read_loan(stuck.pair.stream, &stuck.loan);
    ck_assert_int_gt(size, 0);
    const size_t before = fill_stream(stuck.pair.stream, many, sizeof(many));
    ck_assert_int_eq(ouro_task_spawn(write_stuck, &stuck, &task), 0);
    put_text(other.peer, "x");
    ck_assert_int_eq(ouro_stream_read_loan(other.stream, &held), 1);
    put_text(other.peer, "y");
    const ssize_t n = read_within(other.stream, 30 * OURO_TEST_MS, &third);
    if (n == 1 && join_within(task, 30 * OURO_TEST_MS, &result) == 0)
        ouro_test_skip("the socket had room for the loan");
    ck_assert_int_eq(n, -ETIMEDOUT);
    ouro_loan_release(&held);
    pthread_t reader;
    struct reading reading = {stuck.pair.peer, back, before + (size_t)size};
    ck_assert_int_eq(pthread_create(&reader, NULL, read_all, &reading), 0);
    ck_assert_int_eq(ouro_task_join(task, &result), 0);
    ck_assert_int_eq(result, 0);
    ck_assert_int_eq(pthread_join(reader, NULL), 0);
    ck_assert_int_eq(memcmp(back + before, bytes, (size_t)size), 0);
    disconnect(&stuck.pair);
    disconnect(&other);
    return 0;
}

OURO_TEST(the_rest_of_a_loan_keeps_its_buffer)
{
    struct ouro_runtime_config config = config_of(OURO_ZERO_COPY_ALWAYS);
    config.loan_buffer_bytes = sizeof(bytes);
    config.loan_buffers = 2;
    in_place_with_pool(IN_TASK, &config, hold_beside_a_stuck_write, NULL);
}

static int write_after_a_reset(void *arg)
{
    struct pair pair = connected();
    int rc = 0;
    (void)arg;
    fill_bytes();
    for (int i = 0; i < 4; i++)
        put_text(pair.peer, "x");
    struct ouro_loan loan;
    ck_assert_int_gt(ouro_stream_read_loan(pair.stream, &loan), 0);
    ouro_test_reset(pair.peer);
    rc = ouro_stream_write_loan(pair.stream, &loan, NULL);
    ck_assert_msg(rc == -ECONNRESET || rc == -EPIPE, "%s", ouro_err_name(rc));
    ck_assert_ptr_null(loan.data);
    ck_assert_int_eq(ouro_stream_close(pair.stream), 0);
    return 0;
}

OURO_TEST(a_write_that_fails_takes_the_loan)
{
    struct ouro_runtime_config config = config_of(OURO_ZERO_COPY_ALWAYS);
    everywhere_with_pool(&config, write_after_a_reset, NULL);
}

/* The caller may narrow a loan, or let it point to bytes of its own. */
static int write_changed_loans(void *arg)
{
    struct pair pair = connected();
    char back[16] = "";
    struct ouro_loan loan;
    (void)arg;
    put_text(pair.peer, "0123456789");
    ck_assert_int_eq(ouro_stream_read_loan(pair.stream, &loan), 10);
    loan.data = (const char *)loan.data + 3;
    loan.size = 4;
    ck_assert_int_eq(ouro_stream_write_loan(pair.stream, &loan, NULL), 0);
    ouro_test_read_exactly(pair.peer, back, 4);
    ck_assert_int_eq(memcmp(back, "3456", 4), 0);
    put_text(pair.peer, "0123456789");
    ck_assert_int_eq(ouro_stream_read_loan(pair.stream, &loan), 10);
    loan.data = "elsewhere";
    loan.size = 9;
    ck_assert_int_eq(ouro_stream_write_loan(pair.stream, &loan, NULL), 0);
    ouro_test_read_exactly(pair.peer, back, 9);
    ck_assert_int_eq(memcmp(back, "elsewhere", 9), 0);
    loan = (struct ouro_loan){.data = "nothing on loan", .size = 7};
    ck_assert_int_eq(ouro_stream_write_loan(pair.stream, &loan, NULL), 0);
    ouro_test_read_exactly(pair.peer, back, 7);
    disconnect(&pair);
    return 0;
}

OURO_TEST(a_loan_may_be_changed_before_it_is_written)
{
    struct ouro_runtime_config config = config_of(OURO_ZERO_COPY_ALWAYS);
    everywhere_with_pool(&config, write_changed_loans, NULL);
}

static int release_a_copy(void *arg)
{
    struct pair pair = connected();
    struct ouro_loan loan;
    (void)arg;
    put_text(pair.peer, "once");
    ck_assert_int_eq(ouro_stream_read_loan(pair.stream, &loan), 4);
    struct ouro_loan copy = loan;
    ck_assert_int_eq(ouro_stream_write_loan(pair.stream, &loan, NULL), 0);
    ouro_loan_release(&copy);
    return 0;
}

static int release_a_copy_in_task(void *arg)
{
    struct ouro_runtime_config config = config_of(*(enum ouro_zero_copy *)arg);
    struct ouro_runtime *runtime = open_place_with(IN_TASK, &config);
    run_in_place(IN_TASK, runtime, release_a_copy, NULL);
    return 0;
}

OURO_TEST(a_copy_of_a_loan_that_was_written_is_void)
{
    for (int mode = OURO_ZERO_COPY_AUTO; mode <= OURO_ZERO_COPY_ALWAYS; mode++) {
        struct ouro_test_child child;
        ouro_test_child_run(release_a_copy_in_task, &mode, &child);
        ck_assert_int_eq(child.signal_number, SIGABRT);
        ck_assert_ptr_nonnull(strstr(child.output, "a loan was released twice"));
    }
}

/* Another stream's loan: a proxy's way. */
static int write_to_another(void *arg)
{
    struct pair from = connected();
    struct pair to = connected();
    char back[4];
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        struct ouro_loan loan;
        put_text(from.peer, "ouro");
        ck_assert_int_eq(ouro_stream_read_loan(from.stream, &loan), 4);
        ck_assert_int_eq(ouro_stream_write_loan(to.stream, &loan, NULL), 0);
        ouro_test_read_exactly(to.peer, back, 4);
        ck_assert_int_eq(memcmp(back, "ouro", 4), 0);
    }
    disconnect(&from); /* first: its loans may still be in a send of the other's */
    disconnect(&to);
    return 0;
}

OURO_TEST(a_loan_of_one_stream_is_written_to_another)
{
    struct ouro_runtime_config config = config_of(OURO_ZERO_COPY_ALWAYS);
    everywhere_with_pool(&config, write_to_another, NULL);
}
