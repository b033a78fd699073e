/* SPDX-License-Identifier: MIT */
/*
 * Gives back what idle stacks hold, in bounded steps.
 *
 * get() notes the fewest idle stacks there were (idle_low), which costs a comparison.  The array of
 * idle stacks is last in, first out, so the lowest idle_low entries were not touched since the note
 * was last reset: they are the window's cold ones.
 *
 *     idle[]   | 0 ... cold | ... idle_low | ... idle_count |
 *                given back   not used       used in this window
 *
 * A step takes them from the top of the cold part, so that only the hot part is moved down.  When
 * all are done, slabs that are wholly clean are unmapped: their page tables are memory too, and
 * guards made by mprotect() are of a number that the process shares.  Last the unused end of the
 * array of idle stacks itself goes back; its capacity stays, so that put() needs no memory.
 *
 * A slab leaves the pool's list at once, and is unmapped only after a moment at which no signal
 * handler was looking at stacks.
 *
 * Owns:    nothing; it works on its caller's pool.
 * Threads: the pool's owner.
 * Always:  a window's cold stacks are no more than idle_low.
 * Tests:   tests/fiber/test_stack_trim.c
 */
#include "fiber/stack_trim.h"

#include <string.h>
#include <sys/mman.h>

#include "base/assert.h"

static struct ouro__stack_slab *slab_of(const struct ouro__stack_pool *pool, const void *header)
{
    struct ouro__stack_slab *slab = ouro__load(&pool->newest, memory_order_relaxed);
    uintptr_t address = (uintptr_t)header;

    while (slab &&
           (address < (uintptr_t)slab->base || address - (uintptr_t)slab->base >= slab->bytes))
        slab = ouro__load(&slab->older, memory_order_relaxed);
    OURO__ASSERT(slab != NULL);
    return slab;
}

/* Cleans idle[@from] up to idle[@to], and takes them out of the array. */
static void clean(struct ouro__stack_pool *pool, size_t from, size_t to)
{
    struct ouro__stack_slab *slab = NULL;
    size_t count = to - from;

    for (size_t i = from; i < to; i++) {
        uintptr_t address = (uintptr_t)pool->idle[i];
        if (!slab || address < (uintptr_t)slab->base ||
            address - (uintptr_t)slab->base >= slab->bytes)
            slab = slab_of(pool, pool->idle[i]);
        size_t index = (address - (uintptr_t)slab->base) / pool->shape.stride_bytes;
        ouro__stack_slab_clean(slab, &pool->shape, index);
    }
    memmove(&pool->idle[from], &pool->idle[to], (pool->idle_count - to) * sizeof(pool->idle[0]));
    pool->idle_count -= count;
    pool->clean_count += count;
    pool->idle_low = pool->idle_low > count ? pool->idle_low - count : 0;
}

size_t ouro__stack_trim(struct ouro__stack_pool *pool, size_t keep_hot)
{
    size_t count = pool->idle_count > keep_hot ? pool->idle_count - keep_hot : 0;

    if (count > 0)
        clean(pool, 0, count);
    pool->trim.cold = 0;
    return count;
}

/* Takes one slab whose stacks are all clean off the list; false when there is none. */
static bool retire_slab(struct ouro__stack_pool *pool)
{
    _Atomic(struct ouro__stack_slab *) *link = &pool->newest;
    struct ouro__stack_slab *slab = NULL;

    for (; (slab = ouro__load(link, memory_order_relaxed)) != NULL; link = &slab->older) {
        size_t carved = ouro__load(&slab->carved, memory_order_relaxed);
        if (slab->clean_count < carved)
            continue;
        ouro__store(link, ouro__load(&slab->older, memory_order_relaxed), memory_order_seq_cst);
        slab->next_retired = pool->retired;
        pool->retired = slab;
        pool->made_count -= carved;
        pool->clean_count -= carved;
        if (pool->clean_slab == slab)
            pool->clean_slab = NULL;
        if (pool->slab_count_next > OURO__STACK_SLAB_COUNT_FIRST)
            pool->slab_count_next /= 2;
        return true;
    }
    return false;
}

/* One part of one retired slab; how long to wait before the next. */
static int64_t unmap_part(struct ouro__stack_pool *pool)
{
    struct ouro__stack_slab *slab = pool->retired;
    struct ouro__stack_slab *next = slab->next_retired;
    size_t bytes = slab->bytes;

    if (ouro__stack_slab_is_watched())
        return OURO__STACK_TRIM_WINDOW_NS;
    if (ouro__stack_slab_unmap_part(slab, &pool->shape, OURO__STACK_TRIM_PER_STEP))
        pool->retired = next;
    else if (slab->bytes == bytes) /* refused: not at once again */
        return OURO__STACK_TRIM_WINDOW_NS;
    return OURO__STACK_TRIM_PAUSE_NS;
}

/* The end of the array, which holds no header. */
static void give_back_array(const struct ouro__stack_pool *pool)
{
    size_t page = pool->shape.page_bytes;
    size_t used = (pool->idle_count * sizeof(pool->idle[0]) + page - 1) / page * page;
    size_t all = pool->idle_capacity * sizeof(pool->idle[0]);

    if (used < all)
        (void)madvise((char *)pool->idle + used, all - used, MADV_DONTNEED);
}

/* What is due next of a window's work, in the order above; how long to wait before the next, and 0
 * when nothing is left. */
static int64_t work(struct ouro__stack_pool *pool)
{
    struct ouro__stack_trim_state *trim = &pool->trim;

    if (trim->cold > pool->idle_low) /* taken since the step before */
        trim->cold = pool->idle_low;
    if (trim->cold > 0) {
        size_t count =
            trim->cold < OURO__STACK_TRIM_PER_STEP ? trim->cold : OURO__STACK_TRIM_PER_STEP;
        clean(pool, trim->cold - count, trim->cold);
        trim->cold -= count;
        trim->is_settling = true;
        return OURO__STACK_TRIM_PAUSE_NS;
    }
    if (pool->retired)
        return unmap_part(pool);
    if (trim->is_settling) {
        if (retire_slab(pool))
            return OURO__STACK_TRIM_PAUSE_NS;
        trim->is_settling = false;
        give_back_array(pool);
    }
    return 0;
}

int64_t ouro__stack_trim_step(struct ouro__stack_pool *pool, int64_t now_ns)
{
    struct ouro__stack_trim_state *trim = &pool->trim;

    if (trim->at_ns != OURO__NEVER) {
        if (now_ns < trim->at_ns)
            return trim->at_ns;
        if (trim->cold == 0 && !trim->is_settling && !pool->retired) { /* a window ends */
            trim->cold = pool->idle_low;
            pool->idle_low = pool->idle_count;
        }
        int64_t pause_ns = work(pool);
        if (pause_ns > 0) {
            trim->at_ns = ouro__clock_add_ns(now_ns, pause_ns);
            return trim->at_ns;
        }
    }
    /* The next window begins, if there is anything to look for. */
    pool->idle_low = pool->idle_count;
    trim->at_ns = pool->idle_count > OURO__STACK_IDLE_FEW
                      ? ouro__clock_add_ns(now_ns, OURO__STACK_TRIM_WINDOW_NS)
                      : OURO__NEVER;
    return trim->at_ns;
}
