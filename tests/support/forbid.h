/* SPDX-License-Identifier: MIT */
/*
 * Seccomp filters that take io_uring away, as containers and sandboxes do.  They stay for the rest
 * of the process and its children, so use them in a child (support/child.h) or in a case of their
 * own.
 */
#ifndef OURO_TEST_FORBID_H
#define OURO_TEST_FORBID_H

enum ouro_test_uring_call {
    OURO_TEST_URING_SETUP = 1 << 0,
    OURO_TEST_URING_ENTER = 1 << 1,
    OURO_TEST_URING_REGISTER = 1 << 2,
    OURO_TEST_URING_ALL = 7,
};

/* From now on these calls (enum ouro_test_uring_call) return -1 with errno @error. */
void ouro_test_forbid_uring(unsigned calls, int error);

/* From now on these calls kill the process with SIGSYS. */
void ouro_test_kill_on_uring(unsigned calls);

/* From now on the named system call (SYS_...) fails with @error. */
void ouro_test_forbid_call(int system_call, int error);

#endif
