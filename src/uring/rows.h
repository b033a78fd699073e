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
    OURO__URING_ENDS = 0,     /* it is the operation's */
    OURO__URING_WAITS = 1,    /* not yet: wait for the descriptor, then make the request again */
    OURO__URING_AGAIN = 2,    /* not yet: make the request again */
    OURO__URING_DRY_WAIT = 3, /* not yet: it waits for a buffer of the pool */
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
    /* Gives back what the operation holds for a request that failed.  NULL: it holds nothing. */
    void (*undo)(struct ouro__op *op);
    uint8_t waits_for; /* POLLIN or POLLOUT: what -EAGAIN means.  0: -EAGAIN is a result */
    bool lends;        /* a CQE with F_MORE is the result: the memory comes back with the next */
    bool restarts;     /* -EINTR without a cancellation: make the request again */
    uint8_t memory;    /* enum ouro__sanitize_memory */
};

/* loan_rows.c: the functions of receives on loan. */
void ouro__uring_begin_recv_loan(const struct ouro__uring *uring, struct io_uring_sqe *sqe,
                                 const struct ouro__op *op);
enum ouro__uring_next ouro__uring_finish_recv_loan(const struct ouro__uring *uring,
                                                   struct ouro__op *op, int32_t *result);
enum ouro__uring_next ouro__uring_recv_loan_waited(struct ouro__op *op, int32_t *result);
void ouro__uring_begin_take_loan(const struct ouro__uring *uring, struct io_uring_sqe *sqe,
                                 const struct ouro__op *op);
enum ouro__uring_next ouro__uring_finish_take_loan(const struct ouro__uring *uring,
                                                   struct ouro__op *op, int32_t *result);
/* The kernel has chosen the buffer @index for @op, or for nobody any more (NULL). */
void ouro__uring_claim_loan(struct ouro__uring *uring, struct ouro__op *op, uint32_t index);
/* @op waited for a buffer, and is cancelled. */
void ouro__uring_leave_loan(struct ouro__op *op);
/* The table's trim_loans(). */
void ouro__uring_trim_loans(struct ouro__driver *driver, struct ouro__loan_pool *pool);
/* @op waited for a buffer, and has it. */
void ouro__uring_resume_loan(struct ouro__driver *driver, struct ouro__op *op);

/* The most that one request moves of @size bytes. */
unsigned ouro__uring_io_size(size_t size);

extern const struct ouro__uring_row ouro__uring_rows[OURO__OP_CODES];

static inline const struct ouro__uring_row *ouro__uring_row_of(const struct ouro__op *op)
{
    return &ouro__uring_rows[op->code];
}

#endif
