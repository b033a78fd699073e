/* SPDX-License-Identifier: MIT */
/*
 * The runtime: workers with a driver each, and a pool of threads for blocking calls.
 *
 * A worker is a thread that owns one driver (one ring, or one epoll), one run queue and one timer
 * wheel.  It runs ready tasks; when none is left it turns its driver: submit, wait, reap, wake.
 *
 *   current thread   one worker, which is the thread that made the runtime while it is inside
 *                    ouro_runtime_block_on() or waits in any other suspending call.  At other
 *                    times no task runs.
 *   multi thread     workers of their own, always running.
 *
 * Signals.  Tasks and the functions of ouro_blocking() run with the signal mask of the thread that
 * called ouro_runtime_new(), and the programs they start inherit it.  While a thread that the
 * runtime started waits for work, it blocks all signals but those of faults.  So a handler runs on
 * one of the program's own threads as long as the main thread does not block the signal (the kernel
 * prefers the main thread), or while the runtime is idle.  A signal that the program wants to read
 * with sigwait(3) or signalfd(2) has to be blocked before the runtime is made, as before any other
 * thread is.
 */
#ifndef OURO_RUNTIME_H
#define OURO_RUNTIME_H

#include <ouro/api.h>
#include <ouro/metrics.h>
#include <ouro/task.h>
#include <ouro/trace.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ouro_runtime;
struct ouro_handle;

/* Which kind of driver: AUTO takes io_uring where it can run and epoll elsewhere. */
enum ouro_driver_kind {
    OURO_DRIVER_AUTO = 0,
    OURO_DRIVER_URING = 1,
    OURO_DRIVER_EPOLL = 2,
    OURO_DRIVER_NONE = 3, /* no I/O, as with OURO_RUNTIME_F_NO_IO */
};

/*
 * What a worker does when it has nothing to do.  Waking a thread that sleeps takes 15 to 70 us on
 * virtual machines, and nearly as much CPU time.
 *
 * BALANCED    looks for events before it sleeps, at most 50 us, where that makes operations no
 *             dearer.  The worker finds out by trying: it measures what its operations cost with
 *             and without looking.  The trials cost less than 1 % of its CPU time.
 * THROUGHPUT  sleeps at once.  On io_uring from Linux 6.12 on a sleep then lasts until 16
 *             completions are there, or 20 us, so that more work is done by each wake.
 * LATENCY     looks for 200 us before each sleep, whatever it costs: a worker that is never idle
 *             for longer uses a whole CPU.  On io_uring from Linux 6.9 on, network devices are
 *             polled for 50 us as well (NAPI busy polling, io_uring_register_napi(3)).
 *
 * ouro_handle_busy_poll_metrics() tells what looking costs and saves.
 */
enum ouro_dial { OURO_DIAL_BALANCED = 0, OURO_DIAL_THROUGHPUT = 1, OURO_DIAL_LATENCY = 2 };

/*
 * Whether ouro_stream_write_loan() lets the kernel send from the loan's buffer, instead of copying
 * the bytes.
 *
 * AUTO    where it is cheaper.  Each worker finds that out for each range of sizes from 4 KiB on,
 *         by trying, and leaves streams alone for which the kernel reports that it copies.
 * NEVER   no.
 * ALWAYS  wherever the kernel can, for measuring.
 */
enum ouro_zero_copy {
    OURO_ZERO_COPY_AUTO = 0,
    OURO_ZERO_COPY_NEVER = 1,
    OURO_ZERO_COPY_ALWAYS = 2
};

enum ouro_flavour { OURO_FLAVOUR_CURRENT_THREAD = 0, OURO_FLAVOUR_MULTI_THREAD = 1 };

#define OURO_RUNTIME_F_NO_IO (1u << 0)   /* no driver: sockets return -OURO_EIODISABLED */
#define OURO_RUNTIME_F_NO_TIME (1u << 1) /* no timers: sleeps return -OURO_ETIMEDISABLED */
#define OURO_RUNTIME_F_NO_OVERFLOW_REPORT (1u << 2) /* install no SIGSEGV handler */
#define OURO_RUNTIME_F_EMBEDDED (1u << 3) /* current thread, with I/O: for another event loop */

