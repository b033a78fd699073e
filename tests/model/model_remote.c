/* SPDX-License-Identifier: MIT */
/*
 * Models of an operation whose waiter and driver live on different threads (task/remote.c): submit
 * goes out, a cancellation perhaps, one reply comes back, and all of it lies in the waiter's
 * frame, which is gone, and overwritten, as soon as the waiter returns.
 */
#include "model/explorer.h"

#include "task/handle.h"
#include "task/park.h"
#include "task/remote.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct ouro__driver_handle there; /* the driver's */
static struct ouro__driver driver;
static struct ouro__scheduled_io sio;
static struct ouro__worker home; /* the waiter's, in the second model */
static struct ouro__context context;
static struct ouro_handle runtime;

static struct ouro__op *inflight;
static bool cancel_asked;
static bool waiter_sleeps; /* on its futex */
static bool deadline_passed;
static bool returned;
static unsigned completions;
static unsigned submits, cancels;
static unsigned held; /* references to the waiter's runtime */

_Thread_local struct ouro__context *ouro__context_of_thread;

/* The driver's thread, as far as remote.c sees it. */
bool ouro__driver_send(struct ouro__driver_handle *handle, struct ouro__inbox_node *node)
{
    bool sent = ouro__inbox_push(&handle->inbox, node);
    ouro__model_point();
    /* With the reply the waiter's runtime may end: the unpark that follows needs it still. */
    MODEL_CHECK(handle != &home.io.handle || held > 0);
    return sent;
}

void ouro__driver_submit(struct ouro__driver *to, struct ouro__op *op)
{
    MODEL_CHECK(to == &driver && !returned && submits++ == 0);
    inflight = op;
    model_note("submits");
}

void ouro__driver_cancel(struct ouro__driver *to, struct ouro__op *op)
{
    MODEL_CHECK(to == &driver && !returned && cancels++ == 0);
    model_note("cancels");
    if (inflight == op)
        cancel_asked = true;
}

void ouro__trace_emit(const struct ouro__driver_handle *handle, struct ouro_trace_event *event)
{
    (void)handle;
    (void)event;
}

/* The waiter's. */
struct ouro_handle *ouro_handle_ref(struct ouro_handle *handle)
{
    MODEL_CHECK(handle == &runtime && !returned);
    held++;
    return handle;
}

void ouro_handle_unref(struct ouro_handle *handle)
{
    MODEL_CHECK(handle == NULL || (handle == &runtime && held-- > 0));
}

int ouro__context_tell_interruption(struct ouro__context *asking)
{
    (void)asking;
    return deadline_passed ? -ETIMEDOUT : 0;
}

void ouro__context_wake_here(struct ouro__context *woken)
{
    MODEL_CHECK(woken == &context && !returned);
}

static bool is_futex_woken(void *arg)
{
    const bool *timed_out = arg;
    return !waiter_sleeps || (timed_out != NULL && *timed_out);
}

/* The kernel: futex(2) looks at the word and goes to sleep in one step. */
long syscall(long number, ...)
{
    va_list args;
    va_start(args, number);
    _Atomic uint32_t *word = va_arg(args, _Atomic uint32_t *);
    int operation = va_arg(args, int);
    uint32_t value = va_arg(args, uint32_t);
    const struct timespec *timeout = va_arg(args, const struct timespec *);
    va_end(args);
    MODEL_CHECK(number == SYS_futex);
    ouro__model_point();
    if ((operation & ~FUTEX_PRIVATE_FLAG) == FUTEX_WAKE) {
        waiter_sleeps = false; /* the word itself is not looked at: it may be gone */
        return 0;
    }
    if (*word != value)
        return -1;
    waiter_sleeps = true;
    model_wait_until(is_futex_woken, timeout == NULL ? NULL : &deadline_passed);
    waiter_sleeps = false;
    return 0;
}

static bool has_home_message(void *arg)
{
    (void)arg;
    return !ouro__inbox_is_empty(&home.io.handle.inbox) ||
           (deadline_passed && context.op != NULL && context.cancel_op != NULL);
}

/* The waiter's worker runs its messages and its timers, as task/park.c does. */
void ouro__context_park(struct ouro__context *parked)
{
    model_wait_until(has_home_message, NULL);
    ouro__inbox_drain(&home.io.handle.inbox);
    if (deadline_passed && parked->op != NULL && parked->cancel_op != NULL &&
        !parked->op->finished) {
        void (*cancel_op)(struct ouro__op * op) = parked->cancel_op;
        parked->cancel_op = NULL; /* asked once */
        cancel_op(parked->op);
    }
}

