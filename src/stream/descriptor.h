/* SPDX-License-Identifier: MIT */
/*
 * Descriptor: an open file, its registration, and which calls are in progress on it.
 *
 * Streams and listeners are made of one.  (The public noun for descriptors that the program opened,
 * which waits for readiness instead of making operations, is net/poll_evented.c.)
 */
#ifndef OURO_STREAM_DESCRIPTOR_H
#define OURO_STREAM_DESCRIPTOR_H

#include "base/atomic.h"
#include "registry/driver.h"
#include "task/wait.h"

#include <ouro/runtime.h>

#include <errno.h>

struct ouro__descriptor {
    struct ouro_handle
        *handle; /* one reference: streams may be closed after the runtime has ended */
    _Atomic(struct ouro__scheduled_io *) sio; /* NULL: not registered yet */
    /* A bit for each lane with a call in progress, the number of the calls of which there may be
     * many, and CLOSING. */
    _Atomic uint32_t calls;
    int fd;
    struct ouro_waker closer; /* set before CLOSING; each call that leaves afterwards wakes it */
};

/* Takes @fd over, and a reference to @handle.  Registers nothing. */
void ouro__descriptor_init(struct ouro__descriptor *descriptor, struct ouro_handle *handle, int fd);

/* In @calls: it is being closed. */
#define OURO__DESCRIPTOR_CLOSING (UINT32_C(1) << 31)

/* In @calls: a call on a descriptor that is waited for has an operation in flight. */
#define OURO__DESCRIPTOR_HAS_OP (UINT32_C(1) << 29)

/*
 * Begins a call on @lane (enum ouro__lane); after 0 the caller must call ouro__descriptor_leave().
 * Errors: -EBUSY when another call is in that lane, -ECANCELED while the descriptor is being
 * closed.
 */
static inline int ouro__descriptor_enter(struct ouro__descriptor *descriptor, unsigned lane)
{
    uint32_t bit = UINT32_C(1) << lane;
    uint32_t word = ouro__load(&descriptor->calls, memory_order_relaxed);
    do {
        if (OURO__UNLIKELY((word & (OURO__DESCRIPTOR_CLOSING | bit)) != 0))
            return (word & OURO__DESCRIPTOR_CLOSING) != 0 ? -ECANCELED : -EBUSY;
    } while (!ouro__compare_exchange(&descriptor->calls, &word, word | bit, memory_order_seq_cst));
    return 0;
}

/* Whether a close waits for the caller, which is in a call.  Each operation on the descriptor finds
 * that out by itself; a call that goes on without operations must ask. */
static inline bool ouro__descriptor_is_closing(struct ouro__descriptor *descriptor)
{
    return (ouro__load(&descriptor->calls, memory_order_acquire) & OURO__DESCRIPTOR_CLOSING) != 0;
}

/* The rest of leaving: wakes the closer, or tries again after another call has changed the word.
 * @part is what the call has added to it. */
OURO__COLD void ouro__descriptor_leave_slowly(struct ouro__descriptor *descriptor, uint32_t part);

static inline void ouro__descriptor_leave(struct ouro__descriptor *descriptor, unsigned lane)
{
    uint32_t bit = UINT32_C(1) << lane;
    uint32_t word = ouro__load(&descriptor->calls, memory_order_acquire);
    if (OURO__UNLIKELY(
            (word & OURO__DESCRIPTOR_CLOSING) != 0 ||
            !ouro__compare_exchange(&descriptor->calls, &word, word & ~bit, memory_order_acq_rel)))
        ouro__descriptor_leave_slowly(descriptor, bit);
}

/* In @calls: one of the calls of which there may be many at a time, and the most of them. */
#define OURO__DESCRIPTOR_ONE_OF_MANY (UINT32_C(1) << 8)
#define OURO__DESCRIPTOR_MANY_MAX (((UINT32_C(1) << 29) - 1) & ~(OURO__DESCRIPTOR_ONE_OF_MANY - 1))

/*
 * Begins one of many calls; after 0 the caller must call ouro__descriptor_leave_many().
 * Errors: -ECANCELED while the descriptor is being closed; -EBUSY with four million in progress.
 */
