/* SPDX-License-Identifier: MIT */
/*
 * The public PollEvented: waiting for a descriptor that ouro did not make (ouro/poll_evented.h).
 *
 * A waiter links a node, which lies in its frame and holds its waker, into the ScheduledIo.  A wake
 * unlinks the node.  A woken waiter looks at the readiness: another waiter may have cleared it
 * already, and then it links the node again.
 *
 * ouro_poll_evented_free() may be called from inside a wake, and while others wait.  Each waiter
 * holds a reference, so the ScheduledIo remains until the last one has left.  free() marks the
 * object, then wakes the linked; a waiter links itself, then looks at the mark: so it is woken or
 * sees the mark.
 *
 * Owns:    the registration, one reference to the handle.
 * Threads: any.
 * Always:  the registration is dropped once, by the last reference.
 * Tests:   tests/net/test_poll_evented.c
 */
#include <ouro/poll_evented.h>

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/fork.h"
#include "base/waker.h"
#include "registry/registration.h"
#include "task/handle.h"
#include "task/wait.h"

#include <ouro/error.h>

#include <errno.h>

struct ouro_poll_evented {
    _Atomic uint32_t references; /* the owner's, and one for each call that waits */
    _Atomic bool is_freed;
    int fd;
    struct ouro_handle *handle;
    struct ouro__registration registration;
};

static bool is_interest(uint32_t interest)
{
    return interest != 0 && (interest & ~OURO__INTEREST_ALL) == 0;
}

/* Whether the descriptor was registered with all of @interest. */
static bool is_registered(const struct ouro_poll_evented *io, uint32_t interest)
{
    return is_interest(interest) && (interest & ~io->registration.sio->interest) == 0;
}

static void ref(struct ouro_poll_evented *io)
{
    (void)ouro__fetch_add(&io->references, 1, memory_order_relaxed);
}

static void unref(struct ouro_poll_evented *io)
{
    if (ouro__fetch_sub(&io->references, 1, memory_order_acq_rel) != 1)
        return;
    if (!ouro__fork_is_child(io->handle->fork_generation)) {
        ouro__registration_drop(&io->registration);
        ouro_handle_unref(io->handle);
    }
    ouro__free(io);
}

int ouro_poll_evented_new(int fd, uint32_t interest, struct ouro_poll_evented **out_io)
{
    struct ouro__context *context = NULL;
    struct ouro__driver_handle *driver = NULL;
    if (out_io == NULL || !is_interest(interest))
        return -EINVAL;
    int rc = ouro__context_enter(&context);
    if (rc == 0)
        rc = ouro__handle_driver_for(context, &driver);
    if (rc < 0)
        return rc;
    struct ouro_poll_evented *io = ouro__calloc(1, sizeof(*io));
    if (io == NULL)
        return -ENOMEM;
    rc = ouro__registration_new(driver, fd, interest, &io->registration);
    if (rc < 0) {
        ouro__free(io);
        return rc;
    }
    ouro__atomic_init(&io->references, 1);
    ouro__atomic_init(&io->is_freed, false);
    io->fd = fd;
    io->handle = ouro_handle_ref(context->handle);
    *out_io = io;
    return 0;
}

void ouro_poll_evented_free(struct ouro_poll_evented *io)
{
    if (io == NULL)
        return;
    ouro__store(&io->is_freed, true, memory_order_seq_cst);
    if (!ouro__fork_is_child(io->handle->fork_generation))
        ouro__registration_end(&io->registration);
    unref(io);
}

static struct ouro_ready_event event_of(uint64_t word, uint32_t interest)
{
    return (struct ouro_ready_event){
        .ready = ouro__readiness_ready(word) & ouro__interest_mask(interest),
        .snapshot = word,
    };
}

struct waiting {
    struct ouro_poll_evented *io;
    struct ouro__context *context;
    struct ouro__io_waiter node;
    uint64_t word;
    int rc; /* 1: ready; negative: an error */
};

/* Looks at the readiness, and links the waiter if there is none. */
static bool is_over(void *arg)
{
    struct waiting *waiting = arg;
    struct ouro_poll_evented *io = waiting->io;
    struct ouro__io_waiter *node = &waiting->node;
    ouro__sio_unlink(io->registration.sio, node);
    if (node->waker.vtable == NULL) {
        int rc = ouro__context_waker(waiting->context, &node->waker);
        if (rc < 0) {
            waiting->rc = rc;
            return true;
        }
    }
    waiting->rc = ouro__registration_link(&io->registration, node, &waiting->word);
    if (waiting->rc >= 0 && ouro__load(&io->is_freed, memory_order_seq_cst))
        waiting->rc = -ECANCELED;
    return waiting->rc != 0;
}

