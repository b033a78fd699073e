/* SPDX-License-Identifier: MIT */
/*
 * Models of a group's end (task/group.c) and of its tasks' ends: one thread is the caller that
 * begins, spawns and ends the group; two are workers, which run a task each at a time; one
 * interrupts the caller.  The group's storage is overwritten as soon as its end has returned, and a
 * task's memory as soon as the task has ended.
 */
#include "model/explorer.h"

#include "task/handle.h"
#include "task/task.h"
#include "task/wait.h"
#include "task/wake_ref.h"

#include <ouro/group.h>

#include <errno.h>
#include <string.h>

enum { TASKS = 3, WORKERS = 2, INTERRUPTION = -ETIMEDOUT };

struct ouro__wake_ref {
    unsigned references;
    bool is_woken;
};

/* What a task does: waits to be cancelled first or not, spawns another or not, and its result. */
struct job {
    bool waits;
    bool spawns;
    int result;
};

enum state { NONE, MADE, STARTED, ENDED };

static struct ouro_group group;
static struct ouro__context caller;
static struct ouro__wake_ref wake_ref;
static struct ouro_handle runtime;
static struct ouro_task task[TASKS];
static enum state state[TASKS];
static struct job job[TASKS];
static unsigned cancels[TASKS];
static bool has_returned[TASKS]; /* its function */
static unsigned made;
static int start_fails; /* the number of the task whose start fails, or -1 */
static bool is_interrupted;
static bool is_over; /* the group has ended: no worker gets another task */
static int end_rc;

_Thread_local struct ouro__context *ouro__context_of_thread;
uint32_t ouro__fork_count;

static unsigned number_of(const struct ouro_task *one)
{
    return (unsigned)(one - task);
}

/* What group.c needs of the others. */
int ouro__context_why_not(const struct ouro__context *context)
{
    (void)context;
    return -ENOENT;
}

int ouro__context_prepare(struct ouro__context *context)
{
    context->wake_ref = &wake_ref;
    return 0;
}

void ouro__wake_ref_ref(struct ouro__wake_ref *ref)
{
    ouro__model_point();
    MODEL_CHECK(ref == &wake_ref && ref->references > 0);
    ref->references++;
}

void ouro__wake_ref_unref(struct ouro__wake_ref *ref)
{
    ouro__model_point();
    MODEL_CHECK(ref == &wake_ref && ref->references > 0);
    ref->references--;
}

void ouro__wake_ref_wake(struct ouro__wake_ref *ref)
{
    ouro__model_point();
    MODEL_CHECK(ref == &wake_ref && ref->references > 0);
    ref->is_woken = true;
}

int ouro__task_make(struct ouro_handle *handle, const struct ouro_task_options *options,
                    ouro_task_function *function, void *arg, uintptr_t joiner,
                    struct ouro_task **out_task)
{
    MODEL_CHECK(handle == &runtime && options == NULL && joiner == OURO__JOINER_GROUP);
    MODEL_CHECK(made < TASKS && state[made] == NONE);
    task[made].function = function;
    task[made].arg = arg;
    state[made] = MADE;
    *out_task = &task[made++];
    return 0;
}

int ouro__task_start(struct ouro_task *one)
{
    unsigned number = number_of(one);
    ouro__model_point();
    MODEL_CHECK(state[number] == MADE);
    if (start_fails == (int)number)
        return -ESRCH;
    state[number] = STARTED;
    model_note("task %u has started", number);
    return 0;
}

void ouro__task_unmake(struct ouro_task *one)
{
    MODEL_CHECK(state[number_of(one)] == MADE);
    state[number_of(one)] = ENDED;
    memset(one, 0xdb, sizeof(*one));
}

int ouro_task_cancel(struct ouro_task *one)
{
    unsigned number = number_of(one);
    ouro__model_point();
    MODEL_CHECK(number < TASKS && state[number] == STARTED);
    MODEL_CHECK(++cancels[number] == 1);
    model_note("task %u is cancelled", number);
    return 0;
}

static bool has_reason_to_look(void *arg)
{
    return wake_ref.is_woken || (arg != NULL && is_interrupted);
}

int ouro__wait(struct ouro__context *context, bool (*is_done)(void *arg), void *arg)
{
    while (!is_done(arg)) {
        if (is_interrupted)
            return INTERRUPTION;
        model_wait_until(has_reason_to_look, context);
        wake_ref.is_woken = false;
    }
    return 0;
}

void ouro__wait_uninterruptible(struct ouro__context *context, bool (*is_done)(void *arg),
                                void *arg)
{
    (void)context;
    while (!is_done(arg)) {
        model_wait_until(has_reason_to_look, NULL);
        wake_ref.is_woken = false;
    }
}

/* The function of every task is only a name here: work() plays it. */
static int plays(void *arg)
{
    (void)arg;
    return 0;
}

static void begin(void)
{
    memset(&group, 0, sizeof(group));
    memset(task, 0, sizeof(task));
    memset(state, 0, sizeof(state));
    memset(job, 0, sizeof(job));
    memset(cancels, 0, sizeof(cancels));
    memset(has_returned, 0, sizeof(has_returned));
    memset(&caller, 0, sizeof(caller));
    made = 0;
    start_fails = -1;
    is_interrupted = false;
    is_over = false;
    end_rc = 1;
    wake_ref = (struct ouro__wake_ref){.references = 1};
    caller.handle = &runtime;
}

static bool is_cancelled(void *arg)
{
    return cancels[*(unsigned *)arg] > 0;
}

