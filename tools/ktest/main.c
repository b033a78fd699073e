/* SPDX-License-Identifier: MIT */
/*
 * ouro-ktest: which io_uring behaviours that networking depends on are present on this kernel, do
 * they behave as documented, and did anything regress?
 *
 * One static binary; it needs no root, touches loopback only, and runs in an initramfs as well as
 * on a laptop.  Every assertion is a process of its own under a time limit.
 *
 * Exit: 0 nothing unexpected, 1 something unexpected, 2 wrong usage, 77 io_uring is not available
 * here.
 */
#define _GNU_SOURCE
#include "runner.h"

#include <getopt.h>
#include <sched.h>
#include <stdlib.h>

enum { EXIT_USAGE = 2, EXIT_UNAVAILABLE = 77 };

enum {
    OPT_TAP = 256,
    OPT_JSON,
    OPT_JUNIT,
    OPT_LIST,
    OPT_EXPLAIN,
    OPT_KNOWN,
    OPT_SAVE,
    OPT_BASELINE,
    OPT_SLOW,
    OPT_SLACK,
    OPT_PLANT,
    OPT_VERSION
};

static const struct option options_table[] = {
    {"tap", no_argument, NULL, OPT_TAP},
    {"json", no_argument, NULL, OPT_JSON},
    {"junit", required_argument, NULL, OPT_JUNIT},
    {"list", no_argument, NULL, OPT_LIST},
    {"only", required_argument, NULL, 'o'},
    {"explain", required_argument, NULL, OPT_EXPLAIN},
    {"known", required_argument, NULL, OPT_KNOWN},
    {"save", required_argument, NULL, OPT_SAVE},
    {"baseline", required_argument, NULL, OPT_BASELINE},
    {"timeout", required_argument, NULL, 't'},
    {"slow", no_argument, NULL, OPT_SLOW},
    {"slack", required_argument, NULL, OPT_SLACK},
    {"jobs", required_argument, NULL, 'j'},
    {"quiet", no_argument, NULL, 'q'},
    {"plant", required_argument, NULL, OPT_PLANT},
    {"version", no_argument, NULL, OPT_VERSION},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static const char usage_text[] =
    "usage: ouro-ktest [options]\n"
    "Checks the io_uring behaviours that networking depends on, on the running kernel.\n\n"
    "  -o, --only PATTERN   only assertions whose id or number matches (glob; may repeat)\n"
    "      --slow           also those that take more than a second each\n"
    "      --list           print the catalogue and stop\n"
    "      --explain ID     print all that is known of one assertion and stop\n"
    "      --tap            KTAP on standard output\n"
    "      --json           JSON on standard output\n"
    "      --junit FILE     also write JUnit XML\n"
    "      --known PATH     failures expected on this kernel, with reasons: a list, or a\n"
    "                       directory of lists named after kernels (6.12.117.txt, 6.12.txt)\n"
    "      --save FILE      write the verdicts, for --baseline\n"
    "      --baseline FILE  say what changed since, or between two kernels\n"
    "  -t, --timeout SEC    limit of one assertion (10)\n"
    "      --slack N        multiply upper time bounds, for emulators (1)\n"
    "  -j, --jobs N         assertions at a time, 1 or 2 (2)\n"
    "  -q, --quiet          no progress\n"
    "      --version, -h, --help\n\n"
    "exit: 0 as expected, 1 not, 2 usage, 77 no io_uring here (one line says why)\n";

/* At exit, --help's too: a report that was not written is a failure. */
static void check_output(void)
{
    const bool failed = ferror(stdout) != 0;
    if (fclose(stdout) == 0 && !failed)
        return;
    fprintf(stderr, "ouro-ktest: standard output cannot be written\n");
    _exit(EXIT_FAILURE);
}

static int number(const char *text, int low, int high)
{
    char *end = NULL;
    errno = 0;
    const long value = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < low || value > high) {
        fprintf(stderr, "ouro-ktest: '%s' is not a number from %d to %d\n", text, low, high);
        exit(EXIT_USAGE);
    }
    return (int)value;
}

