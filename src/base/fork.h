/* SPDX-License-Identifier: MIT */
/*
 * Fork without exec: the child has the parent's memory but none of its threads, and its rings,
 * epolls and eventfds are the parent's.  Each runtime stores the process generation in which it was
 * made; in a child every call on it is refused.
 *
 * A child may be made inside a function that the library has called: a task's, a waker's, one of
 * ouro_blocking().  When that function returns, the child must not go on in the library: it would
 * run the parent's tasks and take the parent's messages.  It ends there.
 */
#ifndef OURO_BASE_FORK_H
#define OURO_BASE_FORK_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stdint.h>

extern uint32_t ouro__fork_count; /* written in a child, before it has threads */

/* Registers the handler that counts, once.  Errors: -ENOMEM. */
int ouro__fork_watch(void);

static inline bool ouro__fork_is_child(uint32_t generation)
{
    return generation != ouro__fork_count;
}

/* Ends a forked child: _exit(0) when @result is 0, else _exit(1). */
OURO__COLD OURO__NORETURN void ouro__fork_end(int result);

/* After a function of the program has returned @result to the library, which was in @generation. */
static inline void ouro__fork_check(uint32_t generation, int result)
{
    if (OURO__UNLIKELY(ouro__fork_is_child(generation)))
        ouro__fork_end(result);
}

#endif
