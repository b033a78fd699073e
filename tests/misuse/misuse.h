/* SPDX-License-Identifier: MIT */
/*
 * Misuse: one entry for each public function, which calls it with NULL, with nonsense, and in each
 * wrong way that its header names.
 *
 *     MISUSE(ouro_task_cancel)
 *     {
 *         IS_EINVAL(ouro_task_cancel(NULL));
 *     }
 *
 * An entry runs in a task of either flavour and in a thread that has entered a runtime.  The lint
 * test "misuse" demands an entry for every symbol of src/libouro.map; a function that takes nothing
 * that could be wrong has an empty one.
 */
#ifndef OURO_TEST_MISUSE_H
#define OURO_TEST_MISUSE_H

#include "support/ouro_test.h"
#include "support/runtime.h"

#include <errno.h>
#include <ouro.h>

struct misuse {
    const char *symbol;
    void (*check)(void);
    struct misuse *next;
};

static struct misuse *misuses;

static inline void misuse_add(struct misuse *misuse)
{
    misuse->next = misuses;
    misuses = misuse;
}

#define MISUSE(name)                                                                               \
    static void name##_misuse(void);                                                               \
    static struct misuse name##_entry = {#name, name##_misuse, NULL};                              \
    __attribute__((constructor)) static void name##_add(void)                                      \
    {                                                                                              \
        misuse_add(&name##_entry);                                                                 \
    }                                                                                              \
    static void name##_misuse(void)

#define IS_EINVAL(call) ck_assert_int_eq((call), -EINVAL)

static inline int misuse_each(void *arg)
{
    (void)arg;
    for (const struct misuse *at = misuses; at != NULL; at = at->next)
        at->check();
    return 0;
}

static inline void misuse_everywhere(void)
{
    ck_assert_ptr_nonnull(misuses);
    ouro_test_everywhere(misuse_each, NULL);
}

#endif
