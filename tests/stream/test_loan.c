/* SPDX-License-Identifier: MIT */
/*
 * Reading on loan: the bytes of many connections, a pool that runs dry, credit, and what interrupts
 * a wait for data or for a buffer.
 */
#include "stream/loans.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/alloc.h"
#include "support/sockets.h"

static int read_every_kind(void *arg)
{
    (void)arg;
    for (int i = 0; i < KINDS; i++) {
        struct pair pair = open_kind(kinds[i]);
        struct ouro_loan loan = {.size = 9};
        put_text(pair.peer, "first");
        expect_text(pair.stream, "first");
        put_text(pair.peer, "and second");
        expect_text(pair.stream, "and second");
        (void)close(pair.peer);
        ck_assert_int_eq(ouro_stream_read_loan(pair.stream, &loan), 0);
        ck_assert_uint_eq(loan.size, 0);
        ouro_loan_release(&loan); /* of nothing */
        ouro_loan_release(NULL);
        ck_assert_int_eq(ouro_stream_close(pair.stream), 0);
    }
    return 0;
}

OURO_TEST(every_kind_is_read_on_loan)
{
    struct ouro_runtime_config one = pool_of(1, 64);
    everywhere_with_pool(NULL, read_every_kind, NULL);
    everywhere_with_pool(&one, read_every_kind, NULL);
}

/* The byte at a position of a connection's endless data. */
static unsigned char byte_of(unsigned connection, uint64_t position)
{
    uint64_t x =
        position * UINT64_C(0x9e3779b97f4a7c15) + connection * UINT64_C(0xbf58476d1ce4e5b9);
    return (unsigned char)(x >> 56 ^ x >> 29);
}

enum { CONNECTIONS = 24, BYTES_EACH = 40000, HELD_MAX = 3 };

struct connection {
    struct pair pair;
    unsigned number;
    unsigned random;
};

static unsigned next_random(unsigned *state)
{
    *state = *state * 1103515245u + 12345u;
    return *state >> 16;
}

/* Sends to all of them in turn, in pieces of many sizes. */
static void *send_to_all(void *arg)
{
    struct connection *all = arg;
    unsigned random = 1;
    static uint64_t sent[CONNECTIONS];
    unsigned char piece[700];
    memset(sent, 0, sizeof(sent));
    for (unsigned left = CONNECTIONS; left > 0;) {
        struct connection *to = &all[next_random(&random) % CONNECTIONS];
        size_t size = next_random(&random) % sizeof(piece) + 1;
        uint64_t at = sent[to->number];
        if (at == BYTES_EACH)
            continue;
        if (size > BYTES_EACH - at)
            size = BYTES_EACH - at;
        for (size_t i = 0; i < size; i++)
            piece[i] = byte_of(to->number, at + i);
        ck_assert_int_eq(write(to->pair.peer, piece, size), (ssize_t)size);
        sent[to->number] += size;
        if (sent[to->number] < BYTES_EACH)
            continue;
        (void)close(to->pair.peer);
        left--;
    }
    return NULL;
}

/* Holds up to three loans at a time, and looks at each twice: when it comes and before it goes. */
static int check_all_of_one(void *arg)
{
    struct connection *connection = arg;
    struct ouro_loan held[HELD_MAX];
    uint64_t begins[HELD_MAX];
    unsigned count = 0;
    uint64_t position = 0;
    bool ended = false;
    while (!ended || count > 0) {
        unsigned most = next_random(&connection->random) % HELD_MAX + 1;
        while (!ended && count < most) {
            /* While it holds some it does not wait for ever: the others may wait for these. */
            OURO_DEADLINE(patience, count == 0 ? INT64_MAX : OURO_MILLISECOND / 10);
            ssize_t n = ouro_stream_read_loan(connection->pair.stream, &held[count]);
            if (n == -ETIMEDOUT && count > 0)
                break;
            ck_assert_msg(n >= 0, "read_loan: %zd", n);
            ended = n == 0;
            if (ended)
                break;
            begins[count++] = position;
            position += (uint64_t)n;
        }
        for (unsigned i = 0; i < count; i++) {
            const unsigned char *data = held[i].data;
            for (size_t j = 0; j < held[i].size; j++)
                ck_assert_uint_eq(data[j], byte_of(connection->number, begins[i] + j));
            ouro_loan_release(&held[i]);
        }
        count = 0;
    }
    ck_assert_uint_eq(position, BYTES_EACH);
    return ouro_stream_close(connection->pair.stream);
}

