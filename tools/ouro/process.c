/* SPDX-License-Identifier: MIT */
/*
 * Process: what a server uses, from /proc.
 *
 * CPU time is that of the process's CPU clock, which counts every thread, living or ended, in
 * nanoseconds; of a thread that is running, up to the last tick of its CPU.  /proc/PID/stat has the
 * same account rounded to 10 ms.  It is used where only it has the number: for the time of children
 * that were waited for.
 *
 * Servers with processes for workers are counted as a whole: the descendants are found by
 * /proc/PID/task/TID/children.  A kernel without these files (CONFIG_PROC_CHILDREN) shows the one
 * process.  A descendant that has ended counts from when its parent has waited for it.
 *
 * Owns:    nothing.
 * Threads: any.
 */
#include "process.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PATH_SIZE 64
#define PROCESSES_MAX 4096 /* a server with more is counted in part */

struct stat_line {
    char state;
    uint64_t start_ticks;
    int64_t waited_ticks; /* CPU time of children that were waited for */
};

/* The fields after the command's name, which may hold blanks and brackets: proc(5). */
static int read_stat(pid_t pid, struct stat_line *out_line)
{
    char path[PATH_SIZE], text[1024];
    (void)snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return errno == ENOENT ? -ESRCH : -errno;
    size_t size = fread(text, 1, sizeof(text) - 1, file);
    (void)fclose(file);
    text[size] = '\0';
    const char *fields = strrchr(text, ')');
    long long user_ticks = 0, system_ticks = 0;
    /* 3 state ... 16 cutime, 17 cstime ... 22 starttime */
    if (fields == NULL ||
        sscanf(fields + 1,
               " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s"
               " %lld %lld %*s %*s %*s %*s %" SCNu64,
               &out_line->state, &user_ticks, &system_ticks, &out_line->start_ticks) != 4)
        return -ESRCH; /* it ended while it was read */
    out_line->waited_ticks = user_ticks + system_ticks;
    return out_line->state == 'Z' || out_line->state == 'X' ? -ESRCH : 0;
}

static uint64_t resident_bytes(pid_t pid)
{
    char path[PATH_SIZE];
    (void)snprintf(path, sizeof(path), "/proc/%ld/statm", (long)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    unsigned long long pages = 0;
    if (fscanf(file, "%*s %llu", &pages) != 1)
        pages = 0;
    (void)fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static size_t add_children_of_thread(const char *path, pid_t *pids, size_t count)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return count;
    int pid = 0;
    while (count < PROCESSES_MAX && fscanf(file, "%d", &pid) == 1)
        pids[count++] = (pid_t)pid;
    (void)fclose(file);
    return count;
}

/* Appends the children of all threads of @pid, and counts its threads. */
static size_t add_children(pid_t pid, pid_t *pids, size_t count, unsigned *threads)
{
    char path[PATH_SIZE];
    (void)snprintf(path, sizeof(path), "/proc/%ld/task", (long)pid);
    DIR *tasks = opendir(path);
    if (tasks == NULL)
        return count;
    for (const struct dirent *entry = readdir(tasks); entry != NULL; entry = readdir(tasks)) {
        if (entry->d_name[0] == '.')
            continue;
        char children[PATH_SIZE + sizeof(entry->d_name) + sizeof("//children")];
        (void)snprintf(children, sizeof(children), "%s/%s/children", path, entry->d_name);
        count = add_children_of_thread(children, pids, count);
        ++*threads;
    }
    (void)closedir(tasks);
    return count;
}

static int add_usage(pid_t pid, const struct stat_line *line, struct process_usage *usage)
{
    clockid_t clock = 0;
    struct timespec cpu = {0};
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &cpu) != 0)
        return -ESRCH;
    const int64_t tick_ns = INT64_C(1000000000) / sysconf(_SC_CLK_TCK);
    usage->cpu_ns += cpu.tv_sec * INT64_C(1000000000) + cpu.tv_nsec;
    usage->cpu_ns += line->waited_ticks * tick_ns;
    usage->rss_bytes += resident_bytes(pid);
    usage->processes++;
    return 0;
}

int process_open(pid_t pid, struct process *out_process)
{
    struct stat_line line;
    int rc = read_stat(pid, &line);
    if (rc < 0)
        return rc;
    *out_process = (struct process){.pid = pid, .start_ticks = line.start_ticks};
    return 0;
}

int process_usage(const struct process *process, struct process_usage *out_usage)
{
    pid_t *pids = calloc(PROCESSES_MAX, sizeof(*pids));
    if (pids == NULL)
        return -ENOMEM;
    struct process_usage usage = {0};
    pids[0] = process->pid;
    size_t count = 1;
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        struct stat_line line;
        int one = read_stat(pids[i], &line);
        if (one == 0 && i == 0 && line.start_ticks != process->start_ticks)
            one = -ESRCH; /* another has its number by now */
        if (one == 0)
            one = add_usage(pids[i], &line, &usage);
        if (one == 0)
            count = add_children(pids[i], pids, count, &usage.threads);
        if (i == 0)
            rc = one; /* a descendant that has just ended is no failure */
    }
    free(pids);
    if (rc == 0)
        *out_usage = usage;
    return rc;
}
