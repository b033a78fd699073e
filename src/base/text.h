/* SPDX-License-Identifier: MIT */
/*
 * Text: a line that is built in a caller's buffer and cut at the buffer's end.
 *
 * For messages, addresses and reasons.  stdio is not used for them: some are written by signal
 * handlers, or after the heap was found broken.  Header only, so that src/probe can be built
 * without the rest of the library.
 *
 * Owns:    nothing; the buffer is the caller's.
 * Threads: one at a time; safe inside signal handlers.
 * Always:  the text ends in a zero byte, if the buffer has a byte at all.
 * Tests:   tests/base/test_text.c
 */
#ifndef OURO__BASE_TEXT_H
#define OURO__BASE_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct ouro__text {
    char *buffer;
    size_t size;   /* of the buffer, in bytes; 0: everything is thrown away */
    size_t length; /* of the text, without the terminator */
};

/* An empty text in @buffer, which may be NULL if @size is 0. */
static inline struct ouro__text ouro__text_in(char *buffer, size_t size)
{
    if (size > 0)
        *buffer = '\0';
    return (struct ouro__text){.buffer = buffer, .size = size, .length = 0};
}

static inline void ouro__text_put_bytes(struct ouro__text *text, const char *bytes, size_t length)
{
    size_t room = text->size > 0 ? text->size - 1 - text->length : 0;
    if (length > room)
        length = room;
    if (length == 0)
        return;
    memcpy(text->buffer + text->length, bytes, length);
    text->length += length;
    text->buffer[text->length] = '\0';
}

static inline void ouro__text_put(struct ouro__text *text, const char *string)
{
    ouro__text_put_bytes(text, string, strlen(string));
}

/* @base is from 2 to 16; digits above 9 are small letters. */
static inline void ouro__text_put_number_in(struct ouro__text *text, uint64_t number, unsigned base)
{
    char digits[64];
    size_t at = sizeof(digits);
    do {
        digits[--at] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number != 0);
    ouro__text_put_bytes(text, digits + at, sizeof(digits) - at);
}

static inline void ouro__text_put_number(struct ouro__text *text, uint64_t number)
{
    ouro__text_put_number_in(text, number, 10);
}

static inline void ouro__text_put_int(struct ouro__text *text, int64_t number)
{
    if (number < 0)
        ouro__text_put(text, "-");
    ouro__text_put_number(text, number < 0 ? UINT64_C(0) - (uint64_t)number : (uint64_t)number);
}

#endif
