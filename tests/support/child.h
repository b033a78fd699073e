/* SPDX-License-Identifier: MIT */
/*
 * Runs a function in a forked child and tells how it ended: for what changes or ends a process.
 */
#ifndef OURO_TEST_CHILD_H
#define OURO_TEST_CHILD_H

enum { OURO_TEST_PATH_SIZE = 4096 };

/* The path of this program, to exec it: /proc/self/exe would be Valgrind under Valgrind.  @path, or
 * NULL with errno. */
const char *ouro_test_own_path(char path[OURO_TEST_PATH_SIZE]);

struct ouro_test_child {
    int exit_status;   /* -1 when a signal ended it */
    int signal_number; /* 0 when it exited */
    char output[8192]; /* what it wrote to stdout and stderr, terminated, cut to the size */
};

/*
 * The child runs @body(@arg) and exits with what it returns.  Its failed assertions exit with 1 and
 * its skip with 77, both with their text in @out's output.  It is killed after 30 s,
 * or as many times more as ouro_test_slowness() says.
 */
void ouro_test_child_run(int (*body)(void *arg), void *arg, struct ouro_test_child *out);

/* As above, and fails (or skips) the calling case when the child did not exit with 0. */
void ouro_test_child_must_pass(int (*body)(void *arg), void *arg);

#endif
