/* SPDX-License-Identifier: MIT */
/*
 * The kernel log: a WARN or an oops is a finding, whatever the assertion itself saw.
 *
 * /dev/kmsg gives one record a read, and starts where we ask it to, so only what was logged since
 * the run began is looked at.  Reading needs CAP_SYSLOG or kernel.dmesg_restrict=0; without, the
 * check is left out and the report says so.
 *
 * Owns:    the descriptor, until the process ends.
 * Threads: the runner's.
 * Always:  never blocks.
 */
#define _GNU_SOURCE
#include "runner.h"

#include <fcntl.h>
#include <stdlib.h>

int kt_kmsg_open(void)
{
    int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0 && lseek(fd, 0, SEEK_END) < 0) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

static bool is_bug(const char *message)
{
    static const char *const signs[] = {
        "WARNING: ",   "BUG: ",
        "Oops",        "general protection fault",
        "kernel BUG",  "blocked for more than",
        "soft lockup", "rcu_sched detected",
        "refcount_t:", "KASAN",
        "UBSAN",       "possible deadlock",
    };
    for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++)
        if (strstr(message, signs[i]) != NULL)
            return true;
    return false;
}

bool kt_kmsg_check(int fd, char *out, size_t size)
{
    bool found = false;
    char record[2048];
    while (fd >= 0) {
        ssize_t got = read(fd, record, sizeof(record) - 1);
        if (got < 0 && errno == EPIPE)
            continue; /* overwritten before we came: go on with the next */
        if (got <= 0)
            break;
        record[got] = '\0';
        /* "<priority and facility>,sequence,time,flags;text\n"; facility 0 is the kernel. */
        const long priority = strtol(record, NULL, 10);
        char *text = strchr(record, ';');
        if (found || text == NULL || priority >> 3 != 0 || !is_bug(text + 1))
            continue;
        text[strcspn(text, "\n")] = '\0';
        snprintf(out, size, "%.*s", (int)size - 1, text + 1);
        found = true;
    }
    return found;
}
