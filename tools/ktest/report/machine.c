/* SPDX-License-Identifier: MIT */
/*
 * The reports for programs: KTAP, JSON (ktest.schema.json) and JUnit XML.
 *
 * Texts come from the kernel log and from file names, so each format escapes what it prints; KTAP
 * has no escape for '#', which starts a directive, so it becomes a space there.
 *
 * Owns:    the JUnit file while it writes it.
 * Threads: the runner's.
 * Always:  a run appears in all three with the same verdict.
 */
#define _GNU_SOURCE
#include "runner.h"

#include <inttypes.h>
#include <time.h>

static void ktap_text(FILE *out, const char *text)
{
    for (; *text != '\0'; text++)
        fputc(*text == '#' || (unsigned char)*text < ' ' ? ' ' : *text, out);
}

void kt_tap_print(const struct kt_suite *suite, FILE *out)
{
    fprintf(out, "KTAP version 1\n# ouro-ktest %s on Linux %s %s\n1..%zu\n", KT_VERSION,
            suite->report.kernel_release, suite->report.machine, suite->run_count);
    for (size_t i = 0; i < suite->run_count; i++) {
        const struct kt_run *run = &suite->runs[i];
        const bool bad = kt_verdict_is_bad(run->verdict);
        fprintf(out, "%s %zu %s/%s", bad || run->unexpected_pass ? "not ok" : "ok", i + 1,
                run->assertion->id, kt_ring_name(run->kind));
        if (run->verdict == KT_SKIP)
            fprintf(out, " # SKIP ");
        else if (bad && run->known != NULL)
            fprintf(out, " # XFAIL ");
        else if (run->verdict == KT_HANG)
            fprintf(out, " # TIMEOUT ");
        else if (run->verdict == KT_ERROR)
            fprintf(out, " # ERROR ");
        if (run->verdict == KT_SKIP || (bad && run->known != NULL) || run->verdict == KT_HANG ||
            run->verdict == KT_ERROR)
            ktap_text(out, run->known != NULL ? run->known : run->text);
        fputc('\n', out);
        if (bad) {
            fprintf(out, "# %s: ", kt_verdict_name(run->verdict));
            ktap_text(out, run->text);
            fprintf(out, " (%s)\n", run->where);
        }
        if (run->unexpected_pass)
            fprintf(out, "# listed as known to fail, but it passes\n");
        for (int n = 0; n < run->note_count; n++) {
            fprintf(out, "# ");
            ktap_text(out, run->notes[n]);
            fputc('\n', out);
        }
    }
}

