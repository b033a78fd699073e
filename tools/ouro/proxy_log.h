/* SPDX-License-Identifier: MIT */
/*
 * What goes wrong with connections, one line each on stderr, and not too many of them.
 */
#ifndef OURO_CLI_PROXY_LOG_H
#define OURO_CLI_PROXY_LOG_H

#include <pthread.h>
#include <stdint.h>

/* So many lines in each second; the rest is counted. */
#define PROXY_LOG_LINES_MAX 20

/* All zero but the lock is a limit that has let nothing through. */
struct proxy_log_limit {
    pthread_mutex_t lock;
    int64_t second;
    uint64_t lines, left_out;
};

/*
 * Whether a line may be written at @now_ns.  *out_left_out is how many lines were left out before
 * this one and not reported yet.
 */
_Bool proxy_log_may(struct proxy_log_limit *limit, int64_t now_ns, uint64_t *out_left_out);

/* Writes a line on stderr unless there were too many in this second.  From any thread. */
void proxy_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Says how many lines were left out since the last time, if any. */
void proxy_log_end(void);

#endif
