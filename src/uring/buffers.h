/* SPDX-License-Identifier: MIT */
/*
 * Buffers: the ring of buffers from which the kernel chooses one for a receive on loan.
 */
#ifndef OURO_URING_BUFFERS_H
#define OURO_URING_BUFFERS_H

#include "registry/loan_pool.h"

#include <liburing.h>

struct ouro__uring_buffers {
    struct io_uring_buf_ring *ring; /* NULL: there is none */
    size_t ring_bytes;
    uint32_t entries; /* a power of two */
    uint32_t target;  /* how many to offer, if there are so many */
    int32_t received; /* bytes that a receive brings, a running mean */
    bool is_wanted;   /* the kernel's feature may be used */
    bool was_tried;   /* to make the ring */
};

/*
 * The number of the one group.  Linux before 6.10 keeps what it has about the groups 0 to 63 when
 * their ring is unregistered: a new ring under such a number begins where the old one stood, and
 * receives get entries that nobody has written.  From 64 on the group is freed (io_uring/kbuf.c,
 * BGID_ARRAY; ouro-ktest buffer.again).
 */
enum { OURO__URING_GROUP = 64 };

/*
 * Offers the kernel as many of the pool's buffers as it shall have.  Makes the ring if it was not
 * tried.  False: there is no ring; receive into a buffer that was taken for it.
 */
bool ouro__uring_buffers_offer(struct ouro__uring_buffers *buffers, struct io_uring *ring,
                               struct ouro__loan_pool *pool);

/* A receive has brought @size bytes. */
static inline void ouro__uring_buffers_learn(struct ouro__uring_buffers *buffers, int32_t size)
{
    buffers->received += (size - buffers->received) / 8;
}

/* The kernel found none although @pool had some: it shall have more, unless messages are large. */
void ouro__uring_buffers_grow(struct ouro__uring_buffers *buffers, struct ouro__loan_pool *pool);

/*
 * Called now and then: fewer are offered from here on, if fewer were enough since the last call.
 * @is_receiving says whether a receive on loan is in flight; when none is, and more are offered
 * than at first, all come home, and the next receive makes the ring again.
 */
void ouro__uring_buffers_trim(struct ouro__uring_buffers *buffers, struct io_uring *ring,
                              struct ouro__loan_pool *pool, bool is_receiving);

/* After the ring that they belong to was closed. */
void ouro__uring_buffers_close(struct ouro__uring_buffers *buffers);

#endif
