/* SPDX-License-Identifier: MIT */
/*
 * How a case fails: by a failed assertion, or because it does not end.
 *
 * Check has its own time limits, but only where it forks; ctest runs a case unforked, so that
 * sanitizers and debuggers see one process.  Hence the alarm here.
 *
 * Owns:    SIGALRM, while a case runs.
 * Threads: fail and mark from any; watch from the main thread.
 * Always:  the report names the case and a line of its source.
 */
#include "support/fail.h"

#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_FAILED = 1, EXIT_TIMED_OUT = 124 };

static const char *running = "(none)";
static _Atomic(const char *) marked_file;
static atomic_int marked_line;

void ouro_test_mark(const char *file, int line)
{
    atomic_store_explicit(&marked_file, file, memory_order_relaxed);
    atomic_store_explicit(&marked_line, line, memory_order_relaxed);
}

void ouro_test_fail(const char *file, int line, const char *expression, const char *format, ...)
{
    /* One write, so that reports of two threads do not mix. */
    char text[2048];
    /* Check's comparisons name their own variables first, and the caller's in the message. */
    bool inner = strstr(expression, "_ck_") != NULL && format != NULL;
    int n =
        snprintf(text, sizeof(text), "%s:%d: %s: %s", file, line, running, inner ? "" : expression);
    if (n > 0 && (size_t)n < sizeof(text) && format != NULL) {
        va_list args;
        va_start(args, format);
        n += snprintf(text + n, sizeof(text) - (size_t)n, inner ? "" : ": ");
        if ((size_t)n < sizeof(text))
            n += vsnprintf(text + n, sizeof(text) - (size_t)n, format, args);
        va_end(args);
    }
    size_t length = strlen(text);
    if (length == sizeof(text) - 1)
        length--;
    text[length++] = '\n';
    (void)fflush(stdout);
    ssize_t written = write(STDERR_FILENO, text, length);
    (void)written;
    _exit(EXIT_FAILED);
}

/* Async-signal-safe: may run on a fiber's stack with any lock held. */
static void put(const char *text)
{
    ssize_t written = write(STDERR_FILENO, text, strlen(text));
    (void)written;
}

static void on_alarm(int signal_number)
{
    (void)signal_number;
    const char *file = atomic_load_explicit(&marked_file, memory_order_relaxed);
    char digits[16];
    size_t at = sizeof(digits);
    digits[--at] = '\0';
    int line = atomic_load_explicit(&marked_line, memory_order_relaxed);
    do {
        digits[--at] = (char)('0' + line % 10);
        line /= 10;
    } while (line > 0);
    put(running);
    put(": still running at its time limit; last assertion that held: ");
    put(file != NULL ? file : "none");
    put(":");
    put(digits + at);
    put("\n");
    _exit(EXIT_TIMED_OUT);
}

void ouro_test_watch(const char *name, unsigned timeout_s)
{
    running = name;
    struct sigaction action = {.sa_handler = on_alarm};
    (void)sigaction(SIGALRM, timeout_s > 0 ? &action : &(struct sigaction){.sa_handler = SIG_DFL},
                    NULL);
    (void)alarm(timeout_s);
}
