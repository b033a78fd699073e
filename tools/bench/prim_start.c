/* SPDX-License-Identifier: MIT */
/*
 * What it costs to start a runtime and to free it again.
 *
 *     bench_prim_start [ROUNDS] [--json]       default 101
 *
 * The first start of a process looks at the kernel, so every measurement is made in a process of
 * its own: fork, start, free, exit.  The kinds take turns.  Printed are the medians of the time and
 * of the processor time that the process used.  --json prints them, an object a line.
 *
 * Owns:    nothing.
 * Threads: one.
 * Always:  every figure is measured in this run.
 */
#include <ouro.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS_MAX = 1001 };

static const struct {
    const char *name;
    enum ouro_driver_kind driver;
    enum ouro_flavour flavour;
    int starts; /* in one process; the last one is measured */
} kinds[] = {
    {"start, epoll", OURO_DRIVER_EPOLL, OURO_FLAVOUR_CURRENT_THREAD, 1},
    {"start, io_uring", OURO_DRIVER_URING, OURO_FLAVOUR_CURRENT_THREAD, 1},
    {"start again, epoll", OURO_DRIVER_EPOLL, OURO_FLAVOUR_CURRENT_THREAD, 2},
    {"start again, io_uring", OURO_DRIVER_URING, OURO_FLAVOUR_CURRENT_THREAD, 2},
    {"start 2 workers, epoll", OURO_DRIVER_EPOLL, OURO_FLAVOUR_MULTI_THREAD, 1},
    {"start 2 workers, io_uring", OURO_DRIVER_URING, OURO_FLAVOUR_MULTI_THREAD, 1},
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

struct cost {
    double time_us;
    double cpu_us;
};

static double now_us(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static int measure_here(unsigned kind, struct cost *out)
{
    struct ouro_runtime_config config = OURO_RUNTIME_CONFIG_INIT;
    config.driver = kinds[kind].driver;
    config.flavour = kinds[kind].flavour;
    config.workers = config.flavour == OURO_FLAVOUR_MULTI_THREAD ? 2 : 0;
    for (int i = 0; i < kinds[kind].starts; i++) {
        struct ouro_runtime *runtime = NULL;
        double time_us = now_us(CLOCK_MONOTONIC);
        double cpu_us = now_us(CLOCK_PROCESS_CPUTIME_ID);
        int rc = ouro_runtime_new(&config, &runtime);
        if (rc < 0)
            return rc;
        ouro_runtime_free(runtime);
        out->cpu_us = now_us(CLOCK_PROCESS_CPUTIME_ID) - cpu_us;
        out->time_us = now_us(CLOCK_MONOTONIC) - time_us;
    }
    return 0;
}

/* In a process of its own. */
static int measure(unsigned kind, struct cost *out)
{
    int ends[2];
    if (pipe(ends) < 0)
        return -errno;
    pid_t child = fork();
    if (child == 0) {
        struct cost cost;
        int rc = measure_here(kind, &cost);
        if (rc < 0)
            _exit(rc == -OURO_ENODRIVER ? 77 : 1);
        _exit(write(ends[1], &cost, sizeof(cost)) == sizeof(cost) ? 0 : 1);
    }
    (void)close(ends[1]);
    bool got = child > 0 && read(ends[0], out, sizeof(*out)) == sizeof(*out);
    (void)close(ends[0]);
    int status = 0;
    if (child > 0)
        (void)waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        return -OURO_ENODRIVER;
    return got ? 0 : -EIO;
}

static int by_size(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;
    return (a > b) - (a < b);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof(*values), by_size);
    return values[count / 2];
}

int main(int argc, char **argv)
{
    static double time_us[KINDS][ROUNDS_MAX];
    static double cpu_us[KINDS][ROUNDS_MAX];
    bool as_json = false;
    int rounds = 101;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            as_json = true;
        else
            rounds = (int)strtol(argv[i], NULL, 10);
    }
    if (rounds < 1 || rounds > ROUNDS_MAX) {
        (void)fprintf(stderr, "usage: bench_prim_start [ROUNDS] [--json], 1 to %d\n", ROUNDS_MAX);
        return 2;
    }
    for (int round = 0; round < rounds; round++) {
        for (unsigned kind = 0; kind < KINDS; kind++) {
            struct cost cost = {0, 0};
            int rc = measure(kind, &cost);
            if (rc < 0) {
                (void)fprintf(stderr, "bench_prim_start: %s: %s\n", kinds[kind].name,
                              ouro_strerror(rc));
                return 1;
            }
            time_us[kind][round] = cost.time_us;
            cpu_us[kind][round] = cost.cpu_us;
        }
    }
    if (!as_json)
        printf("%-32s %10s %10s  us\n", "", "time", "CPU");
    for (unsigned kind = 0; kind < KINDS; kind++)
        printf(as_json ? "{\"name\": \"%s\", \"time_us\": %.1f, \"cpu_us\": %.1f}\n"
                       : "%-32s %10.1f %10.1f\n",
               kinds[kind].name, median(time_us[kind], rounds), median(cpu_us[kind], rounds));
    return 0;
}
