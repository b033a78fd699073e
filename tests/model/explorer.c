/* SPDX-License-Identifier: MIT */
/*
 * The schedule explorer.  At every point the candidates are: the running thread, if it can go on,
 * then all others that can.  The first candidate is tried first, so the first run switches only
 * where it must; later ones differ in the last decision that still has an untried candidate.
 *
 * With a bound on preemptions only so many decisions of a run may leave a thread that could go on.
 * Few preemptions suffice for nearly all known races, and the number of runs becomes polynomial.
 *
 * Options of a model's program:
 *   (none)        runs all its models; fails if one run of one model fails
 *   --must-fail   succeeds only if one fails: for mutants
 *   NAME          only this model
 *
 * Owns:    the coroutines and their stacks, for the life of the program.
 * Threads: one; the model's threads are coroutines on it.
 * Always:  the same decisions give the same run.
 */
#include "model/explorer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/atomic.h"
#include "base/mutex.h"
#include "fiber/switch.h"

enum { DECISIONS_MAX = 4096, STEPS_MAX = 100000, STACK_SIZE = 256 * 1024 };
#define RUNS_MAX UINT64_C(200000000)

struct thread {
    struct ouro__switch fiber;
    bool (*holds)(void *arg); /* NULL: it can go on */
    void *arg;
    bool finished;
};

static struct {
    const struct model *model;
    struct ouro__switch outside;
    struct thread thread[MODEL_THREADS_MAX];
    unsigned threads;
    unsigned current;
    bool inside; /* a thread runs, not begin() or end() */
    bool quiet;
    bool in_handler;
    bool handler_done;

    uint8_t chosen[DECISIONS_MAX];
    uint8_t options[DECISIONS_MAX];
    unsigned decisions; /* made so far in this list */
    unsigned at;        /* the next of this run */
    unsigned steps;
    unsigned deepest;
    int preemptions;

    bool failed;
    bool showing; /* repeats a failed run */
    char why[512];
} x;

static _Alignas(16) char stacks[MODEL_THREADS_MAX][STACK_SIZE];

void model_note(const char *format, ...)
{
    if (!x.showing)
        return;
    va_list args;
    va_start(args, format);
    (void)printf("    %*s", (int)(20 * x.current), "");
    (void)vprintf(format, args);
    (void)printf("\n");
    va_end(args);
}

void model_fail(const char *what, const char *file, int line)
{
    if (!x.failed)
        (void)snprintf(x.why, sizeof(x.why), "%s:%d: %s", file, line, what);
    x.failed = true;
    if (x.inside) {
        x.inside = false;
        ouro__switch_to(&x.thread[x.current].fiber, &x.outside); /* for good */
    }
}

/* The library's own assertions are checks of the model. */
void ouro__assert_failed(const char *condition, const char *file, int line, const char *function)
{
    (void)function;
    model_fail(condition, file, line);
    abort();
}

void ouro__panic(const char *what, int code, const char *file, int line)
{
    (void)code;
    model_fail(what, file, line);
    abort();
}

static unsigned decide(unsigned options)
{
    if (options == 1)
        return 0;
    if (x.at == x.decisions) {
        if (x.decisions == DECISIONS_MAX)
            model_fail("too many decisions in one run", __FILE__, __LINE__);
        x.chosen[x.decisions] = 0;
        x.options[x.decisions] = (uint8_t)options;
        x.decisions++;
    }
    if (x.options[x.at] != options)
        model_fail("the model is not deterministic", __FILE__, __LINE__);
    return x.chosen[x.at++];
}

/* The next list of decisions.  False: that was the last. */
static bool advance(void)
{
    while (x.decisions > 0 && x.chosen[x.decisions - 1] + 1 == x.options[x.decisions - 1])
        x.decisions--;
    if (x.decisions == 0)
        return false;
    x.chosen[x.decisions - 1]++;
    return true;
}

unsigned model_choose(unsigned count)
{
    unsigned chosen = decide(count);
    model_note("chooses %u of %u", chosen, count);
    return chosen;
}

