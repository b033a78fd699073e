/* SPDX-License-Identifier: MIT */
/*
 * Groups: tasks that end before the function that began them returns.  Shields: clean-up that is
 * not interrupted.
 *
 *     struct ouro_group group;
 *     struct work left = {...}, right = {...};
 *     int rc = ouro_group_begin(&group, 0);
 *     if (rc < 0)
 *         return rc;
 *     rc = ouro_group_spawn(&group, NULL, do_work, &left);
 *     if (rc == 0)
 *         rc = ouro_group_spawn(&group, NULL, do_work, &right);
 *     if (rc < 0)
 *         (void)ouro_group_cancel(&group);
 *     int end_rc = ouro_group_end(&group);         both tasks have returned, whatever happened
 *     return rc < 0 ? rc : end_rc;
 *
 * ouro_group_end() waits for all tasks of the group, even if the caller is cancelled, is past its
 * deadline, or its runtime shuts down.  So the tasks may use variables on the stack of the function
 * that began the group.  Use ouro_task_spawn() for a task that is to outlive its parent.
 *
 * A task fails when its function returns a negative code.  The first failure cancels the other
 * tasks of the group (ouro_task_cancel()), unless the group was begun with
 * OURO_GROUP_F_COLLECT_ALL.  A task that returns -ECANCELED after its group was cancelled has not
 * failed.  A failure does not interrupt the caller that began the group; ouro_group_spawn() or
 * ouro_group_end() returns the error to it.
 *
 * Groups may be nested.  A group needs no memory beyond its tasks.
 */
#ifndef OURO_GROUP_H
#define OURO_GROUP_H

#include <ouro/api.h>
#include <ouro/task.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A group, in the caller's storage.  Its contents are ouro's. */
struct ouro_group {
    uint64_t opaque[16];
};

/* A task that fails does not cancel the others. */
#define OURO_GROUP_F_COLLECT_ALL (1u << 0)

/*
 * Begins a group of the calling task or thread.  A task must end its groups before it returns, and
 * a thread before it calls ouro_leave().  Otherwise the group's tasks could use a stack that no
 * longer exists, so ouro aborts the program with a message.
 *
 * Owns:     *group is the caller's and must stay where it is until ouro_group_end() has returned.
 * Errors:   -EINVAL without a group or for unknown flags; -ENOMEM; -OURO_ENORUNTIME, -OURO_EFORKED.
 *           After an error there is no group to end.
 * Since:    0.2
 */
OURO_API int ouro_group_begin(struct ouro_group *group, uint32_t flags) OURO_MUST_CHECK;

/*
 * Runs @function(@arg) as a task of the group, in the runtime of the caller that began the group.
 * @options are those of ouro_task_spawn_with(), NULL for the defaults.  The task starts without a
 * deadline.  It is released when it ends and cannot be joined.
 *
 * Owns:     @options is borrowed for the call, @arg for as long as the task runs.
 * Errors:   -ECANCELED when the group has been cancelled, by ouro_group_cancel(), by a failed task,
 *           or by ouro_group_end(); -EINVAL when the group has not been begun or has ended, and as
 *           in ouro_task_spawn_with(); -ENOMEM; -EAGAIN when the runtime's tasks_max is reached;
 *           -OURO_ESHUTDOWN, -OURO_EFORKED.  After an error nothing runs, and the group is as it
 *           was.
 * Threads:  the caller that began the group, before it calls ouro_group_end(); and the group's own
 *           tasks, at any time.
 * Since:    0.2
 */
OURO_API int ouro_group_spawn(struct ouro_group *group, const struct ouro_task_options *options,
                              ouro_task_function *function, void *arg) OURO_MUST_CHECK;

/*
 * Cancels the tasks of the group, and refuses new ones.  May be called again.
 *
 * Errors:   -EINVAL when the group has not been begun or has ended; -OURO_EFORKED.
 * Threads:  as ouro_group_spawn().
 * Since:    0.2
 */
OURO_API int ouro_group_cancel(struct ouro_group *group);

/*
 * Waits until every task of the group has ended, and ends the group.
 *
 * Suspends: until the last task has ended.  An interruption of the caller (cancellation, deadline,
 *           shutdown) cancels the tasks; the call still waits until they have ended.
 * Errors:   The first failure of a task; else the interruption of the caller, if one came before
 *           all tasks had ended (-ECANCELED, -ETIMEDOUT, -OURO_ESHUTDOWN); else 0, also when
 *           ouro_group_cancel() was called.  -EINVAL when the group has not been begun or has ended
 *           already; -EPERM when another task or thread began it; -OURO_ENORUNTIME, -OURO_EFORKED.
 *           With these four the call does not wait.
 * Threads:  the caller that began the group.
 * Since:    0.2
 */
OURO_API int ouro_group_end(struct ouro_group *group);

/* A shield, in the caller's storage.  Its contents are ouro's. */
struct ouro_shield {
    uint64_t opaque[4];
};

/*
 * Begins a shield on the calling task or thread: cancellation, shutdown and the deadlines of outer
 * scopes are held off until it ends, so that clean-up can finish.
 *
 *     ouro_shield_begin(&shield);
 *     ouro_deadline_begin(&limit, OURO_SECOND);
 *     (void)send_goodbye(stream);              also when the task has been cancelled
 *     ouro_shield_end(&shield);                ends `limit`, too
 *
 * A deadline that is begun inside the shield applies; use one to bound the clean-up.
 * ouro_task_is_cancelled() still returns 1 after a cancellation.  During a shutdown, sleeps and
 * waits for tasks, wakers and blocking calls continue.  Operations on descriptors return
 * -OURO_ESHUTDOWN, because their driver is closing.
 *
 * Shields and deadlines nest with each other: the end of an outer scope ends the inner ones.
 *
 * Owns:     *shield is the caller's until ouro_shield_end().
 * Errors:   -EINVAL without a shield; -OURO_ENORUNTIME, -OURO_EFORKED.  After an error the shield
 *           needs no end, and ending it does nothing.
 * Since:    0.2
 */
OURO_API int ouro_shield_begin(struct ouro_shield *shield);

/*
 * Ends the shield, and the scopes inside it that have not ended.  What was held off takes effect in
 * the next suspending call.  Ending a shield that has ended does nothing.  NULL is ignored.
 *
 * Threads:  the task or thread that began it; from any other it does nothing.
 * Since:    0.2
 */
OURO_API void ouro_shield_end(struct ouro_shield *shield);

#ifdef __cplusplus
}
#endif

#endif
