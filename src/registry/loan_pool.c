/* SPDX-License-Identifier: MIT */
/*
 * Loan pool: the buffers of one driver that receives on loan use.
 *
 * The buffers are one mapping.  It is only address space at first; buffers are made in it, STEP at
 * a time, when none is at home.  So a large limit costs nothing, and handlers that keep their loans
 * while their peers do not read take no buffer from anybody else.  The buffer that came home last
 * is taken first, so a pool touches as many buffers as were out at a time.
 *
 * Buffers that were at home for a whole window of time give their memory back (registry/trim.c).
 * One that is offered to the kernel does not, because nobody can tell whether the kernel has just
 * written to it.  Small buffers share pages: a page goes back when all of its buffers may.
 *
 * A receive that finds no buffer waits in the pool's list: the pool has all that it may have, or
 * the system has no memory for more.  No buffers are made while one waits.  A buffer that comes
 * home while an operation waits is that operation's at once: it is neither put at home nor offered
 * to the kernel, where a later receive could take it.  So a receive waits for as many buffers as
 * there were receives before it.
 *
 * Under ASan the buffers that nobody has are poisoned: using a loan after its release is reported.
 *
 * Owns:    the mapping and the table of buffers, until the handle of the driver is released: loans
 *          may outlive the driver.
 * Threads: the driver's; ouro__loan_buffer_give_back() any.
 * Always:  a buffer has one owner: the pool, the kernel, an operation, a loan, or its message home.
 *          While an operation waits, no buffer is at home.
 * Tests:   tests/registry/test_loan_pool.c, tests/registry/test_trim.c
 */
#include "registry/loan_pool.h"

#include "base/alloc.h"
#include "base/assert.h"

#include <sys/mman.h>
#include <unistd.h>

#if OURO__ASAN
#include <sanitizer/asan_interface.h>
#endif

enum { ALIGNMENT = 64 };

/* A step of a trim looks at so many units at most. */
enum { LOOKS_MAX = 1024 };

static void poison(const char *data, size_t size)
{
#if OURO__ASAN
    __asan_poison_memory_region(data, size);
#else
    (void)data;
    (void)size;
#endif
}

static void unpoison(const char *data, size_t size)
{
#if OURO__ASAN
    __asan_unpoison_memory_region(data, size);
#else
    (void)data;
    (void)size;
#endif
}

static inline unsigned state_of(uint32_t word)
{
    return word % OURO__LOAN_STATES;
}

static inline uint32_t with_state(uint32_t word, unsigned state)
{
    return word - state_of(word) + state;
}

/* On the driver's thread, which nobody races: others only change what is OUT. */
static void change(struct ouro__loan_buffer *buffer, unsigned from, unsigned to)
{
    uint32_t word = ouro__load(&buffer->word, memory_order_relaxed);
    OURO__ASSERT(state_of(word) == from);
    ouro__store(&buffer->word, with_state(word, to), memory_order_relaxed);
}

/* Distance between two buffers: whole pages, or a part that a page has a whole number of. */
static size_t stride_of(size_t buffer_bytes, size_t page)
{
    size_t stride = ALIGNMENT;
    if (buffer_bytes >= page)
        return (buffer_bytes + page - 1) / page * page;
    while (stride < buffer_bytes)
        stride *= 2;
    return stride;
}

static void put_at_home(struct ouro__loan_pool *pool, struct ouro__loan_buffer *buffer)
{
    buffer->next = pool->home;
    buffer->window = pool->window;
    pool->home = buffer;
    pool->home_count++;
    pool->warm_count += buffer->is_warm;
}

/* Makes the memory of @count buffers from @from on usable. */
static int open_memory(const struct ouro__loan_pool *pool, uint32_t from, uint32_t count)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t begin = from * pool->stride_bytes / page * page;
    size_t end = (from + (size_t)count) * pool->stride_bytes;
    return mprotect(pool->memory + begin, end - begin, PROT_READ | PROT_WRITE);
}

/* False: there are as many as there may be, or there is no memory. */
static bool make_step(struct ouro__loan_pool *pool)
{
    const uint32_t from = pool->made;
    const uint32_t left = pool->count - from;
    const uint32_t count = left < OURO__LOANS_STEP ? left : OURO__LOANS_STEP;
    struct ouro__loan_buffer *table = count == 0 ? NULL : ouro__calloc(count, sizeof(*table));
    if (table == NULL)
        return false;
    if (open_memory(pool, from, count) != 0) {
        ouro__free(table);
        return false;
    }
    poison(pool->memory + from * pool->stride_bytes, count * pool->stride_bytes);
    pool->step[from / OURO__LOANS_STEP] = table;
    pool->made += count;
    for (uint32_t i = count; i-- > 0;) {
        table[i].pool = pool;
        table[i].index = from + i;
        table[i].data = pool->memory + (from + i) * pool->stride_bytes;
        ouro__atomic_init(&table[i].word, OURO__LOAN_HOME);
        put_at_home(pool, &table[i]);
    }
    return true;
}

