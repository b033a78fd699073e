/* SPDX-License-Identifier: MIT */
/*
 * A start that fails: each system call and each allocation of ouro_runtime_new() in turn.
 *
 * It returns the error that stopped it, or works without what failed.  Either way the process holds
 * afterwards what it held before, the next start works, its tasks run, and a stack overflow in one
 * of them is reported.
 *
 * Owns:    nothing.
 * Threads: one, and the runtimes'; every failure happens in a process of its own.
 * Always:  a sweep ends with a start that nothing has failed.
 */
#include "base/alloc.h"
#include "base/compiler.h"
#include "base/coverage.h"
#include "base/fault.h"
#include "support/calls.h"
#include "support/child.h"
#include "support/forbid.h"
#include "support/leaks.h"
#include "support/ouro_test.h"
#include "support/runtime.h"

#include <errno.h>
#include <ouro.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

enum { CALLS_MAX = 2000 };

/* One start with one failure; @calls and @failed are what the child found out. */
struct attempt {
    enum ouro_flavour flavour;
    enum ouro_driver_kind driver;
    uint32_t flags;
    unsigned nth;
    int error;
    bool counts_allocations; /* instead of system calls */
    bool was_reached;
    int failed_call; /* the system call, or -1 */
    int result;
};

static struct ouro_runtime_config config_of(const struct attempt *attempt)
{
    struct ouro_runtime_config config = ouro_test_config(attempt->flavour);
    config.driver = attempt->driver;
    config.flags |= attempt->flags;
    config.driver_threads = 1; /* in both flavours there are threads to start and to end */
    return config;
}

static int digs(void *arg)
{
    volatile char frame[512];
    frame[0] = (char)(intptr_t)arg;
    if ((intptr_t)arg > 1000000)
        return frame[0];
    return digs((void *)((intptr_t)arg + 1)) + frame[0];
}

static int works(void *arg)
{
    struct ouro_task *task = NULL;
    (void)arg;
    if (ouro_sleep(1) != 0 || ouro_task_spawn(digs, (void *)1000001, &task) != 0)
        return -EIO;
    return ouro_task_join(task, NULL);
}

static int overflows(void *arg)
{
    struct ouro_task_options options = OURO_TASK_OPTIONS_INIT;
    struct ouro_task *task = NULL;
    (void)arg;
    options.name = "digger";
    if (ouro_task_spawn_with(NULL, &options, digs, NULL, &task) != 0)
        return -EIO;
    return ouro_task_join(task, NULL);
}

static void arm(struct attempt *attempt)
{
    if (attempt->counts_allocations)
        ouro__alloc_fail_at(attempt->nth);
    else
        ouro_test_calls_fail(attempt->nth, attempt->error, &attempt->failed_call);
}

static void disarm(struct attempt *attempt, uint64_t allocations_before)
{
    if (attempt->counts_allocations) {
        ouro__alloc_fail_at(0);
        attempt->was_reached = ouro__alloc_calls() - allocations_before >= attempt->nth;
    } else {
        attempt->was_reached = ouro_test_calls_end() >= attempt->nth;
    }
}

/* The child: a start with a failure, one without, and the end by a stack overflow. */
static int start_twice(void *arg)
{
    struct attempt *attempt = arg; /* shared with the parent */
    struct ouro_runtime_config config = config_of(attempt);
    struct ouro_runtime *runtime = NULL;
    struct ouro_test_holdings before;
    struct rlimit no_core = {0, 0};
    int result = -1;
    ck_assert_int_eq(setrlimit(RLIMIT_CORE, &no_core), 0);
    if (!attempt->counts_allocations)
        ouro_test_calls_watch();
    /* A first start leaves things for the life of the process: fork handlers, libc's caches. */
    struct ouro_runtime_config plain = config;
    plain.driver = OURO_DRIVER_EPOLL;
    ck_assert_int_eq(ouro_runtime_new(&plain, &runtime), 0);
    ouro_runtime_free(runtime);
    runtime = NULL;
    ouro_test_holdings_take(&before);
    uint64_t allocations = ouro__alloc_calls();
    arm(attempt);
    attempt->result = ouro_runtime_new(&config, &runtime);
    disarm(attempt, allocations);
    if (attempt->result == 0) {
        ck_assert_int_eq(ouro_runtime_block_on(runtime, works, NULL, &result), 0);
        ck_assert_int_eq(result, 0);
    } else {
        ck_assert_ptr_null(runtime);
    }
    ouro_runtime_free(runtime);
    ouro_test_holdings_check(&before, false);
    runtime = NULL;
    ck_assert_int_eq(ouro_runtime_new(&config, &runtime), 0);
    ck_assert_int_eq(ouro_runtime_block_on(runtime, works, NULL, &result), 0);
    ck_assert_int_eq(result, 0);
    ouro__coverage_write();
    if (!OURO__ASAN && !OURO__TSAN)
        ck_assert_int_ne(ouro_runtime_block_on(runtime, overflows, NULL, &result), 0);
    ouro_runtime_free(runtime);
    return 0;
}

