/* SPDX-License-Identifier: MIT */
/*
 * Worker: a thread's run queue, timer wheel and driver.
 *
 * The loop runs what is ready, looks at the timers and turns the driver; it waits in the driver
 * when nothing is ready.  A context that parks switches straight to the next ready one, without a
 * detour through the loop.  After a slice of such switches the loop gets its turn, because busy
 * tasks would keep the driver from running otherwise.  A slice has room for every context that the
 * last turn has woken, and OURO__SLICE more.  A context left for a later slice would be brought
 * into the cache twice: when it is woken and when it runs, with the kernel's work in between.
 *
 * A context cannot release the stack that it runs on.  One that ends without a holder is left in
 * `ended`, and the context that runs next, or the loop, releases it.
 *
 * Where there is a C++ runtime, the context that runs next also puts its own exceptions in the
 * place of its predecessor's (fiber/exceptions.h).  `ended` is never NULL then, so that a switch
 * needs no other comparison than the one it has, and programs of C pay nothing.
 *
 * Parking and waking a worker's context happen on that worker's thread, so they are plain stores; a
 * wake from another thread is a message to the worker (task/wake_ref.c).
 *
 * Before the worker waits it gives back what idle stacks (fiber/stack_trim.h) and its driver
 * (registry/trim.h) hold, a step at a time, and it waits no longer than until the next step.  A
 * worker that never waits does so every BUSY_ROUNDS_MAX rounds.  The shared pools have no thread of
 * their own: a worker on which one of their stacks became idle looks after them too.
 *
 * Owns:    its driver, timers, stacks and run queue.
 * Threads: its own, for everything; others send messages (registry/inbox.h).
 * Always:  a task's context is running, in the run queue once, or parked.
 * Tests:   tests/task/test_task.c
 */
#include "task/worker.h"

#include "fiber/stack_trim.h"
#include "registry/trim.h"

#include <sched.h>

enum { BUSY_ROUNDS_MAX = 1024, EMBEDDED_ROUNDS_MAX = 8, CALL_COST = OURO__BUDGET / 16 };

int ouro__worker_open(struct ouro__worker *worker, const struct ouro__worker_config *config)
{
    worker->kind = config->kind;
    worker->reports_overflow = config->reports_overflow;
    int rc = ouro__stack_pool_init(&worker->stacks, &config->stacks);
    if (rc < 0)
        return rc;
    if (worker->reports_overflow)
        rc = ouro__overflow_thread_start(&worker->overflow);
    if (rc == 0) {
        rc = ouro__io_handle_open(&worker->io, &config->driver);
        worker->is_refused = rc < 0;
        if (rc < 0 && worker->reports_overflow)
            ouro__overflow_thread_stop(&worker->overflow);
    }
    if (rc < 0) {
        ouro__stack_pool_fini(&worker->stacks);
        return rc;
    }
    ouro__timer_wheel_init(&worker->timers, ouro__clock_now_ns());
    ouro__switch_adopt_thread(&worker->loop);
    if (worker->reports_overflow)
        ouro__overflow_pool_add(&worker->stacks, worker->kind->name_of);
    worker->is_open = true;
    return 0;
}

void ouro__worker_close(struct ouro__worker *worker)
{
    OURO__ASSERT(worker->live == 0);
    if (worker->embedding != NULL)
        ouro__embedding_enter(&worker->io.handle);
    ouro__io_handle_close(&worker->io);
    ouro__pipe_pool_fini(&worker->pipes);
    if (worker->reports_overflow)
        ouro__overflow_thread_stop(&worker->overflow);
    ouro__switch_fini(&worker->loop);
}

void ouro__worker_fini(struct ouro__worker *worker)
{
    /* What is left are tasks that have ended and were neither joined nor detached: their handles
     * are void from here on. */
    ouro__stack_pool_abandon(&worker->stacks);
    ouro__overflow_pool_remove(&worker->stacks);
    ouro__stack_pool_fini(&worker->stacks);
}

/* The next ready context, or NULL when there is none or the loop must have its turn. */
static inline struct ouro__context *next_ready(struct ouro__worker *worker)
{
    if (OURO__UNLIKELY(worker->slice == 0))
        return NULL;
    struct ouro__queue_node *node = ouro__queue_pop(&worker->ready);
    if (node == NULL)
        return NULL;
    worker->slice--;
    if (node->next != NULL)
        ouro__switch_prefetch(&OURO__CONTAINER_OF(node->next, struct ouro__context, ready)->fiber);
    return OURO__CONTAINER_OF(node, struct ouro__context, ready);
}

