/* SPDX-License-Identifier: MIT */
/*
 * Shield: a scope in which the interruptions from outside are held off.
 *
 * They are recorded as always (task/worker.c) and take effect when the shield ends.  The deadlines
 * of outer scopes are put aside by the scope itself; a deadline that is begun inside the shield is
 * the only one there.
 *
 * Owns:    nothing; the scope is its caller's.
 * Threads: the context's own.
 * Always:  after the end the context is interrupted exactly as if there had been no shield.
 * Tests:   tests/task/test_shield.c
 */
#include <ouro/group.h>

#include "task/scope.h"

#include <errno.h>

_Static_assert(sizeof(struct ouro__scope) <= sizeof(struct ouro_shield),
               "a scope must fit the caller's storage");

static struct ouro__scope *scope_in(struct ouro_shield *storage)
{
    return (struct ouro__scope *)(void *)storage;
}

int ouro_shield_begin(struct ouro_shield *shield)
{
    if (shield == NULL)
        return -EINVAL;
    struct ouro__scope *scope = scope_in(shield);
    scope->context = NULL;
    struct ouro__context *context = NULL;
    int rc = ouro__context_enter(&context);
    if (rc < 0)
        return rc;
    ouro__scope_begin(context, scope);
    if (context->deadline_ns != OURO__NEVER)
        ouro__scope_set_deadline(context, OURO__NEVER, 0);
    context->interrupts |= OURO__SHIELDED;
    return 0;
}

void ouro_shield_end(struct ouro_shield *shield)
{
    struct ouro__scope *scope = scope_in(shield);
    if (scope != NULL && scope->context != NULL && scope->context == ouro__context_current())
        ouro__scope_end(scope);
}