/* Whether malloc(3) or pthread_create(3) give an error of their own when @call fails. */
static bool is_behind_libc(int call)
{
    return call == SYS_mmap || call == SYS_mprotect || call == SYS_madvise || call == SYS_mremap ||
           call == SYS_clone || call == SYS_clone3;
}

/* The start worked, or what it returned is why it did not. */
static void check_result(const struct attempt *attempt)
{
    int rc = attempt->result;
    bool right = rc == 0 || rc == -attempt->error;
    if (attempt->error == EPERM && attempt->driver == OURO_DRIVER_URING)
        right = right || rc == -OURO_ENODRIVER; /* a refusal: ouro/probe.h tells more */
    if (is_behind_libc(attempt->failed_call))
        right = right || rc == -ENOMEM || rc == -EAGAIN;
    ck_assert_msg(right, "call %u (%s) failed with %s: the start said %s", attempt->nth,
                  ouro_test_calls_name(attempt->failed_call), strerrorname_np(attempt->error),
                  ouro_err_name(rc));
    bool is_of_the_report =
        attempt->failed_call == SYS_sigaltstack || attempt->failed_call == SYS_rt_sigaction;
    ck_assert_msg(rc != 0 || !is_of_the_report, "%s failed: no overflow would be reported",
                  ouro_test_calls_name(attempt->failed_call));
    ck_assert_msg(attempt->was_reached || rc == 0, "nothing failed, and the start said %s",
                  ouro_err_name(rc));
}

/* All failures of one kind, until a start has no more places for them.  An emulated machine tries
 * every fifteenth of them. */
