/* SPDX-License-Identifier: MIT */
/*
 * What a program says that an invariant of ours is broken in, and that it ends there.
 *
 * Owns:    nothing.
 * Threads: one, and a child's.
 */
#include "support/ouro_test.h"

#include <signal.h>
#include <string.h>

#include "base/assert.h"
#include "support/child.h"

static int breaks_an_invariant(void *arg)
{
    int value = *(int *)arg;
    OURO__ASSERT(value == 5);
    OURO__ASSERT(value == 6);
    return 0;
}

static int panics(void *arg)
{
    (void)arg;
    OURO__PANIC("the moon has gone", -7);
}

static void check_last_words(int (*body)(void *arg), const char *words)
{
    static struct ouro_test_child child;
    int value = 5;
    ouro_test_child_run(body, &value, &child);
    ck_assert_int_eq(child.signal_number, SIGABRT);
    ck_assert_msg(strstr(child.output, words) != NULL, "it said: %s", child.output);
}

OURO_TEST_UNIT(a_broken_invariant_says_which_and_where)
{
    check_last_words(breaks_an_invariant,
                     "ouro: broken invariant: value == 6 in breaks_an_invariant at ");
}

OURO_TEST_UNIT(what_cannot_go_on_says_why)
{
    check_last_words(panics, "ouro: cannot go on: the moon has gone (-7) at ");
}
