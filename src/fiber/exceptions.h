/* SPDX-License-Identifier: MIT */
/*
 * The C++ exceptions that a context is handling, which the language's runtime keeps for each
 * thread: a list of those caught and not yet done with, and the number of those being thrown.
 * Contexts of one thread that switch inside a catch block would find each other's there, and
 * `throw;` would throw another context's.
 *
 * So each context has a place for this state, and the context that runs after a switch exchanges
 * it.  Where no C++ runtime is in the process there is nothing to exchange.
 */
#ifndef OURO_FIBER_EXCEPTIONS_H
#define OURO_FIBER_EXCEPTIONS_H

#include "base/atomic.h"
#include "base/compiler.h"

/* __cxa_eh_globals of the Itanium C++ ABI, 2.2.2; all of it is nothing but pointers and a count. */
struct ouro__exceptions {
    void *caught;
    unsigned int uncaught;
#if defined(__arm__)
    void *propagating;
#endif
};

typedef struct ouro__exceptions *ouro__exceptions_fn(void);

/* The C++ runtime's function that returns the calling thread's; NULL: none was found. */
extern _Atomic(ouro__exceptions_fn *) ouro__exceptions_function;

/*
 * Looks for a C++ runtime, unless one is known.  It is found wherever it is: in the program, among
 * its libraries, or in a library that was loaded later for itself alone.
 * Threads: any.
 */
void ouro__exceptions_look(void);

/* The calling thread's, the same for all its life; NULL while no C++ runtime is known. */
static inline struct ouro__exceptions *ouro__exceptions_here(void)
{
    ouro__exceptions_fn *function = ouro__load(&ouro__exceptions_function, memory_order_acquire);
    return OURO__LIKELY(function == NULL) ? NULL : function();
}

/* Moves the state in the thread's place @here to @from, and the state of @to there. */
static inline void ouro__exceptions_exchange(struct ouro__exceptions *here,
                                             struct ouro__exceptions *from,
                                             const struct ouro__exceptions *to)
{
    *from = *here;
    *here = *to;
}

#endif
