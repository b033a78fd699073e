/* SPDX-License-Identifier: MIT */
/*
 * What the primitives cost: yield, spawn and join, a group, a timer, a sleep, a parked fiber's
 * memory.
 *
 *     bench_prim_task [ROUNDS] [--json]       default 9
 *
 * The measurements take turns, round after round, so that a slow minute of the machine falls on all
 * of them; printed are the minimum, the median and the maximum of the rounds.  The timer is set and
 * unset among 100,000 others that are set.  --json prints the medians, an object a line, under the
 * names that the programs of other runtimes use as well (tools/bench/compare puts them together).
 *
 * Owns:    nothing.
 * Threads: one.
 * Always:  every figure is measured in this run.
 */
#include <ouro.h>

#include "task/timer.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS_MAX = 99, AT_A_TIME = 1000, TIMERS = 100000, SLEEPS = 20, PARKED = 20000 };

static int rounds = 9;
static bool as_json;

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int yields(void *arg)
{
    int rc = 0;
    for (long i = (long)(intptr_t)arg; i > 0 && rc == 0; i--)
        rc = ouro_yield();
    return rc;
}

/* Yield between @tasks tasks: ns each. */
static double measure_yield(long tasks)
{
    struct ouro_task *task[AT_A_TIME];
    long each = 400000 / tasks;
    for (long i = 0; i < tasks; i++)
        if (ouro_task_spawn(yields, (void *)(intptr_t)each, &task[i]) < 0)
            return -1;
    int64_t start_ns = ouro_now_ns();
    for (long i = 0; i < tasks; i++)
        if (ouro_task_join(task[i], NULL) < 0)
            return -1;
    return (double)(ouro_now_ns() - start_ns) / (double)(each * tasks);
}

static double measure_yield_2(void)
{
    return measure_yield(2);
}

static double measure_yield_1000(void)
{
    return measure_yield(AT_A_TIME);
}

static double measure_spawn_1000(void)
{
    struct ouro_task *task[AT_A_TIME];
    int64_t start_ns = ouro_now_ns();
    for (int repeat = 0; repeat < 100; repeat++) {
        for (int i = 0; i < AT_A_TIME; i++)
            if (ouro_task_spawn(nothing, NULL, &task[i]) < 0)
                return -1;
        for (int i = 0; i < AT_A_TIME; i++)
            if (ouro_task_join(task[i], NULL) < 0)
                return -1;
    }
    return (double)(ouro_now_ns() - start_ns) / (double)(100 * AT_A_TIME);
}

static double measure_spawn_1(void)
{
    struct ouro_task *task = NULL;
    int64_t start_ns = ouro_now_ns();
    for (int i = 0; i < 100000; i++)
        if (ouro_task_spawn(nothing, NULL, &task) < 0 || ouro_task_join(task, NULL) < 0)
            return -1;
    return (double)(ouro_now_ns() - start_ns) / 100000.0;
}

/* A group of @tasks tasks, begun and ended: ns a task. */
static double measure_group(long tasks)
{
    long rounds_of = 100000 / tasks;
    int64_t start_ns = ouro_now_ns();
    for (long round = 0; round < rounds_of; round++) {
        struct ouro_group group;
        if (ouro_group_begin(&group, 0) < 0)
            return -1;
        int rc = 0;
        for (long i = 0; i < tasks && rc == 0; i++)
            rc = ouro_group_spawn(&group, NULL, nothing, NULL);
        if (ouro_group_end(&group) < 0 || rc < 0)
            return -1;
    }
    return (double)(ouro_now_ns() - start_ns) / (double)(rounds_of * tasks);
}

static double measure_group_1000(void)
{
    return measure_group(AT_A_TIME);
}

static double measure_group_1(void)
{
    return measure_group(1);
}

static void never_fires(struct ouro__timer *timer)
{
    (void)timer;
    abort();
}

static double measure_timer(void)
{
    static struct ouro__timer_wheel wheel;
    static struct ouro__timer *live;
    uint64_t random = 88172645463325252u;
    int64_t now_ns = ouro_now_ns();
    if (live == NULL) {
        live = calloc(TIMERS, sizeof(*live));
        if (live == NULL)
            return -1;
        ouro__timer_wheel_init(&wheel, now_ns);
        for (int i = 0; i < TIMERS; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            ouro__timer_init(&live[i], never_fires);
            ouro__timer_set(&wheel, &live[i], now_ns + OURO_SECOND + (int64_t)(random >> 28));
        }
    }
    struct ouro__timer timer;
    ouro__timer_init(&timer, never_fires);
    int64_t start_ns = ouro_now_ns();
    for (int i = 0; i < 1000000; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        ouro__timer_set(&wheel, &timer, now_ns + OURO_SECOND + (int64_t)(random >> 28));
        ouro__timer_unset(&wheel, &timer);
    }
    return (double)(ouro_now_ns() - start_ns) / 1e6;
}

static double measure_deadline(void)
{
    struct ouro_deadline scope;
    int64_t start_ns = ouro_now_ns();
    for (int i = 0; i < 200000; i++) {
        if (ouro_deadline_begin(&scope, OURO_SECOND) < 0)
            return -1;
        ouro_deadline_end(&scope);
    }
    return (double)(ouro_now_ns() - start_ns) / 200000.0;
}

