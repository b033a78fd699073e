/* SPDX-License-Identifier: MIT */
/*
 * Texts: names of verdicts and rings, names of results, comparing versions, matching patterns.
 *
 * Owns:    nothing.
 * Threads: any.
 * Always:  pure functions.
 */
#define _GNU_SOURCE
#include "runner.h"

#include <fnmatch.h>
#include <stdlib.h>

const char *kt_verdict_name(enum kt_verdict verdict)
{
    static const char *const names[KT_VERDICTS] = {
        [KT_PASS] = "pass", [KT_FAIL] = "fail",   [KT_SKIP] = "skip", [KT_MISSING] = "missing",
        [KT_SLOW] = "slow", [KT_ERROR] = "error", [KT_HANG] = "hang", [KT_CRASH] = "crash"};
    return names[verdict];
}

const char *kt_ring_name(enum kt_ring_kind kind)
{
    static const char *const names[KT_RING_KINDS] = {
        [KT_RING_PLAIN] = "plain", [KT_RING_DEFER] = "defer", [KT_RING_NONE] = "own"};
    return names[kind];
}

bool kt_verdict_is_bad(enum kt_verdict verdict)
{
    return verdict != KT_PASS && verdict != KT_SKIP;
}

/* Like strverscmp() on the leading numbers: "6.18.44-foo" is 6.18.44, "6.12" is 6.12.0. */
int kt_version_compare(const char *release, const char *version)
{
    for (int part = 0; part < 3; part++) {
        char *end = NULL;
        const long a = strtol(release, &end, 10);
        release = *end == '.' ? end + 1 : "0";
        const long b = strtol(version, &end, 10);
        version = *end == '.' ? end + 1 : "0";
        if (a != b)
            return a < b ? -1 : 1;
    }
    return 0;
}

bool kt_glob(const struct kt_options *options, const struct kt_assertion *assertion)
{
    const bool hidden = (assertion->flags & KT_F_HIDDEN) != 0;
    if (options->only_count == 0)
        return !hidden;
    for (int i = 0; i < options->only_count; i++) {
        if (hidden && strncmp(options->only[i], "selftest.", 9) != 0)
            continue;
        if (fnmatch(options->only[i], assertion->id, 0) == 0 ||
            (assertion->alias != NULL && fnmatch(options->only[i], assertion->alias, 0) == 0))
            return true;
    }
    return false;
}

void kt_result_name(int64_t value, char *out, size_t size)
{
    const char *name = NULL;
    if (value < 0 && value > -4096)
        name = strerrorname_np((int)-value);
    if (name != NULL)
        snprintf(out, size, "-%s", name);
    else
        snprintf(out, size, "%lld", (long long)value);
}