static void explain_and_exit(const char *id)
{
    if (kt_explain_print(id, stdout) == 0)
        exit(EXIT_SUCCESS);
    fprintf(stderr, "ouro-ktest: no assertion is called '%s' (see --list)\n", id);
    exit(EXIT_USAGE);
}

static bool option_value(struct kt_options *options, int option, const char *value)
{
    switch (option) {
    case 'o':
        if (options->only_count == (int)(sizeof(options->only) / sizeof(options->only[0])))
            return false;
        options->only[options->only_count++] = value;
        return true;
    case OPT_JUNIT:
        options->junit_path = value;
        return true;
    case OPT_KNOWN:
        options->known_path = value;
        return true;
    case OPT_SAVE:
        options->save_path = value;
        return true;
    case OPT_BASELINE:
        options->baseline_path = value;
        return true;
    case 't':
        options->timeout_ms = number(value, 1, 3600) * 1000;
        return true;
    case OPT_SLACK:
        options->slack = number(value, 1, 100);
        return true;
    case 'j':
        options->jobs = number(value, 1, 2);
        return true;
    case OPT_PLANT: /* not in the help: the tests use it */
        options->plant = value;
        return true;
    default:
        return false;
    }
}

static void parse(struct kt_options *options, int argc, char **argv)
{
    bool list = false;
    int option = 0;
    while ((option = getopt_long(argc, argv, "o:t:j:qh", options_table, NULL)) != -1) {
        switch (option) {
        case OPT_TAP:
            options->format = KT_FORMAT_TAP;
            break;
        case OPT_JSON:
            options->format = KT_FORMAT_JSON;
            break;
        case OPT_LIST:
            list = true;
            break;
        case OPT_EXPLAIN:
            explain_and_exit(optarg);
            break;
        case OPT_SLOW:
            options->slow = true;
            break;
        case 'q':
            options->quiet = true;
            break;
        case OPT_VERSION:
            puts("ouro-ktest " KT_VERSION);
            exit(EXIT_SUCCESS);
        case 'h':
            fputs(usage_text, stdout);
            exit(EXIT_SUCCESS);
        default:
            if (option_value(options, option, optarg))
                break;
            fprintf(stderr, "try 'ouro-ktest --help'\n");
            exit(EXIT_USAGE);
        }
    }
    if (optind < argc) {
        fprintf(stderr, "ouro-ktest: unexpected '%s'; try --help\n", argv[optind]);
        exit(EXIT_USAGE);
    }
    if (list) {
        kt_list_print(options, stdout);
        exit(EXIT_SUCCESS);
    }
}

/* The runs of this invocation: each chosen assertion on each kind of ring it names. */
static int choose_runs(struct kt_suite *suite)
{
    size_t room = 0;
    for (size_t a = 0; a < kt_area_count; a++)
        room += kt_areas[a]->count * KT_RING_KINDS;
    suite->runs = calloc(room, sizeof(suite->runs[0]));
    if (suite->runs == NULL)
        return -ENOMEM;
    for (size_t a = 0; a < kt_area_count; a++) {
        for (size_t i = 0; i < kt_areas[a]->count; i++) {
            const struct kt_assertion *assertion = &kt_areas[a]->assertions[i];
            if (!kt_glob(&suite->options, assertion) ||
                ((assertion->flags & KT_F_SLOW) != 0 && !suite->options.slow))
                continue;
            for (int kind = 0; kind < KT_RING_KINDS; kind++)
                if ((assertion->rings >> kind & 1) != 0)
                    suite->runs[suite->run_count++] =
                        (struct kt_run){.assertion = assertion,
                                        .area = kt_areas[a],
                                        .kind = (enum kt_ring_kind)kind};
        }
    }
    return 0;
}

