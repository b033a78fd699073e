/* SPDX-License-Identifier: MIT */
/*
 * Fork without exec: the child has the parent's memory but none of its threads, and its rings are
 * not its own.  What belongs to the parent must not be touched; each runtime remembers in which
 * generation of processes it was made.
 */
#ifndef OURO_TASK_FORK_H
#define OURO_TASK_FORK_H

#include <stdbool.h>
#include <stdint.h>

extern uint32_t ouro__fork_count; /* written in a child, before it has threads */

/* Registers the handler that counts, once.  Errors: -ENOMEM. */
int ouro__fork_watch(void);

static inline bool ouro__fork_is_child(uint32_t generation)
{
    return generation != ouro__fork_count;
}

#endif
