/* SPDX-License-Identifier: MIT */
/*
 * The assertion's side: a forked process that makes the ring, runs the function and says how it
 * ended.
 *
 * All results go into struct kt_shared.  The first verdict counts, and the process ends with it.
 * The process releases nothing: the kernel does, which also tests the kernel.
 *
 * Planting: kt_expect() can be told to replace the Nth observed value by a wrong one.  Every
 * assertion must then fail; one that does not fail does not depend on what it observes.
 *
 * Owns:    the process.
 * Threads: kt_end() and the expectations on the assertion's first thread only.
 * Always:  a verdict without an expectation before it is an error, not a pass.
 */
#define _GNU_SOURCE
#include "runner.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static void copy_name(char *out, size_t size, const char *path)
{
    const char *slash = strrchr(path, '/');
    snprintf(out, size, "%s", slash != NULL ? slash + 1 : path);
}

__attribute__((noreturn, format(printf, 5, 0))) static void
end_with(struct kt *t, enum kt_verdict verdict, const char *file, int line, const char *format,
         va_list args)
{
    struct kt_shared *shared = t->shared;
    vsnprintf(shared->text, sizeof(shared->text), format, args);
    copy_name(shared->file, sizeof(shared->file), file);
    shared->line = line;
    shared->verdict = verdict;
    __atomic_store_n(&shared->ended, 1, __ATOMIC_RELEASE);
    _exit(0);
}

void kt_end(struct kt *t, enum kt_verdict verdict, const char *file, int line, const char *format,
            ...)
{
    va_list args;
    va_start(args, format);
    end_with(t, verdict, file, line, format, args);
}

void kt_absent(struct kt *t, const char *file, int line, const char *format, ...)
{
    const bool due = kt_version_compare(t->report->kernel_release, t->assertion->since) >= 0;
    va_list args;
    va_start(args, format);
    end_with(t, due ? KT_MISSING : KT_SKIP, file, line, format, args);
}

long kt_sys(struct kt *t, long value, const char *call, const char *file, int line)
{
    if (value >= 0)
        return value;
    const char *name = strerrorname_np(errno);
    kt_end(t, KT_ERROR, file, line, "%s: %s", call, name != NULL ? name : "failed");
}

void kt_step(struct kt *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(t->shared->step, sizeof(t->shared->step), format, args);
    va_end(args);
}

void kt_note(struct kt *t, const char *format, ...)
{
    struct kt_shared *shared = t->shared;
    if (shared->note_count == KT_NOTES_MAX)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(shared->notes[shared->note_count++], KT_TEXT_MAX, format, args);
    va_end(args);
}

void kt_metric(struct kt *t, const char *name, double value)
{
    struct kt_shared *shared = t->shared;
    if (shared->metric_count == KT_METRICS_MAX)
        return;
    struct kt_metric *metric = &shared->metrics[shared->metric_count++];
    snprintf(metric->name, sizeof(metric->name), "%s", name);
    metric->value = value;
}

static bool holds(enum kt_relation relation, int64_t observed, int64_t documented)
{
    switch (relation) {
    case KT_EQ:
    case KT_RES:
        return observed == documented;
    case KT_NE:
        return observed != documented;
    case KT_LE:
        return observed <= documented;
    case KT_GE:
        return observed >= documented;
    }
    return false;
}

/* The value that planting puts in place of the observed one: the nearest wrong value. */
static int64_t lie(enum kt_relation relation, int64_t documented)
{
    if (relation == KT_NE)
        return documented;
    return relation == KT_GE ? documented - 1 : documented + 1;
}

void kt_expect(struct kt *t, enum kt_verdict otherwise, enum kt_relation relation, int64_t observed,
               int64_t documented, const char *file, int line, const char *format, ...)
{
    static const char *const words[] = {[KT_EQ] = "",
                                        [KT_NE] = "never ",
                                        [KT_LE] = "at most ",
                                        [KT_GE] = "at least ",
                                        [KT_RES] = ""};
    struct kt_shared *shared = t->shared;
    shared->observations++;
    if (shared->observations == shared->plant_at) {
        observed = lie(relation, documented);
        shared->plant_done = 1;
    }
    if (holds(relation, observed, documented))
        return;
    char seen[48];
    char right[48];
    if (relation == KT_RES) {
        kt_result_name(observed, seen, sizeof(seen));
        kt_result_name(documented, right, sizeof(right));
    } else {
        snprintf(seen, sizeof(seen), "%lld", (long long)observed);
        snprintf(right, sizeof(right), "%lld", (long long)documented);
    }
    char what[KT_TEXT_MAX / 2];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    kt_end(t, otherwise, file, line, "%s: observed %s, documented %s%s", what, seen,
           words[relation], right);
}

/* Features the entry names, and the ring it runs on: the runner's knowledge decides. */
static void check_needs(struct kt *t)
{
    uint64_t needs = t->assertion->needs;
    if (t->kind == KT_RING_DEFER)
        needs |= KT_NEEDS(SINGLE_ISSUER) | KT_NEEDS(DEFER_TASKRUN);
    const uint64_t missing = needs & ~t->report->present;
    for (int i = 0; i < OURO__FEATURE_COUNT; i++) {
        if ((missing >> i & 1) == 0)
            continue;
        const struct ouro__feature_info *info = &ouro__feature_table[i];
        const char *release = t->report->kernel_release;
        if ((t->report->claimed >> i & 1) != 0)
            kt_end(t, KT_MISSING, __FILE__, __LINE__,
                   "%s does not work although the kernel lists it", info->name);
        if (kt_version_compare(release, info->since) >= 0)
            kt_end(t, KT_MISSING, __FILE__, __LINE__, "%s is absent although it came with %s",
                   info->name, info->since);
        kt_end(t, KT_SKIP, __FILE__, __LINE__, "needs %s (%s)", info->name, info->since);
    }
    if ((t->assertion->flags & KT_F_ROOT) != 0 && geteuid() != 0)
        kt_end(t, KT_SKIP, __FILE__, __LINE__, "needs root");
}

static void prepare_process(void)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)setpgid(0, 0);
    const struct rlimit no_core = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &no_core);
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd >= 0) {
        (void)dup2(null_fd, 0);
        (void)dup2(null_fd, 1);
    }
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

_Noreturn void kt_child(const struct kt_suite *suite, const struct kt_run *run,
                        struct kt_shared *shared)
{
    prepare_process();
    struct kt t = {.kind = run->kind,
                   .assertion = run->assertion,
                   .report = &suite->report,
                   .slack = suite->options.slack,
                   .shared = shared};
    check_needs(&t);
    if (run->kind != KT_RING_NONE)
        kt_ring_open(&t, &t.ring, 256, 0, kt_ring_flags(run->kind));
    run->assertion->run(&t);
    if (shared->observations == 0)
        kt_end(&t, KT_ERROR, __FILE__, __LINE__, "the assertion looked at nothing");
    if (shared->plant_at != 0 && shared->plant_done == 0)
        kt_end(&t, KT_ERROR, __FILE__, __LINE__, "planted in observation %d, there were only %d",
               shared->plant_at, shared->observations);
    kt_end(&t, KT_PASS, __FILE__, __LINE__, "%s", "");
}
