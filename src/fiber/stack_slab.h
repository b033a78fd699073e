/* SPDX-License-Identifier: MIT */
/*
 * A slab: one mapping cut into stacks, and the guards between them.  Private to stack*.c.
 */
#ifndef OURO_FIBER_STACK_SLAB_H
#define OURO_FIBER_STACK_SLAB_H

#include "base/atomic.h"
#include "base/compiler.h"
#include "fiber/stack.h"

#define OURO__STACK_COLOUR_COUNT 16
#define OURO__STACK_COLOUR_MAX_BYTES                                                               \
    ((size_t)OURO__STACK_HEADER_ALIGNMENT * (OURO__STACK_COLOUR_COUNT - 1))

struct ouro__stack_slab {
    struct ouro__stack_slab *older; /* constant once the slab is published */
    char *base;
    size_t bytes;
    size_t count;                  /* strides it has room for */
    _Atomic size_t carved;         /* strides with a guard, in use or idle: the first so many */
    size_t mprotect_guards;        /* how many of them have a guard that is a mapping */
    unsigned int *valgrind_stacks; /* one id for each stride, or NULL when not on Valgrind */
};

/* A slab for the pool with no stride carved; NULL when there is no memory for even one. */
struct ouro__stack_slab *ouro__stack_slab_map(const struct ouro__stack_pool *pool);

/* Gives back the slab's memory, and its guards. */
void ouro__stack_slab_unmap(struct ouro__stack_slab *slab);

/*
 * Puts a guard below the next stride's stack and counts it as carved.  May find that the kernel
 * does not know MADV_GUARD_INSTALL, and note it in the pool. Errors: -ENOMEM when the process has
 * all the mappings it may have.
 */
int ouro__stack_slab_carve(struct ouro__stack_pool *pool, struct ouro__stack_slab *slab);

/* The header of a slab's stack, lowered by its colour. */
static inline char *ouro__stack_slab_header(const struct ouro__stack_pool *pool,
                                            const struct ouro__stack_slab *slab, size_t index)
{
    size_t colour = index % OURO__STACK_COLOUR_COUNT * OURO__STACK_HEADER_ALIGNMENT;
    return slab->base + (index + 1) * pool->stride_bytes - colour - pool->header_bytes;
}

#endif
