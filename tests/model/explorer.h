/* SPDX-License-Identifier: MIT */
/*
 * The schedule explorer: runs a model, two to four small threads over the library's own lock-free
 * code, in every order in which its atomic accesses and locks can interleave, and checks each.
 *
 * The threads of a model are coroutines.  With OURO_MODEL every access through base/atomic.h and
 * every lock of base/mutex.h first comes here, where the explorer decides who goes on.  What lies
 * between two such points is one step; a run is a list of decisions, and the runs are gone through
 * depth first, by running again from the beginning with the next list.  So a failed run can be
 * shown again, step by step.
 *
 * The memory is sequentially consistent here: orders weaker than that are for ThreadSanitizer.
 */
#ifndef OURO_MODEL_EXPLORER_H
#define OURO_MODEL_EXPLORER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MODEL_THREADS_MAX = 4, MODEL_ANY = -1 };

typedef void model_function(void);

struct model {
    const char *name;
    model_function *begin;                     /* makes the state afresh; runs alone */
    model_function *thread[MODEL_THREADS_MAX]; /* NULL: no more */
    model_function *end;                       /* checks, when all threads have ended; runs alone */
    model_function *handler; /* a signal handler: runs once or never, anywhere in thread[0] */
    int preemptions;         /* at most so many switches away from who could go on; MODEL_ANY */
};

/* Runs all models of a program; its main() returns this.  The options stand in the .c. */
int model_main(int argc, char **argv, const struct model *models, size_t count);

/* Inside a run: one of @count things happens; all are tried. */
unsigned model_choose(unsigned count);

/* The calling thread goes on no sooner than @holds(@arg); when nobody can go on the run has failed.
 */
void model_wait_until(bool (*holds)(void *arg), void *arg);

/* From @quiet true to false the calling thread is not interrupted: a burst that is one step. */
void model_quiet(bool quiet);

/* Whether the calling thread holds @lock. */
struct ouro__mutex;
bool model_holds(const struct ouro__mutex *lock);

/* A line that is shown when a failed run is repeated. */
void model_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The run has failed.  Does not return inside a thread. */
void model_fail(const char *what, const char *file, int line);

#define MODEL_CHECK(condition)                                                                     \
    do {                                                                                           \
        if (!(condition))                                                                          \
            model_fail(#condition, __FILE__, __LINE__);                                            \
    } while (0)

#endif
