/* SPDX-License-Identifier: MIT */
/*
 * Task: a function that runs as a fiber.  The struct lies at the top of its own stack.
 */
#ifndef OURO_TASK_TASK_H
#define OURO_TASK_TASK_H

#include "base/atomic.h"
#include "task/worker.h"

#include <ouro/task.h>
#include <ouro/waker.h>

struct ouro__shared_stacks;

enum { OURO__TASK_NAME_MAX = 32 };

/* Whether cancellation was asked for; the message to the worker is in the task itself. */
enum ouro__task_cancel {
    OURO__TASK_NOT_CANCELLED = 0,
    OURO__TASK_CANCEL_SENT = 1,    /* the message may be on its way: the memory must stay */
    OURO__TASK_CANCEL_ARRIVED = 2, /* or will never be sent */
};

struct ouro_task {
    /* What a task touches between its birth and its end comes first, in three cache lines. */
    struct ouro__context context; /* its link is in the worker's contexts */
    ouro_task_function *function;
    void *arg;
    int result;
    _Atomic uint32_t cancel;  /* enum ouro__task_cancel */
    _Atomic uintptr_t joiner; /* OURO__JOINER_..., or the wake_ref of a context that joins */

    struct ouro__worker *stack_owner;          /* whose pool the stack is from, or NULL: */
    struct ouro__shared_stacks *shared_stacks; /* the shared one */
    struct ouro__inbox_node message;           /* birth; later the release */
    struct ouro__inbox_node cancel_message;
    /* With OURO__JOINER_GROUP: what to call at the end, and its data. */
    void (*on_end)(struct ouro_task *task);
    void *group;
    struct ouro__list group_link;
    struct ouro_waker waker;        /* with OURO__JOINER_WAKER: the holder's */
    bool wakes_holder;              /* worker's thread: ended, and waker is still to be woken */
    bool release_pending;           /* worker's thread: released when the cancel has arrived */
    char name[OURO__TASK_NAME_MAX]; /* "": it was given none */
};

/* A task's handle is held until join or detach.  After DONE, giving it up releases the task. */
#define OURO__JOINER_NONE ((uintptr_t)0)
#define OURO__JOINER_DONE ((uintptr_t)1)
#define OURO__JOINER_DETACHED ((uintptr_t)2)
#define OURO__JOINER_GROUP ((uintptr_t)3) /* as DETACHED, and on_end() is called */
#define OURO__JOINER_WAKER ((uintptr_t)4) /* waker is to be woken */

/* What workers must know of tasks. */
extern const struct ouro__worker_kind ouro__task_kind;

/*
 * Makes a task that is not started yet; @handle NULL: in the caller's runtime.  @joiner is what its
 * joiner word says from its start: NONE, DETACHED or GROUP.
 * Owns:    *out_task is for ouro__task_start() or ouro__task_unmake().
 * Errors:  those of ouro_task_spawn_with().
 * Threads: any.
 */
int ouro__task_make(struct ouro_handle *handle, const struct ouro_task_options *options,
                    ouro_task_function *function, void *arg, uintptr_t joiner,
                    struct ouro_task **out_task);
/* Starts it.  -OURO_ESHUTDOWN: its worker has ended, and the task is as it was. */
int ouro__task_start(struct ouro_task *task);
/* On the thread that made it: releases a task that was not started. */
void ouro__task_unmake(struct ouro_task *task);

/* On the task's own stack, when its function has returned: wakes the context that waits in join, or
 * leaves the task in worker->ended when it was detached. */
void ouro__task_end(struct ouro_task *task);

/* The task has ended and its handle is given up: it goes back to its pool.  Any thread. */
void ouro__task_release(struct ouro_task *task);

/* Its stack, and the task with it, back into the pool: on the stack owner's thread. */
void ouro__task_put_stack(struct ouro_task *task);
struct ouro__stack_pool *ouro__task_stack_pool(const struct ouro_task *task);

/* ouro_task_join() that nothing interrupts and that cannot fail; the caller has prepared its
 * context (ouro__context_prepare()) before it spawned. */
void ouro__task_join_uninterruptible(struct ouro_task *task, int *out_result);

static inline const char *ouro__task_name(const struct ouro_task *task)
{
    return task->name[0] != '\0' ? task->name : "task";
}

static inline bool ouro__task_has_ended(struct ouro_task *task)
{
    return ouro__load(&task->joiner, memory_order_acquire) == OURO__JOINER_DONE;
}

#endif
