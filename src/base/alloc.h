/* SPDX-License-Identifier: MIT */
/*
 * Alloc: every heap allocation of the library.  An operation allocates nothing: it lies on its
 * caller's stack, and the shared half of its descriptor lies in a slab.
 */
#ifndef OURO_BASE_ALLOC_H
#define OURO_BASE_ALLOC_H

#include "base/compiler.h"

/* Returns @size bytes, or NULL.  Release with ouro__free().  Errors: NULL when out of memory. */
void *ouro__alloc(size_t size) __attribute__((malloc));

/* As ouro__alloc(), zeroed, for @count objects of @size; NULL also when the product overflows. */
void *ouro__calloc(size_t count, size_t size) __attribute__((malloc));

/* As ouro__calloc(1, size), aligned to @alignment (a power of two, >= sizeof(void *)). */
void *ouro__alloc_aligned(size_t alignment, size_t size) __attribute__((malloc));

/* Releases what any of the above returned; NULL is ignored. */
void ouro__free(void *memory);

/* Gives the heap's free pages back to the system, where the C library can.  It locks the heap, and
 * takes longer the more free blocks there are. */
void ouro__alloc_trim(void);

#ifdef OURO_TESTING
/* Blocks handed out and not yet released, over all threads. */
int64_t ouro__alloc_live_blocks(void);
/* The @nth allocation from now on fails (1 = the next), once; 0 turns it off. */
void ouro__alloc_fail_at(uint64_t nth);
/* Allocations since the process started. */
uint64_t ouro__alloc_calls(void);
#endif

#endif
