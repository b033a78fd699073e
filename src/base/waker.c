/* SPDX-License-Identifier: MIT */
/*
 * Waker: the public calls on a waker, each through its vtable.
 *
 * Owns:    what its vtable says; this file only calls it.
 * Threads: any.
 * Always:  an empty waker (no vtable), and NULL, may be cloned, woken and dropped, and do nothing.
 * Tests:   tests/task/test_poll_fn.c
 */
#include <ouro/waker.h>

struct ouro_waker ouro_waker_clone(const struct ouro_waker *waker)
{
    struct ouro_waker clone = {.vtable = NULL, .data = NULL};
    if (waker != NULL)
        clone = *waker;
    if (clone.vtable != NULL)
        clone.data = clone.vtable->clone(clone.data);
    return clone;
}

void ouro_waker_wake(const struct ouro_waker *waker)
{
    if (waker != NULL && waker->vtable != NULL)
        waker->vtable->wake(waker->data);
}

void ouro_waker_drop(struct ouro_waker *waker)
{
    if (waker == NULL)
        return;
    struct ouro_waker last = *waker;
    *waker = (struct ouro_waker){.vtable = NULL, .data = NULL};
    if (last.vtable != NULL)
        last.vtable->drop(last.data);
}
