/* SPDX-License-Identifier: MIT */
/*
 * One run of one case: warm-up, watchdog, body, leak check.
 *
 * The warm-up makes and releases one runtime of the case's driver before the first count, so that
 * what the library and libc keep for the life of the process (kernel detection, locale, stdio) is
 * not taken for a leak.  Unit cases get none: some forbid io_uring for the whole process.
 *
 * Owns:    the driver of the current case.
 * Threads: the main thread; ouro_test_driver() and ouro_test_skip() from any.
 * Always:  returns only for a case that passed.
 */
#include "support/case.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/coverage.h"
#include "ouro/error.h"
#include "support/leaks.h"

enum { TIMEOUT_DEFAULT_S = 60, SKIPPED = 77 };

static enum ouro_driver_kind driver = OURO_DRIVER_AUTO;
static int skip_status = SKIPPED;

enum ouro_driver_kind ouro_test_driver(void)
{
    return driver;
}

void ouro_test_set_skip_status(int status)
{
    skip_status = status;
}

void ouro_test_skip(const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    (void)fprintf(stderr, "skipped: %s\n", text);
    (void)fflush(NULL);
    ouro__coverage_write();
    _exit(skip_status);
}

static void *tell_id(void *arg)
{
    *(pid_t *)arg = gettid();
    return NULL;
}

static bool has_gone(void *arg)
{
    return tgkill(getpid(), *(const pid_t *)arg, 0) < 0 && errno == ESRCH;
}

/*
 * ThreadSanitizer starts a thread of its own together with the first one of the program.  A joined
 * thread is still listed for a moment, and must not be counted.
 */
static void warm_up_threads(void)
{
    pthread_t thread;
    pid_t id = 0;
    ck_assert_int_eq(pthread_create(&thread, NULL, tell_id, &id), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert(ouro_test_until(has_gone, &id, 10 * OURO_TEST_SECOND));
}

static void warm_up(void)
{
#ifndef OURO_TEST_NO_RUNTIME
    struct ouro_runtime_config config = OURO_RUNTIME_CONFIG_INIT;
    struct ouro_runtime *runtime = NULL;
    config.driver = driver;
    int rc = ouro_runtime_new(&config, &runtime);
    ck_assert_msg(rc == 0, "no runtime on this driver: %s", ouro_strerror(rc));
    ouro_runtime_free(runtime);
#endif
}

static unsigned timeout_of(const struct ouro_test_case *test)
{
    unsigned limit_s = test->options.timeout_s > 0 ? test->options.timeout_s : TIMEOUT_DEFAULT_S;
    return limit_s * ouro_test_slowness();
}

void ouro_test_case_run(const struct ouro_test_case *test, enum ouro_test_run run)
{
    static struct ouro_test_holdings before;

    driver = run == OURO_TEST_RUN_URING   ? OURO_DRIVER_URING
             : run == OURO_TEST_RUN_EPOLL ? OURO_DRIVER_EPOLL
                                          : OURO_DRIVER_AUTO;
    if (test->options.needs_root && geteuid() != 0)
        ouro_test_skip("%s needs root", test->name);
    ouro_test_watch(test->name, timeout_of(test));
    warm_up_threads();
    if (run != OURO_TEST_RUN_UNIT)
        warm_up();
    ouro_test_holdings_take(&before);
    test->body();
    ouro_test_holdings_check(&before, test->options.may_leak != NULL);
    ouro_test_watch("(none)", 0);
}