static void begin(void)
{
    memset(&context, 0, sizeof(context));
    memset(&there, 0, sizeof(there));
    memset(&home, 0, sizeof(home));
    there.driver = &driver;
    driver.handle = &there;
    sio.handle = &there;
    context.handle = &runtime;
    context.is_shutdown = &runtime.is_shutdown;
    context.deadline_ns = 1; /* it has passed when deadline_passed says so */
    inflight = NULL;
    cancel_asked = false;
    waiter_sleeps = false;
    deadline_passed = false;
    returned = false;
    completions = 0;
    submits = 0;
    cancels = 0;
    held = 0;
}

static void begin_on_worker(void)
{
    begin();
    context.worker = &home;
}

/* What was the callee's frame is other data now. */
OURO__NOINLINE static void overwrite_frame(void)
{
    volatile char rubbish[2048];
    for (size_t i = 0; i < sizeof(rubbish); i++)
        rubbish[i] = (char)0xdb;
}

static void await(void)
{
    struct ouro__op op = {.sio = &sio, .handle = &there};
    ouro__await_remote(&context, &op, false);
    MODEL_CHECK(completions == 1 && submits == 1);
    returned = true;
    overwrite_frame();
    memset(&op, 0xdb, sizeof(op));
    model_note("has returned");
}

static bool has_work(void *arg)
{
    (void)arg;
    return !ouro__inbox_is_empty(&there.inbox) || inflight != NULL;
}

static bool has_message_or_none_will_come(void *arg)
{
    (void)arg;
    return !ouro__inbox_is_empty(&there.inbox) || returned;
}

/* The operation ends by itself, sooner or later, or because it was cancelled. */
static void drive(void)
{
    unsigned patience = model_choose(3);
    while (completions == 0) {
        model_wait_until(has_work, NULL);
        ouro__inbox_drain(&there.inbox);
        if (inflight == NULL || (!cancel_asked && patience-- > 0 && !deadline_passed))
            continue;
        struct ouro__op *op = inflight;
        inflight = NULL;
        op->result = cancel_asked ? -ECANCELED : 0;
        completions++;
        model_note("is done");
        op->done(op);
    }
    while (!returned || !ouro__inbox_is_empty(&there.inbox)) {
        model_wait_until(has_message_or_none_will_come, NULL);
        MODEL_CHECK(!returned || ouro__inbox_is_empty(&there.inbox)); /* a message of the dead */
        ouro__inbox_drain(&there.inbox);
    }
}

/* As drive(), by a driver that closes as soon as nothing is in flight and nothing has arrived. */
static void drive_and_close(void)
{
    unsigned patience = model_choose(2);
    while (completions == 0 || !ouro__inbox_close(&there.inbox)) {
        if (completions == 0)
            model_wait_until(has_work, NULL);
        ouro__inbox_drain(&there.inbox);
        if (inflight == NULL || (!cancel_asked && patience-- > 0 && !deadline_passed))
            continue;
        struct ouro__op *op = inflight;
        inflight = NULL;
        op->result = cancel_asked ? -ECANCELED : 0;
        completions++;
        model_note("is done");
        op->done(op);
    }
    model_note("has closed");
}

static void pass_deadline(void)
{
    ouro__model_point();
    deadline_passed = true;
    model_note("the deadline passes");
}

static void all_home(void)
{
    MODEL_CHECK(returned && inflight == NULL && held == 0);
    MODEL_CHECK(ouro__inbox_is_empty(&there.inbox) && ouro__inbox_is_empty(&home.io.handle.inbox));
}

static const struct model models[] = {
    {.name = "a plain thread waits",
     .begin = begin,
     .thread = {await, drive},
     .end = all_home,
     .preemptions = MODEL_ANY},
    {.name = "a plain thread waits and gives up",
     .begin = begin,
     .thread = {await, drive, pass_deadline},
     .end = all_home,
     .preemptions = 5},
    {.name = "a task waits and is cancelled",
     .begin = begin_on_worker,
     .thread = {await, drive, pass_deadline},
     .end = all_home,
     .preemptions = 5},
    {.name = "a plain thread gives up while the driver closes",
     .begin = begin,
     .thread = {await, drive_and_close, pass_deadline},
     .end = all_home,
     .preemptions = 5},
    {.name = "a task is cancelled while the driver closes",
     .begin = begin_on_worker,
     .thread = {await, drive_and_close, pass_deadline},
     .end = all_home,
     .preemptions = 5},
};

int main(int argc, char **argv)
{
    return model_main(argc, argv, models, OURO__ARRAY_LEN(models));
}
