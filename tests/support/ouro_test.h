/* SPDX-License-Identifier: MIT */
/*
 * How an ouro test is written.  A file tests/<area>/test_<noun>.c needs this header, some cases,
 * and nothing else: no main, no suite.
 *
 *     #include "support/ouro_test.h"
 *
 *     OURO_TEST(refused_connect_returns_econnrefused)
 *     {
 *         ck_assert_int_eq(connect_to_a_closed_port(ouro_test_driver()), -ECONNREFUSED);
 *     }
 *
 * OURO_TEST() runs on io_uring and on epoll, OURO_TEST_URING() and OURO_TEST_EPOLL() on one of
 * them, OURO_TEST_UNIT() once and without a driver.  Options follow the name:
 *
 *     OURO_TEST(many_connects, .timeout_s = 120, .serial = true)
 *
 * CMake reads these lines, so keep each on one line and begin it in the first column.  Every case
 * becomes a ctest entry of its own, `net.tcp_stream.many_connects[uring]`, run in its own process.
 *
 * Check's ck_assert_*() work here from every thread and every fiber: the process reports and ends.
 * After each case the process must hold what it held before: descriptors, heap blocks, threads,
 * mappings, operations in flight (support/leaks.h).
 */
#ifndef OURO_TEST_H
#define OURO_TEST_H

#include <check.h>
#include <stdbool.h>
#include <stdint.h>

#include "ouro/runtime.h"

#include "support/fail.h"
#include "support/until.h"

/* Which runs a case has; a bit per run. */
enum ouro_test_run {
    OURO_TEST_RUN_UNIT = 1 << 0,
    OURO_TEST_RUN_URING = 1 << 1,
    OURO_TEST_RUN_EPOLL = 1 << 2,
    OURO_TEST_RUN_DRIVERS = OURO_TEST_RUN_URING | OURO_TEST_RUN_EPOLL,
};

struct ouro_test_options {
    unsigned timeout_s;   /* the case is killed after it; 0: 60 */
    bool serial;          /* measures time or needs the machine: no other case beside it */
    bool needs_root;      /* skipped for other users */
    const char *may_leak; /* why this case may end with more than it began with; NULL: it may not */
};

struct ouro_test_case {
    const char *name;
    const char *file;
    int line;
    unsigned runs; /* enum ouro_test_run */
    void (*body)(void);
    struct ouro_test_options options;
    struct ouro_test_case *next;
};

/* Called before main(), once per case of the program. */
void ouro_test_register(struct ouro_test_case *test);

/* The driver this run shall give to every runtime it makes; _AUTO in OURO_TEST_UNIT() cases. */
enum ouro_driver_kind ouro_test_driver(void);

/* Ends the case as skipped and says why.  Any thread. */
void ouro_test_skip(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

#define OURO_TEST(...) OURO_TEST_DEFINE_(OURO_TEST_RUN_DRIVERS, __VA_ARGS__, )
#define OURO_TEST_URING(...) OURO_TEST_DEFINE_(OURO_TEST_RUN_URING, __VA_ARGS__, )
#define OURO_TEST_EPOLL(...) OURO_TEST_DEFINE_(OURO_TEST_RUN_EPOLL, __VA_ARGS__, )
#define OURO_TEST_UNIT(...) OURO_TEST_DEFINE_(OURO_TEST_RUN_UNIT, __VA_ARGS__, )

#define OURO_TEST_DEFINE_(run_bits, id, ...)                                                       \
    static void id##_test_(void);                                                                  \
    static struct ouro_test_case id##_case_ = {                                                    \
        .name = #id,                                                                               \
        .file = __FILE__,                                                                          \
        .line = __LINE__,                                                                          \
        .runs = (run_bits),                                                                        \
        .body = id##_test_,                                                                        \
        .options = {__VA_ARGS__},                                                                  \
    };                                                                                             \
    __attribute__((constructor)) static void id##_register_(void)                                  \
    {                                                                                              \
        ouro_test_register(&id##_case_);                                                           \
    }                                                                                              \
    static void id##_test_(void)

#endif