static void json_string(FILE *out, const char *text)
{
    if (text == NULL) {
        fputs("null", out);
        return;
    }
    fputc('"', out);
    for (; *text != '\0'; text++) {
        const unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            fprintf(out, "\\u%04x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

static void json_pair(FILE *out, const char *name, const char *value, const char *after)
{
    fprintf(out, "\"%s\": ", name);
    json_string(out, value);
    fputs(after, out);
}

static void json_run(FILE *out, const struct kt_run *run)
{
    const struct kt_assertion *assertion = run->assertion;
    fputs("    {", out);
    json_pair(out, "id", assertion->id, ", ");
    json_pair(out, "alias", assertion->alias, ", ");
    json_pair(out, "area", run->area->title, ", ");
    json_pair(out, "ring", kt_ring_name(run->kind), ", ");
    json_pair(out, "verdict", kt_verdict_name(run->verdict), ", ");
    fprintf(out, "\"ok\": %s, \"unexpected_pass\": %s, ", kt_run_ok(run) ? "true" : "false",
            run->unexpected_pass ? "true" : "false");
    json_pair(out, "known", run->known, ", ");
    json_pair(out, "message", run->text, ", ");
    json_pair(out, "where", run->where[0] != '\0' ? run->where : NULL, ", ");
    json_pair(out, "kernel_log", run->kernel_log[0] != '\0' ? run->kernel_log : NULL, ", ");
    json_pair(out, "since", assertion->since, ", ");
    json_pair(out, "sentence", assertion->sentence, ", ");
    fprintf(out, "\"observations\": %d, \"duration_ms\": %.3f, \"notes\": [", run->observations,
            (double)run->duration_ns / 1e6);
    for (int i = 0; i < run->note_count; i++) {
        json_string(out, run->notes[i]);
        fputs(i + 1 < run->note_count ? ", " : "", out);
    }
    fputs("], \"metrics\": {", out);
    for (int i = 0; i < run->metric_count; i++) {
        json_string(out, run->metrics[i].name);
        fprintf(out, ": %.3f%s", run->metrics[i].value, i + 1 < run->metric_count ? ", " : "");
    }
    fputs("}}", out);
}

static void utc_now(char *out, size_t size)
{
    const time_t now = time(NULL);
    struct tm utc;
    (void)gmtime_r(&now, &utc);
    (void)strftime(out, size, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

void kt_json_print(const struct kt_suite *suite, FILE *out)
{
    char date[32];
    utc_now(date, sizeof(date));
    fputs("{\n  \"format\": \"ouro-ktest\", \"format_version\": 1,\n  ", out);
    json_pair(out, "version", KT_VERSION, ", ");
    json_pair(out, "date", date, ",\n  \"kernel\": {");
    json_pair(out, "release", suite->report.kernel_release, ", ");
    json_pair(out, "machine", suite->report.machine, "},\n  ");
    json_pair(out, "liburing", suite->liburing, ", ");
    json_pair(out, "cpu", suite->cpu, ", ");
    fprintf(out,
            "\"cpus\": %d,\n  \"kernel_log_checked\": %s, \"duration_ms\": %.3f, \"ok\": %s,\n",
            suite->cpu_count, suite->kmsg_fd >= 0 ? "true" : "false",
            (double)suite->duration_ns / 1e6, kt_suite_ok(suite) ? "true" : "false");
    fprintf(out, "  \"ring_features\": %u,\n  \"features\": {", suite->report.ring_features);
    for (int i = 0; i < OURO__FEATURE_COUNT; i++) {
        const bool present = (suite->report.present >> i & 1) != 0;
        const bool claimed = (suite->report.claimed >> i & 1) != 0;
        fprintf(out, "%s\n    \"%s\": \"%s\"", i == 0 ? "" : ",", ouro__feature_table[i].name,
                present   ? "present"
                : claimed ? "claimed"
                          : "absent");
    }
    fputs("\n  },\n  \"quirks\": {", out);
    for (int i = 0; i < OURO__QUIRK_COUNT; i++) {
        const bool wrong = (suite->report.quirks >> i & 1) != 0;
        const bool untested = (suite->report.quirks_untested >> i & 1) != 0;
        fprintf(out, "%s\n    \"%s\": \"%s\"", i == 0 ? "" : ",", ouro__quirk_table[i].name,
                wrong      ? "wrong"
                : untested ? "untested"
                           : "fine");
    }
    fputs("\n  },\n  \"runs\": [\n", out);
    for (size_t i = 0; i < suite->run_count; i++) {
        json_run(out, &suite->runs[i]);
        fputs(i + 1 < suite->run_count ? ",\n" : "\n", out);
    }
    fputs("  ]\n}\n", out);
}

static void xml_text(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '&':
            fputs("&amp;", out);
            break;
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        default:
            fputc((unsigned char)*text < ' ' ? ' ' : *text, out);
        }
    }
}

static void junit_case(FILE *out, const struct kt_run *run)
{
    fprintf(out, "    <testcase classname=\"ouro-ktest.%s\" name=\"%s/%s\" time=\"%.3f\">",
            run->area->title, run->assertion->id, kt_ring_name(run->kind),
            (double)run->duration_ns / 1e9);
    const char *element = NULL;
    if (run->verdict == KT_SKIP || (kt_verdict_is_bad(run->verdict) && run->known != NULL))
        element = "skipped";
    else if (run->verdict == KT_ERROR || run->verdict == KT_CRASH || run->verdict == KT_HANG)
        element = "error";
    else if (kt_verdict_is_bad(run->verdict) || run->unexpected_pass)
        element = "failure";
    if (element != NULL) {
        fprintf(out, "<%s message=\"", element);
        if (run->known != NULL) {
            xml_text(out, "known: ");
            xml_text(out, run->known);
        } else if (run->unexpected_pass) {
            xml_text(out, "listed as known to fail, but it passes");
        } else {
            xml_text(out, run->text);
        }
        if (strcmp(element, "skipped") == 0)
            fprintf(out, "\"/>");
        else
            fprintf(out, "\" type=\"%s\">%s</%s>", kt_verdict_name(run->verdict), run->where,
                    element);
    }
    fprintf(out, "</testcase>\n");
}

int kt_junit_write(const struct kt_suite *suite, const char *path)
{
    FILE *out = fopen(path, "we");
    if (out == NULL)
        return -errno;
    int failures = 0;
    int errors = 0;
    int skipped = 0;
    for (size_t i = 0; i < suite->run_count; i++) {
        const struct kt_run *run = &suite->runs[i];
        const bool error =
            run->verdict == KT_ERROR || run->verdict == KT_CRASH || run->verdict == KT_HANG;
        if (run->verdict == KT_SKIP || (kt_verdict_is_bad(run->verdict) && run->known != NULL))
            skipped++;
        else if (error)
            errors++;
        else if (kt_verdict_is_bad(run->verdict) || run->unexpected_pass)
            failures++;
    }
    char date[32];
    utc_now(date, sizeof(date));
    date[19] = '\0'; /* JUnit's timestamp has no zone */
    fprintf(out,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n"
            "  <testsuite name=\"ouro-ktest\" tests=\"%zu\" failures=\"%d\" errors=\"%d\" "
            "skipped=\"%d\" time=\"%.3f\" timestamp=\"%s\" hostname=\"localhost\">\n"
            "    <properties>\n      <property name=\"kernel\" value=\"",
            suite->run_count, failures, errors, skipped, (double)suite->duration_ns / 1e9, date);
    xml_text(out, suite->report.kernel_release);
    fprintf(out,
            "\"/>\n      <property name=\"machine\" value=\"%s\"/>\n"
            "      <property name=\"liburing\" value=\"%s\"/>\n"
            "      <property name=\"cpu\" value=\"",
            suite->report.machine, suite->liburing);
    xml_text(out, suite->cpu);
    fprintf(out, "\"/>\n    </properties>\n");
    for (size_t i = 0; i < suite->run_count; i++)
        junit_case(out, &suite->runs[i]);
    fprintf(out, "  </testsuite>\n</testsuites>\n");
    const bool failed = ferror(out) != 0;
    return fclose(out) != 0 || failed ? -EIO : 0;
}
