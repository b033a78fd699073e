/* SPDX-License-Identifier: MIT */
/*
 * The pool of stacks: get, put, grow, and look.
 *
 * Idle stacks are kept in an array, last in, first out.  A link inside the stack itself would save
 * the array, but each get would miss the cache, and fault on a cold stack.  The array always has
 * room for every stack made, so put cannot fail; it is a mapping of its own, because a large block
 * that the heap gets back may stay with the process.  A stack whose memory was given back leaves
 * the array for a bit in its slab; it is taken again when the array is empty, before a new one is
 * made.
 *
 * Slabs start with 16 stacks and double up to 4,096.  A stack is carved from its slab when it is
 * first wanted, so growth never costs more than one guard at a time.
 *
 * Where the top of a stack lies matters.  If all tops had the same offset in a page, the first
 * frames and headers of all fibers would compete for the same few sets of the first-level cache,
 * whose set is chosen by the address within a page.  So the header goes down by 64 bytes more from
 * one stack to the next, over 16 steps (the "colour").  A stride of a power of two would do the
 * same to the translation cache and, with huge pages, to the second level, so the stride is an odd
 * number of pages.
 *
 * The depth of use is read from the memory itself, so running fibers pay nothing for it: mincore()
 * tells which pages were touched, and the lowest word that is not zero in the lowest of these is
 * the mark.  A page in swap does not count as touched, so under memory pressure the answer may be
 * too small.
 *
 * Owns:    its slabs and the array.
 * Threads: the owner's, except ouro__stack_find(): any, and signal handlers.  It walks the list of
 *          slabs without a lock; a slab is filled in before it is added in front, and one that has
 *          left the list keeps its link until nobody can be on it.
 * Always:  idle + used + clean = made; each carved stack is in one of the three.
 * Tests:   tests/fiber/test_stack.c
 */
#include "fiber/stack.h"

#include "base/assert.h"
#include "base/clock.h"
#include "fiber/stack_tools.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#define SLAB_COUNT_MAX 4096
/* Sizes beyond this are mistakes, and below it no sum of them overflows. */
#define SIZE_LIMIT ((size_t)1 << (sizeof(size_t) * 8 - 12))

static size_t round_up(size_t value, size_t multiple)
{
    return (value + multiple - 1) / multiple * multiple;
}

int ouro__stack_pool_init(struct ouro__stack_pool *pool,
                          const struct ouro__stack_pool_config *config)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t usable =
        config->usable_size_bytes ? config->usable_size_bytes : OURO__STACK_USABLE_DEFAULT_BYTES;
    size_t guard =
        config->guard_size_bytes ? config->guard_size_bytes : OURO__STACK_GUARD_DEFAULT_BYTES;

    if (usable >= SIZE_LIMIT || guard >= SIZE_LIMIT || config->header_size_bytes >= SIZE_LIMIT)
        return -EINVAL;

    *pool = (struct ouro__stack_pool){
        .watched = OURO__ASAN || ouro__stack_on_valgrind(),
        .shape = {.madv_guard = config->use_madv_guard,
                  .page_bytes = page,
                  .header_bytes = round_up(config->header_size_bytes, OURO__STACK_HEADER_ALIGNMENT),
                  .usable_bytes = round_up(usable, page),
                  .guard_bytes = round_up(guard, page)},
        .stacks_max = config->stacks_max ? config->stacks_max : OURO__STACK_NO_LIMIT,
        .slab_count_next = OURO__STACK_SLAB_COUNT_FIRST,
        .trim = {.at_ns = OURO__NEVER},
    };
    struct ouro__stack_shape *shape = &pool->shape;
    shape->stack_bytes =
        round_up(shape->usable_bytes + shape->header_bytes + OURO__STACK_COLOUR_MAX_BYTES, page);
    shape->stride_bytes = shape->guard_bytes + shape->stack_bytes;
    if (shape->stride_bytes / page % 2 == 0) {
        shape->guard_bytes += page;
        shape->stride_bytes += page;
    }
    return 0;
}

void ouro__stack_pool_abandon(struct ouro__stack_pool *pool)
{
    pool->used_count = 0;
}

