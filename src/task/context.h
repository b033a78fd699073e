/* SPDX-License-Identifier: MIT */
/*
 * Context: a caller that can wait.  Every task has one, and every plain thread that has entered a
 * runtime.
 *
 *   a task                       waits by giving its worker to the next ready context
 *   a current-thread runtime's   waits by running the worker (`worker` set, `task` NULL)
 *   own thread
 *   any other thread             waits on a futex (`worker` NULL)
 *
 * This file has the data, and functions that need only the data.  The functions that act on a
 * context are in the files above this one.  Those include this file; it must not include them:
 *
 *   worker.h     switch to it, wake it on its worker's thread, interrupt it
 *   wake_ref.h   wake it from any thread
 *   park.h       make it wait; its wakers
 *   handle.h     init it for a runtime
 */
#ifndef OURO_TASK_CONTEXT_H
#define OURO_TASK_CONTEXT_H

#include "base/atomic.h"
#include "base/fork.h"
#include "base/list.h"
#include "fiber/exceptions.h"
#include "fiber/switch.h"
#include "registry/op.h"
#include "task/timer.h"

struct ouro_handle;
struct ouro_task;
struct ouro__worker;
struct ouro__wake_ref;

enum ouro__park_state { OURO__PARK_RUNNING = 0, OURO__PARK_PARKED = 1, OURO__PARK_NOTIFIED = 2 };

/* Why waits end early, beside the runtime's shutdown.  The strongest is reported: shutdown, then
 * cancellation, then timeout. */
#define OURO__INTERRUPT_TIMEOUT (1u << 0)
#define OURO__INTERRUPT_CANCEL (1u << 1)
/* These bits end no wait, but make it check more: there is a deadline, which may have passed before
 * its timer has fired; cancellation and shutdown are held off. */
#define OURO__INTERRUPT_CLOCK (1u << 3)
#define OURO__SHIELDED (1u << 4)

/* The context keeps the numbers of this many scopes, the outermost ones (task/scope.c). */
enum { OURO__SCOPES_KEPT = 3 };

/* How many calls in a row may return without waiting before the caller yields. */
enum { OURO__BUDGET = 128 };

struct ouro__context {
    /* The first cache line: what a switch touches.  With many tasks each line is a cache miss. */
    struct ouro__switch fiber;     /* a task's only */
    struct ouro__queue_node ready; /* in the worker's run queue; a task's only */
    struct ouro_handle *handle;
    struct ouro__worker *worker;
    struct ouro_task *task;
    uint8_t park;       /* enum ouro__park_state; with a worker: only on its thread */
    uint8_t interrupts; /* OURO__INTERRUPT_...; as above */
    uint16_t budget;
    uint32_t fork_generation; /* the handle's */
    /* The second: what a wait for an operation and the end of a task look at. */
    const _Atomic bool *is_shutdown; /* in the handle */
    struct ouro__op *op;             /* in flight, to be cancelled by an interruption */
    void (*cancel_op)(struct ouro__op *op);
    uint32_t scope_depth;            /* scopes that are open */
    uint32_t scope_serial;           /* the number of the last scope that was begun */
    struct ouro__wake_ref *wake_ref; /* made when the first waker is */
    int64_t deadline_ns;             /* the earliest of the scopes'; OURO__NEVER without */
    struct ouro__timer timer;        /* for deadline_ns; with a worker */
    struct ouro__list link; /* in the worker's contexts; a plain thread's: handle->threads */
    uint32_t groups;        /* begun and not ended */
    uint32_t scope_open[OURO__SCOPES_KEPT];
    struct ouro__exceptions exceptions; /* of a suspended task, where there is a C++ runtime */
};

/* The message when a context ends with an open group. */
#define OURO__GROUP_NOT_ENDED                                                                      \
    "a task or thread left with a group open: ouro_group_end() is missing before its return"

/* Initial-exec: one instruction, not a call, also from inside a shared library. */
extern _Thread_local struct ouro__context *ouro__context_of_thread
    __attribute__((tls_model("initial-exec")));

/* The calling fiber's or entered thread's; NULL outside. */
static inline struct ouro__context *ouro__context_current(void)
{
    return ouro__context_of_thread;
}

static inline void ouro__context_set_current(struct ouro__context *context)
{
    ouro__context_of_thread = context;
}

static inline bool ouro__context_is_shielded(const struct ouro__context *context)
{
    return (context->interrupts & OURO__SHIELDED) != 0;
}

static inline bool ouro__context_is_shutdown(const struct ouro__context *context)
{
    return ouro__load(context->is_shutdown, memory_order_acquire);
}

/* What interrupts the context now: 0, -OURO_ESHUTDOWN, -ECANCELED or -ETIMEDOUT. */
int ouro__context_interruption(const struct ouro__context *context);

/* For a caller that has no context, or one that is not this process's. */
OURO__COLD int ouro__context_why_not(const struct ouro__context *context);

/*
 * Every public suspending call begins with this.
 * Errors: -OURO_ENORUNTIME, -OURO_EFORKED.
 */
static inline int ouro__context_enter(struct ouro__context **out_context)
{
    struct ouro__context *context = ouro__context_current();
    if (OURO__UNLIKELY(context == NULL || ouro__fork_is_child(context->fork_generation)))
        return ouro__context_why_not(context);
    *out_context = context;
    return 0;
}

#endif
