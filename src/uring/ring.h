/* SPDX-License-Identifier: MIT */
/*
 * The ring of one driver, and how the files of this folder share it:
 *
 *   ring.c      opens and closes it; the one io_uring_enter(2)
 *   rows.c      what is special about each operation
 *   prepare.c   an operation becomes an SQE
 *   complete.c  a CQE becomes an operation's result
 *   wait.c      an operation that waits for its descriptor by a poll of ours
 *   poll.c      the poll that reports a descriptor's readiness
 *   turn.c      one turn: place, submit, wait, reap
 *   uring.c     submit, cancel, unpark and the table
 *   buffers.c   buffers from which the kernel chooses
 *   sanitize.c  what the memory checkers are told
 *
 * Everything here is the owner's thread's.
 */
#ifndef OURO_URING_RING_H
#define OURO_URING_RING_H

#include "base/fault.h"
#include "registry/driver.h"
#include "uring/buffers.h"

#include <liburing.h>

/*
 * op->backend.  An operation is in exactly one place: in the backlog, on the list of the withdrawn,
 * in the pool's list of those that wait for a buffer, or in the ring (its SQE, or the kernel).
 */
#define OURO__URING_BACKLOG (1u << 0)       /* waits for an SQE */
#define OURO__URING_WITHDRAWN (1u << 1)     /* never reached the kernel; ends in the coming turn */
#define OURO__URING_CANCEL_QUEUED (1u << 2) /* a cancellation of its request waits for an SQE */
#define OURO__URING_CANCELLED (1u << 3)     /* its cancellation was asked for */
#define OURO__URING_WAITING (1u << 4)   /* its request is a poll: the operation comes after it */
#define OURO__URING_MULTISHOT (1u << 5) /* that poll is multishot */
#define OURO__URING_ANSWERED (1u << 6)  /* that poll has answered and is being taken back */
#define OURO__URING_DRY (1u << 7)       /* waits for a buffer of the pool */
#define OURO__URING_STAMP_SHIFT 8       /* eight bits: the turn in which it was cancelled */

/* The tokens that are the driver's own. */
#define OURO__URING_WAKE ouro__token(0, 0, OURO__LANE_WAKE)
#define OURO__URING_IGNORE ouro__token(0, 0, OURO__LANE_IGNORE)

struct ouro__uring {
    struct ouro__driver driver; /* first */
    struct io_uring ring;
    unsigned enter_flags;         /* IORING_ENTER_REGISTERED_RING or 0 */
    unsigned wait_flags;          /* added when the call may block */
    bool gathers;                 /* a wait goes on for a moment after the first completion */
    struct ouro__queue backlog;   /* ops that found no SQE, in order */
    struct ouro__queue cancels;   /* ops whose cancellation found none */
    struct ouro__queue withdrawn; /* ops that end with -ECANCELED in the coming turn */
    struct ouro__uring_buffers buffers;
    uint32_t turns;
    bool waits_to_send; /* never lets the kernel wait for room (OURO__QUIRK_SEND_READ_SIDE) */
    bool is_embedded;   /* another event loop polls the ring */
    bool wake_armed;    /* the read of the wake descriptor has its SQE */
    int broken;         /* -errno that turn() must return */
    uint64_t enters;    /* io_uring_enter(2) calls */
};

static inline struct ouro__uring *ouro__uring_of(struct ouro__driver *driver)
{
    return OURO__CONTAINER_OF(driver, struct ouro__uring, driver);
}

/* ring.c */
int ouro__uring_open(const struct ouro__driver_config *config, struct ouro__driver_handle *handle,
                     struct ouro__driver **out_driver);
void ouro__uring_close(struct ouro__driver *driver);
int ouro__uring_poll_fd(struct ouro__driver *driver);

/*
 * Hands over every SQE there is.  With IORING_ENTER_GETEVENTS in @flags completions come in too,
 * until @wait_for of them are there or @timeout_ns has passed (negative: for ever).
 * Returns how many SQEs the kernel took, or -errno.
 */
int ouro__uring_submit(struct ouro__uring *uring, unsigned flags, unsigned wait_for,
                       int64_t timeout_ns);

/* As above, handing over nothing. */
int ouro__uring_collect(struct ouro__uring *uring, unsigned wait_for, int64_t timeout_ns);

/* SQEs that the kernel has not taken yet. */
static inline unsigned ouro__uring_unsubmitted(const struct ouro__uring *uring)
{
    const struct io_uring_sq *sq = &uring->ring.sq;
    return sq->sqe_tail - IO_URING_READ_ONCE(*sq->khead);
}

static inline bool ouro__uring_has_cqe(const struct ouro__uring *uring)
{
    const struct io_uring_cq *cq = &uring->ring.cq;
    return io_uring_smp_load_acquire(cq->ktail) != *cq->khead;
}

/* Whether the kernel has work that only an enter with GETEVENTS turns into completions. */
static inline bool ouro__uring_has_task_work(const struct ouro__uring *uring)
{
    return (IO_URING_READ_ONCE(*uring->ring.sq.kflags) &
            (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

/* prepare.c.  An SQE, if need be after handing over those before it; NULL: not now. */
struct io_uring_sqe *ouro__uring_sqe(struct ouro__uring *uring);
void ouro__uring_prepare(struct ouro__uring *uring, struct io_uring_sqe *sqe, struct ouro__op *op);
void ouro__uring_prepare_cancel(struct io_uring_sqe *sqe, const struct ouro__op *op);
void ouro__uring_prepare_wake(struct ouro__uring *uring, struct io_uring_sqe *sqe);
/* Takes the SQE named @token back, if the kernel has not seen it yet. */
bool ouro__uring_withdraw(struct ouro__uring *uring, uint64_t token);
/* @op gets an SQE in the coming turn. */
void ouro__uring_queue(struct ouro__uring *uring, struct ouro__op *op);
void ouro__uring_queue_cancel(struct ouro__uring *uring, struct ouro__op *op);

/* complete.c.  Turns every CQE that is there into a result.  0, or -errno: broken. */
int ouro__uring_reap(struct ouro__uring *uring);

/*
 * wait.c.  begin(): @op waits for its descriptor, then it is made again.  prepare() fills the SQE
 * of the poll.  event() takes a CQE of it that has F_MORE, end() the last; true: @op has ended,
 * with *result.
 */
void ouro__uring_wait_begin(struct ouro__uring *uring, struct ouro__op *op);
void ouro__uring_wait_prepare(struct io_uring_sqe *sqe, const struct ouro__op *op);
void ouro__uring_wait_event(struct ouro__uring *uring, struct ouro__op *op, int32_t result);
bool ouro__uring_wait_end(struct ouro__uring *uring, struct ouro__op *op, int32_t *result);

/* poll.c.  attach() and detach() of the table; any thread. */
OURO__ANY_THREAD int ouro__uring_attach(struct ouro__driver_handle *handle,
                                        struct ouro__scheduled_io *sio);
OURO__ANY_THREAD void ouro__uring_detach(struct ouro__driver_handle *handle,
                                         struct ouro__scheduled_io *sio);
/* What a CQE of the poll says: -errno, or events of poll(2). */
void ouro__uring_poll_event(struct ouro__uring *uring, struct ouro__op *op, int32_t result);

/* turn.c */
int ouro__uring_turn(struct ouro__driver *driver, int64_t timeout_ns);
int ouro__uring_settle(struct ouro__driver *driver);

#endif