static int read_many(void *arg)
{
    static struct connection all[CONNECTIONS];
    struct ouro_task *tasks[CONNECTIONS];
    pthread_t sender;
    (void)arg;
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        all[i] = (struct connection){
            .pair = open_kind(kinds[i % KINDS]), .number = i, .random = i * 77 + 5};
        ck_assert_int_eq(ouro_task_spawn(check_all_of_one, &all[i], &tasks[i]), 0);
    }
    ck_assert_int_eq(pthread_create(&sender, NULL, send_to_all, all), 0);
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        int result = -1;
        ck_assert_int_eq(ouro_task_join(tasks[i], &result), 0);
        ck_assert_int_eq(result, 0);
    }
    ck_assert_int_eq(pthread_join(sender, NULL), 0);
    return 0;
}

OURO_TEST(no_byte_of_many_connections_is_lost_or_another_s)
{
    static const uint32_t pools[] = {2, 5, 64};
    for (unsigned i = 0; i < 3; i++) {
        struct ouro_runtime_config config = pool_of(pools[i], i == 2 ? 4096 : 200);
        in_place_with_pool(IN_TASK, &config, read_many, NULL);
        in_place_with_pool(IN_WORKER_TASK, &config, read_many, NULL);
        in_place_with_pool(IN_DRIVER_THREAD, &config, read_many, NULL);
    }
}

/* All that wait at the same time: those with data get it, the others hold no buffer. */
struct waiter {
    struct pair pair;
    struct ouro_task *task;
    char text[16];
};

static int expect_one(void *arg)
{
    struct waiter *waiter = arg;
    expect_text(waiter->pair.stream, waiter->text);
    return 0;
}

static void spawn_waiter(struct waiter *waiter, enum ouro_stream_kind kind, unsigned number)
{
    waiter->pair = open_kind(kind);
    (void)snprintf(waiter->text, sizeof(waiter->text), "for %u", number);
    ck_assert_int_eq(ouro_task_spawn(expect_one, waiter, &waiter->task), 0);
}

static void join_waiter(struct waiter *waiter)
{
    int result = -1;
    ck_assert_int_eq(ouro_task_join(waiter->task, &result), 0);
    ck_assert_int_eq(result, 0);
    disconnect(&waiter->pair);
}

static int idle_and_busy(void *arg)
{
    enum { IDLE = 12 };
    struct waiter waiters[IDLE];
    struct pair busy = open_kind(OURO_STREAM_UNIX);
    (void)arg;
    for (unsigned i = 0; i < IDLE; i++)
        spawn_waiter(&waiters[i], kinds[i % KINDS], i);
    for (int round = 0; round < 50; round++) {
        put_text(busy.peer, "busy");
        expect_text(busy.stream, "busy");
    }
    for (unsigned i = IDLE; i-- > 0;) {
        put_text(waiters[i].pair.peer, waiters[i].text);
        join_waiter(&waiters[i]);
    }
    disconnect(&busy);
    return 0;
}

OURO_TEST(a_connection_without_data_holds_no_buffer)
{
    struct ouro_runtime_config one = pool_of(1, 64);
    struct ouro_runtime_config two = pool_of(2, 64);
    everywhere_with_pool(&one, idle_and_busy, NULL);
    everywhere_with_pool(&two, idle_and_busy, NULL);
}

/* Takes all buffers of the pool of this driver. */
static void take_all(struct pair *pair, struct ouro_loan *loans, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        put_text(pair->peer, "x");
        ck_assert_int_eq(ouro_stream_read_loan(pair->stream, &loans[i]), 1);
    }
}

static void release_all(struct ouro_loan *loans, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        ouro_loan_release(&loans[i]);
}

enum { POOL = 2 };

