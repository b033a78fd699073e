/* SPDX-License-Identifier: MIT */
/*
 * AcceptQueue: who waits for a connection of a listening descriptor, and the connections that
 * nobody has taken yet.
 */
#ifndef OURO_REGISTRY_ACCEPT_QUEUE_H
#define OURO_REGISTRY_ACCEPT_QUEUE_H

#include "registry/scheduled_io.h"

enum {
    /* An acceptor that comes back so many times in a row without a turn of the driver between is
     * worth a multishot request. */
    OURO__ACCEPT_STREAK = 8,
    /* With more connections waiting than this, left over from an earlier turn, the multishot is
     * stopped. */
    OURO__ACCEPT_SURPLUS = 16,
};

/*
 * The attached memory of a descriptor with OURO__SIO_ACCEPTS.  All of it is the driver's thread's.
 * One of the two lists is empty: a connection goes to who waits, an acceptor gets what is there.
 */
struct ouro__accept_queue {
    struct ouro__scheduled_io *sio;
    struct ouro__queue waiting; /* ops that are QUEUED, in the order in which they came */
    struct ouro__op many;       /* the multishot request: in the lane while it is armed */
    struct ouro__list link;     /* in the driver's list, from the first connection on */
    struct ouro__queue_node due_node;
    int *fd; /* a ring of @capacity */
    uint32_t capacity;
    uint32_t first;
    uint32_t count;
    int32_t error;          /* what ended the multishot, for the acceptor that is next; or 0 */
    uint64_t surplus_turn;  /* in which count became more than SURPLUS */
    uint64_t returned_turn; /* in which the last acceptor got its connection */
    uint8_t streak;         /* acceptors that came in the turn in which the one before returned */
    bool is_due;            /* in the driver's list of those to be served */
    bool is_singly;         /* never a multishot: for listeners that must not accept ahead */
    bool is_surplus;        /* the multishot is to be stopped */
};

/* NULL: out of memory.  Freed with the descriptor's slot. */
struct ouro__accept_queue *ouro__accept_queue_new(struct ouro__scheduled_io *sio, bool is_singly);

/* NULL: connections are not accepted from it, or one acceptor at a time (a driver's tests). */
static inline struct ouro__accept_queue *ouro__accept_queue_of(const struct ouro__scheduled_io *sio)
{
    return (sio->flags & OURO__SIO_ACCEPTS) != 0 ? sio->attached : NULL;
}

/* Takes @op, which waits, out of the middle. */
void ouro__accept_queue_remove(struct ouro__accept_queue *queue, struct ouro__op *op);
/* The one that has waited longest; NULL: none. */
struct ouro__op *ouro__accept_queue_pop(struct ouro__accept_queue *queue);

/* Keeps a connection until it is taken, in order.  Errors: -ENOMEM; then @fd is the caller's. */
int ouro__accept_queue_put(struct ouro__accept_queue *queue, int fd);
/* The oldest connection; -EAGAIN: there is none. */
int ouro__accept_queue_take(struct ouro__accept_queue *queue);
/* Closes all connections and gives the memory for them back. */
void ouro__accept_queue_dispose(struct ouro__accept_queue *queue);

#endif