static struct ouro__loan_buffer *take_from_home(struct ouro__loan_pool *pool)
{
    /* What waits would be overtaken by a buffer that is made now. */
    if (OURO__UNLIKELY(pool->home == NULL) &&
        (!ouro__queue_is_empty(&pool->waiters) || !make_step(pool)))
        return NULL;
    struct ouro__loan_buffer *buffer = pool->home;
    pool->home = buffer->next;
    pool->home_count--;
    pool->warm_count -= buffer->is_warm;
    return buffer;
}

static void free_memory(struct ouro__loan_pool *pool)
{
    unpoison(pool->memory, pool->made * pool->stride_bytes);
    (void)munmap(pool->memory, pool->memory_bytes);
    for (uint32_t i = 0; i < pool->made; i += OURO__LOANS_STEP)
        ouro__free(pool->step[i / OURO__LOANS_STEP]);
    ouro__free(pool->step);
    ouro__free(pool);
}

struct ouro__loan_pool *ouro__loan_pool_new(struct ouro__driver_handle *handle, size_t buffer_bytes,
                                            uint32_t count)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t stride = stride_of(buffer_bytes, page);
    if (count > SIZE_MAX / stride)
        return NULL;
    struct ouro__loan_pool *pool = ouro__calloc(1, sizeof(*pool));
    struct ouro__loan_buffer **step = ouro__calloc(count / OURO__LOANS_STEP + 1, sizeof(void *));
    void *memory = MAP_FAILED;
    if (pool != NULL && step != NULL)
        memory = mmap(NULL, stride * count, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                      -1, 0);
    if (memory == MAP_FAILED) {
        ouro__free(pool);
        ouro__free(step);
        return NULL;
    }
    *pool = (struct ouro__loan_pool){.handle = handle,
                                     .memory = memory,
                                     .memory_bytes = stride * count,
                                     .buffer_bytes = buffer_bytes,
                                     .stride_bytes = stride,
                                     .unit_bytes = stride < page ? page : stride,
                                     .unit_buffers = stride < page ? (uint32_t)(page / stride) : 1,
                                     .step = step,
                                     .count = count};
    if (make_step(pool)) /* so that a receive that waits waits for somebody */
        return pool;
    free_memory(pool);
    return NULL;
}

bool ouro__loan_pool_is_used(struct ouro__loan_pool *pool)
{
    for (uint32_t i = 0; i < pool->made; i++) {
        unsigned state =
            state_of(ouro__load(&ouro__loan_pool_at(pool, i)->word, memory_order_acquire));
        if (state == OURO__LOAN_OUT || state == OURO__LOAN_RETURNED)
            return true;
    }
    return false;
}

void ouro__loan_pool_free(struct ouro__loan_pool *pool)
{
    if (pool == NULL)
        return;
    OURO__ASSERT(!ouro__loan_pool_is_used(pool) && ouro__queue_is_empty(&pool->waiters));
    free_memory(pool);
}

void ouro__loan_pool_withdraw(struct ouro__loan_pool *pool)
{
    for (uint32_t i = 0; i < pool->made && pool->offered_count > 0; i++) {
        struct ouro__loan_buffer *buffer = ouro__loan_pool_at(pool, i);
        if (state_of(ouro__load(&buffer->word, memory_order_relaxed)) != OURO__LOAN_OFFERED)
            continue;
        change(buffer, OURO__LOAN_OFFERED, OURO__LOAN_HOME);
        pool->offered_count--;
        put_at_home(pool, buffer);
    }
}

struct ouro__loan_buffer *ouro__loan_pool_take(struct ouro__loan_pool *pool)
{
    struct ouro__loan_buffer *buffer = take_from_home(pool);
    if (buffer == NULL)
        return NULL;
    change(buffer, OURO__LOAN_HOME, OURO__LOAN_OUT);
    buffer->is_warm = true;
    unpoison(buffer->data, pool->buffer_bytes);
    return buffer;
}

struct ouro__loan_buffer *ouro__loan_pool_offer(struct ouro__loan_pool *pool)
{
    struct ouro__loan_buffer *buffer = take_from_home(pool);
    if (buffer == NULL)
        return NULL;
    change(buffer, OURO__LOAN_HOME, OURO__LOAN_OFFERED);
    pool->offered_count++;
    return buffer;
}

