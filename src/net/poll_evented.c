/* SPDX-License-Identifier: MIT */
/*
 * PollEvented: a descriptor, its registration, and who is in a call on it.
 *
 * The registration is made at the first operation, with the driver of the worker that makes it: an
 * accepted connection can be handed to another worker before that at no cost.
 *
 * The word `calls` says who is inside: a bit for each lane.  Taking the bit is what makes a second
 * reader -EBUSY, also between two operations of one long write; giving it back is the last thing a
 * call does with the stream, so close() knows when the memory is its own.  Closing is:
 *
 *     closer                                caller
 *     store the waker
 *     set CLOSING ----------------------->  whoever enters now gets -ECANCELED
 *     QUIESCE: operations are cancelled,
 *     later ones are refused  ----------->  its operation ends
 *     wait for all bits to be gone  <-----  gives its bit back, wakes the closer
 *     deregister, close
 *
 * A caller may be registering the descriptor just now.  It does so with a CAS and looks at CLOSING
 * afterwards; the closer looks at the registration after it has set CLOSING.  Who comes second sees
 * the other, and a late registration wakes the closer, who quiesces it then.
 *
 * Owns:    the descriptor, the registration, one reference to the handle.
 * Threads: any.
 * Always:  with no bit set nothing of the descriptor is in flight.
 */
#include "net/poll_evented.h"

#include "registry/registration.h"
#include "task/fork.h"
#include "task/handle.h"
#include "task/worker.h"

#include <ouro/error.h>

#include <errno.h>
#include <sched.h>
#include <unistd.h>

#define CLOSING (UINT32_C(1) << 31)
#define NO_CALLS UINT32_C(0)

static const struct ouro_waker no_waker = {NULL, NULL};

void ouro__poll_evented_init(struct ouro__poll_evented *evented, struct ouro_handle *handle, int fd)
{
    evented->handle = ouro_handle_ref(handle);
    atomic_init(&evented->sio, NULL);
    atomic_init(&evented->calls, NO_CALLS);
    evented->fd = fd;
    evented->closer = no_waker;
}

int ouro__poll_evented_usable(const struct ouro__context *context)
{
    if (context->handle->driver_kind == OURO_DRIVER_AUTO)
        return -OURO_EIODISABLED;
    return ouro__handle_is_shutdown(context->handle) ? -OURO_ESHUTDOWN : 0;
}

struct ouro__driver_handle *ouro__poll_evented_trace(const struct ouro__context *context)
{
    struct ouro__worker *worker = context->worker;
    return worker != NULL ? &worker->io.driver : &context->handle->worker[0].io.driver;
}

/* A driver of the runtime the descriptor belongs to, be the caller from another. */
static int choose_driver(struct ouro__poll_evented *evented, struct ouro__context *context,
                         struct ouro__driver_handle **out_driver)
{
    if (OURO__LIKELY(context->handle == evented->handle))
        return ouro__handle_driver_for(context, out_driver);
    struct ouro__context stranger = {.handle = evented->handle};
    return ouro__handle_driver_for(&stranger, out_driver);
}

/* The closer may be waiting for exactly this. */
static void tell_closer(struct ouro__poll_evented *evented)
{
    if ((ouro__load(&evented->calls, memory_order_seq_cst) & CLOSING) != 0)
        ouro_waker_wake(&evented->closer);
}

int ouro__poll_evented_attach(struct ouro__poll_evented *evented, struct ouro__context *context)
{
    if (OURO__LIKELY(ouro__load(&evented->sio, memory_order_acquire) != NULL))
        return 0;
    struct ouro__driver_handle *driver = NULL;
    struct ouro__registration registration = {.sio = NULL};
    int rc = choose_driver(evented, context, &driver);
    if (rc == 0)
        rc = ouro__registration_new(driver, evented->fd, 0, &registration);
    if (rc < 0)
        return rc;
    struct ouro__scheduled_io *before = NULL;
    if (ouro__compare_exchange(&evented->sio, &before, registration.sio, memory_order_seq_cst))
        tell_closer(evented);
    else
        ouro__registration_drop(&registration); /* the other direction was first */
    return 0;
}

int ouro__poll_evented_enter(struct ouro__poll_evented *evented, unsigned lane)
{
    uint32_t bit = UINT32_C(1) << lane;
    uint32_t word = ouro__load(&evented->calls, memory_order_relaxed);
    do {
        if (OURO__UNLIKELY((word & (CLOSING | bit)) != 0))
            return (word & CLOSING) != 0 ? -ECANCELED : -EBUSY;
    } while (!ouro__compare_exchange(&evented->calls, &word, word | bit, memory_order_seq_cst));
    return 0;
}

