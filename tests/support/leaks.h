/* SPDX-License-Identifier: MIT */
/*
 * What a process holds (descriptors, threads, memory), counted before a case and compared after it.
 */
#ifndef OURO_TEST_LEAKS_H
#define OURO_TEST_LEAKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { OURO_TEST_FDS_NAMED = 1024 };

struct ouro_test_holdings {
    unsigned fds;
    unsigned threads;
    int64_t blocks;          /* of ouro's heap */
    unsigned watched_pools;  /* pools of stacks on the fault handler's list */
    unsigned ring_mappings;  /* of io_uring descriptors */
    int64_t anonymous_bytes; /* private mappings outside heap and main stack */
    bool fd_open[OURO_TEST_FDS_NAMED];
};

/* Counts what this process holds now. */
void ouro_test_holdings_take(struct ouro_test_holdings *out);

/*
 * How many of the first 256 descriptors are open, counted without opening one: for use while other
 * threads open theirs.
 */
unsigned ouro_test_open_descriptors(void);

/*
 * Waits until the process holds no more than @before, or 5 s (times ouro_test_slowness()) have
 * passed: the kernel releases rings and threads asynchronously.  Fails the case naming what is
 * left, unless @may_leak.
 */
void ouro_test_holdings_check(const struct ouro_test_holdings *before, bool may_leak);

#endif
