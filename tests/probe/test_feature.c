/* SPDX-License-Identifier: MIT */
/*
 * Detection: only what is wanted is looked at, a shortage is never taken for a missing feature, and
 * the two lines that explain a refusal name its cause and its remedy.
 *
 * Owns:    nothing.
 * Threads: one; limits are set in a process of its own.
 * Always:  what this kernel has is taken from one whole look, whatever the kernel is.
 */
#include "base/compiler.h"
#include "probe/feature.h"
#include "probe/quirk.h"
#include "probe/uses.h"
#include "support/calls.h"
#include "support/child.h"
#include "support/forbid.h"
#include "support/leaks.h"
#include "support/ouro_test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct ouro__feature_report whole_look(void)
{
    struct ouro__feature_report report;
    ck_assert_int_eq(ouro__feature_detect(OURO__FEATURE_ALL, &report), 0);
    ck_assert_int_eq(report.stage, OURO__FEATURE_STAGE_DONE);
    ck_assert_uint_eq(report.unanswered, 0);
    ck_assert(ouro__feature_answer_lasts(&report));
    return report;
}

OURO_TEST_URING(each_feature_is_found_alone)
{
    struct ouro__feature_report all = whole_look();
    for (int i = 0; i < OURO__FEATURE_COUNT; i++) {
        struct ouro__feature_report one;
        ck_assert_int_eq(ouro__feature_detect(OURO__FEATURE_BIT(i), &one), 0);
        ck_assert_msg((one.present & OURO__FEATURE_BIT(i)) == (all.present & OURO__FEATURE_BIT(i)),
                      "%s", ouro__feature_table[i].name);
    }
}

/* What a runtime does not use is not performed: none of these is a by-product of set-up. */
OURO_TEST_URING(a_start_looks_only_at_what_it_uses)
{
    static const enum ouro__feature unused[] = {
        OURO__FEATURE_ACCEPT_MULTISHOT, OURO__FEATURE_RECV_MULTISHOT, OURO__FEATURE_PBUF_RING,
        OURO__FEATURE_MSG_RING,         OURO__FEATURE_LINK_TIMEOUT,   OURO__FEATURE_SYNC_CANCEL,
        OURO__FEATURE_POLL_MULTISHOT,   OURO__FEATURE_FUTEX,          OURO__FEATURE_SEND_ZC,
        OURO__FEATURE_SOCKET,           OURO__FEATURE_RESIZE,         OURO__FEATURE_COOP_TASKRUN,
    };
    struct ouro__feature_report all = whole_look();
    struct ouro__feature_report start;
    ck_assert_int_eq(ouro__feature_detect(ouro__uring_uses(), &start), 0);
    ck_assert_uint_eq(start.present & ouro__uring_uses(), all.present & ouro__uring_uses());
    ck_assert(ouro__uring_runs_on(&start));
    for (size_t i = 0; i < sizeof(unused) / sizeof(unused[0]); i++)
        ck_assert_msg((start.present & OURO__FEATURE_BIT(unused[i])) == 0, "%s",
                      ouro__feature_table[unused[i]].name);
}