/* What interrupts a wait takes no bytes, whether it was for data or for a buffer. */
static int time_out(void *arg)
{
    struct ouro_loan loans[POOL];
    (void)arg;
    for (int i = 0; i < KINDS; i++) {
        struct pair holder = open_kind(OURO_STREAM_TCP);
        struct pair pair = open_kind(kinds[i]);
        struct ouro_loan loan = {.size = 77};
        for (int has_data = 0; has_data < 2; has_data++) {
            take_all(&holder, loans, POOL);
            if (has_data != 0)
                put_text(pair.peer, "kept");
            {
                OURO_DEADLINE(soon, 5 * OURO_MILLISECOND);
                ck_assert_int_eq(ouro_stream_read_loan(pair.stream, &loan), -ETIMEDOUT);
            }
            ck_assert_uint_eq(loan.size, 77);
            release_all(loans, POOL);
        }
        {
            OURO_DEADLINE(past, 0);
            ck_assert_int_eq(ouro_stream_read_loan(pair.stream, &loan), -ETIMEDOUT);
        }
        expect_text(pair.stream, "kept");
        disconnect(&pair);
        disconnect(&holder);
    }
    return 0;
}

OURO_TEST(a_deadline_ends_both_waits_and_takes_nothing)
{
    struct ouro_runtime_config config = pool_of(POOL, 64);
    in_place_with_pool(IN_TASK, &config, time_out, NULL);
    in_place_with_pool(IN_OWN_THREAD, &config, time_out, NULL);
    config = pool_of(POOL, 64);
    in_place_with_pool(IN_DRIVER_THREAD, &config, time_out, NULL);
}

static int read_once(void *arg)
{
    struct ouro_loan loan;
    ssize_t n = ouro_stream_read_loan(arg, &loan);
    if (n > 0)
        ouro_loan_release(&loan);
    return (int)n;
}

/* How many calls are in progress on it. */
static bool is_used(struct ouro_stream *stream)
{
    return atomic_load(&stream->descriptor.calls) != 0;
}

/* The reader has begun; it waits, or is about to. */
static void await_reader(struct ouro_stream *stream)
{
    while (!is_used(stream))
        ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND / 10), 0);
    ck_assert_int_eq(ouro_sleep(OURO_MILLISECOND), 0);
}

enum ending { BY_CANCEL, BY_CLOSE, ENDINGS };

static int interrupt_readers(void *arg)
{
    struct ouro_loan loans[POOL];
    (void)arg;
    for (int round = 0; round < KINDS * ENDINGS * 2; round++) {
        bool has_data = round % 2 != 0;
        enum ending ending = (enum ending)(round / 2 % ENDINGS);
        struct pair holder = open_kind(OURO_STREAM_TCP);
        struct pair pair = open_kind(kinds[round / 2 / ENDINGS]);
        struct ouro_task *task = NULL;
        int result = 0;
        take_all(&holder, loans, POOL);
        if (has_data)
            put_text(pair.peer, "kept");
        ck_assert_int_eq(ouro_task_spawn_here(read_once, pair.stream, &task), 0);
        await_reader(pair.stream);
        if (ending == BY_CANCEL)
            ck_assert_int_eq(ouro_task_cancel(task), 0);
        else
            ck_assert_int_eq(ouro_stream_close(pair.stream), 0);
        ck_assert_int_eq(ouro_task_join(task, &result), 0);
        ck_assert_int_eq(result, -ECANCELED);
        release_all(loans, POOL);
        if (ending == BY_CANCEL) {
            if (has_data)
                expect_text(pair.stream, "kept");
            ck_assert_int_eq(ouro_stream_close(pair.stream), 0);
        }
        (void)close(pair.peer);
        disconnect(&holder);
    }
    return 0;
}

OURO_TEST(a_cancel_and_a_close_end_both_waits)
{
    struct ouro_runtime_config config = pool_of(POOL, 64);
    in_place_with_pool(IN_TASK, &config, interrupt_readers, NULL);
    in_place_with_pool(IN_WORKER_TASK, &config, interrupt_readers, NULL);
}

/* A close from another worker: the reader's operation is on this one. */
static int close_there(void *arg)
{
    return ouro_stream_close(arg);
}

