/* SPDX-License-Identifier: MIT */
/*
 * Tasks: functions that run as fibers.
 *
 * A fiber is a stack and a few registers; switching to another costs a few nanoseconds and no
 * system call.  A task runs on the same worker for its whole life, so thread-local variables work
 * as usual, and so do locks that are not held across a suspending call.  Between two suspending
 * calls no other task runs on that worker, so tasks of one worker need no locks among themselves.
 *
 * In C++ a task may suspend inside a catch block, or in a destructor while an exception is on its
 * way: exceptions that are being handled are each task's own.  A program of C that loads a library
 * of C++ by itself loads it before it makes the runtime.
 *
 * The stacks of tasks that have ended are kept for later ones.  Memory of stacks that were not used
 * for a second goes back to the system, a little at a time, while the runtime's workers run tasks
 * or wait; in a current-thread runtime that is during its block_on(), turn() or shutdown().
 */
#ifndef OURO_TASK_H
#define OURO_TASK_H

#include <ouro/api.h>
#include <ouro/waker.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ouro_task;
struct ouro_handle;

/* What a task runs.  Its return value is the task's result. */
typedef int ouro_task_function(void *arg);

/* Which worker runs a task: the next one in turn, or the caller's own. */
#define OURO_WORKER_ANY UINT32_MAX
#define OURO_WORKER_CURRENT (UINT32_MAX - 1)

/*
 * How to spawn.  Start from OURO_TASK_OPTIONS_INIT; fields are only ever appended.
 */
struct ouro_task_options {
    size_t size;             /* sizeof(struct ouro_task_options) */
    const char *name;        /* copied, at most 31 bytes; shown in reports; NULL: "task" */
    size_t stack_size_bytes; /* usable; 0: the runtime's default; rounded up to pages */
    uint32_t worker;         /* index of the worker to run on, or OURO_WORKER_ANY, _CURRENT */
};

#define OURO_TASK_OPTIONS_INIT                                                                     \
    {                                                                                              \
        sizeof(struct ouro_task_options), NULL, 0, OURO_WORKER_ANY                                 \
    }

/*
 * Runs @function(@arg) as a task of the caller's runtime, on the next worker in turn.  It starts
 * without deadline and not cancelled.
 *
 * Owns:     *out_task must be given to exactly one of ouro_task_join() and ouro_task_detach(); with
 *           a NULL @out_task the task is detached from the start.  ouro never frees @arg.
 * Errors:   -EINVAL without a function; -ENOMEM; -EAGAIN when the runtime's tasks_max is reached;
 *           -OURO_ENORUNTIME, -OURO_ESHUTDOWN, -OURO_EFORKED.
 * Threads:  any that is a fiber or has entered a runtime.
 * Since:    0.1
 */
OURO_API int ouro_task_spawn(ouro_task_function *function, void *arg,
                             struct ouro_task **out_task) OURO_MUST_CHECK;

/*
 * Spawns as ouro_task_spawn(), with options (NULL: the defaults), and into the runtime of @handle
 * (NULL: the caller's).  OURO_WORKER_CURRENT outside of tasks is the next worker in turn.
 *
 * Owns:     as ouro_task_spawn(); @options is borrowed.
 * Errors:   as ouro_task_spawn(); -EINVAL for a worker that does not exist or unknown options.
 * Threads:  any.
 * Since:    0.1
 */
OURO_API int ouro_task_spawn_with(struct ouro_handle *handle,
                                  const struct ouro_task_options *options,
                                  ouro_task_function *function, void *arg,
                                  struct ouro_task **out_task) OURO_MUST_CHECK;

/*
 * Spawns as ouro_task_spawn(), on the caller's own worker: the task and the caller never run at the
 * same time, so they need no locks between them.  A thread that is no worker gets the next in turn.
 *
 * Owns:     as ouro_task_spawn().
 * Errors:   as ouro_task_spawn().
 * Threads:  any that is a fiber or has entered a runtime.
 * Since:    0.2
 */
OURO_API int ouro_task_spawn_here(ouro_task_function *function, void *arg,
                                  struct ouro_task **out_task) OURO_MUST_CHECK;

