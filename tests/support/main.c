/* SPDX-License-Identifier: MIT */
/*
 * The main() of every test program.
 *
 * ctest runs it once per case and driver, with CK_RUN_CASE, OURO_TEST_DRIVER and CK_FORK=no.  By
 * hand or on another kernel it is run without: then each of its cases runs in a process of its own,
 * on every driver in turn (or on the one in OURO_TEST_DRIVER).  `--list` names the cases;
 * `--descriptors` lists those that the program was started with, and `--blocked` the numbers of the
 * signals it was started with blocked, for tests that exec it.
 *
 * Exit status: 0 passed, 1 failed, 2 nothing of that name, 77 skipped.  io_uring cases are skipped
 * only where the kernel refuses a ring, and not even there under OURO_TEST_REQUIRE_URING=1.
 *
 * Owns:    the list of cases.
 * Threads: main only.
 * Always:  a run in which no case ran is not a success.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "support/case.h"
#include "support/child.h"
#include "support/uring_probe.h"

enum { PASSED = 0, FAILED = 1, NO_SUCH_CASE = 2, SKIPPED = 77 };
enum { CASES_MAX = 1024, DESCRIPTORS_MAX = 4096 };

static struct ouro_test_case *first_case;
static struct ouro_test_case **last_link = &first_case;

/* Check passes a loop index to a test: here it picks from this table. */
static struct scheduled {
    const struct ouro_test_case *test;
    enum ouro_test_run run;
    TTest check_test;
} scheduled[CASES_MAX];
static int scheduled_count;

static const struct {
    enum ouro_test_run run;
    const char *name;
} runs[] = {
    {OURO_TEST_RUN_UNIT, "unit"},
    {OURO_TEST_RUN_URING, "uring"},
    {OURO_TEST_RUN_EPOLL, "epoll"},
};
enum { RUNS = sizeof(runs) / sizeof(runs[0]) };

void ouro_test_register(struct ouro_test_case *test)
{
    *last_link = test;
    last_link = &test->next;
}

static void run_scheduled(int index)
{
    ouro_test_case_run(scheduled[index].test, scheduled[index].run);
}

/* "tests/net/test_tcp_stream.c" and "uring" make "net/tcp_stream[uring]". */
static void suite_name(char *name, size_t size, const char *run_name)
{
    const char *path = first_case != NULL ? first_case->file : "none";
    const char *tests = strstr(path, "tests/");
    const char *rest = tests != NULL ? tests + strlen("tests/") : path;
    const char *file = strstr(rest, "/test_");
    if (file == NULL) {
        (void)snprintf(name, size, "%s[%s]", rest, run_name);
        return;
    }
    const char *noun = file + strlen("/test_");
    (void)snprintf(name, size, "%.*s/%.*s[%s]", (int)(file - rest), rest, (int)strcspn(noun, "."),
                   noun, run_name);
}

static Suite *make_suite(enum ouro_test_run run, const char *run_name)
{
    static char names[RUNS][256]; /* Check keeps the pointer */
    static int named;
    char *name = names[named++];
    suite_name(name, sizeof(names[0]), run_name);
    Suite *suite = suite_create(name);
    for (const struct ouro_test_case *test = first_case; test != NULL; test = test->next) {
        if ((test->runs & run) == 0)
            continue;
        if (scheduled_count == CASES_MAX)
            abort();
        struct scheduled *slot = &scheduled[scheduled_count];
        *slot = (struct scheduled){
            .test = test,
            .run = run,
            .check_test = {.name = test->name,
                           .fn = run_scheduled,
                           .file = test->file,
                           .line = test->line},
        };
        TCase *tcase = tcase_create(test->name);
        /* The case's own watchdog ends it, and says more. */
        tcase_set_timeout(tcase, 0);
        _tcase_add_test(tcase, &slot->check_test, 0, 0, scheduled_count, scheduled_count + 1);
        suite_add_tcase(suite, tcase);
        scheduled_count++;
    }
    return suite;
}

