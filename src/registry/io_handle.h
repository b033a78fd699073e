/* SPDX-License-Identifier: MIT */
/*
 * IoHandle: a worker's I/O, Enabled (a driver) or Disabled (a place to park).  The same functions
 * work on both, so callers need no NULL check for a runtime without I/O.
 */
#ifndef OURO_REGISTRY_IO_HANDLE_H
#define OURO_REGISTRY_IO_HANDLE_H

#include "registry/driver.h"

enum ouro__io_kind { OURO__IO_DISABLED = 0, OURO__IO_ENABLED = 1 };

struct ouro__io_handle {
    enum ouro__io_kind kind;
    struct ouro__driver_handle handle; /* Disabled: only its inbox and unpark are used */
};

/* @ops NULL: Disabled.  Errors: -ENOMEM. */
int ouro__io_handle_init(struct ouro__io_handle *io, const struct ouro__driver_ops *ops);
void ouro__io_handle_fini(struct ouro__io_handle *io);

/* Owner's thread: no new registrations and operations from here on (registry/driver.h). */
OURO__DRIVER_THREAD static inline void ouro__io_handle_shut_down(struct ouro__io_handle *io)
{
    ouro__driver_shut_down(&io->handle);
}

/* Owner's thread: closes the inbox if nothing is in flight and no message has arrived.  True: it is
 * closed. */
OURO__DRIVER_THREAD bool ouro__io_handle_close_inbox(struct ouro__io_handle *io);

OURO__DRIVER_THREAD static inline bool ouro__io_handle_is_closed(const struct ouro__io_handle *io)
{
    return ouro__load(&io->handle.inbox.newest, memory_order_relaxed) == OURO__INBOX_CLOSED;
}

/* On the thread that shall own it.  Errors: the backend's; none when Disabled. */
int ouro__io_handle_open(struct ouro__io_handle *io, const struct ouro__driver_config *config);
/* Owner's thread.  Ends what is in flight, and closes the inbox if it is not yet. */
void ouro__io_handle_close(struct ouro__io_handle *io);

/* Owner's thread: one turn (registry/driver.h), or a wait for messages. */
OURO__DRIVER_THREAD void ouro__io_handle_turn(struct ouro__io_handle *io, int64_t timeout_ns);

/* Any thread: the driver's shared half.  Errors: -OURO_EIODISABLED. */
OURO__ANY_THREAD int ouro__io_handle_driver(struct ouro__io_handle *io,
                                            struct ouro__driver_handle **out_driver);

#endif
