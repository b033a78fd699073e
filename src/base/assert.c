/* SPDX-License-Identifier: MIT */
/*
 * Assert: the message of a program that stops because an invariant is broken.
 *
 * It is written with write(2) from a buffer on the stack, because the heap, stdio or the fiber's
 * own state may be broken.
 *
 * Owns:    nothing.
 * Threads: any, also inside signal handlers.
 * Always:  does not return.
 * Tests:   tests/base/test_assert.c
 */
#include "base/assert.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/coverage.h"
#include "base/text.h"

OURO__NORETURN static void say_and_abort(const struct ouro__text *text)
{
    ssize_t ignored = write(STDERR_FILENO, text->buffer, text->length);
    (void)ignored;
    ouro__coverage_write();
    abort();
}

void ouro__assert_failed(const char *condition, const char *file, int line, const char *function)
{
    char buffer[512];
    struct ouro__text out = ouro__text_in(buffer, sizeof(buffer));
    ouro__text_put(&out, "ouro: broken invariant: ");
    ouro__text_put(&out, condition);
    ouro__text_put(&out, " in ");
    ouro__text_put(&out, function);
    ouro__text_put(&out, " at ");
    ouro__text_put(&out, file);
    ouro__text_put(&out, ":");
    ouro__text_put_int(&out, line);
    ouro__text_put(&out, "\n");
    say_and_abort(&out);
}

void ouro__panic(const char *what, int code, const char *file, int line)
{
    char buffer[512];
    struct ouro__text out = ouro__text_in(buffer, sizeof(buffer));
    ouro__text_put(&out, "ouro: cannot go on: ");
    ouro__text_put(&out, what);
    ouro__text_put(&out, " (");
    ouro__text_put_int(&out, code);
    ouro__text_put(&out, ") at ");
    ouro__text_put(&out, file);
    ouro__text_put(&out, ":");
    ouro__text_put_int(&out, line);
    ouro__text_put(&out, "\n");
    say_and_abort(&out);
}
