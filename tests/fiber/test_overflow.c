/* SPDX-License-Identifier: MIT */
/*
 * Stack overflow of a fiber ends the program with the fiber's name, and other faults go where they
 * went before.  Whatever ends a process happens in a forked child.
 *
 * Owns:    nothing that outlives a case.
 * Threads: one in each process.
 */
#include "support/ouro_test.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/coverage.h"
#include "fiber/overflow.h"
#include "fiber/stack.h"
#include "fiber/stack_tools.h"
#include "fiber/switch.h"
#include "support/child.h"

#define USABLE_BYTES ((size_t)128 * 1024)

struct fiber {
    struct ouro__switch context;
    const char *name;
};

static struct ouro__switch home;
static struct ouro__stack_pool pool;
static struct ouro__overflow_thread thread;

static const char *name_of(void *header)
{
    const struct fiber *fiber = header;
    return fiber->name;
}

/* Everything up to a fiber that waits for its first switch. */
static struct fiber *prepare(bool madv_guard, ouro__switch_entry_fn *entry)
{
    struct ouro__stack_pool_config config = {.usable_size_bytes = USABLE_BYTES,
                                             .header_size_bytes = sizeof(struct fiber),
                                             .use_madv_guard = madv_guard};
    struct rlimit no_core = {0, 0};

    ouro__stack_valgrind_look_away(); /* the process is here to do wrong */
    ck_assert_int_eq(setrlimit(RLIMIT_CORE, &no_core), 0);
    ck_assert_int_eq(ouro__stack_pool_init(&pool, &config), 0);
    ck_assert_int_eq(ouro__overflow_thread_start(&thread), 0);
    ck_assert_int_eq(ouro__overflow_install(), 0);
    ouro__overflow_pool_add(&pool, name_of);
    struct fiber *fiber = ouro__stack_get(&pool);
    ck_assert_ptr_nonnull(fiber);
    fiber->name = "digger";
    char *low = ouro__stack_low(&pool, fiber);
    ouro__switch_adopt_thread(&home);
    ouro__switch_init(&fiber->context, low, (size_t)((char *)fiber - low), entry, fiber);
    return fiber;
}

static volatile int depth_max = 1000 * 1000;

static int dig(int depth)
{
    volatile char frame[512];

    frame[0] = (char)depth;
    frame[511] = 1;
    if (depth >= depth_max)
        return 0;
    return dig(depth + 1) + frame[0] + frame[511];
}

static void dig_for_ever(void *arg)
{
    struct fiber *self = arg;
    (void)dig(0);
    ouro__switch_exit_to(&self->context, &home);
}

static int overflow(void *madv_guard)
{
    struct fiber *fiber = prepare(madv_guard != NULL, dig_for_ever);
    ouro__switch_to(&home, &fiber->context);
    return 0;
}

static void check_overflow_report(const struct ouro_test_child *child)
{
    ck_assert_ptr_nonnull(strstr(child->output, "ouro: stack overflow in fiber 'digger' (usable "
                                                "131072 bytes): raise stack_size_bytes\n"));
    ck_assert_int_eq(child->signal_number, SIGSEGV);
}

OURO_TEST_UNIT(overflow_is_reported_by_name)
{
    struct ouro_test_child child;
    ouro_test_child_run(overflow, (void *)"madvise", &child);
    check_overflow_report(&child);
}

OURO_TEST_UNIT(overflow_into_an_mprotect_guard_is_reported_by_name)
{
    struct ouro_test_child child;
    ouro_test_child_run(overflow, NULL, &child);
    check_overflow_report(&child);
}

static int overflow_of_a_removed_pool(void *arg)
{
    struct fiber *fiber = prepare(true, dig_for_ever);
    (void)arg;
    ouro__overflow_pool_remove(&pool);
    ouro__overflow_pool_remove(&pool);
    ouro__switch_to(&home, &fiber->context);
    return 0;
}

OURO_TEST_UNIT(a_removed_pool_is_not_looked_at)
{
    struct ouro_test_child child;
    ouro_test_child_run(overflow_of_a_removed_pool, NULL, &child);
    ck_assert_ptr_null(strstr(child.output, "ouro:"));
    ck_assert(child.signal_number == SIGSEGV || (OURO__ASAN && child.exit_status == 1) ||
              (OURO__TSAN && child.exit_status != 0));
}

static int touch_anothers_guard(void *arg)
{
    struct fiber *fiber = prepare(true, dig_for_ever);
    volatile char *guard = (char *)ouro__stack_low(&pool, fiber) - 100;
    (void)arg;
    *guard = 1;
    return 0;
}

OURO_TEST_UNIT(a_stray_access_to_a_guard_is_not_called_overflow)
{
    struct ouro_test_child child;
    ouro_test_child_run(touch_anothers_guard, NULL, &child);
    ck_assert_ptr_null(strstr(child.output, "stack overflow in"));
    ck_assert_ptr_nonnull(strstr(child.output, "ouro: bad access to 0x"));
    ck_assert_ptr_nonnull(strstr(child.output, "of fiber 'digger' (usable 131072 bytes)"));
    ck_assert_int_eq(child.signal_number, SIGSEGV);
}

/* Memory that is no stack's. */
static void fault_elsewhere(void)
{
    ouro__stack_valgrind_look_away();
    volatile char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne((void *)(uintptr_t)page, MAP_FAILED);
    page[7] = 1;
}

