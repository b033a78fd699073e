/* SPDX-License-Identifier: MIT */
/*
 * job.c - run one program to its end, or to the end of its time.
 *
 * Said on the console, in this order:
 *
 *   job INDEX start NAME
 *   out|err ...                 what it prints, while it prints it
 *   hang ...                    its threads' stacks, if its time ran out
 *   kmsg <level> TEXT           warnings the kernel logged meanwhile
 *   job INDEX exit=N | signal=N | timeout=S [unkillable=1] | error=TEXT  ms=N
 *
 * Each job finds an empty /tmp and nobody else: what it leaves behind, processes and files, goes
 * before the next one starts. Where not even SIGKILL ends a process, the machine is spent: init
 * stops there, and the reader boots afresh for what is left to run.
 *
 * Owns:    the job's process and the two pipes to it
 * Threads: one, PID 1's
 */
#define _GNU_SOURCE
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined __x86_64__
#define THIS_ARCH AUDIT_ARCH_X86_64
#elif defined __aarch64__
#define THIS_ARCH AUDIT_ARCH_AARCH64
#else
#error "name this architecture's AUDIT_ARCH_* here"
#endif

enum { UNKILLABLE_AFTER_MS = 10000, STRAY_OUTPUT_MS = 100, TICK_MS = 20 };

static void set_limit(unsigned what, const char *value)
{
    struct rlimit limit;
    limit.rlim_cur = RLIM_INFINITY;
    if (strcmp(value, "unlimited") != 0)
        limit.rlim_cur = (rlim_t)strtoull(value, NULL, 0);
    limit.rlim_max = limit.rlim_cur;
    if (setrlimit(what, &limit) < 0)
        dprintf(2, "setrlimit %u %s: %s\n", what, value, strerror(errno));
}

/* A filter by which the named system calls look like they were never written: so any kernel
 * stands in for one that lacks them. */
static void deny_system_calls(const char *list)
{
    struct sock_filter code[64];
    unsigned n = 0;

    code[n++] =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, THIS_ARCH, 1, 0);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    code[n++] =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    while (*list != '\0' && n + 3 < sizeof(code) / sizeof(code[0])) {
        char *end;
        unsigned long number = strtoul(list, &end, 0);
        if (end == list)
            break;
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1);
        code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS);
        list = *end == ',' ? end + 1 : end;
    }
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);

    struct sock_fprog program = {.len = (unsigned short)n, .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        dprintf(2, "seccomp: %s\n", strerror(errno));
}

static void become(const struct guest_job *job, int out, int err)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    dup2(null, 0);
    dup2(out, 1);
    dup2(err, 2);
    setsid();
    if (job->memlock != NULL)
        set_limit(RLIMIT_MEMLOCK, job->memlock);
    if (job->nofile != NULL)
        set_limit(RLIMIT_NOFILE, job->nofile);
    if (chdir("/tmp") < 0)
        _exit(127);
    uid_t uid = (uid_t)job->uid;
    if (uid != 0 &&
        (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0))
        _exit(127);
    if (job->deny != NULL)
        deny_system_calls(job->deny);
    execve(job->argv[0], job->argv, job->envp);
    dprintf(2, "%s: %s\n", job->argv[0], strerror(errno));
    _exit(127);
}

/* Passes on what is to be read from one pipe; closes it at its end. */
static void relay(struct pollfd *pipe_end, const char *stream)
{
    char bytes[16384];
    if (pipe_end->fd < 0 || pipe_end->revents == 0)
        return;
    ssize_t got = read(pipe_end->fd, bytes, sizeof(bytes));
    if (got > 0) {
        console_frame(stream, bytes, (size_t)got);
    } else if (got == 0) {
        close(pipe_end->fd);
        pipe_end->fd = -1;
    }
}

