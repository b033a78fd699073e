/* SPDX-License-Identifier: MIT */
/*
 * The version of the library that runs, which need not be that of the header a program was built
 * with.
 *
 * Owns:    nothing.
 * Threads: any.
 * Always:  constant for the life of the process.
 * Tests:   tests/base/test_error.c
 */
#include <ouro/api.h>

const char *ouro_version(void)
{
    return OURO_VERSION;
}
