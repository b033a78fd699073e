/* SPDX-License-Identifier: MIT */
/*
 * Another process: the CPU time and the memory that it and its children use.
 */
#ifndef OURO_CLI_PROCESS_H
#define OURO_CLI_PROCESS_H

#include <stdint.h>
#include <sys/types.h>

/* A process by its number and the time of its start, since numbers are used again. */
struct process {
    pid_t pid;
    uint64_t start_ticks;
};

struct process_usage {
    int64_t cpu_ns;     /* user and system, of all threads, of children that have ended too */
    uint64_t rss_bytes; /* resident memory */
    unsigned processes;
    unsigned threads;
};

/* -ESRCH without such a process, another -errno when it cannot be read. */
int process_open(pid_t pid, struct process *out_process);

/*
 * What the process and its descendants use at this moment.  -ESRCH when the process has ended.  It
 * reads a few files for each process.
 */
int process_usage(const struct process *process, struct process_usage *out_usage);

#endif
