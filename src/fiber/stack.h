/* SPDX-License-Identifier: MIT */
/*
 * Stacks for fibers: a pool of one size, for one thread.
 *
 * Memory comes in slabs, one mapping each, cut into strides of equal length:
 *
 *     | guard | stack, grows down <---- | header | colour || guard | stack ...
 *
 * The header is the owner's (the task lives there), and the fiber's first frames are right below
 * it, so a parked fiber has touched one page.  The guard traps what runs over the stack's end.
 *
 * Get and put are last in, first out - the stack used last is the one in the cache - and touch no
 * stack: the free ones are listed in an array beside.
 *
 * Threads: all calls but ouro__stack_find() belong to the thread that owns the pool.
 */
#ifndef OURO_FIBER_STACK_H
#define OURO_FIBER_STACK_H

#include <stdbool.h>

#include "base/atomic.h"
#include "base/compiler.h"

#define OURO__STACK_USABLE_DEFAULT_BYTES ((size_t)64 * 1024)
#define OURO__STACK_GUARD_DEFAULT_BYTES ((size_t)16 * 1024)
#define OURO__STACK_HEADER_ALIGNMENT 64
#define OURO__STACK_NO_LIMIT SIZE_MAX

struct ouro__stack_pool_config {
    size_t usable_size_bytes; /* 0: the default; at least this much lies below each header */
    size_t header_size_bytes; /* reserved at the top of each stack */
    size_t guard_size_bytes;  /* 0: the default; rounded up to pages */
    size_t stacks_max;        /* stacks ever made, used and idle; 0: OURO__STACK_NO_LIMIT */
    bool use_madv_guard;      /* guard without a mapping of its own where the kernel can (6.13) */
};

struct ouro__stack_slab;

/* All fields are private. */
struct ouro__stack_pool {
    /* What get and put touch. */
    void **idle; /* headers of idle stacks, the hottest last */
    size_t idle_count;
    size_t clean_count; /* so many of the coldest idle stacks hold no memory since the last trim */
    size_t used_count;
    bool watched; /* ASan or Valgrind wants to know of get and put */

    /* What growth touches. */
    bool madv_guard;
    size_t idle_capacity;
    size_t page_bytes;
    size_t header_bytes;
    size_t usable_bytes; /* below the header, at least */
    size_t guard_bytes;
    size_t stack_bytes;  /* usable, header and colour, in pages */
    size_t stride_bytes; /* guard and stack: an odd number of pages */
    size_t stacks_max;
    size_t made_count;
    size_t slab_count_next; /* how many stacks the next slab shall have */

    /* What other threads and signal handlers read. */
    _Atomic(struct ouro__stack_slab *) newest;
    _Atomic(struct ouro__stack_pool *) next_watched; /* overflow.c's list */
    const char *(*name_of)(void *header);            /* overflow.c's too */
};

/* Where an address lies. */
struct ouro__stack_info {
    void *header;
    char *stack_low; /* the stack is [stack_low, header) */
    size_t usable_bytes;
    char *guard_low; /* the guard is [guard_low, stack_low) */
    bool in_guard;
};

/*
 * Makes an empty pool; nothing is mapped before the first get.
 * Errors: -EINVAL when the sizes do not add up to an address range.
 */
int ouro__stack_pool_init(struct ouro__stack_pool *pool,
                          const struct ouro__stack_pool_config *config);

/* Unmaps all; every stack must have been put back, or abandoned. */
void ouro__stack_pool_fini(struct ouro__stack_pool *pool);

/* Gives up all stacks that are handed out: nobody runs on them, and nobody will put them back. */
void ouro__stack_pool_abandon(struct ouro__stack_pool *pool);

/*
 * A stack: returns the header, aligned to 64 bytes, whose memory and that of the stack below it
 * hold anything (fresh: zeros).  NULL when out of memory, of mappings, or at stacks_max; the pool
 * is as it was.  Give it back with ouro__stack_put().
 */
void *ouro__stack_get(struct ouro__stack_pool *pool);

/* Takes a stack back, which nobody may be running on. */
void ouro__stack_put(struct ouro__stack_pool *pool, void *header);

/* The lowest address of the stack; it extends up to the header. */
void *ouro__stack_low(const struct ouro__stack_pool *pool, const void *header);

/*
 * How deep the stack has ever been since its memory was fresh, in bytes below the header: a stack
 * that was reused counts its earlier fibers too.  Costs a system call and a scan of one page, and
 * nothing before.  Counts what was touched, so it is exact to the word in the page last reached
 * unless only zeros were written there, and then it counts that page whole.
 */
size_t ouro__stack_used_bytes(const struct ouro__stack_pool *pool, const void *header);

/*
 * Gives the memory of idle stacks back to the kernel, but for the @keep_hot that were used last.
 * Guards stay.  Returns how many stacks it emptied: a system call each.
 */
size_t ouro__stack_trim(struct ouro__stack_pool *pool, size_t keep_hot);

/* Stacks handed out; stacks made so far, used and idle. */
size_t ouro__stack_used_count(const struct ouro__stack_pool *pool);
size_t ouro__stack_made_count(const struct ouro__stack_pool *pool);

/*
 * Whether @address lies in a stack or guard of the pool, and in which.  Safe on any thread and in a
 * signal handler, as long as the pool is not being finished.
 */
bool ouro__stack_find(const struct ouro__stack_pool *pool, const void *address,
                      struct ouro__stack_info *out);

#endif