/*
 * Start from OURO_RUNTIME_CONFIG_INIT; 0 in a field means the default named with it.  Fields are
 * only ever appended (ouro/api.h says what that means for older and newer programs).
 */
struct ouro_runtime_config {
    size_t size;                  /* sizeof(struct ouro_runtime_config) */
    uint32_t flags;               /* OURO_RUNTIME_F_... */
    enum ouro_flavour flavour;    /* current thread */
    enum ouro_driver_kind driver; /* AUTO */
    uint32_t workers;             /* multi thread: number of workers; 0: one for each usable CPU */
    uint32_t driver_threads; /* dedicated driver threads, which run no tasks and serve the calls of
                                plain threads; 0: the workers' drivers serve them */
    size_t stack_size_bytes; /* usable stack of a task; 0: 64 KiB */
    uint32_t tasks_max;      /* live tasks; 0: no limit but memory */
    uint32_t blocking_threads_max; /* threads of the blocking pool; 0: 64 */
    uint32_t ring_entries;         /* submission queue of a ring; 0: 256 */
    uint32_t spin_us;      /* look for events for this long before each sleep, whatever it costs;
                              UINT32_MAX: never; 0: as the dial says */
    uint64_t feature_mask; /* kernel features not to use, by bit number as
                              ouro_probe_feature() lists them */
    uint64_t quirk_mask;   /* kernel quirks to assume even if the self-test passes, by bit number as
                              ouro_probe_quirk() lists them; a quirk without a path of its own
                              (ouro_probe_item.used 0) changes nothing */
    ouro_trace_function *trace; /* called at every step of ouro/trace.h; NULL: no tracing */
    void *trace_arg;            /* its first argument */
    uint32_t loan_buffer_bytes; /* size of the buffers that are read into on loan (ouro/loan.h), 64
                                   to 16 MiB; 0: 16 KiB */
    uint32_t loan_buffers; /* how many each worker may have, at most 32768; they take memory when
                              they are used.  0: 512 MiB of them, but 256 to 32768 */
    uint32_t loans_per_stream;     /* how many a stream may have at a time; 0: 4 */
    enum ouro_dial dial;           /* balanced */
    enum ouro_zero_copy zero_copy; /* auto */
};

#define OURO_RUNTIME_CONFIG_INIT                                                                   \
    {                                                                                              \
        sizeof(struct ouro_runtime_config), 0, OURO_FLAVOUR_CURRENT_THREAD, OURO_DRIVER_AUTO, 0,   \
            0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, 0, 0, 0, OURO_DIAL_BALANCED, OURO_ZERO_COPY_AUTO   \
    }

/*
 * Makes a runtime: opens its drivers and starts its threads.  @config NULL is the default: current
 * thread, the best driver.
 *
 * Owns:     *out_runtime is the caller's; release with ouro_runtime_free().
 * Errors:   -EINVAL for an unknown size, flag or combination; -ENOMEM; -EAGAIN when a thread cannot
 *           be made; -EMFILE, -ENFILE; -OURO_ENODRIVER when OURO_DRIVER_URING was demanded and
 *           cannot run (ouro/probe.h tells why); -OURO_ENESTED from inside a task of any runtime,
 *           or from a callback that a worker calls, such as a waker; else the -errno of the system
 *           call that failed.  After an error nothing is left behind, and a later call may succeed.
 * Threads:  any; a current-thread runtime belongs to the thread that made it.  A task that needs
 *           another runtime makes and uses it inside ouro_blocking().
 * Since:    0.1
 */
OURO_API int ouro_runtime_new(const struct ouro_runtime_config *config,
                              struct ouro_runtime **out_runtime) OURO_MUST_CHECK;

/*
 * Releases a runtime.  If it has not been shut down, it is shut down first, with a grace time of
 * ten seconds.  NULL is ignored.  From inside a task of any runtime, or a callback that a worker
 * calls (a waker, a trace function), it does nothing.  In a forked child it only releases memory.
 *
 * Owns:     takes @runtime.
 * Threads:  for a current-thread runtime: the one that made it.
 * Since:    0.1
 */
