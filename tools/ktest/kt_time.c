/* SPDX-License-Identifier: MIT */
/*
 * Time, processors and counts.
 *
 * On a noisy machine a mean says nothing.  What repeats within a few per cent is the minimum of
 * several rounds, on one processor, as a ratio to a reference measured in the same rounds; and what
 * repeats exactly is a count: worker threads, context switches, completions.
 *
 * Owns:    nothing that outlives the process.
 * Threads: the assertion's first, except kt_now_ns().
 * Always:  times are CLOCK_MONOTONIC.
 */
#define _GNU_SOURCE
#include "runner.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <time.h>

#define MORE_ROUNDS 20
#define NEW_MINIMUM 0.97

int64_t kt_now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t kt_slack_ms(const struct kt *t, int64_t ms)
{
    return ms * t->slack;
}

struct __kernel_timespec kt_ts_ms(int64_t ms)
{
    return (struct __kernel_timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
}

void kt_pin(struct kt *t)
{
    cpu_set_t allowed;
    KT_SYS(t, sched_getaffinity(0, sizeof(allowed), &allowed));
    size_t cpu = 0;
    while (cpu < CPU_SETSIZE && !CPU_ISSET(cpu, &allowed))
        cpu++;
    CPU_ZERO(&allowed);
    CPU_SET(cpu, &allowed);
    KT_SYS(t, sched_setaffinity(0, sizeof(allowed), &allowed));
}

int kt_worker_count(struct kt *t)
{
    DIR *dir = opendir("/proc/self/task");
    KT_SKIP_IF(t, dir == NULL, "no /proc to count worker threads in");
    int workers = 0;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        char path[320];
        char name[32] = {0};
        snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        if (read(fd, name, sizeof(name) - 1) > 0 && strncmp(name, "iou-wrk", 7) == 0)
            workers++;
        (void)close(fd);
    }
    (void)closedir(dir);
    return workers;
}

int64_t kt_context_switches(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_THREAD, &usage) < 0)
        return -1;
    return (int64_t)usage.ru_nvcsw + usage.ru_nivcsw;
}

static double round_cost_ns(struct kt *t, kt_work_fn *work, void *arg, int calls)
{
    const int64_t start_ns = kt_now_ns();
    work(t, arg, calls);
    return (double)(kt_now_ns() - start_ns) / calls;
}

double kt_cost_ratio(struct kt *t, kt_work_fn *run, kt_work_fn *reference, void *arg, int rounds,
                     int calls)
{
    double run_ns = 0;
    double reference_ns = 0;
    run(t, arg, calls); /* warm */
    reference(t, arg, calls);
    int last = rounds; /* as many again after every new minimum: on a busy machine most lie */
    for (int i = 0; i < last && i < rounds * MORE_ROUNDS; i++) {
        const double a = round_cost_ns(t, reference, arg, calls);
        const double b = round_cost_ns(t, run, arg, calls);
        if (i > 0 && (a < reference_ns * NEW_MINIMUM || b < run_ns * NEW_MINIMUM))
            last = i + rounds;
        reference_ns = i == 0 || a < reference_ns ? a : reference_ns;
        run_ns = i == 0 || b < run_ns ? b : run_ns;
    }
    kt_metric(t, "cost_ns", run_ns);
    kt_metric(t, "reference_ns", reference_ns);
    kt_metric(t, "ratio", run_ns / reference_ns);
    return run_ns / reference_ns;
}

void kt_thread_start(struct kt *t, struct kt_thread *thread, kt_thread_fn *run, void *arg)
{
    pthread_t handle;
    const int rc = pthread_create(&handle, NULL, run, arg);
    KT_REQUIRE(t, rc == 0, "pthread_create: %d", rc);
    thread->handle = (unsigned long)handle;
}

void *kt_thread_join(struct kt *t, struct kt_thread *thread)
{
    void *value = NULL;
    kt_step(t, "joining a thread");
    const int rc = pthread_join((pthread_t)thread->handle, &value);
    KT_REQUIRE(t, rc == 0, "pthread_join: %d", rc);
    return value;
}
