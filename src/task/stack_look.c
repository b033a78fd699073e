/* SPDX-License-Identifier: MIT */
/*
 * Looking at stacks from outside: whose is this address, and how deep was this stack used.
 *
 * The depth is read from the memory itself, so that running fibers pay nothing for it: mincore()
 * tells which pages were touched, and in the lowest of these the lowest word that is not zero is
 * the mark.  A page given to the swap does not count as touched, so under memory pressure the
 * answer may be too small.
 *
 * Finding an address walks the list of slabs, newest first.  Slabs are only ever added in front,
 * and filled in before they are; the walk takes no lock and is safe in a signal handler.
 *
 * Owns:    nothing.
 * Threads: ouro__stack_find() any, and signal handlers; ouro__stack_used_bytes() the pool's owner.
 * Always:  reads only.
 */
#include <sys/mman.h>

#include "base/assert.h"
#include "task/stack.h"
#include "task/stack_slab.h"
#include "task/stack_tools.h"

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
    char *page = first_resident_page(low, low + pool->stack_bytes, pool->page_bytes);

    if (page >= top)
        return 0;
    const char *page_end = page + pool->page_bytes < top ? page + pool->page_bytes : top;
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
    const struct ouro__stack_slab *slab = atomic_load_explicit(&pool->newest, memory_order_acquire);
    uintptr_t wanted = (uintptr_t)address;

    for (; slab; slab = slab->older) {
        uintptr_t base = (uintptr_t)slab->base;
        size_t carved = atomic_load_explicit(&slab->carved, memory_order_acquire);
        if (wanted < base || wanted - base >= carved * pool->stride_bytes)
            continue;
        size_t index = (wanted - base) / pool->stride_bytes;
        char *guard = slab->base + index * pool->stride_bytes;
        *out = (struct ouro__stack_info){
            .header = ouro__stack_slab_header(pool, slab, index),
            .stack_low = guard + pool->guard_bytes,
            .usable_bytes = pool->usable_bytes,
            .guard_low = guard,
            .in_guard = wanted < (uintptr_t)guard + pool->guard_bytes,
        };
        return true;
    }
    return false;
}
