/* SPDX-License-Identifier: MIT */
/*
 * How much the volume tests do: a part in every run, all of it when OURO_TEST_VOLUME is "full"
 * (docs/TESTING.md).
 */
#ifndef OURO_TEST_VOLUME_H
#define OURO_TEST_VOLUME_H

#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"
#include "fiber/stack_tools.h"
#include "support/ouro_test.h"

static inline bool volume_is_full(void)
{
    const char *volume = getenv("OURO_TEST_VOLUME");
    return volume != NULL && strcmp(volume, "full") == 0;
}

/* @full of something, or @part of it; less where everything is slow. */
static inline unsigned volume_of(unsigned part, unsigned full)
{
    if (volume_is_full())
        return full;
    unsigned scaled = part / ouro_test_slowness();
    return scaled > 0 ? scaled : 1;
}

/* Sanitizers and Valgrind keep memory of their own that grows as they please. */
static inline bool volume_tells_memory(void)
{
    return !OURO__ASAN && !OURO__TSAN && !ouro__stack_on_valgrind();
}

/* Numbers that look random and are the same in each run. */
struct dice {
    uint64_t state;
};

static inline uint64_t dice_mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* 0 to @sides - 1. */
static inline uint32_t dice_throw(struct dice *dice, uint32_t sides)
{
    dice->state += UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(dice_mix(dice->state) % sides);
}

#endif
