/* SPDX-License-Identifier: MIT */
/*
 * Whether this kernel grants this process an io_uring of the 6.1 tier, asked by one system call.
 */
#ifndef OURO_TEST_URING_PROBE_H
#define OURO_TEST_URING_PROBE_H

/*
 * 0, or -errno of io_uring_setup().  Deliberately not the library's own detection: that the library
 * refuses a ring which the kernel grants must be a failure, not a skipped test.
 */
int ouro_test_uring_probe(void);

#endif
