/* SPDX-License-Identifier: MIT */
/*
 * Models of a task's end (task/task.c) and of who holds its handle (task/join.c): on one thread
 * the worker, where the function returns and messages arrive; on another the holder, who joins,
 * gives up, detaches, cancels.  The task's memory is overwritten as soon as it is released.
 */
#include "model/explorer.h"

#include "base/fork.h"
#include "task/handle.h"
#include "task/task.h"
#include "task/wait.h"
#include "task/wake_ref.h"

#include <ouro/waker.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { RESULT = 42 };

struct ouro__wake_ref {
    unsigned references;
    bool is_woken;
};

static struct ouro_handle runtime;
static struct ouro__worker home;    /* where the task lives: never the holder's thread */
static struct ouro__worker spawner; /* whose pool its stack is from: always here */
static struct ouro_task task;
static struct ouro__context waiter;
static struct ouro__wake_ref wake_ref;
static bool is_interrupted;
static bool is_held;
static unsigned released;
static unsigned interrupts;

_Thread_local struct ouro__context *ouro__context_of_thread;
_Thread_local char ouro__thread_here;
uint32_t ouro__fork_count;

void ouro__fork_end(int result)
{
    (void)result;
    abort();
}

/* What the two files need of the others. */
bool ouro__driver_send(struct ouro__driver_handle *handle, struct ouro__inbox_node *node)
{
    MODEL_CHECK(handle == &home.io.handle && released == 0);
    return ouro__inbox_push(&handle->inbox, node);
}

struct ouro_handle *ouro_handle_ref(struct ouro_handle *handle)
{
    MODEL_CHECK(handle == &runtime);
    return handle;
}

void ouro_handle_unref(struct ouro_handle *handle)
{
    MODEL_CHECK(handle == NULL || handle == &runtime);
}

void ouro__stack_put(struct ouro__stack_pool *pool, void *header)
{
    MODEL_CHECK(pool == &spawner.stacks && header == &task && released++ == 0);
    memset(&task, 0xdb, sizeof(task));
    model_note("is released");
}

/* As in task/worker.c, without a C++ runtime. */
void ouro__worker_arrived_slowly(struct ouro__worker *worker)
{
    struct ouro__context *ended = worker->ended;
    worker->ended = NULL;
    worker->kind->release(ended);
}

/* In the worker's table, which nothing calls here. */
int64_t ouro__handle_trim_shared_stacks(struct ouro_handle *handle, int64_t now_ns)
{
    (void)handle;
    (void)now_ns;
    return OURO__NEVER;
}

void ouro__context_fini(struct ouro__context *context)
{
    MODEL_CHECK(context == &task.context);
}

void ouro__context_interrupt(struct ouro__context *context, unsigned interrupt)
{
    MODEL_CHECK(context == &task.context && interrupt == OURO__INTERRUPT_CANCEL && released == 0);
    interrupts++;
}

int ouro__context_why_not(const struct ouro__context *context)
{
    (void)context;
    return -ENOENT;
}

void ouro__wake_ref_wake(struct ouro__wake_ref *ref)
{
    ouro__model_point();
    MODEL_CHECK(ref == &wake_ref && ref->references > 0);
    ref->is_woken = true;
}

void ouro__wake_ref_unref(struct ouro__wake_ref *ref)
{
    MODEL_CHECK(ref == &wake_ref && ref->references > 0);
    ref->references--;
}

/* The waker that is polled with; its data is not the wake_ref. */
struct polling {
    unsigned clones;
    unsigned drops;
    bool is_woken;
};

static struct polling polling;

/* The model stands in for ouro_waker_clone(), _wake() and _drop(), so the table is only looked at:
 * a waker without all three functions is refused. */
static void *not_cloned(void *data)
{
    MODEL_CHECK(false);
    return data;
}

static void not_called(void *data)
{
    (void)data;
    MODEL_CHECK(false);
}

static const struct ouro_waker_vtable vtable = {
    .clone = not_cloned, .wake = not_called, .drop = not_called};
static const struct ouro_waker poll_waker = {.vtable = &vtable, .data = &polling};

struct ouro_waker ouro_waker_clone(const struct ouro_waker *waker)
{
    ouro__model_point();
    MODEL_CHECK(waker->data == &polling);
    polling.clones++;
    return *waker;
}

void ouro_waker_wake(const struct ouro_waker *waker)
{
    ouro__model_point();
    MODEL_CHECK(waker->data == &polling && polling.drops < polling.clones);
    polling.is_woken = true;
    model_note("wakes the waker");
}

void ouro_waker_drop(struct ouro_waker *waker)
{
    ouro__model_point();
    MODEL_CHECK(waker->data == &polling);
    MODEL_CHECK(polling.drops < polling.clones);
    polling.drops++;
}

int ouro__context_prepare(struct ouro__context *context)
{
    MODEL_CHECK(context->wake_ref == &wake_ref);
    return 0;
}

void ouro__wake_ref_ref(struct ouro__wake_ref *ref)
{
    MODEL_CHECK(ref == &wake_ref && ref->references > 0);
    ref->references++;
}

static bool has_reason_to_go_on(void *arg)
{
    return wake_ref.is_woken || (arg != NULL && is_interrupted);
}

int ouro__wait(struct ouro__context *context, bool (*is_done)(void *arg), void *arg)
{
    while (!is_done(arg)) {
        if (is_interrupted)
            return -ECANCELED;
        model_wait_until(has_reason_to_go_on, context);
        wake_ref.is_woken = false;
    }
    return 0;
}