void ouro__stack_pool_fini(struct ouro__stack_pool *pool)
{
    struct ouro__stack_slab *slab = ouro__load(&pool->newest, memory_order_relaxed);

    OURO__ASSERT(pool->used_count == 0);
    ouro__store(&pool->newest, NULL, memory_order_release);
    while (slab) {
        struct ouro__stack_slab *older = ouro__load(&slab->older, memory_order_relaxed);
        ouro__stack_slab_unmap(slab);
        slab = older;
    }
    while (pool->retired) {
        slab = pool->retired;
        pool->retired = slab->next_retired;
        ouro__stack_slab_unmap(slab);
    }
    if (pool->idle)
        OURO__ASSERT(munmap(pool->idle, pool->idle_capacity * sizeof(pool->idle[0])) == 0);
    pool->idle = NULL;
    pool->clean_slab = NULL;
    pool->idle_count = pool->idle_capacity = pool->idle_low = 0;
    pool->clean_count = pool->made_count = 0;
    pool->trim = (struct ouro__stack_trim_state){.at_ns = OURO__NEVER};
}

/* The whole of a stack, header and colour included. */
static char *stack_of(const struct ouro__stack_pool *pool, const void *header)
{
    /* The header ends less than a page below the stack's end, and that is the end of a page. */
    const struct ouro__stack_shape *shape = &pool->shape;
    uintptr_t in_page = shape->page_bytes - 1; /* a mask: a division would slow each spawn down */
    uintptr_t end = ((uintptr_t)header + shape->header_bytes + in_page) & ~in_page;
    return (char *)(end - shape->stack_bytes);
}

/* Room in the array of idle stacks for @count of them in all. */
static int reserve_idle(struct ouro__stack_pool *pool, size_t count)
{
    size_t old_bytes = pool->idle_capacity * sizeof(pool->idle[0]);
    size_t bytes = round_up(count * sizeof(pool->idle[0]), pool->shape.page_bytes);

    if (count <= pool->idle_capacity)
        return 0;
    void *idle =
        pool->idle ? mremap(pool->idle, old_bytes, bytes, MREMAP_MAYMOVE)
                   : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (idle == MAP_FAILED)
        return -ENOMEM;
    pool->idle = idle;
    pool->idle_capacity = bytes / sizeof(pool->idle[0]);
    return 0;
}

static struct ouro__stack_slab *add_slab(struct ouro__stack_pool *pool)
{
    struct ouro__stack_slab *slab = ouro__stack_slab_map(&pool->shape, pool->slab_count_next);

    if (!slab)
        return NULL;
    if (reserve_idle(pool, pool->made_count + slab->count) != 0) {
        ouro__stack_slab_unmap(slab);
        return NULL;
    }
    ouro__store(&slab->older, ouro__load(&pool->newest, memory_order_relaxed),
                memory_order_relaxed);
    ouro__store(&pool->newest, slab, memory_order_release);
    if (pool->slab_count_next < SLAB_COUNT_MAX)
        pool->slab_count_next *= 2;
    return slab;
}

/* The oldest slab that has a clean stack: so that the newest, which are the largest, stay unused
 * and can be unmapped. */
static struct ouro__stack_slab *find_clean_slab(const struct ouro__stack_pool *pool)
{
    struct ouro__stack_slab *found = NULL;
    struct ouro__stack_slab *slab = ouro__load(&pool->newest, memory_order_relaxed);

    for (; slab; slab = ouro__load(&slab->older, memory_order_relaxed)) {
        if (slab->clean_count > 0)
            found = slab;
    }
    return found;
}

static void *take_clean(struct ouro__stack_pool *pool)
{
    struct ouro__stack_slab *slab = pool->clean_slab;

    if (!slab || slab->clean_count == 0)
        slab = find_clean_slab(pool);
    pool->clean_slab = slab;
    pool->clean_count--;
    return ouro__stack_slab_header(&pool->shape, slab, ouro__stack_slab_take_clean(slab));
}

/* A stack that holds no memory: one that was given back, or one that was never used. */
OURO__COLD static void *make_stack(struct ouro__stack_pool *pool)
{
    if (pool->clean_count > 0)
        return take_clean(pool);

    struct ouro__stack_slab *slab = ouro__load(&pool->newest, memory_order_relaxed);
    size_t index = slab ? ouro__load(&slab->carved, memory_order_relaxed) : 0;

    if (pool->made_count >= pool->stacks_max)
        return NULL;
    if (!slab || index == slab->count) {
        slab = add_slab(pool);
        if (!slab)
            return NULL;
        index = 0;
    }
    if (ouro__stack_slab_carve(&pool->shape, slab, pool->made_count == 0) != 0)
        return NULL;

    pool->made_count++;
    return ouro__stack_slab_header(&pool->shape, slab, index);
}

OURO__COLD static void tell_tools(const struct ouro__stack_pool *pool, const void *header,
                                  bool opened)
{
    char *stack = stack_of(pool, header);

    if (opened) {
        ouro__stack_asan_open(stack, pool->shape.stack_bytes);
        ouro__stack_valgrind_open(stack, pool->shape.stack_bytes);
    } else {
        ouro__stack_asan_close(stack, pool->shape.stack_bytes);
        ouro__stack_valgrind_close(stack, pool->shape.stack_bytes);
    }
}