/* Makes @next (NULL: the loop) the one that runs; returns what to switch to. */
static inline struct ouro__switch *enter(struct ouro__worker *worker, struct ouro__context *next)
{
    worker->running = next;
    ouro__context_set_current(next);
    return next == NULL ? &worker->loop : &next->fiber;
}

/* Leaves the running context for @next (NULL: the loop); returns when it is switched back to.  The
 * switch loses every register, so what is needed afterwards is asked for again: a value kept over
 * it would be stored, and loaded at each use before it, too. */
static OURO__ALWAYS_INLINE void leave_for(struct ouro__worker *worker,
                                          struct ouro__context *context, struct ouro__context *next)
{
    struct ouro__switch *to = enter(worker, next);
    ouro__switch_to(&context->fiber, to);
    ouro__worker_arrived(ouro__context_current()->worker);
}

void ouro__worker_switch_out(struct ouro__worker *worker)
{
    struct ouro__context *context = worker->running;
    struct ouro__context *next = next_ready(worker);
    if (next != context) /* otherwise it was woken before it was left */
        leave_for(worker, context, next);
}

/* The running context goes behind those that are ready. */
static OURO__ALWAYS_INLINE void yield(struct ouro__worker *worker)
{
    struct ouro__context *context = worker->running;
    bool is_alone = ouro__queue_is_empty(&worker->ready);
    if (OURO__UNLIKELY(is_alone && worker->slice > 0)) {
        worker->slice--;
        return;
    }
    ouro__worker_make_ready(worker, context);
    leave_for(worker, context, next_ready(worker));
}

int ouro__worker_yield(struct ouro__worker *worker)
{
    yield(worker);
    return ouro__context_interrupted(ouro__context_current());
}

void ouro__worker_switch_out_for_good(struct ouro__worker *worker)
{
    struct ouro__context *context = worker->running;
    struct ouro__switch *to = enter(worker, next_ready(worker));
    ouro__switch_exit_to(&context->fiber, to);
}

void ouro__worker_arrived_slowly(struct ouro__worker *worker)
{
    struct ouro__context *ended = worker->ended;

    worker->ended = NULL;
    if (worker->exceptions != NULL) {
        struct ouro__exceptions *mine =
            worker->running == NULL ? &worker->loop_exceptions : &worker->running->exceptions;
        if (mine != worker->exceptions_of)
            ouro__exceptions_exchange(worker->exceptions, worker->exceptions_of, mine);
        worker->exceptions_of = mine;
        worker->ended = &worker->main; /* so that the context that runs next comes here, too */
    }
    if (ended != &worker->main)
        worker->kind->release(ended);
}

/* In the loop: from here on the exceptions of contexts are kept apart, if there is a C++ runtime.
 */
static inline void begin_exceptions(struct ouro__worker *worker)
{
    worker->exceptions = ouro__exceptions_here();
    if (OURO__LIKELY(worker->exceptions == NULL))
        return;
    OURO__ASSERT(worker->running == NULL && worker->ended == NULL);
    worker->exceptions_of = &worker->loop_exceptions;
    worker->ended = &worker->main;
}

/* @woken: how many may have been made ready by the driver's last turn. */
static void run_ready(struct ouro__worker *worker, uint64_t woken)
{
    worker->slice =
        OURO__SLICE + (uint32_t)(woken < OURO__SLICE_WOKEN_MAX ? woken : OURO__SLICE_WOKEN_MAX);
    struct ouro__context *context = next_ready(worker);
    if (context == NULL)
        return;
    if (OURO__UNLIKELY(worker->exceptions == NULL))
        begin_exceptions(worker);
    struct ouro__switch *to = enter(worker, context);
    ouro__switch_to(&worker->loop, to);
    ouro__worker_arrived(worker);
}

static bool wants_trim(const struct ouro__worker *worker)
{
    return ouro__stack_trim_is_wanted(&worker->stacks) || worker->trims_shared ||
           ouro__trim_is_wanted(&worker->io.handle);
}

