/* SPDX-License-Identifier: MIT */
/*
 * What the library asks of a waker that the program gives it.
 */
#ifndef OURO_BASE_WAKER_H
#define OURO_BASE_WAKER_H

#include <ouro/waker.h>

#include <stdbool.h>
#include <stddef.h>

/* False for NULL, an empty waker, and a vtable without one of its functions. */
static inline bool ouro__waker_is_usable(const struct ouro_waker *waker)
{
    return waker != NULL && waker->vtable != NULL && waker->vtable->clone != NULL &&
           waker->vtable->wake != NULL && waker->vtable->drop != NULL;
}

#endif