static void run(unsigned number)
{
    struct ouro_task *self = &task[number];
    if (job[number].spawns) {
        int rc = ouro_group_spawn(&group, NULL, plays, NULL);
        MODEL_CHECK(rc == 0 || rc == -ECANCELED);
    }
    if (job[number].waits)
        model_wait_until(is_cancelled, &number);
    self->result = job[number].result;
    MODEL_CHECK(self->function == plays);
    has_returned[number] = true;
    self->on_end(self);
    state[number] = ENDED;
    memset(self, 0xdb, sizeof(*self));
    model_note("task %u has ended", number);
}

/* Task 2, which another task spawns, runs on the first worker, after its own. */
static bool has_work(void *arg)
{
    unsigned worker = *(unsigned *)arg;
    return is_over || state[worker] == STARTED || (worker == 0 && state[2] == STARTED);
}

static void work(unsigned worker)
{
    for (;;) {
        model_wait_until(has_work, &worker);
        if (state[worker] == STARTED)
            run(worker);
        else if (worker == 0 && state[2] == STARTED)
            run(2);
        else
            return;
    }
}

static void first_worker(void)
{
    work(0);
}

static void second_worker(void)
{
    work(1);
}

static void interrupt(void)
{
    ouro__model_point();
    is_interrupted = true;
    model_note("interrupts the caller");
}

/* The caller, with @count spawns. */
static void call(uint32_t flags, unsigned count)
{
    ouro__context_of_thread = &caller;
    MODEL_CHECK(ouro_group_begin(&group, flags) == 0);
    for (unsigned i = 0; i < count; i++) {
        int rc = ouro_group_spawn(&group, NULL, plays, NULL);
        MODEL_CHECK(rc == 0 || rc == -ECANCELED || (rc == -ESRCH && start_fails == (int)i));
    }
    end_rc = ouro_group_end(&group);
    memset(&group, 0xdb, sizeof(group));
    for (unsigned i = 0; i < TASKS; i++)
        MODEL_CHECK(state[i] != STARTED || has_returned[i]);
    ouro__wake_ref_unref(&wake_ref); /* the context ends */
    is_over = true;
    model_note("the end says %d", end_rc);
}

static void calls(void)
{
    call(0, 2);
}

static void calls_and_collects(void)
{
    call(OURO_GROUP_F_COLLECT_ALL, 2);
}

static void calls_for_one(void)
{
    call(0, 1);
}

static void begin_both_succeed(void)
{
    begin();
}

static void begin_one_fails(void)
{
    begin();
    job[0].result = -EIO;
    job[1] = (struct job){.waits = true, .result = -ENOSPC};
}

static void begin_both_fail(void)
{
    begin();
    job[0].result = -EIO;
    job[1].result = -EIO;
}

static void begin_wait_for_the_interruption(void)
{
    begin();
    job[0] = (struct job){.waits = true, .result = -ECANCELED};
    job[1] = (struct job){.waits = true, .result = -ECANCELED};
}

static void begin_spawns(void)
{
    begin();
    job[0] = (struct job){.spawns = true, .result = 0};
}

static void begin_spawns_and_meets_a_failure(void)
{
    begin();
    job[0] = (struct job){.spawns = true, .waits = true, .result = -ECANCELED};
    job[1].result = -EIO;
    job[2] = (struct job){.waits = true, .result = -ECANCELED};
}

static void begin_start_fails(void)
{
    begin();
    start_fails = 1;
}

static void nothing_left(void)
{
    MODEL_CHECK(wake_ref.references == 0 && caller.groups == 0);
    for (unsigned i = 0; i < TASKS; i++)
        MODEL_CHECK(state[i] == NONE || state[i] == ENDED);
}

static void ends_well(void)
{
    nothing_left();
    MODEL_CHECK(end_rc == 0);
    MODEL_CHECK(cancels[0] == 0 && cancels[1] == 0);
}

static void ends_with_the_first_failure(void)
{
    nothing_left();
    MODEL_CHECK(end_rc == -EIO);
}

static void ends_with_all_collected(void)
{
    ends_with_the_first_failure();
    MODEL_CHECK(cancels[0] == 0 && cancels[1] == 0);
}

static void ends_with_the_interruption(void)
{
    nothing_left();
    MODEL_CHECK(end_rc == INTERRUPTION);
}

#define GROUP(name_, begin_, end_, most_, ...)                                                     \
    {                                                                                              \
        .name = name_, .begin = begin_, .thread = {__VA_ARGS__}, .end = end_, .preemptions = most_ \
    }

static const struct model models[] = {
    GROUP("two tasks succeed", begin_both_succeed, ends_well, 5, calls, first_worker,
          second_worker),
    GROUP("a failure cancels the other task", begin_one_fails, ends_with_the_first_failure, 5,
          calls, first_worker, second_worker),
    GROUP("both fail", begin_both_fail, ends_with_the_first_failure, 5, calls, first_worker,
          second_worker),
    GROUP("both fail, all is collected", begin_both_fail, ends_with_all_collected, 5,
          calls_and_collects, first_worker, second_worker),
    GROUP("the caller is interrupted", begin_wait_for_the_interruption, ends_with_the_interruption,
          3, calls, first_worker, second_worker, interrupt),
    GROUP("a task spawns another", begin_spawns, ends_well, 5, calls_for_one, first_worker,
          second_worker),
    GROUP("a task spawns another as the group fails", begin_spawns_and_meets_a_failure,
          ends_with_the_first_failure, 5, calls, first_worker, second_worker),
    GROUP("a start fails", begin_start_fails, ends_well, 5, calls, first_worker, second_worker),
};

int main(int argc, char **argv)
{
    return model_main(argc, argv, models, OURO__ARRAY_LEN(models));
}
