/* SPDX-License-Identifier: MIT */
/*
 * Context: who is calling.  Every task has one, and every plain thread that has entered a runtime.
 * It knows how to wait and be woken, and carries the ambient deadline and cancellation.
 *
 *   a task                       waits by giving its worker to the next ready task
 *   a current-thread runtime's   waits by running the worker (`worker` set, `task` NULL)
 *   own thread
 *   any other thread             waits on a futex (`worker` NULL)
 */
#ifndef OURO_TASK_CONTEXT_H
#define OURO_TASK_CONTEXT_H

#include "base/atomic.h"
#include "registry/op.h"
#include "task/fork.h"
#include "task/timer.h"

#include <ouro/waker.h>

struct ouro_handle;
struct ouro_task;
struct ouro__worker;
struct ouro__wake_ref;
struct ouro__deadline_scope;

enum ouro__park_state { OURO__PARK_RUNNING = 0, OURO__PARK_PARKED = 1, OURO__PARK_NOTIFIED = 2 };

/* Why waits end early.  The strongest is reported. */
#define OURO__INTERRUPT_TIMEOUT (1u << 0)
#define OURO__INTERRUPT_CANCEL (1u << 1)
#define OURO__INTERRUPT_SHUTDOWN (1u << 2)

/* How many calls in a row may return without waiting before the caller yields. */
enum { OURO__BUDGET = 128 };

struct ouro__context {
    struct ouro_handle *handle;
    struct ouro__worker *worker;
    struct ouro_task *task;
    uint8_t park;       /* enum ouro__park_state; with a worker: only on its thread */
    uint8_t interrupts; /* OURO__INTERRUPT_...; as above */
    uint16_t budget;
    uint32_t fork_generation; /* the handle's */
    /* A second cache line: what a wait for an operation and the end of a task look at. */
    const _Atomic bool *is_shutdown; /* in the handle */
    struct ouro__op *op;             /* in flight, to be cancelled by an interruption */
    void (*cancel_op)(struct ouro__op *op);
    struct ouro__deadline_scope *scope; /* innermost */
    struct ouro__wake_ref *wake_ref;    /* made when the first waker is */
    int64_t deadline_ns;                /* the earliest of the scopes'; OURO__NEVER without */
    struct ouro__timer timer;           /* for deadline_ns; with a worker */
    struct ouro__list link; /* in the worker's tasks; a plain thread's: handle->threads */
};

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

void ouro__context_init(struct ouro__context *context, struct ouro_handle *handle,
                        struct ouro__worker *worker, struct ouro_task *task);
/* Wakers that are still around do nothing from here on. */
void ouro__context_fini(struct ouro__context *context);

/* What interrupts the context: 0, -OURO_ESHUTDOWN, -ECANCELED or -ETIMEDOUT. */
int ouro__context_interruption(const struct ouro__context *context);

/* As ouro__context_interrupted(), for a context that has something to tell, or no worker. */
OURO__COLD int ouro__context_tell_interruption(struct ouro__context *context);

/*
 * Asked by the context itself: why a wait of its must not begin, or go on; 0, -OURO_ESHUTDOWN,
 * -ECANCELED or -ETIMEDOUT.  A task that heeds no such answer still yields now and then.
 */
static inline int ouro__context_interrupted(struct ouro__context *context)
{
    if (OURO__LIKELY(context->interrupts == 0 && context->worker != NULL &&
                     !ouro__load(context->is_shutdown, memory_order_acquire)))
        return 0;
    return ouro__context_tell_interruption(context);
}

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

/* Worker's thread: ends the wait the context is in, and with CANCEL and SHUTDOWN all later ones. */
void ouro__context_interrupt(struct ouro__context *context, unsigned interrupt);

/* Waits until woken; may end early.  Callers look at what they wait for, again and again. */
void ouro__context_park(struct ouro__context *context);

/* Worker's thread: wakes a context of this worker. */
void ouro__context_wake_here(struct ouro__context *context);

/*
 * A waker for the context, one reference; wakes from any thread, however late.
 * Errors: -ENOMEM.
 */
int ouro__context_waker(struct ouro__context *context, struct ouro_waker *out_waker);

/*
 * Sees to it that the context's wakers can be made without memory from here on, for whoever must
 * not fail later.  Errors: -ENOMEM.
 */
int ouro__context_prepare(struct ouro__context *context);

/* Lets other tasks run when this one has had its share of calls that did not wait. */
void ouro__context_spend(struct ouro__context *context);

#endif
