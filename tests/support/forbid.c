/* SPDX-License-Identifier: MIT */
/*
 * Refusals by seccomp.
 *
 * Owns:    nothing; a filter cannot be taken back.
 * Threads: loads on all threads of the process.
 * Always:  skips the case where the kernel has no seccomp filters.
 */
#include "support/forbid.h"

#include <seccomp.h>
#include <string.h>
#include <sys/syscall.h>

#include "support/ouro_test.h"

static scmp_filter_ctx begin(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    ck_assert_ptr_nonnull(filter);
    /* Emulators of user programs have no such system call. */
    if (seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1) != 0)
        ouro_test_skip("seccomp filters have no effect here");
    return filter;
}

static void load(scmp_filter_ctx filter)
{
    int rc = seccomp_load(filter);
    seccomp_release(filter);
    if (rc < 0)
        ouro_test_skip("seccomp filters cannot be loaded here: %s", strerror(-rc));
}

static void forbid(unsigned calls, uint32_t action)
{
    static const struct {
        unsigned bit;
        int number;
    } known[] = {
        {OURO_TEST_URING_SETUP, SYS_io_uring_setup},
        {OURO_TEST_URING_ENTER, SYS_io_uring_enter},
        {OURO_TEST_URING_REGISTER, SYS_io_uring_register},
    };
    scmp_filter_ctx filter = begin();
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if ((calls & known[i].bit) != 0)
            ck_assert_int_eq(seccomp_rule_add(filter, action, known[i].number, 0), 0);
    }
    load(filter);
}

void ouro_test_forbid_uring(unsigned calls, int error)
{
    forbid(calls, SCMP_ACT_ERRNO((uint32_t)error));
}

void ouro_test_kill_on_uring(unsigned calls)
{
    forbid(calls, SCMP_ACT_KILL_PROCESS);
}

void ouro_test_forbid_call(int system_call, int error)
{
    scmp_filter_ctx filter = begin();
    ck_assert_int_eq(seccomp_rule_add(filter, SCMP_ACT_ERRNO((uint32_t)error), system_call, 0), 0);
    load(filter);
}
