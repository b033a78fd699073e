/* SPDX-License-Identifier: MIT */
/*
 * Slabs of stacks and their guards.
 *
 * There are two ways to make a guard.  MADV_GUARD_INSTALL (Linux 6.13) marks the page table entries
 * only: the slab stays one mapping, however many guards are in it.  Before that a guard is a range
 * without access rights, made by mprotect(), which splits the mapping: two mappings for each stack,
 * and a process may have vm.max_map_count of them (65,530 unless changed), so the process ends up
 * with at most some 32,000 fibers.  All pools count their guards together and stop a little before
 * that limit: at the limit itself the next thread, library or large malloc would fail as well.
 *
 * Success of the call alone does not prove that the guard works.  So the first guard of a pool is
 * tested: mincore() is told to write its result there, and must fail with EFAULT.
 *
 * Huge pages are refused for a slab.  One touched page of a stack would bring 2 MiB.
 *
 * A slab is unmapped from its end, a part at a time, so that no single call holds its thread up:
 * with guards made by mprotect() a slab of 4,096 stacks is 8,192 mappings.
 *
 * Owns:    the mapping of each slab.
 * Threads: the pool's; the count of guards and that of watchers are shared by all.
 * Always:  a stride that counts as carved has a guard that traps.
 * Tests:   tests/fiber/test_stack.c
 */
#include "fiber/stack_slab.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/kernel.h"
#include "fiber/stack_tools.h"

/* Not in the C library's headers of the oldest system we build on. */
#define OURO__MADV_GUARD_INSTALL 102

/* Mappings left for everybody else. */
#define MAPPINGS_SPARED 2048
#define MAPPINGS_MAX_USUAL 65530

static _Atomic size_t mprotect_guards;

static _Atomic unsigned int watchers;

void ouro__stack_slab_watch_begin(void)
{
    (void)ouro__fetch_add(&watchers, 1, memory_order_seq_cst);
}

void ouro__stack_slab_watch_end(void)
{
    (void)ouro__fetch_sub(&watchers, 1, memory_order_seq_cst);
}

bool ouro__stack_slab_is_watched(void)
{
    return ouro__load(&watchers, memory_order_seq_cst) != 0;
}

#define CLEAN_BITS 64

static struct ouro__stack_slab *slab_of_count(const struct ouro__stack_shape *shape, size_t count)
{
    size_t bytes = 0;
    size_t words = (count + CLEAN_BITS - 1) / CLEAN_BITS;
    struct ouro__stack_slab *slab = ouro__calloc(1, sizeof(*slab) + words * sizeof(slab->clean[0]));

    if (!slab || __builtin_mul_overflow(count, shape->stride_bytes, &bytes))
        goto fail;
    if (ouro__stack_on_valgrind()) {
        slab->valgrind_stacks = ouro__calloc(count, sizeof(slab->valgrind_stacks[0]));
        if (!slab->valgrind_stacks)
            goto fail;
    }
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (base == MAP_FAILED)
        goto fail;
    /* -EINVAL from a kernel built without huge pages, which is as good. */
    (void)madvise(base, bytes, MADV_NOHUGEPAGE);
    slab->base = base;
    slab->bytes = bytes;
    slab->count = count;
    return slab;

fail:
    if (slab)
        ouro__free(slab->valgrind_stacks);
    ouro__free(slab);
    return NULL;
}

struct ouro__stack_slab *ouro__stack_slab_map(const struct ouro__stack_shape *shape, size_t count)
{
    struct ouro__stack_slab *slab = NULL;

    for (; count > 0 && !slab; count /= 2)
        slab = slab_of_count(shape, count);
    return slab;
}

/* After the last of its memory. */
static void free_slab(struct ouro__stack_slab *slab)
{
    if (slab->valgrind_stacks) {
        size_t carved = ouro__load(&slab->carved, memory_order_relaxed);
        for (size_t i = 0; i < carved; i++)
            ouro__stack_valgrind_forget(slab->valgrind_stacks[i]);
        ouro__free(slab->valgrind_stacks);
    }
    ouro__fetch_sub(&mprotect_guards, slab->mprotect_guards, memory_order_relaxed);
    ouro__free(slab);
}

void ouro__stack_slab_unmap(struct ouro__stack_slab *slab)
{
    ouro__stack_asan_open(slab->base, slab->bytes); /* else what is mapped here next is poisoned */
    if (slab->bytes > 0)
        OURO__ASSERT(munmap(slab->base, slab->bytes) == 0);
    free_slab(slab);
}

