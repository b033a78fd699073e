/* SPDX-License-Identifier: MIT */
/*
 * The report for users: a table, what went wrong, and what a server should avoid.
 *
 * Owns:    nothing.
 * Threads: the runner's.
 * Always:  colours and progress on a terminal only.
 */
#define _GNU_SOURCE
#include "runner.h"

#include <stdlib.h>

static bool use_colour(FILE *out)
{
    return isatty(fileno(out)) && getenv("NO_COLOR") == NULL;
}

bool kt_run_ok(const struct kt_run *run)
{
    if (run->unexpected_pass)
        return false;
    return !kt_verdict_is_bad(run->verdict) || run->known != NULL;
}

bool kt_suite_ok(const struct kt_suite *suite)
{
    for (size_t i = 0; i < suite->run_count; i++)
        if (!kt_run_ok(&suite->runs[i]))
            return false;
    return true;
}

void kt_table_progress(const struct kt_suite *suite, const struct kt_run *run, size_t done)
{
    if (!isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "\r\033[K%3zu/%zu  %s", done, suite->run_count, run->assertion->id);
    if (done == suite->run_count)
        fprintf(stderr, "\r\033[K");
    fflush(stderr);
}

static const char *verdict_word(const struct kt_run *run)
{
    if (run->unexpected_pass)
        return "PASS?";
    if (run->verdict == KT_PASS)
        return "ok";
    if (run->verdict == KT_SKIP)
        return "-";
    if (run->known != NULL)
        return "known";
    static const char *const words[KT_VERDICTS] = {
        [KT_FAIL] = "FAIL",   [KT_MISSING] = "MISSING", [KT_SLOW] = "SLOW",
        [KT_ERROR] = "ERROR", [KT_HANG] = "HANG",       [KT_CRASH] = "CRASH"};
    return words[run->verdict];
}

static void print_verdict(FILE *out, const struct kt_run *run, bool colour)
{
    const char *start = "";
    if (colour && run != NULL) {
        if (!kt_run_ok(run))
            start = "\033[1;31m";
        else if (run->verdict == KT_PASS)
            start = "\033[32m";
        else
            start = run->known != NULL ? "\033[33m" : "\033[2m";
    }
    fprintf(out, "%s%-8s%s", start, run != NULL ? verdict_word(run) : "", *start ? "\033[0m" : "");
}

static const struct kt_run *find_run(const struct kt_suite *suite,
                                     const struct kt_assertion *assertion, enum kt_ring_kind kind)
{
    for (size_t i = 0; i < suite->run_count; i++)
        if (suite->runs[i].assertion == assertion && suite->runs[i].kind == kind)
            return &suite->runs[i];
    return NULL;
}

static void print_details(FILE *out, const struct kt_run *run)
{
    const bool quiet = run->verdict == KT_PASS && !run->unexpected_pass;
    if (!quiet && run->text[0] != '\0')
        fprintf(out, "        %s: %s%s%s%s\n", kt_ring_name(run->kind), run->text,
                kt_verdict_is_bad(run->verdict) && run->where[0] != '\0' ? " [" : "",
                kt_verdict_is_bad(run->verdict) ? run->where : "",
                kt_verdict_is_bad(run->verdict) && run->where[0] != '\0' ? "]" : "");
    if (run->unexpected_pass)
        fprintf(out, "        %s: passes, but is listed as known to fail\n",
                kt_ring_name(run->kind));
    else if (run->known != NULL)
        fprintf(out, "        %s: known: %s\n", kt_ring_name(run->kind), run->known);
    if (!quiet)
        for (int i = 0; i < run->note_count; i++)
            fprintf(out, "        %s: %s\n", kt_ring_name(run->kind), run->notes[i]);
    if (run->kernel_log[0] != '\0')
        fprintf(out, "        %s: kernel log: %s\n", kt_ring_name(run->kind), run->kernel_log);
}

