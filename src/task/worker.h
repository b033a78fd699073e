/* SPDX-License-Identifier: MIT */
/*
 * Worker: a thread's run queue, timer wheel and driver.
 */
#ifndef OURO_TASK_WORKER_H
#define OURO_TASK_WORKER_H

#include "base/list.h"
#include "fiber/overflow.h"
#include "fiber/stack.h"
#include "fiber/switch.h"
#include "registry/io_handle.h"
#include "task/context.h"
#include "task/timer.h"

struct ouro_handle;
struct ouro_task;

/* After so many switches the driver gets a turn, however many tasks are ready (tokio uses 61 too).
 */
enum { OURO__SLICE = 61, OURO__SLICE_WOKEN_MAX = 1024 };

struct ouro__worker {
    struct ouro__io_handle io;

    /* The worker's thread only. */
    struct ouro__queue ready;
    struct ouro_task *running; /* NULL: the loop itself */
    struct ouro_task *ended;   /* detached; whoever runs next releases it */
    struct ouro__switch loop;
    uint32_t slice;
    bool is_stopping;
    bool in_loop;
    struct ouro__context *outside; /* the current context while no task runs */
    struct ouro__timer_wheel timers;
    struct ouro__stack_pool stacks;
    struct ouro__list tasks;   /* all that were born here and have not been released */
    uint64_t live;             /* of them: not ended */
    struct ouro__context main; /* of the thread itself, in the current-thread flavour */

    /* Constant while it lives. */
    struct ouro_handle *handle;
    uint32_t index;
    bool runs_tasks;
    bool on_own_thread;
    bool is_open; /* its driver is, or was */
    pthread_t thread;
    struct ouro__overflow_thread overflow;
    _Atomic uint32_t start_result; /* 1: not opened yet; 0, or the error positive; a futex */
    struct ouro__inbox_node stop_message;
};

static inline bool ouro__worker_is_here(const struct ouro__worker *worker)
{
    return ouro__driver_is_here(&worker->io.handle);
}

/* On the thread that shall own it: driver, stacks, timers.  Errors: those of the driver, -EINVAL.
 */
int ouro__worker_open(struct ouro__worker *worker);
/* On its thread, with no task alive: the driver. */
void ouro__worker_close(struct ouro__worker *worker);
/* Afterwards, and after that of all others, on any thread: the stacks. */
void ouro__worker_fini(struct ouro__worker *worker);

/* The whole life of a worker on a thread of its own: turns until it was stopped and is empty. */
void ouro__worker_run(struct ouro__worker *worker);
/* Runs tasks and turns the driver until @context is woken. */
void ouro__worker_run_until_woken(struct ouro__worker *worker, struct ouro__context *context);
/* Runs tasks and turns the driver until no task is alive and nothing is in flight, or @deadline_ns.
 * True: it came to that. */
bool ouro__worker_run_until_empty(struct ouro__worker *worker, int64_t deadline_ns);

/* From here on every wait of its tasks ends.  Its thread. */
void ouro__worker_shut_down(struct ouro__worker *worker);

/* The running task stops until it is made ready; another, or the loop, goes on. */
void ouro__worker_switch_out(struct ouro__worker *worker);
/* The running task goes behind those that are ready. */
void ouro__worker_yield(struct ouro__worker *worker);
/* The running task has ended. */
OURO__NORETURN void ouro__worker_switch_out_for_good(struct ouro__worker *worker);
/* Puts a parked or new task in the run queue.  Its thread. */
void ouro__worker_make_ready(struct ouro__worker *worker, struct ouro_task *task);

#endif
