/* SPDX-License-Identifier: MIT */
/*
 * A broken invariant stops the program, in release builds too.  A program that goes on after an
 * ownership rule was broken can give one connection's bytes to another.  A caller's mistake is not
 * an assertion; it is an error return.
 */
#ifndef OURO_BASE_ASSERT_H
#define OURO_BASE_ASSERT_H

#include "base/compiler.h"

#define OURO__ASSERT(condition)                                                                    \
    do {                                                                                           \
        if (OURO__UNLIKELY(!(condition)))                                                          \
            ouro__assert_failed(#condition, __FILE__, __LINE__, __func__);                         \
    } while (0)

/* Stops the program with a message of the caller's, e.g. a system call that must not fail. */
#define OURO__PANIC(what, code) ouro__panic((what), (code), __FILE__, __LINE__)

OURO__NORETURN OURO__COLD void ouro__assert_failed(const char *condition, const char *file,
                                                   int line, const char *function);
OURO__NORETURN OURO__COLD void ouro__panic(const char *what, int code, const char *file, int line);

#endif