/* From now on @count more descriptors can be had. */
static void leave_descriptors(rlim_t count)
{
    int next = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    ck_assert_int_ge(next, 0);
    (void)close(next);
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = (rlim_t)next + count;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

struct shortage {
    rlim_t descriptors;
    uint64_t wanted;
    uint64_t present; /* without a shortage */
};

/* Each feature that is there is found, or said to be unanswered; the tier is never incomplete. */
static int look_in_need(void *arg)
{
    const struct shortage *shortage = arg;
    struct ouro__feature_report report;
    leave_descriptors(shortage->descriptors);
    int rc = ouro__feature_detect(shortage->wanted, &report);
    ck_assert_int_eq(rc, report.error);
    ck_assert_msg(rc == 0 || rc == -EMFILE, "%d", rc);
    if (rc < 0) {
        char why[256];
        char change[256];
        ck_assert(!ouro__feature_answer_lasts(&report));
        ouro__feature_read_system(&report);
        ouro__feature_explain(&report, why, sizeof(why), change, sizeof(change));
        ck_assert_msg(strstr(why, "no descriptor left") != NULL, "%s", why);
        ck_assert_msg(strstr(change, "RLIMIT_NOFILE") != NULL, "%s", change);
        return 0;
    }
    uint64_t lost = shortage->present & shortage->wanted & ~report.present & ~report.unanswered;
    ck_assert_msg(lost == 0, "with %u descriptors: %#llx", (unsigned)shortage->descriptors,
                  (unsigned long long)lost);
    ck_assert(report.unanswered == 0 ? report.obstacle == 0 : report.obstacle == -EMFILE);
    ck_assert(ouro__feature_answer_lasts(&report) == (report.unanswered == 0));
    return 0;
}

OURO_TEST_URING(a_shortage_of_descriptors_is_not_a_missing_feature)
{
    uint64_t present = whole_look().present;
    const uint64_t wanted[] = {ouro__uring_uses(), OURO__FEATURE_ALL};
    for (unsigned i = 0; i < 2; i++) {
        for (rlim_t descriptors = 0; descriptors < 8; descriptors++) {
            struct shortage shortage = {
                .descriptors = descriptors, .wanted = wanted[i], .present = present};
            ouro_test_child_must_pass(look_in_need, &shortage);
        }
    }
}

/* The same for memory: the fixtures' system calls fail one at a time. */
static int look_without_call(void *arg)
{
    struct ouro__feature_report before = whole_look();
    struct ouro__feature_report report;
    ouro_test_forbid_call(*(const int *)arg, ENOMEM);
    int rc = ouro__feature_detect(OURO__FEATURE_ALL, &report);
    /* 0: what could not be looked at is optional. */
    ck_assert(rc == -ENOMEM || (rc == 0 && report.obstacle == -ENOMEM));
    ck_assert(!ouro__feature_answer_lasts(&report));
    uint64_t unanswered = before.present & ~report.present & ~report.unanswered;
    ck_assert(report.stage < OURO__FEATURE_STAGE_TEST || unanswered == 0);
    return 0;
}

OURO_TEST_URING(a_shortage_of_memory_is_not_a_missing_feature)
{
    int calls[] = {SYS_socketpair, SYS_socket, SYS_io_uring_register};
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
        ouro_test_child_must_pass(look_without_call, &calls[i]);
}

struct whole {
    struct ouro__feature_report report;
    int error;
};

/*
 * Each system call of a whole look and of the self-tests fails in turn.  Nothing is then taken for
 * absent, or for a quirk, that is not so without the failure; and nothing is left behind.  An
 * emulated machine tries every fifteenth of them.
 */
static int look_with_each_failure(void *arg)
{
    const struct whole *whole = arg;
    struct ouro_test_holdings before;
    int failed = 0;
    unsigned wrong = 0;
    unsigned tries = 0;
    const unsigned step = ouro_test_slowness() > 1 ? 15 : 1;
    ouro_test_calls_watch();
    unsigned descriptors = ouro_test_open_descriptors();
    ouro_test_holdings_take(&before);
    for (unsigned nth = 1; failed >= 0; nth += step) {
        struct ouro__feature_report report;
        ouro_test_calls_fail(nth, whole->error, &failed);
        int rc = ouro__feature_detect(OURO__FEATURE_ALL, &report);
        if (rc == 0)
            (void)ouro__quirk_selftest(&report, OURO__QUIRK_ALL & ~whole->report.quirks);
        (void)ouro_test_calls_end();
        const char *name = ouro_test_calls_name(failed);
        ck_assert_msg(rc == 0 || rc == -whole->error || rc == report.obstacle, "%u %s: %d", nth,
                      name, rc);
        ck_assert_msg((report.present & ~whole->report.present) == 0, "%u %s: found too much", nth,
                      name);
        ck_assert_msg(ouro_test_open_descriptors() == descriptors, "%u %s: left one open", nth,
                      name);
        if (report.stage < OURO__FEATURE_STAGE_TEST)
            continue; /* refused as a whole */
        uint64_t lost = whole->report.present & ~report.present & ~report.unanswered;
        uint64_t invented = report.quirks & ~whole->report.quirks;
        /* Where everything is slow a self-test may have waited too short a time: is it so again? */
        bool is_fine = lost == 0 && invented == 0;
        tries = is_fine || ouro_test_slowness() == 1 ? 0 : (tries + 1) % 3;
        if (tries > 0)
            nth -= step;
        if (is_fine || tries > 0)
            continue;
        (void)fprintf(stderr, "call %u, %s: features %#llx lost, quirks %#llx invented\n", nth,
                      name, (unsigned long long)lost, (unsigned long long)invented);
        wrong++;
    }
    ck_assert_uint_eq(wrong, 0);
    ouro_test_holdings_check(&before, false);
    return 0;
}

static void look_with_each_failure_of(int error)
{
    if (OURO__ASAN || OURO__TSAN)
        ouro_test_skip("the sanitizer's own system calls may not fail");
    struct whole whole = {.report = whole_look(), .error = error};
    (void)ouro__quirk_selftest(&whole.report, OURO__QUIRK_ALL);
    ouro_test_child_must_pass(look_with_each_failure, &whole);
}

OURO_TEST_URING(a_refused_call_says_nothing_about_the_kernel)
{
    look_with_each_failure_of(EPERM);
}

OURO_TEST_URING(a_call_without_memory_says_nothing_about_the_kernel)
{
    look_with_each_failure_of(ENOMEM);
}

OURO_TEST_URING(quirks_that_cannot_be_tested_stay_untested)
{
    struct ouro__feature_report report = whole_look();
    ck_assert_uint_eq(report.quirks_untested, OURO__QUIRK_ALL);
    ck_assert_int_eq(ouro__quirk_selftest(&report, OURO__QUIRK_ALL), 0);
    for (int i = 0; i < OURO__QUIRK_COUNT; i++) {
        bool untested = (report.quirks_untested & OURO__QUIRK_BIT(i)) != 0;
        ck_assert_msg(ouro__quirk_table[i].tested || untested, "%s", ouro__quirk_table[i].name);
        ck_assert(!untested || !ouro__quirk_set(&report, (enum ouro__quirk)i));
    }
    ck_assert_uint_eq(ouro__uring_quirk_paths() & ~OURO__QUIRK_ALL, 0);
}

OURO_TEST_UNIT(the_table_names_everything_once)
{
    for (int i = 0; i < OURO__FEATURE_COUNT; i++) {
        const struct ouro__feature_info *info = &ouro__feature_table[i];
        ck_assert(info->name != NULL && info->since != NULL && info->what != NULL &&
                  info->how != NULL);
        for (int j = 0; j < i; j++)
            ck_assert_str_ne(info->name, ouro__feature_table[j].name);
    }
    for (int i = 0; i < OURO__QUIRK_COUNT; i++) {
        const struct ouro__quirk_info *info = &ouro__quirk_table[i];
        ck_assert(info->name != NULL && info->wrong != NULL && info->instead != NULL);
        for (int j = 0; j < i; j++)
            ck_assert_str_ne(info->name, ouro__quirk_table[j].name);
    }
}

/* Refusals, and what must stand in the two lines about them. */
static const struct {
    int error;
    enum ouro__feature_stage stage;
    int sysctl;
    int seccomp;
    uint64_t memlock;
    const char *why;
    const char *change;
} refusals[] = {
    {-EPERM, OURO__FEATURE_STAGE_SETUP, 1, 0, UINT64_MAX,
     "io_uring_setup() was refused with EPERM: kernel.io_uring_disabled is 1 (privileged",
     "sysctl kernel.io_uring_disabled=0, or put this user in the group of"},
    {-EPERM, OURO__FEATURE_STAGE_SETUP, 2, 2, UINT64_MAX,
     "io_uring_setup() was refused with EPERM: kernel.io_uring_disabled is 2 (for everybody)",
     "as root: sysctl kernel.io_uring_disabled=0"},
    {-EPERM, OURO__FEATURE_STAGE_SETUP, 0, 2, UINT64_MAX,
     "io_uring_setup() was refused with EPERM, and this process runs under a seccomp filter",
     "seccomp profile"},
    {-EPERM, OURO__FEATURE_STAGE_SETUP, -1, 0, UINT64_MAX, "was refused with EPERM",
     "ask the security module"},
    {-EACCES, OURO__FEATURE_STAGE_REGISTER, 1, 2, UINT64_MAX,
     "io_uring_register() was refused with EACCES, and this process", "io_uring_register in"},
    {-ENOSYS, OURO__FEATURE_STAGE_ENTER, -1, 2, UINT64_MAX,
     "io_uring_enter() was refused with ENOSYS, and this process", "io_uring_enter and"},
    {-ENOSYS, OURO__FEATURE_STAGE_SETUP, -1, 0, UINT64_MAX, "ENOSYS: this kernel has no io_uring",
     "CONFIG_IO_URING"},
    {-EOPNOTSUPP, OURO__FEATURE_STAGE_SOCKET, -1, 0, UINT64_MAX,
     "an operation on a socket was refused with E", "security module"},
    {-ENOMEM, OURO__FEATURE_STAGE_SETUP, 0, 0, 65536,
     "io_uring_setup() was refused with ENOMEM: no memory, of which 64 KiB may be locked",
     "raise RLIMIT_MEMLOCK"},
    {-ENOMEM, OURO__FEATURE_STAGE_SETUP, 0, 0, UINT64_MAX, "refused with ENOMEM: no memory",
     "raise the memory limit of the control group"},
    {-EMFILE, OURO__FEATURE_STAGE_TEST, 0, 2, UINT64_MAX,
     "a test of io_uring ended with EMFILE: no descriptor left", "raise RLIMIT_NOFILE"},
    {-ENFILE, OURO__FEATURE_STAGE_SETUP, 0, 0, UINT64_MAX, "ENFILE: no descriptor left",
     "fs.file-max"},
    {-ETIME, OURO__FEATURE_STAGE_ENTER, 0, 0, UINT64_MAX, "refused with ETIME", "less busy"},
    {-EPERM, OURO__FEATURE_STAGE_TEST, 0, 2, UINT64_MAX,
     "a test of io_uring ended with EPERM, and this process runs under a seccomp filter",
     "seccomp profile"},
    {-4000, OURO__FEATURE_STAGE_DONE, 0, 0, UINT64_MAX,
     "a test of io_uring was refused with error 4000", "try again"},
};

OURO_TEST_UNIT(a_refusal_names_its_cause_and_its_remedy)
{
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        struct ouro__feature_report report = {
            .error = refusals[i].error,
            .stage = refusals[i].stage,
            .sysctl_io_uring_disabled = refusals[i].sysctl,
            .seccomp_mode = refusals[i].seccomp,
            .memlock_limit_bytes = refusals[i].memlock,
        };
        char why[256];
        char change[256];
        ouro__feature_explain(&report, why, sizeof(why), change, sizeof(change));
        ck_assert_msg(strstr(why, refusals[i].why) != NULL, "%zu: %s", i, why);
        ck_assert_msg(strstr(change, refusals[i].change) != NULL, "%zu: %s", i, change);
    }
}