void *ouro__stack_get(struct ouro__stack_pool *pool)
{
    void *header = NULL;

    if (OURO__LIKELY(pool->idle_count > 0)) {
        header = pool->idle[--pool->idle_count];
        if (pool->idle_low > pool->idle_count)
            pool->idle_low = pool->idle_count;
    } else {
        header = make_stack(pool);
        if (!header)
            return NULL;
    }
    pool->used_count++;
    if (OURO__UNLIKELY(pool->watched))
        tell_tools(pool, header, true);
    return header;
}

void ouro__stack_put(struct ouro__stack_pool *pool, void *header)
{
    OURO__ASSERT(pool->used_count > 0);
    if (OURO__UNLIKELY(pool->watched))
        tell_tools(pool, header, false);
    pool->used_count--;
    pool->idle[pool->idle_count++] = header;
}

void *ouro__stack_low(const struct ouro__stack_pool *pool, const void *header)
{
    return stack_of(pool, header);
}

size_t ouro__stack_used_count(const struct ouro__stack_pool *pool)
{
    return pool->used_count;
}

size_t ouro__stack_made_count(const struct ouro__stack_pool *pool)
{
    return pool->made_count;
}

#define PAGES_PER_CALL 256

/* The lowest page from @low on that holds memory, or @end. */
static char *first_resident_page(char *low, char *end, size_t page_bytes)
{
    unsigned char resident[PAGES_PER_CALL];

    for (char *from = low; from < end; from += PAGES_PER_CALL * page_bytes) {
        size_t pages = (size_t)(end - from) / page_bytes;
        if (pages > PAGES_PER_CALL)
            pages = PAGES_PER_CALL;
        OURO__ASSERT(mincore(from, pages * page_bytes, resident) == 0);
        for (size_t i = 0; i < pages; i++) {
            if (resident[i] & 1)
                return from + i * page_bytes;
        }
    }
    return end;
}

/* Reads a stack that other functions' frames are on, so ASan must not look. */
OURO__NO_ASAN static const char *first_nonzero(const char *low, const char *end)
{
    const volatile uintptr_t *word = (const volatile uintptr_t *)(const volatile void *)low;

    for (size_t i = 0; i < (size_t)(end - low) / sizeof(*word); i++) {
        if (word[i] != 0)
            return low + i * sizeof(*word);
    }
    return NULL;
}

size_t ouro__stack_used_bytes(const struct ouro__stack_pool *pool, const void *header)
{
    char *low = ouro__stack_low(pool, header);
    const char *top = header;
    size_t page_bytes = pool->shape.page_bytes;
    char *page = first_resident_page(low, low + pool->shape.stack_bytes, page_bytes);

    if (page >= top)
        return 0;
    const char *page_end = page + page_bytes < top ? page + page_bytes : top;
    ouro__stack_valgrind_look_away(); /* dead frames are not initialised */
    const char *mark = first_nonzero(page, page_end);
    ouro__stack_valgrind_look_again();
    if (mark)
        return (size_t)(top - mark);
    /* Nothing but zeros: touched all the same, unless it is the page that the header is in. */
    return page_end == top ? 0 : (size_t)(top - page);
}

bool ouro__stack_find(const struct ouro__stack_pool *pool, const void *address,
                      struct ouro__stack_info *out)
{
    const struct ouro__stack_shape *shape = &pool->shape;
    /* Sequentially consistent, as is the retiring of a slab: see stack_slab.h on watchers. */
    const struct ouro__stack_slab *slab = ouro__load(&pool->newest, memory_order_seq_cst);
    uintptr_t wanted = (uintptr_t)address;

    for (; slab; slab = ouro__load(&slab->older, memory_order_seq_cst)) {
        uintptr_t base = (uintptr_t)slab->base;
        size_t carved = ouro__load(&slab->carved, memory_order_acquire);
        if (wanted < base || wanted - base >= carved * shape->stride_bytes)
            continue;
        size_t index = (wanted - base) / shape->stride_bytes;
        char *guard = slab->base + index * shape->stride_bytes;
        *out = (struct ouro__stack_info){
            .header = ouro__stack_slab_header(shape, slab, index),
            .stack_low = guard + shape->guard_bytes,
            .usable_bytes = shape->usable_bytes,
            .guard_low = guard,
            .in_guard = wanted < (uintptr_t)guard + shape->guard_bytes,
        };
        return true;
    }
    return false;
}
