/* SPDX-License-Identifier: MIT */
/*
 * ouro_blocking(): one function on a thread of the pool, while the caller waits (task/wait.c).
 *
 * Owns:    nothing.
 * Threads: fibers and entered threads.
 * Always:  the function has ended, or was never begun, when the call returns.
 * Tests:   tests/task/test_blocking_call.c
 */
#include <ouro/task.h>

#include "task/wait.h"

#include <errno.h>

int ouro_blocking(ouro_task_function *function, void *arg, int *out_result)
{
    struct ouro__context *context = NULL;
    if (function == NULL)
        return -EINVAL;
    int rc = ouro__context_enter(&context);
    if (rc == 0)
        rc = ouro__context_interrupted(context);
    return rc < 0 ? rc : ouro__wait_for_call(context, function, arg, NULL, out_result);
}
