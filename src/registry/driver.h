/* SPDX-License-Identifier: MIT */
/*
 * The driver: what io_uring and epoll both implement, and the shared half through which other
 * threads reach one.
 *
 * The interface is completion-shaped: an operation is submitted and completes; epoll emulates that.
 * (libevent, h2o and redis tried the reverse, completions under a readiness interface, and could
 * not use what io_uring offers.)  A backend is a constant table of calls.  Only the wrappers in
 * driver.c call it; they hold the assertions, the counters, the trace points and, under test, the
 * injected faults.  What a backend does for one operation is a row of its own table (uring/rows.c,
 * epoll/rows.c).
 *
 *   struct ouro__driver_handle   the shared half: inbox, unpark, set, counters.  Any thread.
 *   struct ouro__driver          the owner's half: the backend embeds it as its first member.
 *                                The owner's thread only.
 */
#ifndef OURO_REGISTRY_DRIVER_H
#define OURO_REGISTRY_DRIVER_H

#include "base/clock.h"
#include "registry/busy_poll.h"
#include "registry/inbox.h"
#include "registry/op.h"
#include "registry/op_slots.h"
#include "registry/registration_set.h"
#include "registry/unpark.h"
#include "registry/zero_copy.h"

#include <ouro/error.h>
#include <ouro/metrics.h>
#include <ouro/trace.h>

#include <errno.h>
#include <signal.h>

struct ouro__driver;
struct ouro__loan_pool;

struct ouro__driver_config {
    uint32_t ring_entries;      /* submission queue; 0: 256 */
    uint32_t spin_us;           /* as ouro_runtime_config.spin_us */
    uint32_t dial;              /* enum ouro_dial */
    uint64_t features;          /* io_uring: optional features to use, OURO__FEATURE_ bits */
    uint64_t quirks;            /* io_uring: quirks to work around */
    const sigset_t *wait_mask;  /* signals blocked during waits (base/signals.h); NULL: no change */
    uint32_t loan_buffer_bytes; /* of each buffer of its pool (registry/lending.h); 0: 16 KiB */
    uint32_t loan_buffers;      /* how many at most; 0: 512 MiB of them */
    uint32_t zero_copy;         /* enum ouro_zero_copy */
    bool is_embedded;           /* another event loop polls it: poll_fd() and settle() are used */
};

struct ouro__driver_ops {
    const char *name; /* "io_uring", "epoll" */
    /* Any thread.  Whether the backend has a row for operations of this code.  Where it has none
     * the waiting layer makes the operation's system call on the blocking pool (task/wait.c). */
    bool (*has_row)(unsigned code);
    /* Owner's thread.  On an error nothing is left behind. */
    int (*open)(const struct ouro__driver_config *config, struct ouro__driver_handle *handle,
                struct ouro__driver **out_driver);
    /* Owner's thread; nothing is in flight and nothing attached. */
    void (*close)(struct ouro__driver *driver);
    /*
     * Any thread.  attach arranges that events of sio->fd become readiness if it is waited for
     * (OURO__SIO_READINESS): the present state first, then each change.  After an error nothing is
     * left but sio->attached.  detach stops new events; it frees nothing and cannot fail.
     */
    int (*attach)(struct ouro__driver_handle *handle, struct ouro__scheduled_io *sio);
    void (*detach)(struct ouro__driver_handle *handle, struct ouro__scheduled_io *sio);
    /* Owner's thread.  Never completes the op before it returns.  It cannot fail: an error becomes
     * the op's result. */
    void (*submit)(struct ouro__driver *driver, struct ouro__op *op);
    /* Owner's thread.  A hint: op still completes once. */
    void (*cancel)(struct ouro__driver *driver, struct ouro__op *op);
    /* Owner's thread, the lane of @op is free.  The operation's result if it can be had by a system
     * call that does not wait, -EAGAIN otherwise; op->result then is how many bytes were
     * transferred.  @op is not submitted.  NULL: never. */
    int32_t (*try_now)(struct ouro__driver *driver, struct ouro__op *op);
    /* Owner's thread: @op waited for a buffer of the pool and has one now (registry/lending.h).
     * Never completes the op before it returns. */
    void (*resume)(struct ouro__driver *driver, struct ouro__op *op);
    /* Owner's thread.  Hands everything submitted to the kernel, waits at most @timeout_ns (0: not
     * at all, negative: for ever) if nothing has completed, and calls ouro__driver_complete() and
     * ouro__sio_...() for what did.  0, or -errno when the driver is broken. */
    int (*turn)(struct ouro__driver *driver, int64_t timeout_ns);
    /* Any thread, signal handlers too: ends a wait of turn() that is going on. */
    void (*unpark)(struct ouro__driver_handle *handle);
    /*
     * Owner's thread, of a driver opened with is_embedded.  poll_fd() is readable while turn() has
     * something to collect.  settle() is called before a foreign loop polls it: it hands everything
     * submitted to the kernel, and makes sure that an unpark makes poll_fd() readable.  1: turn()
     * has something to do at once; 0; or -errno as turn().
     */
    int (*poll_fd)(struct ouro__driver *driver);
    int (*settle)(struct ouro__driver *driver);
    /* NULL: it has nothing to do.  Called now and then: takes buffers that it has offered to the
     * kernel, and that are not needed there, back to the pool. */
    void (*trim_loans)(struct ouro__driver *driver, struct ouro__loan_pool *pool);
};