OURO_API void ouro_runtime_free(struct ouro_runtime *runtime);

/*
 * Runs @function(@arg) as a task and waits for its end.  Other tasks run meanwhile.  Tasks that are
 * still alive at the return stay alive: in a current-thread runtime they run only during the next
 * call, in a multi-thread runtime they go on.
 *
 * Owns:     @arg is borrowed until the return.
 * Errors:   0 when the function ran, and then *out_result (may be NULL) is what it returned;
 *           -OURO_ENESTED from inside a task of any runtime, a callback that a worker calls, or
 *           a thread of the runtime's blocking pool; -OURO_EWRONGTHREAD for a current-thread
 *           runtime of another thread; -OURO_ESHUTDOWN, -OURO_EFORKED, -ENOMEM, -EAGAIN, -EINVAL.
 * Threads:  current thread: the one that made it.  Multi thread: any, also several at once.
 * Since:    0.1
 */
OURO_API int ouro_runtime_block_on(struct ouro_runtime *runtime, ouro_task_function *function,
                                   void *arg, int *out_result) OURO_MUST_CHECK;

/*
 * Returns the descriptor by which another event loop waits for an embedded runtime.  The loop may
 * be libuv, GLib or an epoll of one's own; the runtime is a current-thread one made with
 * OURO_RUNTIME_F_EMBEDDED:
 *
 *     poll ouro_runtime_fd() for reading, level-triggered;
 *     whenever it is readable: ouro_runtime_turn(runtime, 0).
 *
 * It is readable when a turn has something to do: an operation has ended, a timer is due, or a task
 * was spawned, woken or cancelled by another thread, or by this thread outside of a turn.  No turn
 * is needed before the first poll.  On io_uring a wait of the loop may end early with EINTR; event
 * loops treat this as an empty wait.
 *
 * Owns:     the descriptor is the runtime's, until ouro_runtime_free().  It must not be read or
 *           closed.
 * Errors:   -EINVAL for NULL and for a runtime that is not embedded; -OURO_EFORKED.
 * Since:    0.2
 */
OURO_API int ouro_runtime_fd(struct ouro_runtime *runtime);

/*
 * Runs the ready tasks of an embedded runtime.  When there is nothing to do, it waits at most
 * @timeout_ns for something (0: not at all; negative: for ever).  A turn is bounded: it may return
 * while tasks are still ready, and ouro_runtime_fd() is then readable at once.
 *
 * Errors:   -EINVAL for NULL and for a runtime that is not embedded; -OURO_ENESTED from inside a
 *           task, a waker or another turn; -OURO_EWRONGTHREAD; -OURO_EFORKED.
 * Threads:  the one that made the runtime.
 * Since:    0.2
 */
OURO_API int ouro_runtime_turn(struct ouro_runtime *runtime, int64_t timeout_ns);

/*
 * Shuts the runtime down: no new tasks and registrations; every wait returns -OURO_ESHUTDOWN, also
 * one begun later, and also one in a task of another runtime that uses a stream of this one.  Waits
 * up to @grace_ns for tasks to end.  May be called again.
 *
 * Calls that other threads make at the same time either have their whole effect or fail: a spawn
 * that returns 0 has its task run.
 *
 * Errors:   -ETIMEDOUT when tasks were left that did not end in time: call again to wait again;
 *           -OURO_ENESTED from inside a task of any runtime, a callback that a worker calls, or a
 *           thread of the runtime's blocking pool; -OURO_EWRONGTHREAD; -OURO_EFORKED; -EINVAL.
 * Threads:  current thread: the one that made it.  Multi thread: any but its own.
 * Since:    0.1
 */
OURO_API int ouro_runtime_shutdown(struct ouro_runtime *runtime, int64_t grace_ns);

/*
 * Returns the runtime's handle, with which other threads use the runtime.
 *
 * Owns:     one reference is the caller's; release with ouro_handle_unref().  A handle may outlive
 *           its runtime; its calls then return -OURO_ESHUTDOWN.
 * Since:    0.1
 */