static bool has_cases(enum ouro_test_run run)
{
    const char *wanted = getenv("CK_RUN_CASE");
    for (const struct ouro_test_case *test = first_case; test != NULL; test = test->next) {
        if ((test->runs & run) != 0 && (wanted == NULL || strcmp(wanted, test->name) == 0))
            return true;
    }
    return false;
}

/* Whether cases on @run can run here; says why not. */
static bool available(enum ouro_test_run run, int *status)
{
    if (run != OURO_TEST_RUN_URING)
        return true;
    int rc = ouro_test_uring_probe();
    if (rc == 0)
        return true;
    const char *require = getenv("OURO_TEST_REQUIRE_URING");
    bool required = require != NULL && strcmp(require, "1") == 0;
    (void)fprintf(stderr, "%s: the kernel refuses a ring: %s\n", required ? "failed" : "skipped",
                  strerror(-rc));
    *status = required ? FAILED : SKIPPED;
    return false;
}

static int list_cases(void)
{
    for (const struct ouro_test_case *test = first_case; test != NULL; test = test->next) {
        for (int i = 0; i < RUNS; i++) {
            if ((test->runs & runs[i].run) != 0)
                (void)printf("%s[%s]\n", test->name, runs[i].name);
        }
    }
    return PASSED;
}

/* Without /proc/self/fd, which would need one itself. */
static int list_descriptors(void)
{
    struct rlimit limit = {0};
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    for (int fd = 0; fd < DESCRIPTORS_MAX && (rlim_t)fd < limit.rlim_cur; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            (void)printf("%d\n", fd);
    }
    return PASSED;
}

static int list_blocked(void)
{
    sigset_t set;
    if (sigprocmask(SIG_BLOCK, NULL, &set) < 0)
        return FAILED;
    for (int number = 1; number <= SIGRTMAX; number++) {
        if (sigismember(&set, number) == 1)
            (void)printf("%d ", number);
    }
    return PASSED;
}

/* libc's per-thread heap arenas and stack cache would look like leaks of mappings. */
static void restrain_libc(char **argv)
{
    (void)mallopt(M_ARENA_MAX, 1);
    if (getenv("GLIBC_TUNABLES") != NULL)
        return;
    char path[OURO_TEST_PATH_SIZE];
    if (setenv("GLIBC_TUNABLES", "glibc.pthread.stack_cache_size=0", 1) == 0 &&
        ouro_test_own_path(path) != NULL)
        (void)execv(path, argv);
}

static int run_cases(const char *only)
{
    int status = PASSED;
    bool known = only == NULL;
    SRunner *runner = srunner_create(NULL);
    for (int i = 0; i < RUNS; i++) {
        if (only != NULL && strcmp(only, runs[i].name) != 0)
            continue;
        known = true;
        if (has_cases(runs[i].run) && available(runs[i].run, &status))
            srunner_add_suite(runner, make_suite(runs[i].run, runs[i].name));
    }
    int failed = 0;
    int ran = 0;
    if (known && scheduled_count > 0) {
        ouro_test_set_skip_status(srunner_fork_status(runner) == CK_FORK ? PASSED : SKIPPED);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        ran = srunner_ntests_run(runner);
    }
    srunner_free(runner);
    if (failed > 0 || status == FAILED)
        return FAILED;
    if (ran > 0)
        return PASSED;
    const char *wanted = getenv("CK_RUN_CASE");
    if (status == SKIPPED || (known && wanted == NULL))
        return SKIPPED;
    (void)fprintf(stderr, "no case '%s' on '%s'\n", wanted != NULL ? wanted : "*",
                  only != NULL ? only : "*");
    return NO_SUCH_CASE;
}

int main(int argc, char **argv)
{
    restrain_libc(argv);
    if (argc > 1 && strcmp(argv[1], "--list") == 0)
        return list_cases();
    if (argc > 1 && strcmp(argv[1], "--descriptors") == 0)
        return list_descriptors();
    if (argc > 1 && strcmp(argv[1], "--blocked") == 0)
        return list_blocked();
    return run_cases(getenv("OURO_TEST_DRIVER"));
}
