/* SPDX-License-Identifier: MIT */
/*
 * Declarations that the runner, the child side and the reports of ouro-ktest share.  Assertions
 * include kt.h only.
 */
#ifndef OURO_KTEST_RUNNER_H
#define OURO_KTEST_RUNNER_H

#include "fixture/kt.h"

#include "probe/quirk.h"

#include <stdio.h>

#define KT_VERSION "0.3.0"

enum { KT_TEXT_MAX = 400, KT_NOTES_MAX = 6, KT_METRICS_MAX = 8, KT_NAME_MAX = 32 };

struct kt_metric {
    char name[KT_NAME_MAX];
    double value;
};

/*
 * Written by the assertion's process, read by the runner when that has ended.  It is shared memory
 * and not a pipe, so that results from before a crash or a hang can be read.
 */
struct kt_shared {
    int ended; /* a verdict was written; else the process returned, hung or crashed */
    enum kt_verdict verdict;
    int line;
    char file[64];
    char text[KT_TEXT_MAX];
    char step[KT_TEXT_MAX];
    int observations; /* expectations evaluated */
    int plant_at;     /* lie about this one, 0: none */
    int plant_done;
    int note_count;
    char notes[KT_NOTES_MAX][KT_TEXT_MAX];
    int metric_count;
    struct kt_metric metrics[KT_METRICS_MAX];
};

/* One run of one assertion on one kind of ring. */
struct kt_run {
    const struct kt_assertion *assertion;
    const struct kt_area *area;
    enum kt_ring_kind kind;
    enum kt_verdict verdict;
    bool finished;
    char text[KT_TEXT_MAX];
    char where[96]; /* file:line */
    char kernel_log[KT_TEXT_MAX];
    int note_count;
    char notes[KT_NOTES_MAX][KT_TEXT_MAX];
    int metric_count;
    struct kt_metric metrics[KT_METRICS_MAX];
    int observations;
    int64_t duration_ns;
    const char *known; /* reason, when the known list foresaw this verdict */
    bool unexpected_pass;
    bool flaky; /* listed as either way */
};

struct kt_options {
    const char *only[32];
    int only_count;
    const char *known_path;
    const char *save_path;
    const char *baseline_path;
    const char *junit_path;
    const char *plant;
    int timeout_ms;
    int slack;
    int jobs;
    bool slow;
    bool quiet;
    enum { KT_FORMAT_TABLE, KT_FORMAT_TAP, KT_FORMAT_JSON } format;
};

struct kt_suite {
    struct kt_options options;
    struct ouro__feature_report report;
    int detect_rc;
    struct kt_run *runs;
    size_t run_count;
    int64_t duration_ns;
    int kmsg_fd; /* -1: the kernel log cannot be read */
    char liburing[16];
    char cpu[96];
    int cpu_count;
};

/* catalogue.c */
extern const struct kt_area *const kt_areas[];
extern const size_t kt_area_count;
const struct kt_assertion *kt_find(const char *id_or_alias, const struct kt_area **out_area);

/* text.c */
const char *kt_verdict_name(enum kt_verdict verdict);
const char *kt_ring_name(enum kt_ring_kind kind);
bool kt_verdict_is_bad(enum kt_verdict verdict); /* fail, missing, slow, error, hang, crash */
int kt_version_compare(const char *release, const char *version);
bool kt_glob(const struct kt_options *options, const struct kt_assertion *assertion);
void kt_result_name(int64_t value, char *out, size_t size); /* "-ECONNREFUSED", "17" */

/* child.c: runs the assertion; never returns. */
_Noreturn void kt_child(const struct kt_suite *suite, const struct kt_run *run,
                        struct kt_shared *shared);

/* runner.c */
typedef void kt_progress_fn(const struct kt_suite *suite, const struct kt_run *run, size_t done);
int kt_suite_run(struct kt_suite *suite, kt_progress_fn *progress);

/* kmsg.c */
int kt_kmsg_open(void);
/* New lines that report a kernel bug: their first, cut to @size; true if any. */
bool kt_kmsg_check(int fd, char *out, size_t size);

/* known.c, baseline.c: 0, or -errno with a message on stderr. */
int kt_known_apply(struct kt_suite *suite, const char *path);
int kt_baseline_save(const struct kt_suite *suite, const char *path);
int kt_baseline_compare(const struct kt_suite *suite, const char *path, FILE *out);

/* out_*.c */
bool kt_suite_ok(const struct kt_suite *suite);
bool kt_run_ok(const struct kt_run *run);
void kt_table_progress(const struct kt_suite *suite, const struct kt_run *run, size_t done);
void kt_table_print(const struct kt_suite *suite, FILE *out);
void kt_tap_print(const struct kt_suite *suite, FILE *out);
void kt_json_print(const struct kt_suite *suite, FILE *out);
int kt_junit_write(const struct kt_suite *suite, const char *path);
void kt_list_print(const struct kt_options *options, FILE *out);
int kt_explain_print(const char *id, FILE *out);

#endif
