/* SPDX-License-Identifier: MIT */
/*
 * Runtime: the owner's end of a handle.
 */
#ifndef OURO_RUNTIME_RUNTIME_H
#define OURO_RUNTIME_RUNTIME_H

#include <ouro/runtime.h>

struct ouro_runtime {
    struct ouro_handle *handle;
};

#ifdef OURO_TESTING
/* How long ouro_runtime_free() waits for tasks to end. */
extern int64_t ouro__runtime_free_grace_ns;
#endif

#endif
