/* SPDX-License-Identifier: MIT */
/*
 * What every ouro header needs: visibility, attributes, the version.
 *
 * How to read these headers.  The text says what a call does.  Labels follow it, each only where it
 * applies:
 *   Suspends:  until when the call may keep its caller waiting.  In a fiber it suspends the
 *              fiber; in any other thread that has entered a runtime it parks the thread.  A call
 *              without this label never waits.
 *   Owns:      who releases what, and with which call.
 *   Errors:    what a negative return means.  `int` is 0 or a negative code, `ssize_t` a count or
 *              a negative code.  Outputs come last and are untouched on failure.  errno is not
 *              used.
 *   Threads:   who may call.  Without it: any fiber or thread, but one at a time per object.
 *   Since:     the first version of ouro that has the call.
 *
 * Besides its own errors, every suspending call may return
 *   -ETIMEDOUT         the innermost deadline scope has ended (ouro/time.h)
 *   -ECANCELED         the task was cancelled (ouro/task.h)
 *   -OURO_ESHUTDOWN    the runtime is shutting down
 *   -OURO_ENORUNTIME   the caller is neither a fiber nor a thread that has entered a runtime
 *   -OURO_EFORKED      the caller is a forked child of the process that made the runtime
 *
 * A suspending call returns only when none of its operations is in flight any more.  So buffers,
 * addresses and vectors may lie on the caller's stack: nothing is written to them after the return.
 *
 * No call crashes for a NULL or a number that it cannot use.  Where the description gives NULL no
 * meaning, or does not know a flag, kind or size, a call that returns `int` or `ssize_t` returns
 * -EINVAL and has done nothing; one that returns a text returns "", another pointer NULL, anything
 * else 0; one that returns nothing does nothing.  What releases something ignores NULL.  Pointers
 * to what has been released, or to something else, are beyond this.
 *
 * A child of fork(2) has none of the runtime's threads, and its descriptors are shared with the
 * parent.  In the child, every call on an object that the parent made returns -OURO_EFORKED, also
 * join and cancel, unless it only tells something that does not change (a name, an address, a
 * descriptor).  A wake does nothing.  Calls that release an object release nothing that the
 * processes share.  A child may make runtimes of its own.  A child that returns from a function
 * which the library called (a task's function, one of ouro_blocking(), a waker's, a trace function)
 * ends, as by _exit(2): with status 0 when the function returned 0 or nothing, else 1.  The
 * functions of ouro_poll_fn() and ouro_poll_evented_io() return to their caller, which gets
 * -OURO_EFORKED.
 *
 * Option structs begin with their size, which their INIT macro fills in, and fields are only ever
 * appended.  A library that knows more fields than the program's header uses the defaults for the
 * missing ones.  A library that knows fewer accepts the struct when the fields it does not know are
 * zero; otherwise it returns -EINVAL.
 */
#ifndef OURO_API_H
#define OURO_API_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define OURO_VERSION_MAJOR 0
#define OURO_VERSION_MINOR 3
#define OURO_VERSION_PATCH 0
#define OURO_VERSION "0.3.0"

#define OURO_API __attribute__((visibility("default")))
#define OURO_MUST_CHECK __attribute__((warn_unused_result))

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Returns the version of the library at run time, such as "0.2.0".  OURO_VERSION is the version of
 * the header at compile time.
 *
 * Owns:    the text is the library's, constant.
 * Since:   0.1
 */
OURO_API const char *ouro_version(void);

#ifdef __cplusplus
}
#endif

#endif