/* Of registry/trim.c; the owner's thread only. */
struct ouro__trim_state {
    int64_t at_ns;         /* when the next step is due; OURO__NEVER: no window is open */
    uint32_t cold_chunks;  /* of registrations, that are to be freed */
    uint32_t freed_chunks; /* since the heap was asked to return its free pages */
    bool is_working;       /* a window's work has begun and is not done */
    bool is_after_peak;    /* it was asked, and there were more chunks to come */
};

/* Counters that only the owner's thread writes. */
struct ouro__driver_counters {
    struct ouro__counter released, ready, submitted, completed, cancelled, stale, overflowed, turns,
        sleeps;
};

struct ouro__driver_handle {
    struct ouro__unpark unpark;
    struct ouro__inbox inbox;
    const struct ouro__driver_ops *ops; /* NULL: no I/O; then unpark.state is waited on */
    struct ouro__driver *driver;        /* owner's thread only */
    struct ouro__registration_set set;
    struct ouro__driver_counters counters;
    _Atomic uint64_t unparks;
    const sigset_t *wait_mask;        /* driver_config's; the owner's thread only */
    int wake_fd;                      /* what the backend's unpark writes to */
    struct ouro__busy_poll busy_poll; /* used by the backend's turn() */
    uint64_t moved_bytes;             /* by operations and splices; the owner's thread only */
    void *shared;      /* the backend's part that other threads use; one block, freed in fini */
    uint32_t index;    /* of the worker or driver thread, for messages */
    const void *owner; /* ouro__thread_identity() of the owner's thread */
    bool is_away;      /* an embedded one, between turns; the owner's thread only */
    uint32_t loan_buffer_bytes; /* constant from open on, as the next */
    uint32_t loan_buffers;
    _Atomic(struct ouro__loan_pool *) loans; /* NULL until the first receive on loan */
    struct ouro__trim_state trim;
    ouro_trace_function *trace;
    void *trace_arg;
    struct ouro__zero_copy zero_copy;
};

struct ouro__driver {
    struct ouro__driver_handle *handle;
    struct ouro__queue completed; /* ops whose done() is due */
    struct ouro__queue ready;     /* descriptors whose waiters are to be woken */
    struct ouro__op_slots slots;  /* operations that are in no lane */
    struct ouro__queue accepting; /* AcceptQueues that are to be served at the end of the turn */
    struct ouro__list accepted;   /* AcceptQueues that hold connections */
    uint32_t inflight;
    bool in_turn;
    bool accepts_many; /* the backend's, from open() on: ACCEPT_MANY may be used */
};

extern _Thread_local char ouro__thread_here __attribute__((tls_model("initial-exec")));

/* A value that no other living thread has: the address of a variable of its own. */
static inline const void *ouro__thread_identity(void)
{
    return &ouro__thread_here;
}

/* Whether the calling thread is the owner's. */
static inline bool ouro__driver_is_home(const struct ouro__driver_handle *handle)
{
    return handle->owner == ouro__thread_identity();
}

/* Whether the calling thread may touch what is the owner's thread's only. */
static inline bool ouro__driver_is_here(const struct ouro__driver_handle *handle)
{
    return ouro__driver_is_home(handle) && !handle->is_away;
}

/* A handle; then a driver opened on the calling thread, which becomes its owner.  With a NULL @ops
 * there is never a driver, only inbox and unpark.  Errors: the backend's, -ENOMEM. */
int ouro__driver_handle_init(struct ouro__driver_handle *handle,
                             const struct ouro__driver_ops *ops);
int ouro__driver_open(struct ouro__driver_handle *handle, const struct ouro__driver_config *config);
/* Owner's thread: closes the inbox, cancels and awaits what is in flight, then closes. */
void ouro__driver_close(struct ouro__driver_handle *handle);
void ouro__driver_handle_fini(struct ouro__driver_handle *handle);

