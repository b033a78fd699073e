/* SPDX-License-Identifier: MIT */
/*
 * Tells ASan and Valgrind about stacks.  Without them these functions do nothing.  Private to
 * stack*.c.
 *
 * Idle stacks are closed: to touch one is a bug, and is reported as one.  When a stack is opened,
 * marks that frames have left there are wiped too: the frames of a function that never returned,
 * because its fiber ended inside it, would otherwise stay poisoned.  Valgrind also has to know each
 * stack's bounds, or it takes a switch for a huge change of one stack.
 */
#ifndef OURO_FIBER_STACK_TOOLS_H
#define OURO_FIBER_STACK_TOOLS_H

#include <stdbool.h>

#include "base/compiler.h"

#if OURO__ASAN
#include <sanitizer/asan_interface.h>
#define OURO__NO_ASAN __attribute__((no_sanitize("address")))
#else
#define OURO__NO_ASAN
#endif

#if defined(__has_include)
#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#define OURO__VALGRIND 1
#endif
#endif
#ifndef OURO__VALGRIND
#define OURO__VALGRIND 0
#endif

static inline bool ouro__stack_on_valgrind(void)
{
#if OURO__VALGRIND
    return RUNNING_ON_VALGRIND != 0;
#else
    return false;
#endif
}

static inline unsigned int ouro__stack_valgrind_register(char *low, char *high)
{
#if OURO__VALGRIND
    return VALGRIND_STACK_REGISTER(low, high - 1);
#else
    (void)low;
    (void)high;
    return 0;
#endif
}

static inline void ouro__stack_valgrind_forget(unsigned int stack)
{
#if OURO__VALGRIND
    VALGRIND_STACK_DEREGISTER(stack);
#else
    (void)stack;
#endif
}

/* The memory may be used; its contents are not known. */
static inline void ouro__stack_asan_open(void *low, size_t bytes)
{
#if OURO__ASAN
    ASAN_UNPOISON_MEMORY_REGION(low, bytes);
#endif
    (void)low;
    (void)bytes;
}

static inline void ouro__stack_asan_close(void *low, size_t bytes)
{
#if OURO__ASAN
    ASAN_POISON_MEMORY_REGION(low, bytes);
#endif
    (void)low;
    (void)bytes;
}

static inline void ouro__stack_valgrind_open(void *low, size_t bytes)
{
#if OURO__VALGRIND
    VALGRIND_MAKE_MEM_UNDEFINED(low, bytes);
#endif
    (void)low;
    (void)bytes;
}

static inline void ouro__stack_valgrind_close(void *low, size_t bytes)
{
#if OURO__VALGRIND
    VALGRIND_MAKE_MEM_NOACCESS(low, bytes);
#endif
    (void)low;
    (void)bytes;
}

/* Between these two calls, accesses that look like errors are intended and not reported. */
static inline void ouro__stack_valgrind_look_away(void)
{
#if OURO__VALGRIND
    VALGRIND_DISABLE_ERROR_REPORTING;
#endif
}

static inline void ouro__stack_valgrind_look_again(void)
{
#if OURO__VALGRIND
    VALGRIND_ENABLE_ERROR_REPORTING;
#endif
}

#endif