static void earlier_handler(int signal_number)
{
    ouro__coverage_write();
    _exit(signal_number == SIGSEGV ? 42 : 43);
}

static void handle(int signal_number, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};
    ck_assert_int_eq(sigaction(signal_number, &action, NULL), 0);
}

static int fault_with_an_earlier_handler(void *arg)
{
    (void)arg;
    handle(SIGSEGV, earlier_handler);
    (void)prepare(true, dig_for_ever);
    fault_elsewhere();
    return 0;
}

OURO_TEST_UNIT(other_faults_go_to_the_earlier_handler)
{
    struct ouro_test_child child;
    ouro_test_child_run(fault_with_an_earlier_handler, NULL, &child);
    ck_assert_ptr_null(strstr(child.output, "ouro:"));
    ck_assert_int_eq(child.exit_status, 42);
}

static int fault_without_an_earlier_handler(void *arg)
{
    (void)arg;
    handle(SIGSEGV, SIG_DFL);
    (void)prepare(true, dig_for_ever);
    fault_elsewhere();
    return 0;
}

static int raise_without_an_earlier_handler(void *arg)
{
    (void)arg;
    handle(SIGSEGV, SIG_DFL);
    (void)prepare(true, dig_for_ever);
    (void)raise(SIGSEGV);
    return 0;
}

static int raise_while_ignored(void *arg)
{
    (void)arg;
    handle(SIGBUS, SIG_IGN);
    (void)prepare(true, dig_for_ever);
    (void)raise(SIGBUS);
    return 5;
}

OURO_TEST_UNIT(other_faults_kill_as_before)
{
    struct ouro_test_child child;
    ouro_test_child_run(fault_without_an_earlier_handler, NULL, &child);
    ck_assert_ptr_null(strstr(child.output, "ouro:"));
    ck_assert_int_eq(child.signal_number, SIGSEGV);
    ouro_test_child_run(raise_without_an_earlier_handler, NULL, &child);
    ck_assert_ptr_null(strstr(child.output, "ouro:"));
    ck_assert_int_eq(child.signal_number, SIGSEGV);
    ouro_test_child_run(raise_while_ignored, NULL, &child);
    ck_assert_int_eq(child.exit_status, 5);
}

static void (*current_handler(void))(int)
{
    struct sigaction action;
    ck_assert_int_eq(sigaction(SIGSEGV, NULL, &action), 0);
    return action.sa_handler;
}

OURO_TEST_UNIT(the_last_uninstall_restores_what_was_there)
{
    void (*before)(int) = current_handler();
    for (int round = 0; round < 3; round++) {
        ck_assert_int_eq(ouro__overflow_install(), 0);
        ck_assert_int_eq(ouro__overflow_install(), 0);
        ck_assert(current_handler() != before);
        ouro__overflow_uninstall();
        ck_assert(current_handler() != before);
        ouro__overflow_uninstall();
        ck_assert(current_handler() == before);
    }
}

static struct sigaction below_on_top;

static void on_top(int signal_number, siginfo_t *info, void *context)
{
    below_on_top.sa_sigaction(signal_number, info, context);
}

/* Somebody's handler on top of ours, which calls it; we come and go beneath. */
static int fault_with_a_handler_on_top(void *arg)
{
    struct sigaction top = {.sa_sigaction = on_top, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    (void)arg;
    handle(SIGSEGV, earlier_handler);
    ck_assert_int_eq(ouro__overflow_install(), 0);
    ck_assert_int_eq(sigaction(SIGSEGV, &top, &below_on_top), 0);
    ouro__overflow_uninstall();
    ck_assert_int_eq(ouro__overflow_install(), 0);
    ouro__overflow_uninstall();
    fault_elsewhere();
    return 0;
}

OURO_TEST_UNIT(a_handler_on_top_of_ours_may_go_on_calling_it)
{
    struct ouro_test_child child;
    ouro_test_child_run(fault_with_a_handler_on_top, NULL, &child);
    ck_assert_int_eq(child.exit_status, 42);
}

OURO_TEST_UNIT(an_alternate_stack_is_set_and_taken_away)
{
    stack_t none = {.ss_flags = SS_DISABLE};
    stack_t before;
    stack_t current;

    ck_assert_int_eq(sigaltstack(NULL, &before), 0);
    ck_assert_int_eq(sigaltstack(&none, NULL), 0);
    ck_assert_int_eq(ouro__overflow_thread_start(&thread), 0);
    ck_assert_int_eq(sigaltstack(NULL, &current), 0);
    ck_assert_int_eq(current.ss_flags, 0);
    ck_assert_uint_ge(current.ss_size, 64 * 1024);

    /* A second one sees the first, and leaves it in place. */
    struct ouro__overflow_thread second;
    ck_assert_int_eq(ouro__overflow_thread_start(&second), 0);
    ouro__overflow_thread_stop(&second);
    stack_t after;
    ck_assert_int_eq(sigaltstack(NULL, &after), 0);
    ck_assert_ptr_eq(after.ss_sp, current.ss_sp);

    ouro__overflow_thread_stop(&thread);
    ck_assert_int_eq(sigaltstack(NULL, &current), 0);
    ck_assert_int_eq(current.ss_flags, SS_DISABLE);
    if (!(before.ss_flags & SS_DISABLE))
        ck_assert_int_eq(sigaltstack(&before, NULL), 0);
}