static inline int ouro__descriptor_enter_many(struct ouro__descriptor *descriptor)
{
    uint32_t word = ouro__load(&descriptor->calls, memory_order_relaxed);
    do {
        if (OURO__UNLIKELY((word & OURO__DESCRIPTOR_CLOSING) != 0))
            return -ECANCELED;
        if (OURO__UNLIKELY((word & OURO__DESCRIPTOR_MANY_MAX) == OURO__DESCRIPTOR_MANY_MAX))
            return -EBUSY;
    } while (!ouro__compare_exchange(&descriptor->calls, &word, word + OURO__DESCRIPTOR_ONE_OF_MANY,
                                     memory_order_seq_cst));
    return 0;
}

static inline void ouro__descriptor_leave_many(struct ouro__descriptor *descriptor)
{
    uint32_t word = ouro__load(&descriptor->calls, memory_order_acquire);
    if (OURO__UNLIKELY((word & OURO__DESCRIPTOR_CLOSING) != 0 ||
                       !ouro__compare_exchange(&descriptor->calls, &word,
                                               word - OURO__DESCRIPTOR_ONE_OF_MANY,
                                               memory_order_acq_rel)))
        ouro__descriptor_leave_slowly(descriptor, OURO__DESCRIPTOR_ONE_OF_MANY);
}

/*
 * Registers the descriptor for operations with the driver of the calling worker, unless it is
 * registered.  The caller is in a call.
 * Errors: -OURO_EIODISABLED, -OURO_ESHUTDOWN, -ENOMEM.
 */
int ouro__descriptor_attach(struct ouro__descriptor *descriptor, struct ouro__context *context);

/*
 * Registers the descriptor with the driver of the calling worker unless it is registered, submits
 * @op (code, lane and arg are set) and awaits its result.
 * Errors: -OURO_EIODISABLED, -OURO_ESHUTDOWN, -ENOMEM; the operation's.
 */
int32_t ouro__descriptor_await(struct ouro__descriptor *descriptor, struct ouro__context *context,
                               struct ouro__op *op);

/*
 * The same for an ACCEPT.  Takes a connection that is there without waiting, if the caller is on
 * the driver's thread; after a few such connections in a row others have their turn.
 */
int32_t ouro__descriptor_accept(struct ouro__descriptor *descriptor, struct ouro__context *context,
                                struct ouro__op *op);

/*
 * Registers the descriptor with the driver of the calling worker unless it is registered, and
 * returns the driver it is registered with.
 * Errors: -OURO_EIODISABLED, -OURO_ESHUTDOWN, -ENOMEM.
 */
int ouro__descriptor_register(struct ouro__descriptor *descriptor, struct ouro__context *context,
                              struct ouro__driver_handle **out_driver);

/*
 * As ouro__descriptor_await(), for a descriptor that is waited for with
 * ouro__descriptor_await_ready(), after such a wait.  Errors: also -ECANCELED when it is closed
 * meanwhile.
 */
int32_t ouro__descriptor_await_beside(struct ouro__descriptor *descriptor,
                                      struct ouro__context *context, struct ouro__op *op);

/*
 * Waits until the descriptor is ready for @interest (OURO_READABLE or OURO_WRITABLE) and returns
 * the readiness word seen.  The caller is in a call.  A descriptor is used with this or with
 * operations, not with both. Errors: as above; -ECANCELED when it is closed meanwhile; those of
 * every suspending call.
 */
int ouro__descriptor_await_ready(struct ouro__descriptor *descriptor, struct ouro__context *context,
                                 uint32_t interest, uint64_t *out_word);

/* Takes @ready out of the readiness, unless newer readiness came after @word was seen. */
void ouro__descriptor_clear(struct ouro__descriptor *descriptor, uint64_t word, uint32_t ready);

/*
 * Ends the calls of others with -ECANCELED and waits until they have left; then the registration,
 * the descriptor and the reference to the handle are given up.  The memory remains the caller's.
 * Nothing interrupts it.  The caller may be outside of any runtime.
 * Errors: -OURO_EFORKED: the child's descriptor was closed, the rest belongs to the parent.
 */
int ouro__descriptor_close(struct ouro__descriptor *descriptor);

/* As close, but returns the descriptor, open, and never waits.  Errors: -EBUSY with a call in
 * progress; -OURO_EFORKED. */
int ouro__descriptor_into_fd(struct ouro__descriptor *descriptor);

/* The caller's context, for a call that makes a descriptor.  Errors: those of
 * ouro__context_enter(); -OURO_EIODISABLED, -OURO_ESHUTDOWN. */
int ouro__descriptor_context(struct ouro__context **out_context);

/* The driver handle whose trace function is told what @context does. */
struct ouro__driver_handle *ouro__descriptor_trace(const struct ouro__context *context);

#endif