/* Gives back some of what idle stacks and the driver hold; returns when there is more to do. */
OURO__COLD static int64_t trim(struct ouro__worker *worker, int64_t now_ns)
{
    int64_t next_ns = ouro__stack_trim_step(&worker->stacks, now_ns);
    if (ouro__trim_is_wanted(&worker->io.handle)) {
        int64_t driver_ns = ouro__trim_step(&worker->io.handle, now_ns);
        next_ns = driver_ns < next_ns ? driver_ns : next_ns;
    }
    if (worker->trims_shared) {
        int64_t shared_ns = worker->kind->trim_shared(worker->handle, now_ns);
        worker->trims_shared = shared_ns != OURO__NEVER;
        next_ns = shared_ns < next_ns ? shared_ns : next_ns;
    }
    return next_ns;
}

/* When the driver must stop waiting: 0 is at once, OURO__NEVER for no reason of the worker's. */
static int64_t due_ns(struct ouro__worker *worker)
{
    if (!ouro__queue_is_empty(&worker->ready)) {
        if (OURO__UNLIKELY(++worker->busy_rounds >= BUSY_ROUNDS_MAX) && wants_trim(worker)) {
            worker->busy_rounds = 0;
            (void)trim(worker, ouro__clock_now_ns());
        }
        return 0;
    }
    int64_t next_ns = ouro__timer_wheel_next_ns(&worker->timers);
    if (OURO__UNLIKELY(wants_trim(worker))) {
        int64_t trim_ns = trim(worker, ouro__clock_now_ns());
        next_ns = trim_ns < next_ns ? trim_ns : next_ns;
    }
    return next_ns;
}

/* How long the driver may wait. */
static int64_t turn_timeout_ns(struct ouro__worker *worker, int64_t deadline_ns)
{
    int64_t next_ns = due_ns(worker);
    if (next_ns > deadline_ns)
        next_ns = deadline_ns;
    if (next_ns == OURO__NEVER)
        return -1;
    if (next_ns <= 0)
        return 0;
    int64_t now_ns = ouro__clock_now_ns();
    return next_ns > now_ns ? next_ns - now_ns : 0;
}

/* One round of the loop.  @may_wait false: the driver does not wait. */
static void step(struct ouro__worker *worker, bool may_wait, int64_t deadline_ns)
{
    int64_t timeout_ns = may_wait ? turn_timeout_ns(worker, deadline_ns) : 0;
    const struct ouro__counter *completed = &worker->io.handle.counters.completed;
    uint64_t before = ouro__counter_read(completed);
    ouro__io_handle_turn(&worker->io, timeout_ns);
    uint64_t woken = ouro__counter_read(completed) - before;
    if (worker->timers.count > 0)
        ouro__timer_wheel_advance(&worker->timers, ouro__clock_now_ns());
    run_ready(worker, woken);
}

void ouro__context_wake_here(struct ouro__context *context)
{
    if (context->park == OURO__PARK_PARKED && context->task != NULL)
        ouro__worker_make_ready(context->worker, context);
    context->park = OURO__PARK_NOTIFIED;
}

/* The context has been interrupted: ends the wait it is in. */
static void end_wait(struct ouro__context *context)
{
    int reason = ouro__context_interruption(context);
    if (reason == 0)
        return; /* held off */
    if (context->op != NULL && context->op->cancel_reason == 0) {
        context->op->cancel_reason = reason;
        context->cancel_op(context->op);
    }
    ouro__context_wake_here(context);
}

/* The innermost worker whose loop runs on this thread.  In a forked child it may be the parent's.
 */
static _Thread_local struct ouro__worker *worker_of_thread
    __attribute__((tls_model("initial-exec")));

bool ouro__worker_loop_is_here(void)
{
    struct ouro__worker *worker = worker_of_thread;
    return worker != NULL && !ouro__fork_is_child(worker->main.fork_generation);
}

/* What the thread was before it entered the loop. */
struct outside {
    struct ouro__worker *worker;
    struct ouro__context *context;
};

/* Inside the loop there is no current context but a running task's: what the loop calls, such as a
 * waker, cannot wait. */
static struct outside enter_loop(struct ouro__worker *worker)
{
    OURO__ASSERT(worker->running == NULL && !ouro__worker_loop_is_here());
    struct outside outside = {.worker = worker_of_thread, .context = ouro__context_current()};
    if (OURO__UNLIKELY(worker->embedding != NULL))
        ouro__embedding_enter(&worker->io.handle);
    worker_of_thread = worker;
    ouro__context_set_current(NULL);
    return outside;
}

