/* SPDX-License-Identifier: MIT */
/*
 * Options: how a public call reads an option struct of another version's size.
 *
 * Every option struct begins with `size_t size`, which the caller's compiler has filled in.  A
 * program built with an older header passes a smaller struct: the missing fields have their
 * defaults.  A program built with a newer header passes a larger struct: it is accepted when all
 * bytes that this library does not know are zero.
 *
 * A field that is appended begins at or after the end of the last version's struct, padding
 * included: what lies in an older caller's padding is not initialised.
 */
#ifndef OURO_BASE_OPTIONS_H
#define OURO_BASE_OPTIONS_H

#include <stddef.h>

/*
 * The caller's @options as a struct of our @size bytes: @options itself when it has that size, else
 * @defaults, which the caller of this has filled with its INIT macro, overwritten by what @options
 * has.  @options NULL: the defaults.  NULL when @options is not acceptable, which is -EINVAL.
 */
const void *ouro__options_read(const void *options, void *defaults, size_t size);

#endif
