/* SPDX-License-Identifier: MIT */
/*
 * ProxyLog: a limit for messages.
 *
 * A target that is down fails thousands of connections a second, and a line for each would cost
 * more than the connections do.  The first lines of each second are written; the others are
 * counted, and the number is told with the next line that is written.
 *
 * Owns:    the limit.
 * Threads: any.
 */
#include "proxy_log.h"

#include <inttypes.h>
#include <ouro.h>
#include <stdarg.h>
#include <stdio.h>

#include "output.h"

#define LINE_BYTES 512

static struct proxy_log_limit limit = {.lock = PTHREAD_MUTEX_INITIALIZER};

_Bool proxy_log_may(struct proxy_log_limit *of, int64_t now_ns, uint64_t *out_left_out)
{
    int64_t second = now_ns / OURO_SECOND;
    *out_left_out = 0;
    pthread_mutex_lock(&of->lock);
    if (second != of->second) {
        of->second = second;
        of->lines = 0;
    }
    _Bool may = of->lines < PROXY_LOG_LINES_MAX;
    if (may) {
        of->lines++;
        *out_left_out = of->left_out;
        of->left_out = 0;
    } else {
        of->left_out++;
    }
    pthread_mutex_unlock(&of->lock);
    return may;
}

static void say_left_out(uint64_t count)
{
    if (count > 0)
        output_error("%" PRIu64 " more messages were left out", count);
}

void proxy_log(const char *format, ...)
{
    uint64_t left_out;
    if (!proxy_log_may(&limit, ouro_now_ns(), &left_out))
        return;
    char line[LINE_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    say_left_out(left_out);
    output_error("%s", line);
}

void proxy_log_end(void)
{
    pthread_mutex_lock(&limit.lock);
    uint64_t left_out = limit.left_out;
    limit.left_out = 0;
    pthread_mutex_unlock(&limit.lock);
    say_left_out(left_out);
}
