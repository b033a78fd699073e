/* SPDX-License-Identifier: MIT */
/*
 * Options: one rule for the size of all option structs (base/options.h).
 *
 * Owns:    nothing.
 * Threads: any.
 * Always:  no byte past the size that the caller states is read, and none past OPTIONS_MAX.
 * Tests:   tests/base/test_options.c, tests/runtime/test_options.c
 */
#include "base/options.h"

#include <string.h>

/* A larger size is taken for garbage and not read. */
#define OPTIONS_MAX ((size_t)4096)

static int is_zero(const char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] != 0)
            return 0;
    }
    return 1;
}

const void *ouro__options_read(const void *options, void *defaults, size_t size)
{
    size_t theirs = 0;
    if (options == NULL)
        return defaults;
    memcpy(&theirs, options, sizeof(theirs));
    if (theirs == size)
        return options;
    /* A size that no compiler makes would cut a field in two. */
    if (theirs < sizeof(theirs) || theirs > OPTIONS_MAX || theirs % sizeof(theirs) != 0)
        return NULL;
    if (theirs > size && !is_zero((const char *)options + size, theirs - size))
        return NULL;
    memcpy(defaults, options, theirs < size ? theirs : size);
    memcpy(defaults, &size, sizeof(size));
    return defaults;
}
