/* SPDX-License-Identifier: MIT */
/*
 * What the context switch and the stacks cost.
 *
 *     bench_prim_switch [--million] [--json]
 *
 * Each figure is the best and the median of several rounds, in nanoseconds for one operation.  With
 * --million it makes a million guarded stacks, touches a page of each as a parked fiber does, and
 * says what that cost in memory and in mappings.  --json prints the medians, an object a line.
 *
 * Owns:    the stack pool.
 * Threads: one.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "fiber/stack.h"
#include "fiber/stack_trim.h"
#include "fiber/switch.h"

#define ROUNDS 9
#define BATCH 1000

struct fiber {
    struct ouro__switch context;
    struct fiber *next;
};

static struct ouro__switch scheduler;
static struct ouro__stack_pool pool;
static bool as_json;

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(const char *what, double (*round)(void))
{
    double ns[ROUNDS];

    for (int i = 0; i < ROUNDS; i++)
        ns[i] = round();
    qsort(ns, ROUNDS, sizeof(ns[0]), compare);
    if (as_json)
        printf("{\"name\": \"%s\", \"ns\": %.2f}\n", what, ns[ROUNDS / 2]);
    else
        printf("%-58s best %7.2f  median %7.2f ns\n", what, ns[0], ns[ROUNDS / 2]);
}

static struct fiber *fiber_new(ouro__switch_entry_fn *entry)
{
    struct fiber *fiber = ouro__stack_get(&pool);
    if (!fiber) {
        (void)fputs("out of stacks\n", stderr);
        exit(1);
    }
    char *low = ouro__stack_low(&pool, fiber);
    ouro__switch_init(&fiber->context, low, (size_t)((char *)fiber - low), entry, fiber);
    return fiber;
}

static void bounce(void *arg)
{
    struct fiber *self = arg;
    for (;;)
        ouro__switch_to(&self->context, &scheduler);
}

static double there_and_back(void)
{
    const int count = 10 * 1000 * 1000;
    struct fiber *fiber = fiber_new(bounce);
    int64_t start = ouro__clock_now_ns();

    for (int i = 0; i < count; i++)
        ouro__switch_to(&scheduler, &fiber->context);
    double ns = (double)(ouro__clock_now_ns() - start) / count;
    ouro__switch_fini(&fiber->context);
    ouro__stack_put(&pool, fiber);
    return ns;
}

static void pass_round(void *arg)
{
    struct fiber *self = arg;
    for (;;)
        ouro__switch_to(&self->context, &self->next->context);
}

/* The last of a ring goes back to the scheduler. */
static void pass_back(void *arg)
{
    struct fiber *self = arg;
    for (;;)
        ouro__switch_to(&self->context, &scheduler);
}

static double around_a_ring(void)
{
    const int rounds = 2000;
    struct fiber *fibers[BATCH];

    for (int i = 0; i < BATCH; i++)
        fibers[i] = fiber_new(i < BATCH - 1 ? pass_round : pass_back);
    for (int i = 0; i < BATCH - 1; i++)
        fibers[i]->next = fibers[i + 1];
    int64_t start = ouro__clock_now_ns();
    for (int i = 0; i < rounds; i++)
        ouro__switch_to(&scheduler, &fibers[0]->context);
    double ns = (double)(ouro__clock_now_ns() - start) / rounds / (BATCH + 1);
    for (int i = 0; i < BATCH; i++) {
        ouro__switch_fini(&fibers[i]->context);
        ouro__stack_put(&pool, fibers[i]);
    }
    return ns;
}

static double get_and_put(void)
{
    const int count = 10 * 1000 * 1000;
    int64_t start = ouro__clock_now_ns();

    for (int i = 0; i < count; i++)
        ouro__stack_put(&pool, ouro__stack_get(&pool));
    return (double)(ouro__clock_now_ns() - start) / count;
}

static void end_at_once(void *arg)
{
    struct fiber *self = arg;
    ouro__switch_exit_to(&self->context, &scheduler);
}

/* A batch is born, then each runs to its end and is released: the least that spawn and join can
 * cost. */
static double lives(int batch, int rounds)
{
    struct fiber *fibers[BATCH];
    int64_t start = ouro__clock_now_ns();

    for (int r = 0; r < rounds; r++) {
        for (int i = 0; i < batch; i++)
            fibers[i] = fiber_new(end_at_once);
        for (int i = 0; i < batch; i++) {
            ouro__switch_to(&scheduler, &fibers[i]->context);
            ouro__switch_fini(&fibers[i]->context);
            ouro__stack_put(&pool, fibers[i]);
        }
    }
    return (double)(ouro__clock_now_ns() - start) / rounds / batch;
}

static double lives_alone(void)
{
    return lives(1, 1000 * 1000);
}

static double lives_in_batches(void)
{
    return lives(BATCH, 500);
}