bool ouro__stack_slab_unmap_part(struct ouro__stack_slab *slab,
                                 const struct ouro__stack_shape *shape, size_t strides_max)
{
    size_t bytes = strides_max * shape->stride_bytes;

    if (bytes > slab->bytes)
        bytes = slab->bytes;
    char *low = slab->base + slab->bytes - bytes;
    ouro__stack_asan_open(low, bytes);
    /* Fails only where it splits a mapping that the kernel has joined with a neighbour, and the
     * process has all it may have.  The memory itself was given back before; try again later. */
    if (munmap(low, bytes) != 0)
        return false;
    slab->bytes -= bytes;
    if (slab->bytes > 0)
        return false;
    free_slab(slab);
    return true;
}

void ouro__stack_slab_clean(struct ouro__stack_slab *slab, const struct ouro__stack_shape *shape,
                            size_t index)
{
    char *stack = slab->base + index * shape->stride_bytes + shape->guard_bytes;

    /* Can't fail on a private mapping of ours, unless it is locked; then the memory stays. */
    (void)madvise(stack, shape->stack_bytes, MADV_DONTNEED);
    slab->clean[index / CLEAN_BITS] |= UINT64_C(1) << (index % CLEAN_BITS);
    slab->clean_count++;
}

size_t ouro__stack_slab_take_clean(struct ouro__stack_slab *slab)
{
    size_t word = 0;

    OURO__ASSERT(slab->clean_count > 0);
    while (slab->clean[word] == 0)
        word++;
    size_t bit = (size_t)__builtin_ctzll(slab->clean[word]);
    slab->clean[word] &= ~(UINT64_C(1) << bit);
    slab->clean_count--;
    return word * CLEAN_BITS + bit;
}

/* How many guards made by mprotect() this process may have. */
static size_t mprotect_guards_max(void)
{
    unsigned long mappings_max = MAPPINGS_MAX_USUAL;
    char text[32];

    if (ouro__kernel_read_small_file("/proc/sys/vm/max_map_count", text, sizeof(text)) > 0)
        mappings_max = strtoul(text, NULL, 10);
    if (mappings_max < 2 * MAPPINGS_SPARED)
        return mappings_max / 4;
    return (mappings_max - MAPPINGS_SPARED) / 2;
}

static int guard_by_mprotect(struct ouro__stack_slab *slab, char *guard, size_t bytes)
{
    static _Atomic size_t guards_max; /* 0: not read yet; read twice, it is the same */
    size_t max = ouro__load(&guards_max, memory_order_relaxed);

    if (max == 0) {
        max = mprotect_guards_max();
        ouro__store(&guards_max, max, memory_order_relaxed);
    }
    if (ouro__fetch_add(&mprotect_guards, 1, memory_order_relaxed) >= max ||
        mprotect(guard, bytes, PROT_NONE) != 0) {
        ouro__fetch_sub(&mprotect_guards, 1, memory_order_relaxed);
        return -ENOMEM;
    }
    slab->mprotect_guards++;
    return 0;
}

/* Whether memory at @address can't be written: the kernel is made to write there, and must fail. */
static bool traps(char *stack, size_t page_bytes, char *address)
{
    return mincore(stack, page_bytes, (unsigned char *)address) != 0 && errno == EFAULT;
}

int ouro__stack_slab_carve(struct ouro__stack_shape *shape, struct ouro__stack_slab *slab,
                           bool is_first)
{
    size_t index = ouro__load(&slab->carved, memory_order_relaxed);
    char *guard = slab->base + index * shape->stride_bytes;
    char *stack = guard + shape->guard_bytes;
    int result = 0;

    OURO__ASSERT(index < slab->count);
    if (shape->madv_guard) {
        bool made = madvise(guard, shape->guard_bytes, OURO__MADV_GUARD_INSTALL) == 0;
        if (!made && errno == ENOMEM)
            return -ENOMEM;
        /* -EINVAL: an older kernel; or locked memory, which before 6.15 can't have such guards. */
        shape->madv_guard = made && (!is_first || traps(stack, shape->page_bytes, stack - 1));
    }
    if (!shape->madv_guard)
        result = guard_by_mprotect(slab, guard, shape->guard_bytes);
    if (result != 0)
        return result;

    if (slab->valgrind_stacks)
        slab->valgrind_stacks[index] =
            ouro__stack_valgrind_register(stack, stack + shape->stack_bytes);
    ouro__stack_asan_close(stack, shape->stack_bytes);
    ouro__store(&slab->carved, index + 1, memory_order_release);
    return 0;
}
