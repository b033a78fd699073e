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
 * Tests:   tests/net/test_close.c
 */
#include "stream/descriptor.h"

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

void ouro__descriptor_init(struct ouro__descriptor *descriptor, struct ouro_handle *handle, int fd)
{
    descriptor->handle = ouro_handle_ref(handle);
    ouro__atomic_init(&descriptor->sio, NULL);
    ouro__atomic_init(&descriptor->calls, NO_CALLS);
    descriptor->fd = fd;
    descriptor->closer = no_waker;
}

int ouro__descriptor_usable(const struct ouro__context *context)
{
    if (context->handle->driver_kind == OURO_DRIVER_AUTO)
        return -OURO_EIODISABLED;
    return ouro__handle_is_shutdown(context->handle) ? -OURO_ESHUTDOWN : 0;
}

struct ouro__driver_handle *ouro__descriptor_trace(const struct ouro__context *context)
{
    struct ouro__worker *worker = context->worker;
    return worker != NULL ? &worker->io.handle : &context->handle->worker[0].io.handle;
}

/* A driver of the runtime the descriptor belongs to, be the caller from another. */
static int choose_driver(struct ouro__descriptor *descriptor, struct ouro__context *context,
                         struct ouro__driver_handle **out_driver)
{
    if (OURO__LIKELY(context->handle == descriptor->handle))
        return ouro__handle_driver_for(context, out_driver);
    struct ouro__context stranger = {.handle = descriptor->handle};
    return ouro__handle_driver_for(&stranger, out_driver);
}

/* The closer may be waiting for exactly this. */
static void tell_closer(struct ouro__descriptor *descriptor)
{
    if ((ouro__load(&descriptor->calls, memory_order_seq_cst) & CLOSING) != 0)
        ouro_waker_wake(&descriptor->closer);
}

int ouro__descriptor_attach(struct ouro__descriptor *descriptor, struct ouro__context *context)
{
    if (OURO__LIKELY(ouro__load(&descriptor->sio, memory_order_acquire) != NULL))
        return 0;
    struct ouro__driver_handle *driver = NULL;
    struct ouro__registration registration = {.sio = NULL};
    int rc = choose_driver(descriptor, context, &driver);
    if (rc == 0)
        rc = ouro__registration_new(driver, descriptor->fd, 0, &registration);
    if (rc < 0)
        return rc;
    struct ouro__scheduled_io *before = NULL;
    if (ouro__compare_exchange(&descriptor->sio, &before, registration.sio, memory_order_seq_cst))
        tell_closer(descriptor);
    else
        ouro__registration_drop(&registration); /* the other direction was first */
    return 0;
}

int ouro__descriptor_enter(struct ouro__descriptor *descriptor, unsigned lane)
{
    uint32_t bit = UINT32_C(1) << lane;
    uint32_t word = ouro__load(&descriptor->calls, memory_order_relaxed);
    do {
        if (OURO__UNLIKELY((word & (CLOSING | bit)) != 0))
            return (word & CLOSING) != 0 ? -ECANCELED : -EBUSY;
    } while (!ouro__compare_exchange(&descriptor->calls, &word, word | bit, memory_order_seq_cst));
    return 0;
}

void ouro__descriptor_leave(struct ouro__descriptor *descriptor, unsigned lane)
{
    uint32_t bit = UINT32_C(1) << lane;
    uint32_t word = ouro__load(&descriptor->calls, memory_order_acquire);
    for (;;) {
        /* With the bit gone the stream may be too: what is needed then is taken along. */
        struct ouro_waker closer = no_waker;
        if (OURO__UNLIKELY((word & CLOSING) != 0))
            closer = ouro_waker_clone(&descriptor->closer);
        bool left =
            ouro__compare_exchange(&descriptor->calls, &word, word & ~bit, memory_order_acq_rel);
        if (OURO__UNLIKELY(closer.vtable != NULL)) {
            if (left)
                ouro_waker_wake(&closer);
            ouro_waker_drop(&closer);
        }
        if (left)
            return;
    }
}

int32_t ouro__descriptor_await(struct ouro__descriptor *descriptor, struct ouro__context *context,
                               struct ouro__op *op)
{
    int rc = ouro__descriptor_attach(descriptor, context);
    if (OURO__UNLIKELY(rc < 0))
        return rc;
    op->sio = ouro__load(&descriptor->sio, memory_order_acquire);
    return ouro__await(context, op, 0);
}

