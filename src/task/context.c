/* SPDX-License-Identifier: MIT */
/*
 * Context: a caller that can wait.  This file finds the calling thread's context, and tells what
 * interrupts a context.
 *
 * Owns:    nothing.
 * Threads: the context's own, and its worker's.
 * Always:  a shutdown and a CANCEL stay; a TIMEOUT lasts as long as its scope.
 * Tests:   tests/net/test_cancel.c, tests/task/test_deadline.c
 */
#include "task/context.h"

#include <ouro/error.h>

#include <errno.h>

_Thread_local struct ouro__context *ouro__context_of_thread
    __attribute__((tls_model("initial-exec"))) = NULL;

int ouro__context_why_not(const struct ouro__context *context)
{
    return context == NULL ? -OURO_ENORUNTIME : -OURO_EFORKED;
}

int ouro__context_interruption(const struct ouro__context *context)
{
    unsigned interrupts = context->interrupts;
    if ((interrupts & OURO__SHIELDED) == 0) {
        if (ouro__context_is_shutdown(context))
            return -OURO_ESHUTDOWN;
        if ((interrupts & OURO__INTERRUPT_CANCEL) != 0)
            return -ECANCELED;
    }
    if ((interrupts & OURO__INTERRUPT_TIMEOUT) != 0)
        return -ETIMEDOUT;
    if (context->deadline_ns == OURO__NEVER)
        return 0;
    return ouro__clock_now_ns() >= context->deadline_ns ? -ETIMEDOUT : 0;
}
