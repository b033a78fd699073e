/* SPDX-License-Identifier: MIT */
/*
 * Compare: the runs against a list of expected verdicts, and against a baseline of another kernel.
 *
 * A known list has a line per expectation,
 *     ID[/RING] VERDICT[|VERDICT...] reason to the end of the line
 * where ID may be a glob; what has a listed verdict counts as known, what passes although "pass" is
 * not among them is reported as well.  A directory of such lists may be given instead of one. A
 * baseline is what --save wrote: a line per run.
 *
 * Owns:    the files while it reads them; the reasons live as long as the process.
 * Threads: the runner's.
 * Always:  a malformed line is an error with its number, never ignored.
 */
#define _GNU_SOURCE
#include "runner.h"

#include <fnmatch.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/utsname.h>

static int verdict_by_name(const char *name, size_t len)
{
    for (int v = 0; v < KT_VERDICTS; v++) {
        const char *candidate = kt_verdict_name((enum kt_verdict)v);
        if (strlen(candidate) == len && memcmp(candidate, name, len) == 0)
            return v;
    }
    return -1;
}

/* "fail|pass" as a set of bits, or 0. */
static unsigned verdict_set(const char *names)
{
    unsigned set = 0;
    while (*names != '\0') {
        const size_t len = strcspn(names, "|");
        const int verdict = verdict_by_name(names, len);
        if (verdict < 0)
            return 0;
        set |= 1u << verdict;
        names += len;
        names += *names == '|';
    }
    return set;
}

static void apply(struct kt_suite *suite, const char *pattern, unsigned set, const char *reason)
{
    char id[128];
    snprintf(id, sizeof(id), "%s", pattern);
    char *ring = strchr(id, '/');
    if (ring != NULL)
        *ring++ = '\0';
    for (size_t i = 0; i < suite->run_count; i++) {
        struct kt_run *run = &suite->runs[i];
        if (fnmatch(id, run->assertion->id, 0) != 0 &&
            (run->assertion->alias == NULL || fnmatch(id, run->assertion->alias, 0) != 0))
            continue;
        if (ring != NULL && strcmp(ring, kt_ring_name(run->kind)) != 0)
            continue;
        if ((set >> run->verdict & 1) != 0)
            run->known = kt_verdict_is_bad(run->verdict) ? reason : NULL;
        else if (run->verdict == KT_PASS)
            run->unexpected_pass = true;
    }
}

/* The first @parts numbers of @version: "6.12.117+deb13" and 2 give "6.12". */
static void version_prefix(const char *version, int parts, char *out, size_t size)
{
    size_t len = 0;
    for (int i = 0; i < parts; i++) {
        len += version[len] == '.';
        len += strspn(version + len, "0123456789");
    }
    snprintf(out, size, "%.*s", (int)len, version);
}

/*
 * In a directory of lists: that of this very version, else that of its series.  Debian's uname -r
 * may be an ABI name (6.1.0-56), so its version is looked for in uname -v ("... Debian 6.1.192-2").
 */
static FILE *open_known_in(const struct kt_suite *suite, const char *directory, char *path,
                           size_t size)
{
    const char *version = suite->report.kernel_release;
    struct utsname uts;
    if (uname(&uts) == 0 && strstr(uts.version, "Debian ") != NULL)
        version = strstr(uts.version, "Debian ") + strlen("Debian ");
    for (int parts = 3; parts >= 2; parts--) {
        char name[64];
        version_prefix(version, parts, name, sizeof(name));
        snprintf(path, size, "%s/%s.txt", directory, name);
        FILE *in = fopen(path, "re");
        if (in != NULL || errno != ENOENT)
            return in;
    }
    return NULL;
}

int kt_known_apply(struct kt_suite *suite, const char *given)
{
    char found[PATH_MAX];
    const char *path = given;
    struct stat info;
    const bool directory = stat(given, &info) == 0 && S_ISDIR(info.st_mode);
    FILE *in = directory ? open_known_in(suite, given, found, sizeof(found)) : fopen(given, "re");
    if (in == NULL && directory && errno == ENOENT) {
        fprintf(stderr, "ouro-ktest: %s has no list for this kernel\n", given);
        return 0;
    }
    if (directory)
        path = found;
    if (in == NULL) {
        const int rc = -errno;
        fprintf(stderr, "ouro-ktest: %s: %s\n", path, strerror(-rc));
        return rc;
    }
    char line[1024];
    int number = 0;
    int rc = 0;
    while (rc == 0 && fgets(line, sizeof(line), in) != NULL) {
        number++;
        line[strcspn(line, "\n")] = '\0';
        char pattern[128];
        char verdicts[128];
        int at = 0;
        if (line[strspn(line, " \t")] == '\0' || line[0] == '#')
            continue;
        if (sscanf(line, "%127s %127s %n", pattern, verdicts, &at) < 2 || at == 0 ||
            line[at] == '\0' || verdict_set(verdicts) == 0) {
            fprintf(stderr, "ouro-ktest: %s:%d: want ID[/RING] VERDICT[|VERDICT] REASON\n", path,
                    number);
            rc = -EINVAL;
            break;
        }
        const char *reason = strdup(line + at);
        if (reason == NULL)
            rc = -ENOMEM;
        else
            apply(suite, pattern, verdict_set(verdicts), reason);
    }
    if (rc == 0 && ferror(in)) {
        rc = -EIO;
        fprintf(stderr, "ouro-ktest: %s: %s\n", path, strerror(-rc));
    }
    (void)fclose(in);
    return rc;
}

