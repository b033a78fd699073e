/* SPDX-License-Identifier: MIT */
/*
 * Group: tasks whose ends are awaited by the context that began them.
 *
 * A group lies in its caller's storage and links its tasks, which lie on their own stacks; so a
 * task of a group costs no memory beyond itself.  Its joiner word is OURO__JOINER_GROUP: the task
 * has no holder.  At its end it reports to the group, and is then released as a detached task is.
 *
 * Tasks end on any worker, so a lock guards the list.  The lock also makes a cancel safe: a task
 * leaves the list under it before its memory can be released, so every task in the list may be sent
 * a cancel.  A new task is linked and started under the lock too, so that its birth message stands
 * in the worker's inbox before a cancel for it.
 *
 * The last thing a task does with the group is to unlock.  The caller looks under the lock whether
 * the list is empty, so when it finds it empty, no task will touch the group again.
 *
 * Owns:    nothing; the storage is the caller's, the tasks are their workers'.
 * Threads: begin and end, the caller; a task's end, its worker; spawn and cancel, any of these.
 * Always:  a task is in the list from its start until it has reported its end.
 * Tests:   tests/task/test_group.c, tests/task/test_group_misuse.c,
 *          tests/model/model_group.c
 */
#include <ouro/group.h>

#include "base/mutex.h"
#include "task/handle.h"
#include "task/task.h"
#include "task/wait.h"
#include "task/wake_ref.h"

#include <ouro/error.h>

#include <errno.h>

/* "ougroup", and the group's address, so that neither other memory nor a copy passes for a group.
 */
#define MAGIC UINT64_C(0x6f7567726f757000)

struct group {
    uint64_t magic;                /* MAGIC + the address, from begin to end */
    struct ouro__context *context; /* began it, and ends it */
    uint32_t flags;
    struct ouro__mutex lock; /* guards what follows, and the tasks' group_link */
    bool is_cancelled;
    bool is_awaited; /* the context waits, or is about to, for the last task to end */
    int failure;     /* of the first task that failed */
    struct ouro__list tasks;
};

_Static_assert(sizeof(struct group) <= sizeof(struct ouro_group),
               "a group must fit the caller's storage");
_Static_assert(_Alignof(struct group) <= _Alignof(struct ouro_group), "and be aligned in it");

static uint64_t magic_of(const struct group *group)
{
    return MAGIC + (uintptr_t)group;
}

/* 0, -EINVAL or -OURO_EFORKED. */
static int find(struct ouro_group *storage, struct group **out_group)
{
    struct group *group = (struct group *)(void *)storage;
    if (group == NULL || group->magic != magic_of(group))
        return -EINVAL;
    if (ouro__fork_is_child(group->context->fork_generation))
        return -OURO_EFORKED;
    *out_group = group;
    return 0;
}

static void cancel_locked(struct group *group)
{
    if (group->is_cancelled)
        return;
    group->is_cancelled = true;
    for (struct ouro__list *at = group->tasks.next; at != &group->tasks; at = at->next)
        (void)ouro_task_cancel(OURO__CONTAINER_OF(at, struct ouro_task, group_link));
}

/* Called on the task's own stack.  The task has ended; only its memory is still in use. */
static void task_ended(struct ouro_task *task)
{
    struct group *group = task->group;
    int result = task->result;
    struct ouro__wake_ref *waiter = NULL;
    ouro__mutex_lock(&group->lock);
    ouro__list_remove(&task->group_link);
    bool was_asked_to = group->is_cancelled && result == -ECANCELED;
    if (result < 0 && group->failure == 0 && !was_asked_to) {
        group->failure = result;
        if ((group->flags & OURO_GROUP_F_COLLECT_ALL) == 0)
            cancel_locked(group);
    }
    if (group->is_awaited && ouro__list_is_empty(&group->tasks)) {
        waiter = group->context->wake_ref;
        ouro__wake_ref_ref(waiter);
    }
    ouro__mutex_unlock(&group->lock);
    /* From here on the group may be gone, and its context too. */
    if (waiter != NULL) {
        ouro__wake_ref_wake(waiter);
        ouro__wake_ref_unref(waiter);
    }
}

int ouro_group_begin(struct ouro_group *storage, uint32_t flags)
{
    struct group *group = (struct group *)(void *)storage;
    if (group == NULL || (flags & ~OURO_GROUP_F_COLLECT_ALL) != 0)
        return -EINVAL;
    group->magic = 0;
    struct ouro__context *context = NULL;
    int rc = ouro__context_enter(&context);
    if (rc == 0)
        rc = ouro__context_prepare(context); /* so that waiting needs no memory */
    if (rc < 0)
        return rc;
    *group = (struct group){.context = context, .flags = flags};
    ouro__mutex_init(&group->lock);
    ouro__list_init(&group->tasks);
    group->magic = magic_of(group);
    context->groups++;
    return 0;
}

int ouro_group_spawn(struct ouro_group *storage, const struct ouro_task_options *options,
                     ouro_task_function *function, void *arg)
{
    struct group *group = NULL;
    int rc = find(storage, &group);
    if (rc < 0)
        return rc;
    struct ouro_task *task = NULL;
    rc = ouro__task_make(group->context->handle, options, function, arg, OURO__JOINER_GROUP, &task);
    if (rc < 0)
        return rc;
    task->on_end = task_ended;
    task->group = group;
    ouro__mutex_lock(&group->lock);
    rc = group->is_cancelled ? -ECANCELED : 0;
    if (rc == 0) {
        ouro__list_push_back(&group->tasks, &task->group_link);
        rc = ouro__task_start(task);
        if (rc < 0)
            ouro__list_remove(&task->group_link);
    }
    ouro__mutex_unlock(&group->lock);
    if (rc < 0)
        ouro__task_unmake(task);
    return rc;
}

int ouro_group_cancel(struct ouro_group *storage)
{
    struct group *group = NULL;
    int rc = find(storage, &group);
    if (rc < 0)
        return rc;
    ouro__mutex_lock(&group->lock);
    cancel_locked(group);
    ouro__mutex_unlock(&group->lock);
    return 0;
}

static bool is_empty(void *arg)
{
    struct group *group = arg;
    ouro__mutex_lock(&group->lock);
    bool empty = ouro__list_is_empty(&group->tasks);
    group->is_awaited = !empty;
    ouro__mutex_unlock(&group->lock);
    return empty;
}

int ouro_group_end(struct ouro_group *storage)
{
    struct ouro__context *context = NULL;
    struct group *group = NULL;
    int rc = ouro__context_enter(&context);
    if (rc == 0)
        rc = find(storage, &group);
    if (rc == 0 && group->context != context)
        rc = -EPERM;
    if (rc < 0)
        return rc;
    int interruption = ouro__wait(context, is_empty, group);
    if (interruption < 0) {
        (void)ouro_group_cancel(storage);
        ouro__wait_uninterruptible(context, is_empty, group);
    }
    int failure = group->failure;
    ouro__mutex_fini(&group->lock);
    group->magic = 0;
    context->groups--;
    return failure < 0 ? failure : interruption;
}