/*
 * Owner's thread.  op->state is IDLE; code, lane, sio, done and arg are set, fd without an sio.  A
 * lane that is taken gives the result -EBUSY, but acceptors wait for theirs; a closing descriptor
 * -ECANCELED, a driver that was shut down -ECANCELED, no memory for a slot -ENOMEM; a QUIESCE is
 * accepted always.
 */
OURO__DRIVER_THREAD void ouro__driver_submit(struct ouro__driver *driver, struct ouro__op *op);

/* As a submit.  But where the backend can make the operation's system call at once, and that ends
 * it, nothing is submitted: true, with op->result. */
OURO__DRIVER_THREAD bool ouro__driver_try_or_submit(struct ouro__driver *driver,
                                                    struct ouro__op *op);

/*
 * Owner's thread: parts of a submit and of a completion, for registry/accept.c.
 *   refuse      ends at once, with @result, and is not given to the backend
 *   place       gets its lane, which is free, and is given to the backend
 *   queue       waits in @queue for its lane
 *   unqueue     was taken out of the queue, and gets its lane
 *   end_queued  was taken out of the queue, and ends with @result
 */
OURO__DRIVER_THREAD void ouro__driver_refuse(struct ouro__driver *driver, struct ouro__op *op,
                                             int32_t result);
OURO__DRIVER_THREAD void ouro__driver_place(struct ouro__driver *driver, struct ouro__op *op);
OURO__DRIVER_THREAD void ouro__driver_queue(struct ouro__driver *driver, struct ouro__op *op,
                                            struct ouro__queue *queue);
OURO__DRIVER_THREAD void ouro__driver_unqueue(struct ouro__driver *driver, struct ouro__op *op);
OURO__DRIVER_THREAD void ouro__driver_end_queued(struct ouro__driver *driver, struct ouro__op *op,
                                                 int32_t result);

/*
 * accept.c, called by driver.c on the owner's thread: an op for the lane of ACCEPT is submitted,
 * is cancelled while it waits for the lane, or has left the lane; the end of a turn; the waiting
 * end with -ECANCELED and the connections of @sio, or of all, are closed.
 */
OURO__DRIVER_THREAD void ouro__driver_submit_accept(struct ouro__driver *driver,
                                                    struct ouro__op *op);
OURO__DRIVER_THREAD void ouro__driver_cancel_accept(struct ouro__driver *driver,
                                                    struct ouro__op *op);
OURO__DRIVER_THREAD void ouro__driver_accept_left(struct ouro__driver *driver, struct ouro__op *op);
OURO__DRIVER_THREAD void ouro__driver_serve_acceptors(struct ouro__driver *driver);
OURO__DRIVER_THREAD void ouro__driver_end_accepts(struct ouro__driver *driver,
                                                  struct ouro__scheduled_io *sio);
OURO__DRIVER_THREAD void ouro__driver_dispose_accepted(struct ouro__driver *driver);

/* Backends, inside turn(): the multishot accept @many has brought a connection, and goes on. */
OURO__DRIVER_THREAD void ouro__driver_accepted(struct ouro__driver *driver, struct ouro__op *many,
                                               int fd);

/*
 * Owner's thread: a connection for an ACCEPT that was not submitted (@op's sio and arg are set), if
 * there is one without waiting; or an error of accept(2); -EAGAIN: submit it.  took() is to be
 * called when an acceptor of this thread has got a connection, in this way or by an operation.
 * From both the driver learns whether the acceptors keep up.
 */
OURO__DRIVER_THREAD int32_t ouro__driver_take(struct ouro__driver *driver, struct ouro__op *op);
OURO__DRIVER_THREAD void ouro__driver_took(struct ouro__driver *driver,
                                           const struct ouro__scheduled_io *sio);

/* Owner's thread.  Does nothing for an op that has completed or was cancelled before. */
OURO__DRIVER_THREAD void ouro__driver_cancel(struct ouro__driver *driver, struct ouro__op *op);

/* Owner's thread: cancels everything that is in flight. */
OURO__DRIVER_THREAD void ouro__driver_cancel_all(struct ouro__driver *driver);

/* Backends: the operation in flight that @token names, or NULL. */
OURO__DRIVER_THREAD static inline struct ouro__op *ouro__driver_find(struct ouro__driver *driver,
                                                                     uint64_t token)
{
    unsigned lane = ouro__token_lane(token);
    if (OURO__UNLIKELY(lane >= OURO__LANE_QUIESCE))
        return ouro__lane_is_slot(lane) ? ouro__op_slots_find(&driver->slots, token) : NULL;
    struct ouro__scheduled_io *sio = ouro__registration_set_find(&driver->handle->set, token);
    return sio != NULL ? sio->lane[lane] : NULL;
}

/* For backends that get no events: a result of @op shows that its descriptor is @ready. */
OURO__DRIVER_THREAD void ouro__driver_hint(struct ouro__driver *driver, struct ouro__op *op,
                                           uint32_t ready);