static void print_assertion(const struct kt_suite *suite, const struct kt_assertion *assertion,
                            FILE *out, bool colour)
{
    const struct kt_run *runs[KT_RING_KINDS];
    int64_t duration_ns = 0;
    bool any = false;
    for (int kind = 0; kind < KT_RING_KINDS; kind++) {
        runs[kind] = find_run(suite, assertion, (enum kt_ring_kind)kind);
        if (runs[kind] == NULL)
            continue;
        any = true;
        duration_ns += runs[kind]->duration_ns;
    }
    if (!any)
        return;
    fprintf(out, "  %-5s %-34s", assertion->alias != NULL ? assertion->alias : "", assertion->id);
    print_verdict(out, runs[KT_RING_NONE] != NULL ? runs[KT_RING_NONE] : runs[KT_RING_PLAIN],
                  colour);
    print_verdict(out, runs[KT_RING_DEFER], colour);
    fprintf(out, "%6lld ms\n", (long long)(duration_ns / 1000000));
    /* Both rings with the same words: once is enough. */
    const struct kt_run *plain = runs[KT_RING_PLAIN];
    const struct kt_run *defer = runs[KT_RING_DEFER];
    const bool same = plain != NULL && defer != NULL && plain->verdict == KT_SKIP &&
                      defer->verdict == KT_SKIP && strcmp(plain->text, defer->text) == 0;
    if (same)
        fprintf(out, "        %s\n", plain->text);
    for (int kind = 0; !same && kind < KT_RING_KINDS; kind++)
        if (runs[kind] != NULL)
            print_details(out, runs[kind]);
}

static void print_counts(const struct kt_suite *suite, FILE *out)
{
    int counts[KT_VERDICTS] = {0};
    int known = 0;
    int surprises = 0;
    for (size_t i = 0; i < suite->run_count; i++) {
        const struct kt_run *run = &suite->runs[i];
        if (run->unexpected_pass)
            surprises++;
        else if (run->known != NULL)
            known++;
        else
            counts[run->verdict]++;
    }
    fprintf(out, "\n%zu runs in %.1f s:", suite->run_count, (double)suite->duration_ns / 1e9);
    const char *separator = " ";
    for (int v = 0; v < KT_VERDICTS; v++) {
        if (counts[v] == 0)
            continue;
        fprintf(out, "%s%d %s", separator, counts[v], kt_verdict_name((enum kt_verdict)v));
        separator = ", ";
    }
    if (known != 0)
        fprintf(out, "%s%d known", separator, known);
    if (surprises != 0)
        fprintf(out, ", %d listed as known but passing", surprises);
    fprintf(out, "\n");
    if (suite->kmsg_fd < 0)
        fprintf(out, "The kernel log was not checked: it cannot be read (needs CAP_SYSLOG).\n");
}

/* In words: each advice once, with the assertions it comes from. */
static void print_advice(const struct kt_suite *suite, FILE *out)
{
    bool heading = false;
    const struct kt_assertion *last = NULL;
    for (size_t i = 0; i < suite->run_count; i++) {
        const struct kt_run *run = &suite->runs[i];
        if (!kt_verdict_is_bad(run->verdict) || run->verdict == KT_ERROR || run->assertion == last)
            continue;
        last = run->assertion;
        if (!heading)
            fprintf(out, "\nOn this kernel a server should mind:\n");
        heading = true;
        fprintf(out, "  - %s (%s%s%s)\n    Why: %s\n", run->assertion->avoid, run->assertion->id,
                run->verdict == KT_FAIL ? "" : ", ",
                run->verdict == KT_FAIL ? "" : kt_verdict_name(run->verdict),
                run->assertion->impact);
    }
    if (!heading && kt_suite_ok(suite))
        fprintf(out, "Nothing found that a server on this kernel should avoid.\n");
}

void kt_table_print(const struct kt_suite *suite, FILE *out)
{
    const bool colour = use_colour(out);
    fprintf(out, "ouro-ktest %s, Linux %s %s, %d CPU%s, liburing %s\n", KT_VERSION,
            suite->report.kernel_release, suite->report.machine, suite->cpu_count,
            suite->cpu_count == 1 ? "" : "s", suite->liburing);
    for (size_t a = 0; a < kt_area_count; a++) {
        bool heading = false;
        for (size_t i = 0; i < suite->run_count && !heading; i++)
            heading = suite->runs[i].area == kt_areas[a];
        if (!heading)
            continue;
        fprintf(out, "\n%-42s%-8s%-8s\n", kt_areas[a]->title, "plain", "defer");
        for (size_t i = 0; i < kt_areas[a]->count; i++)
            print_assertion(suite, &kt_areas[a]->assertions[i], out, colour);
    }
    print_counts(suite, out);
    print_advice(suite, out);
}
