/* SPDX-License-Identifier: MIT */
/*
 * A stream of bytes that can be checked anywhere: byte n is a function of n with a long period, so
 * that a loss, a swap or a repeat shows at once.
 */
#ifndef OURO_KTEST_STREAM_H
#define OURO_KTEST_STREAM_H

#include <stddef.h>
#include <stdint.h>

static inline uint8_t stream_byte(uint32_t at)
{
    return (uint8_t)((at * 2654435761u) >> 24);
}

/* @len bytes of the stream from offset @at on. */
static inline void stream_fill(uint8_t *data, uint32_t at, size_t len)
{
    for (size_t i = 0; i < len; i++)
        data[i] = stream_byte(at + (uint32_t)i);
}

/* How many of @len bytes are not those of the stream from offset @at on. */
static inline uint32_t stream_wrong(const uint8_t *data, uint32_t at, size_t len)
{
    uint32_t wrong = 0;
    for (size_t i = 0; i < len; i++)
        wrong += data[i] != stream_byte(at + (uint32_t)i);
    return wrong;
}

#endif
