/* SPDX-License-Identifier: MIT */
/*
 * Descriptor: an open file, its registration, and which calls are in progress on it.
 *
 * The registration is made by the first operation, with the driver of the worker that makes it: an
 * accepted connection can be handed to another worker before that at no cost.
 *
 * The word `calls` has a bit for each lane (a direction of a stream) with a call in progress.  A
 * call sets its bit first, so a second reader gets -EBUSY, also between two operations of one long
 * write.  It takes its bit out last, and touches the descriptor no more afterwards, so close()
 * knows when it may release the memory.  Accepts, of which there may be many at a time, are counted
 * in the same word.  Closing:
 *
 *     closer                                caller
 *     store the waker
 *     set CLOSING                           a call that begins now gets -ECANCELED
 *     QUIESCE: cancels the operations and
 *     refuses later ones; or wakes those
 *     who wait for readiness                its operation or wait ends
 *     wait until no bit is set              takes its bit out, wakes the closer
 *     deregister, close
 *
 * A caller may be registering the descriptor at that moment.  The caller stores the registration,
 * then looks at CLOSING; the closer sets CLOSING, then looks at the registration.  At least one of
 * them sees the other's store: a caller that sees CLOSING wakes the closer, which looks again.
 *
 * Owns:    the descriptor, the registration, one reference to the handle.
 * Threads: any.
 * Always:  with no bit set no operation of the descriptor is in flight.
 * Tests:   tests/stream/test_close.c
 */
#include "stream/descriptor.h"

#include "base/fork.h"
#include "base/kernel.h"
#include "registry/registration.h"
#include "task/handle.h"
#include "task/worker.h"

#include <ouro/error.h>

#include <errno.h>

#define CLOSING OURO__DESCRIPTOR_CLOSING
#define REGISTERING (UINT32_C(1) << 30) /* by a call in progress, for readiness */
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

int ouro__descriptor_context(struct ouro__context **out_context)
{
    int rc = ouro__context_enter(out_context);
    if (rc < 0)
        return rc;
    const struct ouro_handle *handle = (*out_context)->handle;
    if (handle->driver_kind == OURO_DRIVER_NONE)
        return -OURO_EIODISABLED;
    return ouro__handle_is_shutdown(handle) ? -OURO_ESHUTDOWN : 0;
}

struct ouro__driver_handle *ouro__descriptor_trace(const struct ouro__context *context)
{
    struct ouro__worker *worker = context->worker;
    return worker != NULL ? &worker->io.handle : &context->handle->worker[0].io.handle;
}

/* A driver of the descriptor's own runtime, also when the caller belongs to another. */
static int choose_driver(struct ouro__descriptor *descriptor, struct ouro__context *context,
                         struct ouro__driver_handle **out_driver)
{
    if (OURO__LIKELY(context->handle == descriptor->handle))
        return ouro__handle_driver_for(context, out_driver);
    struct ouro__context stranger = {.handle = descriptor->handle};
    return ouro__handle_driver_for(&stranger, out_driver);
}

/* The closer waits for a late registration, to quiesce it. */
static void tell_closer(struct ouro__descriptor *descriptor)
{
    if ((ouro__load(&descriptor->calls, memory_order_seq_cst) & CLOSING) != 0)
        ouro_waker_wake(&descriptor->closer);
}

/* Registers it; another call may do so at the same time.  @interest as in ouro__registration_new().
 */
static OURO__NOINLINE int attach(struct ouro__descriptor *descriptor, struct ouro__context *context,
                                 uint32_t interest)
{
    if (ouro__load(&descriptor->sio, memory_order_acquire) != NULL)
        return 0; /* another call was first */
    struct ouro__driver_handle *driver = NULL;
    struct ouro__registration registration = {.sio = NULL};
    int rc = choose_driver(descriptor, context, &driver);
    if (rc == 0)
        rc = ouro__registration_new(driver, descriptor->fd, interest, &registration);
    if (rc < 0)
        return rc;
    struct ouro__scheduled_io *before = NULL;
    if (ouro__compare_exchange(&descriptor->sio, &before, registration.sio, memory_order_seq_cst))
        tell_closer(descriptor);
    else
        ouro__registration_drop(&registration); /* the other direction was first */
    return 0;
}

int ouro__descriptor_attach(struct ouro__descriptor *descriptor, struct ouro__context *context)
{
    return attach(descriptor, context, 0);
}

void ouro__descriptor_leave_slowly(struct ouro__descriptor *descriptor, uint32_t part)
{
    uint32_t word = ouro__load(&descriptor->calls, memory_order_acquire);
    for (;;) {
        /* Once the part is out the closer may free the descriptor: copy the waker before. */
        struct ouro_waker closer = no_waker;
        if (OURO__UNLIKELY((word & CLOSING) != 0))
            closer = ouro_waker_clone(&descriptor->closer);
        bool left =
            ouro__compare_exchange(&descriptor->calls, &word, word - part, memory_order_acq_rel);
        if (OURO__UNLIKELY(closer.vtable != NULL)) {
            if (left)
                ouro_waker_wake(&closer);
            ouro_waker_drop(&closer);
        }
        if (left)
            return;
    }
}

