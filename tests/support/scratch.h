/* SPDX-License-Identifier: MIT */
/*
 * A directory of the test's own, for socket paths and files.
 */
#ifndef OURO_TEST_SCRATCH_H
#define OURO_TEST_SCRATCH_H

/* Short enough that a socket's name below it fits sun_path. */
struct ouro_test_scratch {
    char directory[64];
    char path[96];
};

/* Makes an empty directory under $TMPDIR or /tmp. */
void ouro_test_scratch_open(struct ouro_test_scratch *out);

/* The path of @name in it, valid until the next call. */
const char *ouro_test_scratch_path(struct ouro_test_scratch *scratch, const char *name);

/* Removes the directory and the files in it. */
void ouro_test_scratch_close(struct ouro_test_scratch *scratch);

#endif
