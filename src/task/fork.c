/* SPDX-License-Identifier: MIT */
/*
 * Fork without exec, noticed.
 *
 * Owns:    one counter.
 * Threads: any; the counter changes only in a child's first thread, before it can make others.
 * Always:  a child's count differs from its parent's.
 * Tests:   tests/runtime/test_process.c
 */
#include "task/fork.h"

#include "base/mutex.h"

#include <errno.h>

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
