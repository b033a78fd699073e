/* SPDX-License-Identifier: MIT */
/*
 * What feature_mask and quirk_mask change: which system calls a runtime makes.
 *
 * Owns:    nothing.
 * Threads: the runtimes', watched; each in a process of its own.
 * Always:  every optional feature that the runtime uses has its line here.
 */
#include "base/compiler.h"
#include "base/fault.h"
#include "fiber/stack_tools.h"
#include "probe/abi.h"
#include "probe/feature.h"
#include "probe/quirk.h"
#include "probe/uses.h"
#include "support/calls.h"
#include "support/child.h"
#include "support/ouro_test.h"
#include "support/runtime.h"
#include "task/handle.h"

#include <errno.h>
#include <ouro.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

/* What the kernel was asked, a bit each. */
enum {
    ASKED_REGISTER_RING_FD = 1 << 0, /* io_uring_register() of the ring's descriptor */
    ASKED_ENTER_BY_RING_FD = 1 << 1, /* io_uring_enter() by the registered one */
    ASKED_NO_IOWAIT = 1 << 2,        /* a wait that is not accounted as I/O wait */
    ASKED_MADVISE_GUARD = 1 << 3,    /* a guard page inside a mapping */
    ASKED_MPROTECT_GUARD = 1 << 4,   /* a guard page that splits it */
    ASKED_ACCEPT_MULTISHOT = 1 << 5, /* not by a start: the driver may ask for it */
    ASKED_NAPI = 1 << 6,             /* busy polling of network devices */
    ASKED_MIN_WAIT = 1 << 7,         /* a wait that gathers completions */
    ASKED_ZERO_COPY = 1 << 8,        /* not by a start, as above */
};

/* What each optional feature adds to the questions, and what is asked in its place. */
static const struct {
    enum ouro__feature feature;
    unsigned with;
    unsigned without;
    bool of_both_drivers;
    enum ouro_dial dial; /* with which it is asked for */
} features[] = {
    {OURO__FEATURE_RING_FD, ASKED_REGISTER_RING_FD | ASKED_ENTER_BY_RING_FD, 0, false, 0},
    {OURO__FEATURE_NO_IOWAIT, ASKED_NO_IOWAIT, 0, false, 0},
    {OURO__FEATURE_ACCEPT_MULTISHOT, ASKED_ACCEPT_MULTISHOT, 0, false, 0},
    {OURO__FEATURE_MADV_GUARD, ASKED_MADVISE_GUARD, ASKED_MPROTECT_GUARD, true, 0},
    {OURO__FEATURE_NAPI, ASKED_NAPI, 0, false, OURO_DIAL_LATENCY},
    {OURO__FEATURE_SEND_ZC, ASKED_ZERO_COPY, 0, false, 0},
    {OURO__FEATURE_ZC_REPORT_USAGE, ASKED_ZERO_COPY, 0, false, 0},
    {OURO__FEATURE_MIN_WAIT, ASKED_MIN_WAIT, 0, false, OURO_DIAL_THROUGHPUT},
};
enum { FEATURES = sizeof(features) / sizeof(features[0]) };

static atomic_uint asked;

static void observe(int system_call, const uint64_t arguments[6])
{
    unsigned seen = 0;
    if (system_call == SYS_io_uring_register && arguments[1] == IORING_REGISTER_RING_FDS)
        seen = ASKED_REGISTER_RING_FD;
    if (system_call == SYS_io_uring_register && arguments[1] == OURO__REGISTER_NAPI)
        seen = ASKED_NAPI;
    if (system_call == SYS_io_uring_enter) {
        const struct ouro__getevents_arg *extended = (arguments[3] & IORING_ENTER_EXT_ARG) != 0
                                                         ? (const void *)(uintptr_t)arguments[4]
                                                         : NULL;
        seen |= extended != NULL && extended->min_wait_us != 0 ? ASKED_MIN_WAIT : 0;
        seen |= (arguments[3] & IORING_ENTER_REGISTERED_RING) != 0 ? ASKED_ENTER_BY_RING_FD : 0;
        seen |= (arguments[3] & OURO__ENTER_NO_IOWAIT) != 0 ? ASKED_NO_IOWAIT : 0;
    }
    if (system_call == SYS_madvise && arguments[2] == OURO__MADV_GUARD_INSTALL)
        seen = ASKED_MADVISE_GUARD;
    /* libc protects a page of each thread's stack and of its heap, larger ones of its libraries. */
    if (system_call == SYS_mprotect && arguments[2] == PROT_NONE)
        seen = ASKED_MPROTECT_GUARD;
    atomic_fetch_or(&asked, seen);
}

