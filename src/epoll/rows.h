/* SPDX-License-Identifier: MIT */
/*
 * Rows: what is special about each operation on epoll.
 */
#ifndef OURO_EPOLL_ROWS_H
#define OURO_EPOLL_ROWS_H

#include "epoll/epoll.h"

struct ouro__epoll_row {
    /* Tries an operation of this @row.  True: it has ended, with *out_result.  False: it waits for
     * an event.  NULL: there is no row. */
    bool (*begin)(const struct ouro__epoll_row *row, struct ouro__op *op, int32_t *out_result);
    /* The system call that ouro__epoll_transfer() makes, once, without waiting; -1 and errno. @done
     * bytes have been transferred. */
    ssize_t (*call)(const struct ouro__op *op, size_t done);
    bool has_buffer;    /* arg.io */
    bool has_message;   /* arg.message */
    bool reads;         /* an event for reading concerns it; otherwise one for writing */
    bool zero_is_end;   /* of a stream: a result of 0 is the end */
    bool always_tries;  /* without a look at the readiness word */
    bool tries_at_once; /* when it is submitted, where that is likely to end it */
    bool may_have_loan; /* arg.io.loan */
};

extern const struct ouro__epoll_row ouro__epoll_rows[OURO__OP_CODES];

static inline const struct ouro__epoll_row *ouro__epoll_row_of(const struct ouro__op *op)
{
    return &ouro__epoll_rows[op->code];
}

/* loan.c */
bool ouro__epoll_recv_loan(const struct ouro__epoll_row *row, struct ouro__op *op,
                           int32_t *out_result);
bool ouro__epoll_take_loan(const struct ouro__epoll_row *row, struct ouro__op *op,
                           int32_t *out_result);

/* emulate.c: the begin() of all that transfer something, as often as it goes on. */
bool ouro__epoll_transfer(const struct ouro__epoll_row *row, struct ouro__op *op,
                          int32_t *out_result);

#endif