static void read_machine(struct kt_suite *suite)
{
    cpu_set_t allowed;
    suite->cpu_count = 1;
    if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0)
        suite->cpu_count = CPU_COUNT(&allowed);
    snprintf(suite->liburing, sizeof(suite->liburing), "%s", OURO_KTEST_LIBURING);
    snprintf(suite->cpu, sizeof(suite->cpu), "unknown");
    FILE *in = fopen("/proc/cpuinfo", "re");
    char line[256];
    while (in != NULL && fgets(line, sizeof(line), in) != NULL) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || colon == NULL)
            continue;
        line[strcspn(line, "\n")] = '\0';
        snprintf(suite->cpu, sizeof(suite->cpu), "%.90s", colon + 2);
        break;
    }
    if (in != NULL)
        (void)fclose(in);
}

/* One line, and 77, where io_uring is refused; an old kernel is not a refusal. */
static void require_io_uring(struct kt_suite *suite)
{
    suite->detect_rc = ouro__feature_detect(OURO__FEATURE_ALL, &suite->report);
    ouro__feature_read_system(&suite->report);
    if (suite->detect_rc == 0)
        (void)ouro__quirk_selftest(&suite->report, OURO__QUIRK_ALL);
    if (suite->detect_rc == 0 || suite->report.stage == OURO__FEATURE_STAGE_TIER)
        return;
    char why[256];
    char change[256];
    ouro__feature_explain(&suite->report, why, sizeof(why), change, sizeof(change));
    printf("ouro-ktest: io_uring is not to be had here: %s; to change that: %s\n", why, change);
    exit(EXIT_UNAVAILABLE);
}

static int report_files(const struct kt_suite *suite)
{
    const struct kt_options *options = &suite->options;
    int rc = 0;
    if (options->junit_path != NULL && (rc = kt_junit_write(suite, options->junit_path)) < 0)
        fprintf(stderr, "ouro-ktest: %s: %s\n", options->junit_path, strerror(-rc));
    if (rc == 0 && options->save_path != NULL &&
        (rc = kt_baseline_save(suite, options->save_path)) < 0)
        fprintf(stderr, "ouro-ktest: %s: %s\n", options->save_path, strerror(-rc));
    if (rc == 0 && options->baseline_path != NULL) {
        FILE *out = options->format == KT_FORMAT_TABLE ? stdout : stderr;
        rc = kt_baseline_compare(suite, options->baseline_path, out);
        if (rc < 0)
            fprintf(stderr, "ouro-ktest: %s: %s\n", options->baseline_path, strerror(-rc));
    }
    return rc;
}

int main(int argc, char **argv)
{
    struct kt_suite suite = {.options = {.timeout_ms = 10000, .slack = 1, .jobs = 2},
                             .kmsg_fd = -1};
#ifdef OURO_KTEST_PLANT
    suite.options.plant = OURO_KTEST_PLANT;
#endif
    if (atexit(check_output) != 0) {
        fprintf(stderr, "ouro-ktest: out of memory\n");
        return EXIT_FAILURE;
    }
    parse(&suite.options, argc, argv);
    require_io_uring(&suite);
    read_machine(&suite);
    if (choose_runs(&suite) < 0 || suite.run_count == 0) {
        fprintf(stderr, "ouro-ktest: no assertion matches (see --list; some need --slow)\n");
        return EXIT_USAGE;
    }
    kt_progress_fn *progress = suite.options.quiet ? NULL : kt_table_progress;
    int rc = kt_suite_run(&suite, progress);
    if (rc < 0) {
        fprintf(stderr, "ouro-ktest: cannot start an assertion: %s\n", strerror(-rc));
        return EXIT_FAILURE;
    }
    if (suite.options.known_path != NULL && kt_known_apply(&suite, suite.options.known_path) < 0)
        return EXIT_USAGE;
    if (suite.options.format == KT_FORMAT_TAP)
        kt_tap_print(&suite, stdout);
    else if (suite.options.format == KT_FORMAT_JSON)
        kt_json_print(&suite, stdout);
    else
        kt_table_print(&suite, stdout);
    if (report_files(&suite) < 0)
        return EXIT_FAILURE;
    return kt_suite_ok(&suite) ? EXIT_SUCCESS : EXIT_FAILURE;
}