static bool handler_is_due(unsigned thread)
{
    return thread == 0 && x.model->handler != NULL && !x.handler_done;
}

/* A condition is looked at by the explorer itself: its accesses are no points. */
static bool holds_now(bool (*holds)(void *arg), void *arg)
{
    bool inside = x.inside;
    x.inside = false;
    bool answer = holds == NULL || holds(arg);
    x.inside = inside;
    return answer;
}

static bool can_go_on(unsigned thread)
{
    const struct thread *t = &x.thread[thread];
    return !t->finished && (holds_now(t->holds, t->arg) || handler_is_due(thread));
}

static void switch_to(unsigned next)
{
    unsigned from = x.current;
    if (next == from)
        return;
    x.current = next;
    ouro__switch_to(&x.thread[from].fiber, &x.thread[next].fiber);
}

static bool all_finished(void)
{
    for (unsigned i = 0; i < x.threads; i++) {
        if (!x.thread[i].finished)
            return false;
    }
    return true;
}

/* Who goes on?  Returns when it is the calling thread again. */
static void schedule(void)
{
    unsigned candidate[MODEL_THREADS_MAX];
    unsigned count = 0;
    bool own = can_go_on(x.current);
    if (own)
        candidate[count++] = x.current;
    if (!own || x.model->preemptions < 0 || x.preemptions < x.model->preemptions) {
        for (unsigned i = 0; i < x.threads; i++) {
            if (i != x.current && can_go_on(i))
                candidate[count++] = i;
        }
    }
    if (count == 0) {
        if (!all_finished())
            model_fail("nobody can go on: a wake was lost, or a lock is held", __FILE__, __LINE__);
        ouro__switch_to(&x.thread[x.current].fiber, &x.outside);
        return;
    }
    if (++x.steps > STEPS_MAX)
        model_fail("the run does not end", __FILE__, __LINE__);
    unsigned next = candidate[decide(count)];
    if (own && next != x.current)
        x.preemptions++;
    switch_to(next);
}

static void run_handler(void)
{
    x.handler_done = true;
    x.in_handler = true;
    model_note("signal handler begins");
    x.model->handler();
    model_note("signal handler ends");
    x.in_handler = false;
}

void ouro__model_point(void)
{
    if (!x.inside || x.quiet)
        return;
    schedule();
    if (handler_is_due(x.current) && !x.in_handler && decide(2) == 1)
        run_handler();
}

void model_wait_until(bool (*holds)(void *arg), void *arg)
{
    struct thread *self = &x.thread[x.current];
    do {
        self->holds = holds;
        self->arg = arg;
        schedule();
        self->holds = NULL;
        if (!holds_now(holds, arg))
            run_handler(); /* only that can have let it go on */
    } while (!holds_now(holds, arg));
}

void model_quiet(bool quiet)
{
    x.quiet = quiet;
}

/* Locks: cooperative.  Taking one is a point; giving it back need not be, the next access is. */
void ouro__mutex_init(struct ouro__mutex *mutex)
{
    mutex->held = 0;
}

void ouro__mutex_fini(struct ouro__mutex *mutex)
{
    OURO__ASSERT(mutex->held == 0);
}

static bool is_free(void *arg)
{
    const struct ouro__mutex *mutex = arg;
    return mutex->held == 0;
}

void ouro__mutex_lock(struct ouro__mutex *mutex)
{
    if (x.inside && !x.quiet)
        model_wait_until(is_free, mutex);
    OURO__ASSERT(mutex->held == 0);
    mutex->held = 1 + (int)x.current;
}

void ouro__mutex_unlock(struct ouro__mutex *mutex)
{
    OURO__ASSERT(mutex->held == 1 + (int)x.current);
    mutex->held = 0;
}

bool model_holds(const struct ouro__mutex *lock)
{
    return lock->held == 1 + (int)x.current;
}