int kt_baseline_save(const struct kt_suite *suite, const char *path)
{
    FILE *out = fopen(path, "we");
    if (out == NULL)
        return -errno;
    fprintf(out, "ouro-ktest-baseline 1 %s %s\n", suite->report.kernel_release,
            suite->report.machine);
    for (size_t i = 0; i < suite->run_count; i++) {
        const struct kt_run *run = &suite->runs[i];
        fprintf(out, "%s/%s %s", run->assertion->id, kt_ring_name(run->kind),
                kt_verdict_name(run->verdict));
        for (int m = 0; m < run->metric_count; m++)
            fprintf(out, " %s=%.3f", run->metrics[m].name, run->metrics[m].value);
        fputc('\n', out);
    }
    const bool failed = ferror(out) != 0;
    return fclose(out) != 0 || failed ? -EIO : 0;
}

static const struct kt_run *run_by_name(const struct kt_suite *suite, const char *name)
{
    for (size_t i = 0; i < suite->run_count; i++) {
        char own[160];
        snprintf(own, sizeof(own), "%s/%s", suite->runs[i].assertion->id,
                 kt_ring_name(suite->runs[i].kind));
        if (strcmp(own, name) == 0)
            return &suite->runs[i];
    }
    return NULL;
}

static const char *change_word(enum kt_verdict before, enum kt_verdict now)
{
    const bool absent_before = before == KT_SKIP || before == KT_MISSING;
    const bool absent_now = now == KT_SKIP || now == KT_MISSING;
    if (before == now)
        return NULL;
    if (absent_before && !absent_now)
        return now == KT_PASS ? "appeared" : "appeared, broken";
    if (!absent_before && absent_now)
        return "disappeared";
    if (now == KT_PASS)
        return "repaired";
    return before == KT_PASS ? "broke" : "changed";
}

/* "ratio" of a run before against now: worth a line beyond 15 %. */
static void compare_metrics(const struct kt_run *run, const char *metrics, FILE *out)
{
    for (int m = 0; m < run->metric_count; m++) {
        char label[KT_NAME_MAX + 2];
        snprintf(label, sizeof(label), " %s=", run->metrics[m].name);
        const char *at = strstr(metrics, label);
        if (at == NULL || strcmp(run->metrics[m].name, "ratio") != 0)
            continue;
        const double before = strtod(at + strlen(label), NULL);
        const double now = run->metrics[m].value;
        if (before > 0 && (now > before * 1.15 || now < before / 1.15))
            fprintf(out, "  %-12s %s/%s: ratio %.2f, was %.2f\n",
                    now > before ? "slower" : "faster", run->assertion->id, kt_ring_name(run->kind),
                    now, before);
    }
}

int kt_baseline_compare(const struct kt_suite *suite, const char *path, FILE *out)
{
    FILE *in = fopen(path, "re");
    char line[1024];
    char kernel[128] = "";
    if (in == NULL)
        return -errno;
    if (fgets(line, sizeof(line), in) == NULL ||
        sscanf(line, "ouro-ktest-baseline 1 %127s", kernel) != 1) {
        (void)fclose(in);
        return -EBADMSG;
    }
    fprintf(out, "\nCompared with %s:\n", kernel);
    int changes = 0;
    while (fgets(line, sizeof(line), in) != NULL) {
        char name[160];
        char verdict_name[32];
        int at = 0;
        if (sscanf(line, "%159s %31s%n", name, verdict_name, &at) < 2)
            continue;
        const struct kt_run *run = run_by_name(suite, name);
        const int before = verdict_by_name(verdict_name, strlen(verdict_name));
        if (run == NULL || before < 0)
            continue;
        const char *word = change_word((enum kt_verdict)before, run->verdict);
        if (word != NULL) {
            changes++;
            fprintf(out, "  %-12s %s: %s, was %s%s%s\n", word, name, kt_verdict_name(run->verdict),
                    verdict_name, run->text[0] != '\0' ? ": " : "", run->text);
        }
        compare_metrics(run, line + at, out);
    }
    if (changes == 0)
        fprintf(out, "  no verdict changed\n");
    const bool unread = ferror(in) != 0;
    (void)fclose(in);
    return unread ? -EIO : 0;
}