int ouro__descriptor_register(struct ouro__descriptor *descriptor, struct ouro__context *context,
                              struct ouro__driver_handle **out_driver)
{
    struct ouro__scheduled_io *sio = ouro__load(&descriptor->sio, memory_order_acquire);
    if (OURO__UNLIKELY(sio == NULL)) {
        int rc = attach(descriptor, context, 0);
        if (rc < 0)
            return rc;
        sio = ouro__load(&descriptor->sio, memory_order_acquire);
    }
    *out_driver = sio->handle;
    return 0;
}

int32_t ouro__descriptor_await_beside(struct ouro__descriptor *descriptor,
                                      struct ouro__context *context, struct ouro__op *op)
{
    int32_t result = -ECANCELED;
    /* The closer sets CLOSING, then looks for this. */
    uint32_t calls =
        ouro__fetch_or(&descriptor->calls, OURO__DESCRIPTOR_HAS_OP, memory_order_seq_cst);
    if ((calls & CLOSING) == 0)
        result = ouro__descriptor_await(descriptor, context, op);
    (void)ouro__fetch_and(&descriptor->calls, ~OURO__DESCRIPTOR_HAS_OP, memory_order_release);
    return result;
}

int32_t ouro__descriptor_await(struct ouro__descriptor *descriptor, struct ouro__context *context,
                               struct ouro__op *op)
{
    struct ouro__scheduled_io *sio = ouro__load(&descriptor->sio, memory_order_acquire);
    if (OURO__UNLIKELY(sio == NULL)) {
        int rc = attach(descriptor, context, 0);
        if (rc < 0)
            return rc;
        sio = ouro__load(&descriptor->sio, memory_order_acquire);
    }
    op->sio = sio;
    return ouro__await(context, op, 0);
}

int32_t ouro__descriptor_accept(struct ouro__descriptor *descriptor, struct ouro__context *context,
                                struct ouro__op *op)
{
    struct ouro__scheduled_io *sio = ouro__load(&descriptor->sio, memory_order_acquire);
    if (OURO__UNLIKELY(sio == NULL)) {
        int rc = attach(descriptor, context,
                        op->arg.accept.is_singly ? OURO__ACCEPTS_SINGLY : OURO__ACCEPTS);
        if (rc < 0)
            return rc;
        sio = ouro__load(&descriptor->sio, memory_order_acquire);
    }
    op->sio = sio;
    if (context->worker == NULL || &context->worker->io.handle != sio->handle)
        return ouro__await(context, op, 0);
    int32_t fd = ouro__context_interrupted_io(context);
    if (OURO__UNLIKELY(fd < 0))
        return fd;
    fd = ouro__driver_take(sio->handle->driver, op);
    if (fd == -EAGAIN)
        fd = ouro__await(context, op, 0);
    else
        ouro__context_spend_call(context);
    if (fd >= 0)
        ouro__driver_took(sio->handle->driver, sio);
    return fd;
}

struct ready_wait {
    struct ouro__descriptor *descriptor;
    struct ouro__context *context;
    struct ouro__registration registration;
    struct ouro__io_waiter node;
    uint64_t word;
    int rc; /* 1: ready; negative: an error */
};

/*
 * Looks at the readiness, and links the waiter if there is none.  The closer sets CLOSING, then
 * wakes the linked; this links, then looks at CLOSING: so a waiter is woken or sees it.
 */
static bool ready_is_over(void *arg)
{
    struct ready_wait *wait = arg;
    struct ouro__io_waiter *node = &wait->node;
    ouro__sio_unlink(wait->registration.sio, node);
    wait->rc = node->waker.vtable == NULL ? ouro__context_waker(wait->context, &node->waker) : 0;
    if (wait->rc == 0)
        wait->rc = ouro__registration_link(&wait->registration, node, &wait->word);
    uint32_t calls = ouro__load(&wait->descriptor->calls, memory_order_seq_cst);
    if (wait->rc >= 0 && (calls & CLOSING) != 0)
        wait->rc = -ECANCELED;
    return wait->rc != 0;
}

/*
 * Registers for readiness.  epoll takes a descriptor once, so a FIFO whose two directions wait for
 * the first time at the same moment is registered by one of them, and the other waits for that.
 */
static int attach_for_readiness(struct ouro__descriptor *descriptor, struct ouro__context *context)
{
    while (ouro__load(&descriptor->sio, memory_order_acquire) == NULL) {
        uint32_t calls = ouro__fetch_or(&descriptor->calls, REGISTERING, memory_order_acquire);
        if ((calls & REGISTERING) != 0) {
            ouro__context_yield(context);
            continue;
        }
        int rc = attach(descriptor, context, OURO_READABLE | OURO_WRITABLE);
        (void)ouro__fetch_and(&descriptor->calls, ~REGISTERING, memory_order_release);
        return rc;
    }
    return 0;
}

