/* SPDX-License-Identifier: MIT */
/*
 * Registration: an owner's end of one registered descriptor.
 */
#ifndef OURO_REGISTRY_REGISTRATION_H
#define OURO_REGISTRY_REGISTRATION_H

#include "registry/driver.h"

/* A value; sio NULL: not registered. */
struct ouro__registration {
    struct ouro__scheduled_io *sio;
};

/* In the place of an interest: connections will be accepted, none before it was asked for; or also
 * ahead. */
#define OURO__ACCEPTS_SINGLY (UINT32_C(1) << 30)
#define OURO__ACCEPTS (UINT32_C(1) << 31)

/*
 * Registers @fd with @driver.  @interest is that of a descriptor whose readiness will be waited
 * for; 0 for one that only operations are submitted on, or one of the above.  Any thread.
 * Errors: -OURO_ESHUTDOWN, -ENOMEM; with an interest also those of epoll_ctl(2): -EBADF, -EPERM,
 *         -EEXIST (epoll), -EMFILE (io_uring).  After an error nothing is registered.
 */
OURO__ANY_THREAD int ouro__registration_new(struct ouro__driver_handle *handle, int fd,
                                            uint32_t interest,
                                            struct ouro__registration *out_registration);

/*
 * Ends the registration: no more events come, and waiters are woken.  The driver frees the shared
 * half when none of its operations is in flight.  Never waits.  Any thread, also from inside a
 * wake.
 */
OURO__ANY_THREAD void ouro__registration_drop(struct ouro__registration *registration);

/*
 * The first half of a drop: no more events come, and waiters are woken.  The shared half stays
 * until the drop, for waiters that have not left yet.  Any thread, also from inside a wake.
 */
OURO__ANY_THREAD void ouro__registration_end(struct ouro__registration *registration);

/* As ouro__sio_poll() and ouro__sio_link(), but these check that the readiness still holds. */
OURO__ANY_THREAD int ouro__registration_poll(struct ouro__registration *registration,
                                             uint32_t interest, const struct ouro_waker *waker,
                                             uint64_t *out_word);
OURO__ANY_THREAD int ouro__registration_link(struct ouro__registration *registration,
                                             struct ouro__io_waiter *node, uint64_t *out_word);

#endif