static void sweep(const struct attempt *kind)
{
    struct attempt *attempt =
        mmap(NULL, sizeof(*attempt), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(attempt, MAP_FAILED);
    *attempt = *kind;
    attempt->was_reached = true;
    const unsigned step = ouro_test_slowness() > 1 ? 15 : 1;
    for (attempt->nth = 1; attempt->was_reached; attempt->nth += step) {
        struct ouro_test_child child;
        ck_assert_uint_lt(attempt->nth, CALLS_MAX);
        attempt->was_reached = false;
        attempt->result = 1;
        attempt->failed_call = -1;
        ouro_test_child_run(start_twice, attempt, &child);
        if (child.exit_status == 77)
            ouro_test_skip("%s", child.output);
        if (OURO__ASAN || OURO__TSAN) {
            ck_assert_msg(child.exit_status == 0, "%u: %s", attempt->nth, child.output);
        } else {
            bool reported = strstr(child.output, "stack overflow in fiber 'digger'") != NULL;
            ck_assert_msg(child.signal_number == SIGSEGV && reported, "%u (%s): %d, signal %d, %s",
                          attempt->nth, ouro_test_calls_name(attempt->failed_call),
                          child.exit_status, child.signal_number, child.output);
        }
        check_result(attempt);
    }
    ck_assert_int_eq(attempt->result, 0);
    ck_assert_uint_gt(attempt->nth, 4);
    ck_assert_int_eq(munmap(attempt, sizeof(*attempt)), 0);
}

static void sweep_calls(int error)
{
    const enum ouro_flavour flavours[] = {OURO_FLAVOUR_CURRENT_THREAD, OURO_FLAVOUR_MULTI_THREAD};
    if (OURO__ASAN || OURO__TSAN)
        ouro_test_skip("the sanitizer's own system calls may not fail");
    for (int i = 0; i < 2; i++) {
        struct attempt kind = {
            .flavour = flavours[i], .driver = ouro_test_driver(), .error = error};
        sweep(&kind);
    }
}

OURO_TEST(each_call_of_a_start_may_be_refused, .timeout_s = 120)
{
    sweep_calls(EPERM);
}

OURO_TEST(each_call_of_an_embedded_start_may_be_refused, .timeout_s = 120)
{
    struct attempt kind = {.flavour = OURO_FLAVOUR_CURRENT_THREAD,
                           .driver = ouro_test_driver(),
                           .flags = OURO_RUNTIME_F_EMBEDDED,
                           .error = EPERM};
    if (OURO__ASAN || OURO__TSAN)
        ouro_test_skip("the sanitizer's own system calls may not fail");
    sweep(&kind);
}

OURO_TEST(each_call_of_a_start_may_lack_memory, .timeout_s = 120)
{
    sweep_calls(ENOMEM);
}

OURO_TEST(each_call_of_a_start_may_lack_descriptors, .timeout_s = 120)
{
    sweep_calls(EMFILE);
}

/* Left to choose, a start goes on with epoll when a ring is refused, and for no other reason. */
OURO_TEST_URING(each_call_of_a_start_that_chooses_may_be_refused, .timeout_s = 120)
{
    struct attempt kind = {
        .flavour = OURO_FLAVOUR_CURRENT_THREAD, .driver = OURO_DRIVER_AUTO, .error = EPERM};
    if (OURO__ASAN || OURO__TSAN)
        ouro_test_skip("the sanitizer's own system calls may not fail");
    sweep(&kind);
}

OURO_TEST(each_allocation_of_a_start_may_fail, .timeout_s = 120)
{
    const enum ouro_flavour flavours[] = {OURO_FLAVOUR_CURRENT_THREAD, OURO_FLAVOUR_MULTI_THREAD};
    for (int i = 0; i < 2; i++) {
        struct attempt kind = {.flavour = flavours[i],
                               .driver = ouro_test_driver(),
                               .error = ENOMEM,
                               .counts_allocations = true};
        sweep(&kind);
    }
}

/* How many system calls a first start makes. */
static int count_calls(void *arg)
{
    struct attempt *attempt = arg; /* shared with the parent */
    struct ouro_runtime_config config = config_of(attempt);
    struct ouro_runtime *runtime = NULL;
    ouro_test_calls_watch();
    ouro_test_calls_fail(0, 0, NULL);
    ck_assert_int_eq(ouro_runtime_new(&config, &runtime), 0);
    attempt->nth = ouro_test_calls_end();
    ouro_runtime_free(runtime);
    return 0;
}

/* The first look at the kernel asks for what the runtime uses; for everything it takes 200 calls.
 */
OURO_TEST_URING(a_start_makes_few_system_calls)
{
    struct attempt *attempt =
        mmap(NULL, sizeof(*attempt), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(attempt, MAP_FAILED);
    *attempt = (struct attempt){.driver = OURO_DRIVER_EPOLL};
    ouro_test_child_must_pass(count_calls, attempt);
    unsigned on_epoll = attempt->nth;
    attempt->driver = OURO_DRIVER_URING;
    ouro_test_child_must_pass(count_calls, attempt);
    unsigned more = attempt->nth - on_epoll;
    ck_assert_msg(attempt->nth > on_epoll && more <= 60, "%u calls more than on epoll", more);
    ck_assert_int_eq(munmap(attempt, sizeof(*attempt)), 0);
}

/* The kernel was found to have io_uring; then the filter came. */
static int start_without_rings(void *arg)
{
    const struct attempt *attempt = arg;
    struct ouro_runtime_config config = config_of(attempt);
    struct ouro_runtime *runtime = NULL;
    int result = -1;
    ck_assert_int_eq(ouro_runtime_new(&config, &runtime), 0);
    ouro_runtime_free(runtime);
    runtime = NULL;
    ouro_test_forbid_uring(OURO_TEST_URING_SETUP, attempt->error);
    ck_assert_int_eq(ouro_runtime_new(&config, &runtime), -attempt->error);
    ck_assert_ptr_null(runtime);
    config.driver = OURO_DRIVER_AUTO;
    ck_assert_int_eq(ouro_runtime_new(&config, &runtime), 0);
    struct ouro_handle *handle = ouro_runtime_handle(runtime);
    ck_assert_int_eq(ouro_handle_driver(handle), OURO_DRIVER_EPOLL);
    const char *reason = ouro_handle_driver_reason(handle);
    ck_assert_msg(strstr(reason, strerrorname_np(attempt->error)) != NULL, "%s", reason);
    ouro_handle_unref(handle);
    ck_assert_int_eq(ouro_runtime_block_on(runtime, works, NULL, &result), 0);
    ck_assert_int_eq(result, 0);
    ouro_runtime_free(runtime);
    return 0;
}

OURO_TEST_URING(a_ring_refused_after_the_look_is_an_error_or_epoll)
{
    const int errors[] = {EPERM, EMFILE, ENOSYS};
    for (int i = 0; i < 6; i++) {
        struct attempt attempt = {
            .flavour = i % 2 == 0 ? OURO_FLAVOUR_CURRENT_THREAD : OURO_FLAVOUR_MULTI_THREAD,
            .driver = OURO_DRIVER_URING,
            .error = errors[i / 2],
        };
        ouro_test_child_must_pass(start_without_rings, &attempt);
    }
}

OURO_TEST(a_thread_that_cannot_be_made_is_the_error)
{
    for (int i = 0; i < 2; i++) {
        struct attempt attempt = {.flavour = i == 0 ? OURO_FLAVOUR_CURRENT_THREAD
                                                    : OURO_FLAVOUR_MULTI_THREAD,
                                  .driver = ouro_test_driver()};
        struct ouro_runtime_config config = config_of(&attempt);
        struct ouro_runtime *runtime = NULL;
        ouro__fault_arm(OURO__FAULT_THREAD, 1, 1, -EAGAIN);
        ck_assert_int_eq(ouro_runtime_new(&config, &runtime), -EAGAIN);
        ck_assert_uint_eq(ouro__fault_fired(OURO__FAULT_THREAD), 1);
        ouro__fault_disarm_all();
        /* With AUTO a missing thread is no reason against io_uring. */
        config.driver = OURO_DRIVER_AUTO;
        ouro__fault_arm(OURO__FAULT_THREAD, 1, 1, -EAGAIN);
        ck_assert_int_eq(ouro_runtime_new(&config, &runtime), -EAGAIN);
        ouro__fault_disarm_all();
        ck_assert_ptr_null(runtime);
    }
}
