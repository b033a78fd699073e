/* SPDX-License-Identifier: MIT */
/*
 * Pattern: the bytes that a benchmark sends, different for each connection and at each offset.
 */
#ifndef OURO_CLI_PATTERN_H
#define OURO_CLI_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PATTERN_SLICE_MAX ((size_t)64 * 1024)

/* To be called once, before the others. */
void pattern_init(void);

/* The bytes of stream @key from @offset on; PATTERN_SLICE_MAX of them may be read. */
const void *pattern_at(uint64_t key, uint64_t offset);

/* Whether these are the bytes of stream @key at @offset.  @size is at most PATTERN_SLICE_MAX. */
bool pattern_matches(uint64_t key, uint64_t offset, const void *bytes, size_t size);

#endif
