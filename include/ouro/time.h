/* SPDX-License-Identifier: MIT */
/*
 * Sleeping, and deadlines that hold for everything called inside them.
 *
 *     struct ouro_deadline scope;
 *     ouro_deadline_begin(&scope, 2 * OURO_SECOND);
 *     rc = fetch_page(...);                  any suspending call in there: -ETIMEDOUT after 2 s
 *     ouro_deadline_end(&scope);
 *
 * or, where a function has several returns,
 *
 *     OURO_DEADLINE(scope, 2 * OURO_SECOND);   ends where the variable `scope` goes out of scope
 *
 * Scopes nest; the earliest deadline counts.  The end of a scope also ends the scopes inside it.
 * So a scope that was not ended lasts no longer than the scope around it, or the task.  A scope
 * belongs to the task (or thread) that began it.  It is not inherited: a spawned task starts
 * without a deadline.
 */
#ifndef OURO_TIME_H
#define OURO_TIME_H

#include <ouro/api.h>

#ifdef __cplusplus
extern "C" {
#endif

#define OURO_MICROSECOND INT64_C(1000)
#define OURO_MILLISECOND INT64_C(1000000)
#define OURO_SECOND INT64_C(1000000000)

/* A scope, in the caller's storage.  Its contents are ouro's. */
struct ouro_deadline {
    uint64_t opaque[4];
};

#if defined(__GNUC__)
/*
 * Declares a scope, begins it, and ends it where the variable @name goes out of scope.  An error of
 * ouro_deadline_begin() is not reported.  The suspending calls inside return the same error, except
 * -OURO_ETIMEDISABLED: then they run without a deadline.  Only compilers with
 * __attribute__((cleanup)) have it (gcc, clang), in C and in C++.  A longjmp does not end the
 * scope.
 */
#define OURO_DEADLINE(name, timeout_ns)                                                            \
    __attribute__((cleanup(ouro_deadline_end))) struct ouro_deadline name;                         \
    (void)ouro_deadline_begin(&(name), (timeout_ns))
#endif

/*
 * Returns the time in nanoseconds on CLOCK_MONOTONIC, the clock of all of ouro's deadlines.
 *
 * Threads: any.
 * Since:   0.1
 */
OURO_API int64_t ouro_now_ns(void);

/*
 * Waits for @duration_ns nanoseconds; zero or less yields once.
 *
 * Suspends: for the duration, never shorter.  The resolution is 100 us: sleeps and deadlines that
 *           end so close to each other may end together.  The kernel may add its timer slack, 50 us
 *           by default (PR_SET_TIMERSLACK in prctl(2)).
 * Errors:   those of every suspending call; -OURO_ETIMEDISABLED.
 * Since:    0.1
 */
OURO_API int ouro_sleep(int64_t duration_ns);

/*
 * Begins a deadline scope @timeout_ns from now on the calling task or thread.  Zero or less is a
 * deadline that has already passed; INT64_MAX sets no deadline.  Once it has passed, every
 * suspending call that would begin or go on waiting returns -ETIMEDOUT, until the scope ends.
 *
 * Owns:     *scope is the caller's until ouro_deadline_end().
 * Errors:   -EINVAL without a scope; -OURO_ENORUNTIME; -OURO_EFORKED; -OURO_ETIMEDISABLED.  After
 *           an error the scope needs no end, and ending it does nothing.
 * Since:    0.1
 */
OURO_API int ouro_deadline_begin(struct ouro_deadline *scope, int64_t timeout_ns);

/*
 * Ends the scope, and the scopes inside it that have not ended.  Ending a scope that has ended, by
 * itself or with one around it, does nothing.  NULL is ignored.
 *
 * Threads:  the task or thread that began it; from any other it does nothing.
 * Since:    0.1
 */
OURO_API void ouro_deadline_end(struct ouro_deadline *scope);

/*
 * Returns the nanoseconds left until the earliest deadline of the caller's scopes: INT64_MAX when
 * there is none, never negative.
 *
 * Since:    0.1
 */
OURO_API int64_t ouro_deadline_remaining_ns(void);

#ifdef __cplusplus
}
#endif

#endif