int ouro__descriptor_await_ready(struct ouro__descriptor *descriptor, struct ouro__context *context,
                                 uint32_t interest, uint64_t *out_word)
{
    int rc = attach_for_readiness(descriptor, context);
    if (rc < 0)
        return rc;
    struct ready_wait wait = {
        .descriptor = descriptor,
        .context = context,
        .registration.sio = ouro__load(&descriptor->sio, memory_order_acquire),
        .node = {.interest = interest},
    };
    ouro__list_init(&wait.node.link);
    rc = ouro__wait(context, ready_is_over, &wait);
    ouro__sio_unlink(wait.registration.sio, &wait.node);
    ouro_waker_drop(&wait.node.waker);
    if (rc == 0 && wait.rc < 0)
        rc = wait.rc;
    if (rc == 0)
        *out_word = wait.word;
    return rc;
}

void ouro__descriptor_clear(struct ouro__descriptor *descriptor, uint64_t word, uint32_t ready)
{
    ouro__sio_clear(ouro__load(&descriptor->sio, memory_order_acquire), word, ready);
}

struct closing {
    struct ouro__descriptor *descriptor;
    bool quiesced;
};

/* All calls have left, or there is a registration now that has to be quiesced. */
static bool has_progress(void *arg)
{
    struct closing *closing = arg;
    struct ouro__descriptor *descriptor = closing->descriptor;
    return ouro__load(&descriptor->calls, memory_order_acquire) == CLOSING ||
           (!closing->quiesced && ouro__load(&descriptor->sio, memory_order_seq_cst) != NULL);
}

/*
 * Whether a request of the driver may keep the file open.  A poll does: then close(2) alone would
 * not tell the other end of a pipe.  On another thread's driver a poll ends by itself, when that
 * thread turns it.  A listener may have a multishot accept without any call in progress: until that
 * has ended connections are accepted and the address is in use.
 */
static bool is_held_open(struct ouro__descriptor *descriptor)
{
    struct ouro__scheduled_io *sio = ouro__load(&descriptor->sio, memory_order_acquire);
    return sio != NULL && sio->attached != NULL &&
           ((sio->flags & OURO__SIO_ACCEPTS) != 0 || ouro__driver_is_here(sio->handle));
}

/* Ends the operations of the descriptor, or the waits for its readiness. */
static void quiesce(struct ouro__descriptor *descriptor, struct ouro__context *context)
{
    struct ouro__op op = {
        .sio = ouro__load(&descriptor->sio, memory_order_acquire),
        .code = OURO__OP_QUIESCE,
        .lane = OURO__LANE_QUIESCE,
    };
    bool waits_for_readiness = (op.sio->flags & OURO__SIO_READINESS) != 0;
    if (waits_for_readiness)
        ouro__sio_wake_all(op.sio);
    bool has_op =
        (ouro__load(&descriptor->calls, memory_order_seq_cst) & OURO__DESCRIPTOR_HAS_OP) != 0;
    if (!waits_for_readiness || has_op || is_held_open(descriptor))
        (void)ouro__await(context, &op, OURO__AWAIT_UNINTERRUPTIBLE);
}

static void await_leaving(struct ouro__descriptor *descriptor, struct ouro__context *context)
{
    struct closing closing = {.descriptor = descriptor};
    if (is_held_open(descriptor)) {
        quiesce(descriptor, context);
        closing.quiesced = true;
    }
    while (ouro__load(&descriptor->calls, memory_order_acquire) != CLOSING) {
        if (!closing.quiesced && ouro__load(&descriptor->sio, memory_order_seq_cst) != NULL) {
            quiesce(descriptor, context);
            closing.quiesced = true;
        }
        if (descriptor->closer.vtable != NULL)
            ouro__wait_uninterruptible(context, has_progress, &closing);
        else
            ouro__context_yield(context); /* no memory for a waker: poll instead */
    }
    ouro_waker_drop(&descriptor->closer);
}

/* Ends the calls of others.  @context is who waits for them to end. */
static void end_calls(struct ouro__descriptor *descriptor, struct ouro__context *context)
{
    if (ouro__context_waker(context, &descriptor->closer) < 0)
        descriptor->closer = no_waker;
    (void)ouro__fetch_or(&descriptor->calls, CLOSING, memory_order_seq_cst);
    await_leaving(descriptor, context);
}

/* For a thread outside of the runtime: it enters the runtime for this, and after the runtime has
 * ended it waits with a context of its own. */
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

/* Releases everything but the descriptor. */
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
        ouro__kernel_close(descriptor->fd);
        return -OURO_EFORKED;
    }
    if (OURO__UNLIKELY(ouro__load(&descriptor->calls, memory_order_acquire) != NO_CALLS ||
                       is_held_open(descriptor))) {
        struct ouro__context *context = ouro__context_current();
        if (context != NULL)
            end_calls(descriptor, context);
        else
            end_calls_from_outside(descriptor);
    }
    int fd = descriptor->fd;
    release(descriptor);
    ouro__kernel_close(fd);
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
