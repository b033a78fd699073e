/* SPDX-License-Identifier: MIT */
/*
 * Counts what the process holds by /proc/self/fd, /task and /maps, and by ouro's own count of heap
 * blocks and of pools of stacks that the fault handler knows.
 *
 * Descriptors, threads, blocks and ring mappings must come back exactly.  Of anonymous memory
 * MAPS_TOLERANCE_BYTES may remain: libc keeps what it once mapped for itself (the loader's TLS
 * blocks, stdio and resolver buffers), at most a few pages each, while the smallest thing ouro
 * maps, a slab of stacks, is over a MiB.  support/main.c turns libc's larger hoards off (a heap
 * arena and a cached stack per thread).  Sanitizers map shadow and quarantine as they like: there
 * only descriptors, threads, blocks and rings are compared.
 *
 * Owns:    nothing.
 * Threads: the main thread, between cases.
 * Always:  what is missing is named, with where each descriptor left open points to.
 */
#include "support/leaks.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "fiber/overflow.h"
#include "fiber/stack_tools.h"
#include "support/fail.h"
#include "support/until.h"

#define MAPS_TOLERANCE_BYTES (INT64_C(512) * 1024)
#define RELEASE_TIMEOUT_NS (5 * OURO_TEST_SECOND * ouro_test_slowness())

/* The sanitizers' and Valgrind's own mappings grow as they please. */
static bool maps_are_ours(void)
{
    return !OURO__ASAN && !OURO__TSAN && !ouro__stack_on_valgrind();
}

static DIR *open_directory(const char *path)
{
    DIR *dir = opendir(path);
    if (dir == NULL)
        ouro_test_fail(__FILE__, __LINE__, "opendir", "%s: %m", path);
    return dir;
}

/* The next entry that is a number, or -1. */
static long next_number(DIR *dir)
{
    const struct dirent *entry = NULL;
    while ((entry = readdir(dir)) != NULL) {
        char *end = NULL;
        long number = strtol(entry->d_name, &end, 10);
        if (*end == '\0' && end != entry->d_name)
            return number;
    }
    return -1;
}

static void count_descriptors(struct ouro_test_holdings *out)
{
    DIR *dir = open_directory("/proc/self/fd");
    for (long fd = next_number(dir); fd >= 0; fd = next_number(dir)) {
        if (fd == dirfd(dir))
            continue;
        out->fds++;
        if (fd < OURO_TEST_FDS_NAMED)
            out->fd_open[fd] = true;
    }
    (void)closedir(dir);
}

/* A thread of the kernel's in this process (io-wq): it comes when an operation needs one and goes
 * when it has been idle for seconds, whatever became of the ring. */
static bool is_the_kernels(long tid)
{
    char path[64];
    char name[16] = "";
    (void)snprintf(path, sizeof(path), "/proc/self/task/%ld/comm", tid);
    FILE *comm = fopen(path, "re");
    if (comm == NULL)
        return false;
    (void)!fgets(name, sizeof(name), comm);
    (void)fclose(comm);
    return strncmp(name, "iou-wrk-", strlen("iou-wrk-")) == 0;
}

static void count_threads(struct ouro_test_holdings *out)
{
    DIR *dir = open_directory("/proc/self/task");
    for (long tid = next_number(dir); tid >= 0; tid = next_number(dir))
        out->threads += !is_the_kernels(tid);
    (void)closedir(dir);
}

/* "7f0a-7f0b rw-p 00000000 00:00 0 [name]": adds one line of /proc/self/maps to @out. */
static void count_mapping(const char *line, struct ouro_test_holdings *out)
{
    uint64_t start = 0;
    uint64_t end = 0;
    char permissions[8];
    char name[256] = "";
    if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %*s %*s %*s %255[^\n]", &start, &end, permissions,
               name) < 3)
        return;
    if (strstr(name, "anon_inode:[io_uring]") != NULL)
        out->ring_mappings++;
    else if (name[0] == '\0')
        out->anonymous_bytes += (int64_t)(end - start);
}

static void count_mappings(struct ouro_test_holdings *out)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    if (maps == NULL)
        ouro_test_fail(__FILE__, __LINE__, "fopen", "/proc/self/maps: %m");
    char line[512];
    while (fgets(line, sizeof(line), maps) != NULL)
        count_mapping(line, out);
    (void)fclose(maps);
}

void ouro_test_holdings_take(struct ouro_test_holdings *out)
{
    *out = (struct ouro_test_holdings){0};
    count_mappings(out);
    count_descriptors(out);
    count_threads(out);
    out->blocks = ouro__alloc_live_blocks();
    out->watched_pools = ouro__overflow_pool_count();
}

unsigned ouro_test_open_descriptors(void)
{
    unsigned count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

struct comparison {
    const struct ouro_test_holdings *before;
    struct ouro_test_holdings now;
};

static bool nothing_left(void *arg)
{
    struct comparison *c = arg;
    ouro_test_holdings_take(&c->now);
    /* Fewer threads: one of the warm-up's had been joined and was still there to be counted. */
    return c->now.fds == c->before->fds && c->now.threads <= c->before->threads &&
           c->now.blocks == c->before->blocks && c->now.watched_pools == c->before->watched_pools &&
           c->now.ring_mappings == c->before->ring_mappings &&
           (!maps_are_ours() ||
            c->now.anonymous_bytes <= c->before->anonymous_bytes + MAPS_TOLERANCE_BYTES);
}

/* Where each descriptor points that is open now and was not before. */
static void name_descriptors(const struct comparison *c)
{
    for (int fd = 0; fd < OURO_TEST_FDS_NAMED; fd++) {
        char path[64];
        char target[256];
        if (!c->now.fd_open[fd] || c->before->fd_open[fd])
            continue;
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        ssize_t length = readlink(path, target, sizeof(target) - 1);
        if (length > 0)
            fprintf(stderr, "  descriptor %d is still open: %.*s\n", fd, (int)length, target);
    }
}

void ouro_test_holdings_check(const struct ouro_test_holdings *before, bool may_leak)
{
    struct comparison c = {.before = before};
    if (may_leak || ouro_test_until(nothing_left, &c, RELEASE_TIMEOUT_NS))
        return;
    name_descriptors(&c);
    ouro_test_fail("tests/support/leaks.c", __LINE__, "the case ends with what it began with",
                   "descriptors %u -> %u, threads %u -> %u, heap blocks %" PRId64 " -> %" PRId64
                   ", pools of stacks the fault handler knows %u -> %u, ring mappings %u -> %u, "
                   "anonymous memory %" PRId64 " -> %" PRId64 " KiB",
                   before->fds, c.now.fds, before->threads, c.now.threads, before->blocks,
                   c.now.blocks, before->watched_pools, c.now.watched_pools, before->ring_mappings,
                   c.now.ring_mappings, before->anonymous_bytes / 1024,
                   c.now.anonymous_bytes / 1024);
}
