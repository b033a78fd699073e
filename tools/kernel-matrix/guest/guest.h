/* SPDX-License-Identifier: MIT */
/*
 * guest.h - what the parts of the test machine's PID 1 share.
 *
 * The program in this folder is the only user space of a machine that lives for a few seconds: it
 * sets the place up, runs a list of programs one after the other, says on the serial console how
 * each of them ended, and switches the machine off. tools/kernel-matrix builds it, packs it and
 * reads what it says.
 *
 *   init.c      the machine: mounts, loopback, sysctls, the list of jobs
 *   job.c       one job: start it with its limits, pass its output on, end it in time
 *   console.c   the one way out: marked lines, framed output, the kernel's warnings
 */
#ifndef OURO_GUEST_H
#define OURO_GUEST_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

enum { GUEST_ARGS_MAX = 64, GUEST_JOBS_MAX = 512 };

/* One program to run. The strings point into the text of /ouro/jobs. */
struct guest_job {
    const char *name;
    char *argv[GUEST_ARGS_MAX + 1];
    char *envp[GUEST_ARGS_MAX + 1];
    size_t argc, envc;
    long timeout_s;      /* 0: no limit */
    long uid;            /* 0: root */
    const char *memlock; /* bytes or "unlimited", NULL: as the kernel gives it */
    const char *nofile;
    const char *deny; /* numbers of system calls that answer ENOSYS */
};

/* console.c */
int console_open(void); /* 0, or -1: then nobody can be told */
void console_name(const char *nonce);
void console_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void console_frame(const char *stream, const char *bytes, size_t length);
void console_drain(void);
void console_show_threads(void);
void console_show_kernel_log(int kmsg);
char *guest_slurp(const char *path); /* a small file, NUL after it; NULL if it is not there */

/* job.c */
int job_run(const struct guest_job *job, size_t index); /* -1: it cannot be killed */

static inline uint64_t guest_now_ms(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

#endif