/* Owner's thread: registrations and operations that come from here on are refused, waits for
 * readiness end with -OURO_ESHUTDOWN, and what is in flight is cancelled. */
OURO__DRIVER_THREAD void ouro__driver_shut_down(struct ouro__driver_handle *handle);

/* Owner's thread: whether ouro__driver_shut_down() was called. */
OURO__DRIVER_THREAD static inline bool
ouro__driver_is_shut_down(const struct ouro__driver_handle *handle)
{
    return handle->set.is_shutdown; /* only this thread writes it */
}

/* Owner's thread, in @op's done(): the result for its waiter.  An operation that a shutdown has
 * cancelled gets the shutdown's error.  io_uring reports -EINTR for a cancelled operation that was
 * running on one of its worker threads, such as a connect to a full Unix backlog. */
OURO__DRIVER_THREAD static inline int32_t ouro__driver_result(const struct ouro__op *op)
{
    if (OURO__LIKELY(op->result >= 0))
        return op->result;
    bool cancelled = op->result == -ECANCELED || op->result == -EINTR;
    return cancelled && ouro__driver_is_shut_down(op->handle) ? -OURO_ESHUTDOWN : op->result;
}

/* Backends, inside turn(): @op has ended.  Its done() runs when turn() has collected everything. */
OURO__DRIVER_THREAD void ouro__driver_complete(struct ouro__driver *driver, struct ouro__op *op,
                                               int32_t result);

/*
 * Backends, inside turn(): poll(2)'s @events have been reported for @sio.  They become readiness
 * (registry/descriptor_kind.h), and the waiters are woken when turn() has collected everything.
 */
OURO__DRIVER_THREAD void ouro__driver_event(struct ouro__driver *driver,
                                            struct ouro__scheduled_io *sio, uint32_t events);

/* As above, with readiness instead of events of poll(2): @sio has become @ready. */
OURO__DRIVER_THREAD void ouro__driver_ready(struct ouro__driver *driver,
                                            struct ouro__scheduled_io *sio, uint32_t ready);

/*
 * Backends, inside turn(), before each wait: whether ouro__busy_poll() is to be called first.
 *
 * What the waits bring is counted in events and in KiB.  An owner that looks takes a large message
 * in more pieces, each of which costs less; by events alone that would seem cheaper.
 */
OURO__DRIVER_THREAD static inline bool
ouro__driver_is_look_wanted(struct ouro__driver_handle *handle)
{
    const struct ouro__driver_counters *counters = &handle->counters;
    return ouro__busy_poll_is_wanted(&handle->busy_poll, ouro__counter_read(&counters->completed) +
                                                             ouro__counter_read(&counters->ready) +
                                                             handle->moved_bytes / 1024);
}

/*
 * One turn: release what is pending, drain the inbox, submit, wait at most @timeout_ns (negative:
 * for ever), collect, wake.  Does not wait when it was unparked since the last turn, or when
 * something is ready already.  EINTR is an empty turn.
 */
OURO__DRIVER_THREAD void ouro__driver_turn(struct ouro__driver_handle *handle, int64_t timeout_ns);

/*
 * Owner's thread: prepares the driver to be polled by a foreign loop (registry/embedding.h).
 * True: a turn has something to do at once.
 */
OURO__DRIVER_THREAD bool ouro__driver_settle(struct ouro__driver_handle *handle);
/* As above, for a driver that was just opened: 1, 0, or -errno. */
OURO__DRIVER_THREAD int ouro__driver_try_settle(struct ouro__driver_handle *handle);

/* Any thread, signal handlers too.  Without a wait in progress it ends the next one. */
OURO__ANY_THREAD void ouro__driver_unpark(struct ouro__driver_handle *handle);

/* Any thread: @node->run is called on the owner's thread.  False: the owner has gone, and the node
 * is still the caller's. */
OURO__ANY_THREAD bool ouro__driver_send(struct ouro__driver_handle *handle,
                                        struct ouro__inbox_node *node);

/* Any thread. */
OURO__ANY_THREAD void ouro__driver_metrics(const struct ouro__driver_handle *handle,
                                           struct ouro_io_driver_metrics *out_metrics);

/* A trace point.  The event's time is filled in. */
void ouro__trace_emit(const struct ouro__driver_handle *handle, struct ouro_trace_event *event);

#define OURO__TRACE(handle_, ...)                                                                  \
    do {                                                                                           \
        if (OURO__UNLIKELY((handle_)->trace != NULL))                                              \
            ouro__trace_emit((handle_), &(struct ouro_trace_event){__VA_ARGS__});                  \
    } while (0)

#endif