static long status_kib(const char *field)
{
    char line[256];
    long kib = 0;
    FILE *status = fopen("/proc/self/status", "re");

    while (status && fgets(line, sizeof(line), status)) {
        if (strncmp(line, field, strlen(field)) == 0)
            kib = strtol(line + strlen(field) + 1, NULL, 10);
    }
    if (status)
        (void)fclose(status);
    return kib;
}

static long mappings(void)
{
    long lines = 0;
    int c = 0;
    FILE *maps = fopen("/proc/self/maps", "re");

    while (maps && (c = fgetc(maps)) != EOF)
        lines += c == '\n';
    if (maps)
        (void)fclose(maps);
    return lines;
}

static void park(void *arg)
{
    struct fiber *self = arg;
    ouro__switch_to(&self->context, &scheduler);
    ouro__switch_exit_to(&self->context, &scheduler);
}

/* Makes, parks and counts them; returns the last of their chain. */
static struct fiber *park_many(size_t count, size_t *out_parked)
{
    struct fiber *first = NULL;
    size_t parked = 0;
    for (; parked < count; parked++) {
        struct fiber *fiber = ouro__stack_get(&pool);
        if (!fiber)
            break;
        char *low = ouro__stack_low(&pool, fiber);
        ouro__switch_init(&fiber->context, low, (size_t)((char *)fiber - low), park, fiber);
        fiber->next = first;
        first = fiber;
        ouro__switch_to(&scheduler, &fiber->context);
    }
    *out_parked = parked;
    return first;
}

static void end_many(struct fiber *first)
{
    while (first) {
        struct fiber *fiber = first;
        first = fiber->next;
        ouro__switch_to(&scheduler, &fiber->context);
        ouro__switch_fini(&fiber->context);
        ouro__stack_put(&pool, fiber);
    }
}

static double each_ns(int64_t since_ns, size_t count)
{
    return (double)(ouro__clock_now_ns() - since_ns) / (double)count;
}

static int many_parked(size_t count)
{
    const long rss = status_kib("VmRSS:");
    const long tables = status_kib("VmPTE:");
    const long maps = mappings();
    size_t parked = 0;
    int64_t since_ns = ouro__clock_now_ns();
    struct fiber *first = park_many(count, &parked);
    if (parked < count) {
        (void)fprintf(stderr, "only %zu of %zu guarded fibers could be made\n", parked, count);
        end_many(first);
        return 1;
    }
    const double made_ns = each_ns(since_ns, parked);
    const double bytes = (double)(status_kib("VmRSS:") - rss) * 1024 / (double)parked;
    const double table_bytes = (double)(status_kib("VmPTE:") - tables) * 1024 / (double)parked;
    const long maps_more = mappings() - maps;
    since_ns = ouro__clock_now_ns();
    end_many(first);
    const double ended_ns = each_ns(since_ns, parked);
    since_ns = ouro__clock_now_ns();
    const size_t trimmed = ouro__stack_trim(&pool, 0);
    const double trimmed_ns = each_ns(since_ns, trimmed);
    if (as_json) {
        printf("{\"name\": \"guarded fibers, parked\", \"count\": %zu, \"bytes\": %.0f, "
               "\"table_bytes\": %.0f, \"mappings\": %ld, \"ns\": %.0f, \"end_ns\": %.0f}\n",
               parked, bytes, table_bytes, maps_more, made_ns, ended_ns);
        return 0;
    }
    printf("%zu guarded fibers, parked: %.2f us each to make; %.0f bytes resident + %.0f of page "
           "tables each; %ld mappings more\n",
           parked, made_ns / 1e3, bytes, table_bytes, maps_more);
    printf("  all resumed and ended: %.0f ns each\n", ended_ns);
    printf("  all %zu trimmed: %.0f ns each; %ld KiB resident are left\n", trimmed, trimmed_ns,
           status_kib("VmRSS:"));
    return 0;
}

int main(int argc, char **argv)
{
    struct ouro__stack_pool_config config = {.header_size_bytes = sizeof(struct fiber),
                                             .use_madv_guard = true};
    bool million = false;
    int rc = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--million") == 0) {
            million = true;
        } else if (strcmp(argv[i], "--json") == 0) {
            as_json = true;
        } else {
            (void)fprintf(stderr, "usage: %s [--million] [--json]\n", argv[0]);
            return 2;
        }
    }
    if (ouro__stack_pool_init(&pool, &config) != 0)
        return 1;
    ouro__switch_adopt_thread(&scheduler);
    if (million) {
        rc = many_parked(1000 * 1000);
    } else {
        report("switch there and back", there_and_back);
        report("one switch, around a ring of 1,000 fibers", around_a_ring);
        report("stack get + put", get_and_put);
        report("life of a fiber (get, init, run, end, put), one at a time", lives_alone);
        report("life of a fiber, 1,000 at a time", lives_in_batches);
    }
    ouro__stack_pool_fini(&pool);
    return rc;
}
