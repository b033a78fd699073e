/* SPDX-License-Identifier: MIT */
/*
 * What a driver gives back, and when: it is told the time, so no case waits for it.
 *
 * Whether a buffer holds memory is asked of mincore().
 */
#include "driver_bench.h"

#include <sys/mman.h>

#include "registry/lending.h"
#include "registry/trim.h"
#include "uring/ring.h"

#define WINDOW OURO__TRIM_WINDOW_NS
#define PAGE ((size_t)sysconf(_SC_PAGESIZE))

static int64_t now_ns = 1000 * OURO__NS_PER_SEC;

/* Lets the time run on by @ns, with a step whenever one is due, as a worker does it. */
static void pass(struct bench *bench, int64_t ns)
{
    int64_t end_ns = now_ns + ns;
    while (ouro__trim_is_wanted(&bench->handle)) {
        int64_t next_ns = ouro__trim_step(&bench->handle, now_ns);
        if (next_ns > end_ns)
            break;
        ck_assert_int_gt(next_ns, now_ns);
        now_ns = next_ns;
    }
    now_ns = end_ns;
}

static uint32_t chunks(struct bench *bench)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < OURO__SLAB_CHUNKS_MAX; i++)
        count += ouro__load(&bench->handle.set.chunk[i], memory_order_relaxed) != NULL;
    return count;
}

enum { MANY = 20 * OURO__SLAB_CHUNK };

static struct ouro__registration registration[MANY];

static void register_many(struct bench *bench, int fd)
{
    for (int i = 0; i < MANY; i++)
        registration[i] = bench_register(bench, fd);
}

static void drop_many(struct bench *bench, int from, int to)
{
    for (int i = from; i < to; i++)
        ouro__registration_drop(&registration[i]);
    bench_turn(bench, 0);
    bench_turn(bench, 0);
}

static uint64_t token_of_a_chunk_that_is_gone(struct bench *bench, const uint64_t tokens[MANY])
{
    for (int i = 0; i < MANY; i++) {
        uint32_t at = ouro__token_index(tokens[i]) / OURO__SLAB_CHUNK;
        if (ouro__load(&bench->handle.set.chunk[at], memory_order_relaxed) == NULL)
            return tokens[i];
    }
    ck_abort_msg("no chunk is gone");
}

OURO_TEST(registrations_of_a_peak_are_given_back)
{
    struct bench bench;
    int ends[2];
    bench_open(&bench);
    bench_pair(ends);
    ck_assert(!ouro__trim_is_wanted(&bench.handle));
    register_many(&bench, ends[0]);
    ck_assert_uint_eq(chunks(&bench), MANY / OURO__SLAB_CHUNK);
    pass(&bench, 3 * WINDOW); /* they are in use */
    ck_assert_uint_eq(chunks(&bench), MANY / OURO__SLAB_CHUNK);

    static uint64_t tokens[MANY];
    for (int i = 0; i < MANY; i++)
        tokens[i] = ouro__sio_token(registration[i].sio, 0);
    drop_many(&bench, 1, MANY);
    pass(&bench, WINDOW - 1); /* not before a window has passed */
    ck_assert_uint_eq(chunks(&bench), MANY / OURO__SLAB_CHUNK);
    pass(&bench, WINDOW);
    ck_assert_uint_eq(chunks(&bench), 1 + OURO__SLAB_CHUNKS_KEPT);
    ck_assert(!ouro__trim_is_wanted(&bench.handle));
    uint64_t gone = token_of_a_chunk_that_is_gone(&bench, tokens);
    ck_assert_ptr_null(ouro__registration_set_find(&bench.handle.set, gone));

    /* What is left works, and an index that is used again has another generation. */
    uint64_t first = ouro__sio_token(registration[0].sio, 0);
    ck_assert_ptr_eq(ouro__registration_set_find(&bench.handle.set, first), registration[0].sio);
    bool is_used_again = false;
    for (int i = 1; i < MANY; i++) {
        registration[i] = bench_register(&bench, ends[0]);
        is_used_again |= registration[i].sio->index == ouro__token_index(gone);
    }
    ck_assert_uint_eq(chunks(&bench), MANY / OURO__SLAB_CHUNK);
    ck_assert(is_used_again);
    ck_assert_ptr_null(ouro__registration_set_find(&bench.handle.set, gone));
    drop_many(&bench, 0, MANY);
    bench_close(&bench);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

/* A load that comes back within a window keeps what it needs. */
OURO_TEST(registrations_of_a_load_that_comes_back_stay)
{
    struct bench bench;
    int ends[2];
    bench_open(&bench);
    bench_pair(ends);
    for (int round = 0; round < 4; round++) {
        register_many(&bench, ends[0]);
        pass(&bench, WINDOW / 2);
        drop_many(&bench, 0, MANY);
        pass(&bench, WINDOW / 2 - 1);
        ck_assert_uint_eq(chunks(&bench), MANY / OURO__SLAB_CHUNK);
    }
    pass(&bench, 2 * WINDOW);
    ck_assert_uint_le(chunks(&bench), 1 + OURO__SLAB_CHUNKS_KEPT);
    bench_close(&bench);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static bool has_memory(const struct ouro__loan_buffer *buffer)
{
    unsigned char resident = 0;
    char *page = (char *)((uintptr_t)buffer->data / PAGE * PAGE);
    ck_assert_int_eq(mincore(page, PAGE, &resident), 0);
    return (resident & 1) != 0;
}

static uint32_t with_memory(const struct ouro__loan_pool *pool)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < pool->made; i++)
        count += has_memory(ouro__loan_pool_at(pool, i));
    return count;
}