static void leave_loop(struct ouro__worker *worker, struct outside outside)
{
    if (OURO__UNLIKELY(worker->embedding != NULL))
        ouro__embedding_leave(worker->embedding, &worker->io.handle, due_ns(worker));
    worker_of_thread = outside.worker;
    ouro__context_set_current(outside.context);
}

void ouro__worker_run_until_woken(struct ouro__worker *worker, struct ouro__context *context)
{
    struct outside outside = enter_loop(worker);
    run_ready(worker, 0);
    while (context->park != OURO__PARK_NOTIFIED)
        step(worker, true, OURO__NEVER);
    leave_loop(worker, outside);
}

void ouro__worker_run_once(struct ouro__worker *worker, bool may_wait)
{
    struct outside outside = enter_loop(worker);
    run_ready(worker, 0);
    step(worker, may_wait, OURO__NEVER);
    leave_loop(worker, outside);
}

void ouro__worker_turn(struct ouro__worker *worker, int64_t deadline_ns)
{
    struct outside outside = enter_loop(worker);
    if (!ouro__queue_is_empty(&worker->ready))
        deadline_ns = 0;
    run_ready(worker, 0);
    step(worker, true, deadline_ns);
    for (unsigned round = 1; round < EMBEDDED_ROUNDS_MAX; round++) {
        if (ouro__queue_is_empty(&worker->ready) && !ouro__driver_settle(&worker->io.handle))
            break;
        step(worker, false, 0);
    }
    leave_loop(worker, outside);
}

int ouro__worker_embed(struct ouro__worker *worker, struct ouro__embedding *embedding)
{
    int rc = ouro__embedding_begin(embedding, &worker->io.handle, due_ns(worker));
    if (rc == 0)
        worker->embedding = embedding;
    return rc;
}

/* Ends the worker if nothing is left to do. */
static bool try_to_end(struct ouro__worker *worker)
{
    return ouro__driver_is_shut_down(&worker->io.handle) && worker->live == 0 &&
           ouro__io_handle_close_inbox(&worker->io);
}

bool ouro__worker_run_until_end(struct ouro__worker *worker, int64_t deadline_ns)
{
    struct outside outside = enter_loop(worker);
    ouro__inbox_drain(&worker->io.handle.inbox);
    run_ready(worker, 0);
    bool has_ended = false;
    while (!(has_ended = try_to_end(worker)) &&
           (deadline_ns == OURO__NEVER || ouro__clock_now_ns() < deadline_ns))
        step(worker, true, deadline_ns);
    leave_loop(worker, outside);
    return has_ended;
}

void ouro__worker_shut_down(struct ouro__worker *worker)
{
    ouro__io_handle_shut_down(&worker->io);
    end_wait(&worker->main);
    struct ouro__list *next = NULL;
    for (struct ouro__list *at = worker->contexts.next; at != &worker->contexts; at = next) {
        next = at->next;
        /* Contexts that have ended are in the list too.  They have no operation and never park
         * again. */
        end_wait(OURO__CONTAINER_OF(at, struct ouro__context, link));
    }
}

void ouro__context_interrupt(struct ouro__context *context, unsigned interrupt)
{
    context->interrupts |= (uint8_t)interrupt;
    end_wait(context);
}

void ouro__context_spend(struct ouro__context *context)
{
    if (--context->budget > 0)
        return;
    context->budget = OURO__BUDGET;
    if (context->task != NULL)
        yield(context->worker);
}

void ouro__context_spend_call(struct ouro__context *context)
{
    if (context->budget > CALL_COST) {
        context->budget = (uint16_t)(context->budget - CALL_COST);
        return;
    }
    context->budget = OURO__BUDGET;
    ouro__context_yield(context);
}

void ouro__context_yield(struct ouro__context *context)
{
    if (context->task != NULL)
        yield(context->worker);
    else if (context->worker != NULL)
        ouro__worker_run_once(context->worker, false);
    else
        (void)sched_yield();
}

int ouro__context_tell_interruption(struct ouro__context *context)
{
    int rc = ouro__context_interruption(context);
    if (rc < 0)
        ouro__context_spend(context);
    return rc;
}
