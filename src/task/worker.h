/* SPDX-License-Identifier: MIT */
/*
 * Worker: a thread's run queue, timer wheel and driver.  It runs contexts.  What it needs of tasks
 * is in a table, its kind.
 */
#ifndef OURO_TASK_WORKER_H
#define OURO_TASK_WORKER_H

#include "base/list.h"
#include "base/pipe_pool.h"
#include "base/port_range.h"
#include "fiber/overflow.h"
#include "fiber/stack.h"
#include "fiber/switch.h"
#include "registry/embedding.h"
#include "registry/io_handle.h"
#include "task/context.h"
#include "task/timer.h"

#include <ouro/error.h>

#include <pthread.h>

struct ouro_handle;

/* After so many switches the driver gets a turn, however many contexts are ready (tokio uses 61
 * too). */
enum { OURO__SLICE = 61, OURO__SLICE_WOKEN_MAX = 1024 };

/* What the worker must know of the things that lie at the top of the stacks it runs. */
struct ouro__worker_kind {
    size_t header_bytes;                          /* to be reserved at the top of each stack */
    ouro__overflow_name_fn *name_of;              /* the name of a header, for messages */
    void (*release)(struct ouro__context *ended); /* has returned, has no holder */
    /* Gives back some of what idle stacks hold that are no worker's; returns when there is more to
     * do, or OURO__NEVER. */
    int64_t (*trim_shared)(struct ouro_handle *handle, int64_t now_ns);
};

struct ouro__worker_config {
    const struct ouro__worker_kind *kind;
    struct ouro__driver_config driver;
    struct ouro__stack_pool_config stacks;
    bool reports_overflow;
};

struct ouro__worker {
    struct ouro__io_handle io;

    /* The worker's thread only. */
    struct ouro__queue ready;
    struct ouro__context *running; /* NULL: the loop itself */
    struct ouro__context *ended;   /* without a holder; the next to run releases it.  &main: none
                                      has ended, but exceptions are to be looked after */
    struct ouro__switch loop;
    uint32_t slice;
    struct ouro__timer_wheel timers;
    struct ouro__stack_pool stacks;
    struct ouro__exceptions *exceptions;    /* the thread's; NULL without a C++ runtime */
    struct ouro__exceptions *exceptions_of; /* where to put what is there now */
    struct ouro__exceptions loop_exceptions;
    struct ouro__pipe_pool pipes;  /* of relays */
    struct ouro__port_range ports; /* of connects */
    bool trims_shared;             /* stacks of the runtime's shared pools became idle here */
    uint32_t busy_rounds;          /* of the loop, without a look at the stacks */
    struct ouro__list contexts;    /* of the tasks born here and not released */
    uint64_t live;                 /* of them: not ended */
    struct ouro__context main;     /* of the thread itself, in the current-thread flavour */

    /* Constant while it lives. */
    const struct ouro__worker_kind *kind;
    struct ouro_handle *handle; /* handed out to others; not looked into here */
    uint32_t index;
    bool runs_tasks;
    bool on_own_thread;
    bool is_open;                      /* its driver is, or was */
    bool is_refused;                   /* its driver could not be opened */
    struct ouro__embedding *embedding; /* NULL: it waits by itself */
    bool reports_overflow;
    pthread_t thread;
    struct ouro__overflow_thread overflow;
    _Atomic uint32_t
        start_result; /* UINT32_MAX: not opened yet; 0, or the error positive; a futex */
    struct ouro__inbox_node stop_message;
};

/* Whether the calling thread may touch it.  Of an embedded worker only while its loop runs. */
static inline bool ouro__worker_is_here(const struct ouro__worker *worker)
{
    return ouro__driver_is_here(&worker->io.handle);
}

/* Whether the calling thread is the one that runs it. */
static inline bool ouro__worker_is_home(const struct ouro__worker *worker)
{
    return ouro__driver_is_home(&worker->io.handle);
}

/* On the thread that will own it: driver, stacks, timers.  Errors: those of the driver, -EINVAL.
 */
int ouro__worker_open(struct ouro__worker *worker, const struct ouro__worker_config *config);
/* On its thread, with no task alive: the driver. */
void ouro__worker_close(struct ouro__worker *worker);
/* Afterwards, and after that of all others, on any thread: the stacks. */
void ouro__worker_fini(struct ouro__worker *worker);

/* Runs tasks and turns the driver until @context is woken. */
void ouro__worker_run_until_woken(struct ouro__worker *worker, struct ouro__context *context);
/* One round of the loop. */
void ouro__worker_run_once(struct ouro__worker *worker, bool may_wait);
/*
 * For another event loop: runs what is ready, waits at most until @deadline_ns when nothing was,
 * and goes on until nothing is left to do, or others must have their turn.
 */
