/* SPDX-License-Identifier: MIT */
/*
 * Assertions with a fixed outcome, one for each verdict: the tests check with them that the runner
 * gives it.
 *
 * They are hidden: only `--only 'selftest.*'` chooses them, so no report about a kernel contains
 * them.
 */
#define _GNU_SOURCE
#include "fixture/kt.h"

#include <signal.h>
#include <stdlib.h>

static void passes(struct kt *t)
{
    kt_note(t, "a note with <angles> & \"quotes\" and a # in it");
    kt_metric(t, "ratio", 1.0);
    KT_EXPECT_EQ(t, 1, 1, "one");
}

static void fails(struct kt *t)
{
    KT_EXPECT_RES(t, -ECONNREFUSED, 0, "a <result> & \"quotes\" # and a hash");
}

static void slow(struct kt *t)
{
    KT_EXPECT_SLOW_LE(t, 3, 2, "worker threads");
}

static void errs(struct kt *t)
{
    KT_SYS(t, close(-1));
}

static void looks_at_nothing(struct kt *t)
{
    (void)t;
}

static void absent(struct kt *t)
{
    KT_ABSENT(t, "it answers -EINVAL");
}

static void hangs(struct kt *t)
{
    kt_step(t, "waiting for what never comes");
    for (;;)
        (void)pause();
}

/* With a child of its own in the group: that must go too. */
static void hangs_with_child(struct kt *t)
{
    kt_step(t, "waiting for its child");
    (void)KT_SYS(t, fork());
    for (;;)
        (void)pause();
}

static void crashes(struct kt *t)
{
    kt_step(t, "about to crash");
    (void)raise(SIGSEGV);
}

static void ends(struct kt *t)
{
    kt_step(t, "about to end");
    _exit(3);
}

#define SELFTEST(id_, run_, since_)                                                                \
    {                                                                                              \
        .id = "selftest." id_, .sentence = "Nothing about the kernel.", .source = "none",          \
        .since = since_, .absence = "Not applicable.", .impact = "None.", .avoid = "Nothing.",     \
        .rings = KT_ON_PLAIN, .flags = KT_F_HIDDEN, .run = run_                                    \
    }

static const struct kt_assertion assertions[] = {
    SELFTEST("passes", passes, "5.1"),
    SELFTEST("fails", fails, "5.1"),
    SELFTEST("slow", slow, "5.1"),
    SELFTEST("errs", errs, "5.1"),
    SELFTEST("looks-at-nothing", looks_at_nothing, "5.1"),
    SELFTEST("missing", absent, "5.1"),
    SELFTEST("skips", absent, "999.0"),
    SELFTEST("hangs", hangs, "5.1"),
    SELFTEST("hangs-with-child", hangs_with_child, "5.1"),
    SELFTEST("crashes", crashes, "5.1"),
    SELFTEST("ends", ends, "5.1"),
};

const struct kt_area kt_area_selftest = KT_AREA("self-test", assertions);
