/* SPDX-License-Identifier: MIT */
/*
 * Context: who is calling, and how it is stopped and started again.
 *
 * Everything about a worker's context happens on that worker's thread, so parking and waking are
 * plain stores; a wake from another thread is a message to the worker (task/wake_ref.c).  A plain
 * thread's context parks on a futex in its wake_ref.
 *
 * Owns:    its wake_ref.
 * Threads: the context's own, and its worker's.
 * Always:  an interruption with CANCEL or SHUTDOWN stays; TIMEOUT lasts as long as its scope.
 * Tests:   tests/net/test_cancel.c, tests/task/test_deadline.c
 */
#include "task/context.h"

#include "task/handle.h"
#include "task/wake_ref.h"
#include "task/worker.h"

#include <ouro/error.h>

#include <errno.h>
#include <string.h>

_Thread_local struct ouro__context *ouro__context_of_thread
    __attribute__((tls_model("initial-exec"))) = NULL;

static void deadline_passed(struct ouro__timer *timer)
{
    struct ouro__context *context = OURO__CONTAINER_OF(timer, struct ouro__context, timer);
    ouro__context_interrupt(context, OURO__INTERRUPT_TIMEOUT);
}

void ouro__context_init(struct ouro__context *context, struct ouro_handle *handle,
                        struct ouro__worker *worker, struct ouro_task *task)
{
    memset(context, 0, sizeof(*context));
    context->handle = handle;
    context->worker = worker;
    context->task = task;
    context->budget = OURO__BUDGET;
    context->fork_generation = handle->fork_generation;
    context->is_shutdown = &handle->is_shutdown;
    context->deadline_ns = OURO__NEVER;
    ouro__timer_init(&context->timer, deadline_passed);
    ouro__list_init(&context->link);
}

void ouro__context_fini(struct ouro__context *context)
{
    if (context->worker != NULL)
        ouro__timer_unset(&context->worker->timers, &context->timer);
    if (OURO__UNLIKELY(context->wake_ref != NULL)) {
        ouro__wake_ref_forget(context->wake_ref);
        context->wake_ref = NULL;
    }
}

int ouro__context_why_not(const struct ouro__context *context)
{
    return context == NULL ? -OURO_ENORUNTIME : -OURO_EFORKED;
}

int ouro__context_interruption(const struct ouro__context *context)
{
    unsigned interrupts = context->interrupts;
    if ((interrupts & OURO__INTERRUPT_SHUTDOWN) != 0 || ouro__handle_is_shutdown(context->handle))
        return -OURO_ESHUTDOWN;
    if ((interrupts & OURO__INTERRUPT_CANCEL) != 0)
        return -ECANCELED;
    if ((interrupts & OURO__INTERRUPT_TIMEOUT) != 0)
        return -ETIMEDOUT;
    if (context->worker != NULL || context->deadline_ns == OURO__NEVER)
        return 0;
    return ouro__clock_now_ns() >= context->deadline_ns ? -ETIMEDOUT : 0;
}

int ouro__context_tell_interruption(struct ouro__context *context)
{
    int rc = ouro__context_interruption(context);
    if (rc < 0)
        ouro__context_spend(context);
    return rc;
}

void ouro__context_interrupt(struct ouro__context *context, unsigned interrupt)
{
    context->interrupts |= (uint8_t)interrupt;
    if (context->op != NULL && context->op->cancel_reason == 0) {
        context->op->cancel_reason = ouro__context_interruption(context);
        context->cancel_op(context->op);
    }
    ouro__context_wake_here(context);
}

void ouro__context_park(struct ouro__context *context)
{
    context->budget = OURO__BUDGET;
    if (context->worker == NULL) {
        ouro__wake_ref_park(context->wake_ref, context->deadline_ns);
        return;
    }
    if (context->park == OURO__PARK_NOTIFIED) {
        context->park = OURO__PARK_RUNNING;
        return;
    }
    context->park = OURO__PARK_PARKED;
    if (context->task != NULL)
        ouro__worker_switch_out(context->worker);
    else
        ouro__worker_run_until_woken(context->worker, context);
    context->park = OURO__PARK_RUNNING;
}

void ouro__context_wake_here(struct ouro__context *context)
{
    if (context->park == OURO__PARK_PARKED && context->task != NULL)
        ouro__worker_make_ready(context->worker, context->task);
    context->park = OURO__PARK_NOTIFIED;
}

void ouro__context_spend(struct ouro__context *context)
{
    if (--context->budget > 0)
        return;
    context->budget = OURO__BUDGET;
    if (context->task != NULL)
        ouro__worker_yield(context->worker);
}
