/* SPDX-License-Identifier: MIT */
/*
 * Fork: detects a fork without exec (base/fork.h).
 *
 * Owns:    one counter.
 * Threads: any; the counter changes only in a child's first thread, before it can make others.
 * Always:  a child's count differs from its parent's.
 * Tests:   tests/runtime/test_fork.c
 */
#include "base/fork.h"

#include "base/coverage.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

uint32_t ouro__fork_count;

static void in_child(void)
{
    ouro__fork_count++;
}

int ouro__fork_watch(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static bool watching;
    int rc = 0;
    (void)pthread_mutex_lock(&lock);
    if (!watching)
        rc = pthread_atfork(NULL, NULL, in_child);
    watching = watching || rc == 0;
    (void)pthread_mutex_unlock(&lock);
    return rc == 0 ? 0 : -ENOMEM;
}

/* Runs no exit handlers and flushes nothing: the parent writes the same stdio buffers. */
void ouro__fork_end(int result)
{
    ouro__coverage_write();
    _exit(result == 0 ? 0 : 1);
}
