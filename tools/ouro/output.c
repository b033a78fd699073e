/* SPDX-License-Identifier: MIT */
/*
 * Output: results on stdout, messages on stderr, and what to do when they cannot be written.
 *
 * A result that is lost is a failure: with a full disk or a closed stdout the exit status must not
 * be 0.  argp prints some results and calls exit() itself (--help, --version), so the last check
 * runs at exit and changes the status there.
 *
 * A message is different.  A command that relays or serves goes on when nobody takes its messages:
 * after output_never_wait() they are dropped then.  stderr is often shared with the shell, so
 * O_NONBLOCK may not be set on it; a pipe or terminal is opened a second time instead
 * (reopen.h), and anything else is asked by poll(2) before each write.
 *
 * Owns:    the command's name; the second open file of stderr.
 * Threads: output_error() and output_message() any; the rest the main thread's.
 */
#include "output.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "reopen.h"

static char program_name[32] = "ouro";
static bool never_wait;
static int message_fd = STDERR_FILENO;
static bool result_lost; /* and said so */

void output_set_name(const char *name)
{
    snprintf(program_name, sizeof(program_name), "ouro%s%s", *name ? " " : "", name);
}

const char *output_name(void)
{
    return program_name;
}

static bool takes_more(int timeout_ms)
{
    struct pollfd poll_fd = {.fd = message_fd, .events = POLLOUT};
    return poll(&poll_fd, 1, timeout_ms) > 0;
}

static bool write_all(const char *text, bool may_wait)
{
    size_t left = strlen(text);
    while (left > 0) {
        /* A pipe that poll(2) calls writable takes PIPE_BUF bytes without waiting. */
        size_t size = !may_wait && left > PIPE_BUF ? PIPE_BUF : left;
        if (!may_wait && !takes_more(0))
            return false;
        ssize_t put = write(message_fd, text, size);
        if (put < 0 && errno == EAGAIN && may_wait) {
            (void)takes_more(-1); /* stderr came non-blocking; the next write tells the rest */
            continue;
        }
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return false;
        text += put;
        left -= (size_t)put;
    }
    return true;
}

bool output_message(const char *text)
{
    return write_all(text, !never_wait);
}

bool output_offer(const char *text)
{
    return write_all(text, false);
}

void output_error(const char *format, ...)
{
    char *text = NULL;
    char *line = NULL;
    va_list args;
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    if (text == NULL || asprintf(&line, "%s: %s\n", program_name, text) < 0)
        line = NULL;
    /* A message that cannot be written has nowhere to be reported. */
    (void)output_message(line != NULL ? line : "ouro: out of memory\n");
    free(line);
    free(text);
}

void output_never_wait(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    if (sigaction(SIGPIPE, &ignore, NULL) < 0)
        output_error("SIGPIPE: %s", strerror(errno));
    int own = reopen_nonblocking(STDERR_FILENO, true);
    if (own >= 0)
        message_fd = own;
    never_wait = true;
}

void output_lost(int error)
{
    if (!result_lost)
        output_error("cannot write the result%s%s", error != 0 ? ": " : "",
                     error != 0 ? strerror(error) : "");
    result_lost = true;
}

bool output_flush(void)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return true;
    output_lost(errno);
    return false;
}

bool output_result(const char *text)
{
    /* A failure here leaves its mark on the stream, which the flush looks at. */
    (void)fputs(text, stdout);
    return output_flush();
}

/* Some file systems tell of a full disk or a quota at close only. */
static void check_results(void)
{
    bool failed = ferror(stdout) != 0;
    errno = 0;
    if (fclose(stdout) != 0)
        failed = true;
    if (!failed)
        return;
    output_lost(errno);
    _exit(CLI_FAILED);
}

void output_start(void)
{
    /* Room for every result as a whole, so that a failure to write it shows at the flush, where
     * errno says why. */
    static char buffer[(size_t)64 * 1024];
    (void)setvbuf(stdout, buffer, _IOFBF, sizeof(buffer)); /* refused: the default buffer does */
    if (atexit(check_results) != 0) {
        output_error("out of memory");
        _exit(CLI_FAILED);
    }
}