static int close_from_the_other_worker(void *arg)
{
    struct ouro_loan loans[POOL];
    (void)arg;
    for (int i = 0; i < KINDS; i++) {
        struct pair holder = open_kind(OURO_STREAM_TCP);
        struct pair pair = open_kind(kinds[i]);
        struct ouro_task *reader = NULL;
        struct ouro_task *closers[2];
        int result = 0;
        take_all(&holder, loans, POOL);
        put_text(pair.peer, "x");
        ck_assert_int_eq(ouro_task_spawn_here(read_once, pair.stream, &reader), 0);
        await_reader(pair.stream);
        /* One of two spawned in turn is on the other worker. */
        ck_assert_int_eq(ouro_task_spawn(close_there, NULL, &closers[0]), 0);
        ck_assert_int_eq(ouro_task_spawn(close_there, pair.stream, &closers[1]), 0);
        for (int j = 0; j < 2; j++)
            ck_assert_int_eq(ouro_task_join(closers[j], NULL), 0);
        ck_assert_int_eq(ouro_task_join(reader, &result), 0);
        ck_assert_int_eq(result, -ECANCELED);
        release_all(loans, POOL);
        (void)close(pair.peer);
        disconnect(&holder);
    }
    return 0;
}

OURO_TEST(a_close_from_another_worker_ends_the_wait_for_a_buffer)
{
    struct ouro_runtime_config config = pool_of(POOL, 64);
    in_place_with_pool(IN_WORKER_TASK, &config, close_from_the_other_worker, NULL);
    in_place_with_pool(IN_WORKER_TASK, &config, close_from_the_other_worker, NULL);
}

/* Those that wait get buffers in the order in which they began to wait. */
static int wait_in_order(void *arg)
{
    enum { MANY = 9 };
    struct waiter waiters[MANY];
    struct ouro_loan loans[POOL];
    struct pair holder = open_kind(OURO_STREAM_TCP);
    (void)arg;
    take_all(&holder, loans, POOL);
    for (unsigned i = 0; i < MANY; i++) {
        waiters[i].pair = open_kind(kinds[i % KINDS]);
        (void)snprintf(waiters[i].text, sizeof(waiters[i].text), "for %u", i);
        put_text(waiters[i].pair.peer, waiters[i].text);
        ck_assert_int_eq(ouro_task_spawn_here(read_once, waiters[i].pair.stream, &waiters[i].task),
                         0);
        await_reader(waiters[i].pair.stream);
    }
    /* The first to wait has its buffer before the next has, so it has left before it. */
    ouro_loan_release(&loans[0]);
    for (unsigned i = 0; i < MANY; i++) {
        int result = -1;
        ck_assert_int_eq(ouro_task_join(waiters[i].task, &result), 0);
        ck_assert_int_eq(result, (int)strlen(waiters[i].text));
        if (i + 2 < MANY)
            ck_assert(is_used(waiters[i + 2].pair.stream));
        disconnect(&waiters[i].pair);
    }
    ouro_loan_release(&loans[1]);
    disconnect(&holder);
    return 0;
}

OURO_TEST(a_dry_pool_serves_those_that_wait_in_order)
{
    struct ouro_runtime_config config = pool_of(POOL, 64);
    in_place_with_pool(IN_TASK, &config, wait_in_order, NULL);
}

static int use_credit(void *arg)
{
    uint32_t most = arg == NULL ? 4 : 2;
    for (int i = 0; i < KINDS; i++) {
        struct pair pair = open_kind(kinds[i]);
        struct ouro_loan held[4];
        struct ouro_loan more = {.size = 5};
        take_all(&pair, held, most);
        {
            OURO_DEADLINE(limit, OURO_SECOND); /* it does not wait for data */
            ck_assert_int_eq(ouro_stream_read_loan(pair.stream, &more), -OURO_ECREDIT);
        }
        put_text(pair.peer, "y");
        ck_assert_int_eq(ouro_stream_read_loan(pair.stream, &more), -OURO_ECREDIT);
        ck_assert_uint_eq(more.size, 5);
        ouro_loan_release(&held[1]);
        ck_assert_int_eq(ouro_stream_read_loan(pair.stream, &held[1]), 1);
        ck_assert_int_eq(*(const char *)held[1].data, 'y');
        release_all(held, most);
        disconnect(&pair);
    }
    return 0;
}