/* Until the driver has really waited: on a slow machine a sleep may be over before that. */
static int sleeps(void *arg)
{
    struct ouro_handle *handle = ouro_runtime_handle(arg);
    struct ouro_io_driver_metrics metrics = {.sleeps = 0};
    int rc = 0;
    while (rc == 0 && metrics.sleeps == 0) {
        rc = ouro_sleep(OURO_MILLISECOND);
        ck_assert_int_eq(ouro_handle_metrics(handle, &metrics), 0);
    }
    ouro_handle_unref(handle);
    return rc;
}

struct question {
    uint64_t feature_mask;
    enum ouro_dial dial;
    unsigned answer;
};

/* Starts, waits, and makes a stack; what was asked meanwhile.  The look at the kernel, which asks
 * for everything the runtime may use, has happened before. */
static int ask(void *arg)
{
    struct question *question = arg; /* shared with the parent */
    struct ouro_runtime_config config = OURO_RUNTIME_CONFIG_INIT;
    struct ouro_runtime *runtime = NULL;
    int result = -1;
    config.driver = ouro_test_driver();
    config.spin_us = UINT32_MAX;
    config.flags = OURO_RUNTIME_F_NO_OVERFLOW_REPORT; /* whose signal stack has a guard, too */
    ouro_test_calls_watch();
    ck_assert_int_eq(ouro_runtime_new(&config, &runtime), 0);
    ouro_runtime_free(runtime);
    runtime = NULL;
    config.feature_mask = question->feature_mask;
    config.dial = question->dial;
    ouro_test_calls_observe(observe);
    ck_assert_int_eq(ouro_runtime_new(&config, &runtime), 0);
    ck_assert_int_eq(ouro_runtime_block_on(runtime, sleeps, runtime, &result), 0);
    ouro_test_calls_observe(NULL);
    ck_assert_int_eq(result, 0);
    struct ouro_handle *handle = ouro_runtime_handle(runtime);
    if (handle->worker[0].io.handle.driver->accepts_many)
        atomic_fetch_or(&asked, ASKED_ACCEPT_MULTISHOT);
    if (!handle->worker[0].io.handle.zero_copy.is_refused)
        atomic_fetch_or(&asked, ASKED_ZERO_COPY);
    ouro_handle_unref(handle);
    ouro_runtime_free(runtime);
    question->answer = atomic_load(&asked);
    return 0;
}

