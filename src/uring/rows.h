/* SPDX-License-Identifier: MIT */
/*
 * Rows: what is special about each operation on io_uring.
 */
#ifndef OURO_URING_ROWS_H
#define OURO_URING_ROWS_H

#include "uring/ring.h"
#include "uring/sanitize.h"

/* What comes after a result. */
enum ouro__uring_next {
    OURO__URING_ENDS = 0,  /* it is the operation's */
    OURO__URING_WAITS = 1, /* not yet: wait for the descriptor, then make the request again */
    OURO__URING_AGAIN = 2, /* not yet: make the request again */
};

struct ouro__uring_row {
    /* Fills the SQE, all but user_data.  NULL: there is no row. */
    void (*begin)(const struct ouro__uring *uring, struct io_uring_sqe *sqe,
                  const struct ouro__op *op);
    /* What comes after *result, which it may change.  NULL: the operation ends. */
    enum ouro__uring_next (*finish)(const struct ouro__uring *uring, struct ouro__op *op,
                                    int32_t *result);
    /* After a wait: NULL: the request is made again. */
    enum ouro__uring_next (*waited)(struct ouro__op *op, int32_t *result);
    /* Which descriptor is waited for, and which events.  NULL: op->fd and @waits_for. */
    int (*wait_for)(const struct ouro__op *op, uint32_t *events);
    /* A CQE with F_MORE.  NULL: there are none. */
    void (*event)(struct ouro__uring *uring, struct ouro__op *op, int32_t result);
    /* The readiness that a result of 0 or an error says.  NULL: none. */
    uint32_t (*tells)(const struct ouro__op *op, int32_t result);
    /* The readiness that a result above 0 says. */
    uint8_t tells_on_success;
    /* Releases what a result brings if no operation takes it.  NULL: it brings nothing. */
    void (*dispose)(int32_t result);
    uint8_t waits_for; /* POLLIN or POLLOUT: what -EAGAIN means.  0: -EAGAIN is a result */
    bool restarts;     /* -EINTR without a cancellation: make the request again */
    uint8_t memory;    /* enum ouro__sanitize_memory */
};

extern const struct ouro__uring_row ouro__uring_rows[OURO__OP_CODES];

static inline const struct ouro__uring_row *ouro__uring_row_of(const struct ouro__op *op)
{
    return &ouro__uring_rows[op->code];
}

#endif
