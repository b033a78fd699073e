/* SPDX-License-Identifier: MIT */
/*
 * Many contexts that throw at the same time: tasks of one worker and of several, the thread of a
 * current-thread runtime around them, plain threads.
 */
#ifndef OURO_TEST_CXX_EVERYONE_H
#define OURO_TEST_CXX_EVERYONE_H

#include "support/ouro_test.h"
#include "support/runtime.h"

#include <ouro.h>
#include <stdio.h>

#include "cxx/throws.h"

enum { THROWERS = 40, THROWS_EACH = 5 };

struct thrower {
    throws_function *function;
    throws_suspend *suspend;
    char name[24];
};

static inline int yields(void)
{
    return ouro_yield();
}

static inline int sleeps(void)
{
    return ouro_sleep(OURO_MILLISECOND / 5);
}

static inline int throw_some(void *arg)
{
    const struct thrower *thrower = arg;
    for (int i = 0; i < THROWS_EACH; i++) {
        int line = thrower->function(thrower->name, thrower->suspend);
        if (line != 0) {
            (void)fprintf(stderr, "tests/cxx/throws.cpp:%d: '%s'\n", line, thrower->name);
            return line;
        }
    }
    return 0;
}

/* Tasks that do each of @functions; from a task, or a plain thread inside the runtime. */
static inline int throw_all_at_once(void *arg)
{
    throws_function *const *functions = arg;
    static struct thrower thrower[THROWERS];
    struct ouro_task *task[THROWERS];
    int wrong = 0;
    for (int i = 0; i < THROWERS; i++) {
        thrower[i].function = functions[i % 4];
        thrower[i].suspend = i / 4 % 2 == 0 ? yields : sleeps;
        (void)snprintf(thrower[i].name, sizeof(thrower[i].name), "task %d", i);
        ck_assert_int_eq(ouro_task_spawn(throw_some, &thrower[i], &task[i]), 0);
    }
    for (int i = 0; i < THROWERS; i++) {
        int result = 0;
        ck_assert_int_eq(ouro_task_join(task[i], &result), 0);
        wrong |= result;
    }
    return wrong;
}

#endif
