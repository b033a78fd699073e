/* SPDX-License-Identifier: MIT */
/*
 * Task: a function that runs as a fiber.  The struct lies at the top of its own stack.
 */
#ifndef OURO_TASK_TASK_H
#define OURO_TASK_TASK_H

#include "base/atomic.h"
#include "task/context.h"
#include "task/switch.h"

#include <ouro/task.h>

struct ouro__shared_stacks;
struct ouro__worker;

enum { OURO__TASK_NAME_MAX = 32 };

struct ouro_task {
    /* What a wake and a switch touch comes first, in one cache line: with many tasks each line is
     * one that has to be waited for. */
    struct ouro__switch fiber;
    struct ouro__queue_node ready; /* in the worker's run queue */
    struct ouro__context context;
    struct ouro__list link; /* in the worker's tasks */
    ouro_task_function *function;
    void *arg;
    int result;
    _Atomic uint32_t references; /* running, handle, messages on their way */
    _Atomic uintptr_t joiner;    /* 0, JOINER_DONE, or the wake_ref of who waits */
    _Atomic uint32_t cancel_asked;
    struct ouro__worker *stack_owner;          /* whose pool the stack is from, or NULL: */
    struct ouro__shared_stacks *shared_stacks; /* the shared one */
    struct ouro__inbox_node message;           /* birth; later the way home to be released */
    struct ouro__inbox_node cancel_message;
    char name[OURO__TASK_NAME_MAX];
};

/* The size to reserve at the top of a stack. */
#define OURO__TASK_HEADER_BYTES sizeof(struct ouro_task)

/* Makes a task on @worker.  Any thread; what ouro_task_spawn_with() does after its checks. */
int ouro__task_new(struct ouro_handle *handle, struct ouro__worker *worker,
                   const struct ouro_task_options *options, ouro_task_function *function, void *arg,
                   bool joinable, struct ouro_task **out_task);

/* Its worker's thread: the stack of a task that has ended is free.  Gives up the running reference.
 */
void ouro__task_reap(struct ouro_task *task);

/* Gives up one reference; with the last one the task goes back to its pool.  Any thread. */
void ouro__task_unref(struct ouro_task *task);

/* ouro_task_join() that nothing interrupts and that cannot fail; the caller has prepared its
 * context (ouro__context_prepare()) before it spawned. */
void ouro__task_join_through(struct ouro_task *task, int *out_result);

/* For the overflow report. */
const char *ouro__task_name_of(void *header);

#define OURO__JOINER_DONE ((uintptr_t)1)

static inline bool ouro__task_has_ended(struct ouro_task *task)
{
    return ouro__load(&task->joiner, memory_order_acquire) == OURO__JOINER_DONE;
}

#endif