/* A coroutine serves every run: a fresh fiber for each would cost more than the run. */
OURO__NORETURN static void serve(void *arg)
{
    unsigned index = (unsigned)(uintptr_t)arg;
    for (;;) {
        x.model->thread[index]();
        x.thread[index].finished = true;
        schedule();
    }
}

static void make_threads(void)
{
    for (unsigned i = 0; i < x.threads; i++)
        ouro__switch_init(&x.thread[i].fiber, stacks[i], STACK_SIZE, serve, (void *)(uintptr_t)i);
}

static void forget_threads(void)
{
    for (unsigned i = 0; i < x.threads; i++)
        ouro__switch_fini(&x.thread[i].fiber);
}

static void run_once(void)
{
    for (unsigned i = 0; i < x.threads; i++) {
        x.thread[i].finished = false;
        x.thread[i].holds = NULL;
    }
    x.at = 0;
    x.steps = 0;
    x.preemptions = 0;
    x.quiet = false;
    x.in_handler = false;
    x.handler_done = false;
    x.model->begin();
    /* Who begins is a decision, too. */
    x.current = decide(x.threads);
    x.inside = true;
    ouro__switch_to(&x.outside, &x.thread[x.current].fiber);
    x.inside = false;
    if (!x.failed && x.model->end != NULL)
        x.model->end();
    if (x.decisions > x.deepest)
        x.deepest = x.decisions;
}

static double seconds_since(const struct timespec *begin)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - begin->tv_sec) + 1e-9 * (double)(now.tv_nsec - begin->tv_nsec);
}

/* Repeats the run that failed, and lets it tell. */
static void show_failure(uint64_t runs)
{
    char first[sizeof(x.why)];
    memcpy(first, x.why, sizeof(first));
    (void)printf("%s: run %llu failed: %s\n", x.model->name, (unsigned long long)runs, first);
    make_threads();
    x.failed = false;
    x.showing = true;
    run_once();
    x.showing = false;
    (void)printf("    %s\n", x.failed ? x.why : "(it did not fail again)");
    x.failed = true;
}

/* True when every run was good. */
static bool explore(const struct model *model)
{
    struct timespec begin;
    uint64_t runs = 0;
    (void)clock_gettime(CLOCK_MONOTONIC, &begin);
    memset(&x, 0, sizeof(x));
    x.model = model;
    while (x.threads < MODEL_THREADS_MAX && model->thread[x.threads] != NULL)
        x.threads++;
    ouro__switch_adopt_thread(&x.outside);
    make_threads();
    do {
        run_once();
        runs++;
    } while (!x.failed && runs < RUNS_MAX && advance());
    if (x.failed) {
        show_failure(runs);
    } else if (runs == RUNS_MAX) {
        (void)printf("%s: too large to explore\n", model->name);
        x.failed = true;
    } else {
        char bound[32] = "all schedules";
        if (model->preemptions >= 0)
            (void)snprintf(bound, sizeof(bound), "<= %d preemptions", model->preemptions);
        (void)printf("%-44s %u threads, %s: %llu runs, depth %u, %.3f s\n", model->name, x.threads,
                     bound, (unsigned long long)runs, x.deepest, seconds_since(&begin));
    }
    bool good = !x.failed;
    forget_threads();
    return good;
}

int model_main(int argc, char **argv, const struct model *models, size_t count)
{
    const char *only = NULL;
    bool must_fail = false;
    bool good = true;
    size_t explored = 0;
    (void)setvbuf(stdout, NULL, _IOLBF,
                  0); /* a time limit may stop the run: its progress is printed */
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--must-fail") == 0)
            must_fail = true;
        else
            only = argv[i];
    }
    for (size_t i = 0; i < count && good; i++) {
        if (only != NULL && strcmp(only, models[i].name) != 0)
            continue;
        good = explore(&models[i]);
        explored++;
    }
    if (explored == 0) {
        (void)printf("no such model\n");
        return 2;
    }
    if (must_fail)
        (void)printf("%s\n", good ? "the mutant lives: no model noticed it" : "the mutant is dead");
    return good == must_fail ? 1 : 0;
}