enum { BUFFERS = 200 };

static struct ouro__loan_pool *open_with_pool(struct bench *bench, uint32_t bytes)
{
    bench_init(bench);
    bench->config.loan_buffers = BUFFERS;
    bench->config.loan_buffer_bytes = bytes;
    ck_assert_int_eq(ouro__driver_open(&bench->handle, &bench->config), 0);
    struct ouro__loan_pool *pool = ouro__lending_pool(&bench->handle);
    ck_assert_ptr_nonnull(pool);
    return pool;
}

/* Has @count buffers at a time, once; keeps the first. */
static struct ouro__loan_buffer *borrow(struct bench *bench, uint32_t count)
{
    static struct ouro__loan_buffer *buffer[BUFFERS];
    struct ouro__loan_pool *pool = ouro__lending_pool(&bench->handle);
    for (uint32_t i = 0; i < count; i++) {
        buffer[i] = ouro__loan_pool_take(pool);
        buffer[i]->data[0] = 1;
    }
    for (uint32_t i = count; i-- > 1;)
        ouro__lending_put(bench->handle.driver, buffer[i]);
    return buffer[0];
}

OURO_TEST(buffers_of_a_peak_give_their_memory_back)
{
    static const uint32_t sizes[] = {16384, 1500, 64};
    for (size_t s = 0; s < OURO__ARRAY_LEN(sizes); s++) {
        struct bench bench;
        struct ouro__loan_pool *pool = open_with_pool(&bench, sizes[s]);
        struct ouro__loan_buffer *kept = borrow(&bench, BUFFERS);
        kept->data[1] = 2;
        ck_assert_uint_eq(with_memory(pool), BUFFERS);
        pass(&bench, WINDOW);
        pass(&bench, WINDOW + BUFFERS * OURO__TRIM_PAUSE_NS);
        for (uint32_t i = 0; i < BUFFERS; i++) /* but for the page of the one that is out */
            ck_assert_int_eq(has_memory(ouro__loan_pool_at(pool, i)), i / pool->unit_buffers == 0);
        ck_assert_int_eq(kept->data[0], 1);
        ck_assert_int_eq(kept->data[1], 2);
        ck_assert_uint_le(pool->warm_count, OURO__LOANS_FEW + pool->unit_buffers);
        ouro__lending_put(bench.handle.driver, kept);
        bench_close(&bench);
    }
}

/* A peak in each window: the memory stays. */
OURO_TEST(buffers_that_are_used_again_stay)
{
    struct bench bench;
    struct ouro__loan_pool *pool = open_with_pool(&bench, 16384);
    for (int round = 0; round < 8; round++) {
        ouro__lending_put(bench.handle.driver, borrow(&bench, BUFFERS));
        pass(&bench, WINDOW / 2);
        ck_assert_uint_eq(with_memory(pool), BUFFERS);
    }
    bench_close(&bench);
}