/*
 * Waits for the end of a task and releases it.  The return value says whether the task was joined;
 * *out_result is what its function returned.
 *
 * Suspends: until the task has ended.  A join that is cancelled, times out or meets a shutdown
 *           releases nothing: join again, or detach.
 * Owns:     on 0 the task is gone.  @out_result may be NULL.
 * Errors:   those of every suspending call; -EDEADLK for joining oneself; -EBUSY when another
 *           caller waits in a join of this task; -ENOMEM; -EINVAL for NULL.  After an error the
 *           task is still the caller's.
 * Threads:  any that is a fiber or has entered a runtime, not only the task's own runtime.
 * Since:    0.1
 */
OURO_API int ouro_task_join(struct ouro_task *task, int *out_result);

/*
 * Checks whether a task has ended.  If it has, releases it; if not, stores a clone of @waker, which
 * is woken once when the task ends.  A task keeps one waker: a newer one replaces an older one.
 * ouro_task_join() and ouro_task_detach() may be called afterwards and drop it.
 *
 * Owns:     on OURO_POLL_READY the task is gone.  @out_result may be NULL.
 * Errors:   OURO_POLL_READY (1), or OURO_POLL_PENDING (0); -EINVAL without a task or a waker;
 *           -EDEADLK for the calling task itself; -EBUSY while another waits in ouro_task_join();
 *           -OURO_EFORKED.
 * Threads:  any that holds the task, one at a time.
 * Since:    0.2
 */
OURO_API int ouro_task_poll_join(struct ouro_task *task, const struct ouro_waker *waker,
                                 int *out_result) OURO_MUST_CHECK;

/*
 * Gives up a task without waiting for it: it runs on, and is released when it ends.  NULL is
 * ignored.  In a forked child, for a task of the parent, it does nothing.
 *
 * Owns:     takes @task.
 * Threads:  any.
 * Since:    0.1
 */
OURO_API void ouro_task_detach(struct ouro_task *task);

/*
 * Asks a task to stop: the suspending call it is in, and every later one, returns -ECANCELED.  It
 * ends when its function returns; join waits for that.  May be called again.  If an operation
 * finishes before the request arrives, its call returns its normal result.
 *
 * Errors:   -EINVAL for NULL; -OURO_EFORKED in a forked child, for a task of the parent.
 * Threads:  any.
 * Since:    0.1
 */
OURO_API int ouro_task_cancel(struct ouro_task *task);

/*
 * Tells whether the calling task has been cancelled: 1 or 0; 0 outside of tasks.
 *
 * Errors:   none.
 * Since:    0.1
 */
OURO_API int ouro_task_is_cancelled(void);

/*
 * Returns the calling task; NULL outside of tasks.
 *
 * Owns:     borrowed: the task still belongs to its spawner.
 * Since:    0.1
 */
OURO_API struct ouro_task *ouro_task_current(void);

/*
 * Returns a task's name.
 *
 * Owns:     constant text, valid as long as the task is.
 * Since:    0.1
 */
OURO_API const char *ouro_task_name(const struct ouro_task *task);

/*
 * Returns the most stack that the calling task has used so far, in bytes; 0 outside of tasks.  The
 * result is accurate to a page.  Earlier tasks on the same stack count too, unless its memory has
 * gone back to the system since.
 *
 * Since:    0.1
 */
OURO_API size_t ouro_task_stack_used_bytes(void);

/*
 * Lets the other ready tasks of this worker run first.
 *
 * Suspends: until each of them has run once.
 * Errors:   those of every suspending call.
 * Since:    0.1
 */
OURO_API int ouro_yield(void);

/*
 * Runs @function(@arg) on a thread of the runtime's blocking pool and waits for it: for calls that
 * would block a worker, such as a library's blocking I/O.  The pool is bounded; calls beyond it
 * wait in a queue.  The function has a stack of 256 KiB.
 *
 * Suspends: until the function has returned.  On cancellation, deadline or shutdown, a function
 *           that has not begun is withdrawn.  A function that has begun cannot be stopped: the call
 *           waits for it, because @arg may lie on the caller's stack, and returns 0.
 * Owns:     @arg is borrowed until the return.  @out_result may be NULL.
 * Errors:   those of every suspending call; -EINVAL; -ENOMEM; -EAGAIN when no thread can be made.
 * Since:    0.1
 */
OURO_API int ouro_blocking(ouro_task_function *function, void *arg,
                           int *out_result) OURO_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