static unsigned asked_with_mask(uint64_t feature_mask, enum ouro_dial dial)
{
    struct question *question =
        mmap(NULL, sizeof(*question), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(question, MAP_FAILED);
    question->feature_mask = feature_mask;
    question->dial = dial;
    ouro_test_child_must_pass(ask, question);
    unsigned answer = question->answer;
    ck_assert_int_eq(munmap(question, sizeof(*question)), 0);
    return answer;
}

/* Everything that is used here and not required is one of @features. */
static uint64_t optional_features_used(void)
{
    struct ouro_probe *probe = NULL;
    struct ouro_probe_item item;
    uint64_t used = 0;
    uint64_t known = 0;
    ck_assert_int_eq(ouro_probe_new(&probe), 0);
    for (unsigned i = 0; i < FEATURES; i++)
        known |= OURO__FEATURE_BIT(features[i].feature);
    for (uint32_t i = 0; ouro_probe_feature(probe, i, &item) == 0; i++) {
        if (!item.used || item.required)
            continue;
        ck_assert_msg((known & OURO__FEATURE_BIT(i)) != 0, "what does masking %s change?",
                      item.name);
        used |= OURO__FEATURE_BIT(i);
    }
    ouro_probe_free(probe);
    return used;
}

OURO_TEST(a_masked_feature_is_not_asked_for)
{
    if (OURO__ASAN || OURO__TSAN)
        ouro_test_skip("the sanitizer's own system calls cannot be told from ours");
    uint64_t used = optional_features_used();
    for (unsigned i = 0; i < FEATURES; i++) {
        uint64_t bit = OURO__FEATURE_BIT(features[i].feature);
        const char *name = ouro__feature_table[features[i].feature].name;
        if ((used & bit) == 0)
            continue;
        unsigned unmasked = asked_with_mask(0, features[i].dial);
        unsigned masked = asked_with_mask(bit, features[i].dial);
        bool applies = ouro_test_driver() == OURO_DRIVER_URING || features[i].of_both_drivers;
        ck_assert_msg((masked & features[i].with) == 0, "%s: masked, and asked for", name);
        ck_assert_msg(!applies || (unmasked & features[i].with) == features[i].with,
                      "%s: never asked for", name);
        ck_assert_msg(!applies || (masked & features[i].without) == features[i].without,
                      "%s: nothing in its place", name);
        /* The others' questions are the same. */
        unsigned own = features[i].with | features[i].without;
        ck_assert_uint_eq(masked & ~own, unmasked & ~own);
    }
}

/* The quirks that the driver of a runtime with @mask is told to work around. */
static uint64_t quirks_with_mask(uint64_t mask)
{
    struct ouro_runtime_config config = ouro_test_config(OURO_FLAVOUR_CURRENT_THREAD);
    config.quirk_mask = mask;
    struct ouro_runtime *runtime = ouro_test_runtime_with(&config);
    struct ouro_handle *handle = ouro_runtime_handle(runtime);
    uint64_t quirks = handle->config.quirk_mask;
    ouro_handle_unref(handle);
    ouro_runtime_free(runtime);
    return quirks;
}

/* On a kernel where every self-test is green. */
static int believe_on_a_healthy_kernel(void *arg)
{
    (void)arg;
    ouro__fault_arm(OURO__FAULT_QUIRK_TEST, 1, UINT64_MAX, -ENOENT);
    ck_assert_uint_eq(quirks_with_mask(0), 0);
    ck_assert_uint_eq(ouro__fault_fired(OURO__FAULT_QUIRK_TEST),
                      (unsigned)__builtin_popcountll(ouro__uring_quirk_paths()));
    for (int i = 0; i < OURO__QUIRK_COUNT; i++)
        ck_assert_uint_eq(quirks_with_mask(OURO__QUIRK_BIT(i)),
                          OURO__QUIRK_BIT(i) & ouro__uring_quirk_paths());
    return 0;
}

/* Nothing could be tested: each path is taken, and the next start tests again. */
static int believe_without_a_test(void *arg)
{
    (void)arg;
    ouro__fault_arm(OURO__FAULT_QUIRK_TEST, 1, UINT64_MAX, -EMFILE);
    ck_assert_uint_eq(quirks_with_mask(0), ouro__uring_quirk_paths());
    ouro__fault_arm(OURO__FAULT_QUIRK_TEST, 1, UINT64_MAX, -ENOENT);
    ck_assert_uint_eq(quirks_with_mask(0), 0);
    return 0;
}

OURO_TEST_URING(a_quirk_bit_reaches_the_driver_that_has_a_path)
{
    ouro_test_child_must_pass(believe_on_a_healthy_kernel, NULL);
    if (ouro__uring_quirk_paths() != 0)
        ouro_test_child_must_pass(believe_without_a_test, NULL);
}
