/* SPDX-License-Identifier: MIT */
/*
 * Embedding: a driver whose thread waits in somebody else's event loop.
 *
 * The foreign loop polls one descriptor.  It is readable when the driver has something to collect,
 * when another thread has sent a message, and, by a timerfd, when a timer is due or the last turn
 * has left work behind.
 *
 * Between turns the owner counts as asleep, so that a sender writes to the wake descriptor.  And it
 * counts as away: what its own thread does outside of a turn goes through the inbox as if it came
 * from another thread, and so makes the descriptor readable.
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
 * On the driver's thread.  @join makes a descriptor that is readable when one of two is (the
 * library's one user of it gives the epoll backend's, which this layer does not see).
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