OURO_TEST_UNIT(an_old_kernel_is_told_what_it_lacks)
{
    struct ouro__feature_report report = {
        .error = -ENOTSUP,
        .stage = OURO__FEATURE_STAGE_TIER,
        .present =
            ouro__feature_required_bits() & ~(OURO__FEATURE_BIT(OURO__FEATURE_DEFER_TASKRUN) |
                                              OURO__FEATURE_BIT(OURO__FEATURE_RECV_MULTISHOT)),
        .kernel_release = "5.19.17",
    };
    char why[256];
    char change[256];
    ouro__feature_explain(&report, why, sizeof(why), change, sizeof(change));
    ck_assert_str_eq(why, "this kernel (5.19.17) lacks defer-taskrun, recv-multishot");
    ck_assert_str_eq(change, "run Linux 6.1 or later");
    ck_assert(!ouro__uring_runs_on(&report));
    ck_assert(ouro__feature_answer_lasts(&report));
    /* The runtime does not use this part of the tier yet, so it does not stop it. */
    report.present = ouro__feature_required_bits() & ~OURO__FEATURE_BIT(OURO__FEATURE_MSG_RING);
    ck_assert(ouro__uring_runs_on(&report));
}

OURO_TEST_UNIT(the_lines_end_where_their_buffers_end)
{
    struct ouro__feature_report report = {
        .error = -ENOSYS, .stage = OURO__FEATURE_STAGE_SETUP, .memlock_limit_bytes = UINT64_MAX};
    char why[16];
    char change[16];
    for (size_t size = 0; size < sizeof(why); size++) {
        memset(why, 'x', sizeof(why));
        memset(change, 'x', sizeof(change));
        ouro__feature_explain(&report, why, size, change, size);
        if (size > 0) {
            ck_assert_uint_eq(strlen(why), size - 1);
            ck_assert_uint_eq(strlen(change), size - 1);
        }
        ck_assert_int_eq(why[size], 'x');
        ck_assert_int_eq(change[size], 'x');
    }
    report.error = 0;
    ouro__feature_explain(&report, why, sizeof(why), change, sizeof(change));
    ck_assert_str_eq(why, "");
    ck_assert_str_eq(change, "");
}

OURO_TEST_UNIT(the_system_says_what_it_is)
{
    struct ouro__feature_report report = {.seccomp_mode = 99, .sysctl_io_uring_disabled = 99};
    ouro__feature_read_system(&report);
    ck_assert_str_ne(report.kernel_release, "");
    ck_assert_str_ne(report.machine, "");
    ck_assert(report.seccomp_mode >= -1 && report.seccomp_mode <= 2);
    ck_assert(report.sysctl_io_uring_disabled >= -1 && report.sysctl_io_uring_disabled <= 2);
    ck_assert_uint_gt(report.memlock_limit_bytes, 0);
}
