/* SPDX-License-Identifier: MIT */
/*
 * PollEvented: a descriptor, its registration, and who is in a call on it.
 *
 * What streams and listeners are made of.  (The public noun for descriptors of others, which waits
 * for readiness instead of making operations, is net/poll_evented.c.)
 */
#ifndef OURO_STREAM_DESCRIPTOR_H
#define OURO_STREAM_DESCRIPTOR_H

#include "base/atomic.h"
#include "registry/driver.h"
#include "task/wait.h"

#include <ouro/runtime.h>

struct ouro__descriptor {
    struct ouro_handle
        *handle; /* one reference: streams may be closed after the runtime has ended */
    _Atomic(struct ouro__scheduled_io *) sio; /* NULL: not registered yet */
    _Atomic uint32_t calls; /* a bit a lane with a call in progress, and CLOSING */
    int fd;
    struct ouro_waker closer; /* set before CLOSING; woken by who leaves afterwards */
};

/* Takes @fd over, and a reference to @handle.  Registers nothing. */
void ouro__descriptor_init(struct ouro__descriptor *descriptor, struct ouro_handle *handle, int fd);

/*
 * Registers with the driver of the calling worker, unless that has been done.
 * Errors: -OURO_EIODISABLED, -OURO_ESHUTDOWN, -ENOMEM.
 */
int ouro__descriptor_attach(struct ouro__descriptor *descriptor, struct ouro__context *context);

/*
 * Begins a call on @lane (enum ouro__lane); every 0 wants an ouro__descriptor_leave().
 * Errors: -EBUSY when another call is in that lane, -ECANCELED when it is being closed.
 */
int ouro__descriptor_enter(struct ouro__descriptor *descriptor, unsigned lane);
void ouro__descriptor_leave(struct ouro__descriptor *descriptor, unsigned lane);

/* Makes @op (code, lane and arg are set) an operation of this descriptor and awaits its result. */
int32_t ouro__descriptor_await(struct ouro__descriptor *descriptor, struct ouro__context *context,
                               struct ouro__op *op);

/*
 * Ends the calls of others with -ECANCELED and waits until they have left; then the registration,
 * the descriptor and the reference to the handle are given up.  The memory remains the caller's.
 * Nothing interrupts it, and a caller outside of any runtime is all right.
 * Errors: -OURO_EFORKED: the descriptor was closed, the rest is the parent's.
 */
int ouro__descriptor_close(struct ouro__descriptor *descriptor);

/* As close, but returns the descriptor, open.  Errors: -EBUSY with a call in progress. */
int ouro__descriptor_into_fd(struct ouro__descriptor *descriptor);

/* Whether sockets work in the context's runtime.  Errors: -OURO_EIODISABLED, -OURO_ESHUTDOWN. */
int ouro__descriptor_usable(const struct ouro__context *context);

/* The driver handle whose trace function hears of what @context does. */
struct ouro__driver_handle *ouro__descriptor_trace(const struct ouro__context *context);

#endif