OURO_API struct ouro_handle *ouro_runtime_handle(struct ouro_runtime *runtime);

/*
 * Returns the handle of the runtime that the calling task or thread is in, with a reference for the
 * caller; NULL outside of a runtime.
 *
 * Owns:     release with ouro_handle_unref().
 * Since:    0.1
 */
OURO_API struct ouro_handle *ouro_handle_current(void);

/*
 * Takes another reference to a handle.
 *
 * Owns:     the returned handle, the same one; release with ouro_handle_unref().
 * Since:    0.1
 */
OURO_API struct ouro_handle *ouro_handle_ref(struct ouro_handle *handle);

/*
 * Releases a reference to a handle; NULL is ignored.
 *
 * Owns:     takes the reference.
 * Since:    0.1
 */
OURO_API void ouro_handle_unref(struct ouro_handle *handle);

/*
 * Enters the runtime: until ouro_leave() the calling thread may make every suspending call, which
 * parks the thread.  The thread of a current-thread runtime drives the runtime while it waits.
 *
 * Owns:     the thread holds a reference until ouro_leave().
 * Errors:   -EINVAL for NULL; -OURO_ENESTED in a task, in a callback that a worker calls, or when
 *           the thread has entered already;
 *           -OURO_EFORKED; -OURO_ESHUTDOWN; -ENOMEM.
 * Since:    0.1
 */
OURO_API int ouro_enter(struct ouro_handle *handle) OURO_MUST_CHECK;

/*
 * Undoes ouro_enter().  In a thread that has not entered a runtime it does nothing.
 *
 * Since:    0.1
 */
OURO_API void ouro_leave(void);

/*
 * Returns the kind of driver the runtime uses, never OURO_DRIVER_AUTO.  Without I/O it is
 * OURO_DRIVER_NONE.
 *
 * Threads: any.
 * Since:   0.1
 */
OURO_API enum ouro_driver_kind ouro_handle_driver(const struct ouro_handle *handle);

/*
 * Tells in one line why the driver is not io_uring: "io_uring_setup: EPERM; seccomp filter ..." or
 * "asked for", for example; "" when it is io_uring.
 *
 * Owns:    the text lives as long as the handle.
 * Threads: any.
 * Since:   0.1
 */
OURO_API const char *ouro_handle_driver_reason(const struct ouro_handle *handle);

/*
 * Reads the counters of all drivers, added up.
 *
 * Errors:  -EINVAL; -OURO_EIODISABLED; -OURO_EFORKED.
 * Threads: any.
 * Since:   0.1
 */
OURO_API int ouro_handle_metrics(const struct ouro_handle *handle,
                                 struct ouro_io_driver_metrics *out_metrics);

/*
 * Reads what looking for events before sleeping has cost and saved, of all drivers added up; start
 * from OURO_BUSY_POLL_METRICS_INIT.
 *
 * Errors:  -EINVAL, also for a size that no version has had; -OURO_EIODISABLED; -OURO_EFORKED.
 * Threads: any.
 * Since:   0.3
 */
OURO_API int ouro_handle_busy_poll_metrics(const struct ouro_handle *handle,
                                           struct ouro_busy_poll_metrics *metrics);

/*
 * Reads how many sends ouro_stream_write_loan() has made without a copy, of all workers added up;
 * start from OURO_ZERO_COPY_METRICS_INIT.
 *
 * Errors:  -EINVAL, also for a size that no version has had; -OURO_EIODISABLED; -OURO_EFORKED.
 * Threads: any.
 * Since:   0.3
 */
OURO_API int ouro_handle_zero_copy_metrics(const struct ouro_handle *handle,
                                           struct ouro_zero_copy_metrics *metrics);

/*
 * Makes a current-thread runtime, runs @function(@arg) as its task, and frees the runtime.
 *
 * Errors:   what the function returned, or the error of ouro_runtime_new() or of
 *           ouro_runtime_block_on().
 * Since:    0.1
 */
OURO_API int ouro_run(ouro_task_function *function, void *arg) OURO_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
