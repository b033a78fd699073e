/* SPDX-License-Identifier: MIT */
/*
 * Temporary directories: made by mkdtemp, one level deep.
 *
 * Owns:    the directory, from open to close.
 * Threads: any, one at a time.
 * Always:  close removes what open and its user made.
 */
#include "support/scratch.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/ouro_test.h"

void ouro_test_scratch_open(struct ouro_test_scratch *out)
{
    const char *base = getenv("TMPDIR");
    if (base == NULL || strlen(base) > sizeof(out->directory) - sizeof("/ouro-XXXXXX"))
        base = "/tmp";
    (void)snprintf(out->directory, sizeof(out->directory), "%s/ouro-XXXXXX", base);
    ck_assert_msg(mkdtemp(out->directory) != NULL, "%s: %m", out->directory);
}

const char *ouro_test_scratch_path(struct ouro_test_scratch *scratch, const char *name)
{
    int n = snprintf(scratch->path, sizeof(scratch->path), "%s/%s", scratch->directory, name);
    ck_assert_msg(n > 0 && (size_t)n < sizeof(scratch->path), "too long: %s", name);
    return scratch->path;
}

void ouro_test_scratch_close(struct ouro_test_scratch *scratch)
{
    DIR *dir = opendir(scratch->directory);
    ck_assert_msg(dir != NULL, "%s: %m", scratch->directory);
    const struct dirent *entry = NULL;
    while ((entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
    }
    (void)closedir(dir);
    ck_assert_msg(rmdir(scratch->directory) == 0, "%s: %m", scratch->directory);
}