static int sleeps(void *arg)
{
    int rc = 0;
    for (int i = 0; i < SLEEPS && rc == 0; i++)
        rc = ouro_sleep(OURO_MILLISECOND + (int64_t)(intptr_t)arg * 7 * OURO_MICROSECOND);
    return rc;
}

static int64_t cpu_ns(void)
{
    struct timespec used;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (int64_t)used.tv_sec * OURO_SECOND + used.tv_nsec;
}

/* Processor time of a sleep that ends, among @tasks tasks that sleep for 1 to 8 ms. */
static double measure_sleeps(long tasks)
{
    struct ouro_task *task[AT_A_TIME];
    int64_t start_ns = cpu_ns();
    for (long i = 0; i < tasks; i++)
        if (ouro_task_spawn(sleeps, (void *)(intptr_t)i, &task[i]) < 0)
            return -1;
    for (long i = 0; i < tasks; i++)
        if (ouro_task_join(task[i], NULL) < 0)
            return -1;
    return (double)(cpu_ns() - start_ns) / (double)(SLEEPS * tasks);
}

static double measure_sleeps_1000(void)
{
    return measure_sleeps(AT_A_TIME);
}

static double measure_sleeps_10(void)
{
    return measure_sleeps(10);
}

static long resident_bytes(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%*d %ld", &pages) != 1)
        pages = 0;
    if (file != NULL)
        fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

static int parks(void *arg)
{
    (void)arg;
    return ouro_sleep(3600 * OURO_SECOND) == -ECANCELED ? 0 : -1;
}

/* Resident bytes of a parked fiber, all that belongs to it included. */
static int measure_parked(void)
{
    struct ouro_task **task = calloc(PARKED, sizeof(*task));
    if (task == NULL)
        return -1;
    memset(task, 0xff, PARKED * sizeof(*task));
    long before = resident_bytes();
    for (int i = 0; i < PARKED; i++)
        if (ouro_task_spawn(parks, NULL, &task[i]) < 0)
            return -1;
    for (int i = 0; i < 3; i++)
        if (ouro_yield() < 0)
            return -1;
    double bytes = (double)(resident_bytes() - before) / (double)PARKED;
    printf(as_json ? "{\"name\": \"%s\", \"bytes\": %.0f}\n" : "%-32s %10.0f bytes\n",
           "parked fiber, resident", bytes);
    for (int i = 0; i < PARKED; i++)
        (void)ouro_task_cancel(task[i]);
    for (int i = 0; i < PARKED; i++)
        if (ouro_task_join(task[i], NULL) < 0)
            return -1;
    free(task);
    return 0;
}

static const struct {
    const char *name;
    double (*measure)(void);
} measures[] = {
    {"yield, 2 tasks", measure_yield_2},
    {"yield, 1000 tasks", measure_yield_1000},
    {"spawn + join, 1000 at a time", measure_spawn_1000},
    {"spawn + join, one at a time", measure_spawn_1},
    {"group, 1000 tasks", measure_group_1000},
    {"group, one task", measure_group_1},
    {"timer insert + cancel, 100k live", measure_timer},
    {"deadline begin + end", measure_deadline},
    {"sleep, 1000 tasks, CPU", measure_sleeps_1000},
    {"sleep, 10 tasks, CPU", measure_sleeps_10},
};
enum { MEASURES = sizeof(measures) / sizeof(measures[0]) };

static int by_size(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;
    return (a > b) - (a < b);
}

static void print(double ns[MEASURES][ROUNDS_MAX])
{
    if (!as_json)
        printf("%-32s %10s %10s %10s  ns\n", "", "min", "median", "max");
    for (unsigned i = 0; i < MEASURES; i++) {
        qsort(ns[i], (size_t)rounds, sizeof(double), by_size);
        double median_ns = ns[i][rounds / 2];
        if (as_json)
            printf("{\"name\": \"%s\", \"ns\": %.2f}\n", measures[i].name, median_ns);
        else
            printf("%-32s %10.1f %10.1f %10.1f\n", measures[i].name, ns[i][0], median_ns,
                   ns[i][rounds - 1]);
    }
}

static int bench(void *arg)
{
    static double ns[MEASURES][ROUNDS_MAX];
    (void)arg;
    for (int round = 0; round < rounds; round++)
        for (unsigned i = 0; i < MEASURES; i++)
            if ((ns[i][round] = measures[i].measure()) < 0)
                return -1;
    print(ns);
    return measure_parked();
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            as_json = true;
        else
            rounds = (int)strtol(argv[i], NULL, 10);
    }
    if (rounds < 1 || rounds > ROUNDS_MAX) {
        (void)fprintf(stderr, "usage: bench_prim_task [ROUNDS] [--json], 1 to %d\n", ROUNDS_MAX);
        return 2;
    }
    int rc = ouro_run(bench, NULL);
    if (rc < 0)
        (void)fprintf(stderr, "bench_prim_task: %s\n", ouro_strerror(rc));
    return rc < 0;
}