/* Reaps whoever ended; true when the job itself did, with its status. */
static int reap(pid_t child, int *status)
{
    int gone = 0, any;
    pid_t pid;
    while ((pid = waitpid(-1, &any, WNOHANG)) > 0) {
        if (pid == child) {
            gone = 1;
            *status = any;
        }
    }
    return gone;
}

struct outcome {
    int status;
    int timed_out, unkillable;
    uint64_t took_ms;
};

static void attend(const struct guest_job *job, pid_t child, struct pollfd pipes[2],
                   struct outcome *outcome)
{
    uint64_t start_ms = guest_now_ms(CLOCK_MONOTONIC);
    uint64_t limit_ms = (uint64_t)job->timeout_s * 1000;
    int gone = 0;

    while (!gone || pipes[0].fd >= 0 || pipes[1].fd >= 0) {
        int ready = poll(pipes, 2, gone ? STRAY_OUTPUT_MS : TICK_MS);
        if (ready > 0) {
            relay(&pipes[0], "out");
            relay(&pipes[1], "err");
        } else if (gone) {
            return; /* somebody it left behind holds the pipe open and is being killed */
        }
        uint64_t took_ms = guest_now_ms(CLOCK_MONOTONIC) - start_ms;
        if (!gone && reap(child, &outcome->status)) {
            gone = 1;
            outcome->took_ms = took_ms;
            kill(-1, SIGKILL);
        }
        if (gone || limit_ms == 0 || took_ms <= limit_ms)
            continue;
        if (!outcome->timed_out) {
            outcome->timed_out = 1;
            console_show_threads();
            kill(-1, SIGKILL);
        } else if (took_ms > limit_ms + UNKILLABLE_AFTER_MS) {
            outcome->unkillable = 1;
            outcome->took_ms = took_ms;
            return;
        }
    }
}

static void conclude(const struct guest_job *job, size_t index, const struct outcome *outcome)
{
    unsigned long long took_ms = outcome->took_ms;
    if (outcome->timed_out)
        console_say("job %zu timeout=%ld ms=%llu%s", index, job->timeout_s, took_ms,
                    outcome->unkillable ? " unkillable=1" : "");
    else if (WIFSIGNALED(outcome->status))
        console_say("job %zu signal=%d ms=%llu", index, WTERMSIG(outcome->status), took_ms);
    else
        console_say("job %zu exit=%d ms=%llu", index, WEXITSTATUS(outcome->status), took_ms);
}

int job_run(const struct guest_job *job, size_t index)
{
    struct pollfd pipes[2] = {{.fd = -1, .events = POLLIN}, {.fd = -1, .events = POLLIN}};
    struct outcome outcome = {0};
    int out[2], err[2];

    umount2("/tmp", MNT_DETACH); /* the job before had files there, or had them open */
    if (mount("tmpfs", "/tmp", "tmpfs", 0, "mode=1777") < 0)
        console_say("note mount /tmp: %s", strerror(errno));
    if (pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0) {
        console_say("job %zu error=pipe:%s ms=0", index, strerror(errno));
        return 0;
    }
    int kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (kmsg >= 0)
        lseek(kmsg, 0, SEEK_END); /* only what is logged from now on */

    console_say("job %zu start %s", index, job->name);
    pid_t child = fork();
    if (child == 0)
        become(job, out[1], err[1]);
    close(out[1]);
    close(err[1]);
    pipes[0].fd = out[0];
    pipes[1].fd = err[0];
    if (child > 0)
        attend(job, child, pipes, &outcome);
    for (int i = 0; i < 2; i++)
        if (pipes[i].fd >= 0)
            close(pipes[i].fd);

    /* io_uring tears its requests down from a work queue: give it the time to complain */
    usleep(10000);
    console_show_kernel_log(kmsg);
    if (kmsg >= 0)
        close(kmsg);
    if (child < 0)
        console_say("job %zu error=fork ms=0", index);
    else
        conclude(job, index, &outcome);
    return outcome.unkillable ? -1 : 0;
}