struct closing {
    struct ouro__descriptor *descriptor;
    bool quiesced;
};

/* All have left, or there is a registration now that has to be quiesced. */
static bool is_news(void *arg)
{
    struct closing *closing = arg;
    struct ouro__descriptor *descriptor = closing->descriptor;
    return ouro__load(&descriptor->calls, memory_order_acquire) == CLOSING ||
           (!closing->quiesced && ouro__load(&descriptor->sio, memory_order_seq_cst) != NULL);
}

static void quiesce(struct ouro__descriptor *descriptor, struct ouro__context *context)
{
    struct ouro__op op = {
        .sio = ouro__load(&descriptor->sio, memory_order_acquire),
        .code = OURO__OP_QUIESCE,
        .lane = OURO__LANE_QUIESCE,
    };
    (void)ouro__await(context, &op, OURO__AWAIT_UNINTERRUPTIBLE);
}

static void await_leaving(struct ouro__descriptor *descriptor, struct ouro__context *context)
{
    struct closing closing = {.descriptor = descriptor};
    while (ouro__load(&descriptor->calls, memory_order_acquire) != CLOSING) {
        if (!closing.quiesced && ouro__load(&descriptor->sio, memory_order_seq_cst) != NULL) {
            quiesce(descriptor, context);
            closing.quiesced = true;
        }
        if (descriptor->closer.vtable != NULL) {
            ouro__wait_uninterruptible(context, is_news, &closing);
        } else if (context->task != NULL) {
            ouro__worker_yield(context->worker); /* no memory for a waker: look again and again */
        } else {
            (void)sched_yield();
        }
    }
    ouro_waker_drop(&descriptor->closer);
}

/* Ends the calls of others, on behalf of @context. */
static void end_calls(struct ouro__descriptor *descriptor, struct ouro__context *context)
{
    if (ouro__context_waker(context, &descriptor->closer) < 0)
        descriptor->closer = no_waker;
    (void)ouro__fetch_or(&descriptor->calls, CLOSING, memory_order_seq_cst);
    await_leaving(descriptor, context);
}

/* A thread outside of the runtime goes in for this once; when the runtime has ended it waits by
 * itself. */
static void end_calls_from_outside(struct ouro__descriptor *descriptor)
{
    struct ouro__context context;
    if (ouro_enter(descriptor->handle) == 0) {
        end_calls(descriptor, ouro__context_current());
        ouro_leave();
        return;
    }
    ouro__handle_init_context(descriptor->handle, &context, NULL, NULL);
    end_calls(descriptor, &context);
    ouro__context_fini(&context);
}

/* Everything but the descriptor. */
static void release(struct ouro__descriptor *descriptor)
{
    struct ouro__registration registration = {
        .sio = ouro__load(&descriptor->sio, memory_order_acquire),
    };
    ouro__registration_drop(&registration);
    ouro_handle_unref(descriptor->handle);
    descriptor->handle = NULL;
}

int ouro__descriptor_close(struct ouro__descriptor *descriptor)
{
    if (OURO__UNLIKELY(ouro__fork_is_child(descriptor->handle->fork_generation))) {
        (void)close(descriptor->fd);
        return -OURO_EFORKED;
    }
    if (OURO__UNLIKELY(ouro__load(&descriptor->calls, memory_order_acquire) != NO_CALLS)) {
        struct ouro__context *context = ouro__context_current();
        if (context != NULL)
            end_calls(descriptor, context);
        else
            end_calls_from_outside(descriptor);
    }
    int fd = descriptor->fd;
    release(descriptor);
    (void)close(fd);
    return 0;
}

int ouro__descriptor_into_fd(struct ouro__descriptor *descriptor)
{
    uint32_t none = NO_CALLS;
    if (OURO__UNLIKELY(ouro__fork_is_child(descriptor->handle->fork_generation)))
        return -OURO_EFORKED;
    if (!ouro__compare_exchange(&descriptor->calls, &none, CLOSING, memory_order_acq_rel))
        return -EBUSY;
    int fd = descriptor->fd;
    release(descriptor);
    return fd;
}
