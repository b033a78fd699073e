/* SPDX-License-Identifier: MIT */
/*
 * The last words of a program whose invariants are broken.
 *
 * They are written with write(2) from a buffer on the stack: the heap, stdio and the fiber's own
 * state may be what is broken.
 *
 * Owns:    nothing.
 * Threads: any, also inside signal handlers.
 * Always:  does not return.
 * Tests:   tests/fiber/test_overflow.c
 */
#include "base/assert.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct line {
    char text[512];
    size_t length;
};

static void put(struct line *line, const char *text)
{
    size_t n = strlen(text);
    size_t room = sizeof(line->text) - line->length;
    if (n > room)
        n = room;
    memcpy(line->text + line->length, text, n);
    line->length += n;
}

static void put_int(struct line *line, int value)
{
    char digits[16];
    size_t at = sizeof(digits) - 1;
    unsigned magnitude = value < 0 ? 0u - (unsigned)value : (unsigned)value;
    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + magnitude % 10);
        magnitude /= 10;
    } while (magnitude != 0);
    if (value < 0)
        put(line, "-");
    put(line, digits + at);
}

OURO__NORETURN static void say_and_abort(const struct line *line)
{
    ssize_t ignored = write(STDERR_FILENO, line->text, line->length);
    (void)ignored;
    abort();
}

void ouro__assert_failed(const char *condition, const char *file, int line, const char *function)
{
    struct line out = {.length = 0};
    put(&out, "ouro: broken invariant: ");
    put(&out, condition);
    put(&out, " in ");
    put(&out, function);
    put(&out, " at ");
    put(&out, file);
    put(&out, ":");
    put_int(&out, line);
    put(&out, "\n");
    say_and_abort(&out);
}

void ouro__panic(const char *what, int code, const char *file, int line)
{
    struct line out = {.length = 0};
    put(&out, "ouro: cannot go on: ");
    put(&out, what);
    put(&out, " (");
    put_int(&out, code);
    put(&out, ") at ");
    put(&out, file);
    put(&out, ":");
    put_int(&out, line);
    put(&out, "\n");
    say_and_abort(&out);
}