void ouro__poll_evented_leave(struct ouro__poll_evented *evented, unsigned lane)
{
    uint32_t bit = UINT32_C(1) << lane;
    uint32_t word = ouro__load(&evented->calls, memory_order_acquire);
    for (;;) {
        /* With the bit gone the stream may be too: what is needed then is taken along. */
        struct ouro_waker closer = no_waker;
        if (OURO__UNLIKELY((word & CLOSING) != 0))
            closer = ouro_waker_clone(&evented->closer);
        bool left =
            ouro__compare_exchange(&evented->calls, &word, word & ~bit, memory_order_acq_rel);
        if (OURO__UNLIKELY(closer.vtable != NULL)) {
            if (left)
                ouro_waker_wake(&closer);
            ouro_waker_drop(&closer);
        }
        if (left)
            return;
    }
}

int32_t ouro__poll_evented_await(struct ouro__poll_evented *evented, struct ouro__context *context,
                                 struct ouro__op *op)
{
    int rc = ouro__poll_evented_attach(evented, context);
    if (OURO__UNLIKELY(rc < 0))
        return rc;
    op->sio = ouro__load(&evented->sio, memory_order_acquire);
    return ouro__await(context, op, 0);
}

struct closing {
    struct ouro__poll_evented *evented;
    bool quiesced;
};

/* All have left, or there is a registration now that has to be quiesced. */
static bool is_news(void *arg)
{
    struct closing *closing = arg;
    struct ouro__poll_evented *evented = closing->evented;
    return ouro__load(&evented->calls, memory_order_acquire) == CLOSING ||
           (!closing->quiesced && ouro__load(&evented->sio, memory_order_seq_cst) != NULL);
}

static void quiesce(struct ouro__poll_evented *evented, struct ouro__context *context)
{
    struct ouro__op op = {
        .sio = ouro__load(&evented->sio, memory_order_acquire),
        .code = OURO__OP_QUIESCE,
        .lane = OURO__LANE_QUIESCE,
    };
    (void)ouro__await(context, &op, OURO__AWAIT_THROUGH);
}

static void await_leaving(struct ouro__poll_evented *evented, struct ouro__context *context)
{
    struct closing closing = {.evented = evented};
    while (ouro__load(&evented->calls, memory_order_acquire) != CLOSING) {
        if (!closing.quiesced && ouro__load(&evented->sio, memory_order_seq_cst) != NULL) {
            quiesce(evented, context);
            closing.quiesced = true;
        }
        if (evented->closer.vtable != NULL) {
            ouro__wait_through(context, is_news, &closing);
        } else if (context->task != NULL) {
            ouro__worker_yield(context->worker); /* no memory for a waker: look again and again */
        } else {
            (void)sched_yield();
        }
    }
    ouro_waker_drop(&evented->closer);
}

/* Ends the calls of others, on behalf of @context. */
static void end_calls(struct ouro__poll_evented *evented, struct ouro__context *context)
{
    if (ouro__context_waker(context, &evented->closer) < 0)
        evented->closer = no_waker;
    (void)ouro__fetch_or(&evented->calls, CLOSING, memory_order_seq_cst);
    await_leaving(evented, context);
}

/* A thread outside of the runtime goes in for this once; when the runtime has ended it waits by
 * itself. */
static void end_calls_from_outside(struct ouro__poll_evented *evented)
{
    struct ouro__context context;
    if (ouro_enter(evented->handle) == 0) {
        end_calls(evented, ouro__context_current());
        ouro_leave();
        return;
    }
    ouro__context_init(&context, evented->handle, NULL, NULL);
    end_calls(evented, &context);
    ouro__context_fini(&context);
}

/* Everything but the descriptor. */
static void release(struct ouro__poll_evented *evented)
{
    struct ouro__registration registration = {
        .sio = ouro__load(&evented->sio, memory_order_acquire),
    };
    ouro__registration_drop(&registration);
    ouro_handle_unref(evented->handle);
    evented->handle = NULL;
}

int ouro__poll_evented_close(struct ouro__poll_evented *evented)
{
    if (OURO__UNLIKELY(ouro__fork_is_child(evented->handle->fork_generation))) {
        (void)close(evented->fd);
        return -OURO_EFORKED;
    }
    if (OURO__UNLIKELY(ouro__load(&evented->calls, memory_order_acquire) != NO_CALLS)) {
        struct ouro__context *context = ouro__context_current();
        if (context != NULL)
            end_calls(evented, context);
        else
            end_calls_from_outside(evented);
    }
    int fd = evented->fd;
    release(evented);
    (void)close(fd);
    return 0;
}

int ouro__poll_evented_into_fd(struct ouro__poll_evented *evented)
{
    uint32_t none = NO_CALLS;
    if (OURO__UNLIKELY(ouro__fork_is_child(evented->handle->fork_generation)))
        return -OURO_EFORKED;
    if (!ouro__compare_exchange(&evented->calls, &none, CLOSING, memory_order_acq_rel))
        return -EBUSY;
    int fd = evented->fd;
    release(evented);
    return fd;
}