struct ouro__loan_buffer *ouro__loan_pool_claim(struct ouro__loan_pool *pool, uint32_t index)
{
    OURO__ASSERT(index < pool->made);
    struct ouro__loan_buffer *buffer = ouro__loan_pool_at(pool, index);
    change(buffer, OURO__LOAN_OFFERED, OURO__LOAN_OUT);
    buffer->is_warm = true;
    pool->offered_count--;
    if (pool->offered_low > pool->offered_count)
        pool->offered_low = pool->offered_count;
    unpoison(buffer->data, pool->buffer_bytes);
    return buffer;
}

bool ouro__loan_buffer_give_back(struct ouro__loan_buffer *buffer, uint32_t word)
{
    return state_of(word) == OURO__LOAN_OUT &&
           ouro__compare_exchange(&buffer->word, &word, with_state(word, OURO__LOAN_RETURNED),
                                  memory_order_acq_rel);
}

void ouro__loan_buffer_strand(struct ouro__loan_buffer *buffer)
{
    uint32_t word = ouro__load(&buffer->word, memory_order_relaxed);
    OURO__ASSERT(state_of(word) == OURO__LOAN_RETURNED);
    poison(buffer->data, buffer->pool->buffer_bytes);
    ouro__store(&buffer->word, with_state(word, OURO__LOAN_HOME), memory_order_release);
}

struct ouro__op *ouro__loan_pool_put(struct ouro__loan_pool *pool, struct ouro__loan_buffer *buffer)
{
    uint32_t word = ouro__load(&buffer->word, memory_order_relaxed);
    OURO__ASSERT(buffer->pool == pool);
    OURO__ASSERT(state_of(word) == OURO__LOAN_RETURNED);
    word += OURO__LOAN_STATES; /* the next loan of it is another one */
    struct ouro__queue_node *node = ouro__queue_pop(&pool->waiters);
    if (OURO__UNLIKELY(node != NULL)) {
        struct ouro__op *op = OURO__CONTAINER_OF(node, struct ouro__op, node);
        ouro__store(&buffer->word, with_state(word, OURO__LOAN_OUT), memory_order_relaxed);
        ouro__loan_buffer_assign(buffer, op);
        return op;
    }
    ouro__store(&buffer->word, with_state(word, OURO__LOAN_HOME), memory_order_relaxed);
    poison(buffer->data, pool->buffer_bytes);
    put_at_home(pool, buffer);
    return NULL;
}

void ouro__loan_pool_wait(struct ouro__loan_pool *pool, struct ouro__op *op)
{
    OURO__ASSERT(pool->home == NULL && op->arg.io.loan == NULL);
    ouro__queue_push(&pool->waiters, &op->node);
}

void ouro__loan_pool_leave(struct ouro__loan_pool *pool, struct ouro__op *op)
{
    ouro__queue_remove(&pool->waiters, &op->node);
}

void ouro__loan_pool_end_window(struct ouro__loan_pool *pool)
{
    pool->trim_next = 0;
    pool->offered_low = pool->offered_count;
}

/* Whether all buffers of @from up to @to may lose their memory, and one of them has some. */
static bool is_cold(const struct ouro__loan_pool *pool, uint32_t from, uint32_t to)
{
    bool has_memory = false;
    for (uint32_t i = from; i < to; i++) {
        const struct ouro__loan_buffer *buffer = ouro__loan_pool_at(pool, i);
        uint32_t word = ouro__load(&buffer->word, memory_order_relaxed);
        if (state_of(word) != OURO__LOAN_HOME ||
            (buffer->is_warm && buffer->window == pool->window))
            return false;
        has_memory |= buffer->is_warm;
    }
    return has_memory;
}

static void cool(struct ouro__loan_pool *pool, uint32_t from, uint32_t to)
{
    char *data = ouro__loan_pool_at(pool, from)->data;
    /* Can't fail on a private mapping of ours, unless it is locked; then the memory stays. */
    (void)madvise(data, pool->unit_bytes, MADV_DONTNEED);
    for (uint32_t i = from; i < to; i++) {
        struct ouro__loan_buffer *buffer = ouro__loan_pool_at(pool, i);
        pool->warm_count -= buffer->is_warm;
        buffer->is_warm = false;
    }
}

bool ouro__loan_pool_trim(struct ouro__loan_pool *pool, unsigned calls_max)
{
    unsigned calls = 0;
    unsigned looks = 0;
    while (pool->trim_next < pool->made && pool->warm_count > 0) {
        if (calls == calls_max || looks++ == LOOKS_MAX)
            return true;
        uint32_t from = pool->trim_next;
        uint32_t to =
            pool->made - from < pool->unit_buffers ? pool->made : from + pool->unit_buffers;
        pool->trim_next = to;
        if (!is_cold(pool, from, to))
            continue;
        cool(pool, from, to);
        calls++;
    }
    if (pool->trim_next != UINT32_MAX)
        pool->window++;
    pool->trim_next = UINT32_MAX; /* nothing more before the end of the next window */
    return false;
}
