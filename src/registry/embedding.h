/* SPDX-License-Identifier: MIT */
/*
 * Embedding: a driver whose thread waits in a foreign event loop.
 *
 * The foreign loop polls one descriptor.  It is readable when the driver has something to collect,
 * when another thread has sent a message, and, by a timerfd, when a timer is due or the last turn
 * has left work behind.
 *
 * Between turns the owner is marked asleep, so that a sender writes to the wake descriptor.  It is
 * also marked away: calls of its own thread outside of a turn then go through the inbox, as those
 * of other threads do, and so make the descriptor readable.
 */
#ifndef OURO_REGISTRY_EMBEDDING_H
#define OURO_REGISTRY_EMBEDDING_H

#include "registry/driver.h"

struct ouro__embedding {
    int fd;           /* what the foreign loop polls */
    int timer_fd;     /* in it */
    int64_t armed_ns; /* when timer_fd becomes readable; OURO__NEVER: it does not */
};

/*
 * On the driver's thread.  @join makes a descriptor that is readable when one of two is.  It is a
 * parameter because the function belongs to the epoll backend, which this layer must not include.
 * Errors: those of @join and timerfd_create(2).
 */
int ouro__embedding_init(struct ouro__embedding *embedding, struct ouro__driver_handle *handle,
                         int (*join)(int fd, int other_fd));
void ouro__embedding_fini(struct ouro__embedding *embedding);

/* Before a turn, and before the driver is closed. */
void ouro__embedding_enter(struct ouro__driver_handle *handle);

/* When the driver has been opened, and no turn was made; as ouro__embedding_leave().  Errors: the
 * backend's. */
int ouro__embedding_begin(struct ouro__embedding *embedding, struct ouro__driver_handle *handle,
                          int64_t due_ns);

/* After a turn.  @due_ns: when the next one is due at the latest; 0: at once. */
void ouro__embedding_leave(struct ouro__embedding *embedding, struct ouro__driver_handle *handle,
                           int64_t due_ns);

#endif
