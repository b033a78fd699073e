/* SPDX-License-Identifier: MIT */
/*
 * Stack overflow of a fiber, reported by name.
 *
 * A fiber that runs over its stack's end touches the guard and the kernel sends SIGSEGV.  Our
 * handler runs on a stack of its own (there is none left on the fiber's), finds the guard's fiber
 * in the registered pools, says
 *
 *     ouro: stack overflow in fiber 'NAME' (usable 65536 bytes): raise stack_size_bytes
 *
 * on descriptor 2 (or, when the fault was not the fiber's own doing, whose guard was hit), and lets
 * the program die of the fault as it would have, core included.  Any other fault goes to the
 * handler that was installed before ours.
 */
#ifndef OURO_FIBER_OVERFLOW_H
#define OURO_FIBER_OVERFLOW_H

#include <stddef.h>

struct ouro__stack_pool;

/*
 * The name of the fiber whose header this is, from the pool's user.  Called in a signal handler, on
 * any thread; the stack may be an idle one, then the header holds what its last user left there.
 */
typedef const char *ouro__overflow_name_fn(void *header);

/* A thread's alternate signal stack.  All fields are private. */
struct ouro__overflow_thread {
    void *mapping; /* NULL when the thread had an alternate stack already */
    size_t mapping_bytes;
};

/*
 * Takes SIGSEGV and SIGBUS over, for the whole process; faults that are not ours go to the earlier
 * handlers.  Calls are counted: the last uninstall restores the earlier handlers.  If another
 * handler was installed over ours in the meantime, it may call ours; then ours stays and passes
 * every fault on.
 * Threads: any.
 * Errors:  -errno of sigaction().
 */
int ouro__overflow_install(void);
void ouro__overflow_uninstall(void);

/*
 * Gives the calling thread an alternate signal stack, unless it has one (ASan and other languages'
 * runtimes set their own); stop takes it away again, on the same thread.
 * Errors: -ENOMEM; -errno of sigaltstack().
 */
int ouro__overflow_thread_start(struct ouro__overflow_thread *thread);
void ouro__overflow_thread_stop(struct ouro__overflow_thread *thread);

/*
 * Makes a pool known to the handler, until it is removed, which must be before it is finished.
 * @name_of may be NULL.  Removing a pool that was not added does nothing.
 * Threads: any.
 */
void ouro__overflow_pool_add(struct ouro__stack_pool *pool, ouro__overflow_name_fn *name_of);
void ouro__overflow_pool_remove(struct ouro__stack_pool *pool);

#ifdef OURO_TESTING
/* How many pools the handler knows. */
unsigned ouro__overflow_pool_count(void);
#endif

#endif