OURO_TEST(few_buffers_open_no_window)
{
    struct bench bench;
    (void)open_with_pool(&bench, 16384);
    ouro__lending_put(bench.handle.driver, borrow(&bench, OURO__LOANS_FEW));
    ck_assert(!ouro__trim_is_wanted(&bench.handle));
    ck_assert_int_eq(ouro__trim_step(&bench.handle, now_ns), OURO__NEVER);
    bench_close(&bench);
}

/* Receives one byte on each of @count streams at a time, on loan. */
static void receive_burst(struct bench *bench, int count)
{
    static struct trial trial[BUFFERS];
    static int ends[BUFFERS][2];
    struct ouro__loan_pool *pool = ouro__lending_pool(&bench->handle);
    for (int i = 0; i < count; i++) {
        bench_pair(ends[i]);
        registration[i] = bench_register(bench, ends[i][0]);
        trial_init(&trial[i], bench, &registration[i], OURO__OP_RECV_LOAN, OURO__LANE_READ);
        ouro__op_init_loan(&trial[i].op, OURO__OP_RECV_LOAN, OURO__LANE_READ, pool->buffer_bytes);
        trial_submit(&trial[i]);
        ouro_test_write_exactly(ends[i][1], "x", 1);
    }
    for (int i = 0; i < count; i++)
        ck_assert_int_eq(trial_wait(&trial[i]), 1);
    for (int i = 0; i < count; i++) {
        ck_assert_int_eq(*(const char *)trial[i].op.arg.io.buffer, 'x');
        ouro__lending_put(bench->handle.driver, trial[i].op.arg.io.loan);
    }
    drop_many(bench, 0, count);
    for (int i = 0; i < count; i++) {
        (void)close(ends[i][0]);
        (void)close(ends[i][1]);
    }
}

/* What was offered to the kernel comes home when nobody receives, and the next receive works. */
OURO_TEST(buffers_of_a_burst_of_receives_give_their_memory_back)
{
    struct bench bench;
    struct ouro__loan_pool *pool = open_with_pool(&bench, 16384);
    for (int round = 0; round < 2; round++) {
        for (int burst = 0; burst < 3; burst++)
            receive_burst(&bench, BUFFERS / 2);
        ck_assert_uint_ge(with_memory(pool), BUFFERS / 4);
        pass(&bench, 8 * WINDOW);
        ck_assert_uint_le(with_memory(pool), OURO__LOANS_FEW);
        ck_assert(!ouro__trim_is_wanted(&bench.handle));
    }
    bench_close(&bench);
}

/* While one receives, none that is offered loses its memory: the kernel may just have written to
 * it.  Fewer are offered with time. */
OURO_TEST_URING(what_is_offered_is_left_alone_while_one_receives)
{
    struct bench bench;
    struct ouro__loan_pool *pool = open_with_pool(&bench, 16384);
    struct ouro__uring_buffers *buffers = &ouro__uring_of(bench.handle.driver)->buffers;
    receive_burst(&bench, BUFFERS / 2);
    uint32_t target = buffers->target;
    ck_assert_uint_gt(target, OURO__LOANS_FEW);

    struct trial trial;
    int ends[2];
    bench_pair(ends);
    struct ouro__registration reading = bench_register(&bench, ends[0]);
    trial_init(&trial, &bench, &reading, OURO__OP_RECV_LOAN, OURO__LANE_READ);
    ouro__op_init_loan(&trial.op, OURO__OP_RECV_LOAN, OURO__LANE_READ, pool->buffer_bytes);
    trial_submit(&trial);
    bench_turn(&bench, 0);
    uint32_t offered = pool->offered_count;
    ouro_test_write_exactly(ends[1], "kept", 4);
    pass(&bench, 8 * WINDOW);
    ck_assert_ptr_nonnull(buffers->ring);
    ck_assert_uint_eq(pool->offered_count, offered);
    ck_assert_uint_lt(buffers->target, target);
    ck_assert_int_eq(trial_wait(&trial), 4);
    ck_assert_mem_eq(trial.op.arg.io.buffer, "kept", 4);
    ouro__lending_put(bench.handle.driver, trial.op.arg.io.loan);
    bench_release(&bench, &reading);
    bench_close(&bench);
    (void)close(ends[0]);
    (void)close(ends[1]);
}