/* Waits; the caller holds a reference. */
static int wait_ready(struct ouro__context *context, struct ouro_poll_evented *io,
                      uint32_t interest, struct ouro_ready_event *out_event)
{
    struct waiting waiting = {.io = io, .context = context, .node = {.interest = interest}};
    ouro__list_init(&waiting.node.link);
    int rc = ouro__context_interrupted(context);
    if (rc < 0)
        return rc;
    rc = ouro__wait(context, is_over, &waiting);
    ouro__sio_unlink(io->registration.sio, &waiting.node);
    ouro_waker_drop(&waiting.node.waker);
    if (rc < 0)
        return rc;
    if (waiting.rc < 0)
        return waiting.rc;
    *out_event = event_of(waiting.word, interest);
    return 0;
}

int ouro_poll_evented_ready(struct ouro_poll_evented *io, uint32_t interest,
                            struct ouro_ready_event *out_event)
{
    struct ouro__context *context = NULL;
    if (io == NULL || out_event == NULL || !is_registered(io, interest))
        return -EINVAL;
    int rc = ouro__context_enter(&context);
    if (rc < 0)
        return rc;
    ref(io);
    rc = wait_ready(context, io, interest, out_event);
    unref(io);
    ouro__context_spend(context);
    return rc;
}

/* The caller holds a reference. */
static int poll_ready(struct ouro_poll_evented *io, uint32_t interest,
                      const struct ouro_waker *waker, struct ouro_ready_event *out_event)
{
    uint64_t word = 0;
    if (ouro__load(&io->is_freed, memory_order_acquire))
        return -ECANCELED; /* free() has dropped the stored wakers: add none */
    if (ouro__handle_is_shutdown(io->handle))
        return -OURO_ESHUTDOWN; /* the driver may not know it yet */
    int rc = ouro__registration_poll(&io->registration, interest, waker, &word);
    if (rc == OURO_POLL_READY)
        *out_event = event_of(word, interest);
    return rc;
}

int ouro_poll_evented_poll_ready(struct ouro_poll_evented *io, uint32_t interest,
                                 const struct ouro_waker *waker, struct ouro_ready_event *out_event)
{
    if (io == NULL || !ouro__waker_is_usable(waker) || out_event == NULL ||
        !is_registered(io, interest))
        return -EINVAL;
    if (ouro__fork_is_child(io->handle->fork_generation))
        return -OURO_EFORKED;
    ref(io); /* the waker may be woken as soon as it is stored, and call free() */
    int rc = poll_ready(io, interest, waker, out_event);
    unref(io);
    return rc;
}

void ouro_poll_evented_clear(struct ouro_poll_evented *io, const struct ouro_ready_event *event)
{
    if (io != NULL && event != NULL)
        ouro__sio_clear(io->registration.sio, event->snapshot, event->ready);
}

/*
 * The function returned EAGAIN, but a wait would end at once: the readiness is final, or an event
 * has come in between.  The next call may return EAGAIN again, so other tasks must run now.  The
 * yield also checks this context's deadline and cancellation.
 */
static void yield_if_still_ready(struct ouro__context *context, struct ouro_poll_evented *io,
                                 uint32_t interest)
{
    uint64_t word = ouro__load(&io->registration.sio->readiness, memory_order_relaxed);
    if ((ouro__readiness_ready(word) & ouro__interest_mask(interest)) != 0)
        ouro__context_yield(context);
}

/* In a child that @function has made, the call ends. */
static ssize_t call(const struct ouro__context *context, struct ouro_poll_evented *io,
                    ouro_io_function *function, void *arg)
{
    ssize_t result = function(io->fd, arg);
    return ouro__fork_is_child(context->fork_generation) ? -OURO_EFORKED : result;
}

static ssize_t call_until_done(struct ouro__context *context, struct ouro_poll_evented *io,
                               uint32_t interest, ouro_io_function *function, void *arg)
{
    struct ouro_ready_event event;
    int rc = ouro__context_interrupted_io(context);
    if (rc < 0)
        return rc;
    ssize_t result = call(context, io, function, arg);
    while (result == -EAGAIN) {
        rc = wait_ready(context, io, interest, &event);
        if (rc < 0)
            return rc;
        result = call(context, io, function, arg);
        if (result == -EAGAIN) {
            ouro_poll_evented_clear(io, &event);
            yield_if_still_ready(context, io, interest);
        }
    }
    return result;
}

ssize_t ouro_poll_evented_io(struct ouro_poll_evented *io, uint32_t interest,
                             ouro_io_function *function, void *arg)
{
    struct ouro__context *context = NULL;
    if (io == NULL || function == NULL || !is_registered(io, interest))
        return -EINVAL;
    int rc = ouro__context_enter(&context);
    if (rc < 0)
        return rc;
    ref(io);
    ssize_t result = call_until_done(context, io, interest, function, arg);
    unref(io);
    if (OURO__LIKELY(!ouro__fork_is_child(context->fork_generation)))
        ouro__context_spend(context);
    return result;
}
