/* SPDX-License-Identifier: MIT */
/*
 * Alloc: every heap allocation of the library.  Tests make allocations fail here.
 *
 * Owns:    nothing; in testing builds three counters.
 * Threads: any.
 * Always:  testing builds count every block from its allocation to its release.
 * Tests:   tests/blocking/test_pool.c, tests/harness/test_helpers.c
 */
#include "base/alloc.h"

#include "base/atomic.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#ifdef OURO_TESTING

static _Atomic int64_t live_blocks;
static _Atomic uint64_t calls;
static _Atomic uint64_t fail_at;

/* Whether this allocation is the one that shall fail. */
static int must_fail(void)
{
    uint64_t call = ouro__fetch_add(&calls, 1, memory_order_relaxed) + 1;
    return call == ouro__load(&fail_at, memory_order_relaxed);
}

static void *counted(void *memory)
{
    if (memory != NULL)
        ouro__fetch_add(&live_blocks, 1, memory_order_relaxed);
    return memory;
}

static void uncounted(const void *memory)
{
    if (memory != NULL)
        ouro__fetch_sub(&live_blocks, 1, memory_order_relaxed);
}

int64_t ouro__alloc_live_blocks(void)
{
    return ouro__load(&live_blocks, memory_order_relaxed);
}

uint64_t ouro__alloc_calls(void)
{
    return ouro__load(&calls, memory_order_relaxed);
}

void ouro__alloc_fail_at(uint64_t nth)
{
    uint64_t now = ouro__load(&calls, memory_order_relaxed);
    ouro__store(&fail_at, nth == 0 ? 0 : now + nth, memory_order_relaxed);
}
#else
#define must_fail() 0
#define counted(memory) (memory)
#define uncounted(memory) ((void)(memory))
#endif

void *ouro__alloc(size_t size)
{
    return must_fail() ? NULL : counted(malloc(size));
}

void *ouro__calloc(size_t count, size_t size)
{
    size_t bytes = 0; /* calloc(3) refuses as well, but AddressSanitizer takes that for a fault */
    if (must_fail() || __builtin_mul_overflow(count, size, &bytes))
        return NULL;
    return counted(calloc(1, bytes));
}

void *ouro__alloc_aligned(size_t alignment, size_t size)
{
    if (must_fail())
        return NULL;
    size_t rounded = (size + alignment - 1) & ~(alignment - 1);
    void *memory = counted(aligned_alloc(alignment, rounded));
    if (memory != NULL)
        memset(memory, 0, rounded);
    return memory;
}

void ouro__free(void *memory)
{
    uncounted(memory);
    free(memory);
}

void ouro__alloc_trim(void)
{
#ifdef __GLIBC__
    (void)malloc_trim(0);
#endif
}
