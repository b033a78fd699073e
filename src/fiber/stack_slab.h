/* SPDX-License-Identifier: MIT */
/*
 * A slab: one mapping cut into stacks, and the guards between them.  Private to stack*.c.
 */
#ifndef OURO_FIBER_STACK_SLAB_H
#define OURO_FIBER_STACK_SLAB_H

#include <stdbool.h>

#include "base/atomic.h"
#include "base/compiler.h"

#define OURO__STACK_HEADER_ALIGNMENT 64
#define OURO__STACK_COLOUR_COUNT 16
#define OURO__STACK_COLOUR_MAX_BYTES                                                               \
    ((size_t)OURO__STACK_HEADER_ALIGNMENT * (OURO__STACK_COLOUR_COUNT - 1))

/* The sizes that all stacks of a pool have. */
struct ouro__stack_shape {
    bool madv_guard; /* make guards by MADV_GUARD_INSTALL; cleared when the kernel can't */
    size_t page_bytes;
    size_t header_bytes;
    size_t usable_bytes; /* below the header, at least */
    size_t guard_bytes;
    size_t stack_bytes;  /* usable, header and colour, in pages */
    size_t stride_bytes; /* guard and stack: an odd number of pages */
};

struct ouro__stack_slab {
    _Atomic(struct ouro__stack_slab *) older; /* the pool's list; signal handlers read it */
    struct ouro__stack_slab *next_retired;
    char *base;
    size_t bytes;
    size_t count;                  /* strides it has room for */
    _Atomic size_t carved;         /* strides with a guard: the first so many */
    size_t clean_count;            /* stacks whose bit in clean[] is set */
    size_t mprotect_guards;        /* how many strides have a guard that is a mapping */
    unsigned int *valgrind_stacks; /* one id for each stride, or NULL when not on Valgrind */
    uint64_t clean[];              /* a bit a stride: its stack is idle and holds no memory */
};

/* A slab for @count stacks, or fewer, with no stride carved; NULL without memory for even one. */
struct ouro__stack_slab *ouro__stack_slab_map(const struct ouro__stack_shape *shape, size_t count);

/* Gives back the slab's memory, and its guards. */
void ouro__stack_slab_unmap(struct ouro__stack_slab *slab);

/*
 * The same in steps of at most @strides_max strides, for a slab that is on no list any more: true
 * when all is done and @slab is gone.
 */
bool ouro__stack_slab_unmap_part(struct ouro__stack_slab *slab,
                                 const struct ouro__stack_shape *shape, size_t strides_max);

/*
 * Puts a guard below the next stride's stack and counts it as carved.  @is_first: no guard of this
 * shape has been tried yet.  May find that the kernel does not know MADV_GUARD_INSTALL, and note it
 * in @shape.  Errors: -ENOMEM when the process has all the mappings it may have.
 */
int ouro__stack_slab_carve(struct ouro__stack_shape *shape, struct ouro__stack_slab *slab,
                           bool is_first);

/* Gives the memory of an idle stack back to the kernel and marks the stack as clean. */
void ouro__stack_slab_clean(struct ouro__stack_slab *slab, const struct ouro__stack_shape *shape,
                            size_t index);

/* Takes a clean stack out of a slab that has one; returns its index. */
size_t ouro__stack_slab_take_clean(struct ouro__stack_slab *slab);

/*
 * Slabs may be unmapped while signal handlers on other threads walk a pool's list.  A handler is
 * between begin and end for as long as it looks at slabs or at stacks; a slab that has left its
 * list is unmapped only when ouro__stack_slab_is_watched() was false once since then.
 */
void ouro__stack_slab_watch_begin(void);
void ouro__stack_slab_watch_end(void);
bool ouro__stack_slab_is_watched(void);

/* The header of a slab's stack, lowered by its colour. */
static inline char *ouro__stack_slab_header(const struct ouro__stack_shape *shape,
                                            const struct ouro__stack_slab *slab, size_t index)
{
    size_t colour = index % OURO__STACK_COLOUR_COUNT * OURO__STACK_HEADER_ALIGNMENT;
    return slab->base + (index + 1) * shape->stride_bytes - colour - shape->header_bytes;
}

#endif