void ouro__wait_uninterruptible(struct ouro__context *context, bool (*is_done)(void *arg),
                                void *arg)
{
    (void)context;
    while (!is_done(arg)) {
        model_wait_until(has_reason_to_go_on, NULL);
        wake_ref.is_woken = false;
    }
}

static void begin(void)
{
    memset(&runtime, 0, sizeof(runtime));
    memset(&home, 0, sizeof(home));
    memset(&spawner, 0, sizeof(spawner));
    memset(&task, 0, sizeof(task));
    memset(&waiter, 0, sizeof(waiter));
    wake_ref = (struct ouro__wake_ref){.references = 1};
    polling = (struct polling){.clones = 0};
    is_interrupted = false;
    is_held = true;
    released = 0;
    interrupts = 0;
    spawner.io.handle.owner = ouro__thread_identity();
    ouro__list_init(&home.contexts);
    home.kind = &ouro__task_kind;
    home.handle = &runtime;
    home.live = 1;
    task.context.handle = &runtime;
    task.context.worker = &home;
    task.stack_owner = &spawner;
    ouro__list_push_back(&home.contexts, &task.context.link);
    waiter.handle = &runtime;
    waiter.wake_ref = &wake_ref;
    ouro__context_of_thread = &waiter;
}

static bool has_message(void *arg)
{
    (void)arg;
    return !ouro__inbox_is_empty(&home.io.handle.inbox);
}

/* The worker: perhaps a message first, then the function returns, then the rest. */
static void work(void)
{
    if (model_choose(2) == 1)
        ouro__inbox_drain(&home.io.handle.inbox);
    task.result = RESULT;
    ouro__task_end(&task);
    model_note("has ended");
    ouro__worker_arrived(&home);
    while (released == 0) {
        model_wait_until(has_message, NULL);
        ouro__inbox_drain(&home.io.handle.inbox);
    }
}

static void join(void)
{
    int result = 0;
    is_interrupted = false;
    ouro__task_join_uninterruptible(&task, &result);
    MODEL_CHECK(result == RESULT);
    is_held = false;
    model_note("has joined");
}

/* True: it has given up. */
static bool try_to_join(void)
{
    int result = 0;
    int rc = ouro_task_join(&task, &result);
    MODEL_CHECK(rc == 0 ? result == RESULT : rc == -ECANCELED && is_interrupted);
    is_held = rc != 0;
    model_note("join says %d", rc);
    return is_held;
}

static void detach(void)
{
    ouro_task_detach(&task);
    is_held = false;
    model_note("has detached");
}

static void joins(void)
{
    MODEL_CHECK(!try_to_join());
}

static void joins_again(void)
{
    if (try_to_join())
        join();
}

static void gives_up_and_detaches(void)
{
    if (try_to_join())
        detach();
}

static void cancels_and_joins(void)
{
    MODEL_CHECK(ouro_task_cancel(&task) == 0);
    MODEL_CHECK(ouro_task_cancel(&task) == 0);
    join();
}

static void cancels_and_detaches(void)
{
    MODEL_CHECK(ouro_task_cancel(&task) == 0);
    detach();
}

static bool is_poll_woken(void *arg)
{
    (void)arg;
    return polling.is_woken;
}

/* True: the task has ended, and is gone. */
static bool poll_once(void)
{
    int result = 0;
    int rc = ouro_task_poll_join(&task, &poll_waker, &result);
    MODEL_CHECK(rc == OURO_POLL_PENDING || (rc == OURO_POLL_READY && result == RESULT));
    is_held = rc == OURO_POLL_PENDING;
    model_note("poll says %d", rc);
    return !is_held;
}

static void polls(void)
{
    while (!poll_once())
        model_wait_until(is_poll_woken, NULL);
}

/* The second poll puts a clone in the place of the first one's. */
static void polls_twice(void)
{
    if (!poll_once())
        polls();
}

static void polls_and_joins(void)
{
    if (!poll_once())
        join();
}

static void polls_and_detaches(void)
{
    if (!poll_once())
        detach();
}

static void interrupt(void)
{
    ouro__model_point();
    is_interrupted = true;
    model_note("interrupts the wait");
}

static void nothing_left(void)
{
    MODEL_CHECK(released == 1 && !is_held && interrupts <= 1);
    MODEL_CHECK(wake_ref.references == 1);
    MODEL_CHECK(polling.drops == polling.clones);
    MODEL_CHECK(home.live == 0 && ouro__list_is_empty(&home.contexts));
    MODEL_CHECK(ouro__inbox_is_empty(&home.io.handle.inbox));
}

#define HOLDER(name_, ...)                                                                         \
    {                                                                                              \
        .name = name_, .begin = begin, .thread = {work, __VA_ARGS__}, .end = nothing_left,         \
        .preemptions = MODEL_ANY                                                                   \
    }

static const struct model models[] = {
    HOLDER("the holder joins", joins),
    HOLDER("the holder detaches", detach),
    HOLDER("the holder cancels, twice, and joins", cancels_and_joins),
    HOLDER("the holder cancels and detaches", cancels_and_detaches),
    HOLDER("the holder polls until it is woken", polls),
    HOLDER("the holder polls twice, then until it is woken", polls_twice),
    HOLDER("the holder polls, then joins", polls_and_joins),
    HOLDER("the holder polls, then detaches", polls_and_detaches),
    HOLDER("a join is interrupted and made again", joins_again, interrupt),
    HOLDER("a join is interrupted, then the task detached", gives_up_and_detaches, interrupt),
};

int main(int argc, char **argv)
{
    return model_main(argc, argv, models, OURO__ARRAY_LEN(models));
}
