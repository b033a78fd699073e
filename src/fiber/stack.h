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
 * Idle stacks that a pool has not needed for a while give their memory back (stack_trim.h).
 *
 * Threads: all calls but ouro__stack_find() belong to the thread that owns the pool.
 */
#ifndef OURO_FIBER_STACK_H
#define OURO_FIBER_STACK_H

#include <stdbool.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "fiber/stack_slab.h"

#define OURO__STACK_USABLE_DEFAULT_BYTES ((size_t)64 * 1024)
#define OURO__STACK_GUARD_DEFAULT_BYTES ((size_t)16 * 1024)
#define OURO__STACK_NO_LIMIT SIZE_MAX
#define OURO__STACK_SLAB_COUNT_FIRST ((size_t)16)

struct ouro__stack_pool_config {
    size_t usable_size_bytes; /* 0: the default; at least this much lies below each header */
    size_t header_size_bytes; /* reserved at the top of each stack */
    size_t guard_size_bytes;  /* 0: the default; rounded up to pages */
    size_t stacks_max;        /* stacks that there are, used and idle; 0: OURO__STACK_NO_LIMIT */
    bool use_madv_guard;      /* guard without a mapping of its own where the kernel can (6.13) */
};

/* All fields are private. */
struct ouro__stack_pool {
    /* What get and put touch. */
    void **idle; /* headers of idle stacks that may hold memory, the hottest last */
    size_t idle_count;
    size_t idle_low; /* the fewest there were since stack_trim.c last looked */
    size_t used_count;
    bool watched; /* ASan or Valgrind is told of get and put */

    /* What growth and trimming touch. */
    size_t idle_capacity;
    struct ouro__stack_shape shape;
    size_t stacks_max;
    size_t made_count;
    size_t clean_count;     /* idle stacks without memory: they are in their slabs' clean[] */
    size_t slab_count_next; /* how many stacks the next slab shall have */
    struct ouro__stack_slab *clean_slab; /* NULL, or where a clean stack was found last */
    struct ouro__stack_slab *retired;    /* off the list, to be unmapped */
    struct ouro__stack_trim_state {
        int64_t at_ns;    /* when the next step is due; OURO__NEVER: no window is open */
        size_t cold;      /* so many of idle[], from the bottom, are to give their memory back */
        bool is_settling; /* the window's cold stacks are done, its slabs are not */
    } trim;

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

/* Gives up all stacks that are handed out: no fiber runs on them, and none will be put back. */
void ouro__stack_pool_abandon(struct ouro__stack_pool *pool);

/*
 * Takes a stack and returns its header, aligned to 64 bytes.  The contents of header and stack are
 * undefined (zeros in fresh memory).  NULL when out of memory, of mappings, or at stacks_max; the
 * pool is as it was.  Give it back with ouro__stack_put().
 */
void *ouro__stack_get(struct ouro__stack_pool *pool);

/* Takes a stack back; no fiber may be running on it. */
void ouro__stack_put(struct ouro__stack_pool *pool, void *header);

/* The lowest address of the stack; it extends up to the header. */
void *ouro__stack_low(const struct ouro__stack_pool *pool, const void *header);

/*
 * The deepest use of the stack since its memory was fresh, in bytes below the header; earlier
 * fibers on the same stack count too.  A call costs a system call and a scan of one page; running
 * fibers pay nothing.  The lowest touched page is scanned for its lowest word that is not zero, so
 * the result is exact unless only zeros were written there; then the whole page counts.
 */
size_t ouro__stack_used_bytes(const struct ouro__stack_pool *pool, const void *header);

/* Stacks handed out; stacks that there are, used and idle. */
size_t ouro__stack_used_count(const struct ouro__stack_pool *pool);
size_t ouro__stack_made_count(const struct ouro__stack_pool *pool);

/*
 * Whether @address lies in a stack or guard of the pool, and in which.  Safe on any thread and in a
 * signal handler, as long as the pool is not being finished; where the pool's owner may trim it,
 * only between ouro__stack_slab_watch_begin() and _end(), and so may what *@out points at be used.
 */
bool ouro__stack_find(const struct ouro__stack_pool *pool, const void *address,
                      struct ouro__stack_info *out);

#endif