void ouro__worker_turn(struct ouro__worker *worker, int64_t deadline_ns);
/* The worker is embedded from here on, until it is closed.  Errors: the driver's; then it is not.
 */
int ouro__worker_embed(struct ouro__worker *worker, struct ouro__embedding *embedding);

/*
 * Runs tasks and turns the driver until the worker was shut down and has ended, or @deadline_ns.
 * It ends when no task is alive, nothing is in flight and no message is in its inbox; then it
 * closes the inbox.  So what another thread sends, a new task among others, is either run or
 * refused.
 * Returns whether it has ended.
 */
bool ouro__worker_run_until_end(struct ouro__worker *worker, int64_t deadline_ns);

/* Its thread: the worker has ended; no task of it is alive, nothing is in flight, and that stays
 * so. */
static inline bool ouro__worker_has_ended(const struct ouro__worker *worker)
{
    return ouro__io_handle_is_closed(&worker->io);
}

/* Ends every wait of its contexts, and every operation and registration of its driver.  The caller
 * has set the handle's is_shutdown, so that later ones end too.  Its thread. */
void ouro__worker_shut_down(struct ouro__worker *worker);

/*
 * Whether the calling thread is inside the loop of a worker of this process: in a task, or in a
 * callback (a waker, a trace function) that the loop calls.  Such a thread must not wait for a
 * runtime, nor run another worker: the worker would stop, or wait for itself.
 */
bool ouro__worker_loop_is_here(void);

/* The running context stops until it is made ready; another, or the loop, goes on. */
void ouro__worker_switch_out(struct ouro__worker *worker);
/* The running context goes behind those that are ready.  Returns what interrupts it afterwards, as
 * ouro__context_interrupted() does. */
int ouro__worker_yield(struct ouro__worker *worker);
/* The running context has ended. */
OURO__NORETURN void ouro__worker_switch_out_for_good(struct ouro__worker *worker);
/* Puts a parked or new task's context in the run queue.  Its thread. */
static inline void ouro__worker_make_ready(struct ouro__worker *worker,
                                           struct ouro__context *context)
{
    ouro__queue_push(&worker->ready, &context->ready);
}
/* Called first after every switch: looks after worker->ended. */
void ouro__worker_arrived_slowly(struct ouro__worker *worker);
static inline void ouro__worker_arrived(struct ouro__worker *worker)
{
    if (worker->ended != NULL)
        ouro__worker_arrived_slowly(worker);
}

/* Worker's thread: wakes a context of this worker. */
void ouro__context_wake_here(struct ouro__context *context);

/* Worker's thread: ends the wait the context is in, and with CANCEL all later ones; when the
 * context is shielded from it, as soon as the shield ends. */
void ouro__context_interrupt(struct ouro__context *context, unsigned interrupt);

/* Lets others run when the context has had its share of calls that did not wait. */
void ouro__context_spend(struct ouro__context *context);

/* The same after a system call that did not wait: sixteen of them in a row are its share. */
void ouro__context_spend_call(struct ouro__context *context);

/* Lets others run once: a worker's tasks, driver and timers; the system's threads otherwise. */
void ouro__context_yield(struct ouro__context *context);

/* As ouro__context_interrupted(), for a context with an interrupt bit set, or without a worker. */
OURO__COLD int ouro__context_tell_interruption(struct ouro__context *context);

/*
 * Called by the context itself: why a wait must not begin, or go on; 0, -OURO_ESHUTDOWN, -ECANCELED
 * or -ETIMEDOUT.  A task that ignores the error and calls again yields now and then, so that the
 * other tasks run.
 */
static inline int ouro__context_interrupted(struct ouro__context *context)
{
    if (OURO__LIKELY(context->interrupts == 0 && context->worker != NULL &&
                     !ouro__context_is_shutdown(context)))
        return 0;
    return ouro__context_tell_interruption(context);
}

/* The same for an operation on a descriptor.  A shield does not hold off a shutdown from it: the
 * driver cancels what is in flight and refuses what comes later. */
static inline int ouro__context_interrupted_io(struct ouro__context *context)
{
    int rc = ouro__context_interrupted(context);
    if (OURO__UNLIKELY(rc == 0 && ouro__context_is_shielded(context)))
        return ouro__context_is_shutdown(context) ? -OURO_ESHUTDOWN : 0;
    return rc;
}

/* What traces call it. */
static inline const char *ouro__context_name(const struct ouro__context *context)
{
    return context->task == NULL ? "thread" : context->worker->kind->name_of(context->task);
}

#endif