enum { HOLDERS = 300 };

/* Every stream keeps its loan, as while its peer does not read an answer.  The next one still gets
 * a buffer. */
static int hold_many(void *arg)
{
    static struct pair pair[HOLDERS];
    static struct ouro_loan loan[HOLDERS];
    (void)arg;
    for (int i = 0; i < HOLDERS; i++) {
        char text[8];
        (void)snprintf(text, sizeof(text), "%d", i);
        pair[i] = open_kind(kinds[i % KINDS]);
        put_text(pair[i].peer, text);
        ck_assert_int_eq(ouro_stream_read_loan(pair[i].stream, &loan[i]), (ssize_t)strlen(text));
    }
    for (int i = 0; i < HOLDERS; i++) {
        char text[8];
        int length = snprintf(text, sizeof(text), "%d", i);
        ck_assert_mem_eq(loan[i].data, text, (size_t)length);
        ouro_loan_release(&loan[i]);
        ck_assert_int_eq(ouro_stream_close(pair[i].stream), 0);
        (void)close(pair[i].peer);
    }
    return 0;
}

OURO_TEST(loans_that_are_kept_stop_nobody)
{
    in_place_with_pool(IN_TASK, NULL, hold_many, NULL);
    in_place_with_pool(IN_WORKER_TASK, NULL, hold_many, NULL);
    in_place_with_pool(IN_OWN_THREAD, NULL, hold_many, NULL);
}

OURO_TEST(a_stream_has_at_most_its_credit)
{
    struct ouro_runtime_config config = pool_of(8, 64);
    everywhere_with_pool(&config, use_credit, NULL);
    config.loans_per_stream = 2;
    everywhere_with_pool(&config, use_credit, &config);
}

static int misuse(void *arg)
{
    struct ouro_loan loan;
    struct ouro_stream *reader = NULL;
    struct ouro_stream *writer = NULL;
    (void)arg;
    ck_assert_int_eq(ouro_pipe(&reader, &writer), 0);
    ck_assert_int_eq(ouro_stream_read_loan(NULL, &loan), -EINVAL);
    ck_assert_int_eq(ouro_stream_read_loan(reader, NULL), -EINVAL);
    for (int i = 0; i < 2; i++) /* it does not wait for what can never come */
        ck_assert_int_eq(ouro_stream_read_loan(writer, &loan), -EBADF);
    ck_assert_int_eq(ouro_stream_close(reader), 0);
    ck_assert_int_eq(ouro_stream_close(writer), 0);
    return 0;
}

OURO_TEST(misuse_is_an_error)
{
    static const struct {
        uint32_t bytes, buffers;
    } wrong[] = {{63, 0}, {(16u << 20) + 1, 0}, {0, 32769}, {UINT32_MAX, UINT32_MAX}};
    everywhere_with_pool(NULL, misuse, NULL);
    for (unsigned i = 0; i < 4; i++) {
        struct ouro_runtime_config config = pool_of(wrong[i].buffers, wrong[i].bytes);
        struct ouro_runtime *runtime = NULL;
        ck_assert_int_eq(ouro_runtime_new(&config, &runtime), -EINVAL);
    }
}

static int lack_memory(void *arg)
{
    (void)arg;
    for (int i = 0; i < KINDS; i++) {
        struct pair pair = open_kind(kinds[i]);
        struct ouro_loan loan;
        put_text(pair.peer, "kept");
        ssize_t n = -ENOMEM;
        for (uint64_t nth = 1; n == -ENOMEM; nth++) {
            ck_assert_uint_lt(nth, 100);
            ouro__alloc_fail_at(nth);
            n = ouro_stream_read_loan(pair.stream, &loan);
            ouro__alloc_fail_at(0);
        }
        ck_assert_int_eq(n, 4);
        ouro_loan_release(&loan);
        disconnect(&pair);
    }
    return 0;
}

OURO_TEST(without_memory_nothing_is_lost)
{
    in_place_with_pool(IN_TASK, NULL, lack_memory, NULL);
}
